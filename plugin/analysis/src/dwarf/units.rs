//! The units of a .debug_info section, found by their lengths, so that a malformed one costs itself alone.

use super::{Dwarf, DwarfError, Header, Slice, Unit};
use gimli::{DebugAbbrevOffset, DebugInfoOffset, Reader as _, Section as _};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Where the units of a section are. It holds no reference to the section, so that it can be kept.
#[derive(Clone, Debug, Default)]
pub struct UnitTable {
    /// Half-open, in the order of the section, without gaps.
    units: Vec<Range<u64>>,
    /// What follows the last unit and is none.
    pub rest: Option<Broken>,
}

/// A piece of a section that is no unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub range: Range<u64>,
    /// Why, as a fragment.
    pub reason: String,
}

impl UnitTable {
    /// Reads the lengths of all units of .debug_info.
    pub fn new(dwarf: &Dwarf<'_>) -> Self {
        Self::of(*dwarf.debug_info.reader())
    }

    /// Reads the lengths of all units of a section.
    pub fn of(section: Slice<'_>) -> Self {
        let (mut units, mut rest) = (Vec::new(), None);
        let total = section.len() as u64;
        let mut at = 0u64;
        while at < total {
            let mut input = section;
            // `at` is below the section's length.
            let _ = input.skip(at as usize);
            let length = input.read_initial_length();
            let end = length.map(|(length, format)| {
                let own = u64::from(format.initial_length_size());
                at.checked_add(own).and_then(|at| at.checked_add(length as u64)).filter(|end| *end <= total)
            });
            let reason = match end {
                Ok(Some(end)) => {
                    units.push(at..end);
                    at = end;
                    continue;
                }
                Ok(None) => "a unit reaches beyond the end of its section".to_owned(),
                Err(error) => format!("no unit's length: {error}"),
            };
            rest = Some(Broken { range: at..total, reason });
            break;
        }
        Self { units, rest }
    }

    /// All units, in the order of the section.
    pub fn all(&self) -> &[Range<u64>] {
        &self.units
    }

    /// The units that `part` of the section has a byte of.
    pub fn overlapping(&self, part: Range<u64>) -> &[Range<u64>] {
        let first = self.units.partition_point(|unit| unit.end <= part.start);
        let last = self.units.partition_point(|unit| unit.start < part.end);
        self.units.get(first..last).unwrap_or_default()
    }

    /// The unit that `offset` lies in.
    pub fn containing(&self, offset: u64) -> Option<Range<u64>> {
        let unit = self.units.get(self.units.partition_point(|unit| unit.end <= offset))?;
        unit.contains(&offset).then(|| unit.clone())
    }
}

/// As many tables of abbreviations are kept.
const MOST_KEPT: usize = 64;

/// Tables of abbreviations that were read before: units may share them.
#[derive(Debug, Default)]
pub struct Abbreviations(HashMap<usize, Arc<gimli::Abbreviations>>);

impl Abbreviations {
    /// The header and the root of the unit at `offset`.
    ///
    /// # Errors
    /// If they are malformed.
    pub fn unit<'a>(&mut self, dwarf: &Dwarf<'a>, offset: u64) -> Result<Unit<'a>, DwarfError> {
        let header = dwarf.unit_header(DebugInfoOffset(offset as usize))?;
        self.unit_of(dwarf, header)
    }

    /// The unit of a header.
    ///
    /// # Errors
    /// If its abbreviations or its root are malformed.
    pub fn unit_of<'a>(&mut self, dwarf: &Dwarf<'a>, header: Header<'a>) -> Result<Unit<'a>, DwarfError> {
        let DebugAbbrevOffset(at) = header.debug_abbrev_offset();
        let abbreviations = match self.0.get(&at) {
            Some(kept) => Arc::clone(kept),
            None => {
                if self.0.len() >= MOST_KEPT {
                    self.0.clear();
                }
                let read = Arc::new(header.abbreviations(&dwarf.debug_abbrev)?);
                self.0.insert(at, Arc::clone(&read));
                read
            }
        };
        Ok(Unit::new_with_abbreviations(dwarf, header, abbreviations)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dwarf::Slice;
    use gimli::{RunTimeEndian, SectionId};

    fn dwarf(info: &[u8]) -> Dwarf<'_> {
        let section = |id| if id == SectionId::DebugInfo { info } else { &[] };
        let load = |id| Ok::<_, gimli::Error>(Slice::new(section(id), RunTimeEndian::Little));
        gimli::Dwarf::load(load).expect("sections are there")
    }

    #[test]
    fn units_are_found_by_their_lengths_until_one_reaches_too_far() {
        // Two units of 4 bytes and one in 64-bit form, none of which has more than its length.
        let mut info = [4u8, 0, 0, 0, 9, 9, 9, 9].repeat(2);
        info.extend([0xff; 4].into_iter().chain([2, 0, 0, 0, 0, 0, 0, 0, 9, 9]));
        let table = UnitTable::new(&dwarf(&info));
        assert_eq!((table.all(), &table.rest), (&[0..8, 8..16, 16..30][..], &None));
        assert_eq!(table.overlapping(7..9), [0..8, 8..16]);
        assert_eq!(table.overlapping(8..16).len(), 1);
        assert_eq!((table.containing(29), table.containing(30)), (Some(16..30), None));
        info.extend([1, 0, 0, 0]);
        let table = UnitTable::new(&dwarf(&info));
        let rest = table.rest.expect("the last is cut off");
        assert_eq!((table.units.len(), rest.range), (3, 30..34));
        assert_eq!(rest.reason, "a unit reaches beyond the end of its section");
        info.truncate(33);
        let rest = UnitTable::new(&dwarf(&info)).rest.expect("a length is cut off");
        assert!(rest.range == (30..33) && rest.reason.starts_with("no unit's length: "), "{rest:?}");
    }
}
