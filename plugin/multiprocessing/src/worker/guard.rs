//! A worker program as the guard of a command: it becomes that command, which from then on ends with whoever started it.

use crate::launch::GUARD;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The exit code if there is no such command, as a shell has it.
const NOT_RUN: u8 = 127;

/// The number of the process that started this one, and the command to become; `None` if this is no guard.
pub(super) fn command() -> Option<(u32, Vec<OsString>)> {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != GUARD).skip(1);
    let parent = arguments.next()?.to_str()?.parse().ok()?;
    Some((parent, arguments.collect()))
}

/// Becomes the command. Returns the exit code if it cannot.
pub(super) fn run(parent: u32, words: &[OsString]) -> u8 {
    let Some((program, arguments)) = words.split_first() else { return NOT_RUN };
    // A command that is asked may take leave of the other side. One whose parent has died before is not begun.
    if let Err(error) = set_pdeathsig(Signal::SIGTERM) {
        eprintln!("cannot guard '{}': {error}", program.display());
        return NOT_RUN;
    }
    if std::os::unix::process::parent_id() != parent {
        return 0;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("cannot run '{}': {error}", program.display());
    NOT_RUN
}
