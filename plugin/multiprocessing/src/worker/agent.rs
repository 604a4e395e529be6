//! A worker program on another machine: the agent of a pool. It has a pool of one worker of its own and passes tasks on, so
//! that what a task does to its worker costs the connection nothing, and is told as what it is.

use super::{PROTOCOL, end_with_the_pool, say, secret};
use crate::connection::{Address, AuthKey, Client};
use crate::failure::Failure;
use crate::launch::{CONNECT, KEY, STDIO};
use crate::link::{Carried, LinkError, Receiver, Sender};
use crate::logging::Records;
use crate::payload::Payload;
use crate::pool::{Initializer, Job, Pool, PoolConfig};
use crate::program::Program;
use crate::stream::{ToAgent, ToEngine};
use crate::wait::wait_readable;
use crate::{TaskError, bounded};
use nix::poll::PollFlags;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long the greeting may take.
const GREETING: Duration = Duration::from_secs(60);
/// How long it may take to connect to a pool.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// What is told of the worker's memory is no older than this when it is sent.
const MEASURE: Duration = Duration::from_millis(200);
/// How long the sending of the last records of the log may take.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The longest name of a machine, in bytes.
const HOST_LIMIT: usize = 256;

/// How an agent reaches its pool.
pub(super) enum Route {
    /// It was started with the connection as its standard input and output.
    Standard,
    /// It connects to this address.
    Connect(String),
}

/// How this process is to reach a pool, and its arguments without those that say so; `None` if it is no agent.
pub(super) fn route() -> Option<(Route, Vec<OsString>)> {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [.., stdio] if stdio == STDIO => {
            arguments.pop();
            Some((Route::Standard, arguments))
        }
        [.., connect, address] if connect == CONNECT => {
            let route = Route::Connect(address.to_string_lossy().into_owned());
            arguments.truncate(arguments.len() - 2);
            Some((route, arguments))
        }
        _ => None,
    }
}

/// Serves, and returns the exit code. `arguments` are for the worker of its own.
pub(super) fn run(identity: &str, route: Route, arguments: Vec<OsString>) -> u8 {
    let key = secret::key();
    let streams = match route {
        Route::Standard => standard_streams(),
        Route::Connect(address) => connect(&address, key),
    };
    let served = streams.map_err(LinkError::from).and_then(|streams| serve(identity, arguments, streams));
    match served {
        Ok(()) | Err(LinkError::End) => 0,
        Err(error) => {
            say(format_args!("serving a pool on another machine: {error}"));
            PROTOCOL
        }
    }
}

/// Connects to a pool that waits for that.
fn connect(address: &str, key: Option<OsString>) -> io::Result<(OwnedFd, OwnedFd)> {
    let key = key.ok_or_else(|| io::Error::other(format!("the environment variable {KEY} is not set")))?;
    let key = AuthKey::from(key.into_vec());
    let parsed: Address = address.parse().map_err(io::Error::other)?;
    let connection = Client::connect(&parsed, Some(&key), CONNECT_PATIENCE)
        .map_err(|error| io::Error::other(format!("connecting to {address}: {error}")))?;
    let reader = OwnedFd::from(connection);
    // What else the process says or reads is as it is for others.
    standard_streams()?;
    Ok((reader.try_clone()?, reader))
}

/// Takes the standard input and output for the connection. What else the process reads is empty, and what it prints goes to
/// its standard error.
fn standard_streams() -> io::Result<(OwnedFd, OwnedFd)> {
    let streams = (io::stdin().as_fd().try_clone_to_owned()?, io::stdout().as_fd().try_clone_to_owned()?);
    let nowhere = OpenOptions::new().read(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nowhere)?;
    nix::unistd::dup2_stdout(io::stderr())?;
    Ok(streams)
}

/// The program that this process runs, as a path that finds the same file even if it was replaced since.
fn own_program() -> PathBuf {
    let own = PathBuf::from("/proc/self/exe");
    let same = |path: &PathBuf| match (path.metadata(), own.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    };
    std::env::current_exe().ok().filter(same).unwrap_or(own)
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    bounded(name.trim().to_owned(), HOST_LIMIT)
}

/// What the pool has greeted with.
struct Greeting {
    config: PoolConfig,
    silence: Duration,
    /// As [`ToAgent::Hello`] has it.
    log_level: u8,
}

