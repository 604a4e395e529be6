//! What a task or a result carries: bytes, whichever way they came.

use crate::memory::SealedMemory;
use crate::wire::INLINE_LIMIT;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes that came from another process. Small ones were copied; large ones are where the other process put them, and are
/// given back to the system when this is dropped.
pub struct Payload(Inner);

enum Inner {
    Owned(Vec<u8>),
    Sealed(SealedMemory),
}

impl Payload {
    /// The bytes as a vector; copies them if they are in sealed memory.
    pub fn into_vec(self) -> Vec<u8> {
        match self.0 {
            Inner::Owned(bytes) => bytes,
            Inner::Sealed(memory) => memory.to_vec(),
        }
    }

    /// What came with a message: its tail, or the memory behind its descriptor if there is one.
    pub(crate) fn received(tail: &[u8], descriptor: Option<OwnedFd>) -> io::Result<Payload> {
        Ok(Payload(match descriptor {
            Some(descriptor) => Inner::Sealed(SealedMemory::from_descriptor(descriptor)?),
            None => Inner::Owned(tail.to_vec()),
        }))
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Inner::Owned(bytes) => bytes,
            Inner::Sealed(memory) => memory,
        }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload(Inner::Owned(bytes))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// Bytes on their way out: in the frame while they are few, in sealed memory when they are many.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Few enough to travel in the frame.
    Inline(Vec<u8>),
    /// Too many, and not yet in sealed memory: a descriptor is only taken when they are about to be sent.
    Large(Vec<u8>),
    /// In sealed memory.
    Shared(OwnedFd),
}

impl Outgoing {
    pub(crate) fn new(bytes: Vec<u8>) -> Outgoing {
        if bytes.len() <= INLINE_LIMIT { Outgoing::Inline(bytes) } else { Outgoing::Large(bytes) }
    }

    /// Makes it ready to be sent.
    pub(crate) fn prepare(&mut self) -> io::Result<()> {
        if let Outgoing::Large(bytes) = self {
            *self = Outgoing::Shared(SealedMemory::descriptor(bytes)?);
        }
        Ok(())
    }

    pub(crate) fn shared(&self) -> bool {
        !matches!(self, Outgoing::Inline(_))
    }

    /// What travels in the frame.
    pub(crate) fn tail(&self) -> &[u8] {
        match self {
            Outgoing::Inline(bytes) => bytes,
            Outgoing::Large(_) | Outgoing::Shared(_) => &[],
        }
    }

    /// What travels beside the frame, once it is prepared.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Outgoing::Inline(_) | Outgoing::Large(_) => None,
            Outgoing::Shared(descriptor) => Some(descriptor.as_fd()),
        }
    }
}
