//! What is known of the target before anything is read.

use crate::inspect::{Access, Inspected};
use analysis::TargetInfo;
use analysis::place::ThreadStack;
use std::path::PathBuf;
use std::time::SystemTime;
use target::AddressSpace;

/// The target, as the debugger describes it.
#[derive(Debug)]
pub struct Ground {
    pub info: TargetInfo,
    pub space: AddressSpace,
    pub stacks: Vec<ThreadStack>,
    /// Whether it is a file that somebody has saved of a process.
    pub is_saved: bool,
    /// `None` if it changes while it is looked at.
    pub moment: Option<Moment>,
}

/// A target at a moment at which it did not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A process at a stop: which process, the debugger's number of it, since one may be of another machine or a core file that only
    /// the debugger reads, and its count of the stops, those for expressions among them.
    Stop { pid: u64, start_time: Option<u64>, number: u32, stop: u32 },
    /// A core file, as it is on disk.
    Core { path: PathBuf, length: u64, modified: Option<SystemTime> },
}

impl Moment {
    /// Whether it is one of the same process or file: what was known at one is of no use at another.
    pub fn is_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stop { number, .. }, Self::Stop { number: same, .. }) => number == same,
            (Self::Core { path, .. }, Self::Core { path: same, .. }) => path == same,
            _ => false,
        }
    }

    /// That of a target; `None` if it changes while it is looked at.
    pub fn of(inspected: &Inspected) -> Option<Self> {
        if inspected.info.ran {
            return None;
        }
        if let Access::Direct { core: Some(path), .. } = &inspected.access {
            let data = std::fs::metadata(path).ok()?;
            return Some(Self::Core { path: path.clone(), length: data.len(), modified: data.modified().ok() });
        }
        let start_time = match &inspected.access {
            Access::Direct { identity, .. } => identity.as_ref().map(|identity| identity.start_time),
            Access::Relayed(_) => None,
        };
        let process = inspected.target.process()?;
        let (number, stop) = (process.unique_id(), process.moment());
        Some(Self::Stop { pid: inspected.info.pid?, start_time, number, stop })
    }
}
