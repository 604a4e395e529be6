//! Rows of threads that wait: each with all that in the end wait for the same.

use super::ThreadCalls;
use super::graph::{around, components, is_cycle};
use super::lock::Holders;
use super::owners::Owners;
use super::site::{Site, site};
use super::waits::{Waiting, Waits};
use crate::report::{DeadlockKind, DeadlockRow, LockRow, StuckRow, ThreadRef};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::slice::from_ref;

/// What somebody waits for in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// A cycle of threads, by its first one.
    Cycle(usize),
    /// A thread that has something and waits for no other thread.
    Thread(usize),
    /// One that had it, by its id, and is none any more.
    Gone(u64),
    /// Something that is nobody's, as far as is known.
    Lock(usize),
}

pub(super) struct Rows<'a> {
    threads: &'a [ThreadCalls],
    waits: &'a Waits,
    owners: &'a [Owners],
}

impl<'a> Rows<'a> {
    pub fn new(threads: &'a [ThreadCalls], waits: &'a Waits, owners: &'a [Owners]) -> Self {
        Self { threads, waits, owners }
    }

    pub fn all(&self) -> Vec<DeadlockRow> {
        let count = self.threads.len();
        // Locks come behind the threads.
        let locks: Vec<usize> = (count..count + self.owners.len()).collect();
        let waited_for = |waiting: &'a Option<Waiting>| waiting.as_ref().map(|waiting| waiting.lock);
        let of_threads =
            self.waits.of.iter().map(|waiting| waited_for(waiting).map_or(&[][..], |lock| from_ref(&locks[lock])));
        let edges: Vec<&[usize]> = of_threads.chain(self.owners.iter().map(|owners| &owners.threads[..])).collect();
        let mut cycles: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut ends: Vec<Option<End>> = vec![None; edges.len()];
        // What a thread waits for comes before it, and so do the owners of that.
        for component in components(&edges) {
            // In a cycle there is a thread at least, and all of those come before its locks.
            let first = component[0];
            if is_cycle(&component, &edges) {
                component.iter().for_each(|node| ends[*node] = Some(End::Cycle(first)));
                let order = around(&component, &edges);
                cycles.insert(first, order.into_iter().filter(|node| *node < count).collect());
            } else if let Some(lock) = first.checked_sub(count) {
                ends[first] = Some(self.end(lock, &ends));
            } else if let Some(lock) = waited_for(&self.waits.of[first]) {
                ends[first] = ends[locks[lock]];
            }
        }
        let mut groups: BTreeMap<End, Vec<usize>> = BTreeMap::new();
        for (thread, end) in ends[..count].iter().enumerate() {
            groups
                .entry(match end {
                    Some(end) => *end,
                    None => continue,
                })
                .or_default()
                .push(thread);
        }
        let mut rows: Vec<DeadlockRow> = groups
            .into_iter()
            .map(|(end, waiting)| match end {
                End::Cycle(first) => self.cycle(&cycles[&first], &waiting),
                _ => self.queue(end, &waiting),
            })
            .collect();
        rows = alike_together(rows);
        rows.sort_by_key(|row| (row.kind, Reverse(row.threads.len() + row.behind.len()), first(row)));
        rows
    }

    /// What threads that wait for a lock wait for in the end, by what its owners do.
    fn end(&self, lock: usize, ends: &[Option<End>]) -> End {
        let of_owner = |owner: &usize| match ends[*owner] {
            // What happens is nobody's, so who waits for that is the last whom anybody waits for.
            Some(End::Lock(lock)) if self.waits.locks[lock].holders == Holders::Event => End::Thread(*owner),
            Some(end) => end,
            None => End::Thread(*owner),
        };
        let owners = &self.owners[lock];
        let gone = owners.gone.iter().map(|id| End::Gone(*id));
        owners.threads.iter().map(of_owner).chain(gone).min().unwrap_or(End::Lock(lock))
    }

    fn cycle(&self, order: &[usize], waiting: &[usize]) -> DeadlockRow {
        let members: BTreeSet<usize> = order.iter().copied().collect();
        let behind: Vec<usize> = waiting.iter().copied().filter(|thread| !members.contains(thread)).collect();
        let mut locks = Vec::new();
        let threads = self.stuck(order, &mut locks);
        let behind = self.stuck(&behind, &mut locks);
        DeadlockRow { kind: DeadlockKind::Cycle, threads, behind, owner: None, locks: self.locks(&locks) }
    }

