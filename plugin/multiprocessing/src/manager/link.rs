//! How one process reaches a manager.

use super::error::{Failure, ManagerError, lost, unreachable};
use super::protocol::{MESSAGE_LIMIT, Request, Response, decode, encode};
use crate::codec::CodecError;
use crate::connection::{Address, AuthKey, Client, Connection, ConnectionError, has_ended};
use serde::Serialize;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long it may take to be connected. A manager answers as soon as it gets to run.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// How many connections are kept for calls to come.
const IDLE_LIMIT: usize = 8;

/// All links of this process that may be used for a proxy that comes from another one.
static LINKS: Mutex<Vec<Weak<Link>>> = Mutex::new(Vec::new());

/// A process's connections to one manager: one that holds its objects, and one for each call that is under way.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    key: AuthKey,
    /// The manager lets go of all that is held here when this ends.
    lifeline: Connection,
    /// Held by who waits for an answer from the lifeline.
    asking: Mutex<()>,
    session: u64,
    idle: Mutex<Vec<Connection>>,
}

impl Link {
    pub(super) fn connect(address: &Address, key: &AuthKey) -> Result<Arc<Link>, ManagerError> {
        let lifeline = Client::connect(address, Some(key), CONNECT_PATIENCE).map_err(ManagerError::Connect)?;
        let session = number(ask(&lifeline, &Request::Hello)?)?;
        let link = Link {
            address: address.clone(),
            key: key.clone(),
            lifeline,
            asking: Mutex::default(),
            session,
            idle: Mutex::default(),
        };
        Ok(share(link))
    }

    /// A link like this one for another process: its lifeline, which holds an object if one is given, and its number.
    pub(super) fn branch(&self, object: Option<u64>) -> Result<(Connection, u64), ManagerError> {
        let lifeline = self.another()?;
        let session = number(ask(&lifeline, &Request::Hello)?)?;
        if let Some(object) = object {
            ask(&lifeline, &Request::Hold { object })?;
        }
        Ok((lifeline, session))
    }

    /// The other end of [`Link::branch`]. If this process has a link to the same manager already, that one is used.
    pub(super) fn adopt(
        address: Address,
        key: AuthKey,
        lifeline: Connection,
        session: u64,
        object: Option<u64>,
    ) -> Result<Arc<Link>, ManagerError> {
        let known = links().iter().filter_map(Weak::upgrade).find(|link| link.address == address && link.key == key);
        if let Some(link) = known {
            // Also when the new lifeline is that of another manager, whose address is the same by then: this fails.
            let held = object.map(|object| link.ask(&Request::Hold { object }).map(drop)).transpose();
            if held.is_ok() {
                return Ok(link);
            }
        }
        let idle = Mutex::default();
        Ok(share(Link { address, key, lifeline, asking: Mutex::default(), session, idle }))
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn key(&self) -> &AuthKey {
        &self.key
    }

    /// Asks for what makes or holds objects.
    pub(super) fn ask(&self, request: &Request<'_>) -> Result<Vec<u8>, ManagerError> {
        let _turn = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&self.lifeline, request)
    }

    /// Lets go of an object. It waits for nobody.
    pub(super) fn release(&self, object: u64) {
        // If the manager is gone, so is the object.
        let _ = self.lifeline.send_bytes(&encode(&Request::Release { object }));
    }

    /// Calls a method and waits for it, whatever other threads call.
    pub(super) fn call<A: Serialize + ?Sized>(
        &self,
        object: u64,
        method: &str,
        arguments: &A,
    ) -> Result<Vec<u8>, ManagerError> {
        let arguments = crate::codec::encode_plain(arguments)?;
        let request = Request::Call { session: self.session, object, method, arguments: &arguments };
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.another()?,
        };
        let answer = ask(&connection, &request);
        if matches!(answer, Ok(_) | Err(ManagerError::Failed(_))) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_LIMIT {
                idle.push(connection);
            }
        }
        answer
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn another(&self) -> Result<Connection, ManagerError> {
        // Where the manager is gone, its address may be another's.
        if self.has_ended() {
            return Err(ManagerError::Ended);
        }
        Client::connect(&self.address, Some(&self.key), CONNECT_PATIENCE).map_err(unreachable)
    }

    /// Whether the other end of the lifeline is closed.
    fn has_ended(&self) -> bool {
        has_ended(self.lifeline.as_fd())
    }
}

/// Notes a link, so that it is used for proxies that come.
fn share(link: Link) -> Arc<Link> {
    let link = Arc::new(link);
    let mut links = links();
    links.retain(|link| link.strong_count() > 0);
    links.push(Arc::downgrade(&link));
    link
}

fn links() -> MutexGuard<'static, Vec<Weak<Link>>> {
    LINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request and its answer's bytes, which are no failure.
fn ask(connection: &Connection, request: &Request<'_>) -> Result<Vec<u8>, ManagerError> {
    connection.send_bytes(&encode(request)).map_err(lost)?;
    let answer = connection.recv_bytes(MESSAGE_LIMIT).map_err(lost)?;
    match decode::<Response>(&answer) {
        Ok(Response::Failed(Failure::Ended)) => Err(ManagerError::Ended),
        Ok(Response::Failed(failure)) => Err(failure.into()),
        Ok(_) => Ok(answer),
        Err(_) => Err(ManagerError::Connection(ConnectionError::Codec(CodecError::foreign()))),
    }
}

/// The number that an answer is.
pub(super) fn number(answer: Vec<u8>) -> Result<u64, ManagerError> {
    match decode(&answer) {
        Ok(Response::Number(number)) => Ok(number),
        _ => Err(ManagerError::Connection(ConnectionError::Codec(CodecError::foreign()))),
    }
}

/// The value that an answer is.
pub(super) fn value<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T, ManagerError> {
    match decode(answer) {
        Ok(Response::Value(value)) => Ok(crate::codec::decode(value, Vec::new())?),
        _ => Err(ManagerError::Connection(ConnectionError::Codec(CodecError::foreign()))),
    }
}
