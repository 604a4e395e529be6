//! How the dispatcher starts workers, and what follows when one ends.

use super::dispatcher::{Dispatcher, Starter};
use super::worker::{Step, Worker};
use crate::error::{StartError, TaskError};
use crate::process::ExitStatus;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the end of the pool waits for its killed workers. Only one that hangs in the kernel takes so long.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// A worker that dies so soon, without having begun a task, has failed at its start.
const START_PHASE: Duration = Duration::from_secs(1);
/// So many workers in a row may fail at their start; then no more are started until somebody asks for something new.
const START_FAILURES: u32 = 3;
/// So long after that, another one may try, if there is work.
const START_PERIOD: Duration = Duration::from_secs(1);
/// So many workers may die when a task was the next that they were to begin; then it is blamed all the same.
const UNLUCKY: u32 = 4;

/// So many answers and records are taken from a worker that does not go on: more than its connection and its ring have room for.
const LAST_WORDS: usize = 16 * 1024;

/// Why a worker does not go on.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has died by itself.
    Dead(ExitStatus),
    /// It is killed, for what it did to its task or to the connection.
    Killed(TaskError),
    /// It is killed, for it does not hear that its task was cancelled, which the task's owner knows already.
    Deaf,
    /// It can be no worker of this pool.
    Refused(StartError),
    /// It is to be replaced, or is not needed any more. Nobody is to blame.
    Dismissed,
}

impl Dispatcher {
    /// Starts workers where some are missing.
    pub(super) fn fill(&mut self) {
        for number in self.seats.left() {
            self.retire(number, Verdict::Dismissed);
        }
        for number in self.seats.spent() {
            self.retire(number, Verdict::Dismissed);
        }
        if self.next_attempt().is_some_and(|due| due <= Instant::now()) {
            self.try_once_more();
        }
        while self.failures < START_FAILURES
            && let Some(seat) = self.seats.empty()
        {
            self.workers += 1;
            match Worker::start(&self.config, &self.flags, self.commands.as_fd(), self.workers) {
                Ok(worker) => seat.worker = Some(worker),
                Err(error) => self.start_failed(error),
            }
        }
        self.remote.fill(&self.config, &self.commands, self.jobs.queued() > 0);
        if !self.alive_here() {
            let elsewhere_only = TaskError::Send(
                "it has descriptors, which mean nothing on other machines, and no worker is on this one".into(),
            );
            let error =
                self.failure.clone().filter(|_| self.seats.len() > 0).map_or(elsewhere_only, TaskError::NoWorker);
            self.jobs.fail_bound(&error);
        }
        if !self.alive() {
            // Nobody is left, and nobody will come.
            let failure = self.failure.clone().filter(|_| self.seats.len() > 0);
            let error = failure.or_else(|| self.remote.error()).unwrap_or(StartError::Closed);
            for starter in self.starters.drain(..) {
                let _ = starter.send(Err(error.clone()));
            }
            self.jobs.fail_queued(&TaskError::NoWorker(error));
        }
    }

    /// Whether there is a worker on this machine, or may be one soon.
    fn alive_here(&self) -> bool {
        self.seats.len() > 0 && (self.failures < START_FAILURES || !self.seats.all_empty())
    }

    /// Whether there is a worker anywhere, or may be one soon.
    pub(super) fn alive(&self) -> bool {
        self.alive_here() || self.remote.hopeful()
    }

    fn start_failed(&mut self, error: StartError) {
        // What is wrong with a program itself is wrong with its next process too.
        self.failures = match error {
            StartError::Died { .. } | StartError::Initializer { .. } => self.failures + 1,
            _ => START_FAILURES,
        };
        self.failure = Some(error);
        self.failed = Instant::now();
    }

    /// When another attempt is due, although too many have failed: while others work, in case what failed was for the moment.
    pub(super) fn next_attempt(&self) -> Option<Instant> {
        let wanted = self.failures >= START_FAILURES && self.jobs.queued() > 0;
        (wanted && self.seats.vacant() && (!self.seats.all_empty() || self.remote.hopeful()))
            .then(|| self.failed + START_PERIOD)
    }

    /// One more worker may try.
    pub(super) fn try_once_more(&mut self) {
        self.failures = self.failures.min(START_FAILURES - 1);
    }

    /// Replaces all workers.
    pub(super) fn restart(&mut self, starter: Starter) {
        let numbers: Vec<u64> = self.seats.workers().map(|worker| worker.number).collect();
        numbers.into_iter().for_each(|number| self.retire(number, Verdict::Dismissed));
        self.remote.restart(&mut self.jobs);
        self.failures = 0;
        self.starters.push(starter);
    }

