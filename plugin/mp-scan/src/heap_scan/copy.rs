//! A copy of a target's memory, which serves until the process runs.

use super::{Failure, Indexed, Reading, Stages, tables};
use analysis::heap::HeapCopy;
use anyhow::{Context as _, Result};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use target::copied::{Copied, release};
use target::core::Core;
use target::room;
use target::{Access, AddressSpace, Source};

/// No more of a live process's heap is copied, in bytes: a debugger is a guest.
const MOST: u64 = 4 << 30;

/// Of the memory that can still be had, at most one in so many bytes goes into a copy of a heap.
const SHARE: u64 = 4;

/// What has been copied of a target's memory.
pub struct Copy {
    /// What is where in the file.
    core: Core,
    file: OwnedFd,
    /// Bytes that are copied.
    pub bytes: u64,
    /// Bytes for which there was no room.
    pub left: u64,
}

impl Copy {
    /// One of all that was to be copied.
    pub fn new(core: Core, file: OwnedFd, bytes: u64) -> Self {
        Self { core, file, bytes, left: 0 }
    }

    /// As much of the heap of a live process as there is room for.
    ///
    /// # Errors
    /// As for [`Stages::run`].
    pub fn of_heap(stages: &mut Stages, indexed: &Indexed, space: &AddressSpace) -> Result<Option<Self>, Failure> {
        let segments = indexed.index.segments();
        let most = MOST.min(room::available().unwrap_or(MOST) / SHARE);
        let memory = Arc::clone(&stages.reading.memory);
        let resident = |range| memory.residency(range).map_or(range.len(), |found| found.resident + found.swapped);
        let plan = HeapCopy::new(segments, most, resident, |range| space.is_sparse(range));
        if plan.bytes() == 0 {
            return Ok(None);
        }
        let tables = tables(&plan.tables())?;
        // It is not what was asked for, so it counts neither as looked at nor as left out: what cannot be read is read again.
        let (stats, skipped) = (stages.stats.clone(), stages.skipped.len());
        let outcome = stages.run(&plan, indexed, &tables)?;
        (stages.stats.bytes_scanned, stages.stats.bytes_skipped) = (stats.bytes_scanned, stats.bytes_skipped);
        stages.stats.bytes_planned = stats.bytes_planned;
        stages.skipped.truncate(skipped);
        let [table] = &tables[..] else { return Ok(None) };
        let file = table.as_fd().try_clone_to_owned().context("out of file descriptors")?;
        let core = Core::of_parts(plan.parts(&outcome.skipped));
        let (bytes, left) = (plan.bytes() - outcome.stats.bytes_skipped, segments.bytes() - plan.bytes());
        Ok(Some(Self { core, file, bytes, left }))
    }

    /// How a target is read of which all is copied.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn alone(self: &Arc<Self>) -> Result<Reading> {
        self.reading(Source::Core(self.core.clone()), &[])
    }

    /// How one is read of which something is copied, and all else is read as before.
    ///
    /// # Errors
    /// If descriptors run out.
    pub fn over(self: &Arc<Self>, rest: &Reading) -> Result<Reading> {
        let rest_source = rest.source.clone().context("workers cannot read the target")?;
        let source = Source::Copied(Copied::new(self.core.clone(), rest_source));
        self.reading(source, &rest.descriptors)
    }

    fn reading(self: &Arc<Self>, source: Source, others: &[OwnedFd]) -> Result<Reading> {
        let descriptors = || {
            let copies = std::iter::once(&self.file).chain(others).map(OwnedFd::try_clone);
            copies.collect::<Result<Vec<_>, _>>().context("out of file descriptors")
        };
        // Nobody but us has the file, and nobody cuts it.
        let memory = source.open(descriptors()?, Access::Mapped)?;
        Ok(Reading { memory, source: Some(source), descriptors: descriptors()?, copy: Some(Arc::clone(self)) })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Workers have it mapped until they map another file.
        release(&self.file);
    }
}

impl std::fmt::Debug for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copy").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
