//! Queues whose items are done one by one.

use super::Queue;
use crate::sync::word::Until;
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::Deref;
use std::time::Duration;

/// A [`Queue`] that also knows how many of the values that were put are done, so that others can wait for all of them.
///
/// ```
/// let queue = multiprocessing::JoinableQueue::new()?;
/// queue.put(&"work".to_string())?;
/// let theirs = queue.clone();
/// std::thread::spawn(move || {
///     while theirs.get().is_ok() {
///         theirs.task_done().expect("one for each");
///     }
/// });
/// queue.join();
/// queue.close();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct JoinableQueue<T>(Queue<T>);

/// More was said to be done than was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all that was put into the queue is done already")]
pub struct NothingToDo;

impl<T> JoinableQueue<T> {
    /// A new queue of a usual size. For another one, see [`QueueBuilder`](super::QueueBuilder).
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new() -> io::Result<JoinableQueue<T>> {
        Queue::new().map(JoinableQueue)
    }

    pub(super) fn over(queue: Queue<T>) -> JoinableQueue<T> {
        JoinableQueue(queue)
    }

    /// Says that a value that was got is done.
    ///
    /// # Errors
    /// It is said more often than values were put.
    pub fn task_done(&self) -> Result<(), NothingToDo> {
        if self.0.core.done() { Ok(()) } else { Err(NothingToDo) }
    }

    /// Waits until all values that were put are done. A value whose taker was killed is not done.
    pub fn join(&self) {
        self.await_all(Until::EVER);
    }

    /// As [`JoinableQueue::join`], but waits no longer than this; whether all are done.
    pub fn join_timeout(&self, timeout: Duration) -> bool {
        self.await_all(Until::after(timeout))
    }

    fn await_all(&self, until: Until) -> bool {
        loop {
            if self.0.core.undone() == 0 {
                return true;
            }
            if until.is_over() {
                return false;
            }
            self.0.core.await_done(until);
        }
    }

    /// How many values were put and are not done.
    pub fn undone(&self) -> u64 {
        self.0.core.undone()
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}
