//! What is found of a heap is what the process itself has noted, and what malloc counts.

use crate::debuggee::Debuggee;
use analysis::heap::SegmentKind;
use analysis::heap::glibc::{Heap, survey};
use std::collections::BTreeSet;
use target::{AddressRange, Opened};

fn survey_of(opened: &Opened) -> Heap {
    survey(&opened.memory().unwrap(), &opened.space)
}

/// What the process says of itself is so, and there is not much more in use: what libc has for itself.
fn check(heap: &Heap, debuggee: &Debuggee) {
    assert_eq!(heap.located.problems, Vec::<String>::new());
    assert_eq!(heap.walked.breaks, []);
    assert_eq!(heap.free.wrong, []);
    let lookup = heap.index.lookup();
    let known: Vec<(u64, u64)> = debuggee.values("used").zip(debuggee.values("size")).collect();
    assert!(known.len() > 100);
    for (address, size) in &known {
        let chunk = lookup.chunk_at(*address).unwrap_or_else(|| panic!("{address:#x} is in no chunk"));
        assert_eq!((chunk.address(), chunk.usable().len(), chunk.used), (*address, *size, true), "{address:#x}");
    }
    let used: BTreeSet<u64> = known.iter().map(|(address, _)| *address).collect();
    for address in debuggee.values("freed").filter(|address| !used.contains(address)) {
        if let Some(chunk) = lookup.chunk_at(address) {
            assert!(!chunk.used || chunk.address() != address, "{address:#x} is free");
        }
    }
    let all = AddressRange::new(0, u64::MAX);
    let more = lookup.chunks(all).filter(|chunk| chunk.used && !used.contains(&chunk.address()));
    let more: Vec<u64> = more.map(|chunk| chunk.address()).collect();
    let threads = heap.free.caches.len();
    assert!(more.len() <= 8 + 3 * threads, "{more:x?}");

    let counts = debuggee.counts();
    let mapped = heap.located.segments.iter().filter(|segment| segment.kind == SegmentKind::Mapped);
    assert_eq!(mapped.count() as u64, counts["mappings"]);
    // malloc takes what is in caches for used, and does not count the marks at the end of heaps.
    let free: u64 = lookup.chunks(all).filter(|chunk| !chunk.used).map(|chunk| chunk.range.len()).sum();
    let heaps = heap.located.segments.iter().filter(|segment| segment.kind == SegmentKind::Thread);
    let full = heaps.count() as u64 + 1 - heap.located.arenas.len() as u64;
    let cached = free - 32 * full - counts["free"];
    assert!(cached < 2 * 64 * 7 * 1040 * threads as u64, "{cached} bytes in caches");
}

#[test]
fn one_thread() {
    let debuggee = Debuggee::start("malloc.c", "-O1 -pthread", "0 200000", &[]);
    let heap = survey_of(&debuggee.live());
    check(&heap, &debuggee);
    assert_eq!(heap.located.arenas.len(), 1);
    let (core, _) = debuggee.core();
    let of_core = survey_of(&core);
    check(&of_core, &debuggee);
    assert_eq!(of_core.located, heap.located);
}

#[test]
fn several_arenas() {
    let debuggee = Debuggee::start("malloc.c", "-O1 -pthread", "9 60000", &[]);
    let heap = survey_of(&debuggee.live());
    check(&heap, &debuggee);
    assert_eq!(heap.located.arenas.len(), 10);
    assert_eq!(heap.free.caches.len(), 10);
    assert_eq!(heap.free.protected, Some(true));
    let (core, _) = debuggee.core();
    let of_core = survey_of(&core);
    check(&of_core, &debuggee);
    assert_eq!(of_core.located, heap.located);
}

#[test]
fn more_threads_than_arenas() {
    let debuggee = Debuggee::start("malloc.c", "-O1 -pthread", "6 20000", &[("MALLOC_ARENA_MAX", "1")]);
    let heap = survey_of(&debuggee.live());
    check(&heap, &debuggee);
    assert_eq!(heap.located.arenas.len(), 1);
    assert_eq!(heap.free.caches.len(), 7);
}

#[test]
fn two_hundred_threads() {
    let debuggee = Debuggee::start("malloc.c", "-O1 -pthread", "200 400", &[("MALLOC_ARENA_MAX", "300")]);
    let heap = survey_of(&debuggee.live());
    check(&heap, &debuggee);
    assert_eq!(heap.located.arenas.len(), 201);
}

#[test]
fn a_static_libc() {
    let debuggee = Debuggee::start("malloc.c", "-O1 -pthread -static -s", "3 20000", &[]);
    check(&survey_of(&debuggee.live()), &debuggee);
}
