//! Finding the pointers between allocations.

use super::{Arrows, Graph, GraphError, Register, Roots};
use crate::driver::Sink;
use crate::heap::area::{Area, WORD};
use crate::heap::{GRANULE, HEADER, Lookup, View};
use crate::memory::Buffer;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressRange;

/// A task that has found so many pointers leaves the rest to another.
const MOST_FOUND: usize = 1 << 20;

/// Finds the pointers to allocations in use: in all chunks, and in what is not heap.
///
/// A task looks at the words that begin in its range, whichever chunk they belong to, so that a large chunk is looked at by
/// many; the merge puts together what they have found in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edges {
    pub area: Area,
    /// There are as many chunks.
    chunks: u32,
    /// The graph has at most so many pointers.
    most: u64,
}

impl Edges {
    /// A search in `area` of a heap of so many chunks, for a graph of at most `memory` bytes.
    ///
    /// # Errors
    /// If no graph can be made of so many chunks.
    pub fn new(area: Area, chunks: u64, memory: u64) -> Result<Self, GraphError> {
        let chunks =
            u32::try_from(chunks).ok().filter(|chunks| *chunks < u32::MAX).ok_or(GraphError::Chunks(chunks))?;
        // Offsets into the list of all pointers have 32 bits.
        let most = (memory.saturating_sub(4 * u64::from(chunks)) / 4).min(u32::MAX.into());
        Ok(Self { area, chunks, most })
    }
}

/// The pointers that a task has found, numbers of 32 bits and addresses of 64, lowest byte first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgesPartial {
    /// For each run of words of a chunk that has any: the chunk's number, how many there are, and the numbers of the chunks
    /// they point to.
    #[serde(with = "serde_bytes")]
    heap: Vec<u8>,
    /// For each pointer outside of the heap: where it lies, and the number of the chunk it points to.
    #[serde(with = "serde_bytes")]
    roots: Vec<u8>,
}

/// Buffers, kept from one task to the next.
#[derive(Debug, Default)]
pub struct EdgesScanner {
    buffer: Buffer,
    targets: Vec<u32>,
}

/// The pointers found so far.
#[derive(Debug)]
pub struct EdgesMerge {
    arrows: Arrows,
    /// Whether the last chunk's list is of several parts, which may have the same chunks in them.
    parts: bool,
    roots: Vec<(u64, u32)>,
    chunks: u32,
    most: u64,
    full: bool,
}

impl EdgesMerge {
    /// The graph, with what registers hold among its roots.
    ///
    /// # Errors
    /// If there are more pointers than it may have.
    pub fn graph(mut self, registers: &[Register], lookup: Lookup<'_>) -> Result<Graph, GraphError> {
        if self.full {
            return Err(GraphError::Pointers(self.most));
        }
        self.close();
        self.arrows.first.resize(self.chunks as usize + 1, self.arrows.ends.len() as u32);
        self.arrows.first.shrink_to_fit();
        self.arrows.ends.shrink_to_fit();
        Ok(Graph { arrows: self.arrows, roots: Roots::new(self.roots, registers, lookup) })
    }

    /// Adds to what is known of a chunk, which is the last one or comes after it.
    fn add(&mut self, chunk: u32, targets: &[[u8; 4]]) {
        if (chunk as usize) + 1 < self.arrows.first.len() || chunk >= self.chunks {
            // No task that did what it should says so.
            return;
        }
        if self.arrows.first.len() == chunk as usize + 1 {
            self.parts = true;
        } else {
            self.close();
            self.arrows.first.resize(chunk as usize + 1, self.arrows.ends.len() as u32);
        }
        let targets = targets.iter().map(|bytes| u32::from_le_bytes(*bytes));
        self.arrows.ends.extend(targets.filter(|target| *target < self.chunks));
    }

    /// Completes the last chunk's list.
    fn close(&mut self) {
        if std::mem::take(&mut self.parts) {
            let start = self.arrows.first.last().map_or(0, |first| *first as usize);
            let mut last = self.arrows.ends.split_off(start);
            last.sort_unstable();
            last.dedup();
            self.arrows.ends.append(&mut last);
        }
    }
}

