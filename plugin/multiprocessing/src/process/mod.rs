//! Processes of a worker program.

pub(crate) mod activity;
mod builder;
pub(crate) mod child;
mod entry;
mod keeper;
mod own;
pub(crate) mod spawn;
mod zygote;

pub use builder::{Builder, StartMethod, Stdio};
pub use child::ExitStatus;
pub(crate) use child::SignalName;
pub use own::{CurrentProcess, ParentProcess, cpu_count, current, parent};
pub(crate) use own::{own_pidfd, tell};
pub use zygote::Zygote;
pub(crate) use zygote::environment;

use crate::program::Program;
use entry::Entry;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long a daemon that was killed may take to be gone before its handle's drop leaves it to others.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// A process that runs one function: CPython's `Process`.
///
/// As a descriptor it is CPython's `sentinel`: readable once the process has ended, for `poll` and its like. All that this does to the
/// process goes through that descriptor, so that it can never meet another one of the same number.
///
/// It is in this process's session and group, so what the terminal sends for Ctrl-C reaches it too, and its signals are at their
/// defaults.
///
/// A process that is dropped goes on, and its status is taken when it has ended, so that no zombie is left; a daemon that is dropped is
/// killed. All of this can be used from several threads at a time.
///
/// ```
/// use multiprocessing::{ExitStatus, Process, Program, Registry};
/// use std::time::Duration;
///
/// multiprocessing::function! {
///     fn leave(code: i32, after: Duration) -> () {
///         std::thread::sleep(after);
///         std::process::exit(code)
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<leave>().serve_if_worker();
///     let program = Program::current("example")?;
///
///     let process = Process::builder(&program).name("first").start(leave, &(7, Duration::ZERO))?;
///     assert_eq!(process.join()?, ExitStatus::Exited(7));
///
///     let process = Process::builder(&program).daemon(true).start(leave, &(0, Duration::from_secs(60)))?;
///     assert_eq!(process.join_timeout(Duration::ZERO)?, None);
///     process.terminate()?;
///     assert_eq!(process.join()?, ExitStatus::Signal(15));
///     Ok(())
/// }
/// ```
pub struct Process {
    entry: Arc<Entry>,
}

impl Process {
    /// A process of this program, to be described further and started.
    pub fn builder(program: &Program) -> Builder {
        Builder::new(program)
    }

    /// Its number. Once it has ended, other processes can have the same.
    pub fn pid(&self) -> u32 {
        self.entry.child.pid()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// Whether it ends with this process.
    pub fn daemon(&self) -> bool {
        self.entry.daemon
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.entry.status()
    }

    /// Waits until it has ended.
    ///
    /// After it, this process's logger has had the records that the other has sent, unless the logger takes more than a second for them.
    ///
    /// # Errors
    /// The system is short of memory. A signal is no error, and does not end the wait.
    pub fn join(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.entry.join(None)? {
                return Ok(status);
            }
        }
    }

    /// As [`Process::join`], but waits no longer than this; `None` if it has not ended by then.
    ///
    /// # Errors
    /// As for [`Process::join`].
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.entry.join(Some(timeout))
    }

    /// Asks it to end: sends SIGTERM. One that has ended is left alone.
    ///
    /// # Errors
    /// It is another user's by now.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Ends it: sends SIGKILL. One that has ended is left alone. It may take some time to be gone: [`join`](Process::join) waits for that.
    ///
    /// # Errors
    /// It is another user's by now.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Sends it a signal. One that has ended is left alone.
    ///
    /// # Errors
    /// There is no such signal, or the process is another user's by now.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match self.entry.child.signal(signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// Gives back all that this process has of it, and its status.
    ///
    /// # Errors
    /// It still runs. The error has the handle.
    pub fn close(self) -> Result<ExitStatus, StillRunning> {
        match self.exit_status() {
            Some(status) => Ok(status),
            None => Err(StillRunning(self)),
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.entry.child.as_fd()
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("daemon", &self.daemon())
            .field("exit_status", &self.exit_status())
            .finish()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit_status().is_some() {
            return;
        }
        if self.daemon() {
            self.entry.child.kill();
            let _ = crate::wait::wait_readable(self.as_fd(), Some(Instant::now() + DROP_PATIENCE));
            if self.exit_status().is_some() {
                return;
            }
        }
        // Without a thread for it, it would be a zombie once it has ended: nothing worse.
        let _ = keeper::watch(&self.entry);
    }
}

/// A process cannot be closed while it runs.
#[derive(Debug, thiserror::Error)]
#[error("process '{}' ({}) still runs: join it first", .0.name(), .0.pid())]
pub struct StillRunning(Process);

impl StillRunning {
    /// The process.
    pub fn into_process(self) -> Process {
        self.0
    }
}

/// A process that this one has started, as [`active_children`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveChild {
    /// Its name.
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// Whether it ends with this process.
    pub daemon: bool,
}

/// The [`Process`]es of this process that have not ended, in the order in which they were started; those whose handle was dropped
/// too. Zygotes, and the workers of pools, are not among them.
///
/// ```
/// use multiprocessing::{Process, Program, Registry, active_children, channel};
///
/// multiprocessing::function! {
///     fn wait(end: multiprocessing::Receiver<()>) -> () { let _ = { end }.recv(); }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<wait>().serve_if_worker();
///     let (sender, receiver) = channel()?;
///     let process = Process::builder(&Program::current("example")?).name("waits").start(wait, &receiver)?;
///     assert!(active_children().iter().any(|child| child.name == "waits" && child.pid == process.pid()));
///     drop((sender, receiver));
///     process.join()?;
///     assert!(active_children().is_empty());
///     Ok(())
/// }
/// ```
pub fn active_children() -> Vec<ActiveChild> {
    let list =
        |entry: Arc<Entry>| ActiveChild { name: entry.name.clone(), pid: entry.child.pid(), daemon: entry.daemon };
    entry::alive().into_iter().map(list).collect()
}
