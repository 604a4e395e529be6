//! The memory that a worker and its pool share, to be read even when the worker can say nothing any more: which task it has
//! begun, which ones it shall not begin, and its answers.

use crate::memory::SharedMemory;
use crate::ring::{self, Broken, Consumer, Producer};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// How much a worker may take beyond its limit while it writes down the backtrace of a panic, in bytes.
pub(crate) const PANIC_MEMORY: u64 = 64 << 20;

/// The ring of answers holds so many bytes.
const CAPACITY: usize = 128 * 1024;
/// The longest answer that goes through the ring, in bytes.
pub(crate) const ANSWER_LIMIT: usize = 16 * 1024;

const BEGUN: usize = 0;
const PANICKED: usize = 8;
const RECALLED: usize = 16;
const WAKE_AT: usize = 24;
const RING: usize = ring::ALIGNMENT;

/// Set in the word of the task that was begun when some were recalled that the worker has not seen to be.
const UNSEEN: u64 = 1 << 63;
/// In the word of the answer that is waited for: none is.
const AWAKE: u64 = u64::MAX;

/// One side's mapping of it. Whatever the other side writes, it is a number here.
#[derive(Debug)]
pub(crate) struct Report {
    memory: Arc<SharedMemory>,
}

impl Report {
    /// A new one, for a worker that is about to be started.
    pub(crate) fn new() -> io::Result<Report> {
        let memory = SharedMemory::new(RING + ring::HEADER + CAPACITY)?;
        Ok(Report { memory: Arc::new(memory) })
    }

