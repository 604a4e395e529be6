//! Channels: one end sends, the other receives.

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::{CAPACITY, place};
use crate::codec::{Descriptor, serialize_descriptor};
use crate::memory::SharedMemory;
use crate::message::{RecvError, SendError};
use crate::packets::Packets;
use crate::ring;
use crate::sync::word::Until;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A channel from one process to another: one end sends values, the other receives them, in order.
///
/// Both ends can be a part of any message between processes. What arrives is the same end; the sender of it should let its
/// own one go then, for an end is for one process at a time, and the other end learns that it is gone only when all are.
///
/// ```
/// let (mut sender, mut receiver) = multiprocessing::channel::<u32>()?;
/// sender.send(&7)?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, 7);
/// assert!(matches!(receiver.recv(), Err(multiprocessing::RecvError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The process has no descriptor or address space left.
pub fn channel<T>() -> io::Result<(Sender<T>, Receiver<T>)> {
    channel_with_capacity(CAPACITY)
}

/// As [`channel()`], with so many bytes of messages at once, rounded up to a power of two from 4096 to 2³¹. A message may be
/// larger: it passes in pieces while the other end receives it.
///
/// # Errors
/// As for [`channel()`].
pub fn channel_with_capacity<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let capacity = place::capacity(capacity);
    let memory = Arc::new(SharedMemory::new(ring::HEADER + capacity)?);
    ends(memory, 0)
}

/// Both ends of the ring at this offset.
pub(super) fn ends<T>(memory: Arc<SharedMemory>, offset: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let (one, other) = Packets::pair()?;
    Ok((Sender::new(Arc::clone(&memory), offset, one)?, Receiver::new(memory, offset, other)?))
}

/// The sending end of a [`channel()`], or of one direction of a [`pipe`](crate::pipe()).
///
/// ```
/// use multiprocessing::{SendError, channel_with_capacity};
///
/// let (mut sender, receiver) = channel_with_capacity::<u64>(4096)?;
/// // Nobody receives, so it is full at some time.
/// while sender.try_send(&7).is_ok() {}
/// assert!(matches!(sender.try_send(&7), Err(SendError::Full)));
/// drop(receiver);
/// assert!(matches!(sender.send(&7), Err(SendError::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Sender<T> {
    pub(super) memory: Arc<SharedMemory>,
    offset: usize,
    outgoing: Outgoing,
    value: PhantomData<fn(T)>,
}

/// The receiving end of a [`channel()`], or of one direction of a [`pipe`](crate::pipe()).
///
/// Its descriptor ([`AsFd`]) is readable when there is something to receive or all holders of the other end are gone. From the
/// first use of it on, receiving is a little slower.
///
/// ```
/// use multiprocessing::{RecvError, channel};
/// use std::time::Duration;
///
/// let (mut sender, mut receiver) = channel::<String>()?;
/// assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
/// assert!(matches!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvError::Empty)));
/// sender.send(&"here".to_string())?;
/// assert!(receiver.poll()?);
/// assert_eq!(receiver.recv()?, "here");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T> {
    pub(super) memory: Arc<SharedMemory>,
    offset: usize,
    incoming: Mutex<Incoming>,
    /// The line's descriptor once more, as `incoming` cannot lend it.
    socket: Packets,
    watched: OnceLock<OwnedFd>,
    value: PhantomData<fn() -> T>,
}

impl<T> Sender<T> {
    pub(super) fn new(memory: Arc<SharedMemory>, offset: usize, socket: Packets) -> io::Result<Sender<T>> {
        let capacity = place::found(&memory, offset)?;
        let outgoing = Outgoing::new(memory.clone(), offset, capacity, socket)?;
        Ok(Sender { memory, offset, outgoing, value: PhantomData })
    }

    /// Sends raw bytes, which [`Receiver::recv_bytes`] receives. They are copied once.
    ///
    /// # Errors
    /// As for [`Sender::send`].
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.outgoing.send_bytes(bytes, Until::EVER)
    }

    pub(super) fn parts(&self) -> (BorrowedFd<'_>, usize) {
        (self.outgoing.line.socket.as_fd(), self.offset)
    }
}

