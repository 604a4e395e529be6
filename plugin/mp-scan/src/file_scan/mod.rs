//! A scan of modules' files, as a job sees it: surveys them, plans, steps the driver, has what is shown described, and makes
//! the report.

mod describing;
mod inflated;
mod surveyor;
mod twofold;

use crate::chores::Chores;
use crate::cli::ScanOptions;
use crate::conduct::{Before, conduct};
use crate::engine::{Workforce, engine};
use crate::here;
use crate::jobs::{Progress, Scan};
use crate::modules::Modules;
use crate::session::Session;
use crate::step::Step;
use crate::task_executor::TaskExecutor;
use analysis::files::{Answer, FileAnalysis, Request, Setup, in_files};
use analysis::{Columns, Cut, Driver, Executor, InProcess, Outcome, Report, Results, Stats, Stop, TargetInfo};
use anyhow::{Context as _, Result, anyhow};
use describing::{Describing, Hands, Local};
pub use inflated::Inflated;
use multiprocessing::Pool;
use multiprocessing::codec::{self, Descriptor};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use surveyor::Found;
pub use surveyor::Surveyor;
use target::Access;
use target::cache::{self, Cache};
use target::modules::{FileSet, Files};
pub use twofold::run_after;

/// MiB of its own that a worker may take for it at least.
const MEMORY: u64 = 512;

/// How files are cut into tasks, in bytes.
pub const CUT: Cut = Cut { block: 64 << 10, task: 4 << 20, sparse: 4 << 20 };

/// What a symbol command wants done.
pub struct FilePlan<A> {
    pub modules: Modules,
    /// Which compressed sections, by their names, are inflated before the scan, once for all workers.
    pub inflates: fn(&str) -> bool,
    /// Makes the analysis, once the files are known.
    pub analysis: MakeAnalysis<A>,
}

/// What makes an analysis of files.
pub type MakeAnalysis<A> = Box<dyn FnOnce(FileSet) -> Result<A> + Send>;

/// Runs a scan of modules' files as the options say, and shows its report or where it will be.
///
/// # Errors
/// If the workers cannot be started, or the report not be written; the report is then kept as a job.
pub fn run<A: FileAnalysis + Clone>(session: &mut Session, options: &ScanOptions, plan: FilePlan<A>) -> Result<()> {
    let before = Before { warnings: plan.modules.warnings.clone(), ..Before::default() };
    conduct(session, options, before, |session, workers| {
        Ok(Box::new(FileScan::start(session, options, plan, workers)?))
    })
}

/// A scan under way.
struct FileScan<A: FileAnalysis> {
    info: TargetInfo,
    surveyor: Surveyor,
    /// The pool; `None` if all is done in this process.
    force: Option<Workforce>,
    /// Facts of earlier scans: their folder, and how many bytes it may have.
    cache: Option<(PathBuf, u64)>,
    stage: Stage<A>,
    /// What has been inflated of the files.
    inflated: Vec<Arc<OwnedFd>>,
    deaths_before: u64,
    started: Instant,
    until: Option<Instant>,
    stopping: Option<Stop>,
    notes: Vec<String>,
    /// The rows so far.
    shown: Option<Results>,
    /// What has been found, where it is not shown.
    kept: Option<Vec<A::Item>>,
}

enum Stage<A: FileAnalysis> {
    /// The files are not known yet.
    Surveying(Option<MakeAnalysis<A>>),
    /// They are scanned.
    Scanning(Box<Scanning<A>>),
    /// All is merged; some rows are still being described, or not even made if there is `more`.
    Describing {
        analysis: Arc<A>,
        outcome: Box<Outcome<A::Merge>>,
        describing: Describing<A>,
        notes: Vec<String>,
        more: bool,
    },
    /// It has come to an end without a plan: why.
    Ended { error: Option<String> },
}

struct Scanning<A: FileAnalysis> {
    analysis: Arc<A>,
    files: Files,
    driver: Driver<A>,
    executor: Box<dyn Executor<A> + Send>,
    describing: Describing<A>,
}

