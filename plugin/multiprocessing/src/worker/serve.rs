//! A worker of a pool: takes tasks and answers them, until the pool ends.

use super::{PROTOCOL, panic};
use crate::bounded;
use crate::codec::Message;
use crate::function::{Context, Refusal, Registry, Serve};
use crate::memory::SharedMemory;
use crate::packets::{Buffer, Packets};
use crate::payload::{Outgoing, Payload};
use crate::process::child::pidfd_open;
use crate::report::{PANIC_MEMORY, Report};
use crate::wire::{self, INLINE_LIMIT, Initializer, Outcome, Panic, ToPool, ToWorker, WireError};
use nix::sys::resource::{Resource, setrlimit};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the pool reads of this worker. It comes with the greeting.
pub(super) static REPORT: OnceLock<Report> = OnceLock::new();

/// Where it is written down which jobs are cancelled. It comes with the greeting.
static FLAGS: OnceLock<SharedMemory> = OnceLock::new();

/// The job whose task runs, or ran last, and its place among the flags. There is none yet while the job is 0.
static CURRENT_JOB: AtomicU64 = AtomicU64::new(0);
static CURRENT_FLAG: AtomicU32 = AtomicU32::new(0);

/// The context of the task that this process runs, if it is a pool's.
pub(crate) fn context() -> Option<Context<'static>> {
    let job = CURRENT_JOB.load(Ordering::Acquire);
    let flags = FLAGS.get().filter(|_| job != 0)?;
    Some(Context::of_job(flags, CURRENT_FLAG.load(Ordering::Relaxed), job))
}

/// A job as this worker knows it.
struct Open {
    /// Its place among the flags.
    flag: u32,
    state: State,
}

enum State {
    /// No task of it has begun here.
    Waiting {
        function: String,
        schema: u64,
        setup: Payload,
    },
    Serving(Box<dyn Serve>),
    /// It could not be opened; its tasks all get this answer.
    Refused(Refusal),
}

