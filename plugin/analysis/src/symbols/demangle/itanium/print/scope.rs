//! What template parameters stand for.

use super::super::node::{Id, NONE, Node};
use super::{Outer, Printer, Unwritable};

impl Printer<'_> {
    /// What `T_` stands for, and the scope that this is to be read in.
    pub(super) fn argument<'s>(&self, number: u32, scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
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
    pub(super) fn element<'s>(&self, number: u32, scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
        let (item, outer) = self.argument(number, scope)?;
        Ok((self.of_pack(item)?, outer))
    }

    pub(super) fn of_pack(&self, mut item: Id) -> Result<Id, Unwritable> {
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
    pub(super) fn resolved<'s>(&self, mut id: Id, mut scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
        while !self.lambda
            && let Node::TemplateParameter(number) = self.node(id)?
        {
            (id, scope) = self.element(number, scope)?;
        }
        Ok((id, scope))
    }

    /// Whether something of a type stands behind the name that it is declared with.
    pub(super) fn has_right(&self, id: Id, scope: Outer<'_>) -> Result<bool, Unwritable> {
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

    /// What a reference refers to, once references to references are one, and whether it is one to an lvalue.
    pub(super) fn reference<'s>(
        &mut self,
        mut id: Id,
        mut scope: Outer<'s>,
    ) -> Result<(Id, Outer<'s>, bool), Unwritable> {
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
    pub(super) fn referred<'s>(&mut self, inner: Id, scope: Outer<'s>) -> Result<(Id, Outer<'s>), Unwritable> {
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

    pub(super) fn is_function(&self, id: Id, scope: Outer<'_>) -> Result<bool, Unwritable> {
        let (mut id, _) = self.resolved(id, scope)?;
        while let Node::Suffixed(_, inner, _) = self.node(id)? {
            id = inner;
        }
        Ok(matches!(self.node(id)?, Node::Function(..)))
    }

    pub(super) fn is_array(&self, id: Id, scope: Outer<'_>) -> Result<bool, Unwritable> {
        let (mut id, mut scope) = self.resolved(id, scope)?;
        while let Node::Qualified(_, inner) = self.node(id)? {
            (id, scope) = self.resolved(inner, scope)?;
        }
        Ok(matches!(self.node(id)?, Node::Array(..)))
    }

    /// How many elements the first pack in a pattern has.
    pub(super) fn find_pack(&self, id: Id, scope: Outer<'_>, depth: u32) -> Result<Option<usize>, Unwritable> {
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
}
