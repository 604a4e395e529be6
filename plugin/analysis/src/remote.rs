//! What travels between the process that plans a scan and the workers that run its tasks.

use crate::plan::{Analysis, Task};
use serde::{Deserialize, Serialize};
use target::Source;
use target::relayed::Filled;

/// The identity of this build: a plugin and a worker that have different ones do not understand each other.
pub const BUILD: &str = env!("MP_SCAN_BUILD");

/// What a worker is told once for a job; the source's descriptors travel beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Setup<A: Analysis> {
    pub analysis: A,
    pub source: Source,
}

/// One task for a worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub task: Task,
    /// Where its memory lies, if the debugger relays it.
    pub filled: Option<Filled>,
}
