//! A walk over a unit: all types that have a place in it, and what they are in.
//!
//! Most entries are of functions and their insides, and are skipped: as a whole where they say how far they reach. A
//! function's own body is gone through, since it may define types; calls that were inlined into it are not, because what
//! they define is at the entry that they stand for.

use super::unit::Unit;
use crate::dwarf::cursor::{Malformed, leb};
use crate::dwarf::shapes::{Role, Slot, Text, Value};
use gimli::{DwTag, constants as dw};
use std::ops::Range;

/// So many entries are read between two questions whether to stop.
const PATIENCE: u32 = 1 << 14;

/// What types and other contexts may be in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Index of the one that it is in; that of the unit is its own.
    pub(super) parent: u32,
    pub(super) role: Role,
    pub(super) tag: DwTag,
    pub(super) name: Text,
    /// What it completes: a function defined outside its class. Of a type that stands for that of a type unit, the latter.
    pub(super) origin: Option<Value>,
    /// Whether it is an enumeration with data: of Rust, what is in it are its variants.
    pub(super) variants: bool,
}

/// A type, or a declaration of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) offset: usize,
    /// Index of what it is in.
    pub(super) context: u32,
    pub(super) role: Role,
    pub(super) tag: DwTag,
    pub(super) name: Text,
    pub(super) size: Option<u64>,
    pub(super) declaration: bool,
    /// What it completes: a type defined outside the class that declares it.
    pub(super) origin: Option<Value>,
    /// Of a typedef.
    pub(super) kind: Option<Value>,
}

/// The places of a unit, as far as the walk has come.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// The first is the unit.
    pub(super) contexts: Vec<Context>,
    /// Types and functions by offset, with the context that each is in.
    owners: Vec<(usize, u32)>,
}

impl Outline {
    /// What is around the type or function at `offset`, from the outermost to the innermost.
    pub(super) fn of(contexts: Vec<Context>, offset: usize) -> Self {
        let owner = contexts.len().saturating_sub(1) as u32;
        Self { contexts, owners: vec![(offset, owner)] }
    }

    /// Which context the type or function at `offset` is in.
    pub(super) fn owner(&self, offset: usize) -> Option<u32> {
        let index = self.owners.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        self.owners.get(index).map(|(_, context)| *context)
    }
}

/// What takes what a walk finds.
pub(super) trait Visitor {
    /// A context begins; it is the last of the outline's.
    fn enter(&mut self, outline: &Outline);

    /// A type, or a declaration of one.
    fn found(&mut self, outline: &Outline, found: &Found);

    /// Another unit's entries belong here.
    fn import(&mut self, unit: Value);

    /// Whether anything in a part of the unit, all that is in some context, may be of interest.
    fn enters(&self, _part: Range<usize>) -> bool {
        true
    }
}

/// For a walk that only the outline is wanted of.
pub(super) struct Quiet;

impl Visitor for Quiet {
    fn enter(&mut self, _: &Outline) {}

    fn found(&mut self, _: &Outline, _: &Found) {}

    fn import(&mut self, _: Value) {}
}

/// Walks over `unit`.
///
/// # Errors
/// If it is malformed, or `stop` says so; what was found before has been given to `visitor`.
pub(super) fn walk(
    unit: &Unit<'_>,
    outline: &mut Outline,
    visitor: &mut impl Visitor,
    stop: &dyn Fn() -> bool,
) -> Result<(), Malformed> {
    let (bytes, encoding) = (unit.bytes, unit.encoding);
    let mut at = unit.root;
    // The contexts that are open, the innermost last.
    let mut open: Vec<u32> = Vec::new();
    let mut patience = PATIENCE;
    loop {
        patience -= 1;
        if patience == 0 {
            patience = PATIENCE;
            if stop() {
                return Err(Malformed::Stopped);
            }
        }
        let offset = at;
        let code = leb(bytes, &mut at)?;
        if code == 0 {
            if open.pop().is_none() || open.is_empty() {
                return Ok(());
            }
            continue;
        }
        let shape = unit.shapes.shape(code)?;
        let mut sibling = None;
        let (mut name, mut size, mut declaration, mut origin, mut kind) = (Text::None, None, false, None, None);
        at = shape.brief(bytes, at, encoding, |slot, value| match (slot, value) {
            (Slot::Sibling, Value::Unit(offset)) => sibling = Some(offset),
            (Slot::Name, Value::Text(text)) => name = text,
            (Slot::Size, value) => size = value.unsigned(),
            (Slot::Declaration, value) => declaration = value != Value::Unsigned(0),
            (Slot::Signature, value) => (declaration, origin) = (true, Some(value)),
            (Slot::Origin, value) => origin = Some(value),
            (Slot::Type | Slot::Import, value) => kind = Some(value),
            _ => {}
        })?;
        let context = open.last().copied().unwrap_or_default();
        let role = shape.role;
        let descend = match role {
            Role::Unit | Role::Namespace | Role::Block => shape.children,
            Role::Aggregate => {
                outline.owners.push((offset, context));
                visitor.found(
                    outline,
                    &Found { offset, context, role, tag: shape.tag, name, size, declaration, origin, kind },
                );
                shape.children
            }
            Role::Enumeration | Role::Typedef => {
                outline.owners.push((offset, context));
                visitor.found(
                    outline,
                    &Found { offset, context, role, tag: shape.tag, name, size, declaration, origin, kind },
                );
                false
            }
            Role::Function => {
                outline.owners.push((offset, context));
                shape.children && !declaration
            }
            Role::Import => {
                if let Some(unit) = kind {
                    visitor.import(unit);
                }
                false
            }
            Role::Member => {
                if shape.tag == dw::DW_TAG_variant_part
                    && let Some(parent) = outline.contexts.get_mut(context as usize)
                {
                    parent.variants = true;
                }
                false
            }
            Role::Inlined | Role::Other => false,
        };
        let behind = sibling.filter(|sibling| (at..bytes.len()).contains(sibling));
        if let (true, Some(behind)) = (descend, behind)
            && !visitor.enters(at..behind)
        {
            at = behind;
        } else if descend {
            let index = outline.contexts.len() as u32;
            let parent = if open.is_empty() { index } else { context };
            outline.contexts.push(Context { parent, role, tag: shape.tag, name, origin, variants: false });
            open.push(index);
            visitor.enter(outline);
        } else if shape.children {
            at = unit.skip(at, sibling)?;
        }
        if open.is_empty() {
            // The root has no children.
            return Ok(());
        }
    }
}
