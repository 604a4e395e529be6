//! How a process is started.

use super::Process;
use super::child::Child;
use super::entry::Entry;
use super::keeper::{self, Hold};
use super::own;
use super::spawn::{Spawn, Standard};
use super::zygote::{Zygote, send};
use crate::bounded;
use crate::codec::{self, CodecError};
use crate::error::StartError;
use crate::function::Function;
use crate::logging::Records;
use crate::packets::{DESCRIPTOR_LIMIT, Packets};
use crate::payload::Outgoing;
use crate::program::Program;
use crate::schema::schema;
use crate::wire::{NAME_LIMIT, ToWorker};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a new process comes to be.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum StartMethod {
    /// The program is run once more, by `posix_spawn`. What it costs does not depend on this process: not on its memory, and
    /// not on its threads.
    #[default]
    Spawn,
    /// A [`Zygote`] of the program forks itself.
    Zygote(Arc<Zygote>),
}

/// What a new process has as its standard input, output or error.
///
/// ```
/// use multiprocessing::{Process, Program, Registry, Stdio};
/// use std::io::Read;
///
/// multiprocessing::function! {
///     fn greet(name: String) -> () {
///         println!("hello {name}");
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<greet>().serve_if_worker();
///     let (mut reader, writer) = std::io::pipe()?;
///     let process = Process::builder(&Program::current("example")?)
///         .stdin(Stdio::Null)
///         .stdout(writer)
///         .start(greet, &"Ada".to_owned())?;
///     let mut text = String::new();
///     reader.read_to_string(&mut text)?;
///     assert_eq!(text, "hello Ada\n");
///     process.join()?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Stdio {
    /// What this process has there.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// This descriptor. This process's own is closed once the process was started.
    Descriptor(OwnedFd),
}

impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(descriptor: T) -> Stdio {
        Stdio::Descriptor(descriptor.into())
    }
}

impl From<Stdio> for Standard {
    fn from(stdio: Stdio) -> Standard {
        match stdio {
            Stdio::Inherit => Standard::Inherit,
            Stdio::Null => Standard::Null,
            Stdio::Descriptor(descriptor) => Standard::Descriptor(descriptor),
        }
    }
}

/// A process that is to be started: made by [`Process::builder`].
#[derive(Debug)]
#[must_use = "nothing is started before start is called"]
pub struct Builder {
    program: Program,
    name: Option<String>,
    daemon: bool,
    environment: Vec<(OsString, OsString)>,
    standard: [Stdio; 3],
    method: StartMethod,
}

/// Numbers the processes that are given no name.
static STARTED: AtomicU64 = AtomicU64::new(1);

impl Builder {
    pub(super) fn new(program: &Program) -> Builder {
        Builder {
            program: program.clone(),
            name: None,
            daemon: false,
            environment: Vec::new(),
            standard: Default::default(),
            method: StartMethod::default(),
        }
    }