fn serve(identity: &str, arguments: Vec<OsString>, streams: (OwnedFd, OwnedFd)) -> Result<(), LinkError> {
    // A hang-up is seen whatever the other threads do.
    let watched = streams.0.try_clone()?;
    let watch = move || end_with_the_pool(&watched, PollFlags::from_bits_retain(libc::POLLRDHUP));
    thread::Builder::new().name("watch".into()).stack_size(64 * 1024).spawn(watch)?;
    let mut receiver = Receiver::new(streams.0)?;
    let sender = Sender::new(streams.1, GREETING)?;
    sender.preamble()?;
    // At once, so that a pool of another version or build sees whom it talks to.
    sender.send(&ToEngine::Here { identity: identity.into(), host: host(), pid: std::process::id() }, &[])?;
    let Greeting { config, silence, log_level } = greet(identity, arguments, &mut receiver)?;
    sender.set_silence(silence);
    super::log::install_relay(log_level, &sender);
    let records = Records::wanted()?;
    let pool = match Pool::start(config) {
        Ok(pool) => pool,
        Err(error) => {
            let text = bounded(error.to_string(), 16 * 1024);
            return sender.send(&ToEngine::Failed { length: text.len() as u64 }, text.as_bytes());
        }
    };
    let pool = Arc::new(Measured::new(pool));
    sender.send(&ToEngine::Ready { memory: pool.memory() }, &[])?;
    let mut agent = Agent { pool, sender, jobs: HashMap::new() };
    receiver.heard = Instant::now();
    loop {
        while let Some((message, carried)) = receiver.take()? {
            if message == ToAgent::End {
                // Its last words become records here, which go the way of all others.
                agent.pool.pool.terminate();
                records.iter().for_each(|records| records.flush(LAST_WORDS));
                return Ok(());
            }
            agent.handle(message, carried)?;
        }
        if receiver.fill()? {
            continue;
        }
        agent.sender.beat(|| ToEngine::Beat { memory: agent.pool.memory() })?;
        if receiver.heard.elapsed() > silence {
            return Err(LinkError::Silent(silence));
        }
        wait_readable(receiver.as_fd(), Instant::now().checked_add(silence / 4))?;
    }
}

/// Waits for the greeting.
fn greet(identity: &str, arguments: Vec<OsString>, receiver: &mut Receiver) -> Result<Greeting, LinkError> {
    let deadline = Instant::now() + GREETING;
    let (message, carried) = loop {
        if let Some(found) = receiver.take::<ToAgent>()? {
            break found;
        }
        if receiver.fill()? {
            continue;
        }
        if Instant::now() >= deadline {
            return Err(LinkError::Silent(GREETING));
        }
        wait_readable(receiver.as_fd(), Some(deadline))?;
    };
    let invalid = |what: String| LinkError::Io(io::Error::new(io::ErrorKind::InvalidData, what));
    match message {
        ToAgent::Hello { identity: wanted, .. } if wanted != identity => {
            Err(invalid(format!("this is build '{identity}', where build '{wanted}' is needed")))
        }
        ToAgent::Hello {
            identity: _,
            memory_limit,
            task_timeout,
            start_timeout,
            silence,
            max_tasks,
            log_level,
            initializer,
            length: _,
        } => {
            let program = Program::new(own_program(), identity);
            let mut config = PoolConfig::new(arguments.into_iter().fold(program, Program::argument));
            config.workers = 1;
            config.memory_limit = memory_limit;
            config.task_timeout = task_timeout.map(Duration::from_micros);
            config.start_timeout = Duration::from_micros(start_timeout);
            config.max_tasks_per_worker = max_tasks;
            config.initializer =
                initializer.map(|(function, schema)| Initializer::carried(function, schema, carried.into_outgoing()));
            let silence = Duration::from_micros(silence).max(Duration::from_millis(1));
            Ok(Greeting { config, silence, log_level })
        }
        other => Err(invalid(format!("{other:?} before a greeting"))),
    }
}

/// The pool of an agent, and what is told of its worker.
struct Measured {
    pool: Pool,
    memory: Mutex<(Instant, Option<u64>)>,
}

impl Measured {
    fn new(pool: Pool) -> Measured {
        let memory = Mutex::new((Instant::now(), own_memory(&pool)));
        Measured { pool, memory }
    }

    /// Bytes of the worker's own memory, now or a moment ago.
    fn memory(&self) -> Option<u64> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.0.elapsed() > MEASURE {
            *memory = (Instant::now(), own_memory(&self.pool));
        }
        memory.1
    }
}

