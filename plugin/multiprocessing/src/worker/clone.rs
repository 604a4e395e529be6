//! A fork of a process with one thread, whose child is a child of this process's parent.

use std::io;
use std::time::{Duration, Instant};

/// Which side of a fork this is.
pub(super) enum Side {
    Old,
    New,
}

/// A thread that has ended for whoever joined it, or left its scope, is there for a moment longer.
const LINGERING: Duration = Duration::from_millis(100);

/// How many threads this process has, when those that are about to end are gone.
fn threads() -> io::Result<usize> {
    let until = Instant::now() + LINGERING;
    loop {
        let count = std::fs::read_dir("/proc/self/task")?.count();
        if count == 1 || Instant::now() >= until {
            return Ok(count);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes another process of this one. It is this process's sibling: its parent is this one's.
///
/// What the C library's `fork` would mend in the child is mended here as far as this library's processes need it: the number that the main thread
/// has of itself, and its list of robust locks. Handlers of `pthread_atfork` are not called.
///
/// # Errors
/// There are other threads, whose locks would stay locked for ever in the new process; or the system refuses another process.
pub(super) fn sibling() -> io::Result<Side> {
    let threads = threads()?;
    if threads != 1 {
        return Err(io::Error::other(format!(
            "it has {threads} threads: what it preloads must leave none running beside the main thread"
        )));
    }
    let mut number_address: usize = 0;
    // SAFETY: the kernel writes the address to the variable, which is large enough for it. Where it does not know the call, the
    // variable stays zero.
    unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut number_address, 0, 0, 0) };
    let (mut robust_head, mut robust_size): (usize, usize) = (0, 0);
    // SAFETY: the kernel writes an address and a size to the two variables. 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut robust_head, &raw mut robust_size) };

    let mut flags = libc::CLONE_PARENT;
    if number_address != 0 {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    // SAFETY: without CLONE_VM and with no stack given this is a fork: the new process has a copy of all memory, its stack too. This
    // process has one thread, so no lock of the C library or of ours is held by anybody who would not be there to release it. The kernel
    // writes the new process's number to the C library's own place for it, in that process only. The fourth and the fifth argument are the latter's address and the thread-local storage, in an order that depends
    // on the machine; the storage is not looked at without CLONE_SETTLS.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags | libc::SIGCHLD),
            0_usize,
            0_usize,
            number_address,
            number_address,
        )
    };
    match pid {
        0 => {
            if robust_head != 0 {
                // SAFETY: it is the C library's own list, at the same address in this process as in the old one.
                unsafe { libc::syscall(libc::SYS_set_robust_list, robust_head, robust_size) };
            }
            Ok(Side::New)
        }
        1.. => Ok(Side::Old),
        _ => Err(io::Error::last_os_error()),
    }
}
