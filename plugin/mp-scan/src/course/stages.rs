//! Analyses, one after another.

use super::{Copy, Debugger};
use crate::engine::Workforce;
use crate::watch::Watch;
use analysis::{Analysis, Cut, Driver, Executor, Outcome, Sink, Skip, Stats, Stop};
use anyhow::{Context as _, Result};
use multiprocessing::codec::Descriptor;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use target::{ReadMemory, Source};

/// How long a step waits for a task to end.
const PATIENCE: Duration = Duration::from_millis(10);

/// What the thread of the stages and the job that waits for it say to each other.
#[derive(Debug, Default)]
pub struct Control {
    stop: Mutex<Option<Stop>>,
    stopped: AtomicBool,
    /// Bytes done and bytes to be done, as far as is known.
    done: AtomicU64,
    total: AtomicU64,
}

impl Control {
    /// Ends the stage that is under way, and all after it.
    pub fn stop(&self, why: Stop) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.stopped.store(true, Ordering::Release);
    }

    pub fn stopping(&self) -> Option<Stop> {
        let stopped = self.stopped.load(Ordering::Acquire);
        stopped.then(|| *self.stop.lock().unwrap_or_else(PoisonError::into_inner)).flatten()
    }

    /// So many bytes will be looked at beyond those that have been.
    pub fn expect(&self, bytes: u64) {
        self.total.store(self.done.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// So many more bytes will be looked at than was expected.
    pub fn expect_more(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many more bytes have been looked at.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

/// Why a stage has no outcome.
#[derive(Debug)]
pub enum Failure {
    /// It was told to end early.
    Stopped(Stop),
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// How the target's memory is read.
pub struct Reading {
    /// From this process.
    pub memory: Arc<dyn ReadMemory>,
    /// By workers, through copies of the descriptors; `None` if only this process can.
    pub source: Option<Source>,
    pub descriptors: Vec<OwnedFd>,
    /// The copy that it is read from, all of it or in part: it is given back when nobody has it any more.
    pub copy: Option<Arc<Copy>>,
}

/// What runs the stages: the pool, or this process.
pub struct Stages {
    pub reading: Reading,
    pub force: Option<Workforce>,
    pub control: Arc<Control>,
    pub watch: Watch,
    pub until: Option<Instant>,
    /// Whom a course may ask.
    pub debugger: Option<Debugger>,
    /// Those of all stages.
    pub stats: Stats,
    pub skipped: Vec<Skip>,
    /// What the user should know beside the answer's own notes, a line each.
    pub notes: Vec<String>,
}

impl Stages {
    /// Over memory that is read so, by these workers if there are any; nobody has told them to stop, and they have all the time.
    pub fn new(reading: Reading, force: Option<Workforce>, watch: Watch) -> Self {
        let (control, stats, skipped, notes) = (Arc::default(), Stats::default(), Vec::new(), Vec::new());
        Self { reading, force, control, watch, until: None, debugger: None, stats, skipped, notes }
    }

    /// Runs an analysis to its end, and adds what it finds to `found`. What could not be read is in the outcome alone.
    ///
    /// # Errors
    /// [`Failure::Stopped`] if it was told to end early. One that has found all that it wants, or too much, has an outcome.
    pub fn drive<A: Analysis>(
        &mut self,
        analysis: &A,
        executor: &mut dyn Executor<A>,
        input: &A::Input,
        cut: Cut,
        found: &mut Vec<A::Item>,
    ) -> Result<Outcome<A::Merge>, Failure> {
        let mut driver = Driver::new(analysis, cut, executor.width());
        let before = self.control.progress();
        let mut sink = Guard { signal: self.stop_signal(), watch: &mut self.watch, found };
        while !driver.step(analysis, executor, input, PATIENCE, &mut sink) {
            let (done, total) = driver.progress();
            self.control.done.store(before.0 + done, Ordering::Relaxed);
            self.control.total.store(before.1.max(before.0 + total), Ordering::Relaxed);
        }
        let outcome = driver.finish();
        let bytes = outcome.stats.bytes_scanned + outcome.stats.bytes_skipped;
        self.control.total.fetch_max(before.0 + bytes, Ordering::Relaxed);
        self.control.done.store(before.0 + bytes, Ordering::Relaxed);
        self.count(&outcome.stats);
        match outcome.stopped {
            Some(Stop::Limit) | None => Ok(outcome),
            Some(stop) => Err(Failure::Stopped(stop)),
        }
    }

    /// Runs what is not asked for itself, so that it counts neither as looked at nor as left out.
    pub fn aside<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let (stats, skipped) = (self.stats.clone(), self.skipped.len());
        let result = run(self);
        (self.stats.bytes_scanned, self.stats.bytes_skipped) = (stats.bytes_scanned, stats.bytes_skipped);
        self.stats.bytes_planned = stats.bytes_planned;
        self.skipped.truncate(skipped);
        result
    }

    /// What tells whether all that is under way is to end; for what is worked out on this thread.
    pub fn stop_signal(&self) -> StopSignal {
        StopSignal { control: Arc::clone(&self.control), until: self.until }
    }

    /// Of the descriptors that the source is read through.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn copies(&self) -> Result<Vec<Descriptor>> {
        let copies = self.reading.descriptors.iter().map(OwnedFd::try_clone).collect::<Result<Vec<_>, _>>();
        Ok(copies.context("out of file descriptors")?.into_iter().map(Descriptor::from).collect())
    }

    /// Adds what a table or a graph takes, in bytes.
    pub fn takes(&mut self, bytes: u64) {
        self.stats.memory += bytes;
    }

    fn count(&mut self, stats: &Stats) {
        self.stats.bytes_scanned += stats.bytes_scanned;
        self.stats.bytes_skipped += stats.bytes_skipped;
        self.stats.bytes_planned += stats.bytes_planned;
        self.stats.scan_seconds += stats.scan_seconds;
        self.stats.tasks += stats.tasks;
        self.stats.retried += stats.retried;
    }
}

/// Whether what is under way is to end.
#[derive(Clone, Debug)]
pub struct StopSignal {
    control: Arc<Control>,
    until: Option<Instant>,
}

impl StopSignal {
    fn why(&self) -> Option<Stop> {
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        self.control.stopping().or(late.then_some(Stop::Timeout))
    }

    pub fn requested(&self) -> bool {
        self.why().is_some()
    }

    /// Of what has no outcome since it was told to end.
    pub fn failure(&self) -> Failure {
        Failure::Stopped(self.why().unwrap_or(Stop::Cancelled))
    }
}

/// Takes what a stage finds, and ends it when somebody wants it.
struct Guard<'a, T> {
    signal: StopSignal,
    watch: &'a mut Watch,
    found: &'a mut Vec<T>,
}

impl<T> Sink<T> for Guard<'_, T> {
    fn found(&mut self, mut items: Vec<T>) {
        self.found.append(&mut items);
    }

    fn stop(&mut self) -> Option<Stop> {
        self.signal.why().or_else(|| self.watch.gone().then_some(Stop::TargetGone))
    }
}