impl<T: Serialize + 'static> Sender<T> {
    /// Sends a value; waits as long as there is no room for it. Many are sent before a dead receiver is noticed.
    ///
    /// # Errors
    /// All holders of the other end are gone; or the value refuses to be encoded, which does not matter to later ones.
    pub fn send(&mut self, value: &T) -> Result<(), SendError> {
        self.outgoing.send(value, Until::EVER)
    }

    /// As [`Sender::send`], but waits no longer than this. Of a message that has no room in time, nothing is received.
    ///
    /// # Errors
    /// As for [`Sender::send`]; or [`SendError::Full`].
    pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.outgoing.send(value, Until::after(timeout))
    }

    /// As [`Sender::send`], but does not wait.
    ///
    /// # Errors
    /// As for [`Sender::send_timeout`].
    pub fn try_send(&mut self, value: &T) -> Result<(), SendError> {
        self.outgoing.send(value, Until::Now)
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(memory: Arc<SharedMemory>, offset: usize, socket: Packets) -> io::Result<Receiver<T>> {
        let capacity = place::found(&memory, offset)?;
        let another = Packets::from_descriptor(socket.as_fd().try_clone_to_owned()?)?;
        let incoming = Mutex::new(Incoming::new(memory.clone(), offset, capacity, another)?);
        Ok(Receiver { memory, offset, incoming, socket, watched: OnceLock::new(), value: PhantomData })
    }

    /// Receives what [`Sender::send_bytes`] sent.
    ///
    /// # Errors
    /// All holders of the other end are gone.
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        let mut bytes = Vec::new();
        self.recv_bytes_into(&mut bytes).map(|()| bytes)
    }

    /// As [`Receiver::recv_bytes`], in place of what was in `into`.
    ///
    /// # Errors
    /// As for [`Receiver::recv_bytes`].
    pub fn recv_bytes_into(&mut self, into: &mut Vec<u8>) -> Result<(), RecvError> {
        self.incoming().receive_bytes(into, Until::EVER)
    }

    /// Whether there is something to receive, or nobody left to send.
    ///
    /// # Errors
    /// The shared memory was overwritten.
    pub fn poll(&mut self) -> Result<bool, RecvError> {
        self.incoming().poll(Until::Now)
    }

    /// As [`Receiver::poll`], but waits for that, no longer than this. [`wait`](fn@crate::wait) waits for ever.
    ///
    /// # Errors
    /// As for [`Receiver::poll`].
    pub fn poll_timeout(&mut self, timeout: Duration) -> Result<bool, RecvError> {
        self.incoming().poll(Until::after(timeout))
    }

    fn incoming(&mut self) -> &mut Incoming {
        self.incoming.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn parts(&self) -> (BorrowedFd<'_>, usize) {
        (self.socket.as_fd(), self.offset)
    }
}

impl<T: DeserializeOwned + 'static> Receiver<T> {
    /// Receives a value; waits as long as there is none.
    ///
    /// # Errors
    /// All holders of the other end are gone, and all they have sent was received; or a message is no such value, which does not
    /// matter to later ones.
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.incoming().receive(Until::EVER)
    }

    /// As [`Receiver::recv`], but waits no longer than this.
    ///
    /// # Errors
    /// As for [`Receiver::recv`]; or [`RecvError::Empty`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.incoming().receive(Until::after(timeout))
    }

    /// As [`Receiver::recv`], but does not wait.
    ///
    /// # Errors
    /// As for [`Receiver::recv_timeout`].
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.incoming().receive(Until::Now)
    }
}

impl<T> AsFd for Receiver<T> {
    /// Without a descriptor left for it, the one of a socket that is readable at the end of the other side only.
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.watched.get().is_none() {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            if self.watched.get().is_none()
                && let Ok(watched) = incoming.watch()
            {
                let _ = self.watched.set(watched);
            }
        }
        self.watched.get().map_or(self.socket.as_fd(), AsFd::as_fd)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.outgoing.let_go();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.incoming().let_go();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

/// A borrowed descriptor as a part of a message.
pub(crate) struct Lent<'a>(pub(crate) BorrowedFd<'a>);

impl Serialize for Lent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_descriptor(self.0, serializer)
    }
}

/// An end as a part of a message: its memory, where in it, and its line.
pub(super) fn serialize<S: Serializer>(
    memory: &SharedMemory,
    (socket, offset): (BorrowedFd<'_>, usize),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut tuple = serializer.serialize_tuple(3)?;
    tuple.serialize_element(&Lent(memory.as_fd()))?;
    tuple.serialize_element(&(offset as u64))?;
    tuple.serialize_element(&Lent(socket))?;
    tuple.end()
}

fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Arc<SharedMemory>, usize, Packets), D::Error> {
    let (memory, offset, socket) = <(Descriptor, u64, Descriptor)>::deserialize(deserializer)?;
    let memory = SharedMemory::from_descriptor(memory.into_inner()).map_err(D::Error::custom)?;
    let socket = Packets::from_descriptor(socket.into_inner()).map_err(D::Error::custom)?;
    Ok((Arc::new(memory), usize::try_from(offset).map_err(D::Error::custom)?, socket))
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.memory, self.parts(), serializer)
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.memory, self.parts(), serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sender<T>, D::Error> {
        let (memory, offset, socket) = deserialize(deserializer)?;
        Sender::new(memory, offset, socket).map_err(D::Error::custom)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Receiver<T>, D::Error> {
        let (memory, offset, socket) = deserialize(deserializer)?;
        Receiver::new(memory, offset, socket).map_err(D::Error::custom)
    }
}
