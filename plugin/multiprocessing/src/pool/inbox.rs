//! Where the results of a job arrive: the one thing that a job's owner and the dispatcher both hold.

use super::callbacks::Callback;
use super::job::Next;
use crate::error::TaskError;
use crate::flags::Flag;
use crate::payload::Payload;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A job gets no more tasks started while so many of its results wait to be taken.
const RESULTS: usize = 1024;
/// Nor while they have so many bytes.
const BYTES: usize = 64 << 20;

/// As many results as will come.
const ALL: usize = usize::MAX;

/// A task's id, and how it has ended.
pub(super) type Ended = (u64, Result<Payload, TaskError>);

#[derive(Debug)]
pub(super) struct Inbox {
    job: u64,
    flag: Flag,
    /// Whether results that nobody takes hold the job's tasks back.
    bounded: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ended: VecDeque<Ended>,
    /// Bytes in `ended`.
    bytes: usize,
    /// How many in `ended` are no values.
    errors: usize,
    /// Tasks that were submitted and have not ended.
    running: usize,
    /// The dispatcher has passed this job over because it was full.
    passed_over: bool,
    /// Whoever waits wants to be woken for so many results; 0 if nobody waits.
    wanted: usize,
    /// What is to be done as soon as no task runs any more.
    at_end: Option<Callback>,
}

impl State {
    fn full(&self, share: usize) -> bool {
        self.ended.len() >= RESULTS / share || self.bytes >= BYTES / share
    }

    fn taken(&mut self, ended: &Ended) {
        match &ended.1 {
            Ok(payload) => self.bytes -= payload.len(),
            Err(_) => self.errors -= 1,
        }
    }

    /// Whether the dispatcher is to be told that there is room again: not at once, lest it be woken for each single result.
    fn resume(&mut self) -> bool {
        let resume = self.passed_over && !self.full(2);
        self.passed_over &= !resume;
        resume
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("ended", &self.ended.len())
            .field("running", &self.running)
            .finish_non_exhaustive()
    }
}

impl Inbox {
    pub(super) fn new(job: u64, flag: Flag, bounded: bool) -> Inbox {
        Inbox { job, flag, bounded, state: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn job(&self) -> u64 {
        self.job
    }

    /// The place of the job's flag among all flags.
    pub(super) fn slot(&self) -> u32 {
        self.flag.slot()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many tasks are about to be submitted.
    pub(super) fn expect(&self, count: usize) {
        self.lock().running += count;
    }

    /// Tasks have ended.
    pub(super) fn deliver(&self, ended: impl IntoIterator<Item = Ended>) {
        let mut state = self.lock();
        for ended in ended {
            match &ended.1 {
                Ok(payload) => state.bytes += payload.len(),
                Err(_) => state.errors += 1,
            }
            state.ended.push_back(ended);
            state.running -= 1;
        }
        let over = state.running == 0;
        let tell = over || (state.wanted > 0 && (state.ended.len() >= state.wanted || state.full(1)));
        let at_end = if over { state.at_end.take() } else { None };
        if tell {
            state.wanted = 0;
        }
        drop(state);
        if tell {
            self.changed.notify_all();
        }
        if let Some(at_end) = at_end {
            at_end();
        }
    }

    /// Whether more results must wait until some are taken; if so, whoever takes them will say it.
    pub(super) fn full(&self) -> bool {
        if !self.bounded {
            return false;
        }
        let mut state = self.lock();
        let full = state.full(1);
        state.passed_over |= full;
        full
    }

    /// Waits until `wanted` results are there, or none is to come any more, or there is no room for more. If all are wanted,
    /// room is no matter.
    fn wait(&self, wanted: usize, patience: Option<Duration>) -> MutexGuard<'_, State> {
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut state = self.lock();
        let full = |state: &State| self.bounded && wanted != ALL && state.full(1);
        while state.running > 0 && state.ended.len() < wanted && !full(&state) {
            state.wanted = if state.wanted == 0 { wanted } else { state.wanted.min(wanted) };
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        state
    }

    /// The next result, and whether the dispatcher is to be told that there is room again.
    pub(super) fn next(&self, patience: Option<Duration>) -> (Next, bool) {
        let mut state = self.wait(1, patience);
        match state.ended.pop_front() {
            Some(ended) => {
                state.taken(&ended);
                (Next::Ended(ended.0, ended.1), state.resume())
            }
            None if state.running == 0 => (Next::Idle, false),
            None => (Next::Nothing, false),
        }
    }

    /// Waits for `wanted` results, or as many as will come, and moves all that are there to `into`. Whether the dispatcher
    /// is to be told that there is room again.
    pub(super) fn take(&self, wanted: usize, patience: Option<Duration>, into: &mut Vec<Ended>) -> bool {
        let mut state = self.wait(wanted, patience);
        into.extend(state.ended.drain(..));
        (state.bytes, state.errors) = (0, 0);
        state.resume()
    }

    /// Raises the flag that the workers see.
    pub(super) fn cancel(&self) {
        self.flag.raise();
    }

    /// Waits until no task runs any more; whether it is so. `None` is for ever.
    pub(super) fn wait_until_ended(&self, patience: Option<Duration>) -> bool {
        self.wait(ALL, patience).running == 0
    }

    /// Whether no task runs any more; and if so, whether all results that were not taken are values.
    pub(super) fn over(&self) -> Option<bool> {
        let state = self.lock();
        (state.running == 0).then_some(state.errors == 0)
    }

    /// Has this done as soon as no task runs any more, which may be now.
    pub(super) fn at_end(&self, callback: Callback) {
        let mut state = self.lock();
        if state.running > 0 {
            state.at_end = Some(callback);
        } else {
            drop(state);
            callback();
        }
    }
}
