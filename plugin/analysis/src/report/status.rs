//! What `jobs` and `pool` show.

use serde::{Deserialize, Serialize};

/// A job, for `jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    pub job: u64,
    /// The command line, without `mp-scan`.
    pub command: String,
    /// `running`, `finished`, `cancelled`, `failed: …`, ….
    pub state: String,
    /// Bytes done of `total` bytes.
    pub progress: u64,
    pub total: u64,
}

/// The worker pool, for `pool`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    pub workers: Vec<WorkerRow>,
    /// Settings as `KEY`, `VALUE`.
    pub settings: Vec<(String, String)>,
    /// Other machines, whether they are in use or not.
    pub hosts: Vec<HostRow>,
}

/// Another machine that has workers, for `pool hosts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRow {
    /// Its number, from 1 on: what it is removed by.
    pub host: u64,
    /// The command that runs another one there.
    pub command: String,
    /// How many workers it has.
    pub slots: u64,
    /// The worker program over there.
    pub worker: String,
}

/// A worker, for `pool status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// The machine that it is on; `None` for this one.
    pub host: Option<String>,
    /// Its process; `None` while there is none.
    pub pid: Option<u32>,
    /// `idle`, `busy`, `starting`, `down`.
    pub state: String,
    /// Why it is down.
    pub reason: Option<String>,
    pub tasks: u64,
    /// How many workers have died in this place.
    pub deaths: u64,
    /// Its own memory (RssAnon), bytes; `None` on another machine.
    pub memory: Option<u64>,
}
