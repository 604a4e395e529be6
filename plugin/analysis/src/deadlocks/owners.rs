//! Who has a lock: as it says itself, and where it does not, whose stack leads to it.
//!
//! What unlocks a lock has to know where it is: Rust's guards, C++'s `std::shared_lock`, or the function that has locked it. So the
//! owner's stack mostly holds a pointer to the lock. Others may hold one too, that they are to use later or have used before;
//! therefore somebody is taken for the owner only if as many lead to the lock as have it.

use super::lock::{Holders, Lock};
use super::waits::Waits;
use super::{ThreadCalls, stack};
use rustc_hash::{FxHashMap, FxHashSet};
use target::{AddressSpace, ReadMemory};

/// So much of a stack is looked through, from its innermost call on, and of all stacks together.
const STACK: u64 = 1 << 20;
const ALL: u64 = 128 << 20;

/// The owners of a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners {
    /// By their places among all threads, in order.
    pub threads: Vec<usize>,
    /// Ids of owners that are no threads, or not any more.
    pub gone: Vec<u64>,
    pub inferred: bool,
    /// Threads that may be owners, where that is all that is known.
    pub candidates: Vec<usize>,
}

/// For each lock its owners. `stop` is asked before each stack that is looked through for those that locks do not tell.
pub(super) fn owners(
    threads: &[ThreadCalls],
    waits: &Waits,
    memory: &dyn ReadMemory,
    space: &AddressSpace,
    stop: &dyn Fn() -> bool,
) -> Vec<Owners> {
    let places: FxHashMap<u64, usize> =
        threads.iter().enumerate().map(|(index, thread)| (thread.thread.own_id, index)).collect();
    let untold = waits.locks.iter().filter(|lock| matches!(lock.holders, Holders::Untold(_)));
    let wanted: FxHashSet<u64> = untold.map(|lock| lock.address).collect();
    let pointers = match wanted.is_empty() {
        true => Pointers::default(),
        false => Pointers::new(threads, &wanted, memory, space, stop),
    };
    let owners = |(lock, waiters): (&Lock, &Vec<usize>)| match &lock.holders {
        Holders::Told(ids) => told(ids, &places),
        Holders::Untold(count) => pointers.owners(lock.address, *count, waiters),
        Holders::Event | Holders::Nobody | Holders::Unknown => Owners::default(),
    };
    waits.locks.iter().zip(&waits.waiters).map(owners).collect()
}

/// The owners that a lock tells, by their ids.
fn told(ids: &[u64], places: &FxHashMap<u64, usize>) -> Owners {
    let mut owners = Owners::default();
    for id in ids {
        match places.get(id) {
            Some(index) => owners.threads.push(*index),
            None => owners.gone.push(*id),
        }
    }
    owners.threads.sort_unstable();
    owners
}

/// Whose stacks hold pointers to what.
#[derive(Debug, Default)]
struct Pointers {
    holders: FxHashMap<u64, Vec<usize>>,
    /// Threads whose stacks have not been looked through, or not whole, in order.
    unseen: Vec<usize>,
}

impl Pointers {
    fn new(
        threads: &[ThreadCalls],
        wanted: &FxHashSet<u64>,
        memory: &dyn ReadMemory,
        space: &AddressSpace,
        stop: &dyn Fn() -> bool,
    ) -> Self {
        let (mut found, mut buffer, mut left) = (Self::default(), Vec::new(), ALL);
        for (index, thread) in threads.iter().enumerate() {
            if stop() {
                found.unseen.extend(index..threads.len());
                break;
            }
            let pieces = stack::pieces(thread, space);
            let (mut allowed, mut seen) = (STACK.min(left), !pieces.is_empty());
            for piece in pieces {
                let length = piece.len().min(allowed);
                (allowed, left) = (allowed - length, left - length);
                buffer.resize(length as usize, 0);
                let read = if length == 0 { 0 } else { memory.read(piece.start, &mut buffer).unwrap_or(0) };
                seen &= read as u64 == piece.len();
                found.add(index, &buffer[..read], wanted);
            }
            if !seen {
                found.unseen.push(index);
            }
        }
        found
    }

    /// Adds what a part of a thread's stack points to.
    fn add(&mut self, index: usize, stack: &[u8], wanted: &FxHashSet<u64>) {
        for bytes in stack.as_chunks::<8>().0 {
            let pointer = u64::from_le_bytes(*bytes);
            if wanted.contains(&pointer) {
                let holders = self.holders.entry(pointer).or_default();
                if holders.last() != Some(&index) {
                    holders.push(index);
                }
            }
        }
    }

    /// The owners of a lock that so many have. Those that wait for it are not asked: their own waiting holds pointers to it. Any other
    /// whose stack is not known may have it as well as who leads to it.
    fn owners(&self, lock: u64, count: u32, waiters: &[usize]) -> Owners {
        let waits = |index: &usize| waiters.binary_search(index).is_ok();
        let all = self.holders.get(&lock).map_or(&[][..], Vec::as_slice);
        let others: Vec<usize> = all.iter().copied().filter(|index| !waits(index)).collect();
        if others.len() as u64 == u64::from(count) && self.unseen.iter().all(waits) {
            return Owners { threads: others, inferred: true, ..Owners::default() };
        }
        Owners { candidates: others, ..Owners::default() }
    }
}
