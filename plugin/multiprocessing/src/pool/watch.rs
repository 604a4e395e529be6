//! How the dispatcher watches its workers: for how long it waits for each, and for what it waits no longer.

use super::PoolConfig;
use super::dispatcher::Dispatcher;
use super::lifecycle::Verdict;
use super::patience::Grace;
use super::tasks::Jobs;
use super::worker::Worker;
use crate::error::TaskError;
use crate::process::activity::Activity;
use std::time::{Duration, Instant};

/// How long a worker may live on after it has closed its connection. One that is about to die takes less than a millisecond.
const HANG_UP_GRACE: Duration = Duration::from_millis(20);
/// How often the memory of busy workers is looked at, where it is limited.
const MEMORY_PERIOD: Duration = Duration::from_millis(100);
/// How often killed workers are looked at, until they are gone.
const REAP_PERIOD: Duration = Duration::from_millis(2);

/// When a worker's time is over whatever it does, and for what.
fn limit(worker: &Worker, config: &PoolConfig) -> Option<(Instant, TaskError)> {
    let hung_up =
        worker.hung_up.map(|since| (since, HANG_UP_GRACE, TaskError::Connection("it closed its connection".into())));
    let start =
        (!worker.ready).then_some((worker.started, config.start_timeout, TaskError::Timeout(config.start_timeout)));
    let task = worker
        .pipeline
        .front()
        .zip(config.task_timeout)
        .map(|(first, timeout)| (first.since, timeout, TaskError::Timeout(timeout)));
    // A time beyond all reckoning is no limit.
    let ends = [hung_up, start, task].into_iter().flatten();
    ends.filter_map(|(since, time, error)| Some((since.checked_add(time)?, error))).min_by_key(|(end, _)| *end)
}

/// Whether the worker has been stopped in the middle of its task, and does not go on.
fn stopped(worker: &mut Worker, now: Instant) -> Option<Verdict> {
    let first = worker.pipeline.front_mut().filter(|first| first.stop.due(first.since) <= now)?;
    let stopped = worker.process.activity().is_ok_and(|activity| activity == Activity::Stopped);
    first.stop.for_good(now, stopped).then_some(Verdict::Killed(TaskError::Stopped))
}

/// Whether the worker has had its time to hear that its task is cancelled. The task's owner may be told before that: then the
/// worker is put aside until it answers.
fn deaf(worker: &mut Worker, jobs: &mut Jobs, now: Instant) -> Option<Verdict> {
    let process = &worker.process;
    let first = worker.pipeline.front_mut()?;
    if !jobs.entry(first.task.job)?.cancelled {
        return None;
    }
    let grace = first.grace.get_or_insert_with(|| Grace::new(now, process.usage()));
    if grace.passed(now) && !first.abandoned {
        first.abandoned = true;
        jobs.abandon(first.task.job, first.task.id);
    }
    if now < grace.due() {
        return None;
    }
    let activity = process.activity().unwrap_or(Activity::Other);
    grace.used_up(now, activity, process.usage()).then_some(Verdict::Deaf)
}

impl Dispatcher {
    /// When the dispatcher must look again, whatever happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limits = self.seats.workers().filter_map(|worker| limit(worker, &self.config)).map(|(end, _)| end);
        let first = self.seats.workers().filter_map(|worker| worker.pipeline.front());
        let looks = first.flat_map(|first| {
            [Some(first.stop.due(first.since)), first.grace.as_ref().map(Grace::due)].into_iter().flatten()
        });
        let measured = self.seats.workers().any(Worker::to_be_measured).then(|| self.memory_checked + MEMORY_PERIOD);
        let reap = (!self.dying.is_empty()).then(|| Instant::now() + REAP_PERIOD);
        limits
            .chain(looks)
            .chain(measured)
            .chain(reap)
            .chain(self.next_attempt())
            .chain(self.next_spread())
            .chain(self.remote.next_attempt(self.jobs.queued() > 0))
            .min()
    }

    /// Ends the workers that are waited for no longer.
    pub(super) fn watch(&mut self) {
        let now = Instant::now();
        let measure = now >= self.memory_checked + MEMORY_PERIOD;
        if measure {
            self.memory_checked = now;
        }
        let mut over = Vec::new();
        for worker in self.seats.workers_mut() {
            let verdict = match limit(worker, &self.config) {
                Some((end, error)) if end <= now => Some(Verdict::Killed(error)),
                _ if measure && worker.exceeds_its_memory() => Some(Verdict::Killed(TaskError::OutOfMemory)),
                _ => None,
            };
            let verdict = verdict.or_else(|| stopped(worker, now)).or_else(|| deaf(worker, &mut self.jobs, now));
            over.extend(verdict.map(|verdict| (worker.number, worker.progress(), verdict)));
        }
        for (number, progress, verdict) in over {
            // What has come meanwhile may be what was waited for.
            self.receive(number, true);
            let progress_now = self.seats.of(number).and_then(|seat| seat.worker.as_ref()).map(Worker::progress);
            if progress_now == Some(progress) {
                self.retire(number, verdict);
            }
        }
    }
}
