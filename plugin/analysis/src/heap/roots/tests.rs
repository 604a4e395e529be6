use super::*;
use crate::heap::{Segment, SegmentKind};
use std::collections::BTreeMap;
use target::{Fault, FaultReason};

/// Memory that is zeros in some ranges, but for some words.
#[derive(Default)]
struct Words {
    there: Vec<AddressRange>,
    words: BTreeMap<u64, u64>,
}

impl ReadMemory for Words {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let range = self.there.iter().find(|range| range.contains(address));
        let range = range.ok_or(Fault { address, reason: FaultReason::Unreadable })?;
        let length = buffer.len().min((range.end - address) as usize);
        for (index, byte) in buffer[..length].iter_mut().enumerate() {
            let at = address + index as u64;
            let word = self.words.get(&(at / 8 * 8)).copied().unwrap_or(0);
            *byte = word.to_le_bytes()[(at % 8) as usize];
        }
        Ok(length)
    }
}

impl Words {
    /// A `struct pthread` whose thread has this number, on a stack of this size and with this guard, which ends at `end`.
    fn thread(&mut self, address: u64, tid: u64, stack: Option<(u64, u64, u64)>) {
        self.words.insert(address, address);
        self.words.insert(address + 8, 0x5000 + tid);
        self.words.insert(address + 0x10, address);
        self.words.insert(address + 0x2d0, tid | 0xabcd << 32);
        let (start, size, guard) = stack.unwrap_or_default();
        for (index, word) in [start, size, guard].into_iter().enumerate() {
            self.words.insert(address + 0x690 + 8 * index as u64, word);
        }
    }

    /// A list with this head.
    fn list(&mut self, head: u64, threads: &[u64]) {
        let links: Vec<u64> = std::iter::once(head).chain(threads.iter().map(|thread| thread + 0x2c0)).collect();
        for (index, link) in links.iter().enumerate() {
            let next = links[(index + 1) % links.len()];
            self.words.insert(*link, next);
            self.words.insert(next + 8, *link);
        }
    }
}

fn region(start: u64, end: u64, permissions: &str, backing: Backing) -> Region {
    let flag = |letter, flag| if permissions.contains(letter) { flag } else { Permissions::empty() };
    Region {
        range: AddressRange::new(start, end),
        permissions: flag('r', Permissions::READ) | flag('w', Permissions::WRITE) | flag('x', Permissions::EXECUTE),
        shared: matches!(backing, Backing::Shared { .. }),
        backing,
        userfault: false,
    }
}

fn file(path: &str) -> Backing {
    Backing::File { path: path.into(), offset: 0, deleted: false }
}

fn anonymous() -> Backing {
    Backing::Anonymous { name: None }
}

fn shared() -> Backing {
    Backing::Shared { name: "/memfd:x".into(), offset: 0 }
}

fn segment(start: u64, end: u64) -> Segment {
    Segment { range: AddressRange::new(start, end), kind: SegmentKind::Main, arena: None }
}

fn ranges(roots: &Roots) -> Vec<(u64, u64)> {
    roots.ranges.iter().map(|scan| (scan.range.start, scan.range.end)).collect()
}

fn state(stack_pointer: u64, registers: &[u64]) -> ThreadState {
    ThreadState { stack_pointer: Some(stack_pointer), registers: registers.into() }
}

