//! Whether the process that is read is still the same, and whether it ran meanwhile; without asking the debugger.

use std::fs;
use std::time::{Duration, Instant};
use target::live::{self, Identity};

/// The process is looked at as often as this.
const INTERVAL: Duration = Duration::from_millis(20);

/// Watches a live process on this machine; nothing else can change while it is read.
#[derive(Debug)]
pub struct Watch {
    identity: Option<Box<Identity>>,
    /// How often its threads had been given a processor when the scan began.
    runs: Option<u64>,
    /// Whether a debugger traced it then.
    traced: bool,
    looked: Instant,
    gone: bool,
    ran: bool,
}

impl Watch {
    pub fn new(identity: Option<Box<Identity>>, ran: bool) -> Self {
        let pid = identity.as_ref().map(|identity| identity.pid);
        let runs = pid.and_then(thread_runs);
        let traced = pid.and_then(live::tracer).is_some();
        Self { identity, runs, traced, looked: Instant::now(), gone: false, ran }
    }

    /// Whether the process has ended, was detached from, or runs another program now.
    pub fn gone(&mut self) -> bool {
        if self.gone || self.looked.elapsed() < INTERVAL {
            return self.gone;
        }
        self.looked = Instant::now();
        if let Some(before) = &self.identity {
            let same = live::identity(before.pid).is_ok_and(|now| now.is_same_program(before));
            let detached = self.traced && live::tracer(before.pid).is_none();
            self.gone = !same || detached;
        }
        self.gone
    }

    /// Whether the process has run since the scan began, as far as can be told.
    pub fn ran(&self) -> bool {
        let Some(identity) = &self.identity else { return self.ran };
        // Of a process that has ended nobody can tell.
        self.ran || thread_runs(identity.pid).is_some_and(|runs| Some(runs) != self.runs)
    }
}

/// How often the threads of a process have been given a processor: the third number of each thread's
/// /proc/PID/task/TID/schedstat. A thread that a debugger has stopped gets none.
fn thread_runs(pid: u32) -> Option<u64> {
    let mut runs = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        runs += text.split_whitespace().nth(2)?.parse::<u64>().ok()?;
    }
    Some(runs)
}
