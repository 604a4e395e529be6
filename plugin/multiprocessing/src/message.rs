//! Values on their way through a ring.

use crate::codec::{self, CodecError};
use crate::packets::{Buffer, DESCRIPTOR_LIMIT, Packets};
use crate::ring::Broken;
use crate::sync::word::Until;
use crate::wait;
use nix::poll::PollFlags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest message, in bytes.
pub(crate) const MESSAGE_LIMIT: usize = u32::MAX as usize;

/// The tag of a message that has handles, and the number that tells which ones as its last eight bytes.
pub(crate) const WITH_HANDLES: u8 = 1;

/// How much of a value is encoded before any of it is put into a ring.
const SCRATCH: usize = 32 << 10;

/// So few bytes, such as those of a number, are copied sooner than it takes to call something that does it.
const SHORT: usize = 11;

/// How many messages' handles are kept that have come before their messages were looked at.
const HANDLES_KEPT: usize = 64;

/// Raw bytes. As a message of their own, they are not encoded at all, so that one of any size costs one copy into the ring and
/// one out of it, and no memory beside its own; as a part of a larger value, they are encoded as a whole.
///
/// ```
/// use multiprocessing::{Bytes, Queue};
///
/// let queue = Queue::<Bytes>::new()?;
/// queue.put(&Bytes(vec![7; 1000]))?;
/// assert_eq!(queue.get()?.0.len(), 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Bytes(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes)
    }
}

/// Why a value was not sent, or put.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There was no room for it in time. Without a time (`try_…`), there never is for a message that is larger than the
    /// whole capacity.
    #[error("no room for the message in time")]
    Full,
    /// Nobody can receive it: all holders of the other end are gone, or the queue was closed.
    #[error("nobody can receive the message any more")]
    Closed,
    /// The value refuses to be encoded. Nothing of it was sent.
    #[error("the message cannot be encoded: {0}")]
    Encode(#[from] CodecError),
    /// It has more than 4 GiB, or more handles than one message can carry.
    #[error("the message is too large; send it in parts")]
    TooLarge,
    /// The shared memory says what cannot be: another process has overwritten it.
    #[error("the shared memory was overwritten; make a new pipe or queue")]
    Broken,
    /// The system refuses.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

/// Why no value was received, or got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// There was none in time.
    #[error("no message in time")]
    Empty,
    /// There is none, and none will come: all holders of the other end are gone, or the queue was closed.
    #[error("no message is left, and nobody can send one any more")]
    Closed,
    /// There was one, and it is no such value, or its handles are lost. It is gone; the next one is not touched by this.
    #[error("the message cannot be decoded: {0}")]
    Decode(#[from] CodecError),
    /// There was one, and the handles in it are lost: who sent or took them was killed. It is gone.
    #[error("the message's handles are lost")]
    HandlesLost,
    /// The shared memory says what cannot be: another process has overwritten it.
    #[error("the shared memory was overwritten; make a new pipe or queue")]
    Broken,
    /// The system refuses.
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
}

impl From<Broken> for SendError {
    fn from(_: Broken) -> SendError {
        SendError::Broken
    }
}

impl From<Broken> for RecvError {
    fn from(_: Broken) -> RecvError {
        RecvError::Broken
    }
}

/// What takes the bytes of a value that is too large for the scratch.
pub(crate) trait Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SendError>;
}

/// Encodes a value: the first of it into the scratch, and once that is full, all of it into the sink, in the order of the
/// bytes. What is in the scratch in the end is the rest. Returns the value's handles.
pub(crate) fn encode<T: Serialize>(
    value: &T,
    scratch: &mut Vec<u8>,
    sink: &mut impl Sink,
) -> Result<Vec<OwnedFd>, SendError> {
    scratch.clear();
    let mut failed = None;
    let flavor = Spill { scratch, sink, total: 0, failed: &mut failed };
    let encoded = codec::encode_with(value, flavor);
    match failed {
        Some(error) => Err(error),
        None => {
            let ((), handles) = encoded?;
            if handles.len() > DESCRIPTOR_LIMIT { Err(SendError::TooLarge) } else { Ok(handles) }
        }
    }
}

/// The bytes of a value that are a message as they are.
pub(crate) fn raw<T: 'static>(value: &T) -> Option<&[u8]> {
    (value as &dyn Any).downcast_ref::<Bytes>().map(|bytes| &bytes.0[..])
}

/// A message's value. Memory that becomes the value itself is taken out of `bytes`.
pub(crate) fn decode<T: DeserializeOwned + 'static>(
    bytes: &mut Vec<u8>,
    handles: Vec<OwnedFd>,
) -> Result<T, CodecError> {
    let mut raw: Option<T> = None;
    if let Some(raw) = (&mut raw as &mut dyn Any).downcast_mut::<Option<Bytes>>() {
        *raw = Some(Bytes(std::mem::take(bytes)));
    }
    match raw {
        Some(value) => Ok(value),
        None => codec::decode(bytes, handles),
    }
}

