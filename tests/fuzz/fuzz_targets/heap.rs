//! Heaps of glibc's malloc, of any bytes: arenas, heaps of threads, chunks, free lists and caches.

#![no_main]

mod image;

use analysis::heap::glibc::survey;
use libfuzzer_sys::fuzz_target;
use target::AddressRange;

fuzz_target!(|bytes: &[u8]| {
    let (memory, space) = image::read(bytes);
    let heap = survey(&memory, &space);
    // What is said to be a chunk lies in its segment, and none overlaps another.
    let mut end = 0;
    for chunk in heap.index.lookup().chunks(AddressRange::new(0, u64::MAX)) {
        assert!(chunk.range.start >= end && !chunk.range.is_empty());
        let segment = heap.index.segments().list()[chunk.segment].range;
        assert!(segment.start <= chunk.range.start && chunk.range.end <= segment.end);
        end = chunk.range.end;
    }
    let findings = heap.check(&memory, &space);
    assert!(findings.list.is_sorted_by_key(|finding| finding.address));
});
