//! From the mangled name to its tree, after the grammar of the Itanium C++ ABI, section 5.1.

mod expressions;
mod types;

use super::node::{Id, NONE, Node, Qualifier, Span, Suffix, operator, standard};

/// Names that are nested deeper are left as they are.
const DEEPEST: u32 = 256;

/// Reads one name. Both lists belong to whoever demangles many.
pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    nodes: &'a mut Vec<Node>,
    substitutions: &'a mut Vec<Id>,
    depth: u32,
    /// What a constructor here would be called.
    last_name: Id,
    /// Within the type of a conversion operator, whose name's template arguments stand behind the type.
    conversion: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8], nodes: &'a mut Vec<Node>, substitutions: &'a mut Vec<Id>) -> Self {
        nodes.clear();
        substitutions.clear();
        Self { text, at: 0, nodes, substitutions, depth: 0, last_name: NONE, conversion: false }
    }

    /// The whole of the text: `_Z`, an encoding, and what compilers append to the names of copies.
    pub(super) fn mangled_name(&mut self) -> Option<Id> {
        self.prefix_z()?;
        let mut name = self.encoding()?;
        while self.peek() == b'.' {
            let span = self.clone_suffix()?;
            name = self.make(Node::Clone(name, span));
        }
        (self.at == self.text.len()).then_some(name)
    }

    fn prefix_z(&mut self) -> Option<()> {
        self.expect(b'_')?;
        self.expect(b'Z')
    }

    fn clone_suffix(&mut self) -> Option<Span> {
        let start = self.at;
        let in_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !in_word(self.peek_next()) {
            return None;
        }
        self.at += 2;
        while in_word(self.peek()) {
            self.at += 1;
        }
        while self.peek() == b'.' && self.peek_next().is_ascii_digit() {
            self.at += 2;
            while self.peek().is_ascii_digit() {
                self.at += 1;
            }
        }
        Some(self.span(start))
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn peek_next(&self) -> u8 {
        self.text.get(self.at + 1).copied().unwrap_or(0)
    }

    fn next(&mut self) -> u8 {
        let byte = self.peek();
        self.at = (self.at + 1).min(self.text.len());
        byte
    }

    fn accept(&mut self, byte: u8) -> bool {
        let there = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.accept(byte).then_some(())
    }

    fn accept_pair(&mut self, pair: &[u8; 2]) -> bool {
        let there = self.peek() == pair[0] && self.peek_next() == pair[1];
        self.at += if there { 2 } else { 0 };
        there
    }

    fn span(&self, start: usize) -> Span {
        // The demangler refuses names that do not fit.
        Span { start: start as u32, end: self.at as u32 }
    }

    fn make(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        (self.nodes.len() - 1) as Id
    }

    fn node(&self, id: Id) -> Node {
        self.nodes[id as usize]
    }

    fn remember(&mut self, id: Id) {
        self.substitutions.push(id);
    }

    /// Runs one rule of the grammar, if the name is not nested too deeply for it.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let made = rule(self);
        self.depth -= 1;
        made
    }

    fn encoding(&mut self) -> Option<Id> {
        self.nested(|parser| {
            if matches!(parser.peek(), b'G' | b'T') {
                return parser.special_name();
            }
            let name = parser.name()?;
            if matches!(parser.peek(), 0 | b'E' | b'.') {
                return Some(name);
            }
            let returns = parser.has_return_type(name);
            let function = parser.bare_function(returns)?;
            Some(parser.make(Node::Typed(name, function)))
        })
    }

    /// Functions that are instances of templates have their return type in their names, but for those without one.
    fn has_return_type(&self, mut name: Id) -> bool {
        loop {
            match self.node(name) {
                Node::Suffixed(_, inner, _) | Node::DefaultArgument(_, inner) => name = inner,
                Node::Local(_, inner) => name = inner,
                Node::Template(inner, _) => break !self.is_special_member(inner),
                _ => break false,
            }
        }
    }

    fn is_special_member(&self, mut name: Id) -> bool {
        loop {
            match self.node(name) {
                Node::Scoped(_, last) | Node::Local(_, last) => name = last,
                Node::Tagged(inner, _) => name = inner,
                node => break matches!(node, Node::Constructor(_) | Node::Destructor(_) | Node::Conversion(_)),
            }
        }
    }

    fn name(&mut self) -> Option<Id> {
        self.nested(|parser| match parser.peek() {
            b'N' => parser.nested_name(),
            b'Z' => parser.local_name(),
            b'S' if parser.peek_next() != b't' => {
                let name = parser.substitution(false)?;
                if parser.peek() == b'I' { parser.templated(name) } else { Some(name) }
            }
            b'S' => {
                parser.at += 2;
                let std = parser.make(Node::Text("std"));
                parser.accept(b'L');
                let last = parser.unqualified_name()?;
                let name = parser.make(Node::Scoped(std, last));
                parser.maybe_templated(name)
            }
            _ => {
                let name = parser.unqualified_name()?;
                parser.maybe_templated(name)
            }
        })
    }

    /// A name that can be referred to again, if arguments follow it.
    fn maybe_templated(&mut self, name: Id) -> Option<Id> {
        if self.peek() != b'I' {
            return Some(name);
        }
        self.remember(name);
        self.templated(name)
    }

    fn templated(&mut self, name: Id) -> Option<Id> {
        let arguments = self.template_arguments()?;
        Some(self.make(Node::Template(name, arguments)))
    }

    fn nested_name(&mut self) -> Option<Id> {
        self.expect(b'N')?;
        let qualifiers = self.qualifiers();
        let reference = match self.peek() {
            b'R' => Some(Suffix::Reference),
            b'O' => Some(Suffix::RvalueReference),
            _ => None,
        };
        self.at += usize::from(reference.is_some());
        let mut name = self.prefix(true)?;
        self.expect(b'E')?;
        for qualifier in qualifiers.into_iter().flatten().rev() {
            name = self.make(Node::Suffixed(Suffix::Qualifier(qualifier), name, NONE));
        }
        if let Some(reference) = reference {
            name = self.make(Node::Suffixed(reference, name, NONE));
        }
        Some(name)
    }

    /// In the order in which they are written: the outermost first.
    fn qualifiers(&mut self) -> [Option<Qualifier>; 3] {
        [(b'r', Qualifier::Restrict), (b'V', Qualifier::Volatile), (b'K', Qualifier::Const)]
            .map(|(letter, qualifier)| self.accept(letter).then_some(qualifier))
    }

    /// Up to its `E`. In a nested name what it consists of can be referred to again.
    fn prefix(&mut self, remembered: bool) -> Option<Id> {
        let mut whole = NONE;
        loop {
            let first = self.peek();
            let part = match first {
                b'D' if matches!(self.peek_next(), b'T' | b't') => self.ty()?,
                b'S' => self.substitution(true)?,
                b'I' => {
                    if whole == NONE {
                        return None;
                    }
                    let arguments = self.template_arguments()?;
                    whole = self.make(Node::Template(whole, arguments));
                    if remembered && self.peek() != b'E' {
                        self.remember(whole);
                    }
                    continue;
                }
                b'T' => self.template_parameter()?,
                b'E' => return (whole != NONE).then_some(whole),
                b'M' if whole != NONE => {
                    self.at += 1;
                    continue;
                }
                _ => self.unqualified_name()?,
            };
            whole = if whole == NONE { part } else { self.make(Node::Scoped(whole, part)) };
            if remembered && first != b'S' && self.peek() != b'E' {
                self.remember(whole);
            }
        }
    }

    fn unqualified_name(&mut self) -> Option<Id> {
        let mut name = match self.peek() {
            b'0'..=b'9' => self.source_name()?,
            b'D' if self.peek_next() == b'C' => {
                self.at += 2;
                let names = self.list(|parser| parser.source_name(), b'E')?;
                self.make(Node::StructuredBinding(names))
            }
            b'a'..=b'z' => self.operator_name()?,
            b'C' | b'D' => self.special_member()?,
            b'L' => {
                self.at += 1;
                let name = self.source_name()?;
                self.discriminator();
                name
            }
            b'U' if self.peek_next() == b'l' => self.lambda()?,
            b'U' if self.peek_next() == b't' => {
                self.at += 2;
                let number = self.compact_number()?;
                self.make(Node::Unnamed(number))
            }
            _ => return None,
        };
        while self.accept(b'B') {
            let last = self.last_name;
            let tag = self.source_name()?;
            self.last_name = last;
            name = self.make(Node::Tagged(name, tag));
        }
        Some(name)
    }

    fn lambda(&mut self) -> Option<Id> {
        self.at += 2;
        let parameters = self.parameters()?;
        self.expect(b'E')?;
        let number = self.compact_number()?;
        Some(self.make(Node::Lambda(parameters, number)))
    }

    fn source_name(&mut self) -> Option<Id> {
        let length = usize::try_from(self.number()?).ok().filter(|length| *length > 0)?;
        let text = self.text.get(self.at..self.at.checked_add(length)?)?;
        let start = self.at;
        self.at += length;
        let anonymous = matches!(text, [b'_', b'G', b'L', b'O', b'B', b'A', b'L', b'_', b'.' | b'_' | b'$', b'N', ..]);
        let name = if anonymous { Node::Text("(anonymous namespace)") } else { Node::Name(self.span(start)) };
        self.last_name = self.make(name);
        Some(self.last_name)
    }

    /// A decimal number, `n` before it for a minus.
    fn number(&mut self) -> Option<i64> {
        let minus = self.accept(b'n');
        let start = self.at;
        let mut number = 0i64;
        while self.peek().is_ascii_digit() {
            number = number.checked_mul(10)?.checked_add(i64::from(self.next() - b'0'))?;
        }
        (self.at > start).then_some(if minus { -number } else { number })
    }

    /// `_`, `0_`, `1_`, …: 0, 1, 2.
    fn compact_number(&mut self) -> Option<u32> {
        if self.accept(b'_') {
            return Some(0);
        }
        let number = u32::try_from(self.number()?).ok()?;
        self.expect(b'_')?;
        number.checked_add(1)
    }

    fn discriminator(&mut self) -> Option<()> {
        if self.accept(b'_') {
            let long = self.accept(b'_');
            if long || self.peek().is_ascii_digit() {
                let digits = if long { self.number()? } else { i64::from(self.next() - b'0') };
                if long && digits >= 10 {
                    self.expect(b'_')?;
                }
            }
        }
        Some(())
    }

    fn operator_name(&mut self) -> Option<Id> {
        if self.peek() == b'v' && self.peek_next().is_ascii_digit() {
            self.at += 2;
            let name = self.source_name()?;
            return Some(self.make(Node::VendorOperator(name)));
        }
        if self.accept_pair(b"cv") {
            let outer = std::mem::replace(&mut self.conversion, true);
            let ty = self.ty();
            self.conversion = outer;
            let ty = ty?;
            return Some(self.make(Node::Conversion(ty)));
        }
        if self.accept_pair(b"on") {
            return self.operator_name();
        }
        let operator = operator([self.next(), self.next()])?;
        let made = self.make(Node::Operator(operator));
        if operator.code == *b"li" {
            let name = self.source_name()?;
            return Some(self.make(Node::Unary(made, name)));
        }
        Some(made)
    }

    fn special_member(&mut self) -> Option<Id> {
        let name = self.last_name;
        if name == NONE {
            return None;
        }
        let constructor = self.next() == b'C';
        if constructor && self.accept(b'I') {
            if !matches!(self.next(), b'1'..=b'5') {
                return None;
            }
            // It is called as its base's is.
            self.ty()?;
            return Some(self.make(Node::Constructor(self.last_name)));
        }
        match (constructor, self.next()) {
            (true, b'1'..=b'5') => Some(self.make(Node::Constructor(name))),
            (false, b'0'..=b'5') => Some(self.make(Node::Destructor(name))),
            _ => None,
        }
    }

    fn special_name(&mut self) -> Option<Id> {
        let kind = [self.next(), self.next()];
        let (text, operand) = match &kind {
            b"TV" => ("vtable for ", self.ty()?),
            b"TT" => ("VTT for ", self.ty()?),
            b"TI" => ("typeinfo for ", self.ty()?),
            b"TS" => ("typeinfo name for ", self.ty()?),
            b"TF" => ("typeinfo fn for ", self.ty()?),
            b"Th" => {
                self.call_offset(b'h')?;
                ("non-virtual thunk to ", self.encoding()?)
            }
            b"Tv" => {
                self.call_offset(b'v')?;
                ("virtual thunk to ", self.encoding()?)
            }
            b"Tc" => {
                for _ in 0..2 {
                    let letter = self.next();
                    self.call_offset(letter)?;
                }
                ("covariant return thunk to ", self.encoding()?)
            }
            b"TC" => {
                let derived = self.ty()?;
                self.number().filter(|offset| *offset >= 0)?;
                self.expect(b'_')?;
                let base = self.ty()?;
                return Some(self.make(Node::ConstructionTable(base, derived)));
            }
            b"TH" => ("TLS init function for ", self.name()?),
            b"TW" => ("TLS wrapper function for ", self.name()?),
            b"TA" => ("template parameter object for ", self.template_argument()?),
            b"GV" => ("guard variable for ", self.name()?),
            b"GR" => {
                let name = self.name()?;
                let number = self.sequence_number()?;
                return Some(self.make(Node::ReferenceTemporary(name, number)));
            }
            b"GA" => ("hidden alias for ", self.encoding()?),
            b"GT" if self.accept(b'n') => ("non-transaction clone for ", self.encoding()?),
            b"GT" => {
                self.expect(b't')?;
                ("transaction clone for ", self.encoding()?)
            }
            _ => return None,
        };
        Some(self.make(Node::Special(text, operand)))
    }

    /// `_` or a number in base 36 and `_`; clang leaves the `_` off where it is the first.
    fn sequence_number(&mut self) -> Option<i64> {
        if matches!(self.peek(), 0 | b'.') {
            return Some(0);
        }
        self.base_36().map(i64::from)
    }

    fn call_offset(&mut self, kind: u8) -> Option<()> {
        self.number()?;
        if kind == b'v' {
            self.expect(b'_')?;
            self.number()?;
        } else if kind != b'h' {
            return None;
        }
        self.expect(b'_')
    }

    fn local_name(&mut self) -> Option<Id> {
        self.expect(b'Z')?;
        let function = self.encoding()?;
        self.expect(b'E')?;
        let name = if self.accept(b's') {
            self.discriminator()?;
            self.make(Node::Text("string literal"))
        } else {
            let argument = if self.accept(b'd') { Some(self.compact_number()?) } else { None };
            let name = self.name()?;
            if !matches!(self.node(name), Node::Lambda(..) | Node::Unnamed(_)) {
                self.discriminator()?;
            }
            match argument {
                Some(number) => self.make(Node::DefaultArgument(number, name)),
                None => name,
            }
        };
        // The function's return type would be taken for that of what is in it.
        if let Node::Typed(_, ty) = self.node(function)
            && let Node::Function(returned, _) = &mut self.nodes[ty as usize]
        {
            *returned = NONE;
        }
        Some(self.make(Node::Local(function, name)))
    }

    /// `_` or a number in base 36 and `_`: 0, 1, 2, ….
    fn base_36(&mut self) -> Option<u32> {
        let mut number = 0u32;
        if self.accept(b'_') {
            return Some(0);
        }
        loop {
            let digit = match self.next() {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'A'..=b'Z' => digit - b'A' + 10,
                b'_' => return number.checked_add(1),
                _ => return None,
            };
            number = number.checked_mul(36)?.checked_add(u32::from(digit))?;
        }
    }

    fn substitution(&mut self, in_prefix: bool) -> Option<Id> {
        self.expect(b'S')?;
        if matches!(self.peek(), b'_' | b'0'..=b'9' | b'A'..=b'Z') {
            let index = self.base_36()?;
            return self.substitutions.get(index as usize).copied();
        }
        let (short, full, member) = standard(self.next())?;
        let constructed = in_prefix && matches!(self.peek(), b'C' | b'D');
        self.last_name = self.make(Node::Text(member));
        let mut name = self.make(Node::Text(if constructed { full } else { short }));
        if self.peek() == b'B' {
            while self.accept(b'B') {
                let last = self.last_name;
                let tag = self.source_name()?;
                self.last_name = last;
                name = self.make(Node::Tagged(name, tag));
            }
            self.remember(name);
        }
        Some(name)
    }

    fn template_parameter(&mut self) -> Option<Id> {
        self.expect(b'T')?;
        let number = self.compact_number()?;
        Some(self.make(Node::TemplateParameter(number)))
    }

    fn template_arguments(&mut self) -> Option<Id> {
        // An argument's names are not those that a constructor behind the arguments has.
        let last = self.last_name;
        if !matches!(self.next(), b'I' | b'J') {
            return None;
        }
        let arguments = self.nested(|parser| parser.list(Self::template_argument, b'E'));
        self.last_name = last;
        arguments
    }

    fn template_argument(&mut self) -> Option<Id> {
        match self.peek() {
            b'X' => {
                self.at += 1;
                let expression = self.expression()?;
                self.expect(b'E')?;
                Some(expression)
            }
            b'L' => self.literal(),
            b'I' | b'J' => self.template_arguments(),
            _ => self.ty(),
        }
    }

    /// Items up to `end`, which is taken as well.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<Id>, end: u8) -> Option<Id> {
        if self.accept(end) {
            return Some(self.make(Node::List(NONE, NONE)));
        }
        let first = self.nodes.len();
        let mut last = NONE;
        let mut head = NONE;
        loop {
            let made = item(self)?;
            let cell = self.make(Node::List(made, NONE));
            if last == NONE {
                head = cell;
            } else if let Node::List(_, rest) = &mut self.nodes[last as usize] {
                *rest = cell;
            }
            last = cell;
            if self.accept(end) {
                debug_assert!(head as usize >= first);
                return Some(head);
            }
        }
    }
}
