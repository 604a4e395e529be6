//! A pool of worker processes.

mod callbacks;
mod calls;
mod commands;
mod config;
mod dispatcher;
mod flow;
mod imap;
mod inbox;
mod job;
mod lifecycle;
mod patience;
mod remote;
mod results;
mod seats;
mod tasks;
mod text;
mod watch;
mod worker;

pub use calls::Calls;
pub use config::{Initializer, PoolConfig, RetryPolicy};
pub use imap::{Imap, ImapUnordered};
pub use job::{Job, JobSpec, MakeRemote, Next, TypedJob};
pub use results::{AsyncResult, MapResult};

use crate::codec::{self, Message};
use crate::error::{JobError, StartError, StatusError};
use crate::flags::Flags;
use crate::function::Function;
use crate::launch::Launcher;
use crate::payload::{Elsewhere, Outgoing};
use crate::schema::schema;
use callbacks::Callbacks;
use commands::{Command, Commands};
use dispatcher::Dispatcher;
use job::{Opener, Wishes};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long [`Pool::status`] waits for the dispatcher, which answers within microseconds unless the machine is very busy.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// There is none: it cannot be started, for the reason that [`WorkerStatus::error`] gives.
    Down,
    /// It is not ready yet.
    Starting,
    /// It waits for a task.
    Idle,
    /// It has a task.
    Busy,
}

/// One place in the pool: its worker of the moment, and what happened to all that had the place.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry, WorkerState};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").serve_if_worker();
///     let mut config = PoolConfig::new(Program::current("example")?);
///     config.workers = 2;
///     let pool = Pool::start(config)?;
///     for worker in pool.status()? {
///         assert!(worker.state != WorkerState::Busy && worker.deaths == 0 && worker.host.is_none());
///         println!("process {} has {:?} bytes of its own", worker.pid, worker.memory);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct WorkerStatus {
    /// The name of its launcher; `None` on this machine.
    pub host: Option<String>,
    /// The name of its machine; `None` on this machine, or while there is no worker.
    pub machine: Option<String>,
    /// The process; on another machine, the one that passes tasks on to the worker. 0 while there is none.
    pub pid: u32,
    /// What it is doing.
    pub state: WorkerState,
    /// How many tasks were ended here by an answer, a refusal or a panic.
    pub tasks: u64,
    /// How many workers died here, or had to be killed.
    pub deaths: u64,
    /// The worker's own memory, in bytes (RssAnon), on another machine as it was told last, with a task's end or some seconds ago;
    /// `None` if it is not known.
    pub memory: Option<u64>,
    /// Why there is no worker, while there is none.
    pub error: Option<String>,
}

