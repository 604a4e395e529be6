//! Results as an iterator, whose arguments are drawn as its results are taken.

use super::flow::Flow;
use crate::error::TaskError;
use crate::function::Function;
use std::any::Any;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// So many chunks for each worker are drawn ahead, as far as the chunks are small; at least this many arguments are.
const AHEAD: usize = 4;
const LEAST: usize = 256;

/// The arguments and the tasks of one call.
pub(super) struct Source<F: Function, I> {
    /// An error is that of each task.
    flow: Result<Flow<F>, TaskError>,
    /// `None` once it has ended.
    arguments: Option<I>,
    /// What it panicked with, until its turn has come.
    panic: Option<Box<dyn Any + Send>>,
    /// So many tasks are under way or wait to be taken at most.
    window: usize,
}

impl<F: Function, I: Iterator<Item = F::Argument>> Source<F, I> {
    /// `round` is how many arguments all workers have at a time.
    pub(super) fn new(flow: Result<Flow<F>, TaskError>, arguments: I, round: usize) -> Source<F, I> {
        Source { flow, arguments: Some(arguments), panic: None, window: round.saturating_mul(AHEAD).max(LEAST) }
    }

    /// The next argument. What the iterator panics with is kept.
    fn draw(&mut self) -> Option<F::Argument> {
        let arguments = self.arguments.as_mut()?;
        match catch_unwind(AssertUnwindSafe(|| arguments.next())) {
            Ok(Some(argument)) => return Some(argument),
            Ok(None) => {}
            Err(panic) => self.panic = Some(panic),
        }
        self.arguments = None;
        None
    }

    /// Draws arguments until enough are under way.
    fn fill(&mut self) {
        // Not one by one, so that the dispatcher is not woken for each.
        if self.flow.as_ref().is_ok_and(|flow| flow.len() > self.window / 2) {
            return;
        }
        while self.flow.as_ref().is_ok_and(|flow| flow.len() < self.window && !flow.full()) {
            let Some(argument) = self.draw() else { return };
            if let Ok(flow) = &mut self.flow {
                flow.push(&argument);
            }
        }
    }

    fn next(&mut self) -> Option<Result<F::Value, TaskError>> {
        self.fill();
        loop {
            let flow = match &mut self.flow {
                Ok(flow) => flow,
                Err(error) => {
                    let error = error.clone();
                    if self.draw().is_some() {
                        return Some(Err(error));
                    }
                    break;
                }
            };
            flow.flush();
            if let Some(result) = flow.pop() {
                return Some(result);
            }
            if flow.len() == 0 {
                break;
            }
            flow.settle(1, None);
        }
        // All that came before has been taken.
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
        None
    }
}

impl<F: Function, I> fmt::Debug for Source<F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("flow", &self.flow).field("window", &self.window).finish_non_exhaustive()
    }
}

/// The results of [`Pool::imap`](crate::Pool::imap), in the order of the arguments. Dropping it cancels the tasks that have not ended.
///
/// Memory is bounded both ways: at most four chunks for each worker (but at least 256 arguments) have been drawn whose results
/// were not taken, and at most 64 MiB of arguments, or one, are under way.
///
/// If the iterator of the arguments panics, the results of the arguments before are given first; then `next` panics with that.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry};
///
/// multiprocessing::function! {
///     fn square(number: u64) -> u64 { number * number }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<square>().serve_if_worker();
///     let pool = Pool::start(PoolConfig::new(Program::current("example")?))?;
///     // The arguments have no end.
///     let squares = pool.imap(square, 1..).take(3).collect::<Result<Vec<u64>, _>>()?;
///     assert_eq!(squares, [1, 4, 9]);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Imap<F: Function, I>(Source<F, I>);

impl<F: Function, I: Iterator<Item = F::Argument>> Imap<F, I> {
    pub(super) fn new(source: Source<F, I>) -> Imap<F, I> {
        Imap(source)
    }
}

impl<F: Function, I: Iterator<Item = F::Argument>> Iterator for Imap<F, I> {
    type Item = Result<F::Value, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<F: Function, I: Iterator<Item = F::Argument>> FusedIterator for Imap<F, I> {}

/// The results of [`Pool::imap_unordered`](crate::Pool::imap_unordered), in the order in which they come; else as [`Imap`].
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry};
///
/// multiprocessing::function! {
///     fn square(number: u64) -> u64 { number * number }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<square>().serve_if_worker();
///     let pool = Pool::start(PoolConfig::new(Program::current("example")?))?;
///     let sum = pool.imap_unordered(square, 0..100).sum::<Result<u64, _>>()?;
///     assert_eq!(sum, 328_350);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct ImapUnordered<F: Function, I>(Source<F, I>);

impl<F: Function, I: Iterator<Item = F::Argument>> ImapUnordered<F, I> {
    pub(super) fn new(source: Source<F, I>) -> ImapUnordered<F, I> {
        ImapUnordered(source)
    }
}

impl<F: Function, I: Iterator<Item = F::Argument>> Iterator for ImapUnordered<F, I> {
    type Item = Result<F::Value, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<F: Function, I: Iterator<Item = F::Argument>> FusedIterator for ImapUnordered<F, I> {}
