//! Where a pipe's rings are: one fills its memory, or two fill a half each.

use crate::memory::SharedMemory;
use crate::ring::{CAPACITY_MAX, HEADER};
use std::io;

/// A ring's capacity for a wish.
pub(super) fn capacity(wish: usize) -> usize {
    wish.clamp(4096, CAPACITY_MAX).checked_next_power_of_two().unwrap_or(CAPACITY_MAX)
}

/// The capacity of the ring that is at this offset.
pub(super) fn found(memory: &SharedMemory, offset: usize) -> io::Result<usize> {
    let rings = if (memory.len() / 2).saturating_sub(HEADER).is_power_of_two() { 2 } else { 1 };
    let size = memory.len() / rings;
    let capacity = size.saturating_sub(HEADER);
    if capacity.is_power_of_two() && (offset == 0 || rings == 2 && offset == size) {
        Ok(capacity)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "memory that holds no channel"))
    }
}
