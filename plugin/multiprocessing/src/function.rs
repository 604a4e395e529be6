//! What a worker can do: functions, registered by name.

use crate::bounded;
use crate::codec::{self, Message};
use crate::flags::raised;
use crate::manager::{Managed, ManagedTypes, SERVER, Serving};
use crate::memory::SharedMemory;
use crate::payload::Outgoing;
use crate::program::{SERVING, is_worker};
use crate::schema::schema;
use crate::wire::{INLINE_LIMIT, NAME_LIMIT};
use crate::worker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

/// What a running task may ask about its job.
#[derive(Debug)]
pub struct Context<'a> {
    /// Where it is written down which jobs are cancelled, and where in it this one is; none outside of a pool.
    job: Option<(&'a SharedMemory, u32, u64)>,
}

impl<'a> Context<'a> {
    /// That of a job whose flag is in `flags`, in this slot.
    pub(crate) fn of_job(flags: &'a SharedMemory, slot: u32, job: u64) -> Context<'a> {
        Context { job: Some((flags, slot, job)) }
    }

    /// That of a call that nobody can cancel.
    pub(crate) fn alone() -> Context<'static> {
        Context { job: None }
    }

    /// Whether the task's job was cancelled. It costs one read of memory, so a task can ask often; one that does not return
    /// within 50 ms of its own time after this has turned true loses its process (see [`Job::cancel`](crate::Job::cancel)).
    pub fn cancelled(&self) -> bool {
        self.job.is_some_and(|(flags, slot, job)| raised(flags, slot, job))
    }
}

/// Whether the job of the task that this process runs was cancelled: [`Context::cancelled`] for functions that do not get a
/// [`Context`], such as those of [`function!`](crate::function!), and for threads that a task has started. Never outside of a pool's worker.
///
/// ```
/// multiprocessing::function! {
///     /// Counts on and on, until it is told to stop.
///     fn count() -> u64 {
///         let mut number = 0;
///         while !multiprocessing::cancelled() {
///             number += 1;
///         }
///         number
///     }
/// }
/// # let _ = count;
/// assert!(!multiprocessing::cancelled());
/// ```
pub fn cancelled() -> bool {
    worker::context().is_some_and(|context| context.cancelled())
}

/// Why a function gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The function's own message.
    #[error("{0}")]
    Error(String),
    /// The bytes that it was given, or those that it wanted to return, could not be decoded or encoded.
    #[error("{0}")]
    Decode(String),
}

impl From<String> for Refusal {
    fn from(message: String) -> Refusal {
        Refusal::Error(message)
    }
}

/// A function over bytes, opened for one job: it keeps what the job's tasks share.
pub trait Serve {
    /// Runs one task.
    fn call(&mut self, payload: &[u8], descriptors: Vec<OwnedFd>, context: &Context<'_>) -> Result<Message, Refusal>;
}

/// A typed function. The value that implements it is what the tasks of one job share in one worker.
///
/// [`function!`](crate::function!) writes one without a set-up. Here is one whose tasks share a word and where to begin:
///
/// ```
/// use multiprocessing::{Context, Function, Pool, PoolConfig, Program, Registry};
///
/// struct Numbered {
///     word: String,
///     next: u64,
/// }
///
/// impl Function for Numbered {
///     const NAME: &'static str = "numbered";
///     type Setup = (String, u64);
///     type Argument = String;
///     type Value = String;
///
///     fn open((word, next): (String, u64)) -> Result<Numbered, String> {
///         Ok(Numbered { word, next })
///     }
///
///     fn call(&mut self, text: String, context: &Context<'_>) -> Result<String, String> {
///         if context.cancelled() {
///             return Err("nobody wants it any more".into());
///         }
///         self.next += 1;
///         Ok(format!("{} {}: {text}", self.word, self.next - 1))
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<Numbered>().serve_if_worker();
///     let mut config = PoolConfig::new(Program::current("example")?);
///     config.workers = 1;
///     let pool = Pool::start(config)?;
///     let job = pool.typed_job::<Numbered>(&("line".into(), 10))?;
///     job.submit(0, &"first".into())?;
///     job.submit(1, &"second".into())?;
///     let mut values = Vec::new();
///     while let Some((id, value)) = job.next() {
///         values.push((id, value?));
///     }
///     assert_eq!(values, [(0, "line 10: first".into()), (1, "line 11: second".into())]);
///     Ok(())
/// }
/// ```
pub trait Function: Sized + 'static {
    /// Its name in the registry; at most 256 bytes.
    const NAME: &'static str;
    /// What is sent once for all tasks of a job. It may hold handles, such as a queue or a [`Descriptor`](codec::Descriptor).
    type Setup: Serialize + DeserializeOwned;
    /// What is sent with each task.
    type Argument: Serialize + DeserializeOwned;
    /// What a task brings.
    type Value: Serialize + DeserializeOwned;

    /// Begins a job in this worker, before its first task here. An error is the error of each of the job's tasks here.
    fn open(setup: Self::Setup) -> Result<Self, String>;

