//! What starts workers on other machines, kept from one command to the next.

use super::Host;
use super::platform::PlatformSeats;
use crate::engine::worker_path;
use crate::settings::Settings;
use lldb::Debugger;
use multiprocessing::{CommandPrefix, Launcher, Program, Transport, WorkerStatus};
use std::io;
use std::sync::Arc;

/// Those of the hosts in use. A pool knows its workers by them, so they stay as long as their hosts do.
#[derive(Debug, Default)]
pub struct Launchers(Vec<Placed>);

/// A host in use.
#[derive(Debug)]
struct Placed {
    host: Host,
    seats: Seats,
}

#[derive(Debug)]
enum Seats {
    Command(Vec<Arc<dyn Launcher>>),
    Platform(Option<PlatformSeats>),
}

impl Launchers {
    /// One for each worker that the hosts shall have. `status` is what the pool says of those that it has. Call it on a
    /// command's thread: it has the debugger's lldb-server start workers that are missing.
    pub fn of(&mut self, settings: &Settings, debugger: &Debugger, status: &[WorkerStatus]) -> Vec<Arc<dyn Launcher>> {
        let mut before = std::mem::take(&mut self.0);
        let mut launchers = Vec::new();
        for host in &settings.hosts {
            let kept = before.iter().position(|placed| placed.host == *host).map(|index| before.swap_remove(index));
            let mut placed = kept.unwrap_or_else(|| Placed::new(host));
            launchers.extend(placed.launchers(debugger, status));
            self.0.push(placed);
        }
        launchers
    }

    /// What the pool says of a host that has no worker, and what to do.
    pub fn explained(&self, error: &str) -> String {
        let is_it = |placed: &&Placed| error.starts_with(&format!("no worker by '{}': ", placed.host.name()));
        match self.0.iter().find(is_it).and_then(|placed| placed.host.advice()) {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_owned(),
        }
    }
}

impl Placed {
    fn new(host: &Host) -> Self {
        let seats = if host.is_platform() { Seats::Platform(None) } else { Seats::Command(commands(host)) };
        Self { host: host.clone(), seats }
    }

    fn launchers(&mut self, debugger: &Debugger, status: &[WorkerStatus]) -> Vec<Arc<dyn Launcher>> {
        match &mut self.seats {
            Seats::Command(launchers) => launchers.clone(),
            Seats::Platform(seats) => match PlatformSeats::ready(seats, &self.host, debugger, status) {
                Ok(launcher) => vec![launcher; self.host.slots],
                Err(error) => vec![Arc::new(Unavailable { name: super::PLATFORM, reason: format!("{error:#}") })],
            },
        }
    }
}

fn commands(host: &Host) -> Vec<Arc<dyn Launcher>> {
    // They were checked when the settings were read.
    let words = host.words().unwrap_or_default();
    let mut prefix = CommandPrefix::new(words, host.worker());
    // Where there is none, there may be hosts all the same.
    if let Ok(path) = worker_path() {
        prefix = prefix.guard(Program::new(path, analysis::remote::BUILD));
    }
    let launcher = || Arc::new(prefix.clone()) as Arc<dyn Launcher>;
    (0..host.slots).map(|_| launcher()).collect()
}

/// A host that cannot have workers now.
#[derive(Debug)]
struct Unavailable {
    name: &'static str,
    reason: String,
}

impl Launcher for Unavailable {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn launch(&self, _: &dyn Fn() -> bool) -> io::Result<Transport> {
        Err(io::Error::new(io::ErrorKind::NotConnected, self.reason.clone()))
    }
}