    fn queue(&self, end: End, waiting: &[usize]) -> DeadlockRow {
        // What the end itself has comes first, then what most wait for.
        let lock_of = |thread: usize| self.waits.of[thread].as_ref().map_or(0, |waiting| waiting.lock);
        let is_direct = |lock: usize| match end {
            End::Thread(thread) => self.owners[lock].threads.binary_search(&thread).is_ok(),
            End::Gone(id) => self.owners[lock].gone.contains(&id),
            End::Lock(end) => end == lock,
            End::Cycle(_) => false,
        };
        let mut order = waiting.to_vec();
        order.sort_by_cached_key(|thread| {
            let lock = lock_of(*thread);
            let entry = &self.waits.locks[lock];
            (!is_direct(lock), Reverse(self.waits.waiters[lock].len()), entry.address, lock, *thread)
        });
        let mut locks = Vec::new();
        let threads = self.stuck(&order, &mut locks);
        let owner = match end {
            End::Thread(thread) => Some(self.stuck_row(thread, site(&self.threads[thread]))),
            End::Gone(id) => Some(StuckRow { thread: ThreadRef { number: None, id }, ..StuckRow::default() }),
            End::Lock(_) | End::Cycle(_) => None,
        };
        let is_had = locks.iter().any(|lock| self.waits.locks[*lock].is_had());
        let kind = if is_had { DeadlockKind::Queue } else { DeadlockKind::Wait };
        DeadlockRow { kind, threads, behind: Vec::new(), owner, locks: self.locks(&locks) }
    }

    /// Rows of threads that wait. What they wait for is put behind `locks`, where it is not there already.
    fn stuck(&self, threads: &[usize], locks: &mut Vec<usize>) -> Vec<StuckRow> {
        let mut places: BTreeMap<usize, usize> = locks.iter().enumerate().map(|(place, lock)| (*lock, place)).collect();
        let row = |thread: &usize| {
            let waiting = self.waits.of[*thread].as_ref()?;
            let lock = *places.entry(waiting.lock).or_insert_with(|| {
                locks.push(waiting.lock);
                locks.len() - 1
            });
            let row = self.stuck_row(*thread, waiting.site.clone());
            Some(StuckRow { lock: Some(lock), wants: waiting.want.map(|want| want.name().to_owned()), ..row })
        };
        threads.iter().filter_map(row).collect()
    }

    fn stuck_row(&self, thread: usize, site: Site) -> StuckRow {
        let Site { through, place, pc, module, .. } = site;
        let known = &self.threads[thread].thread;
        let call = known.call.as_ref().and_then(|call| call.name()).map(str::to_owned);
        let name = known.name.clone();
        StuckRow { thread: self.thread(thread), name, call, through, place, pc, module, ..StuckRow::default() }
    }

    fn thread(&self, thread: usize) -> ThreadRef {
        let known = &self.threads[thread].thread;
        ThreadRef { number: Some(known.number), id: known.id }
    }

    fn locks(&self, locks: &[usize]) -> Vec<LockRow> {
        let threads = |places: &[usize]| places.iter().map(|thread| self.thread(*thread)).collect::<Vec<_>>();
        let row = |lock: &usize| {
            let (known, owners) = (&self.waits.locks[*lock], &self.owners[*lock]);
            let gone = owners.gone.iter().map(|id| ThreadRef { number: None, id: *id });
            LockRow {
                address: known.address,
                kind: known.kind.clone(),
                symbol: None,
                owners: threads(&owners.threads).into_iter().chain(gone).collect(),
                inferred: owners.inferred,
                candidates: threads(&owners.candidates),
                state: known.state.clone(),
                waiters: threads(&self.waits.waiters[*lock]),
            }
        };
        locks.iter().map(row).collect()
    }
}

/// The debugger's number of the first thread of a row, in their order.
fn first(row: &DeadlockRow) -> Option<u64> {
    row.threads.iter().filter_map(|stuck| stuck.thread.number).min()
}

/// Puts threads of a pool together that wait in the same place, each for something of its own that is to happen.
fn alike_together(rows: Vec<DeadlockRow>) -> Vec<DeadlockRow> {
    let (mut kept, mut places) = (Vec::<DeadlockRow>::new(), BTreeMap::new());
    for row in rows {
        let key = match (&row.kind, &row.threads[..], &row.locks[..], &row.owner) {
            (DeadlockKind::Wait, [thread], [lock], None) if thread.pc != 0 => Some((thread.pc, lock.kind.clone())),
            _ => None,
        };
        let Some(key) = key else {
            kept.push(row);
            continue;
        };
        let place = *places.entry(key).or_insert(kept.len());
        let Some(known) = kept.get_mut(place) else {
            kept.push(row);
            continue;
        };
        let offset = known.locks.len();
        known.locks.extend(row.locks);
        let moved = |stuck: StuckRow| StuckRow { lock: stuck.lock.map(|lock| lock + offset), ..stuck };
        known.threads.extend(row.threads.into_iter().map(moved));
    }
    kept
}
