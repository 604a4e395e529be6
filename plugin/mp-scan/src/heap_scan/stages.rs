//! Analyses of the heap, one after another.

use super::{Copy, Debugger};
use crate::engine::Workforce;
use crate::task_executor::TaskExecutor;
use crate::watch::Watch;
use analysis::heap::{Index, Segments, Setup, Table, View};
use analysis::{Analysis, Cut, Driver, Executor, InProcess, Outcome, Sink, Skip, Stats, Stop};
use anyhow::{Context as _, Result};
use multiprocessing::SharedMemory;
use multiprocessing::codec::{self, Descriptor};
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

/// An index, and the memory that it is in.
#[derive(Clone, Debug)]
pub struct Indexed {
    pub index: Index,
    words: Arc<SharedMemory>,
}

impl Indexed {
    /// One without a chunk, yet.
    ///
    /// # Errors
    /// If there is no memory left.
    pub fn new(segments: Segments) -> Result<Self> {
        let segments = Arc::new(segments);
        let words = shared(Index::words(&segments))?;
        Ok(Self { index: Index::new(segments, Arc::clone(&words) as Table), words })
    }
}

/// So many words, all zero, that workers share.
///
/// # Errors
/// If there is no memory left.
fn shared(words: u64) -> Result<Arc<SharedMemory>> {
    let size = words.checked_mul(8).and_then(|size| usize::try_from(size).ok()).context("more memory than there is")?;
    // Nothing cannot be mapped.
    let memory = SharedMemory::new(size.max(8)).context("no memory that workers can share")?;
    Ok(Arc::new(memory))
}

/// One for each number, of so many words.
///
/// # Errors
/// If there is no memory left.
pub fn tables(words: &[u64]) -> Result<Vec<Arc<SharedMemory>>> {
    words.iter().map(|words| shared(*words)).collect()
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
}

impl Stages {
    /// Over memory that is read so, by these workers if there are any; nobody has told them to stop, and they have all the time.
    pub fn new(reading: Reading, force: Option<Workforce>, watch: Watch) -> Self {
        let (control, stats, skipped) = (Arc::default(), Stats::default(), Vec::new());
        Self { reading, force, control, watch, until: None, debugger: None, stats, skipped }
    }

    /// Runs an analysis of the heap to its end. `tables` are what it shares among its tasks.
    ///
    /// # Errors
    /// [`Failure::Stopped`] if it was told to end early, and if it cannot begin.
    pub fn run<A>(
        &mut self,
        analysis: &A,
        indexed: &Indexed,
        tables: &[Arc<SharedMemory>],
    ) -> Result<Outcome<A::Merge>, Failure>
    where
        A: Analysis<Input = View> + Clone,
    {
        let view = self.view(indexed, tables);
        let mut executor = self.executor(analysis, &view, indexed, tables)?;
        let outcome = self.drive(analysis, &mut *executor, &view, Cut::default(), &mut Vec::new())?;
        self.skipped.extend(outcome.skipped.iter().cloned());
        Ok(outcome)
    }

    /// Runs any analysis to its end, and adds what it finds to `found`. What could not be read is in the outcome alone.
    ///
    /// # Errors
    /// [`Failure::Stopped`] if it was told to end early.
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
        self.control.done.store(before.0 + bytes, Ordering::Relaxed);
        self.count(&outcome.stats);
        match outcome.stopped {
            Some(stop) => Err(Failure::Stopped(stop)),
            None => Ok(outcome),
        }
    }

    /// What the analyses look at, from this process.
    pub fn view(&self, indexed: &Indexed, tables: &[Arc<SharedMemory>]) -> View {
        let tables = tables.iter().map(|table| Arc::clone(table) as Table).collect();
        View { memory: Arc::clone(&self.reading.memory), index: indexed.index.clone(), tables }
    }

    /// What tells whether all that is under way is to end; for what is worked out on this thread.
    pub fn stop_signal(&self) -> StopSignal {
        StopSignal { control: Arc::clone(&self.control), until: self.until }
    }

    fn executor<A>(
        &self,
        analysis: &A,
        view: &View,
        indexed: &Indexed,
        tables: &[Arc<SharedMemory>],
    ) -> Result<Box<dyn Executor<A>>>
    where
        A: Analysis<Input = View> + Clone,
    {
        let Some(force) = &self.force else {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            return Ok(Box::new(InProcess::new(Arc::new(analysis.clone()), Arc::new(view.clone()), threads)));
        };
        let copies = self.copies()?;
        let segments = Arc::clone(indexed.index.segments());
        let source = self.reading.source.clone().context("workers cannot read the target")?;
        let setup = Setup { analysis: analysis.clone(), source, segments };
        let setup = codec::encode(&(setup, &indexed.words, tables, copies)).context("the plan cannot be sent")?;
        let job = force.pool.job(A::NAME, setup)?;
        Ok(Box::new(TaskExecutor::new(job, force.here, |task| task, Some)))
    }

    /// Of the descriptors that the source is read through.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn copies(&self) -> Result<Vec<Descriptor>> {
        let copies = self.reading.descriptors.iter().map(OwnedFd::try_clone).collect::<Result<Vec<_>, _>>();
        Ok(copies.context("out of file descriptors")?.into_iter().map(Descriptor::from).collect())
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
