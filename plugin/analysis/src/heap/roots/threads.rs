//! What glibc knows of its threads: where their stacks are, and which of them have ended.
//!
//! A thread has a `struct pthread`, which on x86-64 begins with two pointers to itself and lies at the top of its stack. All of
//! them are in circular lists (`nptl/descr.h`, `nptl/allocatestack.c`, `sysdeps/generic/ldsodefs.h` of glibc): of threads
//! whose stacks glibc has made, of others, and of stacks that are kept for threads to come after their own have ended. The
//! heads of these lists lie beside each other, so one thread leads to all. None of it has a symbol in a stripped program, and
//! nothing is relied on that does not check out.

use std::collections::BTreeSet;
use target::{AddressRange, ReadMemory};

/// In `struct pthread` on x86-64, unchanged from glibc 2.31 to 2.42: the second pointer to itself, the links of its list, and
/// the kernel's number of the thread, which the kernel clears when the thread ends, and who asks for its result
/// makes negative.
const SELF: u64 = 0x10;
const LINKS: u64 = 0x2c0;
const TID: u64 = 0x2d0;

/// No `struct pthread` is larger.
const LARGEST: u64 = 0x1000;

/// Its stack ends at most so far behind its beginning.
const FARTHEST: u64 = 0x1_0000;

/// The heads of lists are looked for so far from one another.
const NEAR: u64 = 0x800;

/// So many threads of a list are looked at.
const MOST: usize = 1 << 17;

const PAGE: u64 = 4096;

/// A thread, as glibc keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Where its `struct pthread` begins.
    pub address: u64,
    /// Its stack, with that struct and without its guard; `None` where glibc has not made it.
    pub stack: Option<AddressRange>,
    pub state: State,
    /// Where its thread-local storage is told; glibc keeps this with the stack.
    pub storage: u64,
}

/// What is left of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    /// It has ended, and somebody may still ask for its result.
    Ended,
    /// Nothing but its stack.
    Kept,
}

/// A list of threads.
struct Circle {
    head: u64,
    members: Vec<u64>,
}

/// The threads that those of `pointers` which are a `struct pthread` lead to, by address.
pub(super) fn descriptors(memory: &dyn ReadMemory, pointers: impl IntoIterator<Item = u64>) -> Vec<Descriptor> {
    let reader = Reader { memory };
    let mut known = BTreeSet::new();
    let mut circles = Vec::<Circle>::new();
    for pointer in pointers {
        if !known.contains(&pointer) && reader.is_descriptor(pointer) {
            known.insert(pointer);
            let Some(circle) = reader.circle(pointer + LINKS) else { continue };
            known.extend(&circle.members);
            circles.push(circle);
        }
    }
    for head in circles.iter().map(|circle| circle.head).collect::<Vec<_>>() {
        for near in reader.heads(head) {
            if circles.iter().all(|circle| circle.head != near) {
                circles.extend(reader.circle(near));
            }
        }
    }
    // The first thread's stack is not glibc's.
    let is_first = |member: &u64| reader.stack(*member).is_none();
    let others = circles.iter().find(|circle| circle.members.iter().any(is_first)).map(|circle| circle.head);
    let mut found = Vec::new();
    for Circle { head, members } in &circles {
        let alive = members.iter().any(|member| reader.tid(*member).is_none_or(|tid| tid > 0));
        // From glibc 2.34 on the list of what is kept follows that of threads with stacks of others.
        let kept = !alive && others.is_some_and(|others| *head == others + 16);
        found.extend(members.iter().map(|address| {
            let state = match reader.tid(*address) {
                Some(..0) => State::Kept,
                Some(0) if kept => State::Kept,
                Some(0) => State::Ended,
                _ => State::Alive,
            };
            let storage = reader.words(address + 8).map_or(0, |[word]| word);
            Descriptor { address: *address, stack: reader.stack(*address), state, storage }
        }));
    }
    found.sort_by_key(|descriptor| descriptor.address);
    found.dedup_by_key(|descriptor| descriptor.address);
    found
}

struct Reader<'a> {
    memory: &'a dyn ReadMemory,
}

impl Reader<'_> {
    fn words<const COUNT: usize>(&self, address: u64) -> Option<[u64; COUNT]> {
        let mut bytes = vec![0; 8 * COUNT];
        (self.memory.read(address, &mut bytes) == Ok(bytes.len())).then_some(())?;
        let words = bytes.as_chunks::<8>().0;
        Some(std::array::from_fn(|index| u64::from_le_bytes(words[index])))
    }

    fn is_descriptor(&self, address: u64) -> bool {
        address != 0
            && address.is_multiple_of(64)
            && self
                .words::<3>(address)
                .is_some_and(|words| words[0] == address && words[(SELF / 8) as usize] == address)
    }

    fn tid(&self, address: u64) -> Option<i32> {
        Some(self.words::<1>(address.checked_add(TID)?)?[0] as i32)
    }

    /// The circle that `link` is in: a head, or a thread's. `None` if it is none, or has no head.
    fn circle(&self, link: u64) -> Option<Circle> {
        let (mut head, mut members) = (None, Vec::new());
        let mut at = link;
        loop {
            match at.checked_sub(LINKS).filter(|address| self.is_descriptor(*address)) {
                Some(address) => members.push(address),
                None if head.replace(at).is_some() => return None,
                None => {}
            }
            let [next, _] = self.words(at)?;
            let [_, previous] = self.words(next)?;
            if previous != at || members.len() > MOST {
                return None;
            }
            at = next;
            if at == link {
                return Some(Circle { head: head?, members });
            }
        }
    }

    /// Heads of lists near another one that are not empty.
    fn heads(&self, head: u64) -> Vec<u64> {
        // Memory may begin or end in between.
        let parts = [(head.saturating_sub(NEAR), head), (head / PAGE * PAGE, head), (head, head.saturating_add(NEAR))];
        let mut found = Vec::new();
        for (start, end) in parts {
            let mut bytes = vec![0; (end - start) as usize];
            let read = self.memory.read(start, &mut bytes).unwrap_or(0);
            let places = (start..).step_by(8).zip(bytes[..read].as_chunks::<8>().0);
            let is_thread = |next: u64| next.checked_sub(LINKS).is_some_and(|address| self.is_descriptor(address));
            let heads = places.filter(|(_, next)| is_thread(u64::from_le_bytes(**next))).map(|(place, _)| place);
            found.extend(heads);
        }
        found
    }

    /// The stack of a thread by where it begins with its guard, how long it is, and how long the guard: words that are
    /// nowhere else in the struct in this way.
    fn stack(&self, address: u64) -> Option<AddressRange> {
        let mut bytes = vec![0; LARGEST as usize];
        let read = self.memory.read(address, &mut bytes).ok()?;
        let words = bytes[..read].as_chunks::<8>().0;
        words.get((TID / 8) as usize..)?.windows(3).find_map(|words| {
            let [block, size, guard] = [0, 1, 2].map(|index| u64::from_le_bytes(words[index]));
            let end = block.checked_add(size)?;
            let is_aligned = [block, size, guard].iter().all(|word| word.is_multiple_of(PAGE));
            let fits = 0 < block && block < address && address < end && end - address <= FARTHEST;
            let is_stack = is_aligned && fits && guard < size && block + guard < address;
            is_stack.then(|| AddressRange::new(block + guard, end))
        })
    }
}