#[test]
fn what_the_process_writes_to_is_searched_but_for_the_heap_and_the_books_of_the_allocator() {
    let space = AddressSpace {
        regions: vec![
            region(0x1000, 0x2000, "r", file("/bin/a")),
            region(0x2000, 0x3000, "rx", file("/bin/a")),
            region(0x3000, 0x4000, "r", file("/bin/a")),
            region(0x4000, 0x5000, "rw", file("/bin/a")),
            region(0x5000, 0x7000, "rw", anonymous()),
            region(0x8000, 0xc000, "rw", Backing::Heap),
            region(0xd000, 0xe000, "r", anonymous()),
            region(0xe000, 0xf000, "", anonymous()),
            region(0x1_0000, 0x1_1000, "r", file("/data")),
            region(0x1_2000, 0x1_3000, "rw", file("/data")),
            region(0x1_4000, 0x1_5000, "r", shared()),
            region(0x1_6000, 0x1_7000, "rw", shared()),
            region(0x1_8000, 0x1_9000, "rw", Backing::Special { name: "/dev/gpu".into() }),
            region(0x1_a000, 0x1_b000, "rx", Backing::Special { name: "[vdso]".into() }),
        ],
        ..AddressSpace::default()
    };
    let segments = Segments::new(vec![segment(0x9000, 0xb000), segment(0x1_6800, 0x1_7000)]);
    let books = [AddressRange::new(0x4100, 0x4200), AddressRange::new(0x4180, 0x4300)];
    let around = Surroundings { books: &books, own: &[0x9010], threads: &[state(0x6000, &[7, 8])] };
    let roots = Roots::new(&space, &segments, around, &Words::default());
    let expected = [
        (0x3000, 0x4000),
        (0x4000, 0x4100),
        (0x4300, 0x5000),
        (0x5000, 0x7000),
        (0x8000, 0x9000),
        (0xb000, 0xc000),
        (0xd000, 0xe000),
        (0x1_2000, 0x1_3000),
        (0x1_6000, 0x1_6800),
    ];
    assert_eq!(ranges(&roots), expected);
    assert_eq!(roots.words, [7, 8, 0x9010]);
    assert_eq!(roots.dense, [AddressRange::new(0x1_6800, 0x1_7000)]);
    let sparse: Vec<bool> = roots.ranges.iter().map(|scan| scan.sparse).collect();
    assert_eq!(sparse, [false, false, false, true, true, true, true, false, false]);
    assert_eq!((roots.notes(), roots.ended), (vec![], vec![]));
}

#[test]
fn what_lies_below_a_stack_pointer_is_not_searched_where_a_stack_is_certain() {
    let space = AddressSpace {
        regions: vec![
            region(0x1_0000, 0x2_0000, "", anonymous()),
            region(0x2_0000, 0x3_0000, "rw", anonymous()),
            region(0x4_0000, 0x5_0000, "rw", anonymous()),
            region(0x5_0000, 0x5_1000, "", anonymous()),
            region(0x5_1000, 0x6_0000, "rw", anonymous()),
            region(0x7_0000, 0x8_0000, "rw", Backing::Stack),
        ],
        ..AddressSpace::default()
    };
    let states = [0x2_9000, 0x4_8000, 0x5_9000, 0x5_d000, 0x7_f008].map(|pointer| state(pointer, &[]));
    let around = Surroundings { threads: &states, ..Surroundings::default() };
    let roots = Roots::new(&space, &Segments::default(), around, &Words::default());
    // Guarded; anywhere; two on one, of which the lower one tells; and the first thread's.
    let expected = [(0x2_8f80, 0x3_0000), (0x4_0000, 0x5_0000), (0x5_8f80, 0x6_0000), (0x7_ef88, 0x8_0000)];
    assert_eq!(ranges(&roots), expected);
}

/// Three threads with stacks of 0x1_0000 bytes and a page of guard, at 0x10_0000, 0x11_0000 and 0x12_0000, and the first thread.
fn threads(tids: [i32; 3]) -> (Words, AddressSpace) {
    let mut memory = Words::default();
    let first = 0x3_0740;
    memory.thread(first, 500, None);
    for (index, tid) in tids.into_iter().enumerate() {
        let start = 0x10_0000 + index as u64 * 0x1_0000;
        memory.thread(start + 0xf6c0, u64::from(tid as u32), Some((start, 0x1_0000, 0x1000)));
    }
    let mut regions =
        vec![region(0x2_0000, 0x2_1000, "rw", file("/lib/ld.so")), region(0x3_0000, 0x3_3000, "rw", anonymous())];
    for start in [0x10_0000, 0x11_0000, 0x12_0000] {
        regions.push(region(start, start + 0x1000, "", anonymous()));
        regions.push(region(start + 0x1000, start + 0x1_0000, "rw", anonymous()));
    }
    // What follows the last stack has been joined with it.
    regions.last_mut().unwrap().range.end = 0x13_4000;
    memory.there = regions.iter().filter(|region| region.is_readable()).map(|region| region.range).collect();
    (memory, AddressSpace { regions, ..AddressSpace::default() })
}

const HEADS: [u64; 3] = [0x2_0a00, 0x2_0a10, 0x2_0a20];
const STRUCTS: [u64; 3] = [0x10_f6c0, 0x11_f6c0, 0x12_f6c0];

