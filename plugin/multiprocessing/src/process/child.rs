//! A child process, as the system has it: started, watched and ended through its pidfd, so that its number can never mean another process.

use super::activity::{self, Activity, Usage};
use super::spawn::{Spawn, Standard};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

/// How a process ended.
///
/// ```
/// use multiprocessing::ExitStatus;
///
/// assert!(ExitStatus::Exited(0).success());
/// assert_eq!(ExitStatus::Signal(15).code(), Some(-15));
/// assert_eq!(ExitStatus::Signal(15).to_string(), "died of SIGTERM");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It left with this code.
    Exited(i32),
    /// This signal ended it.
    Signal(i32),
    /// It has ended, and somebody else in this process took its status.
    Unknown,
}

impl ExitStatus {
    /// Whether it left with code 0.
    pub fn success(&self) -> bool {
        *self == ExitStatus::Exited(0)
    }

    /// The status as one number, as CPython's `exitcode` is: the code, or the signal's number below zero. `None` if it is not
    /// known.
    pub fn code(&self) -> Option<i32> {
        match *self {
            ExitStatus::Exited(code) => Some(code),
            ExitStatus::Signal(signal) => Some(-signal),
            ExitStatus::Unknown => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "exited with code {code}"),
            ExitStatus::Signal(signal) => write!(f, "died of {}", SignalName(*signal)),
            ExitStatus::Unknown => f.write_str("died, its status taken by somebody else"),
        }
    }
}

/// A signal's number, shown by its name where it has one.
pub(crate) struct SignalName(pub(crate) i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}

/// A running child process. It is not ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    pidfd: OwnedFd,
}

impl Child {
    /// Starts a program in a session of its own, with all signals at their defaults and unblocked. Its standard input and
    /// error are the given descriptors, its output goes nowhere, and it inherits no other descriptor.
    ///
    /// # Errors
    /// The program is not there or cannot be run, or the system refuses another process.
    pub(crate) fn spawn(
        program: &Path,
        arguments: &[OsString],
        stdin: BorrowedFd,
        stderr: BorrowedFd,
    ) -> io::Result<Child> {
        Child::start(&Spawn {
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            environment: Vec::new(),
            standard: [
                Standard::Descriptor(stdin.try_clone_to_owned()?),
                Standard::Null,
                Standard::Descriptor(stderr.try_clone_to_owned()?),
            ],
            control: None,
            session: true,
        })
    }

    /// Starts a program.
    ///
    /// This is safe in a process with many threads: nothing runs between the fork and the exec but the C library's own code.
    ///
    /// # Errors
    /// The program is not there or cannot be run, or the system refuses another process.
    pub(crate) fn start(spawn: &Spawn) -> io::Result<Child> {
        let pid = spawn.run()?;
        match pidfd_open(pid) {
            Ok(pidfd) => Ok(Child { pid: pid.unsigned_abs(), pidfd }),
            Err(error) => {
                // Without a pidfd it cannot be watched, so it must not be left running.
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                let _ = nix::sys::wait::waitpid(pid, None);
                Err(error)
            }
        }
    }

    /// A child that somebody else has made for this process, who has passed on its pidfd.
    pub(crate) fn adopt(pid: u32, pidfd: OwnedFd) -> Child {
        Child { pid, pidfd }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends SIGKILL. A process that has ended is left alone.
    pub(crate) fn kill(&self) {
        // The one failure is that the process has ended.
        let _ = self.signal(libc::SIGKILL);
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// `ESRCH` if it has ended and its status was taken; the process has become another user's; there is no such signal.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: the system call takes a descriptor that lives, a number, no `siginfo_t`, and no flags.
        let failed = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        } != 0;
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes its status if it has ended; it is no zombie from then on.
    pub(crate) fn try_wait(&self) -> Option<ExitStatus> {
        loop {
            let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG;
            // SAFETY: `info` is writable and of the right type, the descriptor lives.
            let failed =
                unsafe { libc::waitid(libc::P_PIDFD, self.pidfd.as_raw_fd() as libc::id_t, info.as_mut_ptr(), flags) }
                    != 0;
            if failed {
                match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => continue,
                    // Somebody else in this process waits for any child, or has SIGCHLD ignored.
                    _ => return self.ended().then_some(ExitStatus::Unknown),
                }
            }
            // SAFETY: `waitid` has filled it, or left it zero, which is valid too and means that the process still runs.
            let info = unsafe { info.assume_init() };
            // SAFETY: these are the fields that `waitid` fills.
            let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
            return match (pid, info.si_code) {
                (0, _) => None,
                (_, libc::CLD_EXITED) => Some(ExitStatus::Exited(status)),
                _ => Some(ExitStatus::Signal(status)),
            };
        }
    }

    /// Takes its status if it has ended; whether it is no zombie of ours any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.try_wait().is_some()
    }

    /// What it is doing.
    pub(crate) fn activity(&self) -> io::Result<Activity> {
        self.about(activity::activity(self.pid)?)
    }

    /// What it has had of the processors; `None` where the kernel does not count it.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.about(activity::usage(self.pid)?).ok()
    }

    /// Its own memory in bytes: what mapped files and shared memory do not count in.
    pub(crate) fn own_memory(&self) -> io::Result<u64> {
        self.about(activity::own_memory(self.pid)?)
    }

    /// What was read by its number is about it if it still runs: until it ends, no other process has that number.
    fn about<T>(&self, value: T) -> io::Result<T> {
        if self.ended() { Err(io::ErrorKind::NotFound.into()) } else { Ok(value) }
    }

    /// Whether it has ended, whoever took its status.
    pub(crate) fn ended(&self) -> bool {
        let mut entry = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut entry, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Child {
    /// The pidfd: readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A descriptor for a process: readable once it has ended.
pub(crate) fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the system call takes two numbers.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, close-on-exec, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}
