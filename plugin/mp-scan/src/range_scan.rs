//! A scan of ranges, as a job sees it: steps the driver, describes what was found, and makes the report.

use crate::course::{Ground, Moment};
use crate::engine::{Workforce, engine};
use crate::heap_scan::Allocations;
use crate::inspect::{Access, Inspected};
use crate::jobs::{Progress, Scan};
use crate::naming::Namer;
use crate::present::Presenter;
use crate::step::Step;
use crate::watch::Watch;
use analysis::describe::Describer;
use analysis::{Analysis, Columns, Cut, Driver, Executor, Match, Report, Results, Stats, Stop, TargetKind};
use anyhow::Result;
use multiprocessing::{Pool, WorkerState};
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::ReadMemory;

/// What a scan begins with.
pub struct Start<A: Analysis, P> {
    pub analysis: A,
    pub presenter: P,
    pub inspected: Inspected,
    /// What names allocations.
    pub allocations: Allocations,
    pub executor: Box<dyn Executor<A> + Send>,
    /// What is behind the executor, if it is a pool.
    pub force: Option<Workforce>,
    pub workers: usize,
    pub cut: Cut,
    pub left_out: (u64, u64),
    pub columns: Columns,
    pub context: u64,
    /// When the command began.
    pub started: Instant,
    /// When it is to end at the latest.
    pub until: Option<Instant>,
}

/// A scan under way.
pub struct RangeScan<A: Analysis, P> {
    analysis: A,
    presenter: P,
    driver: Driver<A>,
    executor: Box<dyn Executor<A> + Send>,
    ground: Arc<Ground>,
    memory: Arc<dyn ReadMemory>,
    /// Bytes of context before and after a match.
    context: u64,
    namer: Namer,
    allocations: Allocations,
    /// Matches that are described, but for their allocations.
    pending: Vec<Match>,
    watch: Watch,
    pool: Option<Arc<Pool>>,
    deaths_before: u64,
    columns: Columns,
    left_out: (u64, u64),
    workers: usize,
    started: Instant,
    until: Option<Instant>,
    stopping: Option<Stop>,
    notes: Vec<String>,
    matches: Vec<Match>,
}

impl<A: Analysis<Input = dyn ReadMemory>, P: Presenter<A>> RangeScan<A, P> {
    pub fn new(start: Start<A, P>) -> Self {
        let moment = Moment::of(&start.inspected);
        let Inspected { info, space, stacks, memory, access, is_saved, warnings, .. } = start.inspected;
        let identity = match access {
            Access::Direct { identity, .. } => identity,
            Access::Relayed(_) => None,
        };
        let pool = start.force.as_ref().map(|force| Arc::clone(&force.pool));
        // The files of modules are this machine's.
        let naming = start.force.filter(|force| force.here > 0).map(|force| force.pool);
        let watch = Watch::new(identity, info.ran);
        let pid = info.pid.filter(|_| info.kind == TargetKind::Live);
        Self {
            driver: Driver::new(&start.analysis, start.cut, start.executor.width()),
            analysis: start.analysis,
            presenter: start.presenter,
            executor: start.executor,
            namer: Namer::new(naming, pid),
            watch,
            deaths_before: pool.as_ref().map_or(0, |pool| pool.deaths()),
            pool,
            ground: Arc::new(Ground { info, space, stacks, is_saved, moment }),
            memory,
            context: start.context,
            allocations: start.allocations,
            pending: Vec::new(),
            columns: start.columns,
            left_out: start.left_out,
            workers: start.workers,
            started: start.started,
            until: start.until,
            stopping: None,
            notes: warnings,
            matches: Vec::new(),
        }
    }

    fn describe(&mut self, items: &[A::Item]) -> Vec<Match> {
        let Ground { space, stacks, .. } = &*self.ground;
        let describer = Describer { space, stacks, memory: &*self.memory, context: self.context };
        let mut described: Vec<Match> =
            items.iter().map(|item| self.presenter.describe(&self.analysis, item, &describer)).collect();
        self.namer.name(space, &*self.memory, &mut described);
        described
    }
}

impl<A: Analysis<Input = dyn ReadMemory>, P: Presenter<A>> Scan for RangeScan<A, P> {
    fn step(&mut self, patience: Duration, found: &mut dyn FnMut(&Results)) -> bool {
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        let stop =
            self.stopping.or(late.then_some(Stop::Timeout)).or_else(|| self.watch.gone().then_some(Stop::TargetGone));
        let mut step = Step { items: Vec::new(), stop };
        let done = self.driver.step(&self.analysis, &mut *self.executor, &*self.memory, patience, &mut step);
        if !step.items.is_empty() {
            let mut described = self.describe(&step.items);
            self.pending.append(&mut described);
        }
        if stop.is_some() {
            self.allocations.give_up();
        }
        // As long as there is more to be found, nobody waits.
        let patience = if done { patience } else { Duration::ZERO };
        if !self.pending.is_empty() && self.allocations.ready(&self.ground, &self.pending, patience) {
            let mut named = std::mem::take(&mut self.pending);
            self.allocations.name(&self.ground, &mut named);
            let named = Results::Matches(named);
            found(&named);
            if let Results::Matches(mut named) = named {
                self.matches.append(&mut named);
            }
        }
        done && self.pending.is_empty()
    }

    fn progress(&self) -> Progress {
        let (done, total) = self.driver.progress();
        Progress::Scanned(done, total)
    }

    fn stop(&mut self, why: Stop) {
        self.stopping.get_or_insert(why);
    }

    fn finish(self: Box<Self>) -> Result<Report> {
        let this = *self;
        let outcome = this.driver.finish();
        let mut info = this.ground.info.clone();
        info.ran |= this.watch.ran();
        let deaths = this.pool.as_ref().map_or(0, |pool| pool.deaths()) - this.deaths_before;
        let mut notes = this.notes;
        notes.extend(this.executor.notes());
        notes.extend(this.allocations.notes());
        notes.extend(this.namer.note());
        let idle = this.pool.as_ref().map_or(0, |pool| add_broken(pool, &mut notes));
        let (results, total) = this.presenter.results(outcome.merge, this.matches, &this.ground.space, &*this.memory);
        Ok(Report {
            command: P::COMMAND.to_owned(),
            target: Some(info),
            total,
            truncated: outcome.stopped.is_some(),
            stopped: outcome.stopped,
            skipped: outcome.skipped,
            results,
            notes,
            columns: this.columns,
            stats: Stats {
                workers: this.workers - idle.min(this.workers.saturating_sub(1)),
                deaths,
                left_out: this.left_out,
                seconds: this.started.elapsed().as_secs_f64(),
                ..outcome.stats
            },
        })
    }
}

/// Notes which hosts do not work, and why. Returns how many workers have taken no part: those, and such as are yet to come.
fn add_broken(pool: &Pool, notes: &mut Vec<String>) -> usize {
    let mut count = 0;
    let status = pool.status().unwrap_or_else(|error| {
        notes.push(format!("whether all hosts work is not known: {error}"));
        Vec::new()
    });
    for worker in status {
        let Some(host) = worker.host else { continue };
        count += usize::from(matches!(worker.state, WorkerState::Down | WorkerState::Starting));
        let Some(error) = worker.error else { continue };
        let note = if error.contains(&host) { engine().explained(&error) } else { format!("{host}: {error}") };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    count
}
