//! The call forms of a pool.

use super::Pool;
use super::config::RetryPolicy;
use super::flow::Flow;
use super::imap::{Imap, ImapUnordered, Source};
use super::job::{Job, Wishes};
use super::results::{AsyncResult, Begun, MapResult};
use crate::error::{JobError, TaskError};
use crate::function::Function;
use crate::schema::schema;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where the number of arguments is known, a worker gets about so many chunks of them.
const CHUNKS: usize = 4;

/// What all call forms have in common: whatever becomes of one task, all others complete, and each has its own result.
impl Pool {
    /// Runs a function once, and waits for its value.
    ///
    /// # Errors
    /// Whatever ended the task; or its argument could not be encoded.
    pub fn apply<F: Function<Setup = ()>>(&self, function: F, argument: &F::Argument) -> Result<F::Value, TaskError> {
        self.apply_async(function, argument).get()
    }

    /// Begins to run a function once.
    pub fn apply_async<F: Function<Setup = ()>>(&self, function: F, argument: &F::Argument) -> AsyncResult<F> {
        self.calls(function).apply_async(argument)
    }

    /// Runs a function for each argument, and returns the results in the order of the arguments when all have ended. Arguments
    /// are drawn while the first ones are at work, at most 64 MiB ahead.
    ///
    /// A function of several arguments takes them as a tuple, so that this is a `starmap` as well.
    ///
    /// # Panics
    /// If the iterator of the arguments does. The tasks that were begun are cancelled then, and the pool goes on.
    pub fn map<F, I>(&self, function: F, arguments: I) -> Vec<Result<F::Value, TaskError>>
    where
        F: Function<Setup = ()>,
        I: IntoIterator<Item = F::Argument>,
    {
        self.calls(function).map(arguments)
    }

    /// Begins to run a function for each argument. All arguments are drawn now.
    ///
    /// # Panics
    /// As for [`Pool::map`].
    pub fn map_async<F, I>(&self, function: F, arguments: I) -> MapResult<F>
    where
        F: Function<Setup = ()>,
        I: IntoIterator<Item = F::Argument>,
    {
        self.calls(function).map_async(arguments)
    }

    /// Runs a function for each argument; an iterator over the results, in the order of the arguments. Arguments are drawn as
    /// results are taken: see [`Imap`].
    pub fn imap<F, I>(&self, function: F, arguments: I) -> Imap<F, I::IntoIter>
    where
        F: Function<Setup = ()>,
        I: IntoIterator<Item = F::Argument>,
    {
        self.calls(function).imap(arguments)
    }

    /// As [`Pool::imap`], with the results in whatever order they come.
    pub fn imap_unordered<F, I>(&self, function: F, arguments: I) -> ImapUnordered<F, I::IntoIter>
    where
        F: Function<Setup = ()>,
        I: IntoIterator<Item = F::Argument>,
    {
        self.calls(function).imap_unordered(arguments)
    }

    /// The call forms of a function, to be adjusted first.
    pub fn calls<F: Function<Setup = ()>>(&self, function: F) -> Calls<'_, F> {
        let _ = function;
        Calls { pool: self, chunk_size: None, retry: self.retry, function: PhantomData }
    }
}

/// A function's call forms, adjusted: how many arguments a worker gets at a time, and what becomes of a task whose worker dies.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry, RetryPolicy};
///
/// multiprocessing::function! {
///     fn square(number: u64) -> u64 { number * number }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<square>().serve_if_worker();
///     let pool = Pool::start(PoolConfig::new(Program::current("example")?))?;
///     let squares = pool.calls(square).chunk_size(100).retry(RetryPolicy::NEVER).map(0..1000);
///     assert_eq!(squares.into_iter().sum::<Result<u64, _>>()?, 332_833_500);
///     Ok(())
/// }
/// ```
pub struct Calls<'a, F> {
    pool: &'a Pool,
    chunk_size: Option<usize>,
    retry: RetryPolicy,
    function: PhantomData<fn() -> F>,
}

