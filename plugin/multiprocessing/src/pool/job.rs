//! A job, as its owner has it.

use super::commands::{Command, Commands, Opening, Submission};
use super::inbox::{Ended, Inbox};
use crate::codec::{self, CodecError, Message};
use crate::error::{JobError, TaskError};
use crate::flags::Flags;
use crate::function::Function;
use crate::payload::{Elsewhere, Outgoing, Payload};
use crate::wire::NAME_LIMIT;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long [`Job::cancel`] waits. By then the tasks have ended for their owner, unless the dispatcher itself is held up.
const CANCEL_PATIENCE: Duration = Duration::from_millis(100);

/// What makes a task's message for another machine, whose name it is given: see [`Job::submit_either`].
pub type MakeRemote = dyn Fn(&str) -> Result<Vec<u8>, String> + Send + Sync;

/// A job to be opened, when there is more to say than [`Pool::job`](crate::Pool::job) takes.
///
/// ```
/// use multiprocessing::JobSpec;
/// use multiprocessing::codec::{Descriptor, encode};
///
/// // A local worker is given the file itself, one on another machine its content.
/// let file = std::fs::File::open("/etc/hostname")?;
/// let mut spec = JobSpec::new("count", encode(&Some(Descriptor::from(file)))?);
/// spec.remote_setup = Some(encode(&None::<Descriptor>)?.bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JobSpec {
    /// The registered function.
    pub function: String,
    /// What is sent once to each worker that gets a task of it.
    pub setup: Message,
    /// What is sent in its place to a worker on another machine. Without it, a job whose set-up message has descriptors runs on
    /// this machine only.
    pub remote_setup: Option<Vec<u8>>,
}

impl JobSpec {
    /// A job whose set-up message is the same everywhere.
    pub fn new(function: impl Into<String>, setup: Message) -> JobSpec {
        JobSpec { function: function.into(), setup, remote_setup: None }
    }
}

/// What [`Job::next_timeout`] came back with.
#[derive(Debug)]
pub enum Next<V = Payload> {
    /// The task of this id has ended, in whatever order.
    Ended(u64, Result<V, TaskError>),
    /// Nothing has ended in that time.
    Nothing,
    /// No task is under way, and all results were taken.
    Idle,
}

/// Tasks of one function that share a set-up. Each task that is submitted ends exactly once. Dropping a job cancels it.
///
/// It can be used from several threads at the same time.
#[derive(Debug)]
pub struct Job {
    inbox: Arc<Inbox>,
    commands: Arc<Commands>,
    detached: bool,
}

/// What a job needs of its pool.
#[derive(Clone, Debug)]
pub(super) struct Opener {
    pub(super) commands: Arc<Commands>,
    pub(super) flags: Arc<Flags>,
    pub(super) numbers: Arc<AtomicU64>,
}

/// What a job is to be like.
#[derive(Debug, Default)]
pub(super) struct Wishes<'a> {
    pub(super) function: &'a str,
    pub(super) schema: u64,
    pub(super) setup: Message,
    /// What takes the set-up message's place on another machine.
    pub(super) elsewhere: Option<Elsewhere>,
    /// What has come as the set-up message from another machine.
    pub(super) carried: Option<Outgoing>,
    pub(super) retries: u32,
    pub(super) chunk: usize,
    /// Results that nobody takes do not hold the tasks back.
    pub(super) unbounded: bool,
}

impl Opener {
    pub(super) fn open(&self, wishes: Wishes<'_>) -> Result<Job, JobError> {
        let Wishes { function, schema, setup, elsewhere, carried, retries, chunk, unbounded } = wishes;
        if setup.descriptors.len() > JobError::DESCRIPTOR_LIMIT {
            return Err(JobError::Descriptors(setup.descriptors.len()));
        }
        if function.len() > NAME_LIMIT {
            return Err(JobError::Name(function.len()));
        }
        if self.commands.finished() {
            return Err(JobError::Closed);
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let inbox = Arc::new(Inbox::new(number, self.flags.flag(number)?, !unbounded));
        let mut setup = carried.unwrap_or_else(|| Outgoing::new(setup).or_elsewhere(elsewhere));
        setup.prepare()?;
        let job = Job { inbox: Arc::clone(&inbox), commands: Arc::clone(&self.commands), detached: false };
        let function = function.to_owned();
        job.commands.send(Command::Open(Opening { inbox, function, schema, setup, retries, chunk: chunk.max(1) }));
        Ok(job)
    }
}

impl Job {
    /// Gives the pool a task. Any number may wait; `id` is for the caller to know it by. A task of a job that was cancelled
    /// ends as [`TaskError::Cancelled`], one that comes after [`Pool::close`](crate::Pool::close) as [`TaskError::Closed`].
    pub fn submit(&self, id: u64, payload: Message) {
        self.submit_all(vec![(id, Outgoing::new(payload))]);
    }

