//! The program whose processes do the work.

use crate::bounded;
use crate::wire::NAME_LIMIT;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What tells a program that was started once more, as its own worker program, that it is a worker.
pub(crate) const MARK: &str = "--multiprocessing-worker";

/// Whether this process has come to its registry.
pub(crate) static SERVING: AtomicBool = AtomicBool::new(false);

/// A worker program: a file to run whose `main` is [`worker_main`](fn@crate::worker_main), or begins with
/// [`serve_if_worker`](crate::Registry::serve_if_worker).
///
/// ```
/// use multiprocessing::Program;
///
/// let program = Program::new("/usr/lib/example/worker", "build 7").argument("--quiet");
/// assert_eq!((program.path().to_str(), program.identity()), (Some("/usr/lib/example/worker"), "build 7"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    identity: String,
}

impl Program {
    /// A program of its own, whose registry was given this identity; at most 256 bytes of it count.
    pub fn new(path: impl Into<PathBuf>, identity: impl Into<String>) -> Program {
        Program { path: path.into(), arguments: Vec::new(), identity: bounded(identity.into(), NAME_LIMIT) }
    }

    /// This program itself, started once more. Its `main` must begin with
    /// [`serve_if_worker`](crate::Registry::serve_if_worker).
    ///
    /// # Errors
    /// The program's file is not known; or this process is itself such a worker, and has not come to its registry yet: then one
    /// more would start another, and so on without end.
    pub fn current(identity: impl Into<String>) -> io::Result<Program> {
        if is_worker() && !SERVING.load(Ordering::Relaxed) {
            return Err(io::Error::other(
                "this process was itself started as a worker: let main begin with Registry::serve_if_worker",
            ));
        }
        Ok(Program::new(std::env::current_exe()?, identity).argument(MARK))
    }

    /// Adds an argument for the program, which the library itself makes no use of.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Program {
        self.arguments.push(argument.into());
        self
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its registry must have been given, too.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// With its path made absolute: the host may change its folder before another process is started.
    pub(crate) fn absolute(mut self) -> io::Result<Program> {
        self.path = std::path::absolute(&self.path)?;
        Ok(self)
    }
}

/// Whether this process was started by [`Program::current`].
pub(crate) fn is_worker() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument == OsStr::new(MARK))
}
