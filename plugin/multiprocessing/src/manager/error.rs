//! What can go wrong with a manager.

use crate::codec::CodecError;
use crate::connection::ConnectionError;
use crate::error::StartError;
use crate::process::ExitStatus;
use serde::{Deserialize, Serialize};
use std::io;

/// Why a call or another request to a manager brought nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The manager has ended, or was killed, or cannot be reached any more. What it owned is gone.
    #[error("the manager has ended")]
    Ended,
    /// The manager could not do it.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// There is no connection to the manager.
    #[error("cannot connect to the manager: {0}")]
    Connect(ConnectionError),
    /// The connection has an error; another call has another connection.
    #[error("the manager's connection: {0}")]
    Connection(ConnectionError),
    /// An argument cannot be encoded, for example because it holds a handle; or a returned value cannot be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The manager's process could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The manager's process ended before it served anyone. Its standard error, which is that of this process, may say why.
    #[error("the manager's process {0} at its start: is it a worker program of the same build?")]
    Died(ExitStatus),
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a manager could not do, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The method, or the making of the object, panicked. The object is as the panic left it, and the manager goes on.
    #[error("the method panicked: {0}")]
    Panicked(String),
    /// The manager does not know the type, or knows it with other methods: both must be of the same build.
    #[error("the manager has no type '{0}' with the same methods: register it there, from the same build")]
    NoType(String),
    /// The object of this name is of another type.
    #[error("'{0}' is an object of another type")]
    OtherType(String),
    /// There is no object of this name.
    #[error("the manager has no object named '{0}'")]
    NoName(String),
    /// Nobody holds this object any more.
    #[error("the manager has no such object any more")]
    NoObject,
    /// The type has no such method.
    #[error("the type has no method '{0}'")]
    NoMethod(String),
    /// The arguments are not those of the method, or what it returned cannot be encoded.
    #[error("the method's arguments or value: {0}")]
    Codec(String),
    /// The client said what no client says.
    #[error("the client said what no client says")]
    Protocol,
    /// The manager is just ending.
    #[error("the manager has ended")]
    Ended,
}

/// For connections that were there: whichever way they break, the manager is not there any more.
pub(super) fn lost(error: ConnectionError) -> ManagerError {
    match error {
        ConnectionError::Closed | ConnectionError::Cut | ConnectionError::Broken => ManagerError::Ended,
        other => ManagerError::Connection(other),
    }
}

/// For a further connection to a manager that was there.
pub(super) fn unreachable(error: ConnectionError) -> ManagerError {
    match error {
        ConnectionError::Closed | ConnectionError::Cut => ManagerError::Ended,
        ConnectionError::Io(error)
            if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) =>
        {
            ManagerError::Ended
        }
        other => ManagerError::Connect(other),
    }
}
