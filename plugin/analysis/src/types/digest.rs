//! Tells definitions of types apart: two have the same digest if they have the same kind, size and members, whichever units
//! they are in and whichever compiler has written them.

use super::names;
use super::program::{Located, Program, ScopeId};
use super::sizes::{bounds, location};
use super::unit::{Entry, Unit, UnitPlace};
use crate::dwarf::shapes::{Role, Text, Value, role};
use gimli::{DwTag, constants as dw};
use rustc_hash::FxHashMap;
use std::rc::Rc;
use twox_hash::XxHash3_64;

/// Types that refer to one another are followed so deeply.
const DEEPEST: u32 = 48;

/// What is known of types that others refer to.
#[derive(Debug, Default)]
pub(super) struct Digests {
    known: FxHashMap<(ScopeId, UnitPlace, usize), u64>,
    depth: u32,
}

/// A type's definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) digest: u64,
    /// Whether it is an enumeration with data, of which each value is a variant.
    pub(super) variants: bool,
}

/// The hash of a name.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

impl Digests {
    /// The digest of the type that is defined by `entry`.
    pub(super) fn definition<'a>(&mut self, program: &Program<'a>, unit: &Rc<Unit<'a>>, entry: &Entry) -> Definition {
        let mut text = Vec::with_capacity(256);
        self.depth = 0;
        let variants = self.body(program, unit, entry, &mut text);
        Definition { digest: hash(&text), variants }
    }

    /// Writes down what `entry` defines. Returns whether it has variants.
    fn body<'a>(&mut self, program: &Program<'a>, unit: &Rc<Unit<'a>>, entry: &Entry, text: &mut Vec<u8>) -> bool {
        put(text, kind(entry.tag).into());
        put(text, entry.size.unwrap_or(u64::MAX));
        if entry.tag == dw::DW_TAG_typedef {
            put(text, self.referred(program, unit, entry.kind));
            return false;
        }
        let mut variants = false;
        self.members(program, unit, entry, text, &mut variants);
        variants
    }

    fn members<'a>(
        &mut self,
        program: &Program<'a>,
        unit: &Rc<Unit<'a>>,
        parent: &Entry,
        text: &mut Vec<u8>,
        variants: &mut bool,
    ) {
        self.depth += 1;
        // A member that cannot be read makes this definition another one.
        for member in unit.children(parent).map_while(Result::ok) {
            if member.tag == dw::DW_TAG_enumerator {
                name(unit, &member, text);
                put(text, member.constant.map_or(0, bits));
                continue;
            }
            if member.is_static() || self.depth > DEEPEST {
                continue;
            }
            put(text, member.tag.0.into());
            name(unit, &member, text);
            if member.location.is_some() {
                put(text, location(unit, member.location).unwrap_or(u64::MAX));
            }
            for value in [member.bit_size, member.data_bit_offset, member.bit_offset.map(|offset| offset as u64)] {
                put(text, value.map_or(u64::MAX, |value| value));
            }
            if let Some(reference) = member.kind {
                put(text, self.referred(program, unit, Some(reference)));
            }
            if matches!(member.tag, dw::DW_TAG_variant_part | dw::DW_TAG_variant) {
                *variants = true;
                put(text, member.discriminant_value.map_or(u64::MAX, bits));
                self.members(program, unit, &member, text, variants);
                put(text, 0);
            }
        }
        self.depth -= 1;
    }

    /// The hash of what a type is called where it is referred to.
    fn referred<'a>(&mut self, program: &Program<'a>, unit: &Rc<Unit<'a>>, reference: Option<Value>) -> u64 {
        let Some(reference) = reference else { return 1 };
        if let Value::Unit(offset) = reference
            && let Some(known) = self.known.get(&(unit.scope.id, unit.place, offset))
        {
            return *known;
        }
        let Ok(Located { unit, entry }) = program.resolve(unit, reference) else { return 2 };
        let key = (unit.scope.id, unit.place, entry.offset);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        if self.depth > DEEPEST {
            return 3;
        }
        // One that leads back to itself is not followed twice.
        self.known.insert(key, 4);
        self.depth += 1;
        let found = self.spelled(program, &unit, &entry);
        self.depth -= 1;
        self.known.insert(key, found);
        found
    }

    fn spelled<'a>(&mut self, program: &Program<'a>, unit: &Rc<Unit<'a>>, entry: &Entry) -> u64 {
        // A type that stands in a type unit.
        if let (true, Some(signature)) = (entry.declaration, entry.signature) {
            return self.referred(program, unit, Some(signature));
        }
        let mut text = Vec::with_capacity(64);
        put(&mut text, kind(entry.tag).into());
        match entry.tag {
            // Compilers differ in what they call `unsigned long`.
            dw::DW_TAG_base_type => {
                put(&mut text, entry.encoding);
                put(&mut text, entry.size.unwrap_or(0));
            }
            dw::DW_TAG_subroutine_type | dw::DW_TAG_array_type => {
                put(&mut text, self.referred(program, unit, entry.kind));
                for count in bounds(unit, entry) {
                    put(&mut text, count.unwrap_or(u64::MAX));
                }
                let parameters = unit.children(entry).map_while(Result::ok);
                for part in parameters.filter(|part| part.tag != dw::DW_TAG_subrange_type) {
                    put(&mut text, self.referred(program, unit, part.kind));
                }
            }
            // With what it is in: types of one name may be in several namespaces.
            _ if !matches!(entry.name, Text::None) && is_type(entry.tag) => {
                names::of_entry(program, unit, entry, &mut text);
            }
            _ if !matches!(entry.name, Text::None) => text.extend_from_slice(unit.text(entry.name)),
            _ if entry.origin.is_some() && role(entry.tag) != Role::Other => {
                return self.referred(program, unit, entry.origin);
            }
            _ if matches!(role(entry.tag), Role::Aggregate | Role::Enumeration) => {
                self.body(program, unit, entry, &mut text);
            }
            _ => {
                put(&mut text, self.referred(program, unit, entry.kind));
                if entry.containing.is_some() {
                    put(&mut text, self.referred(program, unit, entry.containing));
                }
            }
        }
        hash(&text)
    }
}

fn is_type(tag: DwTag) -> bool {
    matches!(role(tag), Role::Aggregate | Role::Enumeration | Role::Typedef)
}

/// A struct may be declared as a class.
fn kind(tag: DwTag) -> u16 {
    if tag == dw::DW_TAG_class_type { dw::DW_TAG_structure_type.0 } else { tag.0 }
}

fn bits(value: Value) -> u64 {
    match value {
        Value::Unsigned(value) => value,
        Value::Signed(value) => value as u64,
        _ => 0,
    }
}

fn put(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(&number.to_le_bytes());
}

fn name(unit: &Unit<'_>, entry: &Entry, text: &mut Vec<u8>) {
    let name = unit.text(entry.name);
    // Compilers end the name of the pointer to the table of virtual functions each in its own way.
    let name = if entry.artificial && name.starts_with(b"_vptr") { b"_vptr" } else { name };
    text.extend_from_slice(name);
    text.push(0);
}
