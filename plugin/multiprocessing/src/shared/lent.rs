//! Who else has a piece of shared memory: the kernel knows, even of those that were killed.
//!
//! Whoever hands memory over opens it anew and puts a shared file lock on what it has opened. The lock belongs to that, not to
//! a process: it lasts while the descriptor is in a message, and while a receiver has it, and is gone when the last copy of it
//! is closed, by whatever means. So an exclusive lock can be had once nobody has the memory any more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// How often a lock is asked for that somebody has only for a moment, to see whether it can be had.
const TRIES: u32 = 1000;

/// Opens the same memory anew: a lock on it is another one.
pub(super) fn reopen(memory: BorrowedFd) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{}", memory.as_raw_fd()))
}

/// Opens the same memory anew, with a lock by which its maker sees that it is lent.
pub(super) fn lend(memory: BorrowedFd) -> io::Result<File> {
    let file = reopen(memory)?;
    share(file.as_fd())?;
    Ok(file)
}

/// Puts the shared lock on what was opened.
pub(super) fn share(file: BorrowedFd) -> io::Result<()> {
    for _ in 0..TRIES {
        if flock(file, libc::LOCK_SH)? {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process keeps the memory locked"))
}

/// Whether nobody else has it lent. A shared lock of its own on what was opened is lost.
pub(super) fn is_alone(file: BorrowedFd) -> bool {
    let alone = flock(file, libc::LOCK_EX).unwrap_or(false);
    if alone {
        let _ = flock(file, libc::LOCK_UN);
    }
    alone
}

/// Whether the lock could be had at once.
fn flock(file: BorrowedFd, kind: libc::c_int) -> io::Result<bool> {
    // SAFETY: the system call takes a descriptor that lives, and a number.
    if unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}
