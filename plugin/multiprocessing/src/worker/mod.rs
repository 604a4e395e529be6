//! A worker process: what a worker program's `main` does.

mod agent;
mod clone;
mod guard;
mod log;
mod panic;
mod run;
mod secret;
mod serve;
mod zygote;

pub(crate) use serve::context;

use crate::function::Registry;
use crate::packets::Packets;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, signal};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::thread;

/// The exit code of a process whose function has failed.
const FAILED: u8 = 1;
/// The exit code of a worker that was not started by a pool.
const NO_POOL: u8 = 2;
/// The exit code of a worker whose pool says what it does not understand.
const PROTOCOL: u8 = 3;

/// The whole of a worker program's `main`: serves whoever started this process, and returns when that has ended.
///
/// Arguments that end in `--stdio`, or in `--connect HOST:PORT`, make it the worker of a pool on another machine: see
/// [`CommandPrefix`](crate::CommandPrefix) and [`DialBack`](crate::DialBack).
///
/// ```no_run
/// use multiprocessing::{Registry, worker_main};
/// use std::process::ExitCode;
///
/// multiprocessing::function! { fn square(number: u64) -> u64 { number * number } }
///
/// fn main() -> ExitCode {
///     worker_main(Registry::new("build 7").function::<square>())
/// }
/// ```
pub fn worker_main(registry: Registry) -> ExitCode {
    ExitCode::from(serve(&registry))
}

/// Serves, and returns the exit code.
pub(crate) fn serve(registry: &Registry) -> u8 {
    if let Some((parent, words)) = guard::command() {
        return guard::run(parent, &words);
    }
    if let Some(connection) = run::control() {
        return run::serve(registry, connection);
    }
    if let Some((route, arguments)) = agent::route() {
        return agent::run(registry.identity(), route, arguments);
    }
    match start() {
        Ok(connection) => serve::Worker::new(registry, connection).run(),
        Err(error) => {
            say(format_args!("this program is a worker and is started by its pool, not by hand: {error}"));
            NO_POOL
        }
    }
}

/// Prepares the process; its connection to whoever started it.
fn start() -> io::Result<Packets> {
    // First of all, so that there is no moment in which the pool's death would go unseen for ever: what happened before
    // this shows as a hang-up, or as another parent, below.
    set_pdeathsig(Signal::SIGKILL)?;
    restore_fatal_signals();
    let connection = Packets::from_descriptor(io::stdin().as_fd().try_clone_to_owned()?)?;
    let nowhere = OpenOptions::new().read(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nowhere)?;
    let watched = connection.as_fd().try_clone_to_owned()?;
    thread::Builder::new()
        .name("watch".into())
        .stack_size(64 * 1024)
        .spawn(move || end_with_the_pool(&watched, PollFlags::empty()))?;
    std::panic::set_hook(Box::new(panic::note));
    Ok(connection)
}

/// Writes a line to standard error, where nobody may be reading: then there is nobody to be told of that either.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Rust's own handler, made to tell an overflow of the stack, swallows the first such signal that comes from outside.
fn restore_fatal_signals() {
    for fatal in [Signal::SIGSEGV, Signal::SIGBUS] {
        // SAFETY: the default action runs no code of ours. It is refused for no signal of these.
        let _ = unsafe { signal(fatal, SigHandler::SigDfl) };
    }
}

/// Ends the process when the pool's end of the connection is closed, whatever the main thread is doing. It asks for no
/// event but those that mean the same, so only the hang-up, which is always told, wakes it.
fn end_with_the_pool(connection: &OwnedFd, events: PollFlags) {
    loop {
        let mut entry = [PollFd::new(connection.as_fd(), events)];
        match poll(&mut entry, PollTimeout::NONE) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            // SAFETY: `_exit` ends the process at once; nothing of this process needs an orderly end.
            _ => unsafe { libc::_exit(0) },
        }
    }
}
