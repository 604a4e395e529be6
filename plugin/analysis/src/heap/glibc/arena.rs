//! Arenas, and the heaps of threads' arenas.

use super::layout::{BINS, HEAP_SIZES, LEAST_HEAP, NONCONTIGUOUS, PAGE, align, bin, heap_info, state};
use super::reader::Reader;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use target::{AddressRange, ReadMemory};

/// An arena that is damaged may have so many bins that are wrong and still be known.
const MOST_WRONG: u64 = 8;

/// Heaps of one arena, at most: 4 TiB of them.
const MOST_HEAPS: usize = 1 << 16;

/// An arena: `struct malloc_state`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arena {
    pub address: u64,
    /// Whether it is the one in the data of libc. There is one for each libc that is loaded, mostly one.
    pub main: bool,
    /// Where its top chunk begins; `None` before there is one.
    pub top: Option<u64>,
    /// Whether a thread is in the middle of something in it.
    pub locked: bool,
    /// Whether its pieces need not follow one another: a mapping was used where brk had failed.
    pub contiguous: bool,
    /// Bytes that it has from the system, as it counts them.
    pub system: u64,
    /// Threads that allocate from it.
    pub threads: u64,
}

impl Arena {
    /// One of which nothing is known but that heaps lead to it.
    pub(super) fn damaged(address: u64) -> Self {
        Self { address, main: false, top: None, locked: false, contiguous: false, system: 0, threads: 0 }
    }
}

/// What lies where an arena may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub address: u64,
    /// As it is: what it points to has not been looked at.
    pub top: u64,
    pub next: u64,
    pub system: u64,
    pub threads: u64,
    pub locked: bool,
    pub contiguous: bool,
    /// Bins that are neither empty nor lead anywhere.
    pub wrong: u64,
    /// Whether nothing has been allocated from it, and its bins were not even made.
    pub unused: bool,
}

impl State {
    /// The arena at `address`, if its members agree with each other.
    pub fn read(reader: &mut Reader<'_>, address: u64) -> Option<Self> {
        let (mutex, flags) = halves(reader.word(address.checked_add(state::MUTEX)?)?);
        address.checked_add(state::SIZE)?;
        let next = reader.word(address + state::NEXT)?;
        let threads = reader.word(address + state::ATTACHED)?;
        let system = reader.word(address + state::SYSTEM)?;
        let most = reader.word(address + state::MOST_SYSTEM)?;
        let top = reader.word(address + state::TOP)?;
        // A mutex is 0, 1, or 2 where somebody waits for it.
        if mutex > 2 || flags > 7 || next == 0 || !next.is_multiple_of(8) || threads > 1 << 22 || system > most {
            return None;
        }
        let (mut empty, mut wrong, mut zero) = (0, 0, 0);
        for number in 1..=BINS {
            let start = bin(address, number);
            match [reader.word(start + 16)?, reader.word(start + 24)?] {
                [0, 0] => zero += 1,
                words if words == [start, start] => empty += 1,
                [next, previous] if next == 0 || previous == 0 || (next | previous) % 16 != 0 => wrong += 1,
                _ => {}
            }
        }
        let unused = zero == BINS && top == 0 && system == 0 && next == address && threads == 1;
        let known = empty > 0 && wrong + zero <= MOST_WRONG && top != 0 && top.is_multiple_of(8);
        (unused || known).then_some(Self {
            address,
            top,
            next,
            system,
            threads,
            locked: mutex != 0,
            contiguous: flags & NONCONTIGUOUS == 0,
            wrong: if unused { 0 } else { wrong + zero },
            unused,
        })
    }

    /// Whether it has no top chunk yet: it points into itself until it has.
    pub fn is_bare(&self) -> bool {
        self.unused || self.top == bin(self.address, 1)
    }

