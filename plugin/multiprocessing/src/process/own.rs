//! What a process knows of itself and of the one that has started it.

use super::child::pidfd_open;
use crate::futex::deadline;
use crate::wait::wait_readable;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The name of a process that this library has not started.
const MAIN: &str = "main";

/// What this process was told when it was started.
#[derive(Debug)]
struct Told {
    name: String,
    daemon: bool,
    parent: ParentProcess,
}

static TOLD: OnceLock<Told> = OnceLock::new();

/// In a process that this library has started.
pub(crate) fn tell(name: &str, daemon: bool, parent: u32, parent_name: &str, pidfd: OwnedFd) {
    let parent = ParentProcess { pid: parent, name: parent_name.to_owned(), pidfd };
    // A process is started once.
    let _ = TOLD.set(Told { name: name.to_owned(), daemon, parent });
}

/// This process, as [`current`] tells of it.
///
/// ```
/// let current = multiprocessing::current();
/// assert_eq!(current.name(), "main");
/// assert_eq!(current.pid(), std::process::id());
/// assert!(!current.daemon());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CurrentProcess {
    name: &'static str,
    daemon: bool,
}

impl CurrentProcess {
    /// The name that it was given when it was started; `main` if this library has not started it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether it ends with its parent.
    pub fn daemon(&self) -> bool {
        self.daemon
    }
}

/// This process: CPython's `current_process`.
pub fn current() -> CurrentProcess {
    TOLD.get().map_or(CurrentProcess { name: MAIN, daemon: false }, |told| CurrentProcess {
        name: &told.name,
        daemon: told.daemon,
    })
}

/// The process that has started this one, as [`parent`] tells of it. As a descriptor it is readable once that has ended.
///
/// ```
/// use multiprocessing::{Process, Program, Registry, parent};
///
/// multiprocessing::function! {
///     fn check(expected: u32) -> () {
///         let parent = parent().expect("it was started as a process");
///         assert_eq!((parent.pid(), parent.name(), parent.is_alive()), (expected, "main", true));
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<check>().serve_if_worker();
///     assert!(parent().is_none());
///     let process = Process::builder(&Program::current("example")?).start(check, &std::process::id())?;
///     assert!(process.join()?.success());
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct ParentProcess {
    pid: u32,
    name: String,
    pidfd: OwnedFd,
}

impl ParentProcess {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        wait_readable(self.pidfd.as_fd(), Some(Instant::now())).is_ok_and(|ended| !ended)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// The system is short of memory.
    pub fn join(&self) -> io::Result<()> {
        wait_readable(self.pidfd.as_fd(), None).map(|_| ())
    }

    /// As [`ParentProcess::join`], but waits no longer than this; whether it has ended.
    ///
    /// # Errors
    /// As for [`ParentProcess::join`].
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<bool> {
        wait_readable(self.pidfd.as_fd(), deadline(Some(timeout)))
    }
}

impl AsFd for ParentProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The process that has started this one with this library: CPython's `parent_process`. `None` if another way led here.
pub fn parent() -> Option<&'static ParentProcess> {
    TOLD.get().map(|told| &told.parent)
}

/// How many threads this process can run at the same time: its processors, as its affinity and its control group's quota have
/// them, and not those of the machine. At least 1.
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A descriptor for this process itself, to be given to others.
pub(crate) fn own_pidfd() -> io::Result<OwnedFd> {
    pidfd_open(nix::unistd::getpid().as_raw())
}