    /// A worker's pidfd says that it has died.
    pub(super) fn bury(&mut self, number: u64) {
        let worker = self.seats.of(number).and_then(|seat| seat.worker.as_ref());
        // A process that somebody traces is dead before its status can be taken; `reap` takes it later.
        let status = worker.map(|worker| worker.process.try_wait().unwrap_or(ExitStatus::Unknown));
        if let Some(status) = status {
            self.retire(number, Verdict::Dead(status));
        }
    }

    pub(super) fn kill(&mut self, number: u64, error: TaskError) {
        self.retire(number, Verdict::Killed(error));
    }

    pub(super) fn refuse(&mut self, number: u64, error: StartError) {
        self.retire(number, Verdict::Refused(error));
    }

    pub(super) fn replace(&mut self, number: u64) {
        self.retire(number, Verdict::Dismissed);
    }

    /// Ends a worker, and decides what becomes of its tasks.
    pub(super) fn retire(&mut self, number: u64, verdict: Verdict) {
        let Some(seat) = self.seats.of(number) else { return };
        let Some(mut worker) = seat.worker.take() else { return };
        // What it had said before counts: its answers, and the records of its log that are on their way. One that lives and goes on
        // talking is not listened to for ever.
        let mut answered = false;
        for _ in 0..LAST_WORDS {
            match worker.step(&self.config, &mut self.buffer, true) {
                Step::Answer(in_hand, outcome, payload) => {
                    answered = true;
                    seat.tasks += 1;
                    self.failures = 0;
                    self.jobs.answer(in_hand, outcome, payload);
                }
                Step::Ready | Step::Logged => {}
                _ => break,
            }
        }
        let begun = worker.report.begun();
        let text = worker.text.take();
        if worker.process.try_wait().is_none() {
            worker.process.kill();
        }
        if !matches!(verdict, Verdict::Dismissed) {
            seat.deaths += 1;
            self.deaths.fetch_add(1, Ordering::Relaxed);
        }
        // Nobody is to blame for the death of a worker that was dismissed; nor is the task that came after one which, as it
        // turns out, ended in time.
        let blame = match &verdict {
            Verdict::Dead(status) => Some(TaskError::death(*status, text.clone())),
            Verdict::Killed(error) if !answered => Some(error.clone()),
            _ => None,
        };
        let idle = worker.pipeline.is_empty();
        // From the last to the first, so that they come back in their order.
        for (place, mut in_hand) in worker.pipeline.drain(..).enumerate().rev() {
            match &blame {
                _ if in_hand.abandoned => self.jobs.forget(in_hand.task.job),
                Some(error) if in_hand.sequence <= begun && in_hand.task.retries > 0 && error.may_be_retried() => {
                    in_hand.task.retries -= 1;
                    self.jobs.give_back(in_hand.task);
                }
                Some(error) if in_hand.sequence <= begun || in_hand.task.unlucky >= UNLUCKY => {
                    self.jobs.end(in_hand.task.job, in_hand.task.id, Err(error.clone()));
                }
                blame => {
                    in_hand.task.unlucky += u32::from(blame.is_some() && place == 0);
                    self.jobs.give_back(in_hand.task);
                }
            }
        }
        let path = || self.config.program.path().to_owned();
        let failure = match verdict {
            Verdict::Refused(error) => Some(error),
            Verdict::Dead(status)
                if !worker.ready || (idle && begun == 0 && worker.started.elapsed() < START_PHASE) =>
            {
                Some(StartError::Died { path: path(), status, stderr: text })
            }
            Verdict::Killed(_) if !worker.ready => {
                Some(StartError::Silent { path: path(), after: worker.started.elapsed() })
            }
            _ => None,
        };
        self.dying.push(worker.process);
        if let Some(failure) = failure {
            self.start_failed(failure);
        }
    }

    /// Takes the status of killed workers that are gone.
    pub(super) fn reap(&mut self) {
        self.dying.retain(|process| !process.is_gone());
    }
}

impl Drop for Dispatcher {
    /// Ends the workers and all tasks, also when the thread panics.
    fn drop(&mut self) {
        let numbers: Vec<u64> = self.seats.workers().map(|worker| worker.number).collect();
        numbers.into_iter().for_each(|number| self.retire(number, Verdict::Dismissed));
        self.remote.end(&mut self.jobs);
        self.jobs.fail_queued(&TaskError::Closed);
        self.jobs.tell();
        self.commands.close();
        let deadline = Instant::now() + END_PATIENCE;
        self.reap();
        while !self.dying.is_empty() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
            let mut entries: Vec<_> =
                self.dying.iter().map(|process| PollFd::new(process.as_fd(), PollFlags::POLLIN)).collect();
            let _ = poll(&mut entries, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
            self.reap();
        }
        self.commands.say_over();
    }
}