    /// The one that the pool has sent.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Report> {
        let memory = SharedMemory::from_descriptor(descriptor)?;
        if memory.len() < RING + ring::HEADER + CAPACITY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too small for a report"));
        }
        Ok(Report { memory: Arc::new(memory) })
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        self.memory.atomic_u64(offset).expect("its size was looked at when it was made")
    }

    /// In the worker: the other end of the pool's [`Report::answers`].
    pub(crate) fn producer(&self) -> Result<Producer, Broken> {
        Producer::new(Arc::clone(&self.memory), RING, CAPACITY)
    }

    /// In the pool: where the worker's answers come.
    pub(crate) fn answers(&self) -> Result<Consumer, Broken> {
        Consumer::new(Arc::clone(&self.memory), RING, CAPACITY, CAPACITY)
    }

    /// In the pool: the last task that the worker has begun; 0 if none.
    pub(crate) fn begun(&self) -> u64 {
        self.word(BEGUN).load(Ordering::Acquire) & !UNSEEN
    }

    /// In the pool: recalls the tasks up to this one, the last that was sent. The worker will begin none of them that it has not
    /// begun by now; the last that it has begun is returned.
    pub(crate) fn recall(&self, sent: u64) -> u64 {
        self.word(RECALLED).store(sent, Ordering::Release);
        self.word(BEGUN).fetch_or(UNSEEN, Ordering::AcqRel) & !UNSEEN
    }

    /// In the pool: it is about to sleep, and wants to be woken once this task is answered. It has to look at the answers once
    /// more after this.
    pub(crate) fn wake_at(&self, sequence: u64) {
        self.word(WAKE_AT).store(sequence, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// In the pool: it is awake.
    pub(crate) fn awake(&self) {
        self.word(WAKE_AT).store(AWAKE, Ordering::Relaxed);
    }

    /// In the worker: a task has been answered; whether the pool is to be woken.
    pub(crate) fn answered(&self, sequence: u64) -> bool {
        fence(Ordering::SeqCst);
        let word = self.word(WAKE_AT);
        sequence >= word.load(Ordering::Relaxed) && word.swap(AWAKE, Ordering::Relaxed) != AWAKE
    }

    /// In the worker: there is a panic, for whose backtrace it takes [`PANIC_MEMORY`].
    pub(crate) fn panic(&self) {
        self.word(PANICKED).store(1, Ordering::Release);
    }

    /// In the pool: how much the worker may take beyond its limit, in bytes.
    pub(crate) fn allowance(&self) -> u64 {
        if self.word(PANICKED).load(Ordering::Acquire) == 0 { 0 } else { PANIC_MEMORY }
    }
}

impl AsFd for Report {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

/// A worker's say in which tasks it begins.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    begun: u64,
    recalled: u64,
}

impl Claims {
    /// Whether the task is this worker's: from here on it is begun, and a death is its. If not, it was recalled, and is
    /// somebody else's by now.
    pub(crate) fn begin(&mut self, report: &Report, sequence: u64) -> bool {
        let word = report.word(BEGUN);
        while sequence > self.recalled {
            let claimed = word.compare_exchange(self.begun, sequence, Ordering::AcqRel, Ordering::Acquire);
            if claimed.is_ok() {
                self.begun = sequence;
                return true;
            }
            // First it is said that it was seen, then it is looked how far: a recall after this is unseen again.
            let _ = word.compare_exchange(self.begun | UNSEEN, self.begun, Ordering::AcqRel, Ordering::Acquire);
            self.recalled = self.recalled.max(report.word(RECALLED).load(Ordering::Acquire));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    fn both() -> (Report, Report) {
        let pool = Report::new().expect("memory");
        let descriptor = pool.as_fd().try_clone_to_owned().expect("a descriptor");
        (pool, Report::from_descriptor(descriptor).expect("its memory"))
    }

    #[test]
    fn what_one_side_begins_the_other_sees() {
        let (pool, worker) = both();
        assert_eq!(pool.begun(), 0);
        assert!(Claims::default().begin(&worker, 7));
        assert_eq!((pool.begun(), pool.allowance()), (7, 0));
        worker.panic();
        assert_eq!((pool.begun(), pool.allowance()), (7, PANIC_MEMORY));
        let small = SharedMemory::new(8).expect("memory").as_fd().try_clone_to_owned().expect("a descriptor");
        assert!(Report::from_descriptor(small).is_err());
    }

    #[test]
    fn what_is_recalled_is_not_begun() {
        let (pool, worker) = both();
        let mut claims = Claims::default();
        assert!(claims.begin(&worker, 1));
        assert_eq!(pool.recall(3), 1);
        assert_eq!(pool.recall(4), 1, "twice before the worker looks");
        assert!(!claims.begin(&worker, 2) && !claims.begin(&worker, 4));
        assert!(claims.begin(&worker, 5));
        assert_eq!(pool.recall(5), 5);
        assert!(claims.begin(&worker, 6));
        assert_eq!(pool.begun(), 6);
    }

    #[test]
    fn each_task_is_the_pool_s_or_the_worker_s() {
        const TASKS: u64 = 20_000;
        let (pool, worker) = both();
        let runs: Vec<AtomicU32> = (0..=TASKS).map(|_| AtomicU32::new(0)).collect();
        let count = |sequence: u64| runs[sequence as usize].fetch_add(1, Ordering::Relaxed);
        let sent = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut claims = Claims::default();
                for sequence in 1..=TASKS {
                    while sent.load(Ordering::Acquire) < sequence {
                        std::hint::spin_loop();
                    }
                    if claims.begin(&worker, sequence) {
                        count(sequence);
                    }
                }
            });
            let mut first = 1;
            for batch in (0..TASKS).step_by(10) {
                sent.store(batch + 10, Ordering::Release);
                if batch % 30 == 0 {
                    let begun = pool.recall(batch + 10);
                    (begun.max(first - 1) + 1..=batch + 10).for_each(|sequence| _ = count(sequence));
                    first = batch + 11;
                }
            }
        });
        assert!(runs[1..].iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn a_sleeper_is_woken_once_and_not_too_early() {
        let (pool, worker) = both();
        pool.awake();
        assert!(!worker.answered(1));
        pool.wake_at(3);
        assert!(!worker.answered(2));
        assert!(worker.answered(3) && !worker.answered(4));
    }
}
