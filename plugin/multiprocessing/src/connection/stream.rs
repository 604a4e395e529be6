//! A connection: messages, both ways.

use super::error::ConnectionError;
use super::framing::Header;
use super::incoming::Incoming;
use super::socket::Stream;
use crate::codec::{self, Descriptor};
use crate::futex::deadline;
use crate::sync::word::Until;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, sendmsg};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One side of a connection. Messages keep their bounds and their order. Several threads may use it: each message is sent
/// and received whole.
///
/// Its bytes are those of CPython's `Connection.send_bytes` and `recv_bytes`. Values, by [`Connection::send`] and
/// [`Connection::recv`], are in postcard's encoding, for which both sides must be Rust programs with the same types.
/// Handles, such as a queue, cannot travel this way.
///
/// ```
/// use multiprocessing::connection::Connection;
/// use std::os::unix::net::UnixStream;
///
/// let (one, other) = UnixStream::pair()?;
/// let (one, other) = (Connection::from_stream(one)?, Connection::from_stream(other)?);
/// one.send_bytes(b"as it is")?;
/// one.send(&vec![1, 2, 3])?;
/// assert_eq!(other.recv_bytes(100)?, b"as it is");
/// assert_eq!(other.recv::<Vec<i32>>(100)?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    /// Whether an error has left it within a message.
    sending: Mutex<bool>,
    incoming: Incoming,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Connection {
        Connection { stream, sending: Mutex::new(false), incoming: Incoming::default() }
    }

    /// Takes a stream socket that is connected to a peer which speaks as this library does, such as one end of a socket pair,
    /// or what was a connection in another process. Nobody is authenticated. The socket must be a blocking one.
    ///
    /// # Errors
    /// It is no stream socket.
    pub fn from_stream(socket: impl Into<OwnedFd>) -> io::Result<Connection> {
        Stream::from_descriptor(socket.into()).map(Connection::new)
    }

    /// Sends a message. It waits while the other side's buffers are full.
    ///
    /// # Errors
    /// The other side has ended.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), ConnectionError> {
        let mut broken = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if *broken {
            return Err(ConnectionError::Broken);
        }
        let header = Header::of(bytes.len());
        let (mut head, mut tail): (&[u8], &[u8]) = (&header, bytes);
        // It is so until the message is out.
        *broken = true;
        while !head.is_empty() || !tail.is_empty() {
            let parts = [IoSlice::new(head), IoSlice::new(tail)];
            match sendmsg::<()>(self.stream.as_fd().as_raw_fd(), &parts, &[], MsgFlags::MSG_NOSIGNAL, None) {
                Ok(sent) => {
                    let of_head = sent.min(head.len());
                    head = &head[of_head..];
                    tail = &tail[sent - of_head..];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    // It is the same error from now on.
                    *broken = false;
                    return Err(ConnectionError::Closed);
                }
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
        *broken = false;
        Ok(())
    }

    /// Receives a message of at most `limit` bytes, and waits for it. Memory is taken for what has come, not for what the
    /// other side says is to come.
    ///
    /// # Errors
    /// The other side has ended; the message is too long, cut off, or none. After such an error nothing more can be received.
    pub fn recv_bytes(&self, limit: usize) -> Result<Vec<u8>, ConnectionError> {
        self.receive(limit, Until::EVER)
    }

    /// As [`Connection::recv_bytes`], but waits no longer than this.
    ///
    /// # Errors
    /// As for [`Connection::recv_bytes`]; or [`ConnectionError::TimedOut`] if no message is whole by then. What has come of one is
    /// kept for whoever receives next.
    pub fn recv_bytes_timeout(&self, limit: usize, timeout: Duration) -> Result<Vec<u8>, ConnectionError> {
        self.receive(limit, Until::after(timeout))
    }

    fn receive(&self, limit: usize, until: Until) -> Result<Vec<u8>, ConnectionError> {
        self.incoming.turn(until)?.receive(&self.stream, limit, until)
    }

    /// Whether something has come, or the other side has ended, so that receiving does not wait for a message to begin.
    ///
    /// # Errors
    /// The system refuses.
    pub fn poll(&self) -> io::Result<bool> {
        self.stream.wait_readable(Some(Instant::now()))
    }

    /// As [`Connection::poll`], but waits for that, no longer than this. [`wait`](fn@crate::wait) waits for ever.
    ///
    /// # Errors
    /// The system refuses.
    pub fn poll_timeout(&self, timeout: Duration) -> io::Result<bool> {
        self.stream.wait_readable(deadline(Some(timeout)))
    }

    /// Sends a value.
    ///
    /// # Errors
    /// As [`Connection::send_bytes`]; or the value cannot be encoded, and nothing was sent.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), ConnectionError> {
        self.send_bytes(&codec::encode_plain(value)?)
    }

    /// Receives a value whose message has at most `limit` bytes, and waits for it.
    ///
    /// # Errors
    /// As [`Connection::recv_bytes`]; or the message is no such value, and the next one may be.
    pub fn recv<T: DeserializeOwned>(&self, limit: usize) -> Result<T, ConnectionError> {
        self.value(limit, Until::EVER)
    }

    /// As [`Connection::recv`], but waits no longer than this.
    ///
    /// # Errors
    /// As for [`Connection::recv`] and [`Connection::recv_bytes_timeout`].
    pub fn recv_timeout<T: DeserializeOwned>(&self, limit: usize, timeout: Duration) -> Result<T, ConnectionError> {
        self.value(limit, Until::after(timeout))
    }

    /// As [`Connection::recv`], but does not wait.
    ///
    /// # Errors
    /// As for [`Connection::recv_timeout`].
    pub fn try_recv<T: DeserializeOwned>(&self, limit: usize) -> Result<T, ConnectionError> {
        self.value(limit, Until::Now)
    }

    fn value<T: DeserializeOwned>(&self, limit: usize, until: Until) -> Result<T, ConnectionError> {
        Ok(codec::decode(&self.receive(limit, until)?, Vec::new())?)
    }

    /// The bytes themselves, for another protocol. What was sent in messages but not received yet comes first, without what
    /// [`ConnectionError::TimedOut`] has left of a message.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Who is at the other side, to be shown: an address, or a process of this machine.
    pub fn peer(&self) -> String {
        self.stream.peer()
    }
}

impl AsFd for Connection {
    /// Readable when [`Connection::poll`] would say so.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl From<Connection> for OwnedFd {
    fn from(connection: Connection) -> OwnedFd {
        connection.stream.into()
    }
}

/// A connection travels to another process of this machine, where it is the same: whoever receives first gets the next message.
/// It is to be sent between messages, and this process had better drop its own. Within one it refuses to be sent.
impl Serialize for Connection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.incoming.has_begun() {
            return Err(S::Error::custom("a connection of which a part of a message was received"));
        }
        codec::serialize_descriptor(self.as_fd(), serializer)
    }
}

impl<'de> Deserialize<'de> for Connection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Connection, D::Error> {
        let socket = Descriptor::deserialize(deserializer)?;
        Connection::from_stream(socket.into_inner()).map_err(D::Error::custom)
    }
}
