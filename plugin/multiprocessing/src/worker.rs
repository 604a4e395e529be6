//! A worker process: answers its pool's greeting, then runs tasks until the pool ends.

use crate::bounded;
use crate::connection::{Buffer, Connection};
use crate::function::{Context, Refusal, Registry, Serve};
use crate::memory::SharedMemory;
use crate::payload::{Outgoing, Payload};
use crate::report::{PANIC_MEMORY, Report};
use crate::wire::{self, Outcome, Panic, ToPool, ToWorker, WireError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::backtrace::Backtrace;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// The longest text of a panic that is sent, in bytes.
const PANIC_TEXT: usize = 32 * 1024;

/// The exit code of a worker that was not started by a pool.
const NO_POOL: u8 = 2;
/// The exit code of a worker whose pool says what it does not understand.
const PROTOCOL: u8 = 3;

/// The whole of a worker program's `main`: serves the pool that started this process, and returns when the pool has ended.
pub fn worker_main(registry: Registry) -> ExitCode {
    match Worker::start(&registry) {
        Ok(mut worker) => ExitCode::from(worker.run()),
        Err(error) => {
            eprintln!("this program is a worker and is started by its pool, not by hand: {error}");
            ExitCode::from(NO_POOL)
        }
    }
}

/// A job as this worker knows it.
struct Open {
    flag: SharedMemory,
    state: State,
}

enum State {
    /// No task of it has begun here.
    Waiting {
        function: String,
        setup: Payload,
        descriptors: Vec<OwnedFd>,
    },
    Serving(Box<dyn Serve>),
    /// It could not be opened; its tasks all get this answer.
    Refused(Refusal),
}

struct Worker<'a> {
    registry: &'a Registry,
    connection: Connection,
    jobs: HashMap<u64, Open>,
}