    pub(super) fn submit_all(&self, tasks: Vec<Submission>) {
        self.inbox.expect(tasks.len());
        self.commands.send(Command::Submit { inbox: Arc::clone(&self.inbox), tasks });
    }

    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// As [`Job::next`], for many results at a time: see [`Inbox::take`].
    pub(super) fn take(&self, wanted: usize, patience: Option<Duration>, into: &mut Vec<Ended>) {
        if self.inbox.take(wanted, patience, into) {
            self.commands.send(Command::Resume);
        }
    }

    /// Lets the tasks run to their end although nobody will take their results.
    pub(super) fn detach(mut self) {
        self.detached = true;
    }

    /// [`Job::submit`] of a task that takes another form on another machine. `remote` makes that, on a thread of the pool's own and
    /// only if the task goes there; it is given where: the launcher's name, and the machine's in parentheses, such as
    /// `ssh -T w1 (w1.example.org)`. It may be called more than once, and an error of it is the task's
    /// [`TaskError::Send`]. So a task whose message has descriptors can run anywhere, and what a local worker reads by itself can
    /// be sent to others.
    pub fn submit_either(&self, id: u64, payload: Message, remote: Arc<MakeRemote>) {
        self.submit_all(vec![(id, Outgoing::new(payload).or_elsewhere(Some(Elsewhere::Made(remote))))]);
    }

    /// [`Job::submit`] of what came from another machine.
    pub(crate) fn hand_in(&self, id: u64, payload: Outgoing) {
        self.submit_all(vec![(id, payload)]);
    }

    /// [`Job::cancel`] without waiting.
    pub(crate) fn cancel_soon(&self) {
        self.inbox.cancel();
        self.commands.send(Command::Cancel { job: self.inbox.job() });
    }

    /// Waits for a task to end: its number, and its result. `None` when there is no task that has not ended, or whose result was not
    /// taken.
    pub fn next(&self) -> Option<(u64, Result<Payload, TaskError>)> {
        loop {
            match self.next_of(None) {
                Next::Ended(id, result) => return Some((id, result)),
                Next::Idle => return None,
                Next::Nothing => {}
            }
        }
    }

    /// As [`Job::next`], but waits no longer than this.
    pub fn next_timeout(&self, timeout: Duration) -> Next {
        self.next_of(Some(timeout))
    }

    fn next_of(&self, patience: Option<Duration>) -> Next {
        let (next, resume) = self.inbox.next(patience);
        if resume {
            self.commands.send(Command::Resume);
        }
        next
    }

    /// Ends all tasks of the job, and returns when they have ended, after a tenth of a second at the latest. Tasks that had not
    /// ended by then end as [`TaskError::Cancelled`]; their results can still be taken.
    ///
    /// A function that asks its [`Context`](crate::Context) stops by itself. A worker that does not stop gets no other task, and
    /// is killed and replaced once it has had 50 ms of its own to hear of it (time in which it waits for a processor does not
    /// count) or a second has passed. So on a busy machine a task may run on for a moment after this has returned.
    pub fn cancel(&self) {
        self.cancel_soon();
        self.inbox.wait_until_ended(Some(CANCEL_PATIENCE));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.detached {
            self.inbox.cancel();
            self.commands.send(Command::Cancel { job: self.inbox.job() });
        }
        self.commands.send(Command::Close { job: self.inbox.job() });
    }
}

/// A [`Job`] of a typed function.
pub struct TypedJob<F> {
    job: Job,
    function: PhantomData<fn() -> F>,
}

impl<F: Function> TypedJob<F> {
    pub(super) fn new(job: Job) -> TypedJob<F> {
        TypedJob { job, function: PhantomData }
    }

    /// As [`Job::submit`].
    ///
    /// # Errors
    /// The argument refuses to be encoded; then there is no such task.
    pub fn submit(&self, id: u64, argument: &F::Argument) -> Result<(), CodecError> {
        self.job.submit(id, codec::encode(argument)?);
        Ok(())
    }

    /// As [`Job::next`]. A value that cannot be decoded is a [`TaskError::Decode`] of that task.
    pub fn next(&self) -> Option<(u64, Result<F::Value, TaskError>)> {
        self.job.next().map(|(id, result)| (id, result.and_then(value::<F>)))
    }

    /// As [`TypedJob::next`], but waits no longer than this.
    pub fn next_timeout(&self, timeout: Duration) -> Next<F::Value> {
        match self.job.next_timeout(timeout) {
            Next::Ended(id, result) => Next::Ended(id, result.and_then(value::<F>)),
            Next::Nothing => Next::Nothing,
            Next::Idle => Next::Idle,
        }
    }

    /// As [`Job::cancel`].
    pub fn cancel(&self) {
        self.job.cancel();
    }
}

/// The value that came from a task of this function.
pub(super) fn value<F: Function>(payload: Payload) -> Result<F::Value, TaskError> {
    payload.decode().map_err(|error| TaskError::Decode(format!("the value of {}: {error}", F::NAME)))
}

impl<F: Function> fmt::Debug for TypedJob<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedJob").field("function", &F::NAME).field("job", &self.job).finish()
    }
}
