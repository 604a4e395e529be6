//! The jobs that the dispatcher knows, and whose turn it is.

use super::commands::{Opening, Submission};
use super::inbox::{Ended, Inbox};
use super::worker::{IN_HAND, InHand};
use crate::error::TaskError;
use crate::payload::{Outgoing, Payload};
use crate::wire::{Outcome, Panic};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// A task that has not ended.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) job: u64,
    /// The caller's name for it.
    pub(super) id: u64,
    pub(super) payload: Outgoing,
    /// How many workers died with it in hand before they had begun it.
    pub(super) unlucky: u32,
    /// How often it may run again after it has cost a worker.
    pub(super) retries: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) opening: Opening,
    queue: VecDeque<Task>,
    /// Those that have ended, until the owner is told.
    ended: Vec<Ended>,
    /// How long a task is expected to take.
    pub(super) pace: Duration,
    /// How many of its tasks workers have in hand.
    in_hand: usize,
    pub(super) cancelled: bool,
    /// Whether its owner is gone.
    closed: bool,
}

impl Entry {
    /// Whether its next task can go to another machine.
    fn is_portable(&self) -> bool {
        self.opening.setup.is_portable() && self.queue.front().is_none_or(|task| task.payload.is_portable())
    }
}

/// All jobs. Jobs with queued tasks take turns.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    entries: HashMap<u64, Entry>,
    /// The jobs with queued tasks, the next one first.
    turns: VecDeque<u64>,
    queued: usize,
    /// Those whose owners are to be told of ended tasks.
    to_tell: Vec<u64>,
    /// How long the tasks of each function took last.
    paces: HashMap<String, Duration>,
}

impl Jobs {
    pub(super) fn open(&mut self, opening: Opening) {
        let job = opening.inbox.job();
        let (queue, ended) = (VecDeque::new(), Vec::new());
        let pace = self.paces.get(&opening.function).copied().unwrap_or(IN_HAND);
        self.entries.insert(job, Entry { opening, queue, ended, pace, in_hand: 0, cancelled: false, closed: false });
    }

