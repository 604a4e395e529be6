//! An event that processes wait for.

use super::region::{Region, as_descriptor};
use super::word::{Until, Word};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often it was set and cleared: odd while it is set.
const CHANGES: usize = 0;
/// How many wait. One that was killed counts for ever, which costs a system call each time that the event is set.
const WAITERS: usize = 4;

/// Something that happens, and that threads of several processes wait for. It stays so until it is cleared.
///
/// It can be a part of any message between processes; clones, and what arrives there, are the same event. Nobody can die
/// in a way that keeps others waiting.
///
/// ```
/// use multiprocessing::sync::Event;
/// use std::time::Duration;
///
/// let ready = Event::new()?;
/// assert!(!ready.wait_timeout(Duration::from_millis(1)));
/// let other = ready.clone();
/// let thread = std::thread::spawn(move || other.wait());
/// ready.set();
/// thread.join().expect("no panic");
/// assert!(ready.is_set());
/// ready.clear();
/// assert!(!ready.is_set());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    #[serde(with = "as_descriptor")]
    region: Arc<Region>,
}

impl Event {
    /// A new event, which is not set.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new() -> io::Result<Event> {
        Ok(Event { region: Region::new(0)? })
    }

    /// Sets it: all that wait go on, even if it is cleared right after this.
    pub fn set(&self) {
        set(self.region.atomic_u32(CHANGES), self.region.atomic_u32(WAITERS));
    }

    /// Clears it: from now on [`Event::wait`] waits.
    pub fn clear(&self) {
        let changes = self.region.atomic_u32(CHANGES);
        let seen = Word::load(changes);
        if is_set(seen) {
            // If it fails, somebody else has just cleared it.
            let _ = changes.exchange(seen, seen.wrapping_add(1));
        }
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        is_set(Word::load(self.region.atomic_u32(CHANGES)))
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        wait(self.region.atomic_u32(CHANGES), self.region.atomic_u32(WAITERS), Until::EVER);
    }

    /// Waits until it is set, but no longer than this; whether it was set.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        wait(self.region.atomic_u32(CHANGES), self.region.atomic_u32(WAITERS), Until::after(timeout))
    }
}

fn is_set(changes: u32) -> bool {
    changes % 2 == 1
}

fn set<W: Word>(changes: &W, waiters: &W) {
    let seen = changes.load();
    // If it fails, somebody else has just set it, and wakes those that wait.
    if !is_set(seen) && changes.exchange(seen, seen.wrapping_add(1)).is_ok() && waiters.load() != 0 {
        changes.wake(u32::MAX);
    }
}

fn wait<W: Word>(changes: &W, waiters: &W, until: Until) -> bool {
    let first = changes.load();
    if is_set(first) {
        return true;
    }
    loop {
        waiters.add(1);
        let left = changes.wait(first, until);
        waiters.subtract(1);
        // It was set, whether or not it still is.
        if changes.load() != first {
            return true;
        }
        if !left {
            return false;
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::super::word::model::ModelWord;
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_all_that_wait_go_on() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let words = Arc::new((ModelWord::new(0), ModelWord::new(0)));
            let waiters: Vec<_> = (0..2)
                .map(|_| {
                    let words = Arc::clone(&words);
                    thread::spawn(move || assert!(wait(&words.0, &words.1, Until::EVER)))
                })
                .collect();
            set(&words.0, &words.1);
            waiters.into_iter().for_each(|waiter| waiter.join().expect("no panic"));
        });
    }
}