    pub fn arena(&self, main: bool, top: Option<u64>) -> Arena {
        let Self { address, locked, contiguous, system, threads, .. } = *self;
        Arena { address, main, top, locked, contiguous, system, threads }
    }
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// A heap of a thread's arena: `struct heap_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heap {
    pub address: u64,
    pub arena: u64,
    /// The one before it, or 0.
    pub previous: u64,
    /// Bytes of it that are used.
    pub size: u64,
    /// Bytes of it that could be written at some time.
    pub writable: u64,
    /// Bytes before its first chunk, or its arena.
    pub header: u64,
}

impl Heap {
    /// The heap at `address`, one of `most` bytes at most, if its members agree with each other.
    pub fn read(reader: &mut Reader<'_>, address: u64, most: u64) -> Option<Self> {
        address.checked_add(most)?;
        let [arena, previous] = reader.pair(address + heap_info::ARENA)?;
        let [size, writable] = reader.pair(address + heap_info::SIZE)?;
        let header = arena % LEAST_HEAP;
        let fits = size.is_multiple_of(PAGE) && size > 0 && size <= writable && writable <= most;
        let lies = previous.is_multiple_of(most) && previous != address && heap_info::LENGTHS.contains(&header);
        debug_assert_eq!(heap_info::SIZE + 8, heap_info::WRITABLE);
        debug_assert_eq!(heap_info::ARENA + 8, heap_info::PREVIOUS);
        (fits && lies).then_some(Self { address, arena, previous, size, writable, header })
    }

    /// Whether the arena lies in it: it is the arena's first.
    pub fn is_first(&self) -> bool {
        self.arena == self.address + self.header
    }

    /// Its chunks.
    pub fn chunks(&self) -> AddressRange {
        let start = match self.is_first() {
            // What malloc returns first lies behind the arena, at a multiple of 16.
            true => align(self.arena + state::SIZE, 16),
            false => self.address + self.header,
        };
        AddressRange::new(start, self.address.saturating_add(self.size))
    }
}

/// Whether one of these addresses lies in a heap of a thread's arena, by what such a heap and the first one of its arena begin with. A page
/// or two are read for each heap's place, and none that was never touched.
pub fn any_in_heap(memory: &dyn ReadMemory, addresses: impl IntoIterator<Item = u64>) -> bool {
    let mut reader = Reader::new(memory, PAGE, 64, true);
    let mut heaps = HashMap::new();
    let mut heap = |address: u64, size: u64| {
        let start = address / size * size;
        *heaps.entry((start, size)).or_insert_with(|| Heap::read(&mut reader, start, size))
    };
    let mut is_in = |address: u64, size: u64| {
        let found = heap(address, size)?;
        let (first, heap) = (heap(found.arena, size)?, found);
        (first.is_first() && first.arena == heap.arena && address - heap.address < heap.writable).then_some(())
    };
    addresses.into_iter().any(|address| HEAP_SIZES.into_iter().any(|size| is_in(address, size).is_some()))
}

/// The heaps of a thread's arena, from its first one to that of its top chunk, by the way in which they point back; the problem, if
/// that does not lead to the first one.
pub(super) fn heaps(reader: &mut Reader<'_>, state: &State) -> (Vec<Heap>, Option<String>) {
    // The first heap is around the arena. Which of the possible sizes heaps have, the one with the top chunk tells.
    for size in HEAP_SIZES {
        let mut heaps = Vec::new();
        let mut at = state.top / size * size;
        while let Some(heap) = Heap::read(reader, at, size).filter(|heap| heap.arena == state.address) {
            if heaps.is_empty() && !heap.chunks().contains(state.top) || heaps.len() >= MOST_HEAPS {
                break;
            }
            heaps.push(heap);
            if heap.is_first() {
                heaps.reverse();
                return (heaps, None);
            }
            at = heap.previous;
        }
    }
    let first = HEAP_SIZES.iter().find_map(|size| {
        Heap::read(reader, state.address / size * size, *size)
            .filter(|heap| heap.is_first() && heap.arena == state.address)
    });
    let problem = format!("the heaps of the arena at {:#x} do not lead from its top chunk to the arena", state.address);
    (first.into_iter().collect(), Some(problem))
}
