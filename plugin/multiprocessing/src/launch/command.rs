//! A command of this machine whose standard input and output are a connection.

use super::{Carrier, GUARD, Transport};
use crate::process::ExitStatus;
use crate::process::child::Child;
use crate::process::spawn::{Spawn, Standard};
use crate::program::Program;
use crate::wait::wait_readable;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The running command.
#[derive(Debug)]
pub(super) struct Command {
    process: Child,
}

impl Command {
    /// Starts it, in a session of its own, by `guard` if there is one.
    pub(super) fn start(program: OsString, arguments: Vec<OsString>, guard: Option<&Program>) -> io::Result<Transport> {
        let path = find(&program, std::env::var_os("PATH").as_deref()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no command '{}' on PATH", program.display()))
        })?;
        let (stdin, writer) = io::pipe()?;
        let (reader, stdout) = io::pipe()?;
        let (errors, stderr) = io::pipe()?;
        let standard = [stdin.into(), stdout.into(), stderr.into()].map(Standard::Descriptor);
        let (program, arguments) = match guard {
            None => (path.clone(), arguments),
            Some(guard) => {
                let own = [GUARD.into(), std::process::id().to_string().into(), path.clone().into_os_string()];
                (guard.path().to_owned(), guard.arguments().iter().cloned().chain(own).chain(arguments).collect())
            }
        };
        let spawn = Spawn {
            program: program.clone(),
            arguments,
            environment: Vec::new(),
            standard,
            control: None,
            session: true,
        };
        let process = Child::start(&spawn)
            .map_err(|error| io::Error::new(error.kind(), format!("cannot run '{}': {error}", program.display())))?;
        // Our own copies of its ends go with this, so that the end of the command is the end of the streams.
        drop(spawn);
        Ok(Transport::new(reader, writer).stderr(errors).carrier(Command { process }))
    }

    /// Sends a signal to it and to what it has started, which is in its process group unless it went to another one.
    fn signal(&self, signal: Signal) {
        // As long as its status was not taken, the group's number is no other's.
        if !self.process.ended() {
            let _ = killpg(Pid::from_raw(self.process.pid() as i32), signal);
        }
    }

    /// Waits until it has ended, at most until then.
    fn wait_until(&self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Some(status) = self.process.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            if !matches!(wait_readable(self.process.as_fd(), Some(deadline)), Ok(false)) {
                // One that somebody traces is dead before its status can be taken.
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }
}

impl Carrier for Command {
    /// It sees the end of its standard input, and has half of the time to end by itself; then it is asked, and then it is killed.
    fn end(&mut self, patience: Duration) -> Option<String> {
        let start = Instant::now();
        let status = self.wait_until(start + patience / 2).or_else(|| {
            self.signal(Signal::SIGTERM);
            self.wait_until(start + patience)
        });
        let status = status.or_else(|| {
            self.signal(Signal::SIGKILL);
            // Only one that hangs in the kernel outlasts this.
            self.wait_until(Instant::now() + Duration::from_secs(1))
        });
        status.map(|status| status.to_string())
    }
}

/// A program's file: the path itself if it has a slash, the first of that name in the folders otherwise.
fn find(program: &OsStr, folders: Option<&OsStr>) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(program.into());
    }
    if program.is_empty() {
        return None;
    }
    let runs = |path: &Path| path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    std::env::split_paths(folders?).map(|folder| folder.join(program)).find(|path| runs(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let folders = Some(OsStr::new("/nowhere:/bin:/usr/bin"));
        assert_eq!(find(OsStr::new("sh"), folders), Some("/bin/sh".into()));
        assert_eq!(find(OsStr::new("./sh"), folders), Some("./sh".into()));
        for (name, folders) in [("no such program", folders), ("", folders), ("sh", None)] {
            assert_eq!(find(OsStr::new(name), folders), None);
        }
    }
}
