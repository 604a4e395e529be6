//! A heap of the tests' own making.

use super::roots::Roots;
use super::{Chunk, GRANULE, Index, Segment, SegmentKind, Segments, View, table};
use crate::plan::ScanRange;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use target::{AddressRange, Fault, FaultReason, ReadMemory};

const PAGE: u64 = 4096;

/// Where the first segment is.
const HEAP: u64 = 0x5000_0000;

/// Where roots are.
const ROOTS: u64 = 0x1000_0000;

/// Segments of chunks: how many granules each has, and whether it is in use.
pub(crate) type Plan = Vec<(SegmentKind, Vec<(u64, bool)>)>;

/// Any heap: many small chunks and a few large ones.
pub(crate) fn chunks() -> impl Strategy<Value = Plan> {
    let size = prop_oneof![30 => 2..12u64, 10 => 12..600u64, 1 => 60_000..200_000u64];
    let chunk = (size, prop::bool::weighted(0.8));
    let shared = prop_oneof![Just(SegmentKind::Main), Just(SegmentKind::Thread)];
    let shared = (shared, prop::collection::vec(chunk, 1..120));
    let mapped = (256..3000u64).prop_map(|pages| (SegmentKind::Mapped, vec![(pages * 8, true)]));
    prop::collection::vec(prop_oneof![3 => shared, 1 => mapped], 1..5)
}

/// Memory that can be told to be unreadable, or to kill who reads it.
#[derive(Debug, Default)]
pub(crate) struct Areas {
    areas: Vec<(u64, Vec<u8>)>,
    /// Whether it is seen in place.
    pub(crate) mapped: bool,
    /// Pages that cannot be read.
    pub(crate) holes: BTreeSet<u64>,
    /// Pages that nobody survives.
    pub(crate) poison: BTreeSet<u64>,
    /// So many more reads are survived.
    lives: AtomicU64,
    pub(crate) reads: AtomicU64,
}

impl Areas {
    pub(crate) fn die_after(&self, reads: u64) {
        self.lives.store(reads, Relaxed);
    }

    pub(crate) fn live(&self) {
        self.lives.store(u64::MAX, Relaxed);
    }

    fn at(&self, address: u64) -> Option<&[u8]> {
        let (start, bytes) = self.areas.iter().rfind(|(start, _)| *start <= address)?;
        bytes.get((address - start) as usize..).filter(|bytes| !bytes.is_empty())
    }

    pub(crate) fn write(&mut self, address: u64, value: u64) {
        let (start, bytes) = self.areas.iter_mut().rfind(|(start, _)| *start <= address).unwrap();
        bytes[(address - *start) as usize..][..8].copy_from_slice(&value.to_le_bytes());
    }

    /// How many of `length` bytes can be read.
    fn readable(&self, address: u64, length: u64) -> u64 {
        let there = self.at(address).map_or(0, |bytes| bytes.len() as u64).min(length);
        let hole = self.holes.range(address / PAGE * PAGE..).next();
        let there = hole.map_or(there, |hole| there.min(hole.saturating_sub(address)));
        let poison = self.poison.range(address / PAGE * PAGE..address + there).next();
        assert!(poison.is_none() || there == 0, "this kills");
        let lives = self.lives.load(Relaxed);
        assert!(lives > 0, "this was the last one");
        self.lives.store(lives.saturating_sub(u64::from(lives < u64::MAX)), Relaxed);
        there
    }
}

impl ReadMemory for Areas {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.reads.fetch_add(1, Relaxed);
        let length = self.readable(address, buffer.len() as u64) as usize;
        if length == 0 && !buffer.is_empty() {
            return Err(Fault { address, reason: FaultReason::Unreadable });
        }
        buffer[..length].copy_from_slice(&self.at(address).unwrap_or_default()[..length]);
        Ok(length)
    }

    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        let length = if self.mapped { self.readable(address, length) } else { 0 };
        (length > 0).then(|| &self.at(address).unwrap_or_default()[..length as usize])
    }
}

