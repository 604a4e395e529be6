//! /proc/PID/maps and smaps: whatever they say, regions are in order and disjoint.

#![no_main]

use libfuzzer_sys::fuzz_target;
use target::{live, maps};

fuzz_target!(|text: &[u8]| {
    let userfault = maps::userfault_ranges(text);
    if let Ok(mappings) = maps::parse(text) {
        let regions = maps::regions(&mappings, &userfault);
        assert!(regions.is_sorted_by(|a, b| a.range.end <= b.range.start));
        assert!(regions.iter().all(|region| !region.range.is_empty()));
    }
    // The other texts that are read of a process.
    let _ = (live::parse_stat(text), live::parse_status(text));
});
