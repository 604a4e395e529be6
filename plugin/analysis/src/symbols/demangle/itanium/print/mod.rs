//! A tree as text, written as GNU binutils write it, since that is what users compare with and copy from.

mod expressions;
mod scope;

use super::node::{Id, NONE, Node, Operator, Qualifier, Span, Suffix};

/// Longer names are left as they are, and so are those that take too many steps.
const LONGEST: usize = 1 << 18;
const DEEPEST: u32 = 512;

/// The template whose arguments `T_` stands for, and those around it.
#[derive(Clone, Copy)]
struct Scope<'a> {
    arguments: Id,
    outer: Option<&'a Scope<'a>>,
}

type Outer<'a> = Option<&'a Scope<'a>>;

/// What cannot be written.
struct Unwritable;

type Written = Result<(), Unwritable>;

/// Writes one name behind what is in `out`.
pub(super) struct Printer<'a> {
    text: &'a [u8],
    nodes: &'a [Node],
    out: &'a mut Vec<u8>,
    start: usize,
    /// The last byte written. It stays what it was when a comma is taken back.
    last: u8,
    depth: u32,
    steps: u32,
    /// Which element of a pack is written.
    pack: usize,
    /// In the parameters of a generic lambda, where `T_` is `auto:1`.
    lambda: bool,
    /// The arguments of the innermost template whose name is being written, for conversion operators.
    template: Id,
    /// Template parameters that references refer to, and the arguments that they stood for when first written.
    referred: Vec<(Id, Id)>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(text: &'a [u8], nodes: &'a [Node], out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self {
            text,
            nodes,
            out,
            start,
            last: 0,
            depth: 0,
            steps: 4096 + 64 * text.len() as u32,
            pack: 0,
            lambda: false,
            template: NONE,
            referred: Vec::new(),
        }
    }

    /// Whether it could be written; if not, part of it may have been.
    pub(super) fn name(&mut self, id: Id) -> bool {
        self.left(id, None, 0).and_then(|()| self.right(id, None)).is_ok()
    }

    fn node(&self, id: Id) -> Result<Node, Unwritable> {
        self.nodes.get(id as usize).copied().ok_or(Unwritable)
    }

    fn push(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.out.extend_from_slice(text);
        self.last = text.last().copied().unwrap_or(self.last);
    }

    fn span(&mut self, span: Span) {
        let text = self.text;
        self.push(&text[span.start as usize..span.end as usize]);
    }

    fn number(&mut self, number: impl Into<i64>) {
        self.push(number.into().to_string());
    }

    fn descend(&mut self, rule: impl FnOnce(&mut Self) -> Written) -> Written {
        if self.depth >= DEEPEST || self.steps == 0 || self.out.len() - self.start > LONGEST {
            return Err(Unwritable);
        }
        self.steps -= 1;
        self.depth += 1;
        let written = rule(self);
        self.depth -= 1;
        written
    }

    /// All of it: what stands before a declared name and what stands behind it.
    fn whole(&mut self, id: Id, scope: Outer<'_>) -> Written {
        self.left(id, scope, 0)?;
        self.right(id, scope)
    }

    /// What stands before the name. `qualifiers` are those that follow anyway.
    fn left(&mut self, id: Id, scope: Outer<'_>, qualifiers: u8) -> Written {
        self.descend(|printer| printer.left_inner(id, scope, qualifiers))
    }

    fn left_inner(&mut self, id: Id, scope: Outer<'_>, qualifiers: u8) -> Written {
        match self.node(id)? {
            Node::Name(span) => self.span(span),
            Node::Text(text) => self.push(text),
            Node::Number(number) => self.number(number),
            Node::Scoped(outer, inner) => {
                self.whole(outer, scope)?;
                self.push("::");
                self.whole(inner, scope)?;
            }
            Node::Local(function, inner) => {
                self.whole(function, scope)?;
                self.push("::");
                self.whole(inner, scope)?;
            }
            Node::DefaultArgument(number, inner) => {
                self.push("{default arg#");
                self.number(number + 1);
                self.push("}::");
                self.whole(inner, scope)?;
            }
            Node::Typed(name, ty) => self.typed(name, ty, scope)?,
            Node::Template(name, arguments) => self.template(name, arguments, scope)?,
            Node::TemplateParameter(number) if self.lambda => {
                self.push("auto:");
                self.number(number + 1);
            }
            Node::TemplateParameter(number) => {
                let (argument, outer) = self.element(number, scope)?;
                self.left(argument, outer, qualifiers)?;
            }
            Node::FunctionParameter(0) => self.push("this"),
            Node::FunctionParameter(number) => {
                self.push("{parm#");
                self.number(number);
                self.push("}");
            }
            Node::Constructor(name) => self.whole(name, scope)?,
            Node::Destructor(name) => {
                self.push("~");
                self.whole(name, scope)?;
            }
            Node::Special(text, operand) => {
                self.push(text);
                self.whole(operand, scope)?;
            }
            Node::ConstructionTable(base, derived) => {
                self.push("construction vtable for ");
                self.whole(base, scope)?;
                self.push("-in-");
                self.whole(derived, scope)?;
            }
            Node::ReferenceTemporary(name, number) => {
                self.push("reference temporary #");
                self.number(number);
                self.push(" for ");
                self.whole(name, scope)?;
            }
            Node::Qualified(qualifier, inner) => {
                let new = qualifiers & qualifier as u8 == 0;
                self.left(inner, scope, qualifiers | qualifier as u8)?;
                if self.is_function(inner, scope)? {
                    self.push("(");
                }
                if new {
                    self.push(qualifier.text());
                }
            }
            Node::Suffixed(_, inner, _) => self.left(inner, scope, 0)?,
            Node::VendorQualified(inner, name) => {
                self.left(inner, scope, 0)?;
                self.push(" ");
                self.whole(name, scope)?;
            }
            Node::Pointer(inner) => {
                self.pointee(inner, scope)?;
                self.push("*");
            }
            Node::Reference(_) | Node::RvalueReference(_) => {
                let (target, outer, lvalue) = self.reference(id, scope)?;
                self.pointee(target, outer)?;
                self.push(if lvalue { "&" } else { "&&" });
            }
            Node::MemberPointer(class, member) => {
                self.pointee_of_class(member, scope)?;
                self.whole(class, scope)?;
                self.push("::*");
            }
            Node::Complex(inner) => {
                self.whole(inner, scope)?;
                self.push(" _Complex");
            }
            Node::Imaginary(inner) => {
                self.whole(inner, scope)?;
                self.push(" _Imaginary");
            }
            Node::Builtin(builtin) => self.push(builtin.name),
            Node::Function(returned, _) => {
                if returned != NONE {
                    self.left(returned, scope, 0)?;
                    if !self.has_right(returned, scope)? {
                        self.push(" ");
                    }
                }
            }
            Node::Array(_, element) => self.left(element, scope, qualifiers)?,
            Node::Vector(dimension, element) => {
                self.whole(element, scope)?;
                self.push(" __vector(");
                self.whole(dimension, scope)?;
                self.push(")");
            }
            Node::List(..) => self.list(id, scope)?,
            Node::Operator(operator) => self.operator_name(operator),
            Node::VendorOperator(name) => {
                self.push("operator ");
                self.whole(name, scope)?;
            }
            Node::Conversion(ty) => {
                self.push("operator ");
                self.conversion(ty, scope)?;
            }
            Node::Cast(ty) => self.whole(ty, scope)?,
            Node::Decltype(expression) => {
                self.push("decltype (");
                self.whole(expression, scope)?;
                self.push(")");
            }
            Node::PackExpansion(pattern) => self.expansion(pattern, scope)?,
            Node::Lambda(parameters, number) => {
                self.push("{lambda(");
                let outer = std::mem::replace(&mut self.lambda, true);
                let written = self.list(parameters, scope);
                self.lambda = outer;
                written?;
                self.push(")#");
                self.number(number + 1);
                self.push("}");
            }
            Node::Unnamed(number) => {
                self.push("{unnamed type#");
                self.number(number + 1);
                self.push("}");
            }
            Node::Tagged(name, tag) => {
                self.whole(name, scope)?;
                self.push("[abi:");
                self.whole(tag, scope)?;
                self.push("]");
            }
            Node::StructuredBinding(names) => {
                self.push("[");
                self.list(names, scope)?;
                self.push("]");
            }
            Node::Clone(name, suffix) => {
                self.whole(name, scope)?;
                self.push(" [clone ");
                self.span(suffix);
                self.push("]");
            }
            Node::Literal(ty, digits, minus) => self.literal(ty, digits, minus, scope)?,
            expression => self.expression(expression, scope)?,
        }
        Ok(())
    }

    /// What stands behind the name.
    fn right(&mut self, id: Id, scope: Outer<'_>) -> Written {
        self.descend(|printer| printer.right_inner(id, scope))
    }

    fn right_inner(&mut self, id: Id, scope: Outer<'_>) -> Written {
        match self.node(id)? {
            Node::TemplateParameter(number) if !self.lambda => {
                let (argument, outer) = self.element(number, scope)?;
                self.right(argument, outer)
            }
            Node::Qualified(_, inner) if self.is_function(inner, scope)? => self.behind_pointer(inner, scope),
            Node::Qualified(_, inner) | Node::VendorQualified(inner, _) => self.right(inner, scope),
            Node::Pointer(inner) | Node::MemberPointer(_, inner) => self.behind_pointer(inner, scope),
            Node::Reference(_) | Node::RvalueReference(_) => {
                let (target, outer, _) = self.reference(id, scope)?;
                self.behind_pointer(target, outer)
            }
            Node::Suffixed(..) | Node::Function(..) => self.behind_function(id, scope),
            Node::Array(..) => {
                self.push(" ");
                self.dimensions(id, scope)
            }
            _ => Ok(()),
        }
    }

    fn dimensions(&mut self, mut id: Id, scope: Outer<'_>) -> Written {
        while let Node::Array(dimension, element) = self.node(id)? {
            self.push("[");
            if dimension != NONE {
                self.whole(dimension, scope)?;
            }
            self.push("]");
            id = element;
        }
        self.right(id, scope)
    }

    /// Parameters, what follows them, and the right of the return type.
    fn behind_function(&mut self, id: Id, scope: Outer<'_>) -> Written {
        let (function, suffixes) = self.suffixes(id)?;
        let Node::Function(returned, parameters) = self.node(function)? else {
            self.right(function, scope)?;
            return self.write_suffixes(&suffixes, scope);
        };
        self.push("(");
        self.list(parameters, scope)?;
        self.push(")");
        self.write_suffixes(&suffixes, scope)?;
        if returned != NONE { self.right(returned, scope) } else { Ok(()) }
    }

    /// What is within the suffixes, and these, the innermost first.
    fn suffixes(&self, mut id: Id) -> Result<(Id, Vec<(Suffix, Id)>), Unwritable> {
        let mut suffixes = Vec::new();
        while let Node::Suffixed(suffix, inner, operand) = self.node(id)? {
            suffixes.push((suffix, operand));
            id = inner;
        }
        suffixes.reverse();
        Ok((id, suffixes))
    }

    fn write_suffixes(&mut self, suffixes: &[(Suffix, Id)], scope: Outer<'_>) -> Written {
        for (suffix, operand) in suffixes {
            self.push(match suffix {
                Suffix::Qualifier(qualifier) => Qualifier::text(*qualifier),
                Suffix::Reference => " &",
                Suffix::RvalueReference => " &&",
                Suffix::TransactionSafe => " transaction_safe",
                Suffix::Noexcept => " noexcept",
                Suffix::Throw => " throw",
            });
            if *operand != NONE {
                self.push("(");
                self.whole(*operand, scope)?;
                self.push(")");
            }
        }
        Ok(())
    }

    /// The left of what a pointer or reference points to, and the parenthesis that it needs.
    fn pointee(&mut self, inner: Id, scope: Outer<'_>) -> Written {
        self.left(inner, scope, 0)?;
        if self.is_function(inner, scope)? {
            if !matches!(self.last, b'(' | b'*' | b' ') {
                self.push(" ");
            }
            self.push("(");
        } else if self.is_array(inner, scope)? {
            self.push(" (");
        }
        Ok(())
    }

    fn pointee_of_class(&mut self, inner: Id, scope: Outer<'_>) -> Written {
        self.left(inner, scope, 0)?;
        if self.is_function(inner, scope)? {
            if self.last != b' ' {
                self.push(" ");
            }
            self.push("(");
        } else if self.is_array(inner, scope)? {
            self.push(" (");
        } else if self.last != b'(' {
            self.push(" ");
        }
        Ok(())
    }

    fn behind_pointer(&mut self, inner: Id, scope: Outer<'_>) -> Written {
        if self.is_function(inner, scope)? || self.is_array(inner, scope)? {
            self.push(")");
        }
        self.right(inner, scope)
    }

    /// A function: return type, name, parameters.
    fn typed(&mut self, name: Id, ty: Id, scope: Outer<'_>) -> Written {
        let (inner, mut suffixes) = self.suffixes(name)?;
        // What qualifies a function that is local to another stands at the end, too.
        let mut template = inner;
        let mut local = None;
        if let Node::Local(function, entity) = self.node(inner)? {
            let within = match self.node(entity)? {
                Node::DefaultArgument(_, within) => within,
                _ => entity,
            };
            let (within, of_entity) = self.suffixes(within)?;
            suffixes.splice(0..0, of_entity);
            template = within;
            local = Some((function, entity, within));
        }
        let own;
        let mut inside = scope;
        if let Node::Template(_, arguments) = self.node(template)? {
            own = Scope { arguments, outer: scope };
            inside = Some(&own);
        }
        let Node::Function(returned, parameters) = self.node(ty)? else { return Err(Unwritable) };
        if returned != NONE {
            self.left(returned, inside, 0)?;
            if !self.has_right(returned, inside)? {
                self.push(" ");
            }
        }
        match local {
            Some((function, entity, within)) => {
                self.whole(function, inside)?;
                self.push("::");
                if let Node::DefaultArgument(number, _) = self.node(entity)? {
                    self.push("{default arg#");
                    self.number(number + 1);
                    self.push("}::");
                }
                self.whole(within, inside)?;
            }
            None => self.whole(inner, inside)?,
        }
        self.push("(");
        self.list(parameters, inside)?;
        self.push(")");
        self.write_suffixes(&suffixes, inside)?;
        if returned != NONE { self.right(returned, inside) } else { Ok(()) }
    }

    fn template(&mut self, name: Id, arguments: Id, scope: Outer<'_>) -> Written {
        let outer = std::mem::replace(&mut self.template, arguments);
        let written = self.whole(name, scope);
        self.template = outer;
        written?;
        self.arguments(arguments, scope)
    }

    fn arguments(&mut self, arguments: Id, scope: Outer<'_>) -> Written {
        if self.last == b'<' {
            self.push(" ");
        }
        self.push("<");
        let outer = std::mem::replace(&mut self.lambda, false);
        let written = self.list(arguments, scope);
        self.lambda = outer;
        written?;
        if self.last == b'>' {
            self.push(" ");
        }
        self.push(">");
        Ok(())
    }

    fn list(&mut self, list: Id, scope: Outer<'_>) -> Written {
        let mut cell = list;
        let mut first = true;
        while cell != NONE {
            let Node::List(item, rest) = self.node(cell)? else { return Err(Unwritable) };
            if item != NONE {
                let before = self.out.len();
                if !first {
                    self.push(", ");
                }
                let begun = self.out.len();
                self.whole(item, scope)?;
                if self.out.len() == begun {
                    // An empty pack: `last` stays as it is.
                    self.out.truncate(before);
                }
            }
            first = false;
            cell = rest;
        }
        Ok(())
    }

    fn conversion(&mut self, ty: Id, scope: Outer<'_>) -> Written {
        let own;
        let mut inside = scope;
        if self.template != NONE {
            own = Scope { arguments: self.template, outer: scope };
            inside = Some(&own);
        }
        match self.node(ty)? {
            Node::Template(name, arguments) => {
                self.whole(name, inside)?;
                self.arguments(arguments, scope)
            }
            _ => self.whole(ty, inside),
        }
    }

    fn expansion(&mut self, pattern: Id, scope: Outer<'_>) -> Written {
        let pack = if self.lambda { None } else { self.find_pack(pattern, scope, DEEPEST)? };
        let Some(length) = pack else {
            self.operand(pattern, scope)?;
            self.push("...");
            return Ok(());
        };
        let outer = self.pack;
        for index in 0..length {
            if index > 0 {
                self.push(", ");
            }
            self.pack = index;
            self.whole(pattern, scope)?;
        }
        self.pack = outer;
        Ok(())
    }

    fn operator_name(&mut self, operator: &Operator) {
        self.push("operator");
        if operator.name.starts_with(|first: char| first.is_ascii_lowercase()) {
            self.push(" ");
        }
        self.push(operator.name.trim_end());
    }
}
