//! Takes a scan from its plan to what the user sees, in the foreground or behind it.

use crate::carrier::{Carrier, Memory};
use crate::cli::ScanOptions;
use crate::deliver::{Delivery, page};
use crate::engine::{Workforce, engine};
use crate::inspect::{Access, Inspected};
use crate::jobs::{Job, Scan, send_to_background};
use crate::pool_executor::PoolExecutor;
use crate::present::Presenter;
use crate::relay::{self, Feed};
use crate::scan::RangeScan;
use crate::session::Session;
use analysis::remote::CARRIED;
use analysis::{Analysis, Columns, Cut, Executor, InProcess, Match, Report, Results};
use anyhow::{Context as _, Result};
use lldb::Progress;
use render::{Format, Style};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
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

/// Progress is counted in units of this power of two.
const MIB: u32 = 20;

/// Tasks whose memory is relayed ahead of the workers: the debugger is slower than any of them.
const AHEAD: usize = 4;

/// A foreground command shows that it works after this time.
const QUIET: Duration = Duration::from_millis(150);

/// Runs a scan as the options say, and shows its report or where it will be.
///
/// # Errors
/// If the workers cannot be started, or the report not be written; the report is then kept as a job.
pub fn run<A: Analysis + Clone, P: Presenter<A>>(
    session: &mut Session,
    options: &ScanOptions,
    plan: Plan<A, P>,
) -> Result<()> {
    let style = session.output.style();
    let delivery = Delivery { format: options.format, output: options.output.clone() };
    if options.format == Format::Text {
        session.announce();
        for warning in &plan.inspected.warnings {
            session.output.note(warning);
        }
    }
    // A folder that is not there is known before the scan, not after it.
    delivery.check()?;
    let settings = session.settings()?;
    // What needs no reading needs no workers.
    let reads = !plan.analysis.ranges().is_empty();
    let workers = match options.workers {
        _ if !reads => None,
        Some(0) => None,
        Some(count) => Some(count),
        // Where nobody says otherwise, hosts may do all of it.
        None => Some(settings.worker_count()).filter(|count| *count > 0 || !settings.hosts.is_empty()),
    };
    let warnings = plan.inspected.warnings.len();
    let limit = session.limit(options)?;
    let job = engine().jobs.add(session.command_line.clone());
    let _end = AtLeastEnded(&job);
    let columns = plan.columns;
    let relay = match &plan.inspected.access {
        Access::Relayed(relay) => Some(relay.clone()),
        Access::Direct { .. } => None,
    };
    let scan = match prepare(session, options, plan, workers) {
        Ok(scan) => scan,
        Err(error) => {
            let _ = job.end(Err(format!("{error:#}")));
            return Err(error);
        }
    };
    if let Some(relay) = relay {
        job.set_relay(relay);
    }
    if options.background {
        let progress = begin_progress(session, &job, scan.progress().1);
        send_to_background(&job, scan, watcher(session, &job, progress, delivery.clone()))?;
        if options.format == Format::Text {
            session.output.print(&format!("job {0} is under way: mp-scan jobs wait {0}", job.number));
            return Ok(());
        }
        let report = session.plain_report("jobs", Results::Jobs(vec![job.row()]), 1);
        return Delivery::here(options.format).show(session, &report, job.number);
    }
    let Some(report) = follow(session, &job, scan, &delivery, columns, &style)? else { return Ok(()) };
    // A search has kept no more than its limit; a map is whole.
    let report = match &report.results {
        Results::Mappings(_) => Arc::new(page(&report, 0, limit)?),
        _ => report,
    };
    if delivery.streams() {
        // Matches were shown as they were found.
        if !matches!(report.results, Results::Matches(_)) {
            session.output.print(render::results(&report, &style).trim_end_matches('\n'));
        }
        // What was known at the beginning was said there.
        for note in report.notes.iter().skip(warnings) {
            session.output.note(note);
        }
        session.output.print(&render::summary(&report));
        return Ok(());
    }
    delivery.show(session, &report, job.number)
}

/// A job that its command leaves by an error or a panic has failed; it does not run on for ever.
struct AtLeastEnded<'a>(&'a Job);

