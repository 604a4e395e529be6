//! Interrupts from the terminal, which reach all of its processes.

use nix::sys::signal::{SigHandler, Signal, signal};
use std::io;

/// Ignores them in this process.
pub(super) fn ignore() -> io::Result<()> {
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }?;
    Ok(())
}
