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

/// Runs `analysis` on `executor` to its end. What it finds goes to `sink` in address order, as soon as it is certain.
/// `input` is read by this thread for the little that has to be looked at again where tasks meet.
pub fn run<A: Analysis>(
    analysis: &A,
    executor: &mut dyn Executor<A>,
    input: &A::Input,
    cut: Cut,
    sink: &mut dyn Sink<A::Item>,
) -> Outcome<A::Merge> {
    let mut driver = Driver::new(analysis, cut, executor.width());
    while !driver.step(analysis, executor, input, PATIENCE, sink) {}
    driver.finish()
}

/// A run that is taken on step by step, so that what drives it can change between two steps: another thread, say.
///
/// At most a bounded number of tasks is under way or waits to be merged, so memory is bounded. When it is done, by itself
/// or because it was told to stop, no task is under way.
pub struct Driver<A: Analysis> {
    queue: Queue<A::Partial>,
    outcome: Outcome<A::Merge>,
    started: Instant,
    total: u64,
    done: bool,
}

impl<A: Analysis> Driver<A> {
    /// A run that has not begun, for an executor of that [width](Executor::width).
    pub fn new(analysis: &A, cut: Cut, width: usize) -> Self {
        Self {
            queue: Queue::new(analysis.ranges(), cut, width),
            outcome: Outcome { merge: analysis.merge(), stats: Stats::default(), skipped: Vec::new(), stopped: None },
            started: Instant::now(),
            total: analysis.ranges().iter().map(|range| range.range.len()).sum(),
            done: false,
        }
    }

    /// Hands out tasks, waits at most `patience` for one to end, and merges what has ended. Returns whether all is done;
    /// then nothing is left to do but [`finish`](Self::finish). All steps of a run are given the same things.
    pub fn step(
        &mut self,
        analysis: &A,
        executor: &mut dyn Executor<A>,
        input: &A::Input,
        patience: Duration,
        sink: &mut dyn Sink<A::Item>,
    ) -> bool {
        if self.done {
            return true;
        }
        if let Some(stop) = sink.stop() {
            return self.end(executor, Some(stop));
        }
        while let Some(task) = self.queue.next() {
            executor.submit(task);
        }
        if self.queue.is_finished() {
            return self.end(executor, None);
        }
        match executor.next(patience) {
            Next::Ended(task, result) => self.queue.ended(&task, result, A::weight),
            Next::Nothing => {}
            Next::Idle => self.queue.all_lost(A::weight),
        }
        if let ControlFlow::Break(stop) = self.absorb(analysis, input, sink) {
            return self.end(executor, Some(stop));
        }
        let (done, total) = self.progress();
        sink.progress(done, total);
        if self.queue.is_finished() { self.end(executor, None) } else { false }
    }

    /// Bytes done, of bytes in all.
    pub fn progress(&self) -> (u64, u64) {
        (self.outcome.stats.bytes_scanned + self.outcome.stats.bytes_skipped, self.total)
    }

    /// What it has come to.
    pub fn finish(self) -> Outcome<A::Merge> {
        self.outcome
    }

    fn end(&mut self, executor: &mut dyn Executor<A>, stopped: Option<Stop>) -> bool {
        executor.cancel();
        self.outcome.stopped = stopped;
        self.outcome.stats.bytes_planned = self.total;
        self.outcome.stats.retried = self.queue.retried;
        self.outcome.stats.scan_seconds = self.started.elapsed().as_secs_f64();
        self.done = true;
        true
    }

    /// Merges what has ended, as far as there is no gap.
    fn absorb(&mut self, analysis: &A, input: &A::Input, sink: &mut dyn Sink<A::Item>) -> ControlFlow<Stop> {
        while let Some(front) = self.queue.front() {
            let (task, scanned) = match front {
                Front::Scanned(task, scanned) => (task, scanned),
                Front::GivenUp(skip) => {
                    self.outcome.skip(skip);
                    continue;
                }
            };
            self.outcome.stats.tasks += 1;
            self.outcome.stats.bytes_scanned += scanned.bytes;
            for skip in scanned.skipped {
                self.outcome.skip(skip);
            }
            analysis.absorb(&mut self.outcome.merge, &task, scanned.partial, input, sink)?;
            if scanned.gone {
                return ControlFlow::Break(Stop::TargetGone);
            }
        }
        ControlFlow::Continue(())
    }
}

impl<A: Analysis> std::fmt::Debug for Driver<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("progress", &self.progress()).field("done", &self.done).finish_non_exhaustive()
    }
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
