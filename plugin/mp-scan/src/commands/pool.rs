//! `mp-scan pool`.

use super::Command;
use crate::deliver::Delivery;
use crate::engine::engine;
use crate::session::Session;
use crate::settings::Settings;
use analysis::{PoolStatus, Results, WorkerRow};
use anyhow::{Result, bail};
use multiprocessing::WorkerState;
use render::Format;

/// Show the worker processes, restart them, or change the settings.
///
/// Workers are started by the first scan, and stay for the next ones. A worker that dies is replaced.
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Settings, kept in mp-scan/config.ron in the config folder:
  workers=N|auto     worker processes; auto: one for each processor
  task-timeout=S     seconds after which a worker counts as hung
  memory=MIB         what a worker may take of its own
  limit=N            results shown, without --limit
  notify=true|false  whether a background job that ends says so at once
  foreground=S       seconds after which a command that the host cannot interrupt goes to the background; 0: never

Examples:
  mp-scan pool status
  mp-scan pool set workers=4 task-timeout=60")]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the workers and the settings.
    Status {
        /// How it is shown.
        #[arg(long, value_name = "text|json|ron", default_value = "text", hide_default_value = true)]
        format: Format,
    },
    /// Change settings and keep them.
    Set {
        #[arg(value_name = "KEY=VALUE", required = true)]
        assignments: Vec<String>,
    },
    /// End all workers; the next scan starts new ones.
    Restart,
}

#[derive(Debug)]
pub struct Pool;

impl Command for Pool {
    const NAME: &'static str = "pool";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let action = arguments.action.unwrap_or(Action::Status { format: Format::Text });
        if !matches!(action, Action::Status { format: Format::Json | Format::Ron }) {
            session.announce();
        }
        match action {
            Action::Status { format } => {
                let status = PoolStatus { workers: workers(), settings: Settings::load()?.list() };
                let total = status.workers.len() as u64;
                let report = session.plain_report("pool", Results::Pool(status), total);
                Delivery::here(format).show(session, &report, 0)
            }
            Action::Set { assignments } => {
                let mut settings = Settings::load()?;
                for assignment in &assignments {
                    settings.set(assignment)?;
                }
                settings.save()?;
                // Limits count for workers that are started from now on.
                if engine().jobs.running() == 0 {
                    engine().drop_pool();
                }
                let status = PoolStatus { workers: Vec::new(), settings: settings.list() };
                let report = session.plain_report("pool", Results::Pool(status), 0);
                session.output.print(render::results(&report, &session.output.style()).trim_end());
                Ok(())
            }
            Action::Restart => {
                if engine().jobs.running() > 0 {
                    bail!("jobs are running: wait for them or cancel them first (mp-scan jobs list)");
                }
                engine().drop_pool();
                session.output.print("the workers have ended; the next scan starts new ones");
                Ok(())
            }
        }
    }
}

fn workers() -> Vec<WorkerRow> {
    let status = engine().pool().map(|pool| pool.status()).unwrap_or_default();
    let row = |worker: &multiprocessing::WorkerStatus| WorkerRow {
        pid: worker.pid,
        state: match worker.state {
            WorkerState::Down => "down",
            WorkerState::Starting => "starting",
            WorkerState::Idle => "idle",
            WorkerState::Busy => "busy",
        }
        .into(),
        tasks: worker.tasks,
        deaths: worker.deaths,
        memory: worker.memory,
    };
    status.iter().map(row).collect()
}
