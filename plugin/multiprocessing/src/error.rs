//! What can go wrong, for a pool and for a task.

use crate::process::{ExitStatus, SignalName};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why there is no worker.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The program could not be run at all.
    #[error("cannot run worker {}: {error}; is it installed beside the program that needs it?", path.display())]
    Spawn {
        /// The worker program.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// The program runs, and comes from another build.
    #[error("worker {} is of build '{theirs}', where build '{ours}' is needed: install both from one build", path.display())]
    OtherBuild {
        /// The worker program.
        path: PathBuf,
        /// The identity that the pool was given.
        ours: String,
        /// The identity that the worker has.
        theirs: String,
    },
    /// The program runs, and speaks another version of the protocol.
    #[error(
        "worker {} speaks protocol version {theirs}, where version {ours} is needed: install both from one build",
        path.display()
    )]
    OtherProtocol {
        /// The worker program.
        path: PathBuf,
        /// The version that this library speaks.
        ours: u16,
        /// The version that the worker speaks.
        theirs: u16,
    },
    /// The program ended before it was ready, or without ever having had a task.
    #[error("worker {} {status} at its start{}", path.display(), said(stderr))]
    Died {
        /// The worker program.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it printed on its standard error.
        stderr: String,
    },
    /// The program runs and does not answer, or not as a worker does.
    #[error("worker {} gave no proper answer within {} s: is it a worker program?", path.display(), after.as_secs_f32())]
    Silent {
        /// The worker program.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// The argument of a process cannot be encoded.
    #[error("cannot encode the argument: {0}")]
    Argument(crate::codec::CodecError),
    /// The program runs, and what each new worker is to call first has failed.
    #[error("worker {}: its initializer failed: {message}", path.display())]
    Initializer {
        /// The worker program.
        path: PathBuf,
        /// What the initializer said, or what it panicked with.
        message: String,
    },
    /// A worker on another machine could not be started, or was not ready.
    #[error("no worker by '{launcher}': {reason}")]
    Launch {
        /// Which launcher it was, by its name.
        launcher: String,
        /// What went wrong.
        reason: String,
    },
    /// This process could not make what a worker needs: a thread, a descriptor, memory.
    #[error("cannot prepare a worker: {0}")]
    Resources(Arc<io::Error>),
    /// The pool has ended.
    #[error("the pool has ended")]
    Closed,
}

