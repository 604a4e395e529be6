//! The loop that takes an analysis from its plan to its results.

mod queue;
#[cfg(test)]
mod tests;

use crate::executor::{Executor, Next};
use crate::plan::Analysis;
use crate::report::{Skip, Stats, Stop};
use queue::{Front, Queue};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use target::ReadMemory;

pub use queue::Cut;

/// How long the driver waits for a task before it asks its sink again whether to stop.
const PATIENCE: Duration = Duration::from_millis(10);

/// As many skipped ranges are told apart; a target with more holes gets them in one.
const MOST_SKIPPED: usize = 1 << 16;

/// Where what is found streams to, in address order.
pub trait Sink<T> {
    /// Takes what is certain now; never empty.
    fn found(&mut self, items: Vec<T>);

    /// Is told how far the scan is: bytes done, of bytes in all.
    fn progress(&mut self, done: u64, total: u64) {
        let _ = (done, total);
    }

    /// Whether the scan is to end before its end, and why. It is asked at least every 20 ms, and as often as every
    /// task, so it answers at once.
    fn stop(&mut self) -> Option<Stop> {
        None
    }
}

impl<T> Sink<T> for Vec<T> {
    fn found(&mut self, mut items: Vec<T>) {
        self.append(&mut items);
    }
}

/// What a run ends with.
#[derive(Clone, Debug)]
pub struct Outcome<M> {
    /// What the partials have come to.
    pub merge: M,
    /// `scan_seconds`, `bytes_scanned`, `bytes_skipped`, `tasks` and `retried` are filled in.
    pub stats: Stats,
    /// What could not be read, in address order; ranges that meet and have the same reason are one.
    pub skipped: Vec<Skip>,
    /// Why it ended early, if it did.
    pub stopped: Option<Stop>,
}

/// Runs `analysis` on `executor`. What it finds goes to `sink` in address order, as soon as it is certain. `memory` is
/// read by this thread for the little that has to be looked at again where tasks meet.
///
/// At most a bounded number of tasks is under way or waits to be merged, so memory is bounded. When it ends, by itself
/// or because it was told to, no task is under way.
pub fn run<A: Analysis>(
    analysis: &A,
    executor: &mut dyn Executor<A>,
    memory: &dyn ReadMemory,
    cut: Cut,
    sink: &mut dyn Sink<A::Item>,
) -> Outcome<A::Merge> {
    let started = Instant::now();
    let total = analysis.ranges().iter().map(|range| range.range.len()).sum();
    let mut queue = Queue::new(analysis.ranges(), cut, executor.width());
    let mut outcome = Outcome { merge: analysis.merge(), stats: Stats::default(), skipped: Vec::new(), stopped: None };
    outcome.stopped = loop {
        if let Some(stop) = sink.stop() {
            break Some(stop);
        }
        while let Some(task) = queue.next() {
            executor.submit(task);
        }
        if queue.is_finished() {
            break None;
        }
        match executor.next(PATIENCE) {
            Next::Ended(task, result) => queue.ended(&task, result, A::weight),
            Next::Nothing => {}
            Next::Idle => queue.all_lost(A::weight),
        }
        if let ControlFlow::Break(stop) = absorb(analysis, &mut queue, &mut outcome, memory, sink) {
            break Some(stop);
        }
        sink.progress(outcome.stats.bytes_scanned + outcome.stats.bytes_skipped, total);
    };
    executor.cancel();
    outcome.stats.retried = queue.retried;
    outcome.stats.scan_seconds = started.elapsed().as_secs_f64();
    outcome
}

/// Merges what has ended, as far as there is no gap.
fn absorb<A: Analysis>(
    analysis: &A,
    queue: &mut Queue<'_, A::Partial>,
    outcome: &mut Outcome<A::Merge>,
    memory: &dyn ReadMemory,
    sink: &mut dyn Sink<A::Item>,
) -> ControlFlow<Stop> {
    while let Some(front) = queue.front() {
        let (task, scanned) = match front {
            Front::Scanned(task, scanned) => (task, scanned),
            Front::GivenUp(skip) => {
                outcome.skip(skip);
                continue;
            }
        };
        outcome.stats.tasks += 1;
        outcome.stats.bytes_scanned += scanned.bytes;
        for skip in scanned.skipped {
            outcome.skip(skip);
        }
        analysis.absorb(&mut outcome.merge, &task, scanned.partial, memory, sink)?;
        if scanned.gone {
            return ControlFlow::Break(Stop::TargetGone);
        }
    }
    ControlFlow::Continue(())
}

impl<M> Outcome<M> {
    fn skip(&mut self, skip: Skip) {
        self.stats.bytes_skipped += skip.range.len();
        push_skip(&mut self.skipped, skip);
    }
}

/// Adds to a list of skipped ranges in address order; joins it with the last where they meet.
pub(crate) fn push_skip(skipped: &mut Vec<Skip>, skip: Skip) {
    let full = skipped.len() >= MOST_SKIPPED;
    match skipped.last_mut() {
        Some(last) if last.range.end == skip.range.start && last.reason == skip.reason => {
            last.range.end = skip.range.end;
        }
        Some(last) if full => {
            last.range.end = skip.range.end;
            last.reason = "many unreadable parts".to_owned();
        }
        _ => skipped.push(skip),
    }
}
