//! Heaps that tests make up, and the plainest way to tell who points to whom in them.

use super::{Edges, Graph, Register};
use crate::heap::area::{Area, words_of};
use crate::heap::{Chunk, GRANULE, Index, Segment, SegmentKind, Segments, View, table};
use crate::testing::{PAGE, Page, Random, TestMemory};
use crate::{Cut, InProcess, Outcome, Serial, run};
use std::collections::BTreeSet;
use std::sync::Arc;
use target::{AddressRange, ReadMemory};

/// Where the first page of all lies.
const START: u64 = 0x10_0000;

/// A heap of a few segments, and what is not heap before, between and behind them. Some pages cannot be read.
pub(crate) struct TestHeap {
    pub(crate) memory: Arc<TestMemory>,
    pub(crate) view: View,
    pub(crate) area: Area,
    /// In order.
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) registers: Vec<Register>,
}

impl TestHeap {
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut segments = Vec::new();
        let mut roots = Vec::new();
        let mut kinds: Vec<SegmentKind> = Vec::new();
        let mut end = START;
        for _ in 0..1 + random.below(3) {
            let gap = AddressRange::sized(end, PAGE * random.below(3));
            let heap = AddressRange::sized(gap.end, PAGE * (1 + random.below(3)));
            roots.push(gap);
            let kind = *random.of(&[SegmentKind::Main, SegmentKind::Thread, SegmentKind::Mapped]);
            // A segment of an arena need not end with a page.
            let cut = if kind == SegmentKind::Mapped { 0 } else { GRANULE * random.below(9) };
            let range = AddressRange::new(heap.start, heap.end - cut);
            segments.push(Segment { range, kind, arena: None });
            kinds.push(kind);
            end = heap.end;
        }
        roots.push(AddressRange::sized(end, PAGE));
        let segments = Arc::new(Segments::new(segments));
        let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
        let chunks = cut(&segments, random);
        index.add(chunks.iter().map(|chunk| (chunk.granule, chunk.used)));
        index.complete();
        let whole = AddressRange::new(START, end + PAGE);
        let likely = 1 + random.below(12);
        let words = (0..whole.len() / 8).map(|_| match random.one_in(likely) {
            // Some point to the same place, so that there is something to be told once only.
            true if random.one_in(4) => chunks[0].address(),
            true => whole.start - 0x20 + random.below(whole.len() + 0x40),
            false => random.below(0x1000),
        });
        let bytes = words.flat_map(u64::to_le_bytes).collect();
        let pages = (0..whole.len() / PAGE).map(|_| if random.one_in(10) { Page::Hole } else { Page::Normal });
        let memory = Arc::new(TestMemory::new(START, bytes, pages.collect()));
        let scan = |range: &AddressRange| crate::ScanRange { range: *range, region: *range, sparse: false };
        let roots: Vec<_> = roots.iter().filter(|range| !range.is_empty()).map(scan).collect();
        let mut area = Area::of(&roots, &segments, |_| false);
        area.block = 8 * (1 + random.below(200)) as u32;
        let view = View { memory: Arc::<TestMemory>::clone(&memory), index, tables: Vec::new() };
        let registers = (0..random.below(3)).map(|number| Register {
            thread: 7,
            name: format!("r{number}"),
            value: whole.start + random.below(whole.len()),
        });
        let registers = registers.collect();
        Self { memory, view, area, chunks, registers }
    }

    /// All words that can be read in a range, each with its address.
    pub(crate) fn words(&self, range: AddressRange) -> Vec<(u64, u64)> {
        let word = |address: &u64| {
            let mut bytes = [0; 8];
            (self.memory.read(*address, &mut bytes) == Ok(8)).then(|| (*address, u64::from_le_bytes(bytes)))
        };
        (range.start..range.end).step_by(8).filter_map(|address| word(&address)).collect()
    }

    /// The words that a chunk's user may use.
    pub(crate) fn words_in(&self, chunk: &Chunk) -> Vec<(u64, u64)> {
        self.words(words_of(chunk, self.view.index.segments()))
    }

    /// The words outside of the heap.
    pub(crate) fn root_words(&self) -> Vec<(u64, u64)> {
        let segments = self.view.index.segments();
        let roots = self.area.ranges.iter().filter(|scan| segments.segment_at(scan.range.start).is_none());
        roots.flat_map(|scan| self.words(scan.range)).collect()
    }

    /// The number of the chunk in use that a pointer points into.
    pub(crate) fn target(&self, value: u64) -> Option<u32> {
        let within = |chunk: &Chunk| chunk.used && words_of(chunk, self.view.index.segments()).contains(value);
        self.chunks.iter().position(within).map(|number| number as u32)
    }

    /// The chunks that each chunk points to.
    pub(crate) fn targets(&self) -> Vec<BTreeSet<u32>> {
        let targets = |(number, chunk): (usize, &Chunk)| {
            let all = self.words_in(chunk).into_iter().filter_map(|(_, value)| self.target(value));
            all.filter(|target| *target != number as u32).collect()
        };
        self.chunks.iter().enumerate().map(targets).collect()
    }

    /// Runs the search, cut in some way, on so many threads; with 0, on this one.
    pub(crate) fn edges(&self, cut: Cut, threads: usize) -> Outcome<super::EdgesMerge> {
        let edges = Arc::new(Edges::new(self.area.clone(), self.chunks.len() as u64, u64::MAX).unwrap());
        if threads == 0 {
            run(&*edges, &mut Serial::new(&*edges, &self.view), &self.view, cut, &mut Vec::new())
        } else {
            let mut executor = InProcess::new(Arc::clone(&edges), Arc::new(self.view.clone()), threads);
            run(&*edges, &mut executor, &self.view, cut, &mut Vec::new())
        }
    }

    pub(crate) fn graph(&self) -> Graph {
        self.edges(Cut::default(), 0).merge.graph(&self.registers, self.view.index.lookup()).unwrap()
    }
}

/// Cuts segments into chunks.
fn cut(segments: &Segments, random: &mut Random) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let most = if random.one_in(3) { 200 } else { 12 };
    for (number, segment) in segments.list().iter().enumerate() {
        let mut address = segment.range.start;
        while address < segment.range.end {
            let left = (segment.range.end - address) / GRANULE;
            let whole = segment.kind == SegmentKind::Mapped || left < 4;
            let size = if whole { left } else { (2 + random.below(most)).min(left) };
            // What is left is no chunk if it is too small for one.
            let size = if left - size < 2 { left } else { size };
            let range = AddressRange::sized(address, size * GRANULE);
            let used = segment.kind == SegmentKind::Mapped || !random.one_in(4);
            let granule = segments.granule(address).unwrap();
            chunks.push(Chunk { granule, range, used, kind: segment.kind, segment: number });
            address = range.end;
        }
    }
    chunks
}

impl super::Roots {
    /// One pointer to each of these.
    pub(crate) fn to(chunks: &BTreeSet<u32>) -> Self {
        let addresses = chunks.iter().map(|chunk| u64::from(*chunk) * 8).collect();
        Self { chunks: chunks.iter().copied().collect(), addresses, registers: Vec::new() }
    }
}
