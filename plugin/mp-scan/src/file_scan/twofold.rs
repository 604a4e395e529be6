//! A scan of files that needs another one first: what the second looks for is what the first finds.

use super::{FilePlan, FileScan, MakeAnalysis, Stage, failed};
use crate::cli::ScanOptions;
use crate::conduct::{Before, conduct};
use crate::jobs::{Progress, Scan};
use crate::session::Session;
use analysis::files::FileAnalysis;
use analysis::{Report, Results, Stop};
use anyhow::Result;
use std::time::Duration;
use target::modules::FileSet;

/// What makes the second analysis, of what the first has found.
pub type Then<F, A> = Box<dyn FnOnce(FileSet, Vec<<F as analysis::Analysis>::Item>) -> Result<A> + Send>;

/// Runs `first`, of which nothing is shown, and then what `then` makes of it; the report is the second's.
///
/// # Errors
/// As of [`run`](super::run).
pub fn run_after<F: FileAnalysis + Clone, A: FileAnalysis + Clone>(
    session: &mut Session,
    options: &ScanOptions,
    first: FilePlan<F>,
    then: Then<F, A>,
) -> Result<()> {
    let before = Before { warnings: first.modules.warnings.clone(), ..Before::default() };
    conduct(session, options, before, |session, workers| {
        let mut first = FileScan::start(session, options, first, workers)?;
        first.kept = Some(Vec::new());
        Ok(Box::new(Twofold { turn: Turn::First(first, Some(then)) }))
    })
}

struct Twofold<F: FileAnalysis, A: FileAnalysis> {
    turn: Turn<F, A>,
}

enum Turn<F: FileAnalysis, A: FileAnalysis> {
    First(FileScan<F>, Option<Then<F, A>>),
    Second(FileScan<A>),
    /// Between the two.
    Over,
}

impl<F: FileAnalysis + Clone> FileScan<F> {
    /// The second scan, once the first is done.
    fn go_on<A: FileAnalysis + Clone>(self, then: Option<Then<F, A>>) -> FileScan<A> {
        let Self { info, surveyor, force, cache, inflated, stage, .. } = self;
        let Self { deaths_before, started, until, stopping, notes, kept, .. } = self;
        let mut next = FileScan {
            info,
            surveyor,
            force,
            cache,
            stage: Stage::Ended { error: None },
            inflated: Vec::new(),
            deaths_before,
            started,
            until,
            stopping,
            notes,
            shown: None,
            kept: None,
        };
        next.stage = match stage {
            Stage::Describing { analysis, outcome, .. } => {
                next.stopping = next.stopping.or(outcome.stopped);
                let set = analysis.set().clone();
                match then {
                    Some(then) if next.stopping.is_none() => {
                        let plan: MakeAnalysis<A> = Box::new(|set| then(set, kept.unwrap_or_default()));
                        next.plan(plan, (set, inflated)).unwrap_or_else(failed)
                    }
                    _ => Stage::Ended { error: None },
                }
            }
            Stage::Ended { error } => Stage::Ended { error },
            Stage::Surveying(_) | Stage::Scanning(_) => Stage::Ended { error: None },
        };
        next
    }
}

impl<F: FileAnalysis + Clone, A: FileAnalysis + Clone> Scan for Twofold<F, A> {
    fn step(&mut self, patience: Duration, found: &mut dyn FnMut(&Results)) -> bool {
        match &mut self.turn {
            Turn::First(first, _) => {
                if first.step(patience, &mut |_| {})
                    && let Turn::First(first, then) = std::mem::replace(&mut self.turn, Turn::Over)
                {
                    self.turn = Turn::Second(first.go_on(then));
                }
                false
            }
            Turn::Second(second) => second.step(patience, found),
            Turn::Over => true,
        }
    }

    fn progress(&self) -> Progress {
        match &self.turn {
            // How much there is to do is not known before the second.
            Turn::First(first, _) => match first.progress() {
                Progress::Scanned(..) => Progress::default(),
                survey => survey,
            },
            Turn::Second(second) => second.progress(),
            Turn::Over => Progress::default(),
        }
    }

    fn stop(&mut self, why: Stop) {
        match &mut self.turn {
            Turn::First(first, _) => first.stop(why),
            Turn::Second(second) => second.stop(why),
            Turn::Over => {}
        }
    }

    fn finish(self: Box<Self>) -> Result<Report> {
        match self.turn {
            Turn::First(first, then) => Box::new(first.go_on(then)).finish(),
            Turn::Second(second) => Box::new(second).finish(),
            Turn::Over => anyhow::bail!("the scan has no end"),
        }
    }
}
