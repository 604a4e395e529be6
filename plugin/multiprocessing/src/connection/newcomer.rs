//! A connection whose two sides are not sure of each other yet.

use super::error::{AuthenticationError, ConnectionError};
use super::framing::{Header, Start, start};
use super::handshake::{Handshake, MESSAGE_LIMIT, Role};
use super::key::AuthKey;
use super::socket::Stream;
use super::stream::Connection;
use std::io;

/// A stream and how far its handshake is. It takes no more memory than the longest message of a handshake.
#[derive(Debug)]
pub(crate) struct Newcomer {
    stream: Stream,
    handshake: Handshake,
    /// The message that is being received, with its header.
    received: Vec<u8>,
}

/// How far one came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The other side has to say something.
    Waiting(Newcomer),
    /// Both sides are sure of each other.
    Done(Connection),
}

impl Newcomer {
    /// Begins the handshake.
    pub(crate) fn new(stream: Stream, role: Role, key: &AuthKey) -> Result<Newcomer, ConnectionError> {
        let (handshake, first) = Handshake::new(role, key)?;
        let newcomer = Newcomer { stream, handshake, received: Vec::new() };
        if let Some(first) = first {
            newcomer.send(&first)?;
        }
        Ok(newcomer)
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Takes what is there, and never waits.
    pub(crate) fn advance(mut self) -> Result<Progress, ConnectionError> {
        loop {
            // Not a byte more than this message, for what follows the handshake belongs to others.
            let needed = match start(&self.received)? {
                Start::Need(header) => header,
                Start::Message { length, header } => {
                    let limit = MESSAGE_LIMIT;
                    let fits = usize::try_from(length).ok().filter(|length| *length <= limit);
                    header + fits.ok_or(ConnectionError::TooLong { length, limit })?
                }
            };
            let have = self.received.len();
            if let (true, Start::Message { header, .. }) = (have == needed, start(&self.received)?) {
                let reply = self.handshake.receive(&self.received[header..])?;
                self.received.clear();
                if let Some(message) = reply.send {
                    // On an error of the handshake, that is the one to tell.
                    match self.send(&message) {
                        Err(error) if reply.outcome.is_ok() => return Err(error),
                        _ => {}
                    }
                }
                if reply.outcome? {
                    return Ok(Progress::Done(Connection::new(self.stream)));
                }
                continue;
            }
            self.received.resize(needed, 0);
            let count = match self.stream.receive_now(&mut self.received[have..]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.received.truncate(have);
                    return Ok(Progress::Waiting(self));
                }
                other => other?,
            };
            if count == 0 {
                // Whoever does not use a key closes without a word, and so does who was told that ours is wrong.
                return Err(if have == 0 { ConnectionError::Closed } else { ConnectionError::Cut });
            }
            self.received.truncate(have + count);
        }
    }

    /// Sends a message of the handshake. All of them together fit into any socket's buffer, unless the other side never reads.
    fn send(&self, message: &[u8]) -> Result<(), ConnectionError> {
        let frame = [&Header::of(message.len()), message].concat();
        let sent = match self.stream.send_now(&frame) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            other => other?,
        };
        if sent == frame.len() { Ok(()) } else { Err(AuthenticationError::Protocol.into()) }
    }
}
