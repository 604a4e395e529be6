//! What the graph of a heap takes that is as large as real ones are: 2.66 million chunks in some 340 MiB.
//!
//! `cargo test --release -p analysis --test heap -- --ignored --nocapture` prints times and memory.

use crate::debuggee::Debuggee;
use crate::graph::Subject;
use analysis::heap::dominators::Dominators;
use analysis::heap::graph::{Edges, ReverseGraph};
use analysis::heap::refs::{self, Answer, Pointers, Query};
use analysis::heap::retained::{Retained, sizes};
use analysis::heap::{Area, GRANULE, Index, Segment, SegmentKind, Segments, View, table};
use analysis::{Analysis, Cut, InProcess, Outcome, ScanRange, run};
use std::sync::Arc;
use std::time::Instant;
use target::{AddressRange, Fault, FaultReason, ReadMemory};

const HEAP: u64 = 0x5555_5570_0000;
const ROOTS: u64 = 0x7fff_0000_0000;

/// A heap, and a page that points into it.
struct Memory {
    heap: Vec<u8>,
    roots: Vec<u8>,
}

impl ReadMemory for Memory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let fault = Fault { address, reason: FaultReason::Unreadable };
        let parts = [(HEAP, &self.heap), (ROOTS, &self.roots)];
        let part = parts.iter().find(|(start, bytes)| address.wrapping_sub(*start) < bytes.len() as u64);
        let (start, bytes) = part.ok_or(fault)?;
        let bytes = &bytes[(address - start) as usize..];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// A small generator of random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

/// So many chunks, of which one in sixteen is free, and each other one points to up to six others, most of them near.
fn heap(chunks: u64) -> (View, Area) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut starts = Vec::with_capacity(chunks as usize + 1);
    let mut end = 0;
    for _ in 0..chunks {
        starts.push(end);
        end += GRANULE * (2 + random.below(13));
    }
    starts.push(end);
    let mut heap = vec![0u8; end as usize];
    for number in 0..chunks {
        let start = starts[number as usize] as usize;
        let words = heap[start + 16..starts[number as usize + 1] as usize].as_chunks_mut::<8>().0;
        for word in words.iter_mut().take(6) {
            let to = match random.below(8) {
                0 => random.below(chunks),
                1..=4 => (number + random.below(2000)).min(chunks - 1),
                _ => continue,
            };
            *word = (HEAP + starts[to as usize] + GRANULE).to_le_bytes();
        }
    }
    let roots = (0..512).flat_map(|_| (HEAP + starts[random.below(chunks) as usize] + GRANULE).to_le_bytes());
    let memory = Memory { heap, roots: roots.collect() };
    let range = AddressRange::sized(HEAP, end);
    let segments = Arc::new(Segments::new(vec![Segment { range, kind: SegmentKind::Main, arena: Some(0) }]));
    let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
    index.add(starts[..chunks as usize].iter().enumerate().map(|(number, start)| (start / GRANULE, number % 16 != 5)));
    index.complete();
    let roots = AddressRange::sized(ROOTS, memory.roots.len() as u64);
    let area = Area::of(&[ScanRange { range: roots, region: roots, sparse: false }], &segments, |_| false);
    (View { memory: Arc::new(memory), index, tables: Vec::new() }, area)
}

/// The processors' time that this process has taken, in seconds: on a busy machine it says more than a clock.
fn processors() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // In hundredths of a second, the 14th and 15th of all fields; the second one ends with the last bracket.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Runs something, says how long it took, and gives what it came to.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (started, before) = (Instant::now(), processors());
    let result = work();
    let (milliseconds, used) = (started.elapsed().as_secs_f64() * 1e3, (processors() - before) * 1e3);
    println!("{what}: {milliseconds:.1} ms, {used:.0} ms of processors");
    result
}

fn on_two_threads<A: Analysis<Input = View>>(analysis: A, view: &View) -> Outcome<A::Merge> {
    let analysis = Arc::new(analysis);
    let mut executor = InProcess::new(Arc::clone(&analysis), Arc::new(view.clone()), 2);
    run(&*analysis, &mut executor, view, Cut::default(), &mut Vec::new())
}

#[test]
#[ignore = "takes a gigabyte; it is there to see what a large heap takes"]
fn a_large_heap() {
    let (view, area) = heap(2_660_000);
    measure(&view, &area);
}

#[test]
#[ignore = "takes a gigabyte; it is there to see what a large heap takes"]
fn a_large_heap_of_a_process() {
    let debuggee = Debuggee::start("heap_mix.cpp", "-O2 -pthread", "", &[]);
    let subject = Subject::new(&debuggee.live());
    measure(&subject.view, &subject.area);
}

fn measure(view: &View, area: &Area) {
    let chunks = view.index.count();
    let lookup = view.index.lookup();
    let stop = || false;
    let edges = Edges::new(area.clone(), chunks, u64::MAX).unwrap();
    let merge = timed("edges", || on_two_threads(edges, view).merge);
    let graph = timed("graph", || merge.graph(&[], lookup).unwrap());
    println!("{} chunks, {} edges, {} bytes of them", graph.chunks(), graph.edges(), graph.memory());
    let sizes = timed("sizes", || sizes(&view.index));
    let dominators = timed("dominators", || Dominators::of(&graph, |chunk| sizes[chunk as usize] > 0, &stop).unwrap());
    println!("{:?} reached, and not", dominators.reached());
    let retained = timed("retained", || Retained::of(&dominators, &sizes));
    let kind = |chunk: u32| Some(chunk as usize % 100);
    let groups = timed("retained by kind", || retained.groups(100, kind, &stop).unwrap());
    // All together retain everything, and each kind no more than that.
    let all = retained.groups(1, |_| Some(0), &stop).unwrap();
    assert_eq!(all, [sizes.iter().sum::<u64>()]);
    assert!(groups.iter().all(|bytes| *bytes <= all[0]));
    assert!(groups.iter().sum::<u64>() >= all[0]);
    let graph = timed("reverse graph", || ReverseGraph::of(graph, &stop).unwrap());
    let bytes = (graph.memory() + view.index.memory()) as f64 / chunks as f64;
    println!("{bytes:.1} bytes a chunk with the index");
    let mut longest = 0;
    for number in [0, chunks / 3, chunks / 2 + 1, chunks - 9] {
        let chunk = lookup.chunk(lookup.numbered(number).unwrap()).unwrap();
        let target = refs::target(&lookup, chunk.address());
        let search = Pointers { area: area.clone(), target, most: 1 << 20 };
        let scanned = timed("refs by a scan", || on_two_threads(search, view).merge);
        let mut query = Query::new(&graph, view, area, &stop);
        let asked = timed("refs by the graph", || query.pointers(target, 1 << 20));
        assert_eq!(asked, chunk.used.then(|| scanned.clone()));
        let direct = scanned.pointers(&lookup);
        let mut answer: Answer = timed("refs of depth 4", || query.deeper(target, direct, scanned.total, 4, 256));
        timed("chains to roots", || assert!(query.chains(&mut answer.references, 100)));
        let chains = answer.references.iter().filter_map(|reference| reference.chain.as_ref());
        longest = chains.map(|chain| chain.links.len()).max().unwrap_or(0).max(longest);
        println!("{} references", answer.total);
    }
    println!("the longest chain has {longest} links");
}
