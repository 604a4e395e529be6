//! A pool of worker processes.

mod commands;
mod dispatcher;
mod inbox;
mod job;
mod lifecycle;
mod patience;
mod seats;
mod tasks;
mod text;
mod watch;
mod worker;

pub use job::{Job, Next, TypedJob};

use crate::codec::{self, Message};
use crate::error::{JobError, StartError};
use crate::function::Function;
use crate::program::Program;
use crate::wire::NAME_LIMIT;
use commands::{Command, Commands};
use dispatcher::Dispatcher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long [`Pool::status`] waits for the dispatcher, which answers within microseconds unless the machine is very busy.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// What a pool is to be like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The worker program. A worker of another identity is refused.
    pub program: Program,
    /// How many processes; 0 counts as 1.
    pub workers: usize,
    /// How many bytes of its own memory a worker may take (its writable private memory, which mapped files and shared
    /// memory do not count in). One that needs more fails its task with [`OutOfMemory`](crate::TaskError::OutOfMemory).
    pub memory_limit: Option<u64>,
    /// How long a task may run. One whose worker is stopped by a signal does not last so long: it ends after about two seconds.
    pub task_timeout: Option<Duration>,
    /// How long a new worker may take until it is ready.
    pub start_timeout: Duration,
}

impl PoolConfig {
    /// As many workers as there are processors to run on, no limits, ten seconds to start.
    pub fn new(program: Program) -> PoolConfig {
        PoolConfig {
            program,
            workers: thread::available_parallelism().map_or(1, usize::from),
            memory_limit: None,
            task_timeout: None,
            start_timeout: Duration::from_secs(10),
        }
    }
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It is not ready yet.
    Starting,
    /// It waits for a task.
    Idle,
    /// It has a task.
    Busy,
}

/// One place in the pool: its worker of the moment, and what happened to all that had the place.
#[derive(Clone, Copy, Debug)]
pub struct WorkerStatus {
    /// The process.
    pub pid: u32,
    /// What it is doing.
    pub state: WorkerState,
    /// How many tasks were ended here by an answer, a refusal or a panic.
    pub tasks: u64,
    /// How many workers died here, or had to be killed.
    pub deaths: u64,
    /// The worker's own memory, in bytes (RssAnon); 0 if it cannot be read.
    pub memory: u64,
}

/// Worker processes, and the thread that looks after them. Dropping it ends the workers, within a second, and all jobs.
///
/// ```no_run
/// use multiprocessing::codec::Message;
/// use multiprocessing::{Next, Pool, PoolConfig, Program};
/// use std::time::Duration;
///
/// let mut config = PoolConfig::new(Program::new("/usr/lib/example/worker", "build 1"));
/// config.memory_limit = Some(64 << 20);
/// let pool = Pool::start(config)?;
/// let job = pool.job("reverse", Message::default())?;
/// job.submit(1, Message::plain(b"stressed".to_vec()));
/// match job.next(Duration::from_secs(1)) {
///     Next::Ended(id, Ok(bytes)) => println!("task {id} brought {} bytes", bytes.len()),
///     Next::Ended(id, Err(error)) if error.lost_worker() => println!("task {id} may be tried once more: {error}"),
///     Next::Ended(id, Err(error)) => println!("task {id}: {error}"),
///     Next::Nothing | Next::Idle => job.cancel(),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    commands: Arc<Commands>,
    deaths: Arc<AtomicU64>,
    jobs: AtomicU64,
    thread: Option<JoinHandle<()>>,
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
        let deaths = Arc::new(AtomicU64::new(0));
        let (started, start) = mpsc::channel();
        let dispatcher = Dispatcher::new(config, Arc::clone(&commands), Arc::clone(&deaths), started);
        let thread = thread::Builder::new().name("pool".into()).spawn(move || dispatcher.run()).map_err(resources)?;
        let pool = Pool { commands, deaths, jobs: AtomicU64::new(1), thread: Some(thread) };
        // On an error the pool is dropped, and so ended.
        start.recv().unwrap_or(Err(StartError::Closed))?;
        Ok(pool)
    }

    /// Opens a job: tasks of one function, with what they share. `setup` is sent once to each worker that
    /// gets a task of it. Jobs share the workers by turns.
    ///
    /// # Errors
    /// Too many descriptors (see [`JobError::DESCRIPTOR_LIMIT`]), too long a name, no memory or descriptor left. Whether the
    /// workers know the function only its tasks can tell.
    pub fn job(&self, function: &str, setup: Message) -> Result<Job, JobError> {
        if setup.descriptors.len() > JobError::DESCRIPTOR_LIMIT {
            return Err(JobError::Descriptors(setup.descriptors.len()));
        }
        if function.len() > NAME_LIMIT {
            return Err(JobError::Name(function.len()));
        }
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        Job::open(number, Arc::clone(&self.commands), function, setup)
    }

    /// [`Pool::job`] for a typed function.
    ///
    /// # Errors
    /// As there; and the set-up message may refuse to be encoded.
    pub fn typed_job<F: Function>(&self, setup: &F::Setup) -> Result<TypedJob<F>, JobError> {
        self.job(F::NAME, codec::encode(setup)?).map(TypedJob::new)
    }

    /// What each worker is doing.
    pub fn status(&self) -> Vec<WorkerStatus> {
        let (sender, receiver) = mpsc::channel();
        self.commands.send(Command::Status(sender));
        receiver.recv_timeout(STATUS_PATIENCE).unwrap_or_default()
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
        self.commands.send(Command::Restart(started));
        start.recv().unwrap_or(Err(StartError::Closed))
    }

    /// Changes the number of workers; 0 counts as 1. A worker that is too many ends its task first.
    pub fn resize(&self, workers: usize) {
        self.commands.send(Command::Resize(workers.max(1)));
    }

    /// Changes how long a task may run; it counts for those that run already.
    pub fn set_task_timeout(&self, timeout: Option<Duration>) {
        self.commands.send(Command::TaskTimeout(timeout));
    }

    /// Changes how much memory, in bytes, a worker may take. It counts for workers that are started from now on; see
    /// [`Pool::restart`].
    pub fn set_memory_limit(&self, limit: Option<u64>) {
        self.commands.send(Command::MemoryLimit(limit));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.commands.send(Command::Shutdown);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and its unwinding has ended the workers.
            let _ = thread.join();
        }
    }
}
