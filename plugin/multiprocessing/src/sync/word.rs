//! A word that threads of several processes wait at; what the algorithms here are written over, so that loom can run them.

use crate::futex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A process that is killed may take with it a wake-up that was meant for somebody else. So whoever waits looks again after
/// this time, whether it was woken or not.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// Not at all.
    Now,
    /// Until then; `None` is for ever.
    Then(Option<Instant>),
}

impl Until {
    pub(crate) const EVER: Until = Until::Then(None);

    pub(crate) fn after(timeout: Duration) -> Until {
        Until::Then(futex::deadline(Some(timeout)))
    }
}

/// Every access is sequentially consistent but for those of a lock, which say what they need.
pub(crate) trait Word {
    fn load(&self) -> u32;
    fn store(&self, value: u32);
    fn add(&self, value: u32) -> u32;
    fn subtract(&self, value: u32) -> u32;
    /// Keeps the bits of the mask; what was there before.
    fn and(&self, mask: u32) -> u32;
    fn exchange(&self, from: u32, to: u32) -> Result<u32, u32>;
    /// Waits for a while if the word is `expected`. Returns whether there is time left.
    fn wait(&self, expected: u32, until: Until) -> bool;
    /// Wakes at most `count` of those that wait; how many there were.
    fn wake(&self, count: u32) -> u32;
}

impl Word for AtomicU32 {
    fn load(&self) -> u32 {
        self.load(Ordering::SeqCst)
    }

    fn store(&self, value: u32) {
        self.store(value, Ordering::SeqCst);
    }

    fn add(&self, value: u32) -> u32 {
        self.fetch_add(value, Ordering::SeqCst)
    }

    fn subtract(&self, value: u32) -> u32 {
        self.fetch_sub(value, Ordering::SeqCst)
    }

    fn and(&self, mask: u32) -> u32 {
        self.fetch_and(mask, Ordering::SeqCst)
    }

    fn exchange(&self, from: u32, to: u32) -> Result<u32, u32> {
        self.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst)
    }

    fn wait(&self, expected: u32, until: Until) -> bool {
        let Until::Then(deadline) = until else { return false };
        let look_again = Instant::now() + LOOK_AGAIN;
        match deadline {
            Some(deadline) if deadline <= look_again => futex::wait(self, expected, Some(deadline)),
            _ => {
                futex::wait(self, expected, Some(look_again));
                true
            }
        }
    }

    fn wake(&self, count: u32) -> u32 {
        futex::wake(self, count)
    }
}

#[cfg(all(test, loom))]
pub(crate) mod model {
    //! The same word as loom has it: a wait that nobody ends is a deadlock, which loom reports.

    use super::{Until, Word};
    use loom::sync::atomic::{AtomicU32, Ordering, fence};
    use loom::sync::{Condvar, Mutex};

    pub(crate) struct ModelWord {
        value: AtomicU32,
        /// How many wait, and how many of them were woken and have not noticed yet.
        sleepers: Mutex<(u32, u32)>,
        woken: Condvar,
    }

    impl ModelWord {
        pub(crate) fn new(value: u32) -> ModelWord {
            ModelWord { value: AtomicU32::new(value), sleepers: Mutex::new((0, 0)), woken: Condvar::new() }
        }
    }

    impl Word for ModelWord {
        fn load(&self) -> u32 {
            self.value.load(Ordering::SeqCst)
        }

        fn store(&self, value: u32) {
            self.value.store(value, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }

        fn add(&self, value: u32) -> u32 {
            let before = self.value.fetch_add(value, Ordering::SeqCst);
            // To loom an access is never sequentially consistent, but a fence is.
            fence(Ordering::SeqCst);
            before
        }

        fn subtract(&self, value: u32) -> u32 {
            self.value.fetch_sub(value, Ordering::SeqCst)
        }

        fn and(&self, mask: u32) -> u32 {
            let before = self.value.fetch_and(mask, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            before
        }

        fn exchange(&self, from: u32, to: u32) -> Result<u32, u32> {
            let outcome = self.value.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            outcome
        }

        fn wait(&self, expected: u32, until: Until) -> bool {
            if matches!(until, Until::Now) {
                return false;
            }
            let mut sleepers = self.sleepers.lock().expect("loom");
            if self.value.load(Ordering::SeqCst) != expected {
                return true;
            }
            sleepers.0 += 1;
            while sleepers.1 == 0 {
                sleepers = self.woken.wait(sleepers).expect("loom");
            }
            sleepers.0 -= 1;
            sleepers.1 -= 1;
            true
        }

        fn wake(&self, count: u32) -> u32 {
            let mut sleepers = self.sleepers.lock().expect("loom");
            let woken = count.min(sleepers.0 - sleepers.1);
            sleepers.1 += woken;
            (0..woken).for_each(|_| self.woken.notify_one());
            woken
        }
    }
}
