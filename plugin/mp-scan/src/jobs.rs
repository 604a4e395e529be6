//! Jobs: one command's work each. A job is stepped by the command's own thread while it is in the foreground, and by a
//! thread of its own in the background; it can move from the one to the other at any step.

use analysis::{JobRow, Report, Results, Stop};
use anyhow::{Context, Result, bail};
use lldb::Relay;
use render::Style;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Finished jobs that are kept for `jobs show`; older ones are forgotten.
const KEPT: usize = 32;

/// And as many only as have so many results together, but for the last one: a result takes some hundred bytes.
const KEPT_ROWS: usize = 1 << 20;

/// How long a step may wait for something to happen: so often interrupts are looked at.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// How far a scan has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Modules whose files have been found, of all.
    Surveyed(usize, usize),
    /// Bytes done, of all.
    Scanned(u64, u64),
}

impl Default for Progress {
    fn default() -> Self {
        Self::Scanned(0, 0)
    }
}

impl Progress {
    /// The line that stands below the results.
    pub fn line(self, elapsed: Duration, style: &Style) -> String {
        match self {
            Self::Surveyed(done, total) => render::survey_line(done, total, style),
            Self::Scanned(done, total) => render::progress_line(done, total, elapsed.as_secs_f64(), style),
        }
    }

    /// Bytes done, of all; of a scan that does not know yet, none.
    fn bytes(self) -> (u64, u64) {
        match self {
            Self::Surveyed(..) => (0, 0),
            Self::Scanned(done, total) => (done, total),
        }
    }

    /// What is being done.
    pub fn under_way(self) -> &'static str {
        match self {
            Self::Surveyed(..) => "finding files",
            Self::Scanned(..) => "scanning",
        }
    }

    /// In thousandths. A survey is the least part of a scan.
    pub fn thousandths(self) -> u64 {
        let part = |done: u64, total: u64, of: u64| (u128::from(done) * u128::from(of)).checked_div(total.into());
        let part = match self {
            Self::Surveyed(done, total) => part(done as u64, total as u64, 50),
            Self::Scanned(done, total) => part(done, total, 1000),
        };
        part.map_or(0, |part| part as u64)
    }
}

/// A scan under way, as its job sees it.
pub trait Scan: Send {
    /// Works, or waits for workers, for at most about `patience`, and gives what became certain to `found`. Returns whether all is done.
    fn step(&mut self, patience: Duration, found: &mut dyn FnMut(&Results)) -> bool;

    fn progress(&self) -> Progress;

    /// Ends it early; the next step returns true.
    fn stop(&mut self, why: Stop);

    /// The report. Call it when a step has returned true.
    ///
    /// # Errors
    /// If there can be none: why.
    fn finish(self: Box<Self>) -> Result<Report>;
}

/// One command's work, and what came of it.
pub struct Job {
    pub number: u64,
    /// The command line, without `mp-scan`.
    pub command: String,
    /// Set by `jobs cancel`; looked at in every step.
    cancelled: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    started: Instant,
    /// Reads the debuggee's memory for it, if only the debugger can.
    relay: Mutex<Option<Relay>>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    outcome: Option<Result<Arc<Report>, String>>,
    /// When it ended.
    ended: Option<Instant>,
    /// What went wrong with the report afterwards.
    note: Option<String>,
    background: bool,
    /// Whether the user knows that it has ended.
    announced: bool,
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    pub fn is_background(&self) -> bool {
        self.lock().background
    }

    pub fn is_running(&self) -> bool {
        self.lock().outcome.is_none()
    }

    /// Does one step of `scan`. Returns whether it is done.
    pub fn step(&self, scan: &mut dyn Scan, found: &mut dyn FnMut(&Results)) -> bool {
        if self.cancelled.load(Ordering::Relaxed) {
            scan.stop(Stop::Cancelled);
        }
        let done = scan.step(PATIENCE, found);
        self.lock().progress = scan.progress();
        done
    }

