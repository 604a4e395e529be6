//! Memory that only the debugger can read, handed to workers a few blocks ahead.

use analysis::{ScanRange, Task};
use anyhow::Result;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use target::relayed::{Filled, Slots};
use target::{AddressRange, ReadMemory, Source};

/// The largest task whose memory is relayed, in bytes.
pub const TASK: u64 = 1 << 20;

/// What lies before and after a task's range and goes with it, in bytes: a string is at most 64 KiB long.
const MARGIN: u64 = 72 << 10;

/// Reads tasks' memory through the debugger into shared memory.
pub struct Feed {
    slots: Slots,
    memory: Arc<dyn ReadMemory>,
    ranges: Vec<ScanRange>,
    filled: HashMap<u64, Filled>,
}

impl Feed {
    /// Room for `ahead` tasks at a time.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(memory: Arc<dyn ReadMemory>, ranges: Vec<ScanRange>, ahead: usize) -> Result<Self> {
        Ok(Self { slots: Slots::new(ahead, (TASK + 2 * MARGIN) as usize)?, memory, ranges, filled: HashMap::new() })
    }

    /// How workers read it, and with which descriptors.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn source(&self) -> Result<(Source, Vec<OwnedFd>)> {
        Ok((self.slots.source(), vec![self.slots.descriptor().try_clone_to_owned()?]))
    }

    /// Reads a task's memory; `None` if there is no room until another task has ended.
    pub fn fill(&mut self, task: &Task) -> Option<Filled> {
        let wanted = AddressRange::new(task.range.start.saturating_sub(MARGIN), task.range.end.saturating_add(MARGIN));
        let region = self.ranges.get(task.index).map_or(task.range, |range| range.region);
        let filled = self.slots.fill(&*self.memory, wanted.intersect(region).unwrap_or(task.range))?;
        self.filled.insert(task.id, filled.clone());
        Some(filled)
    }

    /// Gives back the room of a task that has ended.
    pub fn release(&mut self, task: &Task) {
        if let Some(filled) = self.filled.remove(&task.id) {
            self.slots.release(filled.slot);
        }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("filled", &self.filled.len()).finish_non_exhaustive()
    }
}
