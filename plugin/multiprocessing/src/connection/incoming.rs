//! What comes through a connection: messages, by turns to the threads that wait for them.

use super::error::ConnectionError;
use super::framing::{Start, start};
use super::socket::Stream;
use crate::sync::word::Until;
use std::io::{self, Read};
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// How much room is made for a message before any of it has come, in bytes.
const FIRST_STEP: usize = 64 * 1024;

/// The receiving direction. One thread at a time has it.
#[derive(Debug)]
pub(super) struct Incoming {
    /// `None` while a thread has it.
    partial: Mutex<Option<Partial>>,
    back: Condvar,
}

/// So much of a message as has come.
#[derive(Debug, Default)]
pub(super) struct Partial {
    header: [u8; 12],
    /// How many bytes of the header there are.
    have: usize,
    body: Vec<u8>,
    /// An error has left the connection within a message.
    broken: bool,
}

/// The direction, while a thread has it.
pub(super) struct Turn<'a> {
    incoming: &'a Incoming,
    partial: Partial,
}

impl Default for Incoming {
    fn default() -> Incoming {
        Incoming { partial: Mutex::new(Some(Partial::default())), back: Condvar::new() }
    }
}

impl Incoming {
    /// Waits until no other thread has it.
    pub(super) fn turn(&self, until: Until) -> Result<Turn<'_>, ConnectionError> {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(partial) = partial.take() {
                return Ok(Turn { incoming: self, partial });
            }
            if until.is_over() {
                return Err(ConnectionError::TimedOut);
            }
            partial = match until.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.back.wait(partial).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.back.wait_timeout(partial, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    /// Whether a part of a message has come, or is just being received.
    pub(super) fn has_begun(&self) -> bool {
        let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.as_ref().is_none_or(|partial| partial.have > 0)
    }
}

impl Partial {
    /// Receives a message, or goes on with the one that is under way.
    pub(super) fn receive(&mut self, stream: &Stream, limit: usize, until: Until) -> Result<Vec<u8>, ConnectionError> {
        if self.broken {
            return Err(ConnectionError::Broken);
        }
        let received = self.go_on(stream, limit, until);
        // A time that is over leaves what has come, and an end between two messages is the same error each time.
        self.broken = match &received {
            Ok(_) | Err(ConnectionError::TimedOut | ConnectionError::Closed) => false,
            Err(_) => true,
        };
        received
    }

    fn go_on(&mut self, stream: &Stream, limit: usize, until: Until) -> Result<Vec<u8>, ConnectionError> {
        let mut incoming = InTime { stream, until };
        let length = loop {
            match start(&self.header[..self.have])? {
                Start::Message { length, .. } => break length,
                Start::Need(needed) => match incoming.read(&mut self.header[self.have..needed]).map_err(in_time)? {
                    0 if self.have == 0 => return Err(ConnectionError::Closed),
                    0 => return Err(ConnectionError::Cut),
                    count => self.have += count,
                },
            }
        };
        let fits = usize::try_from(length).ok().filter(|length| *length <= limit);
        let fits = fits.ok_or(ConnectionError::TooLong { length, limit })?;
        let left = fits - self.body.len();
        self.body.reserve(left.min(FIRST_STEP));
        // What has come before an error is in the body.
        incoming.take(left as u64).read_to_end(&mut self.body).map_err(in_time)?;
        if self.body.len() < fits {
            return Err(ConnectionError::Cut);
        }
        self.have = 0;
        Ok(std::mem::take(&mut self.body))
    }
}

/// Reads what has come, and waits for it as long as there is time: `WouldBlock` when that is over.
struct InTime<'a> {
    stream: &'a Stream,
    until: Until,
}

impl Read for InTime<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if matches!(self.until, Until::Then(None)) {
            return self.stream.read(buffer);
        }
        loop {
            match self.stream.receive_now(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.stream.wait_readable(self.until.deadline())? {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }
}

fn in_time(error: io::Error) -> ConnectionError {
    if error.kind() == io::ErrorKind::WouldBlock { ConnectionError::TimedOut } else { error.into() }
}

impl Deref for Turn<'_> {
    type Target = Partial;

    fn deref(&self) -> &Partial {
        &self.partial
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Partial {
        &mut self.partial
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut partial = self.incoming.partial.lock().unwrap_or_else(PoisonError::into_inner);
        *partial = Some(std::mem::take(&mut self.partial));
        drop(partial);
        self.incoming.back.notify_one();
    }
}
