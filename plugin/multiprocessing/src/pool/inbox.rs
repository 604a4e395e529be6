//! Where the results of a job arrive: the one thing that a job's owner and the dispatcher both hold.

use super::job::Next;
use crate::error::TaskError;
use crate::memory::SharedMemory;
use crate::payload::Payload;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A job gets no more tasks started while so many of its results wait to be taken.
const RESULTS: usize = 1024;
/// Nor while they have so many bytes.
const BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Inbox {
    job: u64,
    /// Shared with the workers: not 0 once the job is cancelled.
    flag: SharedMemory,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ended: VecDeque<(u64, Result<Payload, TaskError>)>,
    /// Bytes in `ended`.
    bytes: usize,
    /// Tasks that were submitted and have not ended.
    running: usize,
    /// The dispatcher has passed this job over because it was full.
    passed_over: bool,
}

impl State {
    fn full(&self, share: usize) -> bool {
        self.ended.len() >= RESULTS / share || self.bytes >= BYTES / share
    }
}

impl Inbox {
    pub(super) fn new(job: u64) -> io::Result<Inbox> {
        Ok(Inbox { job, flag: SharedMemory::new(size_of::<u32>())?, state: Mutex::default(), changed: Condvar::new() })
    }

    pub(super) fn job(&self) -> u64 {
        self.job
    }

    pub(super) fn flag(&self) -> &SharedMemory {
        &self.flag
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task is about to be submitted.
    pub(super) fn expect(&self) {
        self.lock().running += 1;
    }

    /// A task has ended.
    pub(super) fn deliver(&self, id: u64, result: Result<Payload, TaskError>) {
        let mut state = self.lock();
        state.bytes += result.as_ref().map_or(0, |payload| payload.len());
        state.ended.push_back((id, result));
        state.running -= 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Whether more results must wait until some are taken; if so, whoever takes them will say it.
    pub(super) fn full(&self) -> bool {
        let mut state = self.lock();
        let full = state.full(1);
        state.passed_over |= full;
        full
    }

    /// The next result, and whether the dispatcher is to be told that there is room again.
    pub(super) fn next(&self, patience: Duration) -> (Next, bool) {
        let deadline = Instant::now().checked_add(patience);
        let mut state = self.lock();
        loop {
            if let Some((id, result)) = state.ended.pop_front() {
                state.bytes -= result.as_ref().map_or(0, |payload| payload.len());
                // Not at once, lest it be woken for each single one.
                let resume = state.passed_over && !state.full(2);
                state.passed_over &= !resume;
                return (Next::Ended(id, result), resume);
            }
            if state.running == 0 {
                return (Next::Idle, false);
            }
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return (Next::Nothing, false);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Raises the flag that the workers see.
    pub(super) fn cancel(&self) {
        if let Some(flag) = self.flag.atomic_u32(0) {
            flag.store(1, Ordering::SeqCst);
        }
    }

    /// Waits until no task runs any more.
    pub(super) fn wait_until_ended(&self, patience: Duration) {
        let state = self.lock();
        let _ = self.changed.wait_timeout_while(state, patience, |state| state.running > 0);
    }
}