    /// How many tasks wait for a worker.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn entry(&self, job: u64) -> Option<&Entry> {
        self.entries.get(&job)
    }

    /// Whether no task waits for a worker or is in hand.
    pub(super) fn idle(&self) -> bool {
        self.queued == 0 && self.entries.values().all(|entry| entry.in_hand == 0)
    }

    /// Takes new tasks.
    pub(super) fn submit(&mut self, inbox: &Inbox, tasks: Vec<Submission>) {
        let job = inbox.job();
        match self.entries.get_mut(&job) {
            Some(entry) if !entry.cancelled => {
                if entry.queue.is_empty() && !tasks.is_empty() {
                    self.turns.push_back(job);
                }
                self.queued += tasks.len();
                let retries = entry.opening.retries;
                let task = |(id, payload)| Task { job, id, payload, unlucky: 0, retries };
                entry.queue.extend(tasks.into_iter().map(task));
            }
            _ => inbox.deliver(tasks.into_iter().map(|(id, _)| (id, Err(TaskError::Cancelled)))),
        }
    }

    /// Notes that a task has ended; its owner is told by [`Jobs::tell`].
    fn ended(&mut self, job: u64, id: u64, result: Result<Payload, TaskError>) {
        if let Some(entry) = self.entries.get_mut(&job) {
            if entry.ended.is_empty() {
                self.to_tell.push(job);
            }
            entry.ended.push((id, result));
        }
    }

    /// Tells the owners what has ended.
    pub(super) fn tell(&mut self) {
        for job in self.to_tell.drain(..) {
            if let Some(entry) = self.entries.get_mut(&job) {
                entry.opening.inbox.deliver(entry.ended.drain(..));
            }
        }
    }

    /// The job whose turn it is. Jobs whose owner lets results pile up are passed over.
    pub(super) fn turn(&mut self) -> Option<u64> {
        self.turn_of(|_| true)
    }

    /// The job whose turn it is on another machine: those whose next task cannot go there are passed over, too.
    pub(super) fn turn_elsewhere(&mut self) -> Option<u64> {
        self.turn_of(Entry::is_portable)
    }

    /// The next task of a job, if it can go to another machine, now in hand.
    pub(super) fn take_elsewhere(&mut self, job: u64) -> Option<Task> {
        self.entries.get(&job).filter(|entry| entry.is_portable())?;
        self.take(job)
    }

    fn turn_of(&mut self, fits: impl Fn(&Entry) -> bool) -> Option<u64> {
        for _ in 0..self.turns.len() {
            let job = self.turns.pop_front()?;
            let Some(entry) = self.entries.get(&job) else { continue };
            self.turns.push_back(job);
            if fits(entry) && !entry.opening.inbox.full() {
                return Some(job);
            }
        }
        None
    }

    /// The next task of a job, now in hand.
    pub(super) fn take(&mut self, job: u64) -> Option<Task> {
        let entry = self.entries.get_mut(&job)?;
        let task = entry.queue.pop_front()?;
        entry.in_hand += 1;
        self.queued -= 1;
        if entry.queue.is_empty() {
            self.turns.retain(|turn| *turn != job);
        }
        Some(task)
    }

    /// Notes how long a job's tasks took lately. Faith in small ones grows step by step; in large ones it is not lost by a hiccup.
    pub(super) fn note_pace(&mut self, job: u64, measured: Duration) {
        if let Some(entry) = self.entries.get_mut(&job) {
            let (pace, measured) = (entry.pace, measured.min(4 * IN_HAND));
            entry.pace = match measured < pace {
                true => measured.max(pace / 2),
                false => pace + (measured - pace) / 4,
            };
        }
    }

    /// A task in hand comes back, for another worker.
    pub(super) fn give_back(&mut self, task: Task) {
        let Some(entry) = self.entries.get_mut(&task.job) else { return };
        entry.in_hand -= 1;
        if entry.cancelled {
            return self.ended(task.job, task.id, Err(TaskError::Cancelled));
        }
        if entry.queue.is_empty() {
            self.turns.push_front(task.job);
        }
        entry.queue.push_front(task);
        self.queued += 1;
    }

    /// A task in hand has ended.
    pub(super) fn end(&mut self, job: u64, id: u64, result: Result<Payload, TaskError>) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.in_hand -= 1;
            self.ended(job, id, result);
        }
    }

    /// A task in hand was answered.
    pub(super) fn answer(&mut self, in_hand: InHand, outcome: Outcome, payload: Payload) {
        let InHand { task, abandoned, .. } = in_hand;
        if abandoned {
            return self.forget(task.job);
        }
        let text = |payload: Payload| String::from_utf8_lossy(&payload).into_owned();
        let result = match outcome {
            Outcome::Value => Ok(payload),
            Outcome::Error => Err(TaskError::Error(text(payload))),
            Outcome::Decode => Err(TaskError::Decode(text(payload))),
            Outcome::Cancelled => Err(TaskError::Cancelled),
            Outcome::Panic => Err(match postcard::from_bytes(&payload) {
                Ok(Panic { message, backtrace }) => TaskError::Panic { message, backtrace },
                Err(error) => TaskError::Decode(format!("the report of a panic: {error}")),
            }),
        };
        self.end(task.job, task.id, result);
    }

    /// A task in hand, whose owner was told its end before, is out of hand.
    pub(super) fn forget(&mut self, job: u64) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.in_hand -= 1;
        }
    }

    /// Tells a task's owner that it was cancelled, while it is in hand.
    pub(super) fn abandon(&mut self, job: u64, id: u64) {
        self.ended(job, id, Err(TaskError::Cancelled));
    }

    /// Ends the queued tasks of a job.
    pub(super) fn cancel(&mut self, job: u64) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.cancelled = true;
        self.queued -= entry.queue.len();
        for task in std::mem::take(&mut entry.queue) {
            self.ended(job, task.id, Err(TaskError::Cancelled));
        }
        self.turns.retain(|turn| *turn != job);
    }

    /// The job's owner is gone.
    pub(super) fn close(&mut self, job: u64) {
        if let Some(entry) = self.entries.get_mut(&job) {
            entry.closed = true;
        }
    }

    /// Removes the jobs that have neither an owner nor a task in hand; their numbers.
    pub(super) fn remove_closed(&mut self) -> Vec<u64> {
        let gone =
            |entry: &Entry| entry.closed && entry.in_hand == 0 && entry.queue.is_empty() && entry.ended.is_empty();
        if !self.entries.values().any(gone) {
            return Vec::new();
        }
        let gone: Vec<(u64, Entry)> = self.entries.extract_if(|_, entry| gone(entry)).collect();
        let note = |(job, entry): (u64, Entry)| {
            self.paces.insert(entry.opening.function, entry.pace);
            job
        };
        gone.into_iter().map(note).collect()
    }

    /// Ends the queued tasks that can only run on this machine.
    pub(super) fn fail_bound(&mut self, error: &TaskError) {
        let mut ended = Vec::new();
        for (job, entry) in &mut self.entries {
            let portable = entry.opening.setup.is_portable();
            let bound = |task: &Task| !portable || !task.payload.is_portable();
            if entry.queue.iter().any(bound) {
                let (here, rest) = std::mem::take(&mut entry.queue).into_iter().partition::<VecDeque<_>, _>(bound);
                entry.queue = rest;
                self.queued -= here.len();
                ended.extend(here.into_iter().map(|task| (*job, task.id)));
            }
        }
        for (job, id) in ended {
            self.ended(job, id, Err(error.clone()));
        }
        self.turns.retain(|job| self.entries.get(job).is_some_and(|entry| !entry.queue.is_empty()));
    }

    /// Ends all queued tasks.
    pub(super) fn fail_queued(&mut self, error: &TaskError) {
        for job in std::mem::take(&mut self.turns) {
            let Some(entry) = self.entries.get_mut(&job) else { continue };
            for task in std::mem::take(&mut entry.queue) {
                self.ended(job, task.id, Err(error.clone()));
            }
        }
        self.queued = 0;
    }
}
