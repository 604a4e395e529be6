//! How large types are, and where in them members lie.

use super::program::{Located, Program};
use super::unit::{Entry, Unit};
use crate::dwarf::cursor::{leb, number};
use crate::dwarf::shapes::Value;
use gimli::constants as dw;
use std::rc::Rc;

/// As many types are followed from one to the next: a typedef of a typedef.
pub(super) const LONGEST_CHAIN: usize = 64;

impl<'a> Program<'a> {
    /// Bytes of a type that is referred to from `unit`; `None` if it has no size that is known.
    pub(super) fn size(&self, unit: &Rc<Unit<'a>>, reference: Value) -> Option<u64> {
        let located = self.resolve(unit, reference).ok()?;
        self.size_of(&located, LONGEST_CHAIN)
    }

    fn size_of(&self, located: &Located<'a>, chain: usize) -> Option<u64> {
        let Located { unit, entry } = located;
        if let Some(size) = entry.size {
            return Some(size);
        }
        let chain = chain.checked_sub(1)?;
        if let (true, Some(signature)) = (entry.declaration, entry.signature) {
            return self.size_of(&self.resolve(unit, signature).ok()?, chain);
        }
        if let Some(definition) = self.completed(located) {
            return self.size_of(&definition, chain);
        }
        if let Some(other) = self.other(located) {
            return other.size;
        }
        let inner = || self.size_of(&self.resolve(unit, entry.kind?).ok()?, chain);
        match entry.tag {
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                Some(unit.encoding.address_size.into())
            }
            // Of functions, a pointer and what is added to `this` (Itanium C++ ABI, 2.3).
            dw::DW_TAG_ptr_to_member_type => {
                let target = self.resolve(unit, entry.kind?).ok()?;
                let words = if target.entry.tag == dw::DW_TAG_subroutine_type { 2 } else { 1 };
                Some(words * u64::from(unit.encoding.address_size))
            }
            dw::DW_TAG_array_type => {
                let element = inner()?;
                bounds(unit, entry).into_iter().try_fold(element, |size, count| size.checked_mul(count.unwrap_or(0)))
            }
            dw::DW_TAG_typedef
            | dw::DW_TAG_const_type
            | dw::DW_TAG_volatile_type
            | dw::DW_TAG_restrict_type
            | dw::DW_TAG_atomic_type
            | dw::DW_TAG_immutable_type
            | dw::DW_TAG_enumeration_type => inner(),
            _ => None,
        }
    }

    /// The type behind typedefs and qualifiers.
    pub(super) fn stripped(&self, unit: &Rc<Unit<'a>>, reference: Value, typedefs: bool) -> Option<Located<'a>> {
        let mut located = self.resolve(unit, reference).ok()?;
        for _ in 0..LONGEST_CHAIN {
            let entry = &located.entry;
            let next = match entry.tag {
                dw::DW_TAG_typedef if typedefs => entry.kind,
                dw::DW_TAG_const_type
                | dw::DW_TAG_volatile_type
                | dw::DW_TAG_restrict_type
                | dw::DW_TAG_atomic_type => entry.kind,
                _ if entry.declaration => entry.signature,
                _ => None,
            };
            let Some(next) = next else { return Some(located) };
            located = self.resolve(&located.unit, next).ok()?;
        }
        None
    }
}

/// The numbers of elements of an array, by dimension; `None` for one that is not said.
pub(super) fn bounds(unit: &Unit<'_>, array: &Entry) -> Vec<Option<u64>> {
    let parts = unit.children(array).map_while(Result::ok).filter(|part| part.tag == dw::DW_TAG_subrange_type);
    let count = |part: Entry| match (part.count, part.upper_bound) {
        (Some(count), _) => count.unsigned(),
        // A bound of -1 is that of an array without elements.
        (None, Some(Value::Signed(-1))) => Some(0),
        (None, Some(upper)) => {
            let lower = part.lower_bound.unwrap_or(0);
            upper.signed()?.checked_sub(lower)?.checked_add(1).and_then(|count| u64::try_from(count).ok())
        }
        (None, None) => None,
    };
    parts.map(count).collect()
}

/// Bytes from the beginning of the type to a member; `None` if that is known only at run time, as of a virtual base.
pub(super) fn location(unit: &Unit<'_>, location: Option<Value>) -> Option<u64> {
    match location {
        None => Some(0),
        Some(Value::Block(start, end)) => {
            // DWARF 2 adds the offset to the address of the whole, which is on the stack.
            let block = unit.bytes.get(start..end)?;
            let at = &mut 1;
            let value = match gimli::DwOp(*block.first()?) {
                dw::DW_OP_plus_uconst | dw::DW_OP_constu => leb(block, at).ok()?,
                dw::DW_OP_const1u => number(block, at, 1, unit.encoding.big).ok()?,
                dw::DW_OP_const2u => number(block, at, 2, unit.encoding.big).ok()?,
                dw::DW_OP_const4u => number(block, at, 4, unit.encoding.big).ok()?,
                _ => return None,
            };
            (block[*at..] == [] as [u8; 0] || block[*at..] == [dw::DW_OP_plus.0]).then_some(value)
        }
        Some(value) => value.unsigned(),
    }
}

/// Bits from the beginning of the type to a bit-field, and how many it has; `None` for other members. `size` is that of its
/// type, in bytes.
pub(super) fn bit_field(unit: &Unit<'_>, member: &Entry, size: Option<u64>) -> Option<(u64, u64)> {
    let bits = member.bit_size?;
    let start = location(unit, member.location)?.checked_mul(8)?;
    let at = match (member.data_bit_offset, member.bit_offset) {
        (Some(offset), _) => start.checked_add(offset)?,
        // From the most significant bit of the storage unit to that of the field.
        (None, Some(offset)) if unit.encoding.big => start.checked_add_signed(offset)?,
        (None, Some(offset)) => {
            let storage = i64::try_from(member.size.or(size)?.checked_mul(8)?).ok()?;
            start.checked_add_signed(storage.checked_sub(offset)?.checked_sub_unsigned(bits)?)?
        }
        (None, None) => start,
    };
    Some((at, bits))
}