impl<'a> Worker<'a> {
    fn start(registry: &'a Registry) -> io::Result<Worker<'a>> {
        // First of all, so that there is no moment in which the pool's death would go unseen for ever: what happened before
        // this shows as a hang-up, or as another parent, below.
        set_pdeathsig(Signal::SIGKILL)?;
        for fatal in [Signal::SIGSEGV, Signal::SIGBUS] {
            // SAFETY: the default action runs no code of ours. Rust's own handler, made to tell an overflow of the stack,
            // swallows the first such signal that comes from outside.
            unsafe { signal(fatal, SigHandler::SigDfl) }?;
        }
        let connection = Connection::from_descriptor(io::stdin().as_fd().try_clone_to_owned()?)?;
        let nowhere = OpenOptions::new().read(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&nowhere)?;
        let watched = connection.as_fd().try_clone_to_owned()?;
        thread::Builder::new().name("watch".into()).stack_size(64 * 1024).spawn(move || end_with_the_pool(&watched))?;
        std::panic::set_hook(Box::new(note_panic));
        Ok(Worker { registry, connection, jobs: HashMap::new() })
    }

    /// Serves until the pool has ended; the exit code.
    fn run(&mut self) -> u8 {
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
                    self.send(&ToPool::Ready { identity: self.registry.identity() }, &Outgoing::Inline(Vec::new()))
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
            ToWorker::Hello { parent, memory_limit, identity: _ } => {
                if nix::unistd::getppid().as_raw().unsigned_abs() != parent {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                let report = Report::from_descriptor(descriptors.next().ok_or_else(missing)?)?;
                REPORT.set(report).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a second greeting"))?;
                // A crash is the pool's to report; it must not leave a core file in the user's folder.
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                if let Some(limit) = memory_limit {
                    setrlimit(Resource::RLIMIT_DATA, limit, limit.saturating_add(PANIC_MEMORY))?;
                }
                self.send(&ToPool::Ready { identity: self.registry.identity() }, &Outgoing::Inline(Vec::new()))
            }
            ToWorker::Open { job, function, shared } => {
                let flag = SharedMemory::from_descriptor(descriptors.next().ok_or_else(missing)?)?;
                let setup = if shared { Some(descriptors.next().ok_or_else(missing)?) } else { None };
                let setup = Payload::received(tail, setup)?;
                let state = State::Waiting { function: function.to_owned(), setup, descriptors: descriptors.collect() };
                self.jobs.insert(job, Open { flag, state });
                Ok(())
            }
            ToWorker::Task { job, sequence, shared } => {
                let memory = if shared { descriptors.next() } else { None };
                let payload = Payload::received(tail, memory)?;
                let unopened = || io::Error::new(io::ErrorKind::InvalidData, "a task of no job");
                let (outcome, bytes) = self.task(job, sequence, &payload).ok_or_else(unopened)?;
                drop(payload);
                let mut payload = Outgoing::new(bytes);
                payload.prepare()?;
                self.send(&ToPool::Ended { sequence, outcome, shared: payload.shared() }, &payload)?;
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
        }
    }

    /// Runs a task; `None` without a greeting, or for a job that was never opened.
    fn task(&mut self, job: u64, sequence: u64, payload: &[u8]) -> Option<(Outcome, Vec<u8>)> {
        let Open { flag, state } = self.jobs.get_mut(&job)?;
        let context = Context { flag };
        if context.cancelled() {
            return Some((Outcome::Cancelled, Vec::new()));
        }
        // From here on a death is this task's.
        REPORT.get()?.begin(sequence);
        NOTED.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = catch_unwind(AssertUnwindSafe(|| {
            if let State::Waiting { function, setup, descriptors } = state {
                *state = match self.registry.open(function, setup, std::mem::take(descriptors)) {
                    Ok(serve) => State::Serving(serve),
                    Err(refusal) => State::Refused(refusal),
                };
            }
            match state {
                State::Serving(serve) => serve.call(payload, &context),
                State::Refused(refusal) => Err(refusal.clone()),
                State::Waiting { .. } => unreachable!("it was opened above"),
            }
        }));
        Some(match result {
            Ok(Ok(value)) => (Outcome::Value, value),
            Ok(Err(_)) if context.cancelled() => (Outcome::Cancelled, Vec::new()),
            Ok(Err(Refusal::Error(message))) => (Outcome::Error, message.into_bytes()),
            Ok(Err(Refusal::Decode(message))) => (Outcome::Decode, message.into_bytes()),
            Err(_) => {
                let noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner).take();
                let panic = noted.unwrap_or_else(|| Panic { message: "a panic".into(), backtrace: String::new() });
                (Outcome::Panic, postcard::to_stdvec(&panic).unwrap_or_default())
            }
        })
    }

    fn send(&self, message: &ToPool<'_>, payload: &Outgoing) -> io::Result<()> {
        let head = wire::encode(message, payload.tail().len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let descriptor: Vec<_> = payload.descriptor().into_iter().collect();
        self.connection.send(&head, payload.tail(), &descriptor, true)
    }
}

/// Ends the process when the pool's end of the connection is closed, whatever the main thread is doing. It asks for no
/// event, so only the hang-up, which is always told, wakes it.
fn end_with_the_pool(connection: &OwnedFd) {
    loop {
        let mut entry = [PollFd::new(connection.as_fd(), PollFlags::empty())];
        match poll(&mut entry, PollTimeout::NONE) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            // SAFETY: `_exit` ends the process at once; nothing of this process needs an orderly end.
            _ => unsafe { libc::_exit(0) },
        }
    }
}

/// What the pool reads of this worker. It comes with the greeting.
static REPORT: OnceLock<Report> = OnceLock::new();

/// The last panic of any thread: a task may have threads of its own, whose panics it passes on.
static NOTED: Mutex<Option<Panic>> = Mutex::new(None);

/// The panic hook: keeps the message and the backtrace for the answer.
fn note_panic(info: &std::panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let message =
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("a panic with a value that is no text");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    eprintln!("panicked: {message}{place}");
    // Finding the functions' names takes memory, which may be more than the limit has left.
    if let Some(report) = REPORT.get() {
        report.panic();
    }
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_DATA) {
        let _ = setrlimit(Resource::RLIMIT_DATA, hard, hard);
    }
    let backtrace = Backtrace::force_capture().to_string();
    let panic =
        Panic { message: bounded(format!("{message}{place}"), PANIC_TEXT), backtrace: bounded(backtrace, PANIC_TEXT) };
    *NOTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
}