    /// Keeps the report, and wakes who waits for it.
    pub fn end(&self, outcome: Result<Report, String>) -> Result<Arc<Report>, String> {
        let mut state = self.lock();
        let outcome = outcome.map(Arc::new);
        state.outcome = Some(outcome.clone());
        state.ended = Some(Instant::now());
        state.announced = !state.background;
        self.changed.notify_all();
        outcome
    }

    /// Waits until the job has ended, at most for `patience`. Returns its outcome, or `None` if it still runs.
    pub fn wait(&self, patience: Duration) -> Option<Result<Arc<Report>, String>> {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        while state.outcome.is_none() {
            let left = until.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.announced = true;
        state.outcome.clone()
    }

    /// Says what went wrong with its report after it ended.
    pub fn set_note(&self, note: String) {
        self.lock().note = Some(note);
    }

    /// What it ended with, without waiting.
    pub fn outcome(&self) -> Option<Result<Arc<Report>, String>> {
        self.lock().outcome.clone()
    }

    pub fn progress(&self) -> Progress {
        self.lock().progress
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// What reads memory for it: whoever waits for the job on a thread that holds LLDB's lock has to serve it.
    pub fn relay(&self) -> Option<Relay> {
        self.lock_relay().clone()
    }

    /// Says what reads memory for it, before it begins.
    pub fn set_relay(&self, relay: Relay) {
        *self.lock_relay() = Some(relay);
    }

    fn lock_relay(&self) -> MutexGuard<'_, Option<Relay>> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job's row in `jobs list`.
    pub fn row(&self) -> JobRow {
        let state = self.lock();
        let (progress, total) = state.progress.bytes();
        let described = match &state.outcome {
            None => "running".to_owned(),
            Some(Ok(report)) => match report.stopped {
                None => "finished".to_owned(),
                Some(Stop::Limit) => "finished at its limit".to_owned(),
                Some(Stop::Timeout) => "stopped at its timeout".to_owned(),
                Some(Stop::Cancelled) => "cancelled".to_owned(),
                Some(Stop::TargetGone) => "cut short by the process".to_owned(),
            },
            Some(Err(error)) => format!("failed: {error}"),
        };
        let described = match &state.note {
            Some(note) => format!("{described}, but {note}"),
            None => described,
        };
        JobRow { job: self.number, command: self.command.clone(), state: described, progress, total }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("number", &self.number).field("command", &self.command).finish_non_exhaustive()
    }
}

/// All jobs of the host process, numbered from 1.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Mutex<(u64, BTreeMap<u64, Arc<Job>>)>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Job>>)> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new job, running in the foreground.
    pub fn add(&self, command: String) -> Arc<Job> {
        let mut jobs = self.lock();
        jobs.0 += 1;
        let number = jobs.0;
        let job = Arc::new(Job {
            number,
            command,
            cancelled: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
            started: Instant::now(),
            relay: Mutex::default(),
        });
        // Those that ended first are forgotten, but for what the user has not heard of.
        let ended = |job: &Arc<Job>| {
            let state = job.lock();
            state.ended.filter(|_| state.announced).map(|ended| (ended, job.number))
        };
        let mut finished: Vec<_> = jobs.1.values().filter_map(ended).collect();
        finished.sort_unstable();
        let mut rows = 0;
        for (place, (_, number)) in finished.iter().rev().enumerate() {
            let Some(ended) = jobs.1.get(number) else { continue };
            rows += ended.outcome().and_then(Result::ok).map_or(0, |report| report.results.count().unwrap_or(1));
            if place >= KEPT - 1 || (place > 0 && rows > KEPT_ROWS) {
                jobs.1.remove(number);
            }
        }
        jobs.1.insert(number, Arc::clone(&job));
        job
    }

    pub fn list(&self) -> Vec<Arc<Job>> {
        self.lock().1.values().cloned().collect()
    }

    /// # Errors
    /// If there is no such job, or no more.
    pub fn find(&self, number: u64) -> Result<Arc<Job>> {
        let jobs = self.lock();
        match jobs.1.get(&number) {
            Some(job) => Ok(Arc::clone(job)),
            None if number != 0 && number <= jobs.0 => {
                bail!(
                    "job {number} is kept no longer: the last {KEPT} are, with {KEPT_ROWS} results in all; run it again"
                )
            }
            None => bail!("no job {number}: see `mp-scan jobs list`"),
        }
    }

    /// Lets go of what has read memory for jobs that have ended. It is for a command's thread to do so: the last to hold
    /// a relay gives LLDB its setting back.
    pub fn release_relays(&self) {
        for job in self.list().iter().filter(|job| !job.is_running()) {
            let relay = job.lock_relay().take();
            drop(relay);
        }
    }

    pub fn running(&self) -> usize {
        self.lock().1.values().filter(|job| job.is_running()).count()
    }

    /// Background jobs that have ended since this was last asked.
    pub fn newly_ended(&self) -> Vec<Arc<Job>> {
        let ended = |job: &&Arc<Job>| {
            let mut state = job.lock();
            state.outcome.is_some() && !std::mem::replace(&mut state.announced, true)
        };
        self.lock().1.values().filter(ended).cloned().collect()
    }
}

/// Has a thread of its own take the job to its end; `watch` is called there after each step, and when the job has ended.
///
/// # Errors
/// If no thread can be started: then the job has failed.
pub fn send_to_background(
    job: &Arc<Job>,
    mut scan: Box<dyn Scan>,
    mut watch: impl FnMut(&Job) + Send + 'static,
) -> Result<()> {
    job.lock().background = true;
    let own = Arc::clone(job);
    let run = move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while !own.step(&mut *scan, &mut |_| ()) {
                watch(&own);
            }
            scan.finish()
        }));
        let outcome = outcome.unwrap_or_else(|_| bail!("a defect in mp-scan: its thread panicked"));
        let _ = own.end(outcome.map_err(|error| format!("{error:#}")));
        watch(&own);
    };
    let started = std::thread::Builder::new().name(format!("mp-scan job {}", job.number)).spawn(run);
    started.map(drop).context("cannot start a thread for the job").inspect_err(|error| {
        let _ = job.end(Err(error.to_string()));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use analysis::LineRow;

    /// Ends a new job with so many results, and returns its number.
    fn ended(jobs: &Jobs, rows: usize) -> u64 {
        let job = jobs.add("lines .".into());
        let results = Results::Lines(vec![LineRow::default(); rows]);
        let report = Report {
            command: "lines".into(),
            target: None,
            stats: analysis::Stats::default(),
            total: rows as u64,
            truncated: false,
            stopped: None,
            skipped: Vec::new(),
            results,
            notes: Vec::new(),
            columns: analysis::Columns::default(),
        };
        job.end(Ok(report)).expect("it ended well");
        job.number
    }

    #[test]
    fn as_many_reports_are_kept_as_have_not_too_many_results() {
        let jobs = Jobs::default();
        let large: Vec<u64> = (0..3).map(|_| ended(&jobs, KEPT_ROWS / 2)).collect();
        // The next one is under way beside those that are kept.
        let next = ended(&jobs, 1);
        assert!(jobs.find(large[0]).is_err_and(|error| error.to_string().contains("run it again")));
        assert!(large[1..].iter().chain([&next]).all(|number| jobs.find(*number).is_ok()));
        // The last one is kept, whatever it has.
        let larger = ended(&jobs, KEPT_ROWS + 1);
        let _ = ended(&jobs, 1);
        assert!(jobs.find(larger).is_ok());
        assert!(jobs.find(large[2]).is_err());
        let many: Vec<u64> = (0..KEPT).map(|_| ended(&jobs, 1)).collect();
        assert!(jobs.find(larger).is_err());
        assert!(many.iter().all(|number| jobs.find(*number).is_ok()));
    }
}