/// Why a job could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// More descriptors than one packet carries.
    #[error("{0} descriptors for a job, where {limit} is the limit", limit = JobError::DESCRIPTOR_LIMIT)]
    Descriptors(usize),
    /// The function's name is too long to be sent.
    #[error("a function name of {0} bytes, where {limit} is the limit", limit = crate::wire::NAME_LIMIT)]
    Name(usize),
    /// This process could not make the shared memory that the job needs.
    #[error("cannot prepare a job: {0}")]
    Resources(#[from] io::Error),
    /// The set-up message could not be encoded.
    #[error("cannot encode the set-up message: {0}")]
    Encode(#[from] crate::codec::CodecError),
    /// The pool has ended.
    #[error("the pool has ended")]
    Closed,
}

impl JobError {
    /// The most descriptors that a job has. Two more may travel with them.
    pub const DESCRIPTOR_LIMIT: usize = crate::packets::DESCRIPTOR_LIMIT - 2;
}

/// Why a task brought no value.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry, RetryPolicy, TaskError};
///
/// multiprocessing::function! {
///     fn half(number: u64) -> Result<u64, String> {
///         match number {
///             13 => std::process::abort(),
///             14 => panic!("not that one"),
///             _ if number % 2 == 1 => Err(format!("{number} is odd")),
///             _ => Ok(number / 2),
///         }
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<half>().serve_if_worker();
///     let pool = Pool::start(PoolConfig::new(Program::current("example")?))?;
///     for result in pool.calls(half).retry(RetryPolicy::NEVER).map([4, 5, 13, 14]) {
///         match result {
///             Ok(value) => assert_eq!(value, 2),
///             Err(TaskError::Error(text)) => assert_eq!(text, "5 is odd"),
///             Err(TaskError::Signal { signal, .. }) => assert_eq!(signal, 6),
///             Err(TaskError::Panic { message, .. }) => assert!(message.contains("not that one")),
///             Err(other) => return Err(other.into()),
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// A signal ended its worker.
    #[error("its worker died of {}{}", SignalName(*signal), said(stderr))]
    Signal {
        /// The signal's number.
        signal: i32,
        /// What the worker printed during this task.
        stderr: String,
    },
    /// Its worker left in the middle of it.
    #[error("its worker exited with code {code}{}", said(stderr))]
    Exited {
        /// The exit code.
        code: i32,
        /// What the worker printed during this task.
        stderr: String,
    },
    /// Its worker died; how is not known, for somebody else in this process took its status.
    #[error("its worker died, its status taken by somebody else{}", said(stderr))]
    Unknown {
        /// What the worker printed during this task.
        stderr: String,
    },
    /// Its worker closed its connection, or said what no worker says, and was killed.
    #[error("its worker broke the connection: {0}")]
    Connection(String),
    /// Its worker needed more memory than it may have.
    #[error("its worker needed more memory than it may have")]
    OutOfMemory,
    /// It did not end in time, and its worker was killed.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// A signal stopped its worker for more than a second, and the worker was killed.
    #[error("its worker was stopped by a signal and did not go on")]
    Stopped,
    /// Its job was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// It panicked.
    #[error("panicked: {message}")]
    Panic {
        /// The panic's message, and where it was raised.
        message: String,
        /// The worker's stack at that point.
        backtrace: String,
    },
    /// The function's own message.
    #[error("{0}")]
    Error(String),
    /// What was sent to it, or what it sent back, could not be decoded.
    #[error("cannot decode {0}")]
    Decode(String),
    /// What was to be sent to it could not be encoded or put into shared memory.
    #[error("cannot send it: {0}")]
    Send(String),
    /// There is no worker, and none can be started.
    #[error("{0}")]
    NoWorker(#[from] StartError),
    /// The pool has ended.
    #[error("the pool has ended")]
    Closed,
}

/// Why a pool does not say what its workers are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// It has not answered in time, which takes microseconds unless the machine is very busy.
    #[error("the pool has not said within {} s what its workers are doing: ask again when the machine is less busy", .0.as_secs_f32())]
    Silent(Duration),
    /// The pool has ended.
    #[error("the pool has ended")]
    Closed,
}

impl TaskError {
    /// Whether the task's worker was lost, so that the same task may succeed on another one.
    pub fn lost_worker(&self) -> bool {
        match self {
            TaskError::Signal { .. }
            | TaskError::Exited { .. }
            | TaskError::Unknown { .. }
            | TaskError::Connection(_)
            | TaskError::OutOfMemory
            | TaskError::Timeout(_)
            | TaskError::Stopped => true,
            TaskError::Cancelled
            | TaskError::Panic { .. }
            | TaskError::Error(_)
            | TaskError::Decode(_)
            | TaskError::Send(_)
            | TaskError::NoWorker(_)
            | TaskError::Closed => false,
        }
    }

    /// Whether a task whose worker was lost so is worth another try. What needs too much time or memory will need it again.
    pub(crate) fn may_be_retried(&self) -> bool {
        self.lost_worker() && !matches!(self, TaskError::Timeout(_) | TaskError::OutOfMemory)
    }

    /// What the death of a worker means for the task that it had begun.
    pub(crate) fn death(status: ExitStatus, stderr: String) -> TaskError {
        // What Rust's allocator says before it aborts.
        if status == ExitStatus::Signal(libc::SIGABRT) && stderr.contains("memory allocation of ") {
            return TaskError::OutOfMemory;
        }
        match status {
            ExitStatus::Signal(signal) => TaskError::Signal { signal, stderr },
            ExitStatus::Exited(code) => TaskError::Exited { code, stderr },
            ExitStatus::Unknown if stderr.contains("memory allocation of ") => TaskError::OutOfMemory,
            ExitStatus::Unknown => TaskError::Unknown { stderr },
        }
    }
}

impl From<JobError> for TaskError {
    fn from(error: JobError) -> TaskError {
        match error {
            JobError::Closed => TaskError::Closed,
            error => TaskError::Send(error.to_string()),
        }
    }
}

/// The last line of what a worker said, to be put after a message.
fn said(stderr: &str) -> String {
    stderr.lines().map(str::trim).rfind(|line| !line.is_empty()).map_or_else(String::new, |line| format!(" ({line})"))
}
