//! The jobs that the dispatcher knows, and whose turn it is.

use super::inbox::Inbox;
use super::worker::InHand;
use crate::error::TaskError;
use crate::payload::{Outgoing, Payload};
use crate::wire::{Outcome, Panic};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A task that has not ended.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) job: u64,
    /// The caller's name for it.
    pub(super) id: u64,
    pub(super) payload: Outgoing,
    /// How many workers died with it in hand before they had begun it.
    pub(super) unlucky: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) inbox: Arc<Inbox>,
    pub(super) function: String,
    pub(super) setup: Outgoing,
    queue: VecDeque<Task>,
    /// How many of its tasks workers have in hand.
    in_hand: usize,
    pub(super) cancelled: bool,
    /// Whether its owner is gone.
    closed: bool,
}

impl Entry {
    fn deliver(&self, id: u64, result: Result<Payload, TaskError>) {
        self.inbox.deliver(id, result);
    }
}

/// All jobs. Jobs with queued tasks take turns.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    entries: HashMap<u64, Entry>,
    /// The jobs with queued tasks, the next one first.
    turns: VecDeque<u64>,
    queued: usize,
}

impl Jobs {
    pub(super) fn open(&mut self, inbox: Arc<Inbox>, function: String, setup: Outgoing) {
        let entry =
            Entry { inbox, function, setup, queue: VecDeque::new(), in_hand: 0, cancelled: false, closed: false };
        self.entries.insert(entry.inbox.job(), entry);
    }

    /// How many tasks wait for a worker.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    pub(super) fn entry(&self, job: u64) -> Option<&Entry> {
        self.entries.get(&job)
    }

    /// Takes a new task.
    pub(super) fn submit(&mut self, inbox: &Inbox, id: u64, payload: Outgoing) {
        let job = inbox.job();
        match self.entries.get_mut(&job) {
            Some(entry) if !entry.cancelled => {
                entry.queue.push_back(Task { job, id, payload, unlucky: 0 });
                self.queued += 1;
                if entry.queue.len() == 1 {
                    self.turns.push_back(job);
                }
            }
            _ => inbox.deliver(id, Err(TaskError::Cancelled)),
        }
    }

    /// The next task in turn, now in hand. Jobs whose owner lets results pile up are passed over.
    pub(super) fn next(&mut self) -> Option<Task> {
        for _ in 0..self.turns.len() {
            let job = self.turns.pop_front()?;
            let Some(entry) = self.entries.get_mut(&job) else { continue };
            if entry.inbox.full() {
                self.turns.push_back(job);
                continue;
            }
            let Some(task) = entry.queue.pop_front() else { continue };
            entry.in_hand += 1;
            self.queued -= 1;
            if !entry.queue.is_empty() {
                self.turns.push_back(job);
            }
            return Some(task);
        }
        None
    }

    /// A task in hand comes back, for another worker.
    pub(super) fn give_back(&mut self, task: Task) {
        let Some(entry) = self.entries.get_mut(&task.job) else { return };
        entry.in_hand -= 1;
        if entry.cancelled {
            return entry.deliver(task.id, Err(TaskError::Cancelled));
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
            entry.deliver(id, result);
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
    pub(super) fn abandon(&self, job: u64, id: u64) {
        if let Some(entry) = self.entries.get(&job) {
            entry.deliver(id, Err(TaskError::Cancelled));
        }
    }

    /// Ends the queued tasks of a job.
    pub(super) fn cancel(&mut self, job: u64) {
        let Some(entry) = self.entries.get_mut(&job) else { return };
        entry.cancelled = true;
        self.queued -= entry.queue.len();
        for task in std::mem::take(&mut entry.queue) {
            entry.deliver(task.id, Err(TaskError::Cancelled));
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
        let gone = |entry: &Entry| entry.closed && entry.in_hand == 0;
        if !self.entries.values().any(gone) {
            return Vec::new();
        }
        self.entries.extract_if(|_, entry| gone(entry)).map(|(job, _)| job).collect()
    }

    /// Ends all queued tasks.
    pub(super) fn fail_queued(&mut self, error: &TaskError) {
        for job in std::mem::take(&mut self.turns) {
            let Some(entry) = self.entries.get_mut(&job) else { continue };
            for task in std::mem::take(&mut entry.queue) {
                entry.deliver(task.id, Err(error.clone()));
            }
        }
        self.queued = 0;
    }
}