impl Analysis for Edges {
    const NAME: &'static str = "heap-edges";
    type Input = View;
    type Partial = EdgesPartial;
    type Scanner = EdgesScanner;
    type Merge = EdgesMerge;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.area.ranges
    }

    fn reach(&self) -> u64 {
        WORD
    }

    fn reads_swapped(&self) -> bool {
        self.area.swapped
    }

    fn scanner(&self) -> Result<EdgesScanner, String> {
        Ok(EdgesScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut EdgesScanner,
        task: &Task,
        view: &View,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<EdgesPartial> {
        let mut finder = Finder::new(view.index.lookup(), &mut scanner.targets);
        let Scanned { bytes, skipped, rest, gone, .. } =
            self.area.scan(task, &view.memory, &mut scanner.buffer, stop, |address, words| {
                finder.look(address, words);
                if finder.found < MOST_FOUND { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        Scanned { partial: finder.partial, bytes, skipped, rest, gone }
    }

    fn merge(&self) -> EdgesMerge {
        let arrows = Arrows { first: Vec::with_capacity(self.chunks as usize + 1), ends: Vec::new() };
        EdgesMerge { arrows, parts: false, roots: Vec::new(), chunks: self.chunks, most: self.most, full: false }
    }

    fn absorb(
        &self,
        merge: &mut EdgesMerge,
        _task: &Task,
        partial: EdgesPartial,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        let mut words = partial.heap.as_chunks::<4>().0;
        while let [chunk, count, rest @ ..] = words {
            let count = (u32::from_le_bytes(*count) as usize).min(rest.len());
            merge.add(u32::from_le_bytes(*chunk), &rest[..count]);
            words = &rest[count..];
        }
        for root in partial.roots.as_chunks::<12>().0 {
            let [address @ .., a, b, c, d] = *root;
            let target = u32::from_le_bytes([a, b, c, d]);
            if target < self.chunks {
                merge.roots.push((u64::from_le_bytes(address), target));
            }
        }
        // A pointer from outside takes three times as much as one from inside.
        merge.full |= (merge.arrows.ends.len() + 3 * merge.roots.len()) as u64 > merge.most;
        if merge.full { ControlFlow::Break(Stop::Limit) } else { ControlFlow::Continue(()) }
    }

    fn weight(partial: &EdgesPartial) -> usize {
        partial.heap.len() + partial.roots.len() + size_of::<EdgesPartial>()
    }
}

/// Looks at words.
struct Finder<'a> {
    lookup: Lookup<'a>,
    /// All chunks lie from here on, within so many bytes.
    lowest: u64,
    span: u64,
    partial: EdgesPartial,
    found: usize,
    targets: &'a mut Vec<u32>,
}

impl<'a> Finder<'a> {
    fn new(lookup: Lookup<'a>, targets: &'a mut Vec<u32>) -> Self {
        let list = lookup.segments().list();
        let lowest = list.first().map_or(0, |segment| segment.range.start);
        let span = list.last().map_or(0, |segment| segment.range.end - lowest);
        Self { lookup, lowest, span, partial: EdgesPartial::default(), found: 0, targets }
    }

    /// Looks at the words from `address` on, all in one segment or all in none.
    fn look(&mut self, address: u64, words: &[[u8; 8]]) {
        match self.lookup.segments().segment_at(address) {
            Some(segment) => self.segment(segment, address, words),
            None => {
                for (index, word) in words.iter().enumerate() {
                    if let Some(target) = self.target(word) {
                        self.partial.roots.extend_from_slice(&(address + index as u64 * WORD).to_le_bytes());
                        self.partial.roots.extend_from_slice(&target.to_le_bytes());
                        self.found += 1;
                    }
                }
            }
        }
    }

    fn segment(&mut self, segment: usize, address: u64, words: &[[u8; 8]]) {
        let lookup = self.lookup;
        let segments = lookup.segments();
        let range = segments.list()[segment].range;
        let granules = segments.granules_of(segment);
        let end = (address + words.len() as u64 * WORD).min(range.end);
        // The first word of a chunk is the last of the one before.
        let first = lookup.granule_at(address.saturating_sub(WORD).max(range.start)).unwrap_or(granules.start);
        let mut number = lookup.number(first) as u32;
        let mut starts = lookup.starts(first..granules.end).peekable();
        let place = |granule: u64| range.start + (granule - granules.start) * GRANULE;
        while let Some(start) = starts.next() {
            let next = starts.peek().map_or(range.end, |next| place(*next) + WORD);
            let part = AddressRange::new(place(start) + HEADER, next.min(range.end));
            if let Some(part) = part.intersect(AddressRange::new(address, end)) {
                let words = &words[((part.start - address) / WORD) as usize..((part.end - address) / WORD) as usize];
                self.chunk(number, words);
            }
            if next >= end {
                break;
            }
            number += 1;
        }
    }

    /// Looks at words of a chunk.
    #[inline]
    fn chunk(&mut self, number: u32, words: &[[u8; 8]]) {
        self.targets.clear();
        for word in words {
            if let Some(target) = self.target(word).filter(|target| *target != number) {
                self.targets.push(target);
            }
        }
        if self.targets.is_empty() {
            return;
        }
        if self.targets.len() > 1 {
            self.targets.sort_unstable();
            self.targets.dedup();
        }
        self.found += self.targets.len();
        let heap = &mut self.partial.heap;
        heap.extend_from_slice(&number.to_le_bytes());
        heap.extend_from_slice(&(self.targets.len() as u32).to_le_bytes());
        for target in &*self.targets {
            heap.extend_from_slice(&target.to_le_bytes());
        }
    }

    /// The number of the chunk in use that a word points into.
    #[inline]
    fn target(&self, word: &[u8; 8]) -> Option<u32> {
        let value = u64::from_le_bytes(*word);
        if value.wrapping_sub(self.lowest) >= self.span {
            return None;
        }
        self.lookup.used_at(value).map(|granule| self.lookup.number(granule) as u32)
    }
}
