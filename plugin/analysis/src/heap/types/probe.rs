//! What recognisers of containers see: the words of a holder, and the chunks that they lead to.

use super::codes::{Code, Codes};
use super::peek::Pages;
use super::shapes::Shape;
use crate::heap::{Chunk, GRANULE, HEADER, Lookup, SegmentKind};
use target::ReadMemory;

/// Pages of chunks that have mappings of their own.
const PAGE: u64 = 4096;

/// Between two questions whether to stop.
const PATIENCE: u64 = 1 << 12;

/// Of so many nodes it is kept which they were, while a list is followed to its end.
const MOST_KEPT: usize = 1 << 20;

/// Words that may hold something, from one on that points to a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder<'a> {
    /// Where that word is.
    pub(super) address: u64,
    /// What the holder may be part of: the rest of a chunk in use, or memory outside of the heap.
    pub(super) bytes: &'a [u8],
    /// Where in these bytes the word is.
    pub(super) at: usize,
    /// The chunk that it lies in.
    pub(super) chunk: Option<Chunk>,
}

impl Holder<'_> {
    /// The word so many words behind the first, or before it.
    #[inline]
    pub(super) fn word(&self, index: isize) -> Option<u64> {
        let at = self.at.checked_add_signed(index * 8)?;
        Some(u64::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// Whether so many words are there, from the first on.
    pub(super) fn has(&self, words: usize) -> bool {
        self.bytes.len() - self.at >= words * 8
    }
}

/// A chunk that holds the characters of a string, if they are there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) chunk: u64,
    pub(super) address: u64,
    pub(super) length: u64,
}

/// How far a chain or a tree of foreign pointers is followed.
pub(super) struct Probe<'a> {
    pub(super) lookup: Lookup<'a>,
    pub(super) codes: Codes<'a>,
    pub(super) memory: &'a dyn ReadMemory,
    pub(super) pages: &'a mut Pages,
    pub(super) stop: &'a dyn Fn() -> bool,
    /// Steps that may still be taken.
    pub(super) steps: u64,
    /// Whether it was told to stop.
    pub(super) stopped: bool,
    /// The segment that the last pointer led to.
    pub(super) segment: usize,
    /// Strings whose characters have not been looked at yet.
    pub(super) texts: Vec<Text>,
}

impl Probe<'_> {
    /// The first granule of the chunk in use that a pointer points to the very beginning of.
    #[inline]
    pub(super) fn start(&mut self, pointer: u64) -> Option<u64> {
        if !pointer.is_multiple_of(GRANULE) {
            return None;
        }
        let granule = self.granule(pointer.checked_sub(HEADER)?)?;
        self.lookup.is_used(granule).then_some(granule)
    }

    /// The granule at an address; most are in the segment that the last one was in.
    #[inline]
    pub(super) fn granule(&mut self, address: u64) -> Option<u64> {
        let segments = self.lookup.segments();
        if !segments.list().get(self.segment)?.range.contains(address) {
            self.segment = segments.segment_at(address)?;
        }
        let start = segments.list()[self.segment].range.start;
        Some(segments.granules_of(self.segment).start + (address - start) / GRANULE)
    }

    /// As [`start`](Self::start), if the chunk is about as large as `like`: those of a container's nodes are.
    pub(super) fn alike(&mut self, pointer: u64, like: &Chunk) -> Option<Chunk> {
        let granule = self.start(pointer)?;
        self.lookup.chunk(granule).filter(|chunk| same_size(chunk, like))
    }

    pub(super) fn words<const N: usize>(&mut self, address: u64) -> Option<[u64; N]> {
        self.pages.words(self.memory, address)
    }

    pub(super) fn mark(&self, chunk: u64, shape: Shape) {
        self.codes.raise(self.lookup.number(chunk), Code::Shape(shape));
    }

    /// Names the nodes that `follow` visits, no more than `count`, once it has said that they are as they should be; says whether they are.
    pub(super) fn name(
        &mut self,
        shape: Shape,
        count: u64,
        follow: impl Fn(&mut Self, &mut dyn FnMut(&Probe<'_>, u64)) -> bool,
    ) -> bool {
        let mut kept = Vec::new();
        let sound = follow(self, &mut |_, node| {
            if kept.len() < MOST_KEPT {
                kept.push(node);
            }
        });
        if sound {
            kept.iter().for_each(|node| self.mark(*node, shape));
            if count > MOST_KEPT as u64 {
                follow(self, &mut |probe, node| probe.mark(node, shape));
            }
        }
        sound
    }

    /// Whether one more step may be taken.
    pub(super) fn step(&mut self) -> bool {
        self.steps = self.steps.saturating_sub(1);
        if self.steps.is_multiple_of(PATIENCE) {
            self.stopped |= (self.stop)();
        }
        self.steps > 0 && !self.stopped
    }
}

/// Whether two chunks are what malloc gives for requests of the same size: it may give 16 bytes more than it must, where the rest would be
/// too small for a chunk.
pub(super) fn same_size(one: &Chunk, other: &Chunk) -> bool {
    one.range.len().abs_diff(other.range.len()) <= GRANULE
}

/// Whether a chunk is what malloc gives for a request of so many bytes.
pub(super) fn fits(chunk: &Chunk, request: u64) -> bool {
    let usable = chunk.usable().len();
    if request > usable {
        return false;
    }
    if chunk.kind == SegmentKind::Mapped {
        return usable - request < PAGE + GRANULE;
    }
    let least = (request + GRANULE / 2).next_multiple_of(GRANULE).max(2 * GRANULE) - GRANULE / 2;
    // The last chunk of a segment may be cut short.
    (least..=least + GRANULE).contains(&usable)
}
