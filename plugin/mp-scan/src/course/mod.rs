//! A course: plain code that runs analyses one after another, on a thread of its own, and comes to an answer.
//!
//! Commands whose analyses need each other's results are courses: those of the heap and those of threads. Each analysis is a
//! stage ([`Stages`]), which the pool runs. What only the debugger can tell, a course asks it ([`Debugger`]).

mod aside;
mod copy;
mod copying;
mod ground;
mod questions;
mod stages;

use crate::cli::ScanOptions;
use crate::conduct::{Before, conduct};
use crate::engine::{Workforce, engine};
use crate::inspect::{Access, Inspected};
use crate::jobs::{Progress, Scan};
use crate::session::Session;
use crate::watch::Watch;
use analysis::{Columns, Report, Results, Stats, Stop, TargetInfo};
use anyhow::{Context as _, Result, bail};
pub use aside::Aside;
pub use copy::Copy;
use copying::Copying;
pub use ground::{Ground, Moment};
use multiprocessing::Pool;
pub use questions::Debugger;
use questions::{Answering, Question};
pub use stages::{Control, Failure, Reading, Stages};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// MiB of its own that a worker may take for it at least.
const MEMORY: u64 = 512;

/// What a course comes to.
pub struct Answer {
    pub results: Results,
    /// How many results there are, whatever the limit.
    pub total: u64,
    /// What else the user should know, a line each.
    pub notes: Vec<String>,
    /// What is worth finding out for the next command, while nobody waits.
    pub afterwards: Option<Chore>,
}

impl Answer {
    pub fn new(results: Results, total: u64, notes: Vec<String>) -> Self {
        Self { results, total, notes, afterwards: None }
    }
}

/// What is found out behind the prompt, until another command wants the workers.
pub type Chore = Box<dyn FnOnce(&mut Stages, &Ground) + Send>;

/// What the stages are run for.
pub type Course = Box<dyn FnOnce(&mut Stages, &Ground) -> Result<Answer, Failure> + Send>;

/// What is done about a target that only the debugger can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// It is copied first, for what looks at most of it.
    Copied,
    /// The debugger is asked for each piece, by this process alone: there is little.
    Asked,
}

/// What a command wants done on a thread of its own.
pub struct Plan {
    pub command: &'static str,
    pub inspected: Inspected,
    pub course: Course,
    /// No results, of the kind that it has.
    pub none: Results,
    pub relayed: Relayed,
}

/// Runs it as the options say, and shows its report or where it will be.
///
/// # Errors
/// If the workers cannot be started, or the report not be written; the report is then kept as a job.
pub fn run(session: &mut Session, options: &ScanOptions, plan: Plan) -> Result<()> {
    let relay = match &plan.inspected.access {
        Access::Relayed(relay) => Some(relay.clone()),
        Access::Direct { .. } => None,
    };
    let before = Before { warnings: plan.inspected.warnings.clone(), relay, ..Before::default() };
    conduct(session, options, before, |session, workers| Ok(Box::new(Running::start(session, options, plan, workers)?)))
}

/// A course under way.
struct Running {
    command: &'static str,
    info: TargetInfo,
    moment: Option<Moment>,
    control: Arc<Control>,
    phase: Phase,
    answering: Answering,
    none: Option<Results>,
    pool: Option<Arc<Pool>>,
    workers: usize,
    deaths_before: u64,
    notes: Vec<String>,
    started: Instant,
}

enum Phase {
    /// What only the debugger can read is copied first, by whoever may ask it.
    Copying(Copying, Option<Moment>, Launch),
    /// The course runs. The receiver comes first, and goes first: a course that waits for an answer then knows that there is none.
    Running(Receiver<Event>, Aside),
    Ended(End),
}

/// What the thread of a course says to its job.
enum Event {
    Asked(Question),
    Ended(Box<End>),
}

/// Starts the course.
type Launch = Box<dyn FnOnce(Reading) -> Result<Phase> + Send>;

/// How a course has ended.
struct End {
    answer: Result<Answer, Failure>,
    stats: Stats,
    skipped: Vec<analysis::Skip>,
    ran: bool,
}

impl End {
    fn early(failure: Failure) -> Self {
        Self { answer: Err(failure), stats: Stats::default(), skipped: Vec::new(), ran: false }
    }
}

impl Running {
    fn start(session: &Session, options: &ScanOptions, plan: Plan, workers: Option<usize>) -> Result<Self> {
        let Plan { command, inspected, course, none, relayed } = plan;
        let force = match workers {
            Some(workers) => Some(engine().workforce(workers, MEMORY, session)?),
            None => None,
        };
        // The tables are this machine's memory.
        let force = force.filter(|force| force.here > 0);
        let pool = force.as_ref().map(|force| Arc::clone(&force.pool));
        let workers = force.as_ref().map_or(0, |force| force.here);
        let moment = Moment::of(&inspected);
        let Inspected { info, space, stacks, memory, access, is_saved, warnings, threads, .. } = inspected;
        let (direct, identity, relay) = match access {
            Access::Direct { opened, identity, .. } => {
                (Some((Some(opened.source), opened.descriptors)), identity, None)
            }
            Access::Relayed(relay) => (None, None, Some(relay)),
        };
        let direct = direct.or((relayed == Relayed::Asked).then(|| (None, Vec::new())));
        let control = Arc::new(Control::default());
        let kept = moment.as_ref().filter(|_| direct.is_none()).and_then(|moment| engine().heaps.copy_at(moment));
        let copying =
            (direct.is_none() && kept.is_none()).then(|| Copying::new(Arc::clone(&memory), &space)).transpose()?;
        let ground = Ground { info: info.clone(), space, stacks, is_saved, moment: moment.clone() };
        let watch = Watch::new(identity, info.ran);
        let until = options.timeout.map(|timeout| session.started + timeout);
        let launch = launch(Arc::clone(&control), force, watch, until, ground, course);
        let phase = match (direct, kept, copying) {
            (Some((source, descriptors)), ..) => launch(Reading { memory, source, descriptors, copy: None })?,
            (None, Some(copy), _) => launch(copy.alone()?)?,
            (None, None, Some(copying)) => Phase::Copying(copying, moment.clone(), launch),
            (None, None, None) => bail!("the target cannot be read"),
        };
        Ok(Self {
            command,
            info,
            moment,
            control,
            phase,
            answering: Answering::new(threads, relay),
            none: Some(none),
            deaths_before: pool.as_ref().map_or(0, |pool| pool.deaths()),
            pool,
            workers,
            notes: warnings,
            started: session.started,
        })
    }
}

