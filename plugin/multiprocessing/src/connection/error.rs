//! What can go wrong between two programs.

use super::framing::FrameError;
use crate::codec::CodecError;
use std::io;

/// Why a connection did not come about, or cannot go on. It is the end of this connection only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The other side has closed the connection, or has ended.
    #[error("the other side has closed the connection")]
    Closed,
    /// The other side did not answer in time.
    #[error("the other side did not answer in time")]
    TimedOut,
    /// A message is longer than the receiver is willing to take. Nothing of it was kept.
    #[error("a message of {length} bytes, where {limit} is the limit")]
    TooLong {
        /// The length that the message claims to have, in bytes.
        length: u64,
        /// What the receiver would have taken, in bytes.
        limit: usize,
    },
    /// The connection ended within a message.
    #[error("the connection ended within a message")]
    Cut,
    /// The other side sends what is no message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An earlier error has left the connection within a message, so that nothing more can be received from it.
    #[error("nothing more can be received after an earlier error of this connection")]
    Broken,
    /// One side could not prove to the other that it has the same key.
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    /// A value could not be made a message, or a message no value.
    #[error("cannot encode or decode a message: {0}")]
    Codec(#[from] CodecError),
    /// The system refuses.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> ConnectionError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ConnectionError::Closed,
            _ => ConnectionError::Io(error),
        }
    }
}

/// Why one side does not believe the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The other side has not proved that it has our key.
    #[error("the other side does not have the same key")]
    WrongKey,
    /// The other side does not believe us.
    #[error("the other side refused our key")]
    Refused,
    /// The other side uses MD5, as CPython before 3.12 does, or somebody in between wants us to.
    #[error(
        "the other side authenticates by HMAC-MD5, which is refused: let it use SHA-256, as Python 3.12 and later do"
    )]
    Legacy,
    /// The other side uses another digest.
    #[error("the other side authenticates by HMAC with '{0}', where sha256 is needed")]
    Digest(String),
    /// The other side gave us a challenge of our own to answer.
    #[error("the other side sent back a challenge of our own")]
    Reflected,
    /// The other side says what has no place in a handshake.
    #[error("the other side does not authenticate as a multiprocessing connection does: does it use a key?")]
    Protocol,
}

/// Why [`Listener::accept`](super::Listener::accept) has no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nobody came in time.
    #[error("nobody connected in time")]
    TimedOut,
    /// Somebody came and was turned away. The listener goes on: accept again.
    #[error("refused {peer}: {error}")]
    Refused {
        /// Who it was: an address, or a process of this machine.
        peer: String,
        /// Why.
        error: ConnectionError,
    },
    /// The system refuses.
    #[error("cannot accept a connection: {0}")]
    Io(#[from] io::Error),
}
