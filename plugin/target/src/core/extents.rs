//! Where the bytes of each address are: segments laid out without overlap, in address order.

use super::notes::MappedFile;
use super::parse::{Contents, Segment};
use crate::{AddressRange, Permissions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A run of addresses whose bytes are at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub range: AddressRange,
    pub content: Content,
}

/// Where the bytes of an extent are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// In the core file, from this offset on.
    Core { offset: u64 },
    /// In a file that the process had mapped, by its number among those that were opened.
    File { number: usize, offset: u64 },
    /// Not in the core file.
    Absent,
    /// Beyond the end of a core file that is too short.
    Truncated,
    /// In no copy: it could not be read when the copy was made.
    Unread,
}

impl Content {
    /// That of the address `distance` bytes on.
    pub(super) fn at(self, distance: u64) -> Self {
        // Offsets that reach beyond all numbers are in no file, and reading there says so.
        match self {
            Self::Core { offset } => Self::Core { offset: offset.saturating_add(distance) },
            Self::File { number, offset } => Self::File { number, offset: offset.saturating_add(distance) },
            other => other,
        }
    }
}

/// A part of a segment, or of a mapping that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: AddressRange,
    /// `None` where no segment tells.
    pub(super) permissions: Option<Permissions>,
    pub(super) content: Content,
    /// The index of the mapped file that it belongs to.
    pub(super) file: Option<usize>,
}

/// Lays out what a core file holds: in address order, disjoint, cut where the place of the bytes changes and where mapped
/// files begin and end. Where segments overlap, the first one in the file counts.
///
/// What is mapped from a file but in no segment is there too: gdb leaves out what it can have from the files.
pub(super) fn pieces(contents: &Contents) -> Vec<Piece> {
    let mut covered = Covered::default();
    let mut pieces = Vec::new();
    for segment in &contents.segments {
        for range in covered.add(segment.range) {
            split_by_content(segment, range, contents.length, &mut pieces);
        }
    }
    for file in &contents.notes.files {
        for range in covered.add(file.range) {
            pieces.push(Piece { range, permissions: None, content: Content::Absent, file: None });
        }
    }
    pieces.sort_by_key(|piece| piece.range.start);
    split_by_file(pieces, &contents.notes.files)
}

/// Joins extents that go on where the one before ends.
pub(super) fn joined(pieces: impl IntoIterator<Item = Extent>) -> Vec<Extent> {
    let mut extents = Vec::<Extent>::new();
    for extent in pieces {
        match extents.last_mut() {
            Some(last)
                if last.range.end == extent.range.start && last.content.at(last.range.len()) == extent.content =>
            {
                last.range.end = extent.range.end;
            }
            _ => extents.push(extent),
        }
    }
    extents
}

/// The part `range` of a segment: what the file has, what it should have, and what it was never to have.
fn split_by_content(segment: &Segment, range: AddressRange, length: u64, pieces: &mut Vec<Piece>) {
    let dumped = AddressRange::sized(segment.range.start, segment.file_size);
    let there = segment.file_size.min(length.saturating_sub(segment.offset));
    let there = AddressRange::sized(segment.range.start, there);
    let parts = [
        (there, Content::Core { offset: segment.offset }),
        (AddressRange::new(there.end, dumped.end), Content::Truncated),
        (AddressRange::new(dumped.end, segment.range.end), Content::Absent),
    ];
    for (part, content) in parts {
        if let Some(range) = part.intersect(range) {
            let content = content.at(range.start - segment.range.start);
            pieces.push(Piece { range, permissions: Some(segment.permissions), content, file: None });
        }
    }
}

/// Both in address order and disjoint.
fn split_by_file(pieces: Vec<Piece>, files: &[MappedFile]) -> Vec<Piece> {
    let mut split = Vec::with_capacity(pieces.len());
    let mut first = 0;
    for piece in pieces {
        while files.get(first).is_some_and(|file| file.range.end <= piece.range.start) {
            first += 1;
        }
        let mut push = |start: u64, end: u64, file| {
            if start < end {
                let content = piece.content.at(start - piece.range.start);
                split.push(Piece { range: AddressRange::new(start, end), content, file, ..piece });
            }
        };
        let mut start = piece.range.start;
        for (index, file) in files.iter().enumerate().skip(first) {
            let Some(common) = file.range.intersect(piece.range) else { break };
            push(start, common.start, None);
            push(common.start, common.end, Some(index));
            start = common.end;
        }
        push(start, piece.range.end, None);
    }
    split
}

/// The addresses that are covered so far, as start and end of runs that do not touch.
#[derive(Default)]
struct Covered(BTreeMap<u64, u64>);

impl Covered {
    /// Covers `range`, and returns the parts of it that were not covered before.
    ///
    /// However segments overlap, all calls together take time in proportion to their number: each run that is met
    /// becomes part of one that is larger.
    fn add(&mut self, range: AddressRange) -> Vec<AddressRange> {
        let mut fresh = Vec::new();
        let mut whole = range;
        let mut start = range.start;
        let before = self.0.range(..=range.start).next_back().filter(|(_, end)| **end >= range.start);
        let from = before.map_or(range.start, |(start, _)| *start);
        let met: Vec<_> = self.0.range(from..=range.end).map(|(start, end)| (*start, *end)).collect();
        for (met_start, met_end) in met {
            if start < met_start {
                fresh.push(AddressRange::new(start, met_start));
            }
            start = start.max(met_end);
            whole = AddressRange::new(whole.start.min(met_start), whole.end.max(met_end));
            self.0.remove(&met_start);
        }
        if start < range.end {
            fresh.push(AddressRange::new(start, range.end));
        }
        self.0.insert(whole.start, whole.end);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_covered_is_what_a_naive_twin_covers(ranges in prop::collection::vec((0_u64..60, 1_u64..30), 0..20)) {
            let mut covered = Covered::default();
            let mut naive = [false; 100];
            for (start, length) in ranges {
                let range = AddressRange::sized(start, length);
                let mut fresh = [false; 100];
                for part in covered.add(range) {
                    prop_assert!(!part.is_empty());
                    fresh[part.start as usize..part.end as usize].fill(true);
                }
                for address in 0..100 {
                    prop_assert_eq!(fresh[address], range.contains(address as u64) && !naive[address]);
                    naive[address] |= fresh[address];
                }
                let runs: Vec<_> = covered.0.iter().collect();
                prop_assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