/// What starts a course on a thread of its own.
fn launch(
    control: Arc<Control>,
    force: Option<Workforce>,
    watch: Watch,
    until: Option<Instant>,
    ground: Ground,
    course: Course,
) -> Launch {
    Box::new(move |reading| {
        let mut stages = Stages::new(reading, force, watch);
        (stages.control, stages.until) = (Arc::clone(&control), until);
        let (sender, events) = mpsc::channel();
        stages.debugger = Some(Debugger::new(sender.clone()));
        let run = move || {
            let answer = catch_unwind(AssertUnwindSafe(|| course(&mut stages, &ground)));
            let failed = |_| Err(Failure::Failed(anyhow::anyhow!("the analysis failed")));
            let mut answer = answer.unwrap_or_else(failed);
            if let Ok(answer) = &mut answer {
                answer.notes.append(&mut stages.notes);
                answer.notes.dedup();
            }
            let afterwards = answer.as_mut().ok().and_then(|answer| answer.afterwards.take());
            let bytes_copied = stages.reading.copy.as_ref().map_or(0, |copy| copy.bytes);
            let end = End {
                answer,
                stats: Stats { bytes_copied, ..stages.stats.clone() },
                skipped: std::mem::take(&mut stages.skipped),
                ran: stages.watch.ran(),
            };
            // The job may have been left.
            let wanted = sender.send(Event::Ended(Box::new(end))).is_ok();
            if let Some(afterwards) = afterwards.filter(|_| wanted) {
                // Nobody waits for it, so nobody misses it either.
                let _ = catch_unwind(AssertUnwindSafe(|| afterwards(&mut stages, &ground)));
            }
        };
        Ok(Phase::Running(events, Aside::start("mp-scan course", control, run)?))
    })
}

impl Scan for Running {
    fn step(&mut self, patience: Duration, found: &mut dyn FnMut(&Results)) -> bool {
        let stopping = Failure::Stopped(self.control.stopping().unwrap_or(Stop::Cancelled));
        let phase = std::mem::replace(&mut self.phase, Phase::Ended(End::early(stopping)));
        self.phase = match phase {
            Phase::Copying(..) if self.control.stopping().is_some() => return true,
            Phase::Copying(mut copying, moment, launch) => match copying.step(patience, &self.control) {
                Ok(false) => Phase::Copying(copying, moment, launch),
                Ok(true) => {
                    let launched = copying.finish().and_then(|copy| {
                        let copy = Arc::new(copy);
                        if let Some(moment) = moment {
                            engine().heaps.keep_copy(moment, Arc::clone(&copy));
                        }
                        launch(copy.alone()?)
                    });
                    launched.unwrap_or_else(|error| Phase::Ended(End::early(Failure::Failed(error))))
                }
                Err(error) => Phase::Ended(End::early(Failure::Failed(error))),
            },
            Phase::Running(events, thread) => match self.answering.next(&events, patience) {
                Ok(Event::Asked(question)) => {
                    self.answering.answer(question);
                    Phase::Running(events, thread)
                }
                Ok(Event::Ended(end)) => {
                    engine().heaps.leave(self.moment.clone(), thread);
                    if let Ok(answer) = &end.answer {
                        found(&answer.results);
                    }
                    Phase::Ended(*end)
                }
                Err(RecvTimeoutError::Timeout) => Phase::Running(events, thread),
                Err(RecvTimeoutError::Disconnected) => Phase::Ended(End::early(Failure::Stopped(Stop::Cancelled))),
            },
            ended @ Phase::Ended(_) => ended,
        };
        matches!(self.phase, Phase::Ended(_))
    }

    fn progress(&self) -> Progress {
        let (done, total) = self.control.progress();
        Progress::Scanned(done, total)
    }

    fn stop(&mut self, why: Stop) {
        self.control.stop(why);
    }

    fn finish(mut self: Box<Self>) -> Result<Report> {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended(End::early(Failure::Stopped(Stop::Cancelled))));
        let Phase::Ended(end) = phase else { bail!("the scan has not ended") };
        let none = self.none.take().context("the scan has no results")?;
        let (answer, stopped) = match end.answer {
            Ok(answer) => (answer, None),
            Err(Failure::Stopped(stop)) => (Answer::new(none, 0, Vec::new()), Some(stop)),
            Err(Failure::Failed(error)) => return Err(error),
        };
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(answer.notes);
        let mut info = self.info.clone();
        info.ran |= end.ran;
        Ok(Report {
            command: self.command.to_owned(),
            target: Some(info),
            total: answer.total,
            truncated: stopped.is_some(),
            stopped,
            skipped: end.skipped,
            results: answer.results,
            notes,
            columns: Columns::default(),
            stats: Stats {
                workers: self.workers,
                deaths: self.pool.as_ref().map_or(0, |pool| pool.deaths()) - self.deaths_before,
                seconds: self.started.elapsed().as_secs_f64(),
                ..end.stats
            },
        })
    }
}
