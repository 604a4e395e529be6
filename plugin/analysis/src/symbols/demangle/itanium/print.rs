//! A tree as text, written as GNU binutils write it, since that is what users compare with and copy from.

use super::node::{Id, NONE, Node, Notation, Operator, Qualifier, Span, Suffix};

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

    /// What `T_` stands for, and the scope that this is to be read in.
    fn argument<'s>(&self, number: u32, scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
        let scope = scope.ok_or(Unwritable)?;
        let mut list = scope.arguments;
        for _ in 0..number {
            let Node::List(_, rest) = self.node(list)? else { return Err(Unwritable) };
            list = rest;
        }
        let Node::List(item, _) = self.node(list)? else { return Err(Unwritable) };
        Ok((item, scope.outer))
    }

    /// The same, where it is a pack the element that is being written.
    fn element<'s>(&self, number: u32, scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
        let (item, outer) = self.argument(number, scope)?;
        Ok((self.of_pack(item)?, outer))
    }

    fn of_pack(&self, mut item: Id) -> Result<Id, Unwritable> {
        if let Node::List(..) = self.node(item)? {
            for _ in 0..self.pack {
                let Node::List(_, rest) = self.node(item)? else { return Err(Unwritable) };
                item = rest;
            }
            let Node::List(first, _) = self.node(item)? else { return Err(Unwritable) };
            item = first;
        }
        self.node(item).map(|_| item)
    }

    /// The type behind template parameters, and its scope.
    fn resolved<'s>(&self, mut id: Id, mut scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
        while !self.lambda
            && let Node::TemplateParameter(number) = self.node(id)?
        {
            (id, scope) = self.element(number, scope)?;
        }
        Ok((id, scope))
    }

    /// Whether something of a type stands behind the name that it is declared with.
    fn has_right(&self, id: Id, scope: Outer<'_>) -> Result<bool, Unwritable> {
        let (mut id, mut scope) = (id, scope);
        loop {
            (id, scope) = self.resolved(id, scope)?;
            id = match self.node(id)? {
                Node::Function(..) | Node::Array(..) => return Ok(true),
                Node::Suffixed(_, inner, _)
                | Node::Qualified(_, inner)
                | Node::VendorQualified(inner, _)
                | Node::Pointer(inner)
                | Node::Reference(inner)
                | Node::RvalueReference(inner)
                | Node::MemberPointer(_, inner) => inner,
                _ => return Ok(false),
            };
        }
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

    /// What a reference refers to, once references to references are one, and whether it is one to an lvalue.
    fn reference<'s>(&mut self, mut id: Id, mut scope: Outer<'s>) -> Result<(Id, Outer<'s>, bool), Unwritable> {
        let mut lvalue = false;
        loop {
            let inner = match self.node(id)? {
                Node::Reference(inner) => {
                    lvalue = true;
                    inner
                }
                Node::RvalueReference(inner) => inner,
                _ => return Ok((id, scope, lvalue)),
            };
            let (target, outer) = self.referred(inner, scope)?;
            let (end, end_scope) = self.resolved(target, outer)?;
            if !matches!(self.node(end)?, Node::Reference(_) | Node::RvalueReference(_)) {
                return Ok((target, outer, lvalue));
            }
            (id, scope) = (end, end_scope);
        }
    }

    /// What is behind the template parameter that a reference refers to. A reference that the name repeats in another
    /// template still means the argument that it meant at first.
    fn referred<'s>(&mut self, inner: Id, scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
        let Node::TemplateParameter(number) = self.node(inner)? else { return Ok((inner, scope)) };
        if self.lambda {
            return Ok((inner, scope));
        }
        let first = self.referred.iter().find(|(parameter, _)| *parameter == inner).map(|(_, argument)| *argument);
        let here = self.argument(number, scope);
        match first {
            Some(argument) if here.as_ref().ok().is_none_or(|(here, _)| *here != argument) => {
                Ok((self.of_pack(argument)?, None))
            }
            _ => {
                let (argument, outer) = here?;
                if first.is_none() {
                    self.referred.push((inner, argument));
                }
                Ok((self.of_pack(argument)?, outer))
            }
        }
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

    fn is_function(&self, id: Id, scope: Outer<'_>) -> Result<bool, Unwritable> {
        let (mut id, _) = self.resolved(id, scope)?;
        while let Node::Suffixed(_, inner, _) = self.node(id)? {
            id = inner;
        }
        Ok(matches!(self.node(id)?, Node::Function(..)))
    }

    fn is_array(&self, id: Id, scope: Outer<'_>) -> Result<bool, Unwritable> {
        let (mut id, mut scope) = self.resolved(id, scope)?;
        while let Node::Qualified(_, inner) = self.node(id)? {
            (id, scope) = self.resolved(inner, scope)?;
        }
        Ok(matches!(self.node(id)?, Node::Array(..)))
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

    /// How many elements the first pack in a pattern has.
    fn find_pack(&self, id: Id, scope: Outer<'_>, depth: u32) -> Result<Option<usize>, Unwritable> {
        if id == NONE || depth == 0 {
            return Ok(None);
        }
        let find = |id: Id| self.find_pack(id, scope, depth - 1);
        let either = |a: Id, b: Id| match find(a)? {
            None => find(b),
            found => Ok(found),
        };
        match self.node(id)? {
            Node::TemplateParameter(number) => {
                let Ok((mut item, _)) = self.argument(number, scope) else { return Ok(None) };
                let Node::List(first, _) = self.node(item)? else { return Ok(None) };
                if first == NONE {
                    return Ok(Some(0));
                }
                let mut length = 0;
                while item != NONE {
                    let Node::List(_, rest) = self.node(item)? else { return Err(Unwritable) };
                    length += 1;
                    item = rest;
                }
                Ok(Some(length))
            }
            Node::Scoped(a, b)
            | Node::Local(a, b)
            | Node::Typed(a, b)
            | Node::Template(a, b)
            | Node::Function(a, b)
            | Node::Array(a, b)
            | Node::Vector(a, b)
            | Node::MemberPointer(a, b)
            | Node::List(a, b)
            | Node::Unary(a, b)
            | Node::Postfix(a, b)
            | Node::NamedCast(_, a, b)
            | Node::Fold(_, a, b)
            | Node::Braces(a, b)
            | Node::Suffixed(_, a, b)
            | Node::New(_, a, b)
            | Node::Initialized(a, b)
            | Node::VendorQualified(a, b) => either(a, b),
            Node::Binary(a, b, c) | Node::Conditional(a, b, c) | Node::FoldInit(a, b, c) => match find(a)? {
                None => either(b, c),
                found => Ok(found),
            },
            Node::Qualified(_, inner)
            | Node::Pointer(inner)
            | Node::Reference(inner)
            | Node::RvalueReference(inner)
            | Node::Complex(inner)
            | Node::Imaginary(inner)
            | Node::Conversion(inner)
            | Node::Cast(inner)
            | Node::Decltype(inner)
            | Node::Constructor(inner)
            | Node::Destructor(inner)
            | Node::Special(_, inner) => find(inner),
            _ => Ok(None),
        }
    }

    fn operator_name(&mut self, operator: &Operator) {
        self.push("operator");
        if operator.name.starts_with(|first: char| first.is_ascii_lowercase()) {
            self.push(" ");
        }
        self.push(operator.name.trim_end());
    }

    /// An operator within an expression.
    fn operator(&mut self, id: Id, scope: Outer<'_>) -> Written {
        match self.node(id)? {
            Node::Operator(operator) => {
                self.push(operator.name);
                Ok(())
            }
            _ => self.whole(id, scope),
        }
    }

    fn operand(&mut self, id: Id, scope: Outer<'_>) -> Written {
        let simple =
            matches!(self.node(id)?, Node::Name(_) | Node::Scoped(..) | Node::Braces(..) | Node::FunctionParameter(_));
        if simple {
            return self.whole(id, scope);
        }
        self.push("(");
        self.whole(id, scope)?;
        self.push(")");
        Ok(())
    }

    fn expression(&mut self, node: Node, scope: Outer<'_>) -> Written {
        match node {
            Node::Unary(operator, operand) => return self.unary(operator, operand, scope),
            Node::Postfix(operator, operand) => {
                self.operand(operand, scope)?;
                self.operator(operator, scope)?;
            }
            Node::Binary(operator, left, right) => return self.binary(operator, left, right, scope),
            Node::Conditional(condition, yes, no) => {
                self.operand(condition, scope)?;
                self.push("?");
                self.operand(yes, scope)?;
                self.push(" : ");
                self.operand(no, scope)?;
            }
            Node::New(operator, placement, initialized) => {
                let Node::Initialized(ty, initializer) = self.node(initialized)? else { return Err(Unwritable) };
                self.push(operator.name);
                self.push(" ");
                if !matches!(self.node(placement)?, Node::List(NONE, _)) {
                    self.operand(placement, scope)?;
                    self.push(" ");
                }
                self.whole(ty, scope)?;
                if initializer != NONE {
                    self.operand(initializer, scope)?;
                }
            }
            Node::NamedCast(name, ty, operand) => {
                self.push(name);
                self.push("<");
                self.whole(ty, scope)?;
                self.push(">(");
                self.whole(operand, scope)?;
                self.push(")");
            }
            Node::Fold(kind, operator, operand) => {
                self.push("(");
                if kind == b'l' {
                    self.push("...");
                    self.operator(operator, scope)?;
                    self.operand(operand, scope)?;
                } else {
                    self.operand(operand, scope)?;
                    self.operator(operator, scope)?;
                    self.push("...");
                }
                self.push(")");
            }
            Node::FoldInit(operator, left, right) => {
                self.push("(");
                self.operand(left, scope)?;
                self.operator(operator, scope)?;
                self.push("...");
                self.operator(operator, scope)?;
                self.operand(right, scope)?;
                self.push(")");
            }
            Node::Braces(ty, items) => {
                if ty != NONE {
                    self.whole(ty, scope)?;
                }
                self.push("{");
                self.list(items, scope)?;
                self.push("}");
            }
            _ => return Err(Unwritable),
        }
        Ok(())
    }

    fn unary(&mut self, operator: Id, operand: Id, scope: Outer<'_>) -> Written {
        let code = match self.node(operator)? {
            Node::Operator(operator) => operator.code,
            Node::Cast(_) => {
                self.push("(");
                self.whole(operator, scope)?;
                self.push(")");
                return self.operand(operand, scope);
            }
            _ => *b"  ",
        };
        let mut operand = operand;
        if code == *b"ad"
            && let Node::Typed(name, ty) = self.node(operand)?
            && let Node::Scoped(..) = self.node(name)?
            && let Node::Function(..) = self.node(ty)?
        {
            operand = name;
        }
        if code == *b"sZ" {
            let length = self.find_pack(operand, scope, DEEPEST)?.unwrap_or(0);
            self.number(length as i64);
            return Ok(());
        }
        if code == *b"sP" {
            let mut length = 0;
            let mut cell = operand;
            while let Node::List(item, rest) = self.node(cell)? {
                length += i64::from(item != NONE);
                if rest == NONE {
                    break;
                }
                cell = rest;
            }
            self.number(length);
            return Ok(());
        }
        self.operator(operator, scope)?;
        match &code {
            b"gs" => self.whole(operand, scope),
            b"st" | b"nx" => {
                self.push("(");
                self.whole(operand, scope)?;
                self.push(")");
                Ok(())
            }
            _ => self.operand(operand, scope),
        }
    }

    fn binary(&mut self, operator: Id, left: Id, right: Id, scope: Outer<'_>) -> Written {
        let Node::Operator(Operator { code, name, .. }) = self.node(operator)? else { return Err(Unwritable) };
        // It would be taken for the end of the template's arguments.
        let greater = *name == ">";
        if greater {
            self.push("(");
        }
        match self.node(left)? {
            Node::Typed(name, _) if code == b"cl" => self.operand(name, scope)?,
            _ => self.operand(left, scope)?,
        }
        if code == b"ix" {
            self.push("[");
            self.whole(right, scope)?;
            self.push("]");
        } else {
            if code != b"cl" {
                self.push(name);
            }
            self.operand(right, scope)?;
        }
        if greater {
            self.push(")");
        }
        Ok(())
    }

    fn literal(&mut self, ty: Id, digits: Span, minus: bool, scope: Outer<'_>) -> Written {
        let text = self.text;
        let bytes = &text[digits.start as usize..digits.end as usize];
        let notation = match self.node(ty)? {
            Node::Builtin(builtin) => builtin.notation,
            _ => Notation::Other,
        };
        match notation {
            Notation::Number(suffix) => {
                if minus {
                    self.push("-");
                }
                self.push(bytes);
                self.push(suffix);
                return Ok(());
            }
            Notation::Bool if !minus && bytes == b"0" => {
                self.push("false");
                return Ok(());
            }
            Notation::Bool if !minus && bytes == b"1" => {
                self.push("true");
                return Ok(());
            }
            _ => {}
        }
        self.push("(");
        self.whole(ty, scope)?;
        self.push(")");
        if minus {
            self.push("-");
        }
        if notation == Notation::Float {
            self.push("[");
        }
        self.push(bytes);
        if notation == Notation::Float {
            self.push("]");
        }
        Ok(())
    }
}