pub(super) struct Worker<'a> {
    registry: &'a Registry,
    connection: Packets,
    jobs: HashMap<u64, Open>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(registry: &'a Registry, connection: Packets) -> Worker<'a> {
        Worker { registry, connection, jobs: HashMap::new() }
    }

    /// Serves until the pool has ended; the exit code.
    pub(super) fn run(&mut self) -> u8 {
        let mut buffer = Buffer::new();
        loop {
            let received = match self.connection.receive(&mut buffer, true) {
                Ok(Some(received)) => received,
                Ok(None) => return 0,
                Err(error) => {
                    eprintln!("receiving from the pool: {error}");
                    return PROTOCOL;
                }
            };
            let answer = match wire::decode::<ToWorker>(&buffer.bytes[..received.length]) {
                Ok((message, tail)) => self.handle(message, tail, received.descriptors),
                Err(WireError::Version { .. }) => {
                    // The answer's header says which version is spoken here; the pool ends this process.
                    self.send(&ToPool::Ready { identity: self.registry.identity() }, &Outgoing::new(Message::default()))
                }
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            };
            match answer {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
                Err(error) => {
                    eprintln!("serving the pool: {error}");
                    return PROTOCOL;
                }
            }
        }
    }

    fn handle(&mut self, message: ToWorker<'_>, tail: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let mut descriptors = descriptors.into_iter();
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "a message without its descriptors");
        match message {
            ToWorker::Hello { parent, memory_limit, log_level, identity: _, initializer } => {
                if nix::unistd::getppid().as_raw().unsigned_abs() != parent {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                let twice = || io::Error::new(io::ErrorKind::InvalidData, "a second greeting");
                let report = Report::from_descriptor(descriptors.next().ok_or_else(missing)?)?;
                REPORT.set(report).map_err(|_| twice())?;
                let flags = SharedMemory::from_descriptor(descriptors.next().ok_or_else(missing)?)?;
                FLAGS.set(flags).map_err(|_| twice())?;
                let pidfd = pidfd_open(nix::unistd::getppid().as_raw())?;
                crate::process::tell("worker", true, parent, "main", pidfd);
                super::log::install(log_level, &self.connection);
                // A crash is the pool's to report; it must not leave a core file in the user's folder.
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                if let Some(limit) = memory_limit {
                    setrlimit(Resource::RLIMIT_DATA, limit, limit.saturating_add(PANIC_MEMORY))?;
                }
                if let Some(initializer) = initializer {
                    let argument = Payload::received(tail, initializer.shared, descriptors)?;
                    if let Err(message) = self.initialize(initializer, argument) {
                        let message = Message::plain(bounded(message, INLINE_LIMIT).into_bytes());
                        self.send(&ToPool::Failed, &Outgoing::new(message))?;
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                self.send(&ToPool::Ready { identity: self.registry.identity() }, &Outgoing::new(Message::default()))
            }
            ToWorker::Open { job, flag, function, schema, shared } => {
                let setup = Payload::received(tail, shared, descriptors)?;
                let state = State::Waiting { function: function.to_owned(), schema, setup };
                self.jobs.insert(job, Open { flag, state });
                Ok(())
            }
            ToWorker::Task { job, sequence, shared } => {
                let mut payload = Payload::received(tail, shared, descriptors)?;
                let descriptors = payload.take_descriptors();
                let unopened = || io::Error::new(io::ErrorKind::InvalidData, "a task of no job");
                let (outcome, value) = self.task(job, sequence, &payload, descriptors).ok_or_else(unopened)?;
                drop(payload);
                let mut value = Outgoing::new(value);
                value.prepare()?;
                self.send(&ToPool::Ended { sequence, outcome, shared: value.shared() }, &value)?;
                // What a panic has left half done must not serve again, and its backtrace has taken memory beyond the limit:
                // the pool replaces this process.
                if outcome == Outcome::Panic { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
            }
            ToWorker::Close { job } => {
                if let Some(open) = self.jobs.remove(&job) {
                    // What a function does when it ends cannot be blamed on a task any more.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
                }
                Ok(())
            }
            ToWorker::Process { .. } | ToWorker::Run { .. } | ToWorker::Preload { .. } | ToWorker::Fork { .. } => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a message for a process, to a worker"))
            }
        }
    }

    /// Calls the initializer; its message if it fails.
    fn initialize(&self, initializer: Initializer<'_>, mut argument: Payload) -> Result<(), String> {
        let descriptors = argument.take_descriptors();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut serve = self.registry.open(initializer.function, initializer.schema, &[], Vec::new())?;
            serve.call(&argument, descriptors, &Context::alone())
        }));
        match result {
            Ok(result) => result.map(drop).map_err(|refusal| refusal.to_string()),
            Err(_) => {
                Err(panic::take().map_or_else(|| "it panicked".into(), |panic| format!("panicked: {}", panic.message)))
            }
        }
    }

    /// Runs a task; `None` without a greeting, or for a job that was never opened.
    fn task(
        &mut self,
        job: u64,
        sequence: u64,
        payload: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Option<(Outcome, Message)> {
        let Open { flag, state } = self.jobs.get_mut(&job)?;
        let context = Context::of_job(FLAGS.get()?, *flag, job);
        if context.cancelled() {
            return Some((Outcome::Cancelled, Message::default()));
        }
        // From here on a death is this task's.
        REPORT.get()?.begin(sequence);
        CURRENT_FLAG.store(*flag, Ordering::Relaxed);
        CURRENT_JOB.store(job, Ordering::Release);
        panic::take();
        let result = catch_unwind(AssertUnwindSafe(|| {
            if let State::Waiting { function, schema, setup } = state {
                let descriptors = setup.take_descriptors();
                *state = match self.registry.open(function, *schema, setup, descriptors) {
                    Ok(serve) => State::Serving(serve),
                    Err(refusal) => State::Refused(refusal),
                };
            }
            match state {
                State::Serving(serve) => serve.call(payload, descriptors, &context),
                State::Refused(refusal) => Err(refusal.clone()),
                State::Waiting { .. } => unreachable!("it was opened above"),
            }
        }));
        Some(match result {
            Ok(Ok(value)) => (Outcome::Value, value),
            Ok(Err(_)) if context.cancelled() => (Outcome::Cancelled, Message::default()),
            Ok(Err(Refusal::Error(message))) => (Outcome::Error, Message::plain(message.into_bytes())),
            Ok(Err(Refusal::Decode(message))) => (Outcome::Decode, Message::plain(message.into_bytes())),
            Err(_) => {
                let panic = panic::take();
                let panic = panic.unwrap_or_else(|| Panic { message: "a panic".into(), backtrace: String::new() });
                (Outcome::Panic, Message::plain(postcard::to_stdvec(&panic).unwrap_or_default()))
            }
        })
    }

    fn send(&self, message: &ToPool<'_>, payload: &Outgoing) -> io::Result<()> {
        let head = wire::encode(message, payload.tail().len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.connection.send(&head, payload.tail(), &payload.descriptors(), true)
    }
}