    /// Runs one task.
    fn call(&mut self, argument: Self::Argument, context: &Context<'_>) -> Result<Self::Value, String>;
}

/// A function that was opened for one job, as a worker runs it.
pub(crate) trait Run {
    fn run(&mut self, payload: &[u8], descriptors: Vec<OwnedFd>, context: &Context<'_>) -> Result<Outgoing, Refusal>;
}

struct Typed<F>(F);

impl<F: Function> Run for Typed<F> {
    fn run(&mut self, payload: &[u8], descriptors: Vec<OwnedFd>, context: &Context<'_>) -> Result<Outgoing, Refusal> {
        let argument = codec::decode(payload, descriptors)
            .map_err(|error| Refusal::Decode(format!("the argument of {}: {error}", F::NAME)))?;
        let value = self.0.call(argument, context)?;
        let encoded = Outgoing::encode(&value, INLINE_LIMIT);
        encoded.map(|(value, _)| value).map_err(|error| Refusal::Decode(format!("the value of {}: {error}", F::NAME)))
    }
}

struct Untyped(Box<dyn Serve>);

impl Run for Untyped {
    fn run(&mut self, payload: &[u8], descriptors: Vec<OwnedFd>, context: &Context<'_>) -> Result<Outgoing, Refusal> {
        self.0.call(payload, descriptors, context).map(Outgoing::new)
    }
}

type Open = Box<dyn Fn(&[u8], Vec<OwnedFd>) -> Result<Box<dyn Run>, Refusal>>;

/// A function of the registry.
struct Entry {
    /// What its callers must have, too; 0 if nothing is known of its types.
    schema: u64,
    open: Open,
}

/// The functions of a worker program, and the identity of its build.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry};
///
/// multiprocessing::function! { fn square(number: u64) -> u64 { number * number } }
/// multiprocessing::function! { fn shout(text: String) -> String { text.to_uppercase() } }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     // A process that was started as a worker serves in the last of these calls, and ends there.
///     Registry::new("example").function::<square>().function::<shout>().serve_if_worker();
///     let pool = Pool::start(PoolConfig::new(Program::current("example")?))?;
///     assert_eq!(pool.apply(square, &12)?, 144);
///     assert_eq!(pool.apply(shout, &"quiet".into())?, "QUIET");
///     Ok(())
/// }
/// ```
pub struct Registry {
    identity: String,
    functions: HashMap<String, Entry>,
    preloads: Vec<Box<dyn Fn()>>,
    managed: ManagedTypes,
}

impl Registry {
    /// No functions yet. Pool and worker must give the same `identity`; it is cut to
    /// 256 bytes.
    pub fn new(identity: impl Into<String>) -> Registry {
        Registry {
            identity: bounded(identity.into(), NAME_LIMIT),
            functions: HashMap::new(),
            preloads: Vec::new(),
            managed: ManagedTypes::new(),
        }
    }

    /// Adds a typed function. A later one of the same name takes its place.
    pub fn function<F: Function>(self) -> Registry {
        self.insert(F::NAME, schema::<F>(), |setup, descriptors| {
            let setup = codec::decode(setup, descriptors)
                .map_err(|error| Refusal::Decode(format!("the set-up of {}: {error}", F::NAME)))?;
            Ok(Box::new(Typed(F::open(setup)?)))
        })
    }

    /// Adds a function over bytes. `open` is called in a worker before the first task of a job there.
    pub fn serve(
        self,
        name: &str,
        open: impl Fn(&[u8], Vec<OwnedFd>) -> Result<Box<dyn Serve>, Refusal> + 'static,
    ) -> Registry {
        self.insert(name, 0, move |setup, descriptors| Ok(Box::new(Untyped(open(setup, descriptors)?))))
    }

    fn insert(
        mut self,
        name: &str,
        schema: u64,
        open: impl Fn(&[u8], Vec<OwnedFd>) -> Result<Box<dyn Run>, Refusal> + 'static,
    ) -> Registry {
        self.functions.insert(name.to_owned(), Entry { schema, open: Box::new(open) });
        self
    }

    /// Adds a type whose objects a [`Manager`](crate::Manager) of this program can own. A later one of the same name takes its place.
    pub fn managed<T: Managed>(mut self) -> Registry {
        self.managed = self.managed.add::<T>();
        self
    }

    /// Adds what a [`Zygote`](crate::Zygote) of this program does once, before it makes processes: each of them then has
    /// what this has left in memory, at no cost. It must leave no thread running, and nothing that relies on `pthread_atfork`. Other processes of
    /// the program do not run it.
    pub fn preload(mut self, preload: impl Fn() + 'static) -> Registry {
        self.preloads.push(Box::new(preload));
        self
    }

    pub(crate) fn preload_all(&self) {
        self.preloads.iter().for_each(|preload| preload());
    }

    /// At the beginning of the `main` of a program that is its own worker program: a process that was started as a worker
    /// serves here and ends; any other goes on.
    pub fn serve_if_worker(self) {
        if is_worker() {
            SERVING.store(true, Ordering::Relaxed);
            std::process::exit(worker::serve(&self).into());
        }
    }

    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Opens a function for a job whose owner knows it by this schema; 0 if it knows nothing of its types.
    pub(crate) fn open(
        &self,
        name: &str,
        schema: u64,
        setup: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<Box<dyn Run>, Refusal> {
        match self.functions.get(name) {
            Some(entry) if schema != 0 && entry.schema != 0 && schema != entry.schema => {
                let text =
                    "has other types in this worker than in the program that calls it: build both from one source";
                Err(Refusal::Error(format!("function '{name}' {text}")))
            }
            Some(entry) => (entry.open)(setup, descriptors),
            None if name == SERVER => Ok(Box::new(Untyped(Box::new(Serving(self.managed.clone()))))),
            None => Err(Refusal::Error(format!("no function named '{name}' in this worker"))),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("identity", &self.identity).field("functions", &self.functions.keys()).finish()
    }
}
