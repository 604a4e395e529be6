//! Workers on the machine of the lldb-server that the debugger is connected to: its platform puts the worker program there and
//! starts it, and the workers connect to this process by themselves.

use super::{Host, PLATFORM};
use crate::engine::worker_path;
use anyhow::{Context as _, Result, bail};
use lldb::{Debugger, Platform};
use multiprocessing::connection::Address;
use multiprocessing::{DialBack, Launcher, WorkerState, WorkerStatus};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Workers that were started have this long to connect before others are started in their place.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a machine is asked for nothing: to send there is to send nowhere (the port is `discard`).
const DISCARD: u16 = 9;

/// The workers on the machine of one connection to an lldb-server.
#[derive(Debug)]
pub struct PlatformSeats {
    dial: Arc<DialBack>,
    /// What tells one machine from another.
    machine: String,
    /// When workers were started last.
    started: Instant,
}

impl PlatformSeats {
    /// What takes the workers that connect, once for each slot of the host. It has the platform start those that are missing, so
    /// it is for a command's thread.
    ///
    /// # Errors
    /// If there is no such connection, or what LLDB says of it.
    pub fn ready(
        seats: &mut Option<Self>,
        host: &Host,
        debugger: &Debugger,
        status: &[WorkerStatus],
    ) -> Result<Arc<dyn Launcher>> {
        let platform = debugger.selected_platform();
        if !platform.is_connected_remote() {
            // Those that run go on, whatever the debugger does now.
            if let Some(seats) = seats {
                return Ok(Arc::clone(&seats.dial) as Arc<dyn Launcher>);
            }
            bail!(
                "the debugger is connected to no lldb-server: `platform select remote-linux`, `platform connect URL`"
            );
        }
        let machine = platform.host_name().context("the debugger's platform does not say its machine's name")?;
        let missing = match seats {
            Some(seats) if seats.machine == machine => {
                let works = |worker: &&WorkerStatus| matches!(worker.state, WorkerState::Idle | WorkerState::Busy);
                let name = seats.dial.name();
                let here = status.iter().filter(|worker| worker.host.as_deref() == Some(&*name)).filter(works).count();
                let waits = seats.started.elapsed() < PATIENCE;
                if waits { 0 } else { host.slots - here.min(host.slots) }
            }
            _ => host.slots,
        };
        if seats.as_ref().is_none_or(|seats| seats.machine != machine) {
            let address = Address::Tcp { host: reachable_address(&machine).to_string(), port: 0 };
            let dial = DialBack::bind(&address).with_context(|| format!("cannot listen at {address}"))?;
            let dial = Arc::new(dial.named(format!("{PLATFORM} {machine}")));
            *seats = Some(Self { dial, machine, started: Instant::now() });
        }
        let seats = seats.as_mut().context("they were just made")?;
        if missing > 0 {
            start(&platform, host, &seats.dial, missing)?;
            seats.started = Instant::now();
        }
        Ok(Arc::clone(&seats.dial) as Arc<dyn Launcher>)
    }
}

/// Starts workers over there.
fn start(platform: &Platform, host: &Host, dial: &DialBack, count: usize) -> Result<()> {
    let (program, installed) = match &host.worker {
        Some(path) => (path.clone(), false),
        None => (install(platform)?, true),
    };
    let [connect, address] = dial.arguments();
    let (variable, key) = dial.environment();
    let key = key.to_string_lossy();
    let launched =
        (0..count).try_for_each(|_| platform.launch(&program, &[&connect, &address], &[(variable, &key)]).map(drop));
    if installed {
        // What runs needs its file no more. If it cannot be removed, it is overwritten the next time.
        let _ = platform.remove(&program);
    }
    launched.with_context(|| format!("cannot start {program} on {}", dial.name()))
}

/// Copies this machine's worker program there, and returns its path.
fn install(platform: &Platform) -> Result<String> {
    let worker = worker_path()?;
    let triple = platform.triple();
    if !triple.is_empty() && !triple.starts_with(std::env::consts::ARCH) {
        bail!("this machine's worker does not run on {triple}: name one that is there with --worker PATH");
    }
    let folder = platform.working_directory().unwrap_or_else(|| "/tmp".into());
    let path = format!("{}/mp-worker-{}", folder.trim_end_matches('/'), std::process::id());
    platform.install_program(&worker, &path).with_context(|| format!("cannot install the worker as {path}"))?;
    Ok(path)
}

/// An address of this machine that another one reaches it at: the one that packets to it leave from.
fn reachable_address(machine: &str) -> IpAddr {
    let here = std::fs::read_to_string("/proc/sys/kernel/hostname").is_ok_and(|name| name.trim() == machine);
    let towards = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        // Nothing is sent: this only chooses a way.
        socket.connect((machine, DISCARD)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    if here { None } else { towards() }.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