impl Drop for AtLeastEnded<'_> {
    fn drop(&mut self) {
        if self.0.is_running() && !self.0.is_background() {
            let _ = self.0.end(Err("its command failed".into()));
        }
    }
}

/// Gives the scan its executor: the pool with so many workers on this machine, or this process.
fn prepare<A: Analysis + Clone, P: Presenter<A>>(
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
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
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
            let force = engine().workforce(workers, session)?;
            let executor = on_pool(&force, &analysis, &inspected, &mut cut)?;
            let workers = force.here + force.elsewhere;
            (Box::new(executor), Some(force), workers)
        }
    };
    Ok(Box::new(RangeScan::new(crate::scan::Start {
        analysis,
        presenter,
        inspected,
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
fn on_pool<A: Analysis + Clone>(
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

/// Steps the job on this thread until it ends, showing what it finds. Returns the report, or `None` if the job has gone
/// to the background.
fn follow(
    session: &mut Session,
    job: &Arc<Job>,
    mut scan: Box<dyn Scan>,
    delivery: &Delivery,
    columns: Columns,
    style: &Style,
) -> Result<Option<Arc<Report>>> {
    let shown = delivery.streams();
    let hand_over = session.hand_over_after()?.filter(|_| shown);
    let started = Instant::now();
    let mut progress = None;
    loop {
        let mut lines = String::new();
        let done = job.step(&mut *scan, &mut |found: Vec<Match>| {
            if shown {
                lines.extend(found.iter().map(|found| render::result_line(found, columns, style)));
            }
        });
        if !lines.is_empty() {
            session.output.print(lines.trim_end_matches('\n'));
        }
        if done {
            break;
        }
        if session.interrupt.requested() {
            job.cancel();
        }
        let (bytes, total) = scan.progress();
        if started.elapsed() > QUIET {
            if session.output.is_terminal() {
                let line = render::progress_line(bytes, total, started.elapsed().as_secs_f64(), style);
                session.output.progress(&line);
            } else {
                let begin = || begin_progress(session, job, total);
                if let Some(progress) = progress.get_or_insert_with(begin) {
                    progress.advance(bytes >> MIB, "MiB");
                }
            }
        }
        if hand_over.is_some_and(|limit| started.elapsed() > limit) {
            let progress = progress.flatten();
            send_to_background(job, scan, watcher(session, job, progress, delivery.clone()))?;
            session.output.print(&format!("still running as job {0}: mp-scan jobs wait {0}", job.number));
            return Ok(None);
        }
    }
    session.output.clear_progress();
    let report = job.end(Ok(scan.finish())).map_err(anyhow::Error::msg)?;
    Ok(Some(report))
}

/// A progress that the debugger shows, in MiB.
fn begin_progress(session: &Session, job: &Job, total: u64) -> Option<Progress> {
    Progress::begin(session.debugger, &format!("mp-scan {}", job.command), "MiB", (total >> MIB).max(1))
}

/// What a background job does between its steps: tells its progress to the debugger. At its end it writes the report to
/// its file and, with the setting `notify`, says so in the terminal.
fn watcher(
    session: &Session,
    job: &Job,
    mut progress: Option<Progress>,
    delivery: Delivery,
) -> impl FnMut(&Job) + Send + use<> {
    let notify = session.settings().is_ok_and(|settings| settings.notify);
    let terminal = notify.then(|| session.debugger.output_descriptor()).flatten();
    let number = job.number;
    move |job| {
        if job.is_running() {
            if let Some(progress) = &mut progress {
                progress.advance(job.progress().0 >> MIB, "MiB");
            }
            return;
        }
        progress = None;
        if let Some(Ok(report)) = job.outcome()
            && let Err(error) = delivery.write(&report, number)
        {
            job.set_note(format!("{error:#}"));
        }
        if let Some(terminal) = &terminal {
            let line = format!("\njob {number} has ended: mp-scan jobs show {number}\n");
            if let Ok(copy) = terminal.try_clone() {
                // There may be nobody to see it; the job is kept all the same.
                let _ = File::from(copy).write_all(line.as_bytes());
            }
        }
    }
}
