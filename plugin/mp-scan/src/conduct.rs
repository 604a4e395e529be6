//! Takes a scan from its plan to what the user sees, in the foreground or behind it.

use crate::cli::ScanOptions;
use crate::deliver::{Delivery, page};
use crate::engine::engine;
use crate::jobs::{Job, Scan, send_to_background};
use crate::session::Session;
use analysis::{Columns, Report, Results};
use anyhow::Result;
use lldb::{Progress, Relay};
use render::{Format, Style};
use std::borrow::Cow;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is known of a scan before it begins.
#[derive(Debug, Default)]
pub struct Before {
    /// What the user should know at once, a line each. The report has it as well, as the first of its notes.
    pub warnings: Vec<String>,
    pub columns: Columns,
    /// What reads memory for it, if only the debugger can.
    pub relay: Option<Relay>,
    /// Whether there is nothing to be read: that needs no workers.
    pub idle: bool,
}

/// As many results are still printed once a command was interrupted: whoever presses Ctrl-C waits for the prompt.
const LAST: usize = 256;

/// A foreground command shows that it works after this time.
const QUIET: Duration = Duration::from_millis(150);

/// Runs a scan as the options say, and shows its report or where it will be. `prepare` makes it, for so many workers on
/// this machine, or for none and this process.
///
/// # Errors
/// If the workers cannot be started, or the report not be written; the report is then kept as a job.
pub fn conduct(
    session: &mut Session,
    options: &ScanOptions,
    before: Before,
    prepare: impl FnOnce(&Session, Option<usize>) -> Result<Box<dyn Scan>>,
) -> Result<()> {
    let Before { warnings, columns, relay, idle } = before;
    let style = session.output.style();
    let delivery = Delivery { format: options.format, output: options.output.clone() };
    if options.format == Format::Text {
        session.announce();
        for warning in &warnings {
            session.output.note(warning);
        }
    }
    // A folder that is not there is known before the scan, not after it.
    delivery.check()?;
    let settings = session.settings()?;
    let workers = match options.workers {
        _ if idle => None,
        Some(0) => None,
        Some(count) => Some(count),
        // Where nobody says otherwise, hosts may do all of it.
        None => Some(settings.worker_count()).filter(|count| *count > 0 || !settings.hosts.is_empty()),
    };
    let limit = session.limit(options)?;
    let job = engine().jobs.add(session.command_line.clone());
    let _end = AtLeastEnded(&job);
    let scan = match prepare(session, workers) {
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
        let progress = begin_progress(session, &job);
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
        // All but a map was shown as it was found.
        if matches!(report.results, Results::Mappings(_)) {
            session.output.print(render::results(&report.results, columns, &style).trim_end_matches('\n'));
        }
        // What was known at the beginning was said there.
        for note in report.notes.iter().skip(warnings.len()) {
            session.output.note(note);
        }
        session.output.print(&render::summary(&report));
        return Ok(());
    }
    delivery.show(session, &report, job.number)
}

/// A job that its command leaves by an error or a panic has failed; it does not run on for ever. Once it has ended, the workers
/// are free for chores.
struct AtLeastEnded<'a>(&'a Job);

impl Drop for AtLeastEnded<'_> {
    fn drop(&mut self) {
        if self.0.is_running() && !self.0.is_background() {
            let _ = self.0.end(Err("its command failed".into()));
        }
        engine().resume_chores();
    }
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
    // How many results have been printed, are still to be printed, and were not.
    let (mut printed, mut room, mut kept) = (0, usize::MAX, 0);
    loop {
        let mut lines = String::new();
        let done = job.step(&mut *scan, &mut |found: &Results| {
            if shown {
                let mut found = Cow::Borrowed(found);
                if let Some(count) = found.count() {
                    let fit = count.min(room);
                    if fit < count {
                        found.to_mut().page(0, fit);
                    }
                    (printed, room, kept) = (printed + fit, room - fit, kept + (count - fit));
                }
                lines.push_str(&render::results(&found, columns, style));
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
            room = room.min(LAST);
        }
        if started.elapsed() > QUIET {
            if session.output.is_terminal() {
                session.output.progress(&scan.progress().line(started.elapsed(), style));
            } else if let Some(shown) = progress.get_or_insert_with(|| begin_progress(session, job)) {
                let now = scan.progress();
                shown.advance(now.thousandths(), now.under_way());
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
    if kept > 0 {
        let more = format!("mp-scan jobs show {} --from {printed}", job.number);
        session.output.note(&format!("{kept} more results were found by then: {more}"));
    }
    let report = job.end(scan.finish().map_err(|error| format!("{error:#}"))).map_err(anyhow::Error::msg)?;
    Ok(Some(report))
}

/// A progress that the debugger shows, in thousandths: how much there is to do is known only after a while.
fn begin_progress(session: &Session, job: &Job) -> Option<Progress> {
    Progress::begin(session.debugger, &format!("mp-scan {}", job.command), "", 1000)
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
                let now = job.progress();
                progress.advance(now.thousandths(), now.under_way());
            }
            return;
        }
        progress = None;
        engine().resume_chores();
        if let Some(Ok(report)) = job.outcome()
            && let Err(error) = delivery.write(&report, number, &|| false)
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
