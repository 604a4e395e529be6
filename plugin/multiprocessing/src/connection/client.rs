//! The side that connects.

use super::address::Address;
use super::error::ConnectionError;
use super::handshake::Role;
use super::key::AuthKey;
use super::newcomer::{Newcomer, Progress};
use super::socket::Stream;
use super::stream::Connection;
use crate::futex::deadline;
use std::io;
use std::time::Duration;

/// What connects to a [`Listener`](super::Listener), of this library or of CPython's.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey, AuthenticationError, Client, ConnectionError, Listener};
/// use std::time::Duration;
///
/// let listener = Listener::bind(&Address::Abstract(Vec::new()), Some(AuthKey::from("right")))?;
/// let address = listener.address().clone();
/// let patience = Duration::from_secs(10);
/// let client = std::thread::spawn(move || Client::connect(&address, Some(&AuthKey::from("wrong")), patience));
/// assert!(listener.accept_timeout(patience).is_err());
/// let refused = client.join().expect("no panic").expect_err("another key");
/// assert!(matches!(refused, ConnectionError::Authentication(AuthenticationError::Refused)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client(());

impl Client {
    /// Connects, and if there is a key, lets each side prove that it has it; both within `timeout`. A host's name is looked up
    /// first, which takes what it takes.
    ///
    /// Without a key nobody is asked for anything, so both sides must do without.
    ///
    /// # Errors
    /// Nobody listens there; the keys differ; the other side does not do the handshake, or not in time.
    pub fn connect(address: &Address, key: Option<&AuthKey>, timeout: Duration) -> Result<Connection, ConnectionError> {
        let deadline = deadline(Some(timeout));
        let stream = match Stream::connect(address, deadline) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(ConnectionError::TimedOut),
            other => other.map_err(ConnectionError::Io)?,
        };
        let Some(key) = key else { return Ok(Connection::new(stream)) };
        let mut newcomer = Newcomer::new(stream, Role::Client, key)?;
        loop {
            newcomer = match newcomer.advance()? {
                Progress::Done(connection) => return Ok(connection),
                Progress::Waiting(newcomer) => newcomer,
            };
            if !newcomer.stream().wait_readable(deadline)? {
                return Err(ConnectionError::TimedOut);
            }
        }
    }
}
