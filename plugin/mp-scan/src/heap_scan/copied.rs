//! A copy of a live process's heap.

use super::{Indexed, tables};
use crate::course::{Copy, Failure, Stages};
use analysis::heap::HeapCopy;
use anyhow::Context as _;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use target::core::Core;
use target::{AddressSpace, room};

/// No more of a live process's heap is copied, in bytes: a debugger is a guest.
const MOST: u64 = 8 << 30;

/// Of the memory that can still be had, at most one in so many bytes goes into a copy of a heap.
const SHARE: u64 = 3;

/// As much of the heap of a live process as there is room for.
///
/// # Errors
/// As for [`Stages::run`].
pub fn copied(stages: &mut Stages, indexed: &Indexed, space: &AddressSpace) -> Result<Option<Copy>, Failure> {
    let segments = indexed.index.segments();
    let most = MOST.min(room::available().unwrap_or(MOST) / SHARE);
    let memory = Arc::clone(&stages.reading.memory);
    let resident = |range| memory.residency(range).map_or(range.len(), |found| found.resident + found.swapped);
    let plan = HeapCopy::new(segments, most, resident, |range| space.is_sparse(range));
    if plan.bytes() == 0 {
        return Ok(None);
    }
    stages.control.expect_more(plan.bytes());
    let tables = tables(&plan.tables())?;
    // What cannot be read is read again.
    let outcome = stages.aside(|stages| stages.run(&plan, indexed, &tables))?;
    let [table] = &tables[..] else { return Ok(None) };
    let file = table.as_fd().try_clone_to_owned().context("out of file descriptors")?;
    let core = Core::of_parts(plan.parts(&outcome.skipped));
    let (bytes, left) = (plan.bytes() - outcome.stats.bytes_skipped, segments.bytes() - plan.bytes());
    Ok(Some(Copy::new(core, file, bytes, left)))
}