impl<A: FileAnalysis + Clone> FileScan<A> {
    /// A scan that begins with a survey, by so many workers or by this process.
    fn start(session: &Session, options: &ScanOptions, plan: FilePlan<A>, workers: Option<usize>) -> Result<Self> {
        let FilePlan { modules, inflates, analysis } = plan;
        let force = match workers {
            Some(workers) => Some(engine().workforce(workers, MEMORY, session)?),
            None => None,
        };
        // The files are this machine's.
        let force = force.filter(|force| force.here > 0);
        let pool = force.as_ref().map(|force| &force.pool);
        Ok(Self {
            surveyor: Surveyor::new(modules.modules, modules.search, pool, inflates)?,
            deaths_before: pool.map_or(0, |pool| pool.deaths()),
            force,
            cache: kept(),
            stage: Stage::Surveying(Some(analysis)),
            inflated: Vec::new(),
            info: modules.info,
            notes: modules.warnings,
            started: session.started,
            until: options.timeout.map(|timeout| session.started + timeout),
            stopping: None,
            shown: None,
            kept: None,
        })
    }

    /// What is next after the survey.
    fn plan(&mut self, plan: MakeAnalysis<A>, (set, inflated): Found) -> Result<Stage<A>> {
        note_problems(&mut self.notes, &set);
        let problems: Vec<String> = set.modules.iter().flat_map(|module| module.problems.iter().cloned()).collect();
        // What is not there may be in a file that is not read.
        let analysis = plan(set).map_err(|error| match &problems[..] {
            [] => error,
            [why] => anyhow!("{error:#}; {why}"),
            [why, ..] => anyhow!("{error:#}; {why}; {} more files have problems", problems.len() - 1),
        });
        let analysis = Arc::new(analysis?);
        let cache = || self.cache.clone().map(|(folder, limit)| Cache::open(folder, limit));
        let files = |cache| Files::new(analysis.set().clone(), Vec::new(), Access::Pread, cache);
        let (executor, hands): (Box<dyn Executor<A> + Send>, _) = match &self.force {
            Some(force) => {
                let describes = || job(&force.pool, &*analysis, &inflated, self.cache.clone());
                let hands = if A::DESCRIBES { Hands::Pool(describes()?) } else { Hands::Nobody };
                (on_workers(force, &*analysis, &inflated, self.cache.clone())?, hands)
            }
            None => {
                let own = Arc::new(files(cache()));
                let local = || Local::start(Arc::clone(&analysis), Arc::clone(&own)).context("cannot start a thread");
                let hands = if A::DESCRIBES { Hands::Here(local()?) } else { Hands::Nobody };
                (Box::new(InProcess::new(Arc::clone(&analysis), own, here::processors())), hands)
            }
        };
        self.inflated = inflated;
        Ok(Stage::Scanning(Box::new(Scanning {
            files: files(None),
            driver: Driver::new(&*analysis, CUT, executor.width()),
            executor,
            describing: Describing::new(Arc::clone(&analysis), hands),
            analysis,
        })))
    }

    /// Takes what was found.
    fn take(&mut self, items: Vec<A::Item>, describing: &mut Describing<A>) {
        match &mut self.kept {
            Some(kept) => kept.extend(items),
            None => describing.add(items),
        }
    }

    /// Takes rows that are next.
    fn show(&mut self, rows: Results, found: &mut dyn FnMut(&Results)) {
        found(&rows);
        match &mut self.shown {
            Some(shown) => shown.append(rows),
            None => self.shown = Some(rows),
        }
    }
}

