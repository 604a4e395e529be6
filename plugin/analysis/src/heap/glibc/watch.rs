//! Finds pointers in what a walk reads anyway.

use super::reader::Reader;
use crate::heap::Lookup;
use crate::heap::area::WORD;
use crate::heap::refs::pointers_into;
use serde::{Deserialize, Serialize};
use target::AddressRange;

/// So many pointers are told of; where there are more, it is said that there are.
const MOST: usize = 1 << 20;

/// The pointers into a range that lie in segments that were walked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sightings {
    /// What they point into.
    range: AddressRange,
    /// Of each, where it lies and what it points to; 8 bytes each, the lowest one first, and in address order.
    #[serde(with = "serde_bytes")]
    pairs: Vec<u8>,
    /// Whether some may be missing: memory could not be read, or there are too many.
    incomplete: bool,
}

impl Sightings {
    /// Those that point into `target`, and that lie in what users of chunks may, or once might, use: where each lies, and what it points
    /// to, in address order. `None` if others may be missing.
    pub fn of(&self, target: AddressRange, lookup: &Lookup<'_>) -> Option<Vec<(u64, u64)>> {
        let within = self.range.start <= target.start && target.end <= self.range.end;
        (within && !self.incomplete).then(|| {
            let all = self.pairs.as_chunks::<8>().0.as_chunks::<2>().0;
            let all = all.iter().map(|[address, value]| (u64::from_le_bytes(*address), u64::from_le_bytes(*value)));
            all.filter(|(address, value)| target.contains(*value) && lookup.owner_at(*address).is_some()).collect()
        })
    }

    /// Adds those of a task whose range comes after all others.
    pub(super) fn append(&mut self, others: Self) {
        self.range = others.range;
        self.incomplete |= others.incomplete || self.pairs.len() + others.pairs.len() > 16 * MOST;
        if self.incomplete {
            self.pairs = Vec::new();
        } else {
            self.pairs.extend(others.pairs);
        }
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        self.pairs.len()
    }
}

/// Looks at the words of a range of addresses, block by block, as a reader comes to each: so a block is read once for both.
#[derive(Debug)]
pub(super) struct Watch {
    /// What is still to be looked at.
    left: AddressRange,
    found: Sightings,
}

impl Watch {
    /// Looks in `range` for pointers into `target`.
    pub fn new(target: AddressRange, range: AddressRange) -> Self {
        let left = AddressRange::new(range.start.next_multiple_of(WORD).min(range.end), range.end);
        Self { left, found: Sightings { range: target, ..Sightings::default() } }
    }

    /// Looks at all before `address`, and at what of its block the reader has. Returns from where on there is more to be looked at.
    pub fn reach(&mut self, reader: &mut Reader<'_>, address: u64) -> u64 {
        while self.left.start <= address && !self.left.is_empty() {
            let words = reader.rest(self.left.start).map(|bytes| bytes.as_chunks::<8>().0).unwrap_or_default();
            let most = usize::try_from(self.left.len().div_ceil(WORD)).unwrap_or(usize::MAX);
            let words = &words[..words.len().min(most)];
            if words.is_empty() {
                self.found.incomplete = true;
                self.left.start = self.left.end;
                break;
            }
            let pairs = &mut self.found.pairs;
            pointers_into(self.found.range, self.left.start, words, |address, value| {
                if pairs.len() < 16 * MOST {
                    pairs.extend_from_slice(&address.to_le_bytes());
                    pairs.extend_from_slice(&value.to_le_bytes());
                }
            });
            self.left.start = self.left.end.min(self.left.start + WORD * words.len() as u64);
        }
        if self.left.is_empty() { u64::MAX } else { self.left.start }
    }

    /// What has been found before `end`, all of which is looked at.
    pub fn finish(mut self, reader: &mut Reader<'_>, end: u64) -> Sightings {
        if let Some(last) = end.checked_sub(1) {
            self.reach(reader, last);
        }
        let before = |[address, _]: &[[u8; 8]; 2]| u64::from_le_bytes(*address) < end;
        let count = self.found.pairs.as_chunks::<8>().0.as_chunks::<2>().0.partition_point(before);
        self.found.incomplete |= self.found.pairs.len() >= 16 * MOST;
        self.found.pairs.truncate(16 * count);
        self.found
    }
}
