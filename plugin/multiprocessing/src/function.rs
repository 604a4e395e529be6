//! What a worker can do: functions, registered by name.

use crate::bounded;
use crate::codec::{self, Message};
use crate::memory::SharedMemory;
use crate::program::{SERVING, is_worker};
use crate::wire::NAME_LIMIT;
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
    pub(crate) flag: &'a SharedMemory,
}

impl Context<'_> {
    /// Whether the task's job was cancelled. It costs one read of memory, so a task can ask often; one that does not return
    /// within 50 ms of its own time after this has turned true loses its process (see [`Job::cancel`](crate::Job::cancel)).
    pub fn cancelled(&self) -> bool {
        self.flag.atomic_u32(0).is_some_and(|flag| flag.load(Ordering::Relaxed) != 0)
    }
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
pub trait Function: Sized + 'static {
    /// Its name in the registry; at most [`NAME_LIMIT`] bytes.
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

/// A typed function over bytes.
struct Typed<F>(F);

impl<F: Function> Serve for Typed<F> {
    fn call(&mut self, payload: &[u8], descriptors: Vec<OwnedFd>, context: &Context<'_>) -> Result<Message, Refusal> {
        let argument = codec::decode(payload, descriptors)
            .map_err(|error| Refusal::Decode(format!("the argument of {}: {error}", F::NAME)))?;
        let value = self.0.call(argument, context)?;
        codec::encode(&value).map_err(|error| Refusal::Decode(format!("the value of {}: {error}", F::NAME)))
    }
}

type Open = Box<dyn Fn(&[u8], Vec<OwnedFd>) -> Result<Box<dyn Serve>, Refusal>>;

/// The functions of a worker program, and the identity of its build.
pub struct Registry {
    identity: String,
    functions: HashMap<String, Open>,
    preloads: Vec<Box<dyn Fn()>>,
}

impl Registry {
    /// No functions yet. Pool and worker must give the same `identity`; it is cut to
    /// [`NAME_LIMIT`] bytes.
    pub fn new(identity: impl Into<String>) -> Registry {
        Registry { identity: bounded(identity.into(), NAME_LIMIT), functions: HashMap::new(), preloads: Vec::new() }
    }

    /// Adds a typed function. A later one of the same name takes its place.
    pub fn function<F: Function>(self) -> Registry {
        self.serve(F::NAME, |setup, descriptors| {
            let setup = codec::decode(setup, descriptors)
                .map_err(|error| Refusal::Decode(format!("the set-up of {}: {error}", F::NAME)))?;
            Ok(Box::new(Typed(F::open(setup)?)))
        })
    }

    /// Adds a function over bytes. `open` is called in a worker before the first task of a job there.
    pub fn serve(
        mut self,
        name: &str,
        open: impl Fn(&[u8], Vec<OwnedFd>) -> Result<Box<dyn Serve>, Refusal> + 'static,
    ) -> Registry {
        self.functions.insert(name.to_owned(), Box::new(open));
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

    pub(crate) fn open(&self, name: &str, setup: &[u8], descriptors: Vec<OwnedFd>) -> Result<Box<dyn Serve>, Refusal> {
        match self.functions.get(name) {
            Some(open) => open(setup, descriptors),
            None => Err(Refusal::Error(format!("no function named '{name}' in this worker"))),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("identity", &self.identity).field("functions", &self.functions.keys()).finish()
    }
}
