//! Processes as the unit of parallelism: a pool of workers that survives their deaths.
//!
//! A closure cannot cross a process, and a plugin cannot run its host once more. So work is a *registered function* in a
//! *worker program*: a small binary whose `main` is [`worker_main`](fn@worker_main). A [`Pool`] starts some processes of it and hands them
//! tasks. What a task does wrong costs that task only: it may crash, be killed, leave, hang, or take too much memory, and
//! its own result says so ([`TaskError`]), while the others go on and the pool has a new worker.
//!
//! ```no_run
//! use multiprocessing::{Context, Function, Next, Pool, PoolConfig, Program, Registry, worker_main};
//! use std::time::Duration;
//!
//! /// Counts a byte. What the tasks share is which one.
//! struct Count(u8);
//!
//! impl Function for Count {
//!     const NAME: &'static str = "count";
//!     type Setup = u8;
//!     type Argument = Vec<u8>;
//!     type Value = usize;
//!
//!     fn open(byte: u8) -> Result<Count, String> {
//!         Ok(Count(byte))
//!     }
//!
//!     fn call(&mut self, text: Vec<u8>, _context: &Context<'_>) -> Result<usize, String> {
//!         Ok(text.into_iter().filter(|byte| *byte == self.0).count())
//!     }
//! }
//!
//! /// The worker program's main.
//! fn worker() -> std::process::ExitCode {
//!     worker_main(Registry::new("build 1").function::<Count>())
//! }
//!
//! /// In the program that has the work.
//! fn count() -> Result<usize, Box<dyn std::error::Error>> {
//!     let mut config = PoolConfig::new(Program::new("/usr/lib/example/worker", "build 1"));
//!     config.workers = 2;
//!     config.task_timeout = Some(Duration::from_secs(30));
//!     let pool = Pool::start(config)?;
//!     let job = pool.typed_job::<Count>(&b'x')?;
//!     for (id, text) in [b"xylophone".to_vec(), b"axe".to_vec()].iter().enumerate() {
//!         job.submit(id as u64, text)?;
//!     }
//!     let mut sum = 0;
//!     loop {
//!         match job.next(Duration::from_secs(1)) {
//!             Next::Ended(_, Ok(found)) => sum += found,
//!             Next::Ended(id, Err(error)) => eprintln!("task {id}: {error}"),
//!             Next::Nothing => {}
//!             Next::Idle => return Ok(sum),
//!         }
//!     }
//! }
//! ```
//!
//! A [`Process`] is one process for one function, to be joined, watched and ended as a child of this program; what a pool does, it does
//! with no more than that.
//!
//! # How it works
//!
//! - One thread, the dispatcher, starts the workers, owns all that is known of them, and lives as long as the pool. It waits
//!   for packets, for deaths (by pidfd) and for commands in one `poll`.
//! - Workers are started by `posix_spawn`, so a host with many threads is safe, and its size does not matter. They are in a
//!   session of their own, with default signals, without the host's descriptors.
//! - A [`Process`] is started in the same way, or forked by a [`Zygote`], a process with one thread that has preloaded: never by this
//!   one. It shares the terminal's session with this program, and keeps no descriptor of it but those that it is given.
//! - The `log` records of workers and processes reach this program's logger.
//! - A worker dies with its pool, however that ended: its parent's death is a signal to it, and a thread of its own waits for
//!   the connection to hang up.
//! - A worker has two tasks in hand at a time, one that it runs and one that it goes on with; if they are small, as many as keep
//!   it busy for some 400 µs, which are sent in one packet. It writes down which one it has begun, in shared memory; when it
//!   dies, only that one is to blame, and the others go to another worker unnoticed, as they do when that one turns out to take
//!   long while others have nothing to do. Small answers come back through a ring in the same memory, and the dispatcher is
//!   woken when it has slept on for half of them.
//! - A task whose worker does not answer is waited for with patience: until its timeout, until the worker is seen to be
//!   stopped by a signal, or, once its job is cancelled, until the worker has had time of its own to hear of it.
//! - Small payloads travel in a packet, large ones in sealed memory whose descriptor is passed: nothing is ever in
//!   `/dev/shm`, `/tmp`, or anywhere else where it could be left behind.
//! - Memory is bounded both ways: a job whose results are not taken gets no more tasks started.
//!
//! # Other machines
//!
//! A worker elsewhere is `worker --stdio` behind whatever command runs programs there ([`CommandPrefix`]: ssh, Slurm, a
//! container's runtime), or `worker --connect HOST:PORT` if nothing carries its bytes ([`DialBack`]). It takes a seat of the pool
//! ([`PoolConfig::remote`]) beside the local ones: the same calls, the same errors. Over there an agent has a pool of one worker, so
//! that a crash, a limit or a panic is told as what it is, and costs the connection nothing. A connection that is lost costs the task at
//! its front, as [`TaskError::Connection`] with what the engine said; a host that is down holds nobody up.
//!
//! Linux 5.4 or later. A worker program must call [`worker_main`](fn@worker_main) before it starts threads of its own.

mod bulk;
pub mod codec;
pub mod connection;
mod error;
mod failure;
mod flags;
mod function;
mod futex;
mod launch;
mod link;
mod logging;
mod macros;
pub mod manager;
mod memory;
mod message;
mod packets;
mod payload;
mod pipe;
mod pool;
mod process;
mod program;
mod queue;
mod report;
mod ring;
mod schema;
mod shared;
mod spill;
pub mod stream;
pub mod sync;
mod wait;
pub mod wire;
mod worker;

pub use error::{JobError, StartError, TaskError};
pub use function::{Context, Function, Refusal, Registry, Serve, cancelled};
pub use launch::{Carrier, CommandPrefix, DialBack, Launcher, Local, Transport};
pub use logging::log_to_stderr;
pub use manager::{
    ManagedDict, ManagedEvent, ManagedGuard, ManagedList, ManagedLock, ManagedQueue, ManagedSemaphore, ManagedTypes,
    ManagedValue, Manager, ManagerError, Proxy,
};
pub use memory::{OutOfBounds, SealedMemory, SharedMemory};
pub use message::{Bytes, RecvError, SendError};
pub use payload::Payload;
pub use pipe::{Pipe, Receiver, Sender, channel, channel_with_capacity, pipe, pipe_with_capacity};
pub use pool::{
    AsyncResult, Calls, Imap, ImapUnordered, Initializer, Job, JobSpec, MakeRemote, MapResult, Next, Pool, PoolConfig,
    RetryPolicy, TypedJob, WorkerState, WorkerStatus,
};
pub use process::{
    ActiveChild, Builder, CurrentProcess, ExitStatus, ParentProcess, Process, StartMethod, Stdio, StillRunning, Zygote,
    active_children, cpu_count, current, parent,
};
pub use program::Program;
pub use queue::{JoinableQueue, NothingToDo, Queue, QueueBuilder};
pub use shared::{Plain, Segment, Segments, SegmentsError, Shared, SharedGuard, SharedSlice, SharedSliceGuard};
pub use sync::{
    Barrier, BarrierError, BoundedSemaphore, Condition, ConditionError, Event, Lock, LockError, LockGuard, OverRelease,
    RLock, RLockGuard, Semaphore,
};
pub use wait::wait;
pub use worker::worker_main;

/// Text of at most `limit` bytes.
fn bounded(mut text: String, limit: usize) -> String {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
