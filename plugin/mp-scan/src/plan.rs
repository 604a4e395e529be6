//! A scan of memory: what a command wants done, and what does it.

use crate::carrier::{Carrier, Memory};
use crate::cli::ScanOptions;
use crate::conduct::{Before, conduct};
use crate::engine::{Workforce, engine};
use crate::heap_scan::{self, Allocations};
use crate::here;
use crate::inspect::{Access, Inspected};
use crate::jobs::Scan;
use crate::pool_executor::PoolExecutor;
use crate::present::Presenter;
use crate::range_scan::{RangeScan, Start};
use crate::relay::{self, Feed};
use crate::session::Session;
use analysis::remote::CARRIED;
use analysis::{Analysis, Columns, Cut, Executor, InProcess};
use anyhow::{Context as _, Result};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use target::ReadMemory;
use target::core::SharedCore;

/// What a command wants done.
#[derive(Debug)]
pub struct Plan<A, P> {
    pub analysis: A,
    pub presenter: P,
    pub inspected: Inspected,
    /// Mappings in the places looked at that are not readable: how many, and their bytes.
    pub left_out: (u64, u64),
    pub columns: Columns,
    /// Bytes shown before and after a match.
    pub context: u64,
}

/// Tasks whose memory is relayed ahead of the workers: the debugger is slower than any of them.
const AHEAD: usize = 4;

/// Runs a scan of memory as the options say, and shows its report or where it will be.
///
/// # Errors
/// If the workers cannot be started, or the report not be written; the report is then kept as a job.
pub fn run<A, P>(session: &mut Session, options: &ScanOptions, plan: Plan<A, P>) -> Result<()>
where
    A: Analysis<Input = dyn ReadMemory> + Clone,
    P: Presenter<A>,
{
    let before = Before {
        warnings: plan.inspected.warnings.clone(),
        columns: plan.columns,
        relay: match &plan.inspected.access {
            Access::Relayed(relay) => Some(relay.clone()),
            Access::Direct { .. } => None,
        },
        idle: plan.analysis.ranges().is_empty(),
    };
    conduct(session, options, before, |session, workers| prepare(session, options, plan, workers))
}

/// Gives the scan its executor: the pool with so many workers on this machine, or this process.
fn prepare<A: Analysis<Input = dyn ReadMemory> + Clone, P: Presenter<A>>(
    session: &Session,
    options: &ScanOptions,
    plan: Plan<A, P>,
    workers: Option<usize>,
) -> Result<Box<dyn Scan>> {
    let Plan { analysis, presenter, inspected, left_out, columns, context } = plan;
    let memory = Arc::clone(&inspected.memory);
    let mut cut = Cut::default();
    let (executor, force, workers): (Box<dyn Executor<A> + Send>, _, _) = match workers {
        None => {
            // What LLDB's lock guards is read by this thread alone.
            let threads = here::processors();
            let executor: Box<dyn Executor<A> + Send> = match &inspected.access {
                Access::Direct { .. } => {
                    Box::new(InProcess::new(Arc::new(analysis.clone()), Arc::clone(&memory), threads))
                }
                Access::Relayed(_) => {
                    // One task is not interrupted, so they are small.
                    (cut.task, cut.sparse) = (relay::TASK / 4, relay::TASK / 4);
                    Box::new(analysis::Serial::new(Arc::new(analysis.clone()), Arc::clone(&memory)))
                }
            };
            (executor, None, 0)
        }
        Some(workers) => {
            let force = engine().workforce(workers, 0, session)?;
            let executor = on_pool(&force, &analysis, &inspected, &mut cut)?;
            let workers = force.here + force.elsewhere;
            (Box::new(executor), Some(force), workers)
        }
    };
    let allocations = Allocations::Unasked(heap_scan::beside(&inspected, force.as_ref())?);
    Ok(Box::new(RangeScan::new(Start {
        analysis,
        presenter,
        inspected,
        allocations,
        executor,
        force,
        workers,
        cut,
        left_out,
        columns,
        context,
        started: session.started,
        until: options.timeout.map(|timeout| session.started + timeout),
    })))
}

/// The executor of a pool, and how the scan is best cut for it.
fn on_pool<A: Analysis<Input = dyn ReadMemory> + Clone>(
    force: &Workforce,
    analysis: &A,
    inspected: &Inspected,
    cut: &mut Cut,
) -> Result<PoolExecutor<A>> {
    let workers = force.here + force.elsewhere;
    let memory = Arc::clone(&inspected.memory);
    let travels = |memory, core| (force.elsewhere > 0).then(|| Carrier::new(analysis.clone(), memory, core));
    let (source, descriptors, feed, carrier) = match &inspected.access {
        Access::Direct { opened, core, .. } => {
            let copies = opened.descriptors.iter().map(OwnedFd::try_clone).collect::<Result<Vec<_>, _>>();
            let copies = copies.context("out of file descriptors")?;
            let core = match core {
                Some(path) if force.elsewhere > 0 => SharedCore::new(path, opened)?,
                _ => None,
            };
            if force.elsewhere > 0 && core.is_none() {
                // A task whose memory does not travel at once comes back for the rest of it.
                (cut.task, cut.sparse) = (CARRIED, 16 * CARRIED);
            }
            (opened.source.clone(), copies, None, travels(Memory::Direct(memory), core))
        }
        Access::Relayed(_) => {
            (cut.task, cut.sparse) = (relay::TASK, relay::TASK);
            let feed = Feed::new(memory, analysis.ranges().to_vec(), analysis.reach(), workers.min(AHEAD) + AHEAD)?;
            let (source, descriptors) = feed.source()?;
            let carrier = travels(Memory::Relayed(feed.relay()?), None);
            (source, descriptors, Some(feed), carrier)
        }
    };
    PoolExecutor::new(&force.pool, workers, analysis.clone(), source, descriptors, feed, carrier)
}
