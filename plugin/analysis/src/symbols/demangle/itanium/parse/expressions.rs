//! Expressions, in the arguments of templates and in `decltype`.

use super::super::node::{Id, NONE, Node, operator};
use super::Parser;

impl Parser<'_> {
    pub(super) fn literal(&mut self) -> Option<Id> {
        self.expect(b'L')?;
        if self.peek() == b'_' || self.peek() == b'Z' {
            self.accept(b'_');
            self.expect(b'Z')?;
            let name = self.encoding()?;
            self.expect(b'E')?;
            return Some(name);
        }
        let ty = self.ty()?;
        let minus = self.accept(b'n');
        let start = self.at;
        while !matches!(self.peek(), 0 | b'E') {
            self.at += 1;
        }
        let digits = self.span(start);
        self.expect(b'E')?;
        Some(self.make(Node::Literal(ty, digits, minus)))
    }

    pub(super) fn expression(&mut self) -> Option<Id> {
        self.nested(Self::expression_inner)
    }

    pub(super) fn expressions(&mut self, end: u8) -> Option<Id> {
        self.list(Self::expression, end)
    }

    pub(super) fn expression_inner(&mut self) -> Option<Id> {
        match (self.peek(), self.peek_next()) {
            (b'L', _) => return self.literal(),
            (b'T', _) => return self.template_parameter(),
            (b's', b'r') => {
                self.at += 2;
                let scope = if matches!(self.peek(), b'0'..=b'9' | b'N') {
                    self.accept(b'N');
                    let scope = self.prefix(false)?;
                    self.expect(b'E')?;
                    scope
                } else {
                    self.ty()?
                };
                let name = self.unqualified_name()?;
                let made = self.make(Node::Scoped(scope, name));
                return if self.peek() == b'I' { self.templated(made) } else { Some(made) };
            }
            (b's', b'p') => {
                self.at += 2;
                let pattern = self.expression()?;
                return Some(self.make(Node::PackExpansion(pattern)));
            }
            (b'f', b'p') => {
                self.at += 2;
                if self.accept(b'T') {
                    return Some(self.make(Node::FunctionParameter(0)));
                }
                self.qualifiers();
                let number = self.compact_number()?.checked_add(1)?;
                return Some(self.make(Node::FunctionParameter(number)));
            }
            (b'f', b'L') => {
                self.at += 3;
                self.number()?;
                self.expect(b'p')?;
                self.qualifiers();
                let number = self.compact_number()?.checked_add(1)?;
                return Some(self.make(Node::FunctionParameter(number)));
            }
            (b'0'..=b'9', _) | (b'o', b'n') => {
                let name = self.unqualified_name()?;
                return if self.peek() == b'I' { self.templated(name) } else { Some(name) };
            }
            (b'i' | b't', b'l') => {
                let typed = self.next() == b't';
                self.at += 1;
                let ty = if typed { self.ty()? } else { NONE };
                let items = self.expressions(b'E')?;
                return Some(self.make(Node::Braces(ty, items)));
            }
            (b'c', b'v') => {
                self.at += 2;
                let ty = self.ty()?;
                let operand = if self.accept(b'_') { self.expressions(b'E')? } else { self.expression()? };
                let cast = self.make(Node::Cast(ty));
                return Some(self.make(Node::Unary(cast, operand)));
            }
            (b'f', kind @ (b'l' | b'r')) => {
                self.at += 2;
                let operator = self.operator_name()?;
                let operand = self.expression()?;
                return Some(self.make(Node::Fold(kind, operator, operand)));
            }
            (b'f', b'R') => {
                self.at += 2;
                let operator = self.operator_name()?;
                let (left, right) = (self.expression()?, self.expression()?);
                return Some(self.make(Node::FoldInit(operator, left, right)));
            }
            _ => {}
        }
        let global = self.accept_pair(b"gs");
        let expression = self.operation()?;
        if !global {
            return Some(expression);
        }
        let scope = self.make(Node::Operator(operator(*b"gs")?));
        Some(self.make(Node::Unary(scope, expression)))
    }

    pub(super) fn operation(&mut self) -> Option<Id> {
        if self.peek().is_ascii_digit() || self.peek() == b'L' || self.peek() == b'T' {
            return self.expression();
        }
        let operator = operator([self.next(), self.next()])?;
        let made = self.make(Node::Operator(operator));
        match &operator.code {
            b"st" | b"ti" | b"at" => {
                let ty = self.ty()?;
                Some(self.make(Node::Unary(made, ty)))
            }
            b"sP" => {
                let arguments = self.list(Self::template_argument, b'E')?;
                Some(self.make(Node::Unary(made, arguments)))
            }
            b"sZ" => {
                let pack = if self.peek() == b'T' { self.template_parameter()? } else { self.expression()? };
                Some(self.make(Node::Unary(made, pack)))
            }
            b"pp" | b"mm" => {
                let prefix = self.accept(b'_');
                let operand = self.expression()?;
                Some(self.make(if prefix { Node::Unary(made, operand) } else { Node::Postfix(made, operand) }))
            }
            b"sc" | b"dc" | b"cc" | b"rc" => {
                let ty = self.ty()?;
                let operand = self.expression()?;
                Some(self.make(Node::NamedCast(operator.name, ty, operand)))
            }
            b"cl" => {
                let function = self.expression()?;
                let arguments = self.expressions(b'E')?;
                Some(self.make(Node::Binary(made, function, arguments)))
            }
            b"dt" | b"pt" => {
                let object = self.expression()?;
                let member = if self.peek() == b's' && self.peek_next() == b'r' {
                    self.expression()?
                } else {
                    let name = self.unqualified_name()?;
                    if self.peek() == b'I' { self.templated(name)? } else { name }
                };
                Some(self.make(Node::Binary(made, object, member)))
            }
            b"nw" | b"na" => {
                let placement = self.expressions(b'_')?;
                let ty = self.ty()?;
                let initializer = match self.peek() {
                    b'E' => {
                        self.at += 1;
                        NONE
                    }
                    b'p' if self.accept_pair(b"pi") => self.expressions(b'E')?,
                    b'i' if self.peek_next() == b'l' => self.expression()?,
                    _ => return None,
                };
                let initialized = self.make(Node::Initialized(ty, initializer));
                Some(self.make(Node::New(operator, placement, initialized)))
            }
            b"qu" => {
                let condition = self.expression()?;
                let (yes, no) = (self.expression()?, self.expression()?);
                Some(self.make(Node::Conditional(condition, yes, no)))
            }
            b"li" => None,
            _ => match operator.operands {
                0 => Some(made),
                1 => {
                    let operand = self.expression()?;
                    Some(self.make(Node::Unary(made, operand)))
                }
                2 => {
                    let (left, right) = (self.expression()?, self.expression()?);
                    Some(self.make(Node::Binary(made, left, right)))
                }
                _ => None,
            },
        }
    }
}
