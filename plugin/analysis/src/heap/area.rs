//! The memory that may hold pointers, and how its words are gone through.

use super::{GRANULE, SegmentKind, Segments};
use crate::memory::{Buffer, Walk};
use crate::plan::{ScanRange, Scanned, Task};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{AddressRange, ReadMemory};

/// Bytes of a pointer, and what its address is a multiple of.
pub(super) const WORD: u64 = 8;

/// Nothing smaller is known to be untouched.
const PAGE: u64 = 4096;

/// Where pointers are looked for: the heap's segments, and what else may point into them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    /// Disjoint, in address order. Each lies in a segment or in none.
    pub ranges: Vec<ScanRange>,
    /// Whether pages in swap are read.
    pub swapped: bool,
    /// Bytes read at once.
    pub block: u32,
}

impl Default for Area {
    /// Nothing; all else as the commands' defaults are.
    fn default() -> Self {
        Self { ranges: Vec::new(), swapped: true, block: 512 << 10 }
    }
}

impl Area {
    /// The heap's segments and `roots`, which do not overlap with them. `sparse` says whether untouched pages of a segment
    /// are known to hold zeros.
    pub fn of(roots: &[ScanRange], segments: &Segments, sparse: impl Fn(AddressRange) -> bool) -> Self {
        let heap = segments.list().iter().map(|segment| segment.range);
        let heap = heap.map(|range| ScanRange { range, region: range, sparse: sparse(range) });
        let mut ranges: Vec<ScanRange> = heap.chain(roots.iter().copied()).collect();
        ranges.sort_by_key(|scan| scan.range.start);
        Self { ranges, ..Self::default() }
    }

    /// What of it has not been gone through where all chunks that follow one another were: roots, and chunks with mappings of their own.
    pub fn beside_chains(mut self, segments: &Segments) -> Self {
        self.ranges.retain(|scan| {
            let segment = segments.segment_at(scan.range.start);
            segment.is_none_or(|segment| segments.list()[segment].kind == SegmentKind::Mapped)
        });
        self
    }

    /// Shows every aligned word that begins in a task's range, in order: a run of them, and where its first one lies. Words
    /// of pages that are known to hold zeros may be left out. `visit` may break where it wants the rest to be another task's.
    pub(super) fn scan(
        &self,
        task: &Task,
        memory: &dyn ReadMemory,
        buffer: &mut Buffer,
        stop: &dyn Fn() -> bool,
        visit: impl FnMut(u64, &[[u8; 8]]) -> ControlFlow<()>,
    ) -> Scanned<()> {
        let scan = ScanRange { range: task.range, ..task.scan_range(&self.ranges) };
        self.walk(scan, memory, buffer, stop, visit)
    }

    /// As [`scan`](Self::scan), for a part of one of the ranges that is read by itself.
    pub(super) fn part(
        &self,
        range: AddressRange,
        memory: &dyn ReadMemory,
        buffer: &mut Buffer,
        stop: &dyn Fn() -> bool,
        visit: impl FnMut(u64, &[[u8; 8]]) -> ControlFlow<()>,
    ) -> Scanned<()> {
        let around = self.ranges.partition_point(|scan| scan.range.start <= range.start).checked_sub(1);
        let around = around.map(|index| self.ranges[index]).filter(|scan| scan.range.contains(range.start));
        let region = around.map_or(range, |scan| scan.region);
        // A range in one page is not worth asking about: that it is wanted is because it holds something.
        let one_page = range.start / PAGE == range.end.saturating_sub(1) / PAGE;
        let sparse = around.is_some_and(|scan| scan.sparse) && !(one_page && self.swapped);
        let range = around.and_then(|scan| scan.range.intersect(range)).unwrap_or(range);
        self.walk(ScanRange { range, region, sparse }, memory, buffer, stop, visit)
    }

    fn walk(
        &self,
        scan: ScanRange,
        memory: &dyn ReadMemory,
        buffer: &mut Buffer,
        stop: &dyn Fn() -> bool,
        mut visit: impl FnMut(u64, &[[u8; 8]]) -> ControlFlow<()>,
    ) -> Scanned<()> {
        let walk = Walk {
            memory,
            range: scan.range,
            region: scan.region,
            sparse: scan.sparse,
            swapped: self.swapped,
            before: 0,
            reach: WORD as usize,
            zero_reach: WORD as usize,
            zeros: false,
            block: self.block.max(1) as usize,
            stop,
        };
        let walked = walk.run(buffer, |window| {
            let first = window.address(window.starts.start);
            let ahead = (first.next_multiple_of(WORD) - first) as usize;
            // The last word may end beyond the places where one may begin.
            let end = (window.starts.end + WORD as usize - 1).min(window.data.len());
            let bytes = window.data.get(window.starts.start + ahead..end).unwrap_or_default();
            match visit(first + ahead as u64, bytes.as_chunks().0) {
                ControlFlow::Continue(()) => ControlFlow::Continue(()),
                ControlFlow::Break(()) => ControlFlow::Break(window.address(window.starts.end)),
            }
        });
        Scanned {
            partial: (),
            bytes: walked.bytes(scan.range),
            skipped: walked.skipped,
            rest: walked.rest.map(|rest| AddressRange::new(rest, scan.range.end)),
            gone: walked.gone,
        }
    }
}

/// The part of a segment's words that a chunk's user may use: the words of `usable` that are within the segment.
pub(super) fn words_of(chunk: &super::Chunk, segments: &Segments) -> AddressRange {
    let segment = segments.list().get(chunk.segment).map_or(chunk.range, |segment| segment.range);
    let usable = chunk.usable();
    AddressRange::new(usable.start, usable.end.min(segment.end))
}

const _: () = assert!(GRANULE.is_multiple_of(WORD), "a chunk is made of whole words");