/// A heap, and roots.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) memory: Arc<Areas>,
    pub(crate) chunks: Vec<Chunk>,
    index: Index,
    roots: u64,
    /// Which chunk points to which, from what address; none is a root.
    pub(crate) edges: Vec<(Option<usize>, usize, u64)>,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (mut list, mut areas) = (Vec::new(), vec![(ROOTS, vec![0; 4 * PAGE as usize])]);
        let mut start = HEAP;
        for (kind, sizes) in plan {
            let length: u64 = sizes.iter().map(|(size, _)| size * GRANULE).sum();
            list.push(Segment { range: AddressRange::sized(start, length), kind: *kind, arena: None });
            areas.push((start, vec![0; length.next_multiple_of(PAGE) as usize]));
            start = (start + length + 3 * PAGE).next_multiple_of(PAGE);
        }
        let segments = Arc::new(Segments::new(list.clone()));
        let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
        for ((_, sizes), segment) in plan.iter().zip(&list) {
            let mut granule = segments.granule(segment.range.start).unwrap();
            for (size, used) in sizes {
                index.add([(granule, *used)]);
                granule += size;
            }
        }
        index.complete();
        let chunks = index.lookup().chunks(AddressRange::new(0, u64::MAX)).collect();
        let memory = Areas { areas, lives: AtomicU64::new(u64::MAX), ..Areas::default() };
        Self { memory: Arc::new(memory), chunks, index, roots: 0, edges: Vec::new() }
    }

    pub(crate) fn memory(&mut self) -> &mut Areas {
        Arc::get_mut(&mut self.memory).expect("nobody reads it yet")
    }

    pub(crate) fn view(&self) -> View {
        let tables = super::mark::Mark::tables(self.index.segments()).into_iter().map(table).collect();
        View { memory: Arc::clone(&self.memory) as Arc<dyn ReadMemory>, index: self.index.clone(), tables }
    }

    pub(crate) fn roots(&self) -> Roots {
        let region = AddressRange::sized(ROOTS, 4 * PAGE);
        Roots { ranges: vec![ScanRange { range: region, region, sparse: false }], ..Roots::default() }
    }

    /// Writes a pointer to somewhere in a chunk into somewhere in another one.
    pub(crate) fn point(&mut self, from: usize, to: usize, offset: u64) {
        let place = self.chunks[from].usable();
        let end = place.end.min(self.end_of_segment(from));
        let at = place.start + offset.rotate_left(32) % ((end - place.start) / 8) * 8;
        self.write(Some(from), at, to, offset);
    }

    /// Has a root point to somewhere in a chunk.
    pub(crate) fn root(&mut self, to: usize, offset: u64) {
        let at = ROOTS + self.roots * 40;
        self.roots += 1;
        self.write(None, at, to, offset);
    }

    fn write(&mut self, from: Option<usize>, at: u64, to: usize, offset: u64) {
        let usable = self.chunks[to].usable();
        let end = usable.end.min(self.end_of_segment(to));
        let value = usable.start + offset % (end - usable.start);
        self.memory().write(at, value);
        // What was there before is overwritten, be it the same chunk's or not.
        self.edges.retain(|(_, _, place)| *place != at);
        self.edges.push((from, to, at));
    }

    fn end_of_segment(&self, chunk: usize) -> u64 {
        self.index.segments().list()[self.chunks[chunk].segment].range.end
    }

    /// The granules of chunks in use that can be reached, found one after the other.
    pub(crate) fn reachable(&self) -> Vec<u64> {
        let mut reached = vec![false; self.chunks.len()];
        loop {
            let mut more = false;
            for (from, to, at) in &self.edges {
                let lives = from.is_none_or(|from| reached[from]);
                let page = at / PAGE * PAGE;
                let readable = !self.memory.holes.contains(&page) && !self.memory.poison.contains(&page);
                if lives && readable && self.chunks[*to].used && !reached[*to] {
                    reached[*to] = true;
                    more = true;
                }
            }
            if !more {
                break;
            }
        }
        let reached = self.chunks.iter().zip(reached).filter(|(_, reached)| *reached);
        reached.map(|(chunk, _)| chunk.granule).collect()
    }
}