impl<A: FileAnalysis + Clone> Scan for FileScan<A> {
    fn step(&mut self, patience: Duration, found: &mut dyn FnMut(&Results)) -> bool {
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        let stop = self.stopping.or(late.then_some(Stop::Timeout));
        self.stopping = stop;
        let stage = std::mem::replace(&mut self.stage, Stage::Ended { error: None });
        self.stage = match stage {
            Stage::Surveying(plan) if stop.is_none() => match self.surveyor.step(patience) {
                Ok(None) => Stage::Surveying(plan),
                Ok(Some(surveyed)) => {
                    let plan = plan.map(|plan| self.plan(plan, surveyed));
                    plan.unwrap_or_else(|| Err(anyhow!("surveyed twice"))).unwrap_or_else(failed)
                }
                Err(error) => failed(error),
            },
            Stage::Surveying(_) => Stage::Ended { error: None },
            Stage::Scanning(mut scanning) => {
                let mut step = Step { items: Vec::new(), stop };
                let Scanning { analysis, files, driver, executor, describing } = &mut *scanning;
                let done = driver.step(&**analysis, &mut **executor, files, patience, &mut step);
                self.take(step.items, describing);
                // Whoever shows them may be slower than they are found, and wants to ask for an end.
                let until = Instant::now() + patience;
                while let Some(rows) = describing.step(Duration::ZERO) {
                    self.show(rows, found);
                    if Instant::now() >= until {
                        break;
                    }
                }
                if done {
                    let Scanning { analysis, executor, driver, describing, .. } = *scanning;
                    let (outcome, notes) = (Box::new(driver.finish()), executor.notes());
                    Stage::Describing { analysis, outcome, describing, notes, more: true }
                } else {
                    Stage::Scanning(scanning)
                }
            }
            Stage::Describing { analysis, mut outcome, mut describing, notes, mut more } => {
                if more {
                    let mut step = Step { items: Vec::new(), stop: None };
                    more =
                        analysis.finish(&mut outcome.merge, &mut step) && outcome.stopped.is_none() && stop.is_none();
                    self.take(step.items, &mut describing);
                }
                if let Some(stop) = stop {
                    outcome.stopped.get_or_insert(stop);
                    for rows in describing.give_up() {
                        self.show(rows, found);
                    }
                } else if let Some(rows) = describing.step(patience) {
                    self.show(rows, found);
                }
                Stage::Describing { analysis, outcome, describing, notes, more }
            }
            ended @ Stage::Ended { .. } => ended,
        };
        match &self.stage {
            Stage::Describing { describing, more, .. } => !more && describing.is_idle(),
            Stage::Ended { .. } => true,
            Stage::Surveying(_) | Stage::Scanning(_) => false,
        }
    }

    fn progress(&self) -> Progress {
        let (done, total) = match &self.stage {
            Stage::Surveying(_) => {
                let (done, total) = self.surveyor.progress();
                return Progress::Surveyed(done, total);
            }
            Stage::Scanning(scanning) => scanning.driver.progress(),
            Stage::Describing { outcome, .. } => {
                let stats = &outcome.stats;
                (stats.bytes_scanned + stats.bytes_skipped, stats.bytes_planned)
            }
            Stage::Ended { .. } => (0, 0),
        };
        Progress::Scanned(done, total)
    }

    fn stop(&mut self, why: Stop) {
        self.stopping.get_or_insert(why);
    }

    fn finish(self: Box<Self>) -> Result<Report> {
        let mut this = *self;
        let deaths = this.force.as_ref().map_or(0, |force| force.pool.deaths()) - this.deaths_before;
        let workers = this.force.as_ref().map_or(0, |force| force.here);
        let (stats, stopped, skipped, total, rows) = match this.stage {
            Stage::Describing { analysis, outcome, describing, notes, .. } => {
                this.notes.extend(notes);
                this.notes.extend(analysis.notes(&outcome.merge));
                this.notes.extend(describing.notes());
                if this.cache.is_some() && this.force.is_some() && outcome.stopped.is_none() {
                    leave_chores(&analysis, &outcome.merge, this.inflated, this.cache);
                }
                let rows = this.shown.unwrap_or_else(A::none);
                let skipped = in_files(analysis.set(), outcome.skipped);
                (outcome.stats, outcome.stopped, skipped, analysis.total(&outcome.merge), rows)
            }
            Stage::Ended { error: Some(error) } => anyhow::bail!(error),
            _ => (Stats::default(), this.stopping, Vec::new(), 0, A::none()),
        };
        Ok(Report {
            command: A::NAME.to_owned(),
            target: Some(this.info),
            total,
            truncated: stopped.is_some(),
            stopped,
            skipped,
            results: rows,
            notes: this.notes,
            columns: Columns::default(),
            stats: Stats { workers, deaths, seconds: this.started.elapsed().as_secs_f64(), ..stats },
        })
    }
}

