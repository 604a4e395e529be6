//! Which thread waits for what.

use super::ThreadCalls;
use super::futex::{Futex, futex};
use super::lock::{Lock, identify};
use super::reader::Reader;
use super::site::{Hint, Site, Want, site};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::hash_map::Entry;

/// What threads wait for.
#[derive(Debug, Default)]
pub(super) struct Waits {
    pub locks: Vec<Lock>,
    /// For each of `locks` the threads that wait for it, by their places among all threads, in order.
    pub waiters: Vec<Vec<usize>>,
    /// For each thread what it waits for.
    pub of: Vec<Option<Waiting>>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// Which one of the locks.
    pub lock: usize,
    pub want: Option<Want>,
    pub site: Site,
}

impl Waits {
    pub fn new(threads: &[ThreadCalls], reader: Reader<'_>) -> Self {
        let ids: FxHashSet<u64> = threads.iter().map(|thread| thread.thread.own_id).collect();
        // Thousands may wait for the same, which is read once.
        let mut known: FxHashMap<(Futex, Option<Hint>), usize> = FxHashMap::default();
        let mut places: FxHashMap<(u64, String), usize> = FxHashMap::default();
        let mut waits = Self::default();
        for (index, thread) in threads.iter().enumerate() {
            let Some(futex) = thread.thread.call.as_ref().and_then(|call| futex(call, reader)) else {
                waits.of.push(None);
                continue;
            };
            let site = site(thread);
            let lock = *known.entry((futex, site.hint)).or_insert_with(|| {
                let lock = identify(&futex, site.hint, reader, &|id| ids.contains(&id));
                match places.entry((lock.address, lock.kind.clone())) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(place) => {
                        waits.locks.push(lock);
                        waits.waiters.push(Vec::new());
                        *place.insert(waits.locks.len() - 1)
                    }
                }
            });
            waits.waiters[lock].push(index);
            let want = match site.hint {
                Some(Hint::Rwlock(want) | Hint::RustRwlock(want)) => Some(want),
                _ => None,
            };
            waits.of.push(Some(Waiting { lock, want, site }));
        }
        waits
    }
}