impl<F: Function<Setup = ()>> Calls<'_, F> {
    /// A worker gets so many arguments at a time, one after the other; 0 counts as 1. If it dies in the middle of them, only the
    /// one that it had begun is to blame: those before it have their values, and those after it go to other workers.
    ///
    /// Without this it is a quarter of a worker's even share, where the number of arguments is known (`map`), and 1 elsewhere.
    #[must_use]
    pub fn chunk_size(mut self, chunk_size: usize) -> Self {
        self.chunk_size = Some(chunk_size.max(1));
        self
    }

    /// What becomes of a task whose worker dies. Without this it is [`PoolConfig::retry`](crate::PoolConfig::retry).
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// As [`Pool::apply`].
    ///
    /// # Errors
    /// As there.
    pub fn apply(self, argument: &F::Argument) -> Result<F::Value, TaskError> {
        self.apply_async(argument).get()
    }

    /// As [`Pool::apply_async`].
    pub fn apply_async(self, argument: &F::Argument) -> AsyncResult<F> {
        AsyncResult::new(self.begin([argument].into_iter(), 1))
    }

    /// As [`Pool::map`].
    ///
    /// # Panics
    /// As there.
    pub fn map(self, arguments: impl IntoIterator<Item = F::Argument>) -> Vec<Result<F::Value, TaskError>> {
        let arguments = arguments.into_iter();
        match arguments.size_hint() {
            (least, Some(most)) if least == most => self.map_counted(arguments, least),
            _ => {
                let arguments: Vec<F::Argument> = arguments.collect();
                let count = arguments.len();
                self.map_counted(arguments.into_iter(), count)
            }
        }
    }

    fn map_counted(
        self,
        arguments: impl Iterator<Item = F::Argument>,
        count: usize,
    ) -> Vec<Result<F::Value, TaskError>> {
        let job = match self.job(self.chunk(count), false) {
            Ok(job) => job,
            Err(error) => return arguments.map(|_| Err(error.clone())).collect(),
        };
        let mut flow = Flow::<F>::new(job, true);
        for argument in arguments {
            flow.push(&argument);
            while flow.full() {
                flow.settle(1, None);
            }
        }
        flow.finish()
    }

    /// As [`Pool::map_async`].
    ///
    /// # Panics
    /// As there.
    pub fn map_async(self, arguments: impl IntoIterator<Item = F::Argument>) -> MapResult<F> {
        let arguments: Vec<F::Argument> = arguments.into_iter().collect();
        let chunk = self.chunk(arguments.len());
        MapResult::new(self.begin(arguments.iter(), chunk))
    }

    /// As [`Pool::imap`].
    pub fn imap<I: IntoIterator<Item = F::Argument>>(self, arguments: I) -> Imap<F, I::IntoIter> {
        Imap::new(self.source(arguments, true))
    }

    /// As [`Pool::imap_unordered`].
    pub fn imap_unordered<I: IntoIterator<Item = F::Argument>>(self, arguments: I) -> ImapUnordered<F, I::IntoIter> {
        ImapUnordered::new(self.source(arguments, false))
    }

    /// Begins tasks whose results may wait, however many they are.
    fn begin<'b>(&self, arguments: impl ExactSizeIterator<Item = &'b F::Argument>, chunk: usize) -> Begun<F>
    where
        F::Argument: 'b,
    {
        let count = arguments.len();
        let flow = self.job(chunk, true).map(|job| {
            let mut flow = Flow::new(job, true);
            arguments.for_each(|argument| flow.push(argument));
            flow.flush();
            flow
        });
        Begun { flow, count, callbacks: Arc::clone(&self.pool.callbacks) }
    }

    fn source<I: IntoIterator<Item = F::Argument>>(&self, arguments: I, ordered: bool) -> Source<F, I::IntoIter> {
        let chunk = self.chunk_size.unwrap_or(1);
        let flow = self.job(chunk, false).map(|job| Flow::new(job, ordered));
        Source::new(flow, arguments.into_iter(), chunk.saturating_mul(self.width()))
    }

    fn width(&self) -> usize {
        (self.pool.width.load(Ordering::Relaxed) + self.pool.remote_width.load(Ordering::Relaxed)).max(1)
    }

    fn chunk(&self, count: usize) -> usize {
        self.chunk_size.unwrap_or_else(|| count.div_ceil(CHUNKS * self.width()))
    }

    fn job(&self, chunk: usize, unbounded: bool) -> Result<Job, TaskError> {
        let (schema, retries) = (schema::<F>(), self.retry.retries);
        let wishes = Wishes { function: F::NAME, schema, retries, chunk, unbounded, ..Wishes::default() };
        self.pool.opener.open(wishes).map_err(|error: JobError| error.into())
    }
}

impl<F: Function> fmt::Debug for Calls<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Calls");
        debug.field("function", &F::NAME).field("chunk_size", &self.chunk_size).field("retry", &self.retry);
        debug.finish_non_exhaustive()
    }
}
