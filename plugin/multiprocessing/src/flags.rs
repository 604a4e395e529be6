//! Where it is written down which jobs are cancelled: one memory for all jobs of a pool, which all its workers see. A job
//! costs no system call so.

use crate::memory::SharedMemory;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// So many jobs can be open at the same time. Only the part of the memory that was ever used takes any.
const SLOTS: u32 = 1 << 20;

/// A word for each job: the number of the last job cancelled there.
#[derive(Debug)]
pub(crate) struct Flags {
    memory: SharedMemory,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// Those that were used and given back.
    returned: Vec<u32>,
    /// From here on none was ever used.
    fresh: u32,
}

impl Flags {
    pub(crate) fn new() -> io::Result<Flags> {
        Ok(Flags { memory: SharedMemory::new(SLOTS as usize * size_of::<u64>())?, free: Mutex::default() })
    }

    /// A word for this job, which must not be job 0.
    ///
    /// # Errors
    /// Too many jobs are open.
    pub(crate) fn flag(self: &Arc<Flags>, job: u64) -> io::Result<Flag> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match free.returned.pop() {
            Some(slot) => slot,
            None if free.fresh < SLOTS => {
                free.fresh += 1;
                free.fresh - 1
            }
            None => return Err(io::Error::other("a million jobs are open already")),
        };
        Ok(Flag { flags: Arc::clone(self), slot, job })
    }
}

impl AsFd for Flags {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// One job's word, until this is dropped.
#[derive(Debug)]
pub(crate) struct Flag {
    flags: Arc<Flags>,
    slot: u32,
    job: u64,
}

impl Flag {
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// Tells the workers that the job is cancelled.
    pub(crate) fn raise(&self) {
        if let Some(word) = self.flags.memory.atomic_u64(offset(self.slot)) {
            word.store(self.job, Ordering::SeqCst);
        }
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        // The next job there has another number, so that what is written there need not be taken back.
        self.flags.free.lock().unwrap_or_else(PoisonError::into_inner).returned.push(self.slot);
    }
}

/// In a worker: whether a job is cancelled.
pub(crate) fn raised(memory: &SharedMemory, slot: u32, job: u64) -> bool {
    memory.atomic_u64(offset(slot)).is_some_and(|word| word.load(Ordering::Relaxed) == job)
}

fn offset(slot: u32) -> usize {
    slot as usize * size_of::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_used_again_says_nothing_of_the_next_job() {
        let flags = Arc::new(Flags::new().expect("memory"));
        let first = flags.flag(1).expect("room");
        let second = flags.flag(2).expect("room");
        assert_ne!(first.slot(), second.slot());
        assert!(!raised(&flags.memory, first.slot(), 1));
        first.raise();
        assert!(raised(&flags.memory, first.slot(), 1) && !raised(&flags.memory, second.slot(), 2));
        let slot = first.slot();
        drop(first);
        let third = flags.flag(3).expect("room");
        assert_eq!(third.slot(), slot);
        assert!(!raised(&flags.memory, slot, 3));
        assert!(!raised(&flags.memory, u32::MAX, 3), "outside of the memory");
    }
}
