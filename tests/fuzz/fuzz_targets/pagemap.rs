//! /proc/PID/pagemap: runs are in order and disjoint, and as long as there are entries.

#![no_main]

use libfuzzer_sys::fuzz_target;
use target::pagemap::{self, Page};

fuzz_target!(|input: (u64, u8, &[u8])| {
    let (page, shift, bytes) = input;
    let page_size = 4096_u64 << (shift % 5);
    let start = page / page_size * page_size;
    let (mut end, mut pages) = (start, 0);
    pagemap::each_run(bytes, start, page_size, &mut |run, page| {
        assert!(run.start >= end && !run.is_empty());
        assert_ne!(page, Page::Absent);
        end = run.end;
        pages += run.len() / page_size;
    });
    let present = pagemap::entries(bytes).filter(|entry| entry.page() != Page::Absent).count() as u64;
    assert!(pages <= present);
    assert!(pages == present || end > u64::MAX - page_size * (bytes.len() as u64 / 8 + 1));
});
