//! Processes as the unit of parallelism, as CPython's `multiprocessing` has them: processes, a pool of workers that survives their
//! deaths, locks and memory that processes share, managers, and connections to other programs, CPython's too.
//!
//! A closure cannot cross a process, and a library cannot run its host once more. So work is a *registered function* in a *worker
//! program*: a small binary whose `main` is [`worker_main`](fn@worker_main), or the program itself, if its `main` begins with
//! [`Registry::serve_if_worker`]:
//!
//! ```
//! use multiprocessing::{Pool, PoolConfig, Program, Registry, TaskError};
//!
//! multiprocessing::function! {
//!     fn collatz(number: u64) -> u32 {
//!         assert!(number > 0, "it has no way to 1");
//!         let next = |n: &u64| Some(if n % 2 == 0 { n / 2 } else { 3 * n + 1 });
//!         std::iter::successors(Some(number), next).take_while(|n| *n != 1).count() as u32
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A worker of the pool below gets no further than this.
//!     Registry::new("build 1").function::<collatz>().serve_if_worker();
//!
//!     let pool = Pool::start(PoolConfig::new(Program::current("build 1")?))?;
//!     let steps = pool.map(collatz, [27, 0, 6]);
//!     assert!(matches!(steps[0], Ok(111)));
//!     // What a task does wrong costs that task only: its own result says so, and the others go on.
//!     assert!(matches!(&steps[1], Err(TaskError::Panic { message, .. }) if message.contains("no way to 1")));
//!     assert!(matches!(steps[2], Ok(8)));
//!     Ok(())
//! }
//! ```
//!
//! A task may also crash, be killed, leave, hang, or take too much memory: [`TaskError`] has each of these.
//!
//! # What CPython has, and what it is called here
//!
//! | CPython | here |
//! | --- | --- |
//! | `Process`, `current_process`, `parent_process`, `active_children`, `cpu_count` | [`Process`], [`current`], [`parent`], [`active_children`], [`cpu_count`] |
//! | `exitcode`, `sentinel` | [`ExitStatus`], and [`Process`] as a descriptor |
//! | `set_start_method`: spawn, forkserver | [`Builder::start_method`]: [`StartMethod::Spawn`], [`StartMethod::Zygote`]; never fork |
//! | `Pool`: `apply`, `map`, `starmap`, `imap`, `imap_unordered`, `…_async` | [`Pool`]: [`apply`](Pool::apply), [`map`](Pool::map) (also of tuples), [`imap`](Pool::imap), [`imap_unordered`](Pool::imap_unordered), [`apply_async`](Pool::apply_async), [`map_async`](Pool::map_async) |
//! | `chunksize`; `initializer`, `maxtasksperchild`; callbacks | [`Calls::chunk_size`]; [`PoolConfig`]; [`AsyncResult::on_end`], [`MapResult::on_end`] |
//! | `Queue`, `SimpleQueue`, `JoinableQueue` | [`Queue`], [`JoinableQueue`] |
//! | `Pipe`, `connection.wait` | [`pipe()`], and [`channel`] for one direction; [`wait`](fn@wait) |
//! | `Lock`, `RLock`, `Semaphore`, `BoundedSemaphore`, `Event`, `Condition`, `Barrier` | [`Lock`], [`RLock`], [`Semaphore`], [`BoundedSemaphore`], [`Event`], [`Condition`], [`Barrier`] |
//! | `Value`, `Array` | [`Shared`], [`SharedSlice`] |
//! | `shared_memory.SharedMemory` | [`SharedMemory`]; [`Segments`], which are used again; [`SealedMemory`], which nobody can change |
//! | `Manager`, `BaseManager`, proxies | [`Manager`], [`managed!`], [`Proxy`]; [`ManagedDict`], [`ManagedList`], [`ManagedQueue`] and others |
//! | `connection.Listener`, `Client`, `Connection` | [`connection::Listener`], [`connection::Client`], [`connection::Connection`] |
//! | `get_logger`, `log_to_stderr` | records of the [`log`] crate reach the parent's logger; [`log_to_stderr`] |
//! | a manager over TCP | a [`Manager`] too; and workers of a [`Pool`] on other machines: [`Launcher`], [`CommandPrefix`], [`DialBack`] |
//!
//! Whatever processes share, such as a [`Queue`] or a [`Lock`], is a handle that can be a part of any argument, set-up or value.
//!
//! What waits, such as [`Lock::lock`], waits for ever. Its `…_timeout` form, [`Lock::lock_timeout`], waits no longer than it is told, and its
//! `try_…` form, [`Lock::try_lock`], not at all. No wait is ended by a signal.
//!
//! # How it works
//!
//! - One thread of a pool, the dispatcher, starts the workers, owns all that is known of them, and lives as long as the pool. It waits
//!   for packets, for deaths (by pidfd) and for commands in one `poll`.
//! - Workers are started by `posix_spawn`, so a host with many threads is safe, and its size does not matter. They are in a
//!   session of their own, with default signals, without the host's descriptors.
//! - A [`Process`] is started in the same way, or forked by a [`Zygote`], a process with one thread that has preloaded: never by this
//!   one. It shares the terminal's session with this program, and keeps no descriptor of it but those that it is given.
//! - The `log` records of processes and of workers, those on other machines included, reach this program's logger, with who made them
//!   before the message.
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
//! - A process in which ends of pipes wait often has one more thread: they sleep in a futex, where nobody hears that the other
//!   side has ended, and this thread hears it for them.
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
//! # What it needs
//!
//! Linux 5.4 or later with `/proc`, and glibc on a machine of 64 bits. A worker program is of the same build as the program that starts it,
//! which their *identity* says: the text that [`Registry::new`] and [`Program`] are given. It must come to
//! [`worker_main`](fn@worker_main) or [`Registry::serve_if_worker`] before it starts threads of its own.

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
// Public for those only who test its parsers.
#[doc(hidden)]
pub mod stream;
pub mod sync;
mod wait;
// Public for those only who test its parsers.
#[doc(hidden)]
pub mod wire;
mod worker;

pub use error::{JobError, StartError, StatusError, TaskError};
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
pub use wait::{wait, wait_timeout};
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
