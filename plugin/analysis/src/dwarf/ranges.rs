//! Address ranges of units and of entries.

use super::shapes::{Slot, Value};
use super::{Dwarf, DwarfError, Slice, Unit, UnitTable};
use gimli::{AttributeValue, DebugAddrIndex, DebugArangesOffset, DebugRngListsIndex, DwAt, RawRangeListsOffset};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// The attributes of an entry that tell its addresses.
#[derive(Clone, Debug, Default)]
pub struct RangeAttributes<'a> {
    low: Option<AttributeValue<Slice<'a>>>,
    high: Option<AttributeValue<Slice<'a>>>,
    list: Option<AttributeValue<Slice<'a>>>,
}

impl<'a> RangeAttributes<'a> {
    /// Takes an attribute, if it is one of those.
    #[inline]
    pub fn take(&mut self, name: DwAt, value: impl FnOnce() -> AttributeValue<Slice<'a>>) {
        match name {
            gimli::DW_AT_low_pc => self.low = Some(value()),
            gimli::DW_AT_high_pc => self.high = Some(value()),
            gimli::DW_AT_ranges => self.list = Some(value()),
            _ => {}
        }
    }

    /// The same of an attribute that was read by its abbreviation's shape.
    #[inline]
    pub(crate) fn put(&mut self, slot: Slot, value: Value) {
        let address = || match value {
            Value::Address(address) => Some(AttributeValue::Addr(address)),
            Value::AddressIndex(index) => Some(AttributeValue::DebugAddrIndex(DebugAddrIndex(index))),
            value => value.unsigned().map(AttributeValue::Udata),
        };
        match slot {
            Slot::LowAddress => self.low = address(),
            Slot::HighAddress => self.high = address(),
            Slot::Ranges => {
                self.list = match value {
                    Value::Unsigned(offset) => {
                        Some(AttributeValue::RangeListsRef(RawRangeListsOffset(offset as usize)))
                    }
                    Value::RangesIndex(index) => Some(AttributeValue::DebugRngListsIndex(DebugRngListsIndex(index))),
                    _ => None,
                }
            }
            _ => {}
        }
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.low.is_some() || self.list.is_some()
    }

    /// Gives each range that holds an address to `each`.
    ///
    /// # Errors
    /// If the list of ranges or an address is malformed.
    pub fn each(self, dwarf: &Dwarf<'a>, unit: &Unit<'a>, mut each: impl FnMut(Range<u64>)) -> Result<(), DwarfError> {
        if let Some(list) = self.list
            && let Some(mut ranges) = dwarf.attr_ranges(unit, list)?
        {
            while let Some(range) = ranges.next()? {
                if range.begin < range.end {
                    each(range.begin..range.end);
                }
            }
            return Ok(());
        }
        let Some(low) = self.low.map(|low| dwarf.attr_address(unit, low)).transpose()?.flatten() else { return Ok(()) };
        let high = match self.high {
            Some(AttributeValue::Udata(size)) => low.checked_add(size),
            Some(high) => dwarf.attr_address(unit, high)?,
            None => None,
        };
        match high {
            // A function that the linker has left out begins at the highest address.
            Some(high) if low < high && !unit.header.is_tombstone_address(low) => each(low..high),
            _ => {}
        }
        Ok(())
    }
}

/// Which addresses the units of a module have, as .debug_aranges tells. It holds no reference to the section, so that it can be
/// kept.
#[derive(Clone, Debug, Default)]
pub struct UnitRanges {
    /// Where in the section the lists of a unit are, by the unit's offset.
    lists: FxHashMap<u64, Vec<DebugArangesOffset>>,
}

impl UnitRanges {
    /// Finds the lists in .debug_aranges, as far as it is well-formed. Their entries, of which there may be very many, are read when
    /// they are [asked for](Self::listed).
    pub fn new(dwarf: &Dwarf<'_>, table: &UnitTable) -> Self {
        let mut lists: FxHashMap<u64, Vec<DebugArangesOffset>> = FxHashMap::default();
        let mut headers = dwarf.debug_aranges.headers();
        while let Ok(Some(header)) = headers.next() {
            let unit = header.debug_info_offset().0 as u64;
            if table.all().binary_search_by_key(&unit, |unit| unit.start).is_ok() {
                lists.entry(unit).or_default().push(header.offset());
            }
        }
        Self { lists }
    }

    /// The ranges of a unit that are listed, as far as `wanted` is true of them; `None` if it is not listed. One that is has no other
    /// ranges; others [say](Self::own) themselves.
    pub fn listed(
        &self,
        dwarf: &Dwarf<'_>,
        unit: u64,
        wanted: impl Fn(&Range<u64>) -> bool,
    ) -> Option<Vec<Range<u64>>> {
        let mut listed: Option<Vec<Range<u64>>> = None;
        for list in self.lists.get(&unit)? {
            let Ok(mut entries) = dwarf.debug_aranges.header(*list).map(|header| header.entries()) else { continue };
            let mut ranges = listed.take().unwrap_or_default();
            // A list that is malformed may lack some, so the unit is asked.
            listed = loop {
                match entries.next() {
                    Ok(Some(entry)) => {
                        let range = entry.address()..entry.address().saturating_add(entry.length());
                        if !range.is_empty() && wanted(&range) {
                            ranges.push(range);
                        }
                    }
                    Ok(None) => break Some(ranges),
                    Err(_) => break None,
                }
            };
        }
        listed
    }

    /// What the unit itself says; `None` if it says nothing, so that only its entries tell.
    ///
    /// # Errors
    /// If its root is malformed.
    pub fn own<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>) -> Result<Option<Vec<Range<u64>>>, DwarfError> {
        let mut entries = unit.entries_raw(None)?;
        let mut attributes = RangeAttributes::default();
        let Some(root) = entries.read_abbreviation()? else { return Ok(Some(Vec::new())) };
        for specification in root.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            attributes.take(attribute.name(), || attribute.value());
        }
        let known = attributes.any();
        let mut ranges = Vec::new();
        attributes.each(dwarf, unit, |range| ranges.push(range))?;
        // A unit of several sections says low_pc 0 beside its list, one without code nothing at all.
        Ok(known.then_some(ranges))
    }
}
