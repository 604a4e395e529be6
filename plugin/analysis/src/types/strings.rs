//! Which strings of .debug_str names that are looked for may be made of, and which parts of units refer to one of them.

use super::needles::Literals;
use super::unit::Unit;
use crate::dwarf::cursor::number;
use crate::dwarf::shapes::{NameForms, Text};
use aho_corasick::packed;
use memchr::memmem::Finder;
use std::collections::BTreeSet;

/// So many values are looked for at once at nearly the speed of one.
const AT_ONCE: usize = 48;

/// More values are not looked for: reading the entries takes no longer.
const MOST_VALUES: usize = 4 * AT_ONCE;

/// So many bytes are looked through for one lot of values after another, while they are in the processor's cache.
const CHUNK: usize = 64 << 10;

/// Up to so many offsets are looked for one by one, and not by what their upper bytes are.
const FEW_OFFSETS: usize = 32;

/// The offsets of a section of strings at which a string begins that may be part of a name that is looked for.
#[derive(Debug)]
pub(super) struct Strings {
    literals: Literals,
    /// A bit for each offset.
    bits: Vec<u64>,
    /// What finds such offsets in other sections, unless there are too many.
    values: Option<Values>,
}

/// Finds offsets of 4 bytes, the least significant first.
#[derive(Debug)]
enum Values {
    /// There are none.
    None,
    One(Box<Finder<'static>>),
    /// By lots of values: either all of their bytes, or the upper three.
    Any(Vec<packed::Searcher>, usize),
}

impl Strings {
    /// Looks through all strings of `section`. A string may begin within another.
    pub(super) fn new(section: &[u8], literals: &Literals) -> Self {
        let mut bits = vec![0u64; section.len() / 64 + 1];
        let (mut offsets, mut uppers) = (BTreeSet::new(), BTreeSet::new());
        literals.each_fitting(section, |offset| {
            bits[offset / 64] |= 1 << (offset % 64);
            if offsets.len() <= FEW_OFFSETS {
                offsets.insert(offset);
            }
            if uppers.len() <= MOST_VALUES {
                uppers.insert(offset >> 8);
            }
        });
        Self { literals: literals.clone(), bits, values: Values::new(&offsets, &uppers) }
    }

    /// Whether something with that name may be part of a name that is looked for. A string of another section is looked at.
    pub(super) fn may_match(&self, unit: &Unit<'_>, text: Text) -> bool {
        let offset = match text {
            Text::None => return false,
            Text::Str(offset) => offset,
            Text::Index(index) => match unit.string_offset(index) {
                Some(offset) => offset,
                None => return false,
            },
            Text::Here(_) | Text::Line(_) | Text::Alternate(_) => return self.literals.fit(unit.text(text)),
        };
        self.has(offset)
    }

    fn has(&self, offset: usize) -> bool {
        self.bits.get(offset / 64).is_some_and(|bits| bits >> (offset % 64) & 1 != 0)
    }

    /// Where in a unit entries may refer to strings that may be part of a name that is looked for, in ascending order; `None` if
    /// that cannot be told without reading the entries. Of each reference some byte is given.
    pub(super) fn sites(&self, unit: &Unit<'_>) -> Option<Vec<usize>> {
        let NameForms { offset, index, here, other } = unit.shapes.names;
        let mut sites = Vec::new();
        if other || (index && !self.has_no_index(unit)?) {
            return None;
        }
        if offset {
            if unit.encoding.offset_size != 4 || unit.encoding.big {
                return None;
            }
            self.values.as_ref()?.each(unit.bytes, |at, value| {
                if self.has(value as usize) {
                    sites.push(at);
                }
            });
        }
        if here {
            let mut from = 0;
            while let Some(found) = unit.bytes.get(from..).and_then(|rest| self.literals.find(rest)) {
                sites.push(from + found);
                from += found + 1;
            }
        }
        sites.sort_unstable();
        Some(sites)
    }

