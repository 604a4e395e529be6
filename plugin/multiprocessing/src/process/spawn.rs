//! `posix_spawn`: the one way in which a program is started.

use nix::fcntl::{FcntlArg, fcntl};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The number of the descriptor over which a process and whoever started it talk, where its standard input is its own.
pub(crate) const CONTROL: i32 = 3;

/// What becomes one of a new process's standard descriptors.
#[derive(Debug)]
pub(crate) enum Standard {
    /// What this process has there.
    Inherit,
    /// `/dev/null`.
    Null,
    /// This.
    Descriptor(OwnedFd),
}

/// What is to be started. Its signals are at their defaults and unblocked, and it inherits no descriptor that is not named here.
#[derive(Debug)]
pub(crate) struct Spawn {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// What is added to this process's environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Standard input, output and error.
    pub(crate) standard: [Standard; 3],
    /// What becomes descriptor [`CONTROL`].
    pub(crate) control: Option<OwnedFd>,
    /// Whether it gets a session of its own, so that the terminal's signals do not reach it.
    pub(crate) session: bool,
}

impl Spawn {
    /// Starts it; its number.
    pub(super) fn run(&self) -> io::Result<libc::pid_t> {
        let path = c_string(self.program.as_os_str())?;
        let mut words = vec![path.clone()];
        for argument in &self.arguments {
            words.push(c_string(argument)?);
        }
        let added = |name: &OsString| self.environment.iter().any(|(other, _)| other == name);
        let inherited = std::env::vars_os().filter(|(name, _)| !added(name));
        let environment: Vec<CString> = inherited
            .chain(self.environment.iter().cloned())
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok())
            .collect();
        let mut descriptors = Vec::new();
        for (number, standard) in (0..).zip(&self.standard) {
            match standard {
                Standard::Inherit => {}
                Standard::Null => descriptors.push((number, None)),
                Standard::Descriptor(descriptor) => {
                    descriptors.push((number, Some(above_targets(descriptor.as_fd())?)));
                }
            }
        }
        if let Some(control) = &self.control {
            descriptors.push((CONTROL, Some(above_targets(control.as_fd())?)));
        }
        posix_spawn(&path, &words, &environment, &descriptors, self.session)
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a path or argument"))
}

/// A duplicate. A descriptor that itself has one of the numbers that are given out would be overwritten before it is used.
fn above_targets(descriptor: BorrowedFd) -> io::Result<OwnedFd> {
    let raw = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(CONTROL + 1))?;
    // SAFETY: `fcntl` has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
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

/// Each of `descriptors` is a number in the new process, and what is to be there: `/dev/null` if nothing is named.
fn posix_spawn(
    path: &CString,
    arguments: &[CString],
    environment: &[CString],
    descriptors: &[(i32, Option<OwnedFd>)],
    session: bool,
) -> io::Result<libc::pid_t> {
    let check = |code: libc::c_int| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
    let pointers = |words: &[CString]| -> Vec<*mut libc::c_char> {
        words.iter().map(|word| word.as_ptr().cast_mut()).chain([std::ptr::null_mut()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    let first_closed = if descriptors.iter().any(|(number, _)| *number == CONTROL) { CONTROL + 1 } else { CONTROL };
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
        for (number, descriptor) in descriptors {
            check(match descriptor {
                Some(descriptor) => libc::posix_spawn_file_actions_adddup2(actions, descriptor.as_raw_fd(), *number),
                None => {
                    let null = c"/dev/null".as_ptr();
                    libc::posix_spawn_file_actions_addopen(actions, *number, null, libc::O_RDWR, 0)
                }
            })?;
        }
        check(libc::posix_spawn_file_actions_addclosefrom_np(actions, first_closed))?;

        let attributes = &raw mut wishes.attributes;
        let mut signals = MaybeUninit::uninit();
        libc::sigfillset(signals.as_mut_ptr());
        check(libc::posix_spawnattr_setsigdefault(attributes, signals.as_ptr()))?;
        libc::sigemptyset(signals.as_mut_ptr());
        check(libc::posix_spawnattr_setsigmask(attributes, signals.as_ptr()))?;
        let mut flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        if session {
            flags |= libc::c_int::from(libc::POSIX_SPAWN_SETSID);
        }
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
