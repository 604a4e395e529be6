//! Queues between any number of processes.
//!
//! A queue is a ring in shared memory with a robust lock at each end. Whoever puts or gets holds the lock for as long as the
//! message is copied, and publishes how far it has come at the very end: a process that is killed before has not put, or not
//! got, anything, and its lock goes to the next one. Who waits, for something or for room, holds no lock; so processes
//! that are stopped or killed while they wait keep nobody from anything.

mod core;
mod event;
mod joinable;
mod transfer;

pub use joinable::{JoinableQueue, NothingToDo};

use self::core::Core;
use crate::message::{RecvError, SendError};
use crate::ring::{CAPACITY_MAX, MESSAGES_MAX};
use crate::sync::word::Until;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// The usual capacity, in bytes.
const CAPACITY: usize = 1 << 20;

/// A queue of values between any number of processes that put and get. It is bounded, by its messages and by their bytes, so
/// whoever puts faster than others get waits.
///
/// It can be cloned, and can be a part of any message between processes; what arrives is the same queue. There is no thread
/// behind it. A process that is killed while it puts or gets takes along at most the one message that it was about.
///
/// Its descriptor ([`AsFd`]) is readable when there is something to get, or the queue is closed. From the first use of it on,
/// each message costs some system calls.
///
/// ```
/// use multiprocessing::{Process, Program, Queue, Registry};
///
/// multiprocessing::function! {
///     fn count(queue: Queue<u64>) {
///         (0..3).for_each(|number| queue.put(&number).expect("it is not closed"));
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<count>().serve_if_worker();
///     let queue = Queue::new()?;
///     let process = Process::builder(&Program::current("example")?).start(count, &queue)?;
///     assert_eq!([queue.get()?, queue.get()?, queue.get()?], [0, 1, 2]);
///     process.join()?;
///     assert!(queue.is_empty());
///     Ok(())
/// }
/// ```
pub struct Queue<T> {
    core: Arc<Core>,
    value: PhantomData<fn(T) -> T>,
}

/// How large a [`Queue`] or [`JoinableQueue`] is to be.
///
/// ```
/// let queue = multiprocessing::Queue::<String>::builder().messages(2).bytes(1 << 16).build()?;
/// queue.put(&"one".into())?;
/// queue.put(&"two".into())?;
/// assert!(queue.try_put(&"three".into()).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct QueueBuilder<T> {
    messages: u32,
    bytes: usize,
    value: PhantomData<fn(T) -> T>,
}

impl<T> QueueBuilder<T> {
    /// The most messages at once, at least one and at most 2²⁴ - 1, which is also what there may be without this.
    #[must_use]
    pub fn messages(mut self, messages: usize) -> QueueBuilder<T> {
        self.messages = u32::try_from(messages).unwrap_or(MESSAGES_MAX).clamp(1, MESSAGES_MAX);
        self
    }

    /// The most bytes of encoded messages at once, rounded up to a power of two from 4096 to 2³¹; without this, a MiB. A
    /// message may be larger: it passes in pieces while it is got.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> QueueBuilder<T> {
        self.bytes = bytes.clamp(4096, CAPACITY_MAX).checked_next_power_of_two().unwrap_or(CAPACITY_MAX);
        self
    }

    /// A new queue.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn build(self) -> io::Result<Queue<T>> {
        Ok(Queue { core: Arc::new(Core::new(self.bytes, self.messages)?), value: PhantomData })
    }

    /// A new queue whose items are done one by one.
    ///
    /// # Errors
    /// As for [`QueueBuilder::build`].
    pub fn build_joinable(self) -> io::Result<JoinableQueue<T>> {
        self.build().map(JoinableQueue::over)
    }
}

impl<T> Queue<T> {
    /// A new queue of a usual size.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new() -> io::Result<Queue<T>> {
        Queue::builder().build()
    }

    /// A new queue that holds so many messages at most.
    ///
    /// # Errors
    /// As for [`Queue::new`].
    pub fn bounded(messages: usize) -> io::Result<Queue<T>> {
        Queue::builder().messages(messages).build()
    }

    /// For a queue of another size.
    pub fn builder() -> QueueBuilder<T> {
        QueueBuilder { messages: MESSAGES_MAX, bytes: CAPACITY, value: PhantomData }
    }

    /// How many messages there are to get. It may be another number by the time it is looked at.
    pub fn len(&self) -> usize {
        self.core.view.messages() as usize
    }

    /// Whether there is nothing to get.
    pub fn is_empty(&self) -> bool {
        self.core.view.is_empty()
    }

    /// The most messages at once. There may be less, of larger ones.
    pub fn capacity(&self) -> usize {
        self.core.messages as usize
    }

    /// Ends it for all processes: nothing more can be put. What is there can still be got.
    pub fn close(&self) {
        self.core.close();
    }

    /// Whether somebody has closed it.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }
}

impl<T: Serialize + 'static> Queue<T> {
    /// Puts a value; waits as long as there is no room for it.
    ///
    /// # Errors
    /// The queue was closed; or the value refuses to be encoded, which does not matter to later ones.
    pub fn put(&self, value: &T) -> Result<(), SendError> {
        self.core.put(value, Until::EVER)
    }

    /// As [`Queue::put`], but waits no longer than this. A message that is not put in time is not put at all.
    ///
    /// # Errors
    /// As for [`Queue::put`]; or [`SendError::Full`].
    pub fn put_timeout(&self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.core.put(value, Until::after(timeout))
    }

    /// As [`Queue::put`], but does not wait, except for a moment while another process puts.
    ///
    /// # Errors
    /// As for [`Queue::put_timeout`].
    pub fn try_put(&self, value: &T) -> Result<(), SendError> {
        self.core.put(value, Until::Now)
    }
}

impl<T: DeserializeOwned + 'static> Queue<T> {
    /// Gets a value; waits as long as there is none.
    ///
    /// # Errors
    /// The queue was closed and has nothing left; or the message is no such value, and is gone, which does not matter to
    /// later ones.
    pub fn get(&self) -> Result<T, RecvError> {
        self.core.get(Until::EVER)
    }

    /// As [`Queue::get`], but waits no longer than this, except for the rest of a large message that has begun to come.
    ///
    /// # Errors
    /// As for [`Queue::get`]; or [`RecvError::Empty`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.core.get(Until::after(timeout))
    }

    /// As [`Queue::get`], but does not wait, except for a moment while another process gets, and for the rest of a large message
    /// that has begun to come.
    ///
    /// # Errors
    /// As for [`Queue::get_timeout`].
    pub fn try_get(&self) -> Result<T, RecvError> {
        self.core.get(Until::Now)
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { core: Arc::clone(&self.core), value: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl<T> AsFd for Queue<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.watch()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.core.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Queue<T>, D::Error> {
        Ok(Queue { core: Arc::new(Core::deserialize(deserializer)?), value: PhantomData })
    }
}
