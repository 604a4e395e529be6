//! What lies in heaps and around them, of any bytes: what glibc tells of threads, type information, and containers.

#![no_main]

mod image;

use analysis::heap::glibc::survey;
use analysis::heap::roots::{Roots, Surroundings, ThreadState};
use analysis::heap::types::{HeapTypes, Languages, Types};
use analysis::heap::{View, table};
use analysis::{Cut, Serial, run};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::Arc;
use target::AddressRange;

fuzz_target!(|bytes: &[u8]| {
    let (memory, space) = image::read(bytes);
    let heap = survey(&memory, &space);
    let segments = heap.index.segments();
    // Registers lead to what begins a page; one of them may be where a thread is told of.
    let pages = image::PARTS.iter().flat_map(|(start, pages)| (0..*pages as u64).map(move |page| start + page * 4096));
    let registers: Vec<u64> = pages.collect();
    let threads = [ThreadState { stack_pointer: Some(image::PARTS[4].0 + 0x100), registers }];
    let around = Surroundings { threads: &threads, books: &heap.located.books(), own: &[] };
    let roots = Roots::new(&space, segments, around, &*memory);
    // They are disjoint, in order, and beside the heap.
    let mut end = 0;
    for scan in &roots.ranges {
        assert!(scan.range.start >= end && !scan.range.is_empty());
        assert!(segments.list().iter().all(|segment| segment.range.intersect(scan.range).is_none()));
        end = scan.range.end;
    }
    let plan = HeapTypes::new(&space, segments, &roots.ranges, Languages { libstdcxx: true, rust: true });
    let tables = HeapTypes::tables(&heap.index).into_iter().map(table).collect();
    let view = View { memory: Arc::clone(&memory), index: heap.index.clone(), tables };
    let facts = run(&plan, &mut Serial::new(&plan, &view), &view, Cut::default(), &mut Vec::new()).merge;
    let types = Types::new(&plan, &facts, &BTreeMap::new(), &view);
    // Each chunk in use is of one type, or of none.
    let chunks = heap.index.lookup().chunks(AddressRange::new(0, u64::MAX));
    let used = chunks.filter(|chunk| chunk.used).count() as u64;
    let counted: u64 = types.totals().iter().chain([&types.unknown()]).map(|total| total.count).sum();
    assert_eq!(counted, used);
});
