//! What an entry is in, found without going through all of its unit: where entries say how far what is in them reaches, most of a
//! unit is passed over.

use super::program::{Program, ScopeId};
use super::unit::{Unit, UnitPlace};
use super::walk::{Context, Outline};
use crate::dwarf::cursor::{Malformed, leb};
use crate::dwarf::shapes::{Role, Slot, Value};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Contexts may be nested so deeply; of what is further in, nothing is said.
const DEEPEST: usize = 128;

/// As many contexts are kept, of all units that they were looked for in.
const MOST: usize = 1 << 18;

/// An entry with others in it. All are offsets in the unit.
#[derive(Clone, Copy, Debug)]
struct Nest {
    start: usize,
    /// Where what is in it begins, and ends.
    inside: usize,
    end: usize,
}

/// What has been found out about units: the entries in one, in their order, as far as others are in them. Each is known by where
/// the first one in it is.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    levels: FxHashMap<(ScopeId, UnitPlace, usize), Rc<Vec<Nest>>>,
    held: usize,
}

impl<'a> Program<'a> {
    /// The places of a unit, as far as they are around the entry at `offset`, which is that of a type or a function.
    pub(super) fn around(&self, unit: &Rc<Unit<'a>>, offset: usize) -> Rc<Outline> {
        match self.whole_outline(unit) {
            Some(outline) => outline,
            None if unit.shapes.ties.siblings => Rc::new(self.path(unit, offset)),
            None => self.outline(unit),
        }
    }

    fn path(&self, unit: &Rc<Unit<'a>>, offset: usize) -> Outline {
        let mut contexts = Vec::new();
        let mut next = Some(unit.root);
        while let Some(at) = next.filter(|_| contexts.len() < DEEPEST) {
            let Ok(entry) = unit.entry_at(at) else { return Outline::default() };
            let Some(role) = unit.role(at) else { return Outline::default() };
            // As a walk has it: what is in anything else is in nothing.
            let open = match role {
                Role::Unit | Role::Namespace | Role::Block | Role::Aggregate => true,
                Role::Function => !entry.declaration,
                _ => false,
            };
            if !open {
                return Outline::default();
            }
            let parent = contexts.len().saturating_sub(1) as u32;
            let origin = entry.signature.or(entry.origin).filter(|_| !matches!(role, Role::Unit | Role::Namespace));
            contexts.push(Context { parent, role, tag: entry.tag, name: entry.name, origin, variants: false });
            let inner = if entry.children { self.level(unit, entry.end) } else { Rc::default() };
            let nearest = inner.partition_point(|nest| nest.start < offset).checked_sub(1).map(|index| inner[index]);
            next = nearest.filter(|nest| (nest.inside..nest.end).contains(&offset)).map(|nest| nest.start);
        }
        Outline::of(contexts, offset)
    }

    /// The entries from `at` on that others are in, up to the end of the list, or to what is malformed.
    fn level(&self, unit: &Rc<Unit<'a>>, at: usize) -> Rc<Vec<Nest>> {
        let key = (unit.scope.id, unit.place, at);
        if let Some(known) = self.nesting.borrow().levels.get(&key) {
            return Rc::clone(known);
        }
        let (mut found, mut next) = (Vec::new(), at);
        while let Ok(Some(nest)) = next_nest(unit, &mut next) {
            found.push(nest);
        }
        let mut nesting = self.nesting.borrow_mut();
        if nesting.held > MOST {
            *nesting = Nesting::default();
        }
        let found = Rc::new(found);
        nesting.held += found.len() + 1;
        nesting.levels.insert(key, Rc::clone(&found));
        found
    }
}

/// The first entry from `at` on that types may be in; `at` is moved behind it.
fn next_nest(unit: &Unit<'_>, at: &mut usize) -> Result<Option<Nest>, Malformed> {
    loop {
        let start = *at;
        let code = leb(unit.bytes, at)?;
        if code == 0 {
            return Ok(None);
        }
        let shape = unit.shapes.shape(code)?;
        let mut sibling = None;
        let inside = shape.brief(unit.bytes, *at, unit.encoding, |slot, value| {
            if let (Slot::Sibling, Value::Unit(offset)) = (slot, value) {
                sibling = Some(offset);
            }
        })?;
        *at = if shape.children { unit.skip(inside, sibling)? } else { inside };
        let holds =
            matches!(shape.role, Role::Namespace | Role::Aggregate | Role::Function | Role::Block | Role::Inlined);
        if shape.children && holds {
            return Ok(Some(Nest { start, inside, end: *at }));
        }
    }
}
