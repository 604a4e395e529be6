//! Workers behind a command of an engine that is there already.

use super::command::Command;
use super::{Launcher, Transport};
use crate::program::Program;
use std::ffi::OsString;
use std::io;

/// The word that makes a worker program an agent on its standard input and output.
pub(crate) const STDIO: &str = "--stdio";
/// The word that makes a worker program become the command after it: see [`CommandPrefix::guard`].
pub(crate) const GUARD: &str = "--multiprocessing-guard";

/// A command that runs the words after it on another machine, its standard input and output being theirs: `ssh -T HOST`,
/// `srun -u -Q -n1`, `docker exec -i CONTAINER`, `kubectl exec -i POD --`.
///
/// It must pass bytes on as they are and at once. `ssh` must not make a terminal (`-T`), and `srun` holds back what is no whole line unless
/// it is given `-u`. The command runs in a session of its own, so it cannot ask for a password at a terminal.
///
/// ```no_run
/// use multiprocessing::{CommandPrefix, Pool, PoolConfig, Program};
/// use std::sync::Arc;
///
/// let mut config = PoolConfig::new(Program::new("/usr/lib/example/worker", "build 1"));
/// config.workers = 2;
/// // Two seats on one machine, and one wherever Slurm finds room.
/// let ssh = Arc::new(CommandPrefix::new(["ssh", "-T", "w1"], "/usr/lib/example/worker"));
/// let slurm = Arc::new(CommandPrefix::new(["srun", "-u", "-Q", "-n1"], "/usr/lib/example/worker"));
/// config.remote = vec![ssh.clone(), ssh, slurm];
/// let pool = Pool::start(config)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CommandPrefix {
    words: Vec<OsString>,
    worker: Vec<OsString>,
    guard: Option<Program>,
}

impl CommandPrefix {
    /// The prefix's words, the first of which is looked for in PATH, and the worker program as the other machine knows it.
    /// Mind that `ssh` puts the words together again and has a shell read them there.
    pub fn new<W: Into<OsString>>(words: impl IntoIterator<Item = W>, worker: impl Into<OsString>) -> CommandPrefix {
        CommandPrefix { words: words.into_iter().map(Into::into).collect(), worker: vec![worker.into()], guard: None }
    }

    /// Has a worker program of this machine run the command, so that it ends with the thread that launches it (in a pool, one that
    /// outlives the connection), whatever ends that: a command is sent SIGTERM then. Without a guard, one that does not listen yet,
    /// since it waits for an answer or for its turn, is left behind when this process is killed.
    #[must_use]
    pub fn guard(mut self, program: Program) -> CommandPrefix {
        self.guard = Some(program);
        self
    }

    /// Adds an argument for the worker program, which the library itself makes no use of.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> CommandPrefix {
        self.worker.push(argument.into());
        self
    }
}

impl Launcher for CommandPrefix {
    /// The prefix, as it is.
    fn name(&self) -> String {
        let words: Vec<_> = self.words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    fn launch(&self, _: &dyn Fn() -> bool) -> io::Result<Transport> {
        let mut words = self.words.iter().chain(&self.worker).cloned().chain([STDIO.into()]);
        let first = words.next().unwrap_or_default();
        Command::start(first, words.collect(), self.guard.as_ref())
    }
}

/// A worker behind pipes on this machine: what [`CommandPrefix`] is without a prefix. It shows what a worker elsewhere does, where there is
/// no elsewhere.
///
/// ```
/// use multiprocessing::{Launcher, Local, Program};
///
/// let launcher = Local::new(Program::new("/usr/lib/example/worker", "build 1"));
/// assert_eq!(launcher.name(), "local");
/// ```
#[derive(Clone, Debug)]
pub struct Local {
    program: Program,
}

impl Local {
    /// A worker of this program.
    pub fn new(program: Program) -> Local {
        Local { program }
    }
}

impl Launcher for Local {
    fn name(&self) -> String {
        "local".into()
    }

    fn launch(&self, _: &dyn Fn() -> bool) -> io::Result<Transport> {
        let words = self.program.arguments().iter().cloned().chain([STDIO.into()]).collect();
        Command::start(self.program.path().as_os_str().to_owned(), words, None)
    }
}
