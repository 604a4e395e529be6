//! Pipes and channels: two ends, each for one process, over rings in shared memory.
//!
//! Messages go through a ring, whose ends spin as long as the other one answers at once, or let it run if both are on one
//! processor. Then an end sleeps in `poll`, at a socket beside the ring: there it is woken by a packet, if it has asked for that, and by the end of the other side, whatever
//! that died of. A futex takes a fraction of that time, but knows nothing of the socket. So one that waits for room sleeps
//! there briefly first; and of one that waits for messages often, a thread of the process watches the socket, so that it
//! need not. The socket also carries the descriptors of handles in messages.

mod channel;
mod incoming;
mod outgoing;
mod place;
mod watcher;

pub(crate) use channel::Lent;
pub use channel::{Receiver, Sender, channel, channel_with_capacity};
pub(crate) use watcher::forbid as forbid_watcher;

use crate::memory::SharedMemory;
use crate::message::{RecvError, SendError};
use crate::ring;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// The usual capacity of one direction, in bytes.
const CAPACITY: usize = 256 << 10;

/// One end of a [`pipe()`]: it sends values of type `A` and receives values of type `B`.
///
/// It can be a part of any message between processes. What arrives is the same end; the sender of it should let its own one
/// go then, for an end is for one process at a time, and the other end learns that it is gone only when all are.
///
/// Its descriptor ([`AsFd`]) is readable when there is something to receive or all holders of the other end are gone.
///
/// ```
/// use multiprocessing::{Pipe, Process, Program, Registry, pipe};
///
/// multiprocessing::function! {
///     fn serve(end: Pipe<usize, String>) -> () {
///         let mut end = end;
///         while let Ok(text) = end.recv() {
///             end.send(&text.len()).expect("it waits for that");
///         }
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<serve>().serve_if_worker();
///     let (mut own, other) = pipe::<String, usize>()?;
///     let process = Process::builder(&Program::current("example")?).start(serve, &other)?;
///     drop(other);
///     own.send(&"ten bytes!".to_string())?;
///     assert_eq!(own.recv()?, 10);
///     drop(own);
///     assert!(process.join()?.success());
///     Ok(())
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Pipe<A, B> {
    sender: Sender<A>,
    receiver: Receiver<B>,
}

/// A pipe between two processes: two ends, each of which sends and receives.
///
/// ```
/// let (mut one, mut other) = multiprocessing::pipe::<String, usize>()?;
/// let thread = std::thread::spawn(move || {
///     while let Ok(text) = other.recv() {
///         other.send(&text.len()).expect("the other end waits");
///     }
/// });
/// one.send(&"ten bytes!".to_string())?;
/// assert_eq!(one.recv()?, 10);
/// drop(one);
/// thread.join().expect("no panic");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The process has no descriptor or address space left.
pub fn pipe<A, B>() -> io::Result<(Pipe<A, B>, Pipe<B, A>)> {
    pipe_with_capacity(CAPACITY)
}

/// As [`pipe()`], with so many bytes of messages at once in each direction, rounded up to a power of two from 4096 to 2³¹. A
/// message may be larger: it passes in pieces while the other end receives it.
///
/// # Errors
/// As for [`pipe()`].
pub fn pipe_with_capacity<A, B>(capacity: usize) -> io::Result<(Pipe<A, B>, Pipe<B, A>)> {
    let size = ring::HEADER + place::capacity(capacity);
    let memory = Arc::new(SharedMemory::new(2 * size)?);
    let (to_other, from_one) = channel::ends(Arc::clone(&memory), 0)?;
    let (to_one, from_other) = channel::ends(memory, size)?;
    Ok((Pipe { sender: to_other, receiver: from_other }, Pipe { sender: to_one, receiver: from_one }))
}

impl<A, B> Pipe<A, B> {
    /// Its two directions, which can be used at the same time, or in different processes.
    pub fn split(self) -> (Sender<A>, Receiver<B>) {
        (self.sender, self.receiver)
    }

    /// See [`Sender::send_bytes`].
    ///
    /// # Errors
    /// As there.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.sender.send_bytes(bytes)
    }

    /// See [`Receiver::recv_bytes`].
    ///
    /// # Errors
    /// As there.
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        self.receiver.recv_bytes()
    }

    /// See [`Receiver::recv_bytes_into`].
    ///
    /// # Errors
    /// As there.
    pub fn recv_bytes_into(&mut self, into: &mut Vec<u8>) -> Result<(), RecvError> {
        self.receiver.recv_bytes_into(into)
    }

    /// See [`Receiver::poll`].
    ///
    /// # Errors
    /// As there.
    pub fn poll(&mut self) -> Result<bool, RecvError> {
        self.receiver.poll()
    }

    /// See [`Receiver::poll_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_timeout(&mut self, timeout: Duration) -> Result<bool, RecvError> {
        self.receiver.poll_timeout(timeout)
    }
}

impl<A: Serialize + 'static, B> Pipe<A, B> {
    /// See [`Sender::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&mut self, value: &A) -> Result<(), SendError> {
        self.sender.send(value)
    }

    /// See [`Sender::send_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn send_timeout(&mut self, value: &A, timeout: Duration) -> Result<(), SendError> {
        self.sender.send_timeout(value, timeout)
    }

    /// See [`Sender::try_send`].
    ///
    /// # Errors
    /// As there.
    pub fn try_send(&mut self, value: &A) -> Result<(), SendError> {
        self.sender.try_send(value)
    }
}

impl<A, B: DeserializeOwned + 'static> Pipe<A, B> {
    /// See [`Receiver::recv`].
    ///
    /// # Errors
    /// As there.
    pub fn recv(&mut self) -> Result<B, RecvError> {
        self.receiver.recv()
    }

    /// See [`Receiver::recv_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<B, RecvError> {
        self.receiver.recv_timeout(timeout)
    }

    /// See [`Receiver::try_recv`].
    ///
    /// # Errors
    /// As there.
    pub fn try_recv(&mut self) -> Result<B, RecvError> {
        self.receiver.try_recv()
    }
}

impl<A, B> AsFd for Pipe<A, B> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}
