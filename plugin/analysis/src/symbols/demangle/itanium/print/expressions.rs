//! Expressions.

use super::super::node::{Id, NONE, Node, Notation, Operator, Span};
use super::{DEEPEST, Outer, Printer, Unwritable, Written};

impl Printer<'_> {
    /// An operator within an expression.
    pub(super) fn operator(&mut self, id: Id, scope: Outer<'_>) -> Written {
        match self.node(id)? {
            Node::Operator(operator) => {
                self.push(operator.name);
                Ok(())
            }
            _ => self.whole(id, scope),
        }
    }

    pub(super) fn operand(&mut self, id: Id, scope: Outer<'_>) -> Written {
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

    pub(super) fn expression(&mut self, node: Node, scope: Outer<'_>) -> Written {
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

    pub(super) fn unary(&mut self, operator: Id, operand: Id, scope: Outer<'_>) -> Written {
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

    pub(super) fn binary(&mut self, operator: Id, left: Id, right: Id, scope: Outer<'_>) -> Written {
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

    pub(super) fn literal(&mut self, ty: Id, digits: Span, minus: bool, scope: Outer<'_>) -> Written {
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
