//! A scan of ranges, as a job sees it: steps the driver, describes what was found, and makes the report.

use crate::inspect::{Access, Inspected};
use crate::jobs::Scan;
use crate::naming::Namer;
use crate::watch::Watch;
use analysis::describe::{Describer, text, text_utf16};
use analysis::find::{Find, Hit, Pattern};
use analysis::{
    Analysis, Columns, Content, Cut, Driver, Executor, Match, Report, Results, Sink, Stats, Stop, TargetKind, Value,
};
use multiprocessing::Pool;
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::AddressRange;

/// An analysis whose items are shown as matches.
pub trait Presented: Analysis<Item = Hit> + Clone {
    /// What a match is worth and made of.
    fn present(&self, hit: &Hit, shown: &mut Match, describer: &Describer<'_>);

    /// How many matches there are in all.
    fn total(&self, merge: &Self::Merge) -> u64;
}

impl Presented for Find {
    fn present(&self, hit: &Hit, shown: &mut Match, describer: &Describer<'_>) {
        let bytes = || describer.bytes(AddressRange::sized(hit.address, u64::from(hit.length)));
        match self.patterns.get(usize::from(hit.pattern)) {
            Some(Pattern::String(_) | Pattern::Regex(_)) => shown.content = bytes().map(|bytes| text(&bytes, hit.cut)),
            Some(Pattern::Utf16(_)) => {
                shown.content = bytes().map(|bytes| text_utf16(&bytes, self.layout, hit.cut));
            }
            Some(Pattern::Bytes { .. }) => shown.content = bytes().map(Content::Bytes),
            Some(Pattern::Int { value, .. }) => shown.value = Some(Value::Int(*value)),
            Some(Pattern::Float { value, .. }) => shown.value = Some(Value::Float(*value)),
            Some(Pattern::Pointer(value)) => shown.value = Some(Value::Pointer(*value)),
            Some(Pattern::PointerRange { .. }) => {
                shown.value = bytes().map(|bytes| Value::Pointer(self.layout.number(&bytes)));
            }
            None => {}
        }
    }

    fn total(&self, merge: &Self::Merge) -> u64 {
        merge.total()
    }
}

/// What a scan begins with.
pub struct Start<A: Analysis> {
    pub analysis: A,
    pub inspected: Inspected,
    pub executor: Box<dyn Executor<A> + Send>,
    /// The pool behind the executor, if there is one.
    pub pool: Option<Arc<Pool>>,
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
pub struct RangeScan<A: Presented> {
    analysis: A,
    driver: Driver<A>,
    executor: Box<dyn Executor<A> + Send>,
    place: Place,
    namer: Namer,
    watch: Watch,
    pool: Option<Arc<Pool>>,
    deaths_before: u64,
    columns: Columns,
    left_out: (u64, u64),
    workers: usize,
    started: Instant,
    until: Option<Instant>,
    stopping: Option<Stop>,
    matches: Vec<Match>,
}

/// The part of the inspected target that may go to another thread.
struct Place {
    info: analysis::TargetInfo,
    space: target::AddressSpace,
    stacks: Vec<analysis::place::ThreadStack>,
    memory: Arc<dyn target::ReadMemory>,
    context: u64,
}

impl<A: Presented> RangeScan<A> {
    pub fn new(start: Start<A>) -> Self {
        let Inspected { info, space, stacks, memory, access, .. } = start.inspected;
        let identity = match access {
            Access::Direct { identity, .. } => identity,
            Access::Relayed(_) => None,
        };
        let watch = Watch::new(identity, info.ran);
        let pid = info.pid.filter(|_| info.kind == TargetKind::Live);
        Self {
            driver: Driver::new(&start.analysis, start.cut, start.executor.width()),
            analysis: start.analysis,
            executor: start.executor,
            namer: Namer::new(start.pool.clone(), pid),
            watch,
            deaths_before: start.pool.as_ref().map_or(0, |pool| pool.deaths()),
            pool: start.pool,
            place: Place { info, space, stacks, memory, context: start.context },
            columns: start.columns,
            left_out: start.left_out,
            workers: start.workers,
            started: start.started,
            until: start.until,
            stopping: None,
            matches: Vec::new(),
        }
    }

    fn describe(&mut self, hits: &[Hit]) -> Vec<Match> {
        let place = &self.place;
        let describer =
            Describer { space: &place.space, stacks: &place.stacks, memory: &*place.memory, context: place.context };
        let mut described: Vec<Match> = hits
            .iter()
            .map(|hit| {
                let mut shown = describer.place(hit.address, u64::from(hit.length), u32::from(hit.pattern));
                self.analysis.present(hit, &mut shown, &describer);
                shown
            })
            .collect();
        self.namer.name(&place.space, &mut described);
        described
    }
}

/// What one step of the driver brings.
struct Step {
    hits: Vec<Hit>,
    stop: Option<Stop>,
}

impl Sink<Hit> for Step {
    fn found(&mut self, mut items: Vec<Hit>) {
        self.hits.append(&mut items);
    }

    fn stop(&mut self) -> Option<Stop> {
        self.stop
    }
}

impl<A: Presented> Scan for RangeScan<A>
where
    A::Merge: Send,
{
    fn step(&mut self, patience: Duration, found: &mut dyn FnMut(Vec<Match>)) -> bool {
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        let stop =
            self.stopping.or(late.then_some(Stop::Timeout)).or_else(|| self.watch.gone().then_some(Stop::TargetGone));
        let mut step = Step { hits: Vec::new(), stop };
        let done = self.driver.step(&self.analysis, &mut *self.executor, &*self.place.memory, patience, &mut step);
        if !step.hits.is_empty() {
            let described = self.describe(&step.hits);
            self.matches.extend(described.iter().cloned());
            found(described);
        }
        done
    }

    fn progress(&self) -> (u64, u64) {
        self.driver.progress()
    }

    fn stop(&mut self, why: Stop) {
        self.stopping.get_or_insert(why);
    }

    fn finish(self: Box<Self>) -> Report {
        let this = *self;
        let outcome = this.driver.finish();
        let mut info = this.place.info;
        info.ran |= this.watch.ran();
        let deaths = this.pool.as_ref().map_or(0, |pool| pool.deaths()) - this.deaths_before;
        Report {
            command: A::NAME.to_owned(),
            target: Some(info),
            total: this.analysis.total(&outcome.merge),
            truncated: outcome.stopped.is_some(),
            stopped: outcome.stopped,
            skipped: outcome.skipped,
            results: Results::Matches(this.matches),
            columns: this.columns,
            stats: Stats {
                workers: this.workers,
                deaths,
                left_out: this.left_out,
                seconds: this.started.elapsed().as_secs_f64(),
                ..outcome.stats
            },
        }
    }
}
