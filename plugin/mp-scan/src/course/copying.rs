//! Copies what only the debugger can read, so that workers can look at it in any order.

use super::{Control, Copy};
use anyhow::{Context as _, Result, bail};
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::core::Snapshot;
use target::{AddressRange, AddressSpace, Permissions, ReadMemory, room};

/// Bytes read at once: the debugger takes a few milliseconds for them.
const PIECE: u64 = 256 << 10;

/// A copy under way.
pub struct Copying {
    memory: Arc<dyn ReadMemory>,
    snapshot: Snapshot,
    /// What is still to be copied, the last first.
    left: Vec<AddressRange>,
    /// Bytes that could be read.
    copied: u64,
}

impl Copying {
    /// Of all that is readable, but for code: no pointer to the heap is in that.
    ///
    /// # Errors
    /// If there is no room for it on this machine.
    pub fn new(memory: Arc<dyn ReadMemory>, space: &AddressSpace) -> Result<Self> {
        let copied =
            |region: &&target::Region| region.is_readable() && !region.permissions.contains(Permissions::EXECUTE);
        let mut left: Vec<AddressRange> = space.regions.iter().filter(copied).map(|region| region.range).collect();
        left.reverse();
        let size: u64 = left.iter().map(|range| range.len()).sum();
        if let Some(room) = room::available().filter(|room| size > room / 2) {
            bail!(
                "the target can only be read through the debugger, and a copy of its memory would take {}, of {} that this \
                 machine has free: debug it on its own machine, or from a core file",
                render::bytes(size),
                render::bytes(room)
            );
        }
        let snapshot = Snapshot::new().context("no memory for a copy of the target's")?;
        Ok(Self { memory, snapshot, left, copied: 0 })
    }

    /// Copies for about `patience`. Returns whether all is copied.
    ///
    /// # Errors
    /// If the process is gone, or memory runs out.
    pub fn step(&mut self, patience: Duration, control: &Control) -> Result<bool> {
        if control.progress().1 == 0 {
            control.expect(self.left.iter().map(|range| range.len()).sum());
        }
        let until = Instant::now() + patience;
        while let Some(range) = self.left.pop() {
            let piece = AddressRange::new(range.start, range.end.min(range.start + PIECE));
            let copied = self.snapshot.copy(&*self.memory, piece);
            self.copied += copied.context("the target's memory could not be copied")?;
            control.advance(piece.len());
            if piece.end < range.end {
                self.left.push(AddressRange::new(piece.end, range.end));
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(self.left.is_empty())
    }

    /// The copy.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn finish(self) -> Result<Copy> {
        let (core, file) = self.snapshot.finish().context("the copy cannot be kept")?;
        Ok(Copy::new(core, file, self.copied, 0))
    }
}
