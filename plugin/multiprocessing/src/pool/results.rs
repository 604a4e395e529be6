//! Results that are waited for later, or by a callback.

use super::callbacks::Callbacks;
use super::flow::Flow;
use super::inbox::Inbox;
use crate::error::TaskError;
use crate::function::Function;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Tasks that were begun.
pub(super) struct Begun<F: Function> {
    /// An error is that of each task.
    pub(super) flow: Result<Flow<F>, TaskError>,
    pub(super) count: usize,
    pub(super) callbacks: Arc<Callbacks>,
}

impl<F: Function> Begun<F> {
    fn inbox(&self) -> Option<&Arc<Inbox>> {
        self.flow.as_ref().ok().map(|flow| flow.job().inbox())
    }

    fn over(&self) -> Option<bool> {
        match &self.flow {
            Ok(flow) => flow.job().inbox().over().map(|well| well && flow.unsent() == 0),
            Err(_) => Some(false),
        }
    }

    fn wait(&self, timeout: Option<Duration>) -> bool {
        self.inbox().is_none_or(|inbox| inbox.wait_until_ended(timeout))
    }

    fn cancel(&self) {
        if let Ok(flow) = &self.flow {
            flow.job().cancel();
        }
    }

    /// Has the callback done by the pool's thread for that, when all have ended.
    fn at_end(self, callback: impl FnOnce(Self) + Send + 'static)
    where
        F::Value: Send,
    {
        if !self.callbacks.start() {
            // There is no thread, and none can be had.
            self.wait(None);
        }
        let callbacks = Arc::clone(&self.callbacks);
        match self.inbox().cloned() {
            Some(inbox) => inbox.at_end(Box::new(move || callbacks.run(Box::new(move || callback(self))))),
            None => callbacks.run(Box::new(move || callback(self))),
        }
    }
}

impl<F: Function> fmt::Debug for Begun<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun").field("function", &F::NAME).field("over", &self.over()).finish_non_exhaustive()
    }
}

/// The methods that both kinds of results have.
macro_rules! result {
    ($type:ident, $output:ty) => {
        impl<F: Function> $type<F> {
            pub(super) fn new(begun: Begun<F>) -> Self {
                $type(Some(Box::new(begun)))
            }

            fn begun(&self) -> &Begun<F> {
                self.0.as_deref().expect("only methods that consume it take it out")
            }

            /// Waits for the end; for ever, if it never comes.
            pub fn get(mut self) -> $output {
                self.0.take().map(|begun| Self::finish(*begun)).expect("only methods that consume it take it out")
            }

            /// Waits for the end, for `timeout` at most.
            ///
            /// # Errors
            /// It has not ended by then; this comes back, to be asked again.
            pub fn get_timeout(self, timeout: Duration) -> Result<$output, Self> {
                if self.wait_timeout(timeout) { Ok(self.get()) } else { Err(self) }
            }

            /// Waits for the end.
            pub fn wait(&self) {
                self.begun().wait(None);
            }

            /// Waits for the end, for `timeout` at most; whether it has come.
            pub fn wait_timeout(&self, timeout: Duration) -> bool {
                self.begun().wait(Some(timeout))
            }

            /// Whether it has ended, well or not.
            pub fn is_ready(&self) -> bool {
                self.begun().over().is_some()
            }

            /// Whether it has ended well, with nothing but values; `None` while it has not ended. A value is not looked into:
            /// it may still turn out that it cannot be decoded.
            pub fn is_successful(&self) -> Option<bool> {
                self.begun().over()
            }

            /// Ends what has not ended, as [`TaskError::Cancelled`], within a tenth of a second: as
            /// [`Job::cancel`](crate::Job::cancel).
            pub fn cancel(&self) {
                self.begun().cancel();
            }

            /// Has the result given to `callback` as soon as it is there, also if it is there already. It is called by a
            /// thread that the pool has for that; where none could be started, or the pool has ended, by whichever thread finds
            /// the result to be there. While it runs, other callbacks of the pool wait; if it panics, they do not mind.
            pub fn on_end(mut self, callback: impl FnOnce($output) + Send + 'static)
            where
                F::Value: Send,
            {
                if let Some(begun) = self.0.take() {
                    begun.at_end(move |begun| callback(Self::finish(begun)));
                }
            }
        }

        impl<F: Function> Drop for $type<F> {
            fn drop(&mut self) {
                if let Some(Ok(flow)) = self.0.take().map(|begun| begun.flow) {
                    flow.into_job().detach();
                }
            }
        }
    };
}

/// The result of [`Pool::apply_async`](crate::Pool::apply_async). The task goes on if this is dropped.
///
/// ```
/// use multiprocessing::{Pool, PoolConfig, Program, Registry};
/// use std::time::Duration;
///
/// multiprocessing::function! {
///     fn square(number: u64) -> u64 { number * number }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<square>().serve_if_worker();
///     let pool = Pool::start(PoolConfig::new(Program::current("example")?))?;
///     let (sender, receiver) = std::sync::mpsc::channel();
///     pool.apply_async(square, &3).on_end(move |result| drop(sender.send(result)));
///     let four = pool.apply_async(square, &4);
///     assert_eq!(receiver.recv()??, 9);
///     assert_eq!(four.get_timeout(Duration::from_secs(10)).expect("it takes no time")?, 16);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct AsyncResult<F: Function>(Option<Box<Begun<F>>>);

impl<F: Function> AsyncResult<F> {
    fn finish(begun: Begun<F>) -> Result<F::Value, TaskError> {
        // There is one result, unless the dispatcher itself was lost.
        begun.flow.and_then(|flow| flow.finish().pop().unwrap_or(Err(TaskError::Closed)))
    }
}

result!(AsyncResult, Result<F::Value, TaskError>);

/// The results of [`Pool::map_async`](crate::Pool::map_async), in the order of the arguments. The tasks go on if this is
/// dropped.
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
///     let squares = pool.map_async(square, 0..10);
///     squares.wait();
///     assert!(squares.is_ready());
///     assert_eq!(squares.is_successful(), Some(true));
///     assert_eq!(squares.get().into_iter().sum::<Result<u64, _>>()?, 285);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct MapResult<F: Function>(Option<Box<Begun<F>>>);

impl<F: Function> MapResult<F> {
    fn finish(begun: Begun<F>) -> Vec<Result<F::Value, TaskError>> {
        match begun.flow {
            Ok(flow) => flow.finish(),
            Err(error) => (0..begun.count).map(|_| Err(error.clone())).collect(),
        }
    }
}

result!(MapResult, Vec<Result<F::Value, TaskError>>);
