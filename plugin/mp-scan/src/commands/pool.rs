//! `mp-scan pool`.

use super::Command;
use crate::deliver::Delivery;
use crate::engine::engine;
use crate::hosts::Host;
use crate::session::Session;
use crate::settings::Settings;
use analysis::{HostRow, PoolStatus, Results, WorkerRow};
use anyhow::{Result, bail};
use multiprocessing::WorkerState;
use render::Format;

/// Show the worker processes, restart them, change the settings, or have other machines take part.
///
/// Workers are started by the first scan, and stay for the next ones. A worker that dies is replaced.
///
/// A host is a command that runs another one on another machine, such as `ssh w1` or `srun -u -Q -n1`, with keys or whatever it takes
/// not to be asked for a password. The worker program over there is the first `mp-worker` on its PATH, or what --worker names,
/// of the same build as the plugin. The host `platform` is the machine of the lldb-server that the debugger is connected to (`platform connect`):
/// this machine's worker is installed there for as long as it takes to start it. A core file that a host has at the same path with
/// the same content is read there, anything else is sent to it. A host that does not work is named, and the others go on.
#[derive(Debug, clap::Parser)]
#[command(after_help = "\
Settings, kept in mp-scan/config.ron in the config folder:
  workers=N|auto     worker processes here; auto: one for each processor
  (0: the debugger scans by itself, or where there are hosts, only they do)
  task-timeout=S     seconds after which a worker counts as hung
  memory=MIB         what a worker may take of its own
  limit=N            results shown, without --limit
  notify=true|false  whether a background job that ends says so at once
  foreground=S       seconds after which a command that the host cannot interrupt goes to the background; 0: never

Examples:
  mp-scan pool status
  mp-scan pool set workers=4 task-timeout=60
  mp-scan pool hosts add 'ssh w1' 4
  mp-scan pool hosts add 'srun -u -Q -n1' 8 --worker /opt/bin/mp-worker
  mp-scan pool hosts add platform 2
  mp-scan pool hosts remove 1")]
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
    /// Show or change which other machines have workers.
    Hosts {
        #[command(subcommand)]
        action: Option<HostsAction>,
    },
    /// End all workers; the next scan starts new ones.
    Restart,
}

#[derive(Debug, clap::Subcommand)]
enum HostsAction {
    /// Show them, with the numbers that they are removed by.
    List {
        /// How it is shown.
        #[arg(long, value_name = "text|json|ron", default_value = "text", hide_default_value = true)]
        format: Format,
    },
    /// Have another machine take part, from the next scan on.
    Add {
        /// A command that runs another one there, in quotes: 'ssh HOST', 'srun -u -Q -n1', 'docker exec CONTAINER'; or platform.
        #[arg(value_name = "COMMAND")]
        command: String,
        /// How many workers it has.
        #[arg(value_name = "SLOTS", default_value_t = 1)]
        slots: usize,
        /// The worker program there [default: mp-worker on its PATH; for platform, this machine's is installed].
        #[arg(long, value_name = "PATH")]
        worker: Option<String>,
    },
    /// Leave one out from the next scan on.
    Remove {
        #[arg(value_name = "N")]
        number: usize,
    },
}

#[derive(Debug)]
pub struct Pool;

impl Command for Pool {
    const NAME: &'static str = "pool";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let action = arguments.action.unwrap_or(Action::Status { format: Format::Text });
        let document = match &action {
            Action::Status { format } | Action::Hosts { action: Some(HostsAction::List { format }) } => *format,
            _ => Format::Text,
        };
        if document == Format::Text {
            session.announce();
        }
        match action {
            Action::Status { format } => {
                let settings = Settings::load()?;
                let status = PoolStatus { workers: workers()?, settings: settings.list(), hosts: hosts(&settings) };
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
                let status = PoolStatus { settings: settings.list(), ..PoolStatus::default() };
                let report = session.plain_report("pool", Results::Pool(status), 0);
                session
                    .output
                    .print(render::results(&report.results, report.columns, &session.output.style()).trim_end());
                Ok(())
            }
            Action::Hosts { action } => change_hosts(session, action),
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

fn change_hosts(session: &mut Session, action: Option<HostsAction>) -> Result<()> {
    let mut settings = Settings::load()?;
    match action.unwrap_or(HostsAction::List { format: Format::Text }) {
        HostsAction::List { format } => {
            let rows = hosts(&settings);
            let total = rows.len() as u64;
            let report = session.plain_report("pool hosts", Results::Hosts(rows), total);
            Delivery::here(format).show(session, &report, 0)
        }
        HostsAction::Add { command, slots, worker } => {
            let (host, notes) = Host::new(&command, slots, worker)?;
            settings.add_host(host)?;
            settings.save()?;
            for note in notes {
                session.output.note(&note);
            }
            let added = hosts(&settings).pop().into_iter().collect();
            let report = session.plain_report("pool hosts", Results::Hosts(added), 1);
            session.output.print(render::results(&report.results, report.columns, &session.output.style()).trim_end());
            Ok(())
        }
        HostsAction::Remove { number } => {
            let Some(index) = number.checked_sub(1).filter(|index| *index < settings.hosts.len()) else {
                bail!("no host {number}: see `mp-scan pool hosts list`");
            };
            let removed = settings.hosts.remove(index);
            settings.save()?;
            session.output.print(&format!("{} takes part no more", removed.command));
            Ok(())
        }
    }
}

fn hosts(settings: &Settings) -> Vec<HostRow> {
    let row = |(index, host): (usize, &Host)| HostRow {
        host: index as u64 + 1,
        command: host.command.clone(),
        slots: host.slots as u64,
        worker: match &host.worker {
            None if host.is_platform() => "installed from here".into(),
            _ => host.worker().to_owned(),
        },
    };
    settings.hosts.iter().enumerate().map(row).collect()
}

fn workers() -> Result<Vec<WorkerRow>> {
    let status = engine().pool().map(|pool| pool.status()).transpose()?.unwrap_or_default();
    let row = |worker: multiprocessing::WorkerStatus| {
        // The line has the host's name already.
        let said = format!("no worker by '{}': ", worker.host.as_deref().unwrap_or_default());
        let reason = worker.error.map(|error| error.strip_prefix(&said).map(str::to_owned).unwrap_or(error));
        // The machine's own name tells more, where one command has several machines behind it.
        let host = worker.host.map(|host| match worker.machine {
            Some(machine) if !host.split_whitespace().any(|word| word == machine) => format!("{host} ({machine})"),
            _ => host,
        });
        let state = match worker.state {
            WorkerState::Down => "down",
            WorkerState::Starting => "starting",
            WorkerState::Idle => "idle",
            WorkerState::Busy => "busy",
        };
        WorkerRow {
            host,
            pid: Some(worker.pid).filter(|pid| *pid != 0),
            state: state.into(),
            reason,
            tasks: worker.tasks,
            deaths: worker.deaths,
            memory: worker.memory,
        }
    };
    Ok(status.into_iter().map(row).collect())
}