    /// Its name, which is for people to read; at most 256 bytes of it count. Without one it is `process-N`.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(bounded(name.into(), NAME_LIMIT));
        self
    }

    /// Whether it is to end with this process, however that ends, and with its handle. Otherwise (the default) it goes on after both.
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = daemon;
        self
    }

    /// Adds a variable to its environment, which else is that of this process. A later one of the same name takes its place.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Builder {
        let name = name.into();
        self.environment.retain(|(other, _)| *other != name);
        self.environment.push((name, value.into()));
        self
    }

    /// Its standard input: that of this process, unless this says otherwise.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Builder {
        self.standard[0] = stdin.into();
        self
    }

    /// Its standard output: that of this process, unless this says otherwise.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Builder {
        self.standard[1] = stdout.into();
        self
    }

    /// Its standard error: that of this process, unless this says otherwise.
    pub fn stderr(mut self, stderr: impl Into<Stdio>) -> Builder {
        self.standard[2] = stderr.into();
        self
    }

    /// How it comes to be: by a spawn, unless this says otherwise.
    pub fn start_method(mut self, method: StartMethod) -> Builder {
        self.method = method;
        self
    }

    /// Starts it: it runs the function with this argument, on its main thread, and ends. Does not wait for it.
    ///
    /// Its status is 0 if the function returns; 1 if that returns an error or panics, with the message on its standard error;
    /// and the code of [`std::process::exit`] if it calls that. Its other threads end with the function, as those of every Rust program do with
    /// `main`. A program of another build ends with status 3, and one that is no worker program in its own way.
    ///
    /// The argument may hold handles. It may be of any size; beyond 64 KiB it travels in memory of its own.
    ///
    /// # Errors
    /// The argument cannot be encoded, or has too many handles; the program cannot be run; the zygote is of another program; or this
    /// process has no room for another.
    pub fn start<F: Function<Setup = ()>>(self, function: F, argument: &F::Argument) -> Result<Process, StartError> {
        // Only its type tells which function it is.
        let _ = function;
        let message = codec::encode(argument).map_err(StartError::Argument)?;
        // One more may be the argument's own memory.
        if message.descriptors.len() >= DESCRIPTOR_LIMIT || F::NAME.len() > NAME_LIMIT {
            return Err(StartError::Resources(Arc::new(io::Error::new(
                io::ErrorKind::InvalidInput,
                "too many handles in the argument, or too long a name of the function",
            ))));
        }
        let mut payload = Outgoing::new(message);
        payload.prepare().map_err(resources)?;
        self.start_by_name(F::NAME, schema::<F>(), &payload)
    }

    fn start_by_name(self, function: &str, schema: u64, payload: &Outgoing) -> Result<Process, StartError> {
        let Builder { program, name, daemon, environment, standard, method } = self;
        let name = name.unwrap_or_else(|| format!("process-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        let records = Records::wanted().map_err(resources)?;
        let log_level = if records.is_some() { log::max_level() as u8 } else { 0 };
        // Whatever it needs to know is there before it begins, so that it never waits for this process.
        let prepare = || -> Result<(Packets, Packets), StartError> {
            let (ours, theirs) = Packets::pair().map_err(resources)?;
            let hello = ToWorker::Process {
                parent: std::process::id(),
                identity: program.identity(),
                name: &name,
                parent_name: own::current().name(),
                daemon,
                log_level,
            };
            let this = own::own_pidfd().map_err(resources)?;
            send(&ours, &hello, &[], &[this.as_fd()]).map_err(resources)?;
            let run = ToWorker::Run { function, schema, shared: payload.shared() };
            send(&ours, &run, payload.tail(), &payload.descriptors()).map_err(resources)?;
            Ok((ours, theirs))
        };
        let standard = standard.map(Standard::from);
        // The keeper lives on until it watches the process.
        let hold = daemon.then(Hold::new).transpose().map_err(resources)?;
        let (child, connection) = match &method {
            StartMethod::Zygote(zygote) if *zygote.program() != program => {
                return Err(resources(io::Error::new(io::ErrorKind::InvalidInput, "the zygote is of another program")));
            }
            StartMethod::Zygote(zygote) => zygote.fork(&environment, &standard, prepare)?,
            StartMethod::Spawn => {
                let (ours, theirs) = prepare()?;
                let spawn = Spawn {
                    program: program.path().to_owned(),
                    arguments: program.arguments().to_vec(),
                    environment,
                    standard,
                    control: Some(theirs.into()),
                    session: false,
                };
                let started = match &hold {
                    Some(hold) => hold.run(move || Child::start(&spawn)),
                    None => Child::start(&spawn),
                };
                let path = || program.path().to_owned();
                (started.map_err(|error| StartError::Spawn { path: path(), error: Arc::new(error) })?, ours)
            }
        };
        let entry = Entry::new(name.clone(), daemon, child, connection, records);
        if daemon || entry.is_heard() {
            keeper::watch(&entry).map_err(|error| {
                entry.child.kill();
                resources(error)
            })?;
        }
        Ok(Process { entry })
    }
}

fn resources(error: io::Error) -> StartError {
    StartError::Resources(Arc::new(error))
}

impl From<CodecError> for StartError {
    fn from(error: CodecError) -> StartError {
        StartError::Argument(error)
    }
}
