//! What travels between the process that plans a scan and the workers that run its tasks.

use crate::plan::{Analysis, ScanRange, Scanned, Task};
use serde::{Deserialize, Serialize};
use target::relayed::Filled;
use target::streamed::{Streamed, Wanted};
use target::{AddressRange, OpenError, ReadMemory, Source};

/// The identity of this build: a plugin and a worker that have different ones do not understand each other.
pub const BUILD: &str = env!("MP_SCAN_BUILD");

/// How much of a task's range travels to a worker on another machine at once, in bytes. What is left of a larger task comes
/// back as its [`rest`](Scanned::rest), for whoever is next.
pub const CARRIED: u64 = 4 << 20;

/// What a page of which a byte is looked at takes.
const PAGE: u64 = 4096;

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
    /// Its memory itself, for a worker that sees nothing of it.
    pub carried: Option<Carried>,
}

/// What a worker says to a task.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<P> {
    Scanned(Scanned<P>),
    /// The worker does not see the memory, and why: the task has to bring it.
    Unseen(String),
}

/// The memory of a task, or of as much of it as travels at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Carried {
    /// What of the task's range it is for, from its start on.
    covers: AddressRange,
    memory: Streamed,
}

/// What an analysis looks at for a task: its range, and so far beyond.
pub fn seen<A: Analysis>(analysis: &A, task: &Task) -> AddressRange {
    let region = task.scan_range(analysis.ranges()).region;
    let margin = margin(analysis);
    let around = AddressRange::new(task.range.start.saturating_sub(margin), task.range.end.saturating_add(margin));
    around.intersect(region).unwrap_or(task.range)
}

/// What is read for a page is the whole page.
fn margin<A: Analysis>(analysis: &A) -> u64 {
    analysis.reach().checked_next_multiple_of(PAGE).unwrap_or(u64::MAX).saturating_add(PAGE)
}

impl Carried {
    /// Reads a task's memory; of its range `most` bytes, if there are more.
    pub fn read<A: Analysis>(analysis: &A, task: &Task, memory: &dyn ReadMemory, most: u64) -> Self {
        let ScanRange { region, sparse, .. } = task.scan_range(analysis.ranges());
        let swapped = analysis.reads_swapped();
        let wanted = Wanted { range: task.range, region, margin: margin(analysis), sparse, swapped, most };
        let (memory, covers) = Streamed::read(memory, &wanted);
        Self { covers, memory }
    }

    /// Runs the task on it. What it was not read for is its rest.
    ///
    /// # Errors
    /// [`OpenError::Streamed`] if it is damaged.
    pub fn scan<A: Analysis<Input = dyn ReadMemory>>(
        &self,
        analysis: &A,
        scanner: &mut A::Scanner,
        task: &Task,
        stop: &dyn Fn() -> bool,
    ) -> Result<Scanned<A::Partial>, OpenError> {
        let memory = self.memory.open()?;
        let covers = self.covers.intersect(task.range).filter(|covers| covers.start == task.range.start);
        let part = Task { range: covers.ok_or(OpenError::Streamed)?, ..*task };
        let mut scanned = analysis.scan(scanner, &part, &memory, stop);
        if part.range.end < task.range.end {
            let next = scanned.rest.map_or(part.range.end, |rest| rest.start);
            scanned.rest = Some(AddressRange::new(next, task.range.end));
        }
        Ok(scanned)
    }
}
