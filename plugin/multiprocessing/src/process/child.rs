//! A child process, as the system has it: started, watched and ended through its pidfd, so that its number can never mean another process.

use super::activity::{self, Activity, Usage};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It left with this code.
    Exited(i32),
    /// This signal ended it.
    Signal(i32),
    /// It has ended, and somebody else in this process took its status.
    Unknown,
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
    /// This is safe in a process with many threads: nothing runs between the fork and the exec but the C library's own code.
    ///
    /// # Errors
    /// The program is not there or cannot be run, or the system refuses another process.
    pub(crate) fn spawn(
        program: &Path,
        arguments: &[OsString],
        stdin: BorrowedFd,
        stderr: BorrowedFd,
    ) -> io::Result<Child> {
        let path = c_string(program.as_os_str())?;
        let mut words = vec![path.clone()];
        for argument in arguments {
            words.push(c_string(argument)?);
        }
        let environment: Vec<CString> = std::env::vars_os()
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok())
            .collect();
        // A descriptor that is itself 0, 1 or 2 would be overwritten before it is used.
        let stdin = above_standard(stdin)?;
        let stderr = above_standard(stderr)?;
        let pid = posix_spawn(&path, &words, &environment, stdin.as_fd(), stderr.as_fd())?;
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

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends SIGKILL. A process that has ended is left alone.
    pub(crate) fn kill(&self) {
        // SAFETY: the system call takes a descriptor that lives, a number, no `siginfo_t`, and no flags. Its one failure is
        // that the process has ended.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
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
    fn ended(&self) -> bool {
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

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a path or argument"))
}

fn above_standard(descriptor: BorrowedFd) -> io::Result<OwnedFd> {
    let raw = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: `fcntl` has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: the system call takes two numbers.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, close-on-exec, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// `posix_spawn`'s two sets of wishes, given back in the end.
struct Wishes {
    actions: libc::posix_spawn_file_actions_t,
    attributes: libc::posix_spawnattr_t,
}

impl Drop for Wishes {
    fn drop(&mut self) {
        // SAFETY: both were initialized when this was made, and are not used after this.
        unsafe {
            libc::posix_spawn_file_actions_destroy(&raw mut self.actions);
            libc::posix_spawnattr_destroy(&raw mut self.attributes);
        }
    }
}

fn posix_spawn(
    path: &CString,
    arguments: &[CString],
    environment: &[CString],
    stdin: BorrowedFd,
    stderr: BorrowedFd,
) -> io::Result<libc::pid_t> {
    let check = |code: libc::c_int| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
    let pointers = |words: &[CString]| -> Vec<*mut libc::c_char> {
        words.iter().map(|word| word.as_ptr().cast_mut()).chain([std::ptr::null_mut()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    let mut pid = 0;
    // SAFETY: the two sets are initialized before they are used and destroyed by `Wishes`; the C library copies the path of
    // the open action; the pointer arrays end with null, and the strings behind them and the descriptors outlive the call.
    // The child changes none of our memory: the C library runs it on a stack of its own until the exec.
    unsafe {
        let mut actions = MaybeUninit::uninit();
        check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
        let mut attributes = MaybeUninit::uninit();
        if let Err(error) = check(libc::posix_spawnattr_init(attributes.as_mut_ptr())) {
            libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr());
            return Err(error);
        }
        let mut wishes = Wishes { actions: actions.assume_init(), attributes: attributes.assume_init() };

        let actions = &raw mut wishes.actions;
        check(libc::posix_spawn_file_actions_adddup2(actions, stdin.as_raw_fd(), 0))?;
        check(libc::posix_spawn_file_actions_addopen(actions, 1, c"/dev/null".as_ptr(), libc::O_WRONLY, 0))?;
        check(libc::posix_spawn_file_actions_adddup2(actions, stderr.as_raw_fd(), 2))?;
        check(libc::posix_spawn_file_actions_addclosefrom_np(actions, 3))?;

        let attributes = &raw mut wishes.attributes;
        let mut signals = MaybeUninit::uninit();
        libc::sigfillset(signals.as_mut_ptr());
        check(libc::posix_spawnattr_setsigdefault(attributes, signals.as_ptr()))?;
        libc::sigemptyset(signals.as_mut_ptr());
        check(libc::posix_spawnattr_setsigmask(attributes, signals.as_ptr()))?;
        let flags =
            libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK | libc::c_int::from(libc::POSIX_SPAWN_SETSID);
        check(libc::posix_spawnattr_setflags(attributes, flags as libc::c_short))?;

        check(libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            actions,
            attributes,
            arguments.as_ptr(),
            environment.as_ptr(),
        ))?;
    }
    Ok(pid)
}
