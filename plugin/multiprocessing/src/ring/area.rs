//! The memory of a ring.

use super::copy;
use super::header::{Header, Standing};
use super::position::{Position, UNIT};
use super::{ALIGNMENT, Broken, CAPACITY_MAX, CAPACITY_MIN, HEADER};
use crate::memory::SharedMemory;
use crate::sync::region::Region;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(all(loom, test)))]
const _: () = assert!(size_of::<Header>() == 512 && align_of::<Header>() == ALIGNMENT);

/// Memory that can have a ring in it.
///
/// # Safety
/// The address is that of so many bytes of a mapping that lives as long as this, begins at a page, and is reached by atomics only.
pub(crate) unsafe trait Memory: fmt::Debug + Send + Sync {
    /// Where it begins.
    fn address(&self) -> *mut u8;
    /// How many bytes it has.
    fn size(&self) -> usize;
}

// SAFETY: this is what shared memory is.
unsafe impl Memory for SharedMemory {
    fn address(&self) -> *mut u8 {
        SharedMemory::address(self)
    }

    fn size(&self) -> usize {
        self.len()
    }
}

// SAFETY: as above; its locks lie behind these bytes.
unsafe impl Memory for Region {
    fn address(&self) -> *mut u8 {
        Region::address(self)
    }

    fn size(&self) -> usize {
        self.capacity()
    }
}

/// A ring's place in its memory: a header, and right behind it the bytes.
#[derive(Clone, Debug)]
pub(super) struct Area {
    header: NonNull<Header>,
    bytes: NonNull<u8>,
    capacity: usize,
    _memory: Arc<dyn Memory>,
}

// SAFETY: the pointers are into the memory, which the area keeps and which can be used from any thread.
unsafe impl Send for Area {}
// SAFETY: as above; what is reached through them is reached by atomics, or by copies that bear with other writers.
unsafe impl Sync for Area {}

impl Area {
    pub(super) fn new(memory: Arc<dyn Memory>, offset: usize, capacity: usize) -> Result<Area, Broken> {
        let fits = (CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity) && capacity.is_power_of_two();
        let inside = offset.checked_add(HEADER + capacity).is_some_and(|end| end <= memory.size());
        if cfg!(all(loom, test)) || !fits || !inside || !offset.is_multiple_of(ALIGNMENT) {
            return Err(Broken("no place for one"));
        }
        let base = memory.address();
        // SAFETY: both are inside of the memory, as has just been seen.
        let (header, bytes) = unsafe { (base.add(offset), base.add(offset + HEADER)) };
        let header = NonNull::new(header.cast()).ok_or(Broken("no memory"))?;
        let bytes = NonNull::new(bytes).ok_or(Broken("no memory"))?;
        Ok(Area { header, bytes, capacity, _memory: memory })
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: it is inside of the memory, which lives as long as this area, and aligned, since the memory begins at a page.
        // It is made of atomics only, for which any value is valid, and which all that reach these bytes use.
        unsafe { self.header.as_ref() }
    }

    /// The word of a side's futex.
    pub(super) fn futex(side: &Standing) -> &AtomicU32 {
        #[cfg(all(loom, test))]
        unreachable!("there is no area under loom: {side:?}");
        #[cfg(not(all(loom, test)))]
        &side.sleep
    }

    /// The number of a side's processor.
    pub(super) fn processor(side: &Standing) -> &AtomicU32 {
        #[cfg(all(loom, test))]
        unreachable!("there is no area under loom: {side:?}");
        #[cfg(not(all(loom, test)))]
        &side.processor
    }

    /// Whether one who held a side has let it go.
    pub(super) fn let_go(side: &Standing) -> &AtomicU32 {
        #[cfg(all(loom, test))]
        unreachable!("there is no area under loom: {side:?}");
        #[cfg(not(all(loom, test)))]
        &side.let_go
    }

    /// The capacity in units.
    pub(super) fn units(&self) -> u64 {
        (self.capacity / UNIT) as u64
    }

    /// Where a position's unit is among the bytes.
    fn index(&self, position: Position) -> usize {
        (position.units() as usize * UNIT) & (self.capacity - 1)
    }

    fn cell(&self, position: Position) -> &AtomicU64 {
        // SAFETY: the index is less than the capacity and a multiple of eight, as is the capacity, so these eight bytes are
        // among the ring's, and aligned. All reach them by atomics, or by copies that bear with other writers.
        unsafe { AtomicU64::from_ptr(self.bytes.as_ptr().add(self.index(position)).cast()) }
    }

    /// The word at a position.
    pub(super) fn word(&self, position: Position) -> u64 {
        self.cell(position).load(Ordering::Relaxed)
    }

    pub(super) fn set_word(&self, position: Position, value: u64) {
        self.cell(position).store(value, Ordering::Relaxed);
    }

    /// Copies `from` to `skip` bytes behind a position and on, around the end. More than the capacity is cut.
    pub(super) fn write(&self, position: Position, skip: usize, from: &[u8]) {
        let start = self.index(position).wrapping_add(skip) & (self.capacity - 1);
        let (first, second) = from.split_at(from.len().min(self.capacity - start));
        let second = &second[..second.len().min(start)];
        // SAFETY: the first part ends where the bytes do at most, and the second one where the first began.
        unsafe {
            copy::into_shared(self.bytes.as_ptr().add(start), first);
            copy::into_shared(self.bytes.as_ptr(), second);
        }
    }

    /// Appends `length` bytes from a position on to `to`, around the end. More than the capacity is cut.
    pub(super) fn read(&self, position: Position, length: usize, to: &mut Vec<u8>) {
        let start = self.index(position);
        let first = length.min(self.capacity - start);
        let second = (length - first).min(start);
        to.reserve(first + second);
        // SAFETY: as in `write`.
        unsafe {
            copy::out_of_shared(self.bytes.as_ptr().add(start), first, to);
            copy::out_of_shared(self.bytes.as_ptr(), second, to);
        }
    }
}
