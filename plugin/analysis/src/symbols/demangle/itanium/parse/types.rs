//! Types.

use super::super::node::{Id, NONE, Node, Suffix, builtin, builtin_d};
use super::Parser;

impl Parser<'_> {
    pub(super) fn ty(&mut self) -> Option<Id> {
        self.nested(Self::ty_inner)
    }

    pub(super) fn ty_inner(&mut self) -> Option<Id> {
        if matches!(self.peek(), b'r' | b'V' | b'K') || self.is_exception_specification() {
            return self.qualified_type();
        }
        if let Some(builtin) = builtin(self.peek()) {
            self.at += 1;
            return Some(self.make(Node::Builtin(builtin)));
        }
        let made = match self.peek() {
            b'u' => {
                self.at += 1;
                let name = self.source_name()?;
                if self.peek() == b'I' { self.templated(name)? } else { name }
            }
            b'F' => self.function_type()?,
            b'0'..=b'9' | b'N' | b'Z' => self.name()?,
            b'A' => self.array_type()?,
            b'M' => {
                self.at += 1;
                let class = self.ty()?;
                let member = self.ty()?;
                self.make(Node::MemberPointer(class, member))
            }
            b'T' => {
                let parameter = self.template_parameter()?;
                if self.peek() == b'I' && !self.conversion {
                    self.remember(parameter);
                    self.templated(parameter)?
                } else {
                    parameter
                }
            }
            b'S' if matches!(self.peek_next(), b'_' | b'0'..=b'9' | b'A'..=b'Z') => {
                let name = self.substitution(false)?;
                if self.peek() != b'I' {
                    return Some(name);
                }
                self.templated(name)?
            }
            b'S' => {
                let name = self.name()?;
                if matches!(self.node(name), Node::Text(_) | Node::Tagged(..)) {
                    return Some(name);
                }
                name
            }
            b'P' => self.around(Node::Pointer)?,
            b'R' => self.around(Node::Reference)?,
            b'O' => self.around(Node::RvalueReference)?,
            b'C' => self.around(Node::Complex)?,
            b'G' => self.around(Node::Imaginary)?,
            b'U' => {
                self.at += 1;
                let name = self.source_name()?;
                let name = if self.peek() == b'I' { self.templated(name)? } else { name };
                let ty = self.ty()?;
                self.make(Node::VendorQualified(ty, name))
            }
            b'D' => return self.type_d(),
            _ => return None,
        };
        self.remember(made);
        Some(made)
    }

    pub(super) fn around(&mut self, make: impl FnOnce(Id) -> Node) -> Option<Id> {
        self.at += 1;
        let inner = self.ty()?;
        Some(self.make(make(inner)))
    }

    pub(super) fn type_d(&mut self) -> Option<Id> {
        let second = self.peek_next();
        self.at += 2;
        let made = match second {
            b'T' | b't' => {
                let expression = self.expression()?;
                self.expect(b'E')?;
                self.make(Node::Decltype(expression))
            }
            b'p' => {
                let pattern = self.ty()?;
                self.make(Node::PackExpansion(pattern))
            }
            b'v' => {
                let dimension = if self.accept(b'_') {
                    self.expression()?
                } else {
                    let number = self.number()?;
                    self.make(Node::Number(number))
                };
                self.expect(b'_')?;
                let element = self.ty()?;
                self.make(Node::Vector(dimension, element))
            }
            b'F' => {
                let start = self.at;
                while self.peek().is_ascii_digit() {
                    self.at += 1;
                }
                let bits = &self.text[start..self.at];
                let name = match (bits, self.next()) {
                    (b"16", b'b') => "std::bfloat16_t",
                    (b"16", b'_') => "_Float16",
                    (b"32", b'_') => "_Float32",
                    (b"64", b'_') => "_Float64",
                    (b"128", b'_') => "_Float128",
                    (b"32", b'x') => "_Float32x",
                    (b"64", b'x') => "_Float64x",
                    _ => return None,
                };
                return Some(self.make(Node::Text(name)));
            }
            _ => return builtin_d(second).map(|builtin| self.make(Node::Builtin(builtin))),
        };
        self.remember(made);
        Some(made)
    }

    /// `noexcept`, `throw(…)`, `transaction_safe`, before a function type.
    pub(super) fn is_exception_specification(&self) -> bool {
        self.peek() == b'D' && matches!(self.peek_next(), b'x' | b'o' | b'O' | b'w')
    }

    pub(super) fn qualified_type(&mut self) -> Option<Id> {
        let qualifiers = self.qualifiers();
        let mut suffixes = Vec::new();
        while self.is_exception_specification() {
            let kind = self.peek_next();
            self.at += 2;
            suffixes.push(match kind {
                b'x' => (Suffix::TransactionSafe, NONE),
                b'o' => (Suffix::Noexcept, NONE),
                b'O' => {
                    let condition = self.expression()?;
                    self.expect(b'E')?;
                    (Suffix::Noexcept, condition)
                }
                _ => (Suffix::Throw, self.list(Self::ty, b'E')?),
            });
        }
        let made = if self.peek() == b'F' {
            let function = self.function_type()?;
            // What the function type ends with stands behind what it begins with.
            let (mut made, reference) = match self.node(function) {
                Node::Suffixed(reference, inner, _) => (inner, Some(reference)),
                _ => (function, None),
            };
            for (suffix, operand) in suffixes.into_iter().rev() {
                made = self.make(Node::Suffixed(suffix, made, operand));
            }
            for qualifier in qualifiers.into_iter().flatten().rev() {
                made = self.make(Node::Suffixed(Suffix::Qualifier(qualifier), made, NONE));
            }
            match reference {
                Some(reference) => self.make(Node::Suffixed(reference, made, NONE)),
                None => made,
            }
        } else {
            let mut made = self.ty()?;
            for qualifier in qualifiers.into_iter().flatten().rev() {
                made = self.make(Node::Qualified(qualifier, made));
            }
            made
        };
        self.remember(made);
        Some(made)
    }

    pub(super) fn function_type(&mut self) -> Option<Id> {
        self.expect(b'F')?;
        self.accept(b'Y');
        let mut function = self.bare_function(true)?;
        let reference = match self.peek() {
            b'R' => Some(Suffix::Reference),
            b'O' => Some(Suffix::RvalueReference),
            _ => None,
        };
        if let Some(reference) = reference {
            self.at += 1;
            function = self.make(Node::Suffixed(reference, function, NONE));
        }
        self.expect(b'E')?;
        Some(function)
    }

    pub(super) fn bare_function(&mut self, returns: bool) -> Option<Id> {
        let returns = self.accept(b'J') || returns;
        let returned = if returns { self.ty()? } else { NONE };
        let parameters = self.parameters()?;
        Some(self.make(Node::Function(returned, parameters)))
    }

    /// The types of parameters; `void` alone is none.
    pub(super) fn parameters(&mut self) -> Option<Id> {
        let mut items = Vec::new();
        loop {
            match (self.peek(), self.peek_next()) {
                (0 | b'E' | b'.', _) | (b'R' | b'O', b'E') => break,
                _ => items.push(self.ty()?),
            }
        }
        if let [only] = items[..]
            && matches!(self.node(only), Node::Builtin(builtin) if builtin.name == "void")
        {
            items.clear();
        } else if items.is_empty() {
            return None;
        }
        let Some(last) = items.pop() else { return Some(self.make(Node::List(NONE, NONE))) };
        let last = self.make(Node::List(last, NONE));
        Some(items.into_iter().rev().fold(last, |rest, item| self.make(Node::List(item, rest))))
    }

    pub(super) fn array_type(&mut self) -> Option<Id> {
        self.expect(b'A')?;
        let dimension = match self.peek() {
            b'_' => NONE,
            b'0'..=b'9' => {
                let start = self.at;
                while self.peek().is_ascii_digit() {
                    self.at += 1;
                }
                self.make(Node::Name(self.span(start)))
            }
            _ => self.expression()?,
        };
        self.expect(b'_')?;
        let element = self.ty()?;
        Some(self.make(Node::Array(dimension, element)))
    }
}
