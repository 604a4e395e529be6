//! What is found of a heap is what the process itself has noted, and what malloc counts.

use crate::debuggee::Debuggee;
use analysis::heap::SegmentKind;
use analysis::heap::glibc::{Findings, Heap, survey};
use std::collections::BTreeSet;
use target::{AddressRange, Opened};

/// What the process says of itself is so, and there is not much more in use: what libc has for itself.
fn check(opened: &Opened, debuggee: &Debuggee) -> Heap {
    let memory = opened.memory().unwrap();
    let heap = survey(&memory, &opened.space);
    assert_eq!(heap.check(&memory, &opened.space), Findings::default());
    let lookup = heap.index.lookup();
    let known: Vec<(u64, u64)> = debuggee.values("used").zip(debuggee.values("size")).collect();
    assert!(known.len() > 100);
    for (address, size) in &known {
        let chunk = lookup.chunk_at(*address).unwrap_or_else(|| panic!("{address:#x} is in no chunk"));
        assert_eq!((chunk.address(), chunk.usable().len(), chunk.used), (*address, *size, true), "{address:#x}");
    }
    let used: BTreeSet<u64> = known.iter().map(|(address, _)| *address).collect();
    let freed: BTreeSet<u64> = debuggee.values("freed").filter(|address| !used.contains(address)).collect();
    let is_used =
        |address: &&u64| lookup.chunk_at(**address).is_some_and(|chunk| chunk.used && chunk.address() == **address);
    let taken: Vec<&u64> = freed.iter().filter(is_used).collect();
    // libc itself may have taken one or two of them since, for a thread or a file.
    assert!(taken.len() <= 2, "these are free: {taken:x?}");
    let all = AddressRange::new(0, u64::MAX);
    let more = lookup.chunks(all).filter(|chunk| chunk.used && !used.contains(&chunk.address()));
    let more: Vec<u64> = more.map(|chunk| chunk.address()).collect();
    let threads = heap.free.caches.len();
    assert!(more.len() <= 8 + 3 * threads, "{more:x?}");

    let counts = debuggee.counts();
    let mapped = heap.located.segments.iter().filter(|segment| segment.kind == SegmentKind::Mapped);
    assert_eq!(mapped.count() as u64, counts["mappings"]);
    let pieces = heap.located.segments.iter().filter(|segment| segment.kind == SegmentKind::Main).count() as u32;
    // malloc takes what is in caches for used, and does not count the marks at the end of heaps.
    let free: u64 = lookup.chunks(all).filter(|chunk| !chunk.used).map(|chunk| chunk.range.len()).sum();
    let heaps = heap.located.segments.iter().filter(|segment| segment.kind == SegmentKind::Thread);
    let full = heaps.count() as u64 + 1 - heap.located.arenas.len() as u64;
    let marks = 32 * (full + u64::from(pieces) - 1);
    let gaps: u64 = heap.walked.gaps.iter().map(|gap| gap.len() + 32).sum();
    let cached = free - marks - gaps - counts["free"];
    assert!(cached < 2 * 64 * 100 * 1040 * threads as u64, "{cached} bytes in caches");
    heap
}

/// The same, live and in a core.
fn check_both(debuggee: &Debuggee) -> Heap {
    let heap = check(&debuggee.live(), debuggee);
    let (core, _) = debuggee.core();
    let of_core = check(&core, debuggee);
    assert_eq!(of_core.located, heap.located);
    heap
}

fn start(options: &str, arguments: &str, environment: &[(&str, &str)]) -> Debuggee {
    Debuggee::start("malloc.c", &format!("-O1 -pthread {options}"), arguments, environment)
}

#[test]
fn one_thread() {
    let heap = check_both(&start("", "0 200000", &[]));
    assert_eq!(heap.located.arenas.len(), 1);
}

#[test]
fn several_arenas() {
    let heap = check_both(&start("", "9 60000", &[]));
    assert_eq!(heap.located.arenas.len(), 10);
    assert_eq!(heap.free.caches.len(), 10);
    assert_eq!(heap.free.protected, Some(true));
}

#[test]
fn more_threads_than_arenas() {
    let debuggee = start("", "6 20000", &[("MALLOC_ARENA_MAX", "1")]);
    let heap = check(&debuggee.live(), &debuggee);
    assert_eq!(heap.located.arenas.len(), 1);
    assert_eq!(heap.free.caches.len(), 7);
}

#[test]
fn two_hundred_threads() {
    let debuggee = start("", "200 400", &[("MALLOC_ARENA_MAX", "300")]);
    let heap = check(&debuggee.live(), &debuggee);
    assert_eq!(heap.located.arenas.len(), 201);
}

#[test]
fn a_static_libc_without_symbols() {
    let debuggee = start("-static -s", "3 20000", &[]);
    check(&debuggee.live(), &debuggee);
}

#[test]
fn brk_moved_by_others() {
    let debuggee = start("", "1 60000 sbrk", &[]);
    let heap = check_both(&debuggee);
    assert!(!heap.walked.gaps.is_empty());
    for address in debuggee.values("foreign") {
        // The last one may lie beyond all chunks.
        let is_beyond = heap.index.lookup().chunk_at(address).is_none();
        assert!(is_beyond || heap.walked.gaps.iter().any(|gap| gap.contains(address)), "{address:#x}");
    }
}

#[test]
fn mappings_where_brk_fails() {
    let heap = check_both(&start("", "1 60000 fence", &[]));
    let main = heap.located.segments.iter().filter(|segment| segment.kind == SegmentKind::Main);
    assert!(main.count() > 1);
    assert!(!heap.located.arenas[0].contiguous);
}

/// Since 2.35 a piece is no longer than what was asked for, and 132 KiB.
#[test]
fn many_short_mappings_where_brk_fails() {
    let heap = check_both(&start("", "0 200 pieces", &[]));
    let main: Vec<_> = heap.located.segments.iter().filter(|segment| segment.kind == SegmentKind::Main).collect();
    let longest = main.iter().map(|segment| segment.range.len()).max();
    assert!(main.len() > 2, "{main:x?}");
    assert!(longest < Some(8 << 20), "{main:x?}");
    assert!(!heap.located.arenas[0].contiguous && !heap.walked.gaps.is_empty());
}

#[test]
fn chunks_with_mappings_of_their_own_that_realloc_has_moved() {
    check_both(&start("", "0 200 moved", &[]));
}

/// Heaps of threads have four huge pages then, of normal pages where there are no huge ones.
#[test]
fn told_to_use_huge_pages_for_all() {
    let heap = check_both(&start("", "3 20000", &[("GLIBC_TUNABLES", "glibc.malloc.hugetlb=2")]));
    assert_eq!(heap.located.arenas.len(), 4);
}

#[test]
fn large_chunks_on_the_heap() {
    check_both(&start("", "2 60000", &[("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=100000000")]));
}

#[test]
fn padded_and_aligned_to_huge_pages() {
    let tunables = "glibc.malloc.top_pad=700000:glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=100";
    check_both(&start("", "2 60000", &[("GLIBC_TUNABLES", tunables)]));
}
