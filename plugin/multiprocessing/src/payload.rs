//! What a task or a result carries: bytes, whichever way they came, and descriptors.

use crate::codec::{self, CodecError, Message};
use crate::memory::SealedMemory;
use crate::spill;
use crate::wire::INLINE_LIMIT;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Bytes that came from another process. Small ones were copied; large ones are where the other process put them, and are
/// given back to the system when this is dropped. So are the descriptors of handles that came with them.
pub struct Payload {
    bytes: Bytes,
    descriptors: Vec<OwnedFd>,
}

enum Bytes {
    Owned(Vec<u8>),
    Sealed(SealedMemory),
}

impl Payload {
    /// The bytes as a vector; copies them if they are in sealed memory.
    pub fn into_vec(self) -> Vec<u8> {
        match self.bytes {
            Bytes::Owned(bytes) => bytes,
            Bytes::Sealed(memory) => memory.to_vec(),
        }
    }

    /// The value that they encode.
    ///
    /// # Errors
    /// They encode something else.
    pub fn decode<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        match &self.bytes {
            Bytes::Owned(bytes) => codec::decode(bytes, self.descriptors),
            Bytes::Sealed(memory) => codec::decode_with(spill::Drain::new(memory), self.descriptors),
        }
    }

    /// The descriptors that came with the bytes; they are taken out of it.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    /// What came with a message: its tail, or the memory behind the first of the descriptors if it is `shared`.
    pub(crate) fn received(
        tail: &[u8],
        shared: bool,
        descriptors: impl IntoIterator<Item = OwnedFd>,
    ) -> io::Result<Payload> {
        let mut descriptors = descriptors.into_iter();
        let bytes = if shared {
            let missing = || io::Error::new(io::ErrorKind::InvalidData, "a shared payload without its memory");
            Bytes::Sealed(SealedMemory::from_descriptor(descriptors.next().ok_or_else(missing)?)?)
        } else {
            Bytes::Owned(tail.to_vec())
        };
        Ok(Payload { bytes, descriptors: descriptors.collect() })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Sealed(memory) => memory,
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload { bytes: Bytes::Owned(bytes), descriptors: Vec::new() }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes, {} descriptors)", self.len(), self.descriptors.len())
    }
}

/// A message on its way out: its bytes in the frame while they are few, in sealed memory when they are many.
#[derive(Debug)]
pub(crate) struct Outgoing {
    bytes: OutgoingBytes,
    descriptors: Vec<OwnedFd>,
    elsewhere: Option<Elsewhere>,
}

/// What makes a message for another machine, whose name it is given.
pub(crate) type Make = dyn Fn(&str) -> Result<Vec<u8>, String> + Send + Sync;

/// What is sent to another machine in a message's place.
#[derive(Clone)]
pub(crate) enum Elsewhere {
    /// Other bytes.
    Bytes(Arc<Vec<u8>>),
    /// Bytes that are made when it is known where they go.
    Made(Arc<Make>),
}

impl fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Elsewhere::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Elsewhere::Made(_) => f.write_str("Made"),
        }
    }
}

#[derive(Debug)]
enum OutgoingBytes {
    /// Few enough to travel in the frame.
    Inline(Vec<u8>),
    /// Too many, and not yet in sealed memory: a descriptor is only taken when they are about to be sent.
    Large(Vec<u8>),
    /// In sealed memory.
    Shared(OwnedFd),
}

impl Outgoing {
    pub(crate) fn new(message: Message) -> Outgoing {
        let Message { bytes, descriptors } = message;
        let bytes =
            if bytes.len() <= INLINE_LIMIT { OutgoingBytes::Inline(bytes) } else { OutgoingBytes::Large(bytes) };
        Outgoing { bytes, descriptors, elsewhere: None }
    }

    /// Encodes a value. One of more than `limit` bytes is encoded into sealed memory at once, so that there are not two of them.
    /// Beside it is the number of bytes.
    pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, limit: usize) -> Result<(Outgoing, usize), CodecError> {
        let (spilled, descriptors) = codec::encode_with(value, spill::Spill::new(limit))?;
        let length = spilled.length;
        let bytes = match spilled.place {
            spill::Place::Here(bytes) if bytes.len() <= INLINE_LIMIT => OutgoingBytes::Inline(bytes),
            spill::Place::Here(bytes) => OutgoingBytes::Large(bytes),
            spill::Place::Memory(memory) => OutgoingBytes::Shared(memory),
        };
        Ok((Outgoing { bytes, descriptors, elsewhere: None }, length))
    }

    /// Its bytes, if they are that few and there are no descriptors.
    pub(crate) fn small(&self, limit: usize) -> Option<&[u8]> {
        match &self.bytes {
            OutgoingBytes::Inline(bytes) if bytes.len() <= limit && self.descriptors.is_empty() => Some(bytes),
            _ => None,
        }
    }

    /// Bytes that are in sealed memory already.
    pub(crate) fn sealed(memory: OwnedFd) -> Outgoing {
        Outgoing { bytes: OutgoingBytes::Shared(memory), descriptors: Vec::new(), elsewhere: None }
    }

    /// With what another machine gets in its place.
    pub(crate) fn or_elsewhere(mut self, elsewhere: Option<Elsewhere>) -> Outgoing {
        self.elsewhere = elsewhere;
        self
    }

    pub(crate) fn elsewhere(&self) -> Option<&Elsewhere> {
        self.elsewhere.as_ref()
    }

    /// Whether it can go to another machine, where descriptors mean nothing.
    pub(crate) fn is_portable(&self) -> bool {
        self.descriptors.is_empty() || self.elsewhere.is_some()
    }

    /// Its bytes, wherever they are.
    pub(crate) fn contents(&self) -> io::Result<Payload> {
        match &self.bytes {
            OutgoingBytes::Inline(bytes) | OutgoingBytes::Large(bytes) => Ok(bytes.clone().into()),
            OutgoingBytes::Shared(memory) => Payload::received(&[], true, [memory.try_clone()?]),
        }
    }

    /// Makes it ready to be sent.
    pub(crate) fn prepare(&mut self) -> io::Result<()> {
        if let OutgoingBytes::Large(bytes) = &self.bytes {
            self.bytes = OutgoingBytes::Shared(SealedMemory::descriptor(bytes)?);
        }
        Ok(())
    }

    pub(crate) fn shared(&self) -> bool {
        !matches!(self.bytes, OutgoingBytes::Inline(_))
    }

    /// What travels in the frame.
    pub(crate) fn tail(&self) -> &[u8] {
        match &self.bytes {
            OutgoingBytes::Inline(bytes) => bytes,
            OutgoingBytes::Large(_) | OutgoingBytes::Shared(_) => &[],
        }
    }

    /// What travels beside the frame, once it is prepared: the memory, if it is shared, and the message's own descriptors.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let memory = match &self.bytes {
            OutgoingBytes::Inline(_) | OutgoingBytes::Large(_) => None,
            OutgoingBytes::Shared(descriptor) => Some(descriptor.as_fd()),
        };
        memory.into_iter().chain(self.descriptors.iter().map(AsFd::as_fd)).collect()
    }
}
