//! What a pool is to be like.

use crate::codec::{self, CodecError};
use crate::function::Function;
use crate::launch::Launcher;
use crate::payload::Outgoing;
use crate::program::Program;
use crate::schema::schema;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// What a pool is to be like.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry, TaskError};
/// use std::time::Duration;
///
/// multiprocessing::function! {
///     fn sleep(seconds: u64) { std::thread::sleep(Duration::from_secs(seconds)); }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<sleep>().serve_if_worker();
///     let mut config = PoolConfig::new(Program::current("example")?);
///     config.workers = 2;
///     config.memory_limit = Some(64 << 20);
///     config.task_timeout = Some(Duration::from_millis(100));
///     let pool = Pool::start(config)?;
///     assert!(matches!(pool.apply(sleep, &60), Err(TaskError::Timeout(_))));
///     assert!(pool.apply(sleep, &0).is_ok());
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolConfig {
    /// The worker program. A worker of another identity is refused.
    pub program: Program,
    /// How many processes on this machine; 0 counts as 1 unless there are `remote` ones.
    pub workers: usize,
    /// Workers on other machines: a seat for each launcher. One that cannot be started, or is lost, does not hold up the others:
    /// its status says why, and it is tried again after a while.
    pub remote: Vec<Arc<dyn Launcher>>,
    /// How many bytes of its own memory a worker may take (its writable private memory, which mapped files and shared
    /// memory do not count in). One that needs more fails its task with [`OutOfMemory`](crate::TaskError::OutOfMemory).
    pub memory_limit: Option<u64>,
    /// How long a task may run. One whose worker is stopped by a signal does not last so long: it ends after about two seconds.
    pub task_timeout: Option<Duration>,
    /// How long a new worker may take until it is ready, its initializer included.
    pub start_timeout: Duration,
    /// How long a launcher may take, from its start to a worker that is ready. An engine such as Slurm may have to find room first.
    pub remote_start_timeout: Duration,
    /// After so long without a sign of life, a connection to another machine is lost. Both sides give one three times as often.
    pub remote_silence: Duration,
    /// What each new worker calls before its first task. If that fails, so does the start:
    /// [`StartError::Initializer`](crate::StartError::Initializer).
    pub initializer: Option<Initializer>,
    /// After so many tasks a worker is replaced by a new one; 0 counts as 1. `None`: it serves as long as it lives.
    pub max_tasks_per_worker: Option<u64>,
    /// What becomes of a task whose worker dies, in the call forms ([`Pool::map`](crate::Pool::map) and its kin). A
    /// [`Job`](crate::Job) leaves that to its owner.
    pub retry: RetryPolicy,
}

impl PoolConfig {
    /// As many workers as there are processors to run on, none elsewhere, no limits, ten seconds to start, one retry.
    pub fn new(program: Program) -> PoolConfig {
        PoolConfig {
            program,
            workers: thread::available_parallelism().map_or(1, usize::from),
            memory_limit: None,
            task_timeout: None,
            remote: Vec::new(),
            start_timeout: Duration::from_secs(10),
            remote_start_timeout: Duration::from_secs(60),
            remote_silence: Duration::from_secs(15),
            initializer: None,
            max_tasks_per_worker: None,
            retry: RetryPolicy::ONCE,
        }
    }
}

/// A function and its argument, for each new worker to call: see [`PoolConfig::initializer`].
///
/// ```
/// use multiprocessing::{Initializer, Pool, PoolConfig, Program, Registry};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// static OFFSET: AtomicU64 = AtomicU64::new(0);
///
/// multiprocessing::function! {
///     fn prepare(offset: u64) { OFFSET.store(offset, Ordering::Relaxed); }
/// }
/// multiprocessing::function! {
///     fn add(number: u64) -> u64 { number + OFFSET.load(Ordering::Relaxed) }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<prepare>().function::<add>().serve_if_worker();
///     let mut config = PoolConfig::new(Program::current("example")?);
///     config.initializer = Some(Initializer::new(prepare, &100)?);
///     let pool = Pool::start(config)?;
///     assert_eq!(pool.apply(add, &1)?, 101);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Initializer {
    pub(super) function: &'static str,
    pub(super) schema: u64,
    pub(super) argument: Arc<Outgoing>,
}

impl Initializer {
    /// What has come from another machine. The name is kept for good: a process is given one such function at most.
    pub(crate) fn carried(function: String, schema: u64, argument: Outgoing) -> Initializer {
        Initializer { function: function.leak(), schema, argument: Arc::new(argument) }
    }

    /// The function `function`, with this argument, which may hold handles.
    ///
    /// # Errors
    /// The argument refuses to be encoded, or there is no memory left for it.
    pub fn new<F: Function<Setup = ()>>(function: F, argument: &F::Argument) -> Result<Initializer, CodecError> {
        let _ = function;
        let mut argument = Outgoing::new(codec::encode(argument)?);
        argument.prepare().map_err(|error| CodecError::new(error.to_string()))?;
        Ok(Initializer { function: F::NAME, schema: schema::<F>(), argument: Arc::new(argument) })
    }
}

/// What becomes of a task whose worker died of it: by a signal, by leaving, by breaking its connection, or stopped for good.
/// It is then run once more by another worker, if it has a retry left; else it ends with its error, and never runs again.
///
/// A task that took too long or needed too much memory is not retried, nor is one that panicked or returned an error. What a
/// task had done before its worker died, it does twice when it is retried; where that matters, use [`RetryPolicy::NEVER`].
///
/// ```
/// use multiprocessing::{PoolConfig, Program, RetryPolicy};
///
/// let mut config = PoolConfig::new(Program::new("/usr/lib/example/worker", "build 1"));
/// assert_eq!(config.retry, RetryPolicy::ONCE);
/// config.retry = RetryPolicy::NEVER;
/// assert_eq!(config.retry.retries, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a task is run again.
    pub retries: u32,
}

impl RetryPolicy {
    /// Its first death is a task's error.
    pub const NEVER: RetryPolicy = RetryPolicy { retries: 0 };
    /// A task that a worker died of has a second try.
    pub const ONCE: RetryPolicy = RetryPolicy { retries: 1 };

    /// So many tries more than one.
    pub const fn times(retries: u32) -> RetryPolicy {
        RetryPolicy { retries }
    }
}
