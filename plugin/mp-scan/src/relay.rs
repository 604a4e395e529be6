//! Memory that only the debugger can read, handed to workers a few blocks ahead.

use analysis::{ScanRange, Task};
use anyhow::{Result, bail};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use target::relayed::{Filled, Relay, Slots};
use target::{AddressRange, ReadMemory, Source};

/// The largest task whose memory is relayed, in bytes.
pub const TASK: u64 = 1 << 20;

/// Reads tasks' memory through the debugger into shared memory.
pub struct Feed {
    slots: Slots,
    memory: Arc<dyn ReadMemory>,
    ranges: Vec<ScanRange>,
    /// Bytes before and after a task's range that go with it.
    margin: u64,
    filled: HashMap<u64, Filled>,
}

impl Feed {
    /// Room for `ahead` tasks at a time, which look at up to `reach` bytes beyond their ends.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new(memory: Arc<dyn ReadMemory>, ranges: Vec<ScanRange>, reach: u64, ahead: usize) -> Result<Self> {
        // What is read for a page is the whole page.
        let margin = reach.next_multiple_of(4096) + 4096;
        Ok(Self {
            slots: Slots::new(ahead, (TASK + 2 * margin) as usize)?,
            memory,
            ranges,
            margin,
            filled: HashMap::new(),
        })
    }

    /// How workers read it, and with which descriptors.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn source(&self) -> Result<(Source, Vec<OwnedFd>)> {
        Ok((self.slots.source(), vec![self.slots.descriptor().try_clone_to_owned()?]))
    }

    /// The slots, for whoever reads in this process what they hold.
    ///
    /// # Errors
    /// If descriptors run out, or they cannot be mapped.
    pub fn relay(&self) -> Result<Relay> {
        let (source, descriptors) = self.source()?;
        match source {
            Source::Relayed(relayed) => Ok(relayed.open(descriptors)?),
            _ => bail!("relayed memory has slots"),
        }
    }

    /// Reads a task's memory; `None` if there is no room until another task has ended.
    pub fn fill(&mut self, task: &Task) -> Option<Filled> {
        let wanted =
            AddressRange::new(task.range.start.saturating_sub(self.margin), task.range.end.saturating_add(self.margin));
        let region = task.scan_range(&self.ranges).region;
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
