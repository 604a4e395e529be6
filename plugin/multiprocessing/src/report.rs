//! What a worker writes down for its pool, to be known even when it cannot say it any more: which task it has begun.

use crate::memory::SharedMemory;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

/// How much a worker may take beyond its limit while it writes down the backtrace of a panic, in bytes.
pub(crate) const PANIC_MEMORY: u64 = 64 << 20;

const BEGUN: usize = 0;
const PANICKED: usize = 8;

/// Memory that a worker writes and its pool reads.
#[derive(Debug)]
pub(crate) struct Report {
    memory: SharedMemory,
}

impl Report {
    /// A new one, for a worker that is about to be started.
    pub(crate) fn new() -> io::Result<Report> {
        SharedMemory::new(PANICKED + size_of::<u64>()).map(|memory| Report { memory })
    }

    /// The one that the pool has sent.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Report> {
        let report = Report { memory: SharedMemory::from_descriptor(descriptor)? };
        match report.memory.atomic_u64(PANICKED) {
            Some(_) => Ok(report),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "too small for a report")),
        }
    }

    fn store(&self, offset: usize, value: u64) {
        if let Some(word) = self.memory.atomic_u64(offset) {
            word.store(value, Ordering::Release);
        }
    }

    fn load(&self, offset: usize) -> u64 {
        self.memory.atomic_u64(offset).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// In the worker: a task begins.
    pub(crate) fn begin(&self, sequence: u64) {
        self.store(BEGUN, sequence);
    }

    /// In the pool: the last task that the worker has begun; 0 if none.
    pub(crate) fn begun(&self) -> u64 {
        self.load(BEGUN)
    }

    /// In the worker: there is a panic, for whose backtrace it takes [`PANIC_MEMORY`].
    pub(crate) fn panic(&self) {
        self.store(PANICKED, 1);
    }

    /// In the pool: how much the worker may take beyond its limit, in bytes.
    pub(crate) fn allowance(&self) -> u64 {
        if self.load(PANICKED) == 0 { 0 } else { PANIC_MEMORY }
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_begins_the_other_sees() {
        let pool = Report::new().expect("memory");
        let worker =
            Report::from_descriptor(pool.as_fd().try_clone_to_owned().expect("a descriptor")).expect("its memory");
        assert_eq!(pool.begun(), 0);
        worker.begin(7);
        assert_eq!((pool.begun(), pool.allowance()), (7, 0));
        worker.panic();
        assert_eq!((pool.begun(), pool.allowance()), (7, PANIC_MEMORY));
        let small = SharedMemory::new(8).expect("memory").as_fd().try_clone_to_owned().expect("a descriptor");
        assert!(Report::from_descriptor(small).is_err());
    }
}