/// What runs an analysis of files on the workers of this machine.
///
/// # Errors
/// As of [`job`].
pub fn on_workers<A: FileAnalysis + Clone>(
    force: &Workforce,
    analysis: &A,
    inflated: &[Arc<OwnedFd>],
    cache: Option<(PathBuf, u64)>,
) -> Result<Box<dyn Executor<A> + Send>> {
    let job = job(&force.pool, analysis, inflated, cache)?;
    let scanned = |answer: Answer<A::Partial>| match answer {
        Answer::Scanned(scanned) => Some(scanned),
        Answer::Described(..) | Answer::Done => None,
    };
    Ok(Box::new(TaskExecutor::new(job, force.here, Request::<A::Item>::Scan, scanned)))
}

/// Has the workers work out what later scans are faster with, once no command needs them.
fn leave_chores<A: FileAnalysis + Clone>(
    analysis: &Arc<A>,
    merge: &A::Merge,
    inflated: Vec<Arc<OwnedFd>>,
    cache: Option<(PathBuf, u64)>,
) {
    let parts = analysis.chores(merge);
    if parts.is_empty() {
        return;
    }
    let request = |part| codec::encode(&Request::<A::Item>::Chore(part)).expect("a request is plain data");
    let analysis = Arc::clone(analysis);
    let open = move |pool: &Pool| job(pool, &*analysis, &inflated, cache.clone());
    engine().leave(Chores::new(parts, request, open));
}

/// Where facts of earlier scans are kept, and how many bytes they may take; `None` if none are.
pub fn kept() -> Option<(PathBuf, u64)> {
    Cache::folder().map(|folder| (folder, cache::LIMIT))
}

/// Adds what is wrong with modules' files, each once.
pub fn note_problems(notes: &mut Vec<String>, set: &FileSet) {
    for problem in set.modules.iter().flat_map(|module| &module.problems) {
        if !notes.contains(problem) {
            notes.push(problem.clone());
        }
    }
}

/// A job of the pool that runs an analysis of files, with what has been inflated of them and what is kept of earlier scans.
///
/// # Errors
/// If descriptors run out, or the pool cannot take it.
fn job<A: FileAnalysis + Clone>(
    pool: &Pool,
    analysis: &A,
    inflated: &[Arc<OwnedFd>],
    cache: Option<(PathBuf, u64)>,
) -> Result<multiprocessing::Job> {
    let copies = inflated.iter().map(|memory| memory.try_clone()).collect::<Result<Vec<_>, _>>();
    let copies = copies.context("out of file descriptors")?;
    let descriptors = [here::descriptor()?].into_iter().chain(copies).map(Descriptor::from).collect::<Vec<_>>();
    let setup = Setup { analysis: analysis.clone(), cache };
    let setup = codec::encode(&(setup, descriptors)).context("the plan cannot be sent")?;
    Ok(pool.job(A::NAME, setup)?)
}

/// Whether a section tells of functions and of places in the source, by its name.
pub fn has_places(section: &str) -> bool {
    section.starts_with(".debug_")
        && ![".debug_loc", ".debug_loclists", ".debug_frame", ".debug_types"].contains(&section)
}

fn failed<A: FileAnalysis>(error: anyhow::Error) -> Stage<A> {
    Stage::Ended { error: Some(format!("{error:#}")) }
}