#[test]
fn stacks_of_threads_that_have_ended_are_not_searched() {
    let (mut memory, space) = threads([501, 0, 0]);
    // The second thread's result may still be asked for; of the third one, nothing but the stack is left.
    memory.list(HEADS[0], &STRUCTS[..2]);
    memory.list(HEADS[1], &[0x3_0740]);
    memory.list(HEADS[2], &STRUCTS[2..]);
    for registers in [[0x3_0740], [0x10_f6c0]] {
        let states = [state(0x10_8000, &registers)];
        let around = Surroundings { threads: &states, ..Surroundings::default() };
        let roots = Roots::new(&space, &Segments::default(), around, &memory);
        let ended = [AddressRange::new(0x11_1000, 0x11_f6c0), AddressRange::new(0x12_1000, 0x13_0000)];
        assert_eq!(roots.ended, ended);
        let expected = [
            (0x2_0000, 0x2_1000),
            (0x3_0000, 0x3_3000),
            (0x10_7f80, 0x11_0000),
            (0x11_f6c0, 0x12_0000),
            (0x13_0000, 0x13_4000),
        ];
        assert_eq!(ranges(&roots), expected);
        assert_eq!(roots.notes(), ["the stacks of 2 threads that have ended keep nothing alive (117 KiB)"]);
    }
}

#[test]
fn a_thread_whose_result_was_taken_keeps_nothing() {
    let (mut memory, space) = threads([501, -1, -1]);
    memory.list(HEADS[0] - 0x80, &STRUCTS[..1]);
    memory.list(HEADS[2], &STRUCTS[1..]);
    let states = [state(0x10_8000, &[STRUCTS[0]])];
    let around = Surroundings { threads: &states, ..Surroundings::default() };
    let roots = Roots::new(&space, &Segments::default(), around, &memory);
    assert_eq!(roots.ended, [AddressRange::new(0x11_1000, 0x12_0000), AddressRange::new(0x12_1000, 0x13_0000)]);
    // glibc has what tells of their storage ready for the next threads.
    let storage = 0x5000 + u64::from(u32::MAX);
    assert_eq!(roots.words, [STRUCTS[0], storage, storage]);
}

#[test]
fn a_thread_that_may_be_alive_keeps_its_stack() {
    // All that glibc has made have ended, and the list is where it was before 2.34: nothing tells that they are only kept.
    let (mut memory, space) = threads([0, 0, 77]);
    memory.list(HEADS[2] + 0x40, &STRUCTS[..2]);
    memory.list(HEADS[1], &[0x3_0740]);
    let states = [state(0x3_2000, &[0x3_0740])];
    let around = Surroundings { threads: &states, ..Surroundings::default() };
    let roots = Roots::new(&space, &Segments::default(), around, &memory);
    let ended = [AddressRange::new(0x10_1000, 0x10_f6c0), AddressRange::new(0x11_1000, 0x11_f6c0)];
    assert_eq!(roots.ended, ended);
    // A stack pointer on it says otherwise.
    let states = [state(0x3_2000, &[0x3_0740]), state(0x10_4000, &[])];
    let around = Surroundings { threads: &states, ..Surroundings::default() };
    assert_eq!(Roots::new(&space, &Segments::default(), around, &memory).ended, ended[1..]);
}

#[test]
fn lists_that_do_not_check_out_tell_nothing() {
    let (mut memory, space) = threads([501, 0, 0]);
    memory.list(HEADS[0], &STRUCTS);
    let states = [state(0x10_8000, &STRUCTS)];
    let around = Surroundings { threads: &states, ..Surroundings::default() };
    assert_eq!(Roots::new(&space, &Segments::default(), around, &memory).ended.len(), 2);
    for (address, word) in [
        (STRUCTS[1] + 0x2c8, 0x1234),
        (STRUCTS[1] + 0x2c0, STRUCTS[1] + 0x2c0),
        (STRUCTS[1] + 0x2c0, u64::MAX - 3),
        (STRUCTS[2], 0),
    ] {
        let before = memory.words.insert(address, word);
        let roots = Roots::new(&space, &Segments::default(), around, &memory);
        assert_eq!(roots.ended, [], "{address:#x}");
        memory.words.insert(address, before.unwrap());
    }
}
