//! Who has a lock: as it says itself, and where it does not, whose stack leads to it.
//!
//! What unlocks a lock has to know where it is: Rust's guards, C++'s `std::shared_lock`, or the function that has locked it. So the
//! owner's stack mostly holds a pointer to the lock. Others may hold one too, that they are to use later or have used before;
//! therefore somebody is taken for the owner only if as many lead to the lock as have it.

use super::ThreadCalls;
use super::lock::Holders;
use super::waits::Waits;
use crate::stacks::Registers;
use rustc_hash::{FxHashMap, FxHashSet};
use target::{AddressRange, AddressSpace, ReadMemory};

/// The owners of a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners {
    /// By their places among all threads.
    pub threads: Vec<usize>,
    /// Ids of owners that are no threads, or not any more.
    pub gone: Vec<u64>,
    pub inferred: bool,
    /// Threads that may be owners, where that is all that is known.
    pub candidates: Vec<usize>,
}

/// So much of a stack is looked through, from its innermost call on, and of all stacks together.
const STACK: u64 = 1 << 20;
const ALL: u64 = 128 << 20;

/// For each lock its owners.
pub(super) fn owners(
    threads: &[ThreadCalls],
    waits: &Waits,
    memory: &dyn ReadMemory,
    space: &AddressSpace,
) -> Vec<Owners> {
    let numbers: FxHashMap<u64, usize> =
        threads.iter().enumerate().map(|(index, thread)| (thread.thread.id, index)).collect();
    let untold = waits.locks.iter().filter(|lock| matches!(lock.holders, Holders::Untold(_)));
    let wanted: FxHashSet<u64> = untold.map(|lock| lock.address).collect();
    let pointers = if wanted.is_empty() { Pointers::default() } else { Pointers::new(threads, &wanted, memory, space) };
    let owners = |(lock, waiters): (&super::lock::Lock, &Vec<usize>)| match &lock.holders {
        Holders::Told(ids) => {
            let mut owners = Owners::default();
            for id in ids {
                match numbers.get(id) {
                    Some(index) => owners.threads.push(*index),
                    None => owners.gone.push(*id),
                }
            }
            owners
        }
        Holders::Untold(count) => pointers.owners(lock.address, *count, waiters),
        Holders::Event | Holders::Nobody | Holders::Unknown => Owners::default(),
    };
    waits.locks.iter().zip(&waits.waiters).map(owners).collect()
}

/// Whose stacks hold pointers to what.
#[derive(Debug, Default)]
struct Pointers {
    holders: FxHashMap<u64, Vec<usize>>,
    /// Whether all stacks have been looked through.
    complete: bool,
}

impl Pointers {
    fn new(threads: &[ThreadCalls], wanted: &FxHashSet<u64>, memory: &dyn ReadMemory, space: &AddressSpace) -> Self {
        let mut found = Self { holders: FxHashMap::default(), complete: true };
        let (mut buffer, mut left) = (Vec::new(), ALL);
        for (index, thread) in threads.iter().enumerate() {
            let Some(stack) = stack(thread, space) else {
                found.complete = false;
                continue;
            };
            let length = stack.len().min(STACK).min(left);
            left -= length;
            buffer.resize(length as usize, 0);
            let read = memory.read(stack.start, &mut buffer).unwrap_or(0);
            found.complete &= read as u64 == stack.len();
            for bytes in buffer[..read].as_chunks::<8>().0 {
                let pointer = u64::from_le_bytes(*bytes);
                if wanted.contains(&pointer) {
                    let holders = found.holders.entry(pointer).or_default();
                    if holders.last() != Some(&index) {
                        holders.push(index);
                    }
                }
            }
        }
        found
    }

    /// The owners of a lock that so many have. Those that wait for it are asked for last: their own waiting holds pointers to it.
    fn owners(&self, lock: u64, count: u32, waiters: &[usize]) -> Owners {
        let all = self.holders.get(&lock).map_or(&[][..], Vec::as_slice);
        let others: Vec<usize> = all.iter().copied().filter(|index| waiters.binary_search(index).is_err()).collect();
        if self.complete && others.len() as u64 == u64::from(count) {
            return Owners { threads: others, inferred: true, ..Owners::default() };
        }
        Owners { candidates: others, ..Owners::default() }
    }
}

/// A thread's stack as far as it is in use: from its stack pointer to the end of its outermost call. `None` if that is not known, or
/// does not lie in one piece.
fn stack(thread: &ThreadCalls, space: &AddressSpace) -> Option<AddressRange> {
    let start = thread.thread.registers.get(Registers::SP)?.next_multiple_of(8);
    let end = thread.calls.last()?.frame.cfa;
    let region = space.region_at(start)?.range;
    (start < end && end <= region.end).then(|| AddressRange::new(start, end))
}
