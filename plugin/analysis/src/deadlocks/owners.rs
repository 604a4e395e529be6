//! Who has a lock: as it says itself, and where it does not, whose stack leads to it.
//!
//! What unlocks a lock has to know where it is: Rust's guards, C++'s `std::shared_lock`, or the function that has locked it. So the
//! owner's stack mostly holds a pointer to the lock, or its registers do. Others may hold one too, that they are to use later or have
//! used before; therefore somebody is taken for the owner only if as many lead to the lock as have it.

use super::lock::{Holders, Lock};
use super::waits::Waits;
use super::{PRESERVED, ThreadCalls, pthread, stack};
use crate::stacks::Registers;
use rustc_hash::FxHashMap;
use target::{AddressSpace, ReadMemory};

/// So much of a stack is looked through, from its innermost call on, and of all stacks together.
const STACK: u64 = 1 << 20;
const ALL: u64 = 128 << 20;

/// The registers of so many threads are asked for: a debugger takes milliseconds for each.
const MOST_ASKED: usize = 32;

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

/// Where owners are looked for that locks do not tell.
#[derive(Clone, Copy)]
pub(super) struct Looking<'a> {
    pub memory: &'a dyn ReadMemory,
    pub space: &'a AddressSpace,
    /// Asked before each stack that is looked through.
    pub stop: &'a dyn Fn() -> bool,
    /// Tells what a thread has in its preserved registers.
    pub ask: &'a dyn Fn(usize) -> Option<Registers>,
}

/// For each lock its owners.
pub(super) fn owners(threads: &[ThreadCalls], waits: &Waits, looking: Looking<'_>) -> Vec<Owners> {
    let places: FxHashMap<u64, usize> =
        threads.iter().enumerate().map(|(index, thread)| (thread.thread.own_id, index)).collect();
    let pointers = Pointers::new(threads, waits, looking);
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

/// Whose stacks and registers hold pointers to which of the locks that do not tell their owners.
#[derive(Debug, Default)]
struct Pointers {
    /// For each such lock the threads, in order.
    holders: FxHashMap<u64, Vec<usize>>,
    /// Threads whose stacks have not been looked through, or not whole, in order.
    unseen: Vec<usize>,
}

impl Pointers {
    fn new(threads: &[ThreadCalls], waits: &Waits, looking: Looking<'_>) -> Self {
        let untold = waits.locks.iter().filter(|lock| matches!(lock.holders, Holders::Untold(_)));
        let mut found = Self { holders: untold.map(|lock| (lock.address, Vec::new())).collect(), unseen: Vec::new() };
        if !found.holders.is_empty() && found.look(threads, looking) {
            found.ask(threads, waits, looking);
        }
        found
    }

    /// Looks through what is known of all threads. Returns whether it was not told to stop.
    fn look(&mut self, threads: &[ThreadCalls], looking: Looking<'_>) -> bool {
        let (mut buffer, mut left) = (Vec::new(), ALL);
        for (index, thread) in threads.iter().enumerate() {
            if (looking.stop)() {
                self.unseen.extend(index..threads.len());
                return false;
            }
            self.add(index, thread.thread.registers.values());
            let pieces = stack::pieces(thread, looking.space);
            let (mut allowed, mut seen) = (STACK.min(left), !pieces.is_empty());
            for piece in pieces {
                let length = piece.len().min(allowed);
                (allowed, left) = (allowed - length, left - length);
                buffer.resize(length as usize, 0);
                let read = if length == 0 { 0 } else { looking.memory.read(piece.start, &mut buffer).unwrap_or(0) };
                seen &= read as u64 == piece.len();
                let stack = pthread::below_descriptor(piece.start, &buffer[..read]);
                self.add(index, stack.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            }
            if !seen {
                self.unseen.push(index);
            }
        }
        true
    }

    /// Asks for registers that are not known, where that may tell owners who are still missing. Who waits for no lock is asked about
    /// first: what has others wait saves the registers that it needs itself.
    fn ask(&mut self, threads: &[ThreadCalls], waits: &Waits, looking: Looking<'_>) {
        let is_short = |(lock, waiters): (&Lock, &Vec<usize>)| match lock.holders {
            Holders::Untold(count) => (self.others(lock.address, waiters).count() as u64) < u64::from(count),
            _ => false,
        };
        if !waits.locks.iter().zip(&waits.waiters).any(is_short) {
            return;
        }
        let is_unknown =
            |index: &usize| PRESERVED.iter().any(|name| threads[*index].thread.registers.named(name).is_none());
        let mut unknown: Vec<usize> = (0..threads.len()).filter(is_unknown).collect();
        unknown.sort_by_key(|index| waits.of[*index].is_some());
        for index in unknown.into_iter().take(MOST_ASKED) {
            let Some(told) = (!(looking.stop)()).then(|| (looking.ask)(index)).flatten() else { return };
            self.add(index, told.values());
        }
    }

    /// Adds what a thread points to.
    fn add(&mut self, index: usize, words: impl Iterator<Item = u64>) {
        for word in words {
            if let Some(holders) = self.holders.get_mut(&word)
                && let Err(place) = holders.binary_search(&index)
            {
                holders.insert(place, index);
            }
        }
    }

    /// Those that lead to a lock and do not wait for it: the waiting itself holds pointers to it.
    fn others<'a>(&'a self, lock: u64, waiters: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
        let all = self.holders.get(&lock).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|index| waiters.binary_search(index).is_err())
    }

    /// The owners of a lock that so many have. Any thread whose stack is not known may have it as well as who leads to it.
    fn owners(&self, lock: u64, count: u32, waiters: &[usize]) -> Owners {
        let others: Vec<usize> = self.others(lock, waiters).collect();
        let waits = |index: &usize| waiters.binary_search(index).is_ok();
        if others.len() as u64 == u64::from(count) && self.unseen.iter().all(waits) {
            return Owners { threads: others, inferred: true, ..Owners::default() };
        }
        Owners { candidates: others, ..Owners::default() }
    }
}
