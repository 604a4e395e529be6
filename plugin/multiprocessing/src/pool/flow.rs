//! What the call forms share: arguments on their way to the pool, a chunk at a time, and the results on their way back.

use super::commands::Submission;
use super::inbox::Ended;
use super::job::{Job, value};
use crate::error::TaskError;
use crate::function::Function;
use crate::payload::Outgoing;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// So many tasks are handed over at a time at most, so that the first ones run while the others are being encoded.
const BATCH: usize = 256;
/// The arguments of the tasks under way have so many bytes at most, or are one.
const BYTES: usize = 64 << 20;

/// An argument of more bytes is encoded into shared memory at once. It costs a descriptor while it waits.
const SPILL: usize = 4 << 20;

/// A task's place among the results.
enum Slot<V> {
    /// It is under way, with an argument of so many bytes.
    UnderWay(usize),
    Ended(Result<V, TaskError>),
}

/// The tasks of one call.
pub(super) struct Flow<F: Function> {
    job: Job,
    /// Whether the results are wanted in the order of their arguments. The tasks are then numbered in this order; else a
    /// task's number is the bytes of its argument, as nothing else is to be known of it.
    ordered: bool,
    /// Results in the order in which they came, if that is what is wanted.
    ready: VecDeque<Result<F::Value, TaskError>>,
    /// The number of the first slot's task: all before it were taken.
    first: u64,
    slots: VecDeque<Slot<F::Value>>,
    /// How many slots are under way, and the bytes of their arguments.
    under_way: usize,
    bytes: usize,
    batch: Vec<Submission>,
    /// Space for results, kept from look to look.
    ended: Vec<Ended>,
}

impl<F: Function> Flow<F> {
    pub(super) fn new(job: Job, ordered: bool) -> Flow<F> {
        Flow {
            job,
            ordered,
            ready: VecDeque::new(),
            first: 0,
            slots: VecDeque::new(),
            under_way: 0,
            bytes: 0,
            batch: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// How many tasks are under way or wait to be taken.
    pub(super) fn len(&self) -> usize {
        if self.ordered { self.slots.len() } else { self.under_way + self.ready.len() }
    }

    /// Whether the arguments that are under way are as many bytes as may be.
    pub(super) fn full(&self) -> bool {
        self.bytes >= BYTES
    }

    /// Adds a task. One whose argument cannot be encoded has ended with that.
    pub(super) fn push(&mut self, argument: &F::Argument) {
        let (payload, bytes) = match Outgoing::encode(argument, SPILL) {
            Ok(encoded) => encoded,
            Err(error) => {
                let error = TaskError::Send(format!("the argument of {}: {error}", F::NAME));
                return match self.ordered {
                    true => self.slots.push_back(Slot::Ended(Err(error))),
                    false => self.ready.push_back(Err(error)),
                };
            }
        };
        let mut id = bytes as u64;
        if self.ordered {
            id = self.first + self.slots.len() as u64;
            self.slots.push_back(Slot::UnderWay(bytes));
        }
        self.under_way += 1;
        self.bytes += bytes;
        self.batch.push((id, payload));
        if self.batch.len() >= BATCH || self.full() {
            self.flush();
        }
    }

    /// Hands over what was added.
    pub(super) fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.job.submit_all(std::mem::take(&mut self.batch));
        }
    }

    /// Waits for `wanted` of the results under way, and puts what has come into its place.
    pub(super) fn settle(&mut self, wanted: usize, patience: Option<Duration>) {
        self.flush();
        let mut ended = std::mem::take(&mut self.ended);
        self.job.take(wanted.min(self.under_way), patience, &mut ended);
        for (id, result) in ended.drain(..) {
            if !self.ordered {
                self.under_way -= 1;
                self.bytes -= id as usize;
                self.ready.push_back(result.and_then(value::<F>));
                continue;
            }
            let place = usize::try_from(id.wrapping_sub(self.first)).ok();
            let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) else { continue };
            if let Slot::UnderWay(bytes) = *slot {
                self.under_way -= 1;
                self.bytes -= bytes;
                *slot = Slot::Ended(result.and_then(value::<F>));
            }
        }
        self.ended = ended;
    }

    /// Takes the next result, if it has come.
    pub(super) fn pop(&mut self) -> Option<Result<F::Value, TaskError>> {
        if !self.ordered {
            return self.ready.pop_front();
        }
        match self.slots.pop_front()? {
            Slot::Ended(result) => {
                self.first += 1;
                Some(result)
            }
            under_way => {
                self.slots.push_front(under_way);
                None
            }
        }
    }

    /// All results in the order of their arguments, when all have ended.
    pub(super) fn finish(mut self) -> Vec<Result<F::Value, TaskError>> {
        while self.under_way > 0 {
            self.settle(BATCH, None);
        }
        let ended = |slot| match slot {
            Slot::Ended(result) => Some(result),
            Slot::UnderWay(_) => None,
        };
        self.slots.into_iter().filter_map(ended).collect()
    }

    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// How many tasks ended before they were sent.
    pub(super) fn unsent(&self) -> usize {
        self.slots.len() - self.under_way
    }

    pub(super) fn into_job(self) -> Job {
        self.job
    }
}

impl<F: Function> fmt::Debug for Flow<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("job", &self.job).field("under_way", &self.under_way).finish_non_exhaustive()
    }
}
