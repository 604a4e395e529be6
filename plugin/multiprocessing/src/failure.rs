//! A task's error as it travels from another machine.

use crate::error::{StartError, TaskError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A [`TaskError`], in a form that has no part in this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    Signal {
        signal: i32,
        stderr: String,
    },
    Exited {
        code: i32,
        stderr: String,
    },
    Unknown {
        stderr: String,
    },
    Connection(String),
    OutOfMemory,
    Timeout(Duration),
    Stopped,
    Cancelled,
    Panic {
        message: String,
        backtrace: String,
    },
    Error(String),
    Decode(String),
    Send(String),
    /// It has no worker; how that came.
    NoWorker(String),
    Closed,
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Failure {
        match error {
            TaskError::Signal { signal, stderr } => Failure::Signal { signal, stderr },
            TaskError::Exited { code, stderr } => Failure::Exited { code, stderr },
            TaskError::Unknown { stderr } => Failure::Unknown { stderr },
            TaskError::Connection(text) => Failure::Connection(text),
            TaskError::OutOfMemory => Failure::OutOfMemory,
            TaskError::Timeout(time) => Failure::Timeout(time),
            TaskError::Stopped => Failure::Stopped,
            TaskError::Cancelled => Failure::Cancelled,
            TaskError::Panic { message, backtrace } => Failure::Panic { message, backtrace },
            TaskError::Error(text) => Failure::Error(text),
            TaskError::Decode(text) => Failure::Decode(text),
            TaskError::Send(text) => Failure::Send(text),
            TaskError::NoWorker(error) => Failure::NoWorker(error.to_string()),
            TaskError::Closed => Failure::Closed,
        }
    }
}

impl Failure {
    /// The error, of a task that was behind `launcher`.
    pub(crate) fn into_error(self, launcher: &str) -> TaskError {
        match self {
            Failure::Signal { signal, stderr } => TaskError::Signal { signal, stderr },
            Failure::Exited { code, stderr } => TaskError::Exited { code, stderr },
            Failure::Unknown { stderr } => TaskError::Unknown { stderr },
            Failure::Connection(text) => TaskError::Connection(text),
            Failure::OutOfMemory => TaskError::OutOfMemory,
            Failure::Timeout(time) => TaskError::Timeout(time),
            Failure::Stopped => TaskError::Stopped,
            Failure::Cancelled => TaskError::Cancelled,
            Failure::Panic { message, backtrace } => TaskError::Panic { message, backtrace },
            Failure::Error(text) => TaskError::Error(text),
            Failure::Decode(text) => TaskError::Decode(text),
            Failure::Send(text) => TaskError::Send(text),
            Failure::NoWorker(reason) => {
                TaskError::NoWorker(StartError::Launch { launcher: launcher.to_owned(), reason })
            }
            Failure::Closed => TaskError::Closed,
        }
    }
}