fn own_memory(pool: &Pool) -> Option<u64> {
    pool.status().ok()?.first().and_then(|worker| worker.memory)
}

struct Agent {
    pool: Arc<Measured>,
    sender: Arc<Sender>,
    jobs: HashMap<u64, Result<OpenJob, String>>,
}

/// A job, and the thread that sends its results.
struct OpenJob {
    job: Arc<Job>,
    closed: Arc<AtomicBool>,
    thread: Thread,
}

impl Agent {
    fn handle(&mut self, message: ToAgent, carried: Carried) -> Result<(), LinkError> {
        match message {
            ToAgent::Open { job, function, schema, .. } => {
                let opened = self.open(&function, schema, carried);
                self.jobs.insert(job, opened);
            }
            ToAgent::Task { job, sequence, .. } => match self.jobs.get(&job) {
                Some(Ok(open)) => {
                    open.job.hand_in(sequence, carried.into_outgoing());
                    open.thread.unpark();
                }
                Some(Err(reason)) => {
                    let failure = TaskError::Send(reason.clone());
                    answer(&self.sender, &self.pool, sequence, Err(failure))?;
                }
                None => return Err(io::Error::new(io::ErrorKind::InvalidData, "a task of no job").into()),
            },
            ToAgent::Cancel { job } => {
                if let Some(Ok(open)) = self.jobs.get(&job) {
                    open.job.cancel_soon();
                }
            }
            ToAgent::Close { job } => {
                if let Some(Ok(open)) = self.jobs.remove(&job) {
                    open.closed.store(true, Ordering::Release);
                    open.thread.unpark();
                }
            }
            ToAgent::TaskTimeout { limit } => self.pool.pool.set_task_timeout(limit.map(Duration::from_micros)),
            ToAgent::Beat => {}
            ToAgent::Hello { .. } | ToAgent::Part | ToAgent::End => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a second greeting").into());
            }
        }
        Ok(())
    }

    fn open(&self, function: &str, schema: u64, setup: Carried) -> Result<OpenJob, String> {
        let job =
            self.pool.pool.open_carried(function, schema, setup.into_outgoing()).map_err(|error| error.to_string())?;
        let job = Arc::new(job);
        let closed = Arc::new(AtomicBool::new(false));
        let results = Results {
            job: Arc::clone(&job),
            closed: Arc::clone(&closed),
            sender: Arc::clone(&self.sender),
            pool: Arc::clone(&self.pool),
        };
        let thread = thread::Builder::new().name("results".into()).stack_size(256 * 1024);
        let thread = thread.spawn(move || results.run()).map_err(|error| error.to_string())?;
        Ok(OpenJob { job, closed, thread: thread.thread().clone() })
    }
}

/// What sends the results of one job.
struct Results {
    job: Arc<Job>,
    closed: Arc<AtomicBool>,
    sender: Arc<Sender>,
    pool: Arc<Measured>,
}

impl Results {
    fn run(self) {
        loop {
            match self.job.next() {
                Some((sequence, result)) => {
                    // Who cannot be answered is gone, and the watch ends this process; or does not read, which comes to the same.
                    if let Err(error) = answer(&self.sender, &self.pool, sequence, result) {
                        say(format_args!("answering a pool on another machine: {error}"));
                        std::process::exit(PROTOCOL.into());
                    }
                }
                None if self.closed.load(Ordering::Acquire) => return,
                None => thread::park(),
            }
        }
    }
}

/// Sends what a task came to.
fn answer(
    sender: &Sender,
    measured: &Measured,
    sequence: u64,
    result: Result<Payload, TaskError>,
) -> Result<(), LinkError> {
    let result = result.and_then(|mut payload| match payload.take_descriptors().len() {
        0 => Ok(payload),
        _ => Err(TaskError::Decode("its value, which holds a handle: none travels to another machine".into())),
    });
    let good = result.is_ok();
    let payload = match result {
        Ok(payload) => payload,
        Err(error) => postcard::to_stdvec(&Failure::from(error)).unwrap_or_default().into(),
    };
    let (deaths, memory) = (measured.pool.deaths(), measured.memory());
    let message = ToEngine::Ended { sequence, good, deaths, memory, length: payload.len() as u64 };
    sender.send_payload(&message, &ToEngine::Part, &payload, || Ok(()))
}