/// Worker processes, and the thread that looks after them. Dropping it ends the workers, within a second, and all jobs.
///
/// The call forms ([`apply`](Pool::apply), [`map`](Pool::map), [`imap`](Pool::imap) and their kin) run functions of one
/// argument, or of one tuple of arguments; a [`Job`] is what they are made of, for whoever needs more say.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry, TaskError};
///
/// multiprocessing::function! {
///     fn divide(a: u64, b: u64) -> u64 { a / b }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<divide>().serve_if_worker();
///     let mut config = PoolConfig::new(Program::current("example")?);
///     config.workers = 2;
///     config.memory_limit = Some(64 << 20);
///     let pool = Pool::start(config)?;
///     assert_eq!(pool.apply(divide, &(6, 3))?, 2);
///     let quotients = pool.map(divide, [(8, 2), (1, 0), (9, 3)]);
///     assert!(matches!(quotients[0], Ok(4)));
///     assert!(matches!(&quotients[1], Err(TaskError::Panic { message, .. }) if message.contains("divide by zero")));
///     assert!(matches!(quotients[2], Ok(3)));
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Pool {
    opener: Opener,
    callbacks: Arc<Callbacks>,
    deaths: Arc<AtomicU64>,
    /// How many places it has on this machine.
    width: AtomicUsize,
    /// How many more on other machines.
    remote_width: AtomicUsize,
    retry: RetryPolicy,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Pool {
    /// Starts the workers, all at the same time, and returns when the first is ready.
    ///
    /// # Errors
    /// No worker could be started: the program is missing, of another build, or dies; or this process is out of resources.
    pub fn start(mut config: PoolConfig) -> Result<Pool, StartError> {
        let resources = |error| StartError::Resources(Arc::new(error));
        // The host may change its folder before a worker has to be replaced.
        let path = config.program.path().to_owned();
        let spawn = |error| StartError::Spawn { path, error: Arc::new(error) };
        config.program = config.program.absolute().map_err(spawn)?;
        let commands = Arc::new(Commands::new().map_err(resources)?);
        let flags = Arc::new(Flags::new().map_err(resources)?);
        let deaths = Arc::new(AtomicU64::new(0));
        let (width, retry) = (AtomicUsize::new(config.workers), config.retry);
        let remote_width = AtomicUsize::new(config.remote.len());
        let (started, start) = mpsc::channel();
        let dispatcher =
            Dispatcher::new(config, Arc::clone(&commands), Arc::clone(&flags), Arc::clone(&deaths), started);
        let thread = thread::Builder::new().name("pool".into()).spawn(move || dispatcher.run()).map_err(resources)?;
        let opener = Opener { commands, flags, numbers: Arc::new(AtomicU64::new(1)) };
        let thread = Mutex::new(Some(thread));
        let pool = Pool { opener, callbacks: Arc::default(), deaths, width, remote_width, retry, thread };
        // On an error the pool is dropped, and so ended.
        start.recv().unwrap_or(Err(StartError::Closed))?;
        Ok(pool)
    }

    /// Opens a job: tasks of one function, with what they share. `setup` is sent once to each worker that
    /// gets a task of it. Jobs share the workers by turns.
    ///
    /// # Errors
    /// Too many descriptors (see [`JobError::DESCRIPTOR_LIMIT`]), too long a name, no memory or descriptor left, or the pool
    /// was closed. Whether the workers know the function only its tasks can tell.
    pub fn job(&self, function: &str, setup: Message) -> Result<Job, JobError> {
        self.open(JobSpec::new(function, setup))
    }

    /// [`Pool::job`] with what else there is to say about it.
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, spec: JobSpec) -> Result<Job, JobError> {
        let JobSpec { function, setup, remote_setup } = spec;
        let elsewhere = remote_setup.map(|bytes| Elsewhere::Bytes(Arc::new(bytes)));
        self.opener.open(Wishes { function: &function, setup, elsewhere, ..Wishes::default() })
    }

    /// Opens a job of another machine's pool.
    pub(crate) fn open_carried(&self, function: &str, schema: u64, setup: Outgoing) -> Result<Job, JobError> {
        self.opener.open(Wishes { function, schema, carried: Some(setup), ..Wishes::default() })
    }

    /// [`Pool::job`] for a typed function.
    ///
    /// # Errors
    /// As there; and the set-up message may refuse to be encoded.
    pub fn typed_job<F: Function>(&self, setup: &F::Setup) -> Result<TypedJob<F>, JobError> {
        let wishes =
            Wishes { function: F::NAME, schema: schema::<F>(), setup: codec::encode(setup)?, ..Wishes::default() };
        self.opener.open(wishes).map(TypedJob::new)
    }

    /// What each worker is doing.
    ///
    /// # Errors
    /// The pool has ended, or does not answer within 2 s.
    pub fn status(&self) -> Result<Vec<WorkerStatus>, StatusError> {
        let (sender, receiver) = mpsc::channel();
        self.opener.commands.send(Command::Status(sender));
        status_within(STATUS_PATIENCE, &receiver)
    }

    /// How many workers have died or had to be killed, since the start of the pool. Those that were ended by
    /// [`Pool::resize`] and [`Pool::restart`] do not count.
    pub fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// Replaces all workers, and returns when the first new one is ready. Tasks that were under way begin anew.
    ///
    /// # Errors
    /// As for [`Pool::start`].
    pub fn restart(&self) -> Result<(), StartError> {
        let (started, start) = mpsc::channel();
        self.opener.commands.send(Command::Restart(started));
        start.recv().unwrap_or(Err(StartError::Closed))
    }

    /// Changes the number of workers on this machine; 0 counts as 1 unless there are others. A worker that is too many ends its
    /// task first.
    pub fn resize(&self, workers: usize) {
        self.width.store(workers, Ordering::Relaxed);
        self.opener.commands.send(Command::Resize(workers));
    }

    /// Changes the workers on other machines: one for each launcher. Those whose launcher (the same [`Arc`]) was there before stay; the
    /// others end at once, and their tasks begin anew elsewhere.
    pub fn set_remote(&self, launchers: Vec<Arc<dyn Launcher>>) {
        self.remote_width.store(launchers.len(), Ordering::Relaxed);
        self.opener.commands.send(Command::SetRemote(launchers));
    }

    /// Changes how long a task may run; it counts for those that run already.
    pub fn set_task_timeout(&self, timeout: Option<Duration>) {
        self.opener.commands.send(Command::TaskTimeout(timeout));
    }

    /// Changes how much memory, in bytes, a worker may take. It counts for workers that are started from now on; see
    /// [`Pool::restart`].
    pub fn set_memory_limit(&self, limit: Option<u64>) {
        self.opener.commands.send(Command::MemoryLimit(limit));
    }

    /// Takes no more tasks: those that are submitted from now on end as [`TaskError::Closed`](crate::TaskError::Closed), at
    /// once. The tasks that were submitted before run to their end, and then the pool ends. Returns at once; see [`Pool::join`].
    pub fn close(&self) {
        self.opener.commands.send(Command::Finish);
    }

    /// Waits until a pool that was closed or terminated has ended, its workers included. A job whose results are not taken may hold
    /// its last tasks back, and so this.
    pub fn join(&self) {
        self.opener.commands.wait_until_over(None);
        self.join_thread();
    }

    /// As [`Pool::join`], but waits no longer than this; whether it has ended.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        let over = self.opener.commands.wait_until_over(Some(timeout));
        if over {
            self.join_thread();
        }
        over
    }

    /// Ends the workers whatever they do, and all tasks that have not ended, as [`TaskError::Closed`](crate::TaskError::Closed).
    /// Returns when the workers are gone, after a second at the latest, even if they are stopped by a signal.
    pub fn terminate(&self) {
        self.opener.commands.send(Command::Shutdown);
        self.join_thread();
    }

    fn join_thread(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there has been printed, and its unwinding has ended the workers.
            let _ = thread.join();
        } else {
            self.opener.commands.wait_until_over(None);
        }
    }
}

impl Drop for Pool {
    /// Ends it as [`Pool::terminate`] does. Callbacks of calls that have ended are waited for.
    fn drop(&mut self) {
        self.terminate();
        self.callbacks.end();
    }
}

/// The dispatcher's answer, if it comes in time.
fn status_within(
    patience: Duration,
    answer: &mpsc::Receiver<Vec<WorkerStatus>>,
) -> Result<Vec<WorkerStatus>, StatusError> {
    answer.recv_timeout(patience).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => StatusError::Silent(patience),
        mpsc::RecvTimeoutError::Disconnected => StatusError::Closed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dispatcher_that_does_not_answer_is_no_pool_without_workers() {
        let (sender, answer) = mpsc::channel();
        let patience = Duration::from_millis(1);
        assert_eq!(status_within(patience, &answer).err(), Some(StatusError::Silent(patience)));
        sender.send(Vec::new()).expect("it is waited for");
        assert!(status_within(patience, &answer).is_ok_and(|status| status.is_empty()));
        drop(sender);
        assert_eq!(status_within(patience, &answer).err(), Some(StatusError::Closed));
    }
}