    /// Whether no index stands for such a string; `None` if that cannot be told.
    fn has_no_index(&self, unit: &Unit<'_>) -> Option<bool> {
        let table = unit.string_offsets_table()?;
        if unit.encoding.offset_size != 4 || unit.encoding.big {
            return None;
        }
        let mut none = true;
        self.values.as_ref()?.each(table, |at, value| none &= !(at % 4 == 0 && self.has(value as usize)));
        Some(none)
    }
}

impl Values {
    /// `None` if there are too many of them. `offsets` and `uppers` are all of them if they are not too many.
    fn new(offsets: &BTreeSet<usize>, uppers: &BTreeSet<usize>) -> Option<Self> {
        let mut offsets = offsets.iter().map(|offset| u32::try_from(*offset).map(u32::to_le_bytes));
        match offsets.len() {
            0 => return Some(Self::None),
            1 => return Some(Self::One(Box::new(Finder::new(&offsets.next()?.ok()?).into_owned()))),
            _ => {}
        }
        let (patterns, skipped) = match offsets.len() <= FEW_OFFSETS {
            true => (offsets.map(|bytes| Some(bytes.ok()?.to_vec())).collect::<Option<Vec<_>>>()?, 0),
            false if uppers.len() <= MOST_VALUES => {
                let upper = |upper: &usize| Some(u32::try_from(*upper).ok()?.to_le_bytes()[..3].to_vec());
                (uppers.iter().map(upper).collect::<Option<Vec<_>>>()?, 1)
            }
            false => return None,
        };
        let searchers = patterns.chunks(AT_ONCE).map(packed::Searcher::new).collect::<Option<_>>()?;
        Some(Self::Any(searchers, skipped))
    }

    /// Gives the places of what may be such an offset, and what it is.
    fn each(&self, bytes: &[u8], found: impl FnMut(usize, u64)) {
        self.each_by(CHUNK, bytes, found);
    }

    fn each_by(&self, size: usize, bytes: &[u8], mut found: impl FnMut(usize, u64)) {
        let mut take = |at: usize| {
            if let Ok(value) = number(bytes, &mut at.clone(), 4, false) {
                found(at, value);
            }
        };
        match self {
            Self::None => {}
            Self::One(finder) => occurrences(finder, bytes).for_each(take),
            Self::Any(searchers, skipped) => {
                for chunk in (0..bytes.len()).step_by(size) {
                    let end = bytes.len().min(chunk + size);
                    // A value may begin in one chunk and end in the next.
                    let reach = bytes.len().min(end + 3);
                    for searcher in searchers {
                        let mut from = chunk;
                        while let Some(at) = searcher.find_in(bytes, (from..reach).into()).map(|found| found.start()) {
                            if at >= end {
                                break;
                            }
                            if let Some(start) = at.checked_sub(*skipped) {
                                take(start);
                            }
                            from = at + 1;
                        }
                    }
                }
            }
        }
    }
}

/// Where `finder` finds something in `bytes`; one occurrence may begin within another.
pub(super) fn occurrences<'b>(finder: &'b Finder<'_>, bytes: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + finder.find(bytes.get(from..)?)?;
        from = at + 1;
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_offsets_are_found_wherever_they_are(
            offsets in proptest::collection::btree_set(prop_oneof![0usize..700, 0usize..0x400_0000], 0..300),
            bytes in proptest::collection::vec(0u8..4, 0..400),
            size in 1usize..100,
            places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<proptest::sample::Index>()), 0..20),
        ) {
            let mut bytes = bytes;
            for (offset, place) in places {
                if let (Some(offset), Some(last)) = (offsets.iter().nth(offset.index(offsets.len().max(1))), bytes.len().checked_sub(4)) {
                    let place = place.index(last + 1);
                    bytes[place..place + 4].copy_from_slice(&(*offset as u32).to_le_bytes());
                }
            }
            let uppers = offsets.iter().map(|offset| offset >> 8).collect::<BTreeSet<_>>();
            let Some(values) = Values::new(&offsets, &uppers) else {
                prop_assert!(uppers.len() > MOST_VALUES);
                return Ok(());
            };
            let mut found = BTreeSet::new();
            values.each_by(size, &bytes, |at, value| {
                if offsets.contains(&(value as usize)) {
                    found.insert(at);
                }
            });
            let is_one = |at: &usize| number(&bytes, &mut at.clone(), 4, false).is_ok_and(|value| offsets.contains(&(value as usize)));
            prop_assert_eq!(found, (0..bytes.len()).filter(is_one).collect::<BTreeSet<_>>());
        }
    }
}
