//! The memory of a ring.

use super::copy;
use super::header::{Header, Standing};
use super::position::{Position, UNIT};
use super::{ALIGNMENT, Broken, CAPACITY_MAX, CAPACITY_MIN, HEADER};
use crate::memory::SharedMemory;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(not(all(loom, test)))]
const _: () = assert!(size_of::<Header>() == 512 && align_of::<Header>() == ALIGNMENT);

/// A ring's place in its memory: a header, and right behind it the bytes.
#[derive(Clone, Debug)]
pub(super) struct Area {
    memory: Arc<SharedMemory>,
    offset: usize,
    capacity: usize,
}

impl Area {
    pub(super) fn new(memory: Arc<SharedMemory>, offset: usize, capacity: usize) -> Result<Area, Broken> {
        let inside = offset.checked_add(HEADER + capacity).is_some_and(|end| end <= memory.len());
        let fits = (CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity) && capacity.is_power_of_two();
        if cfg!(all(loom, test)) || !fits || !inside || !offset.is_multiple_of(ALIGNMENT) {
            return Err(Broken("no place for one"));
        }
        Ok(Area { memory, offset, capacity })
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: `new` has seen to it that the header is inside of the memory, which lives as long as this area, and is
        // aligned in it; the mapping itself begins at a page. It is made of atomics only, for which any value is valid, and
        // which all that reach these bytes use.
        unsafe { &*self.memory.address().add(self.offset).cast::<Header>() }
    }

    /// The word of a side's futex.
    pub(super) fn futex(word: &Standing) -> &AtomicU32 {
        #[cfg(all(loom, test))]
        let _ = word;
        #[cfg(all(loom, test))]
        unreachable!("there is no area under loom");
        #[cfg(not(all(loom, test)))]
        &word.sleep
    }

    /// The number of a side's processor.
    pub(super) fn processor(word: &Standing) -> &AtomicU32 {
        #[cfg(all(loom, test))]
        let _ = word;
        #[cfg(all(loom, test))]
        unreachable!("there is no area under loom");
        #[cfg(not(all(loom, test)))]
        &word.processor
    }

    /// The capacity in units.
    pub(super) fn units(&self) -> u64 {
        (self.capacity / UNIT) as u64
    }

    /// Where a position's unit is among the bytes.
    fn index(&self, position: Position) -> usize {
        (position.units() as usize * UNIT) & (self.capacity - 1)
    }

    /// The word at a position.
    pub(super) fn word(&self, position: Position) -> u64 {
        let word = self.memory.atomic_u64(self.offset + HEADER + self.index(position));
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(super) fn set_word(&self, position: Position, value: u64) {
        if let Some(word) = self.memory.atomic_u64(self.offset + HEADER + self.index(position)) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Copies `from` to `skip` bytes behind a position and on, around the end. It is at most the capacity.
    pub(super) fn write(&self, position: Position, skip: usize, from: &[u8]) {
        let start = (self.index(position) + skip) & (self.capacity - 1);
        let (first, second) = from.split_at(from.len().min(self.capacity - start));
        copy::into_shared(&self.memory, self.offset + HEADER + start, first);
        copy::into_shared(&self.memory, self.offset + HEADER, second);
    }

    /// Appends `length` bytes from a position on to `to`, around the end. It is at most the capacity.
    pub(super) fn read(&self, position: Position, length: usize, to: &mut Vec<u8>) {
        let start = self.index(position);
        let first = length.min(self.capacity - start);
        copy::out_of_shared(&self.memory, self.offset + HEADER + start, first, to);
        copy::out_of_shared(&self.memory, self.offset + HEADER, length - first, to);
    }
}
