//! `mp-scan jobs`.

use super::Command;
use crate::deliver::{Delivery, page};
use crate::engine::engine;
use crate::jobs::{Job, PATIENCE};
use crate::session::Session;
use analysis::{Report, Results};
use anyhow::{Result, bail};
use render::Format;
use std::path::PathBuf;
use std::sync::Arc;

/// List jobs, show their reports again, wait for them, or cancel them.
///
/// Every scan is a job. Its report is kept until 32 later ones have finished.
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Examples:
  mp-scan jobs list
  mp-scan jobs wait 3
  mp-scan jobs show 3 --from 256
  mp-scan jobs cancel 3")]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List all jobs that are kept.
    List {
        /// How the list is shown.
        #[arg(long, value_name = "text|json|ron", default_value = "text", hide_default_value = true)]
        format: Format,
    },
    /// Show a finished job's report, without scanning again.
    Show {
        /// The job's number.
        #[arg(value_name = "N")]
        job: u64,
        /// Begin with result K, counted from 0.
        #[arg(long, value_name = "K", default_value_t = 0)]
        from: u64,
        /// Show at most N results [default: all that are kept, from K on].
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// How the report is shown.
        #[arg(long, value_name = "text|json|ron", default_value = "text", hide_default_value = true)]
        format: Format,
        /// Write the report to FILE, and print one summary line.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Wait until a job has finished, and show its report.
    Wait {
        /// The job's number.
        #[arg(value_name = "N")]
        job: u64,
        /// How the report is shown.
        #[arg(long, value_name = "text|json|ron", default_value = "text", hide_default_value = true)]
        format: Format,
    },
    /// End a running job. What it has found by then is kept.
    Cancel {
        /// The job's number.
        #[arg(value_name = "N")]
        job: u64,
    },
}

impl Action {
    /// Whether nothing but text is asked for.
    fn is_text(&self) -> bool {
        match self {
            Action::List { format } | Action::Show { format, .. } | Action::Wait { format, .. } => {
                *format == Format::Text
            }
            Action::Cancel { .. } => true,
        }
    }
}

#[derive(Debug)]
pub struct Jobs;

impl Command for Jobs {
    const NAME: &'static str = "jobs";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let jobs = &engine().jobs;
        if arguments.action.as_ref().is_none_or(Action::is_text) {
            session.announce();
        }
        match arguments.action.unwrap_or(Action::List { format: Format::Text }) {
            Action::List { format } => {
                let rows: Vec<_> = jobs.list().iter().map(|job| job.row()).collect();
                let total = rows.len() as u64;
                let report = session.plain_report("jobs", Results::Jobs(rows), total);
                Delivery::here(format).show(session, &report, 0)
            }
            Action::Show { job, from, limit, format, output } => {
                let job = jobs.find(job)?;
                let Some(outcome) = job.wait(std::time::Duration::ZERO) else {
                    bail!("job {0} is still running: mp-scan jobs wait {0}", job.number);
                };
                let report = outcome.map_err(|error| failed(&job, &error))?;
                let page = page(&report, from, limit.unwrap_or(u64::MAX))?;
                Delivery { format, output }.show(session, &page, job.number)
            }
            Action::Wait { job, format } => {
                let job = jobs.find(job)?;
                let report = wait(session, &job)?;
                Delivery::here(format).show(session, &report, job.number)
            }
            Action::Cancel { job } => {
                let job = jobs.find(job)?;
                if !job.is_running() {
                    bail!("job {0} has ended: mp-scan jobs show {0}", job.number);
                }
                job.cancel();
                let report = wait(session, &job)?;
                session.output.print(&format!("job {}: {}", job.number, render::summary(&report)));
                Ok(())
            }
        }
    }
}

/// Waits for a job on this thread, which meanwhile reads memory for it where that takes the debugger. An interrupt ends the
/// waiting, not the job.
fn wait(session: &mut Session, job: &Arc<Job>) -> Result<Arc<Report>> {
    let server = job.relay().map(|relay| relay.serve());
    let style = session.output.style();
    loop {
        let patience = match &server {
            // The relay's requests are what takes the time; the job is only looked at.
            Some(server) => {
                server.run(PATIENCE);
                std::time::Duration::ZERO
            }
            None => PATIENCE,
        };
        if let Some(outcome) = job.wait(patience) {
            session.output.clear_progress();
            return outcome.map_err(|error| failed(job, &error));
        }
        if session.interrupt.requested() {
            bail!("job {0} is still running: mp-scan jobs cancel {0} ends it", job.number);
        }
        session.output.progress(&job.progress().line(job.elapsed(), &style));
    }
}

fn failed(job: &Job, error: &str) -> anyhow::Error {
    anyhow::anyhow!("job {} failed: {error}", job.number)
}