/// Takes a message's number of its handles off its end.
pub(crate) fn nonce(bytes: &mut Vec<u8>) -> Option<u64> {
    let start = bytes.len().checked_sub(8)?;
    let nonce = u64::from_le_bytes(bytes[start..].try_into().ok()?);
    bytes.truncate(start);
    Some(nonce)
}

struct Spill<'a, S> {
    scratch: &'a mut Vec<u8>,
    sink: &'a mut S,
    total: usize,
    failed: &'a mut Option<SendError>,
}

impl<S: Sink> Spill<'_, S> {
    fn spill(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        let written = self.sink.write(self.scratch).and_then(|()| self.sink.write(bytes));
        self.scratch.clear();
        written.map_err(|error| {
            *self.failed = Some(error);
            postcard::Error::SerializeBufferFull
        })
    }

    #[inline]
    fn count(&mut self, more: usize) -> postcard::Result<()> {
        self.total = self.total.saturating_add(more);
        if self.total > MESSAGE_LIMIT - 8 {
            *self.failed = Some(SendError::TooLarge);
            return Err(postcard::Error::SerializeBufferFull);
        }
        Ok(())
    }
}

impl<S: Sink> postcard::ser_flavors::Flavor for Spill<'_, S> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.count(bytes.len())?;
        if self.scratch.len() + bytes.len() > SCRATCH {
            return self.spill(bytes);
        }
        if bytes.len() < SHORT {
            bytes.iter().for_each(|byte| self.scratch.push(*byte));
        } else {
            self.scratch.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// A socket beside a ring: it carries the handles of the messages, and rings of whoever sleeps at it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) socket: Packets,
    buffer: Option<Box<Buffer>>,
    /// Handles that have come, and the numbers of their messages.
    come: VecDeque<(u64, Vec<OwnedFd>)>,
}

impl Line {
    pub(crate) fn new(socket: Packets) -> Line {
        Line { socket, buffer: None, come: VecDeque::new() }
    }

    /// Wakes who sleeps at the other end. A line that is full wakes it, too.
    pub(crate) fn ring(&self) {
        let _ = self.socket.send(&[0], b"", &[], false);
    }

    /// Whether all holders of the other end are gone.
    pub(crate) fn is_dead(&self) -> io::Result<bool> {
        Ok(wait::poll_one(self.socket.as_fd(), PollFlags::empty(), Until::Now)?.contains(PollFlags::POLLHUP))
    }

    /// Sends a message's handles ahead of it. Returns the number that it has to end with.
    pub(crate) fn send_handles(&self, handles: &[OwnedFd], until: Until) -> Result<u64, SendError> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
        let borrowed: Vec<BorrowedFd<'_>> = handles.iter().map(AsFd::as_fd).collect();
        loop {
            match self.socket.send(&nonce, b"", &borrowed, false) {
                Ok(()) => return Ok(u64::from_le_bytes(nonce)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_end(&error) => return Err(SendError::Closed),
                Err(error) => return Err(error.into()),
            }
            if until.is_over() {
                return Err(SendError::Full);
            }
            wait::poll_one(self.socket.as_fd(), PollFlags::POLLOUT, until)?;
        }
    }

    /// Takes all rings that have come.
    pub(crate) fn hush(&mut self) {
        while self.receive() {}
    }

    /// The handles of the message of this number. They were sent before it.
    pub(crate) fn handles(&mut self, nonce: u64) -> Result<Vec<OwnedFd>, RecvError> {
        loop {
            // Handles are in the order of their messages, so those before are of messages that never came.
            while let Some((number, handles)) = self.come.pop_front() {
                if number == nonce {
                    return Ok(handles);
                }
            }
            if !self.receive() {
                return Err(RecvError::HandlesLost);
            }
        }
    }

    /// Takes one packet; whether there was one.
    fn receive(&mut self) -> bool {
        let buffer = self.buffer.get_or_insert_default();
        match self.socket.receive(buffer, false) {
            Ok(Some(packet)) => {
                if let Ok(nonce) = buffer.bytes[..packet.length].try_into() {
                    self.come.push_back((u64::from_le_bytes(nonce), packet.descriptors));
                    if self.come.len() > HANDLES_KEPT {
                        self.come.pop_front();
                    }
                }
                true
            }
            Ok(None) => false,
            // Something else than a ring or handles.
            Err(error) => error.kind() == io::ErrorKind::InvalidData,
        }
    }
}

/// Whether an error of a socket says that its other end is gone.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}
