//! A worker of a pool: takes tasks and answers them, until the pool ends.

use super::{PROTOCOL, panic, say};
use crate::bounded;
use crate::codec::Message;
use crate::function::{Context, Refusal, Registry, Run};
use crate::memory::SharedMemory;
use crate::packets::{Buffer, Packets};
use crate::payload::{Outgoing, Payload};
use crate::process::child::pidfd_open;
use crate::report::{ANSWER_LIMIT, Claims, PANIC_MEMORY, Report};
use crate::ring::Producer;
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
    Serving(Box<dyn Run>),
    /// It could not be opened; its tasks all get this answer.
    Refused(Refusal),
}

/// How this worker answers without a system call.
struct Answers {
    ring: Producer,
    /// Wakes the pool.
    doorbell: OwnedFd,
}

pub(super) struct Worker<'a> {
    registry: &'a Registry,
    connection: Packets,
    jobs: HashMap<u64, Open>,
    claims: Claims,
    /// They come with the greeting.
    answers: Option<Answers>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(registry: &'a Registry, connection: Packets) -> Worker<'a> {
        Worker { registry, connection, jobs: HashMap::new(), claims: Claims::default(), answers: None }
    }

    /// Serves until the pool has ended; the exit code.
    pub(super) fn run(&mut self) -> u8 {
        let mut buffer = Buffer::new();
        loop {
            let received = match self.connection.receive(&mut buffer, true) {
                Ok(Some(received)) => received,
                Ok(None) => return 0,
                Err(error) => {
                    say(format_args!("receiving from the pool: {error}"));
                    return PROTOCOL;
                }
            };
            let answer = self.handle_all(&buffer.bytes[..received.length], received.descriptors);
            match answer {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
                Err(error) => {
                    say(format_args!("serving the pool: {error}"));
                    return PROTOCOL;
                }
            }
        }
    }

    /// Handles what a packet holds: several frames, or one with descriptors.
    fn handle_all(&mut self, packet: &[u8], mut descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let mut rest = packet;
        while !rest.is_empty() {
            match wire::decode_first::<ToWorker>(rest) {
                Ok((message, tail, after)) => {
                    self.handle(message, tail, std::mem::take(&mut descriptors))?;
                    rest = after;
                }
                Err(WireError::Version { .. }) => {
                    // The answer's header says which version is spoken here; the pool ends this process.
                    let ready = ToPool::Ready { identity: self.registry.identity() };
                    return self.send(&ready, &Outgoing::new(Message::default()));
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(())
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
                let ring = report.producer().map_err(io::Error::other)?;
                REPORT.set(report).map_err(|_| twice())?;
                let flags = SharedMemory::from_descriptor(descriptors.next().ok_or_else(missing)?)?;
                FLAGS.set(flags).map_err(|_| twice())?;
                self.answers = Some(Answers { ring, doorbell: descriptors.next().ok_or_else(missing)? });
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
                if !REPORT.get().is_some_and(|report| self.claims.begin(report, sequence)) {
                    // Recalled; or there was no greeting, which shows below.
                    return Ok(());
                }
                let unopened = || io::Error::new(io::ErrorKind::InvalidData, "a task of no job");
                let done = if shared {
                    let mut payload = Payload::received(tail, shared, descriptors)?;
                    let descriptors = payload.take_descriptors();
                    self.task(job, &payload, descriptors)
                } else {
                    self.task(job, tail, descriptors.collect())
                };
                let (outcome, value) = done.ok_or_else(unopened)?;
                self.answer(sequence, outcome, value)?;
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
            serve.run(&argument, descriptors, &Context::alone())
        }));
        match result {
            Ok(result) => result.map(drop).map_err(|refusal| refusal.to_string()),
            Err(_) => {
                Err(panic::take().map_or_else(|| "it panicked".into(), |panic| format!("panicked: {}", panic.message)))
            }
        }
    }

    /// Answers a task: in the ring, if the answer is small and has no descriptors; else, or without room there, by a packet. The
    /// pool puts them into their order.
    fn answer(&mut self, sequence: u64, outcome: Outcome, mut value: Outgoing) -> io::Result<()> {
        if let Some(Answers { ring, doorbell }) = &mut self.answers
            && let Some(bytes) = value.small(ANSWER_LIMIT)
            && ring.try_push(&[&sequence.to_le_bytes(), bytes], outcome as u8).is_ok_and(|pushed| pushed)
        {
            // A panic ends this process, which must not look like a death.
            let due = if outcome == Outcome::Panic { u64::MAX } else { sequence };
            if REPORT.get().is_some_and(|report| report.answered(due)) {
                // It fails when the counter is full, and then the pool is awake.
                let _ = nix::unistd::write(doorbell, &1_u64.to_ne_bytes());
            }
            return Ok(());
        }
        value.prepare()?;
        self.send(&ToPool::Ended { sequence, outcome, shared: value.shared() }, &value)
    }

    /// Runs a task that has been begun; `None` without a greeting, or for a job that was never opened.
    fn task(&mut self, job: u64, payload: &[u8], descriptors: Vec<OwnedFd>) -> Option<(Outcome, Outgoing)> {
        let Open { flag, state } = self.jobs.get_mut(&job)?;
        let context = Context::of_job(FLAGS.get()?, *flag, job);
        if context.cancelled() {
            return Some((Outcome::Cancelled, Outgoing::new(Message::default())));
        }
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
                State::Serving(serve) => serve.run(payload, descriptors, &context),
                State::Refused(refusal) => Err(refusal.clone()),
                State::Waiting { .. } => unreachable!("it was opened above"),
            }
        }));
        let bytes = |bytes| Outgoing::new(Message::plain(bytes));
        Some(match result {
            Ok(Ok(value)) => (Outcome::Value, value),
            Ok(Err(_)) if context.cancelled() => (Outcome::Cancelled, Outgoing::new(Message::default())),
            Ok(Err(Refusal::Error(message))) => (Outcome::Error, bytes(message.into_bytes())),
            Ok(Err(Refusal::Decode(message))) => (Outcome::Decode, bytes(message.into_bytes())),
            Err(_) => {
                let panic = panic::take();
                let panic = panic.unwrap_or_else(|| Panic { message: "a panic".into(), backtrace: String::new() });
                (Outcome::Panic, bytes(postcard::to_stdvec(&panic).unwrap_or_default()))
            }
        })
    }

    fn send(&self, message: &ToPool<'_>, payload: &Outgoing) -> io::Result<()> {
        let head = wire::encode(message, payload.tail().len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.connection.send(&head, payload.tail(), &payload.descriptors(), true)
    }
}
