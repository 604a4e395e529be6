//! Semaphores between processes.

use super::error::OverRelease;
use super::region::{Region, as_descriptor};
use super::word::{Until, Word};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many permits there are now.
const VALUE: usize = 0;
/// How many wait for one. One that was killed counts for ever, which costs a system call a release.
const WAITERS: usize = 4;
/// How many there may be.
const MOST: usize = 8;

/// A number of permits, which threads of several processes take and give back. It can be given back by another one than has
/// taken it; a permit whose taker dies is not given back.
///
/// It can be a part of any message between processes; clones, and what arrives there, are the same semaphore.
///
/// ```
/// use multiprocessing::sync::Semaphore;
/// use std::time::Duration;
///
/// let semaphore = Semaphore::new(1)?;
/// semaphore.acquire();
/// assert!(!semaphore.try_acquire() && !semaphore.acquire_timeout(Duration::from_millis(1)));
/// semaphore.release()?;
/// semaphore.release()?;
/// assert_eq!(semaphore.value(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Semaphore {
    #[serde(with = "as_descriptor")]
    region: Arc<Region>,
}

impl Semaphore {
    /// As many permits as a semaphore can have.
    pub const MAXIMUM: u32 = i32::MAX as u32;

    /// A new semaphore with so many permits, at most [`Semaphore::MAXIMUM`].
    ///
    /// # Errors
    /// Too many; or the process has no descriptor or address space left.
    pub fn new(permits: u32) -> io::Result<Semaphore> {
        Semaphore::with_maximum(permits, Semaphore::MAXIMUM)
    }

    fn with_maximum(permits: u32, maximum: u32) -> io::Result<Semaphore> {
        if permits > Semaphore::MAXIMUM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more permits than a semaphore can have"));
        }
        let region = Region::new(0)?;
        region.atomic_u32(VALUE).store(permits, Ordering::Relaxed);
        region.atomic_u32(MOST).store(maximum, Ordering::Relaxed);
        Ok(Semaphore { region })
    }

    /// Takes a permit; waits until there is one.
    ///
    /// A waiter that is killed at the moment at which it is woken can delay another one by a tenth of a second.
    pub fn acquire(&self) {
        self.take(Until::EVER);
    }

    /// Takes a permit if there is one; whether there was.
    #[must_use]
    pub fn try_acquire(&self) -> bool {
        self.take(Until::Now)
    }

    /// Waits for a permit, but no longer than this; whether it got one.
    #[must_use]
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.take(Until::after(timeout))
    }

    /// Gives a permit back, or adds one.
    ///
    /// # Errors
    /// There are [`Semaphore::MAXIMUM`] already.
    pub fn release(&self) -> Result<(), OverRelease> {
        let most = self.region.atomic_u32(MOST).load(Ordering::Relaxed).min(Semaphore::MAXIMUM);
        give(self.region.atomic_u32(VALUE), self.region.atomic_u32(WAITERS), most)
    }

    /// How many permits there are. It may have changed before this has returned.
    pub fn value(&self) -> u32 {
        self.region.atomic_u32(VALUE).load(Ordering::Relaxed)
    }

    fn take(&self, until: Until) -> bool {
        take(self.region.atomic_u32(VALUE), self.region.atomic_u32(WAITERS), until)
    }
}

/// A [`Semaphore`] that never has more permits than it had in the beginning: one release too many is an error.
///
/// ```
/// use multiprocessing::sync::BoundedSemaphore;
///
/// let places = BoundedSemaphore::new(2)?;
/// places.acquire();
/// places.release()?;
/// assert!(places.release().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoundedSemaphore(Semaphore);

impl BoundedSemaphore {
    /// A new semaphore with so many permits, at most [`Semaphore::MAXIMUM`].
    ///
    /// # Errors
    /// Too many; or the process has no descriptor or address space left.
    pub fn new(permits: u32) -> io::Result<BoundedSemaphore> {
        Semaphore::with_maximum(permits, permits).map(BoundedSemaphore)
    }

    /// As [`Semaphore::acquire`].
    pub fn acquire(&self) {
        self.0.acquire();
    }

    /// As [`Semaphore::try_acquire`].
    #[must_use]
    pub fn try_acquire(&self) -> bool {
        self.0.try_acquire()
    }

    /// As [`Semaphore::acquire_timeout`].
    #[must_use]
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.0.acquire_timeout(timeout)
    }

    /// Gives a permit back.
    ///
    /// # Errors
    /// All permits are there already.
    pub fn release(&self) -> Result<(), OverRelease> {
        self.0.release()
    }

    /// As [`Semaphore::value`].
    pub fn value(&self) -> u32 {
        self.0.value()
    }
}

fn take<W: Word>(value: &W, waiters: &W, until: Until) -> bool {
    let mut left = true;
    loop {
        let seen = value.load();
        if seen > 0 {
            if value.exchange(seen, seen - 1).is_ok() {
                return true;
            }
            continue;
        }
        if !left || matches!(until, Until::Now) {
            return false;
        }
        // Whoever releases looks for waiters after it has changed the value; the kernel looks at the value after this.
        waiters.add(1);
        left = value.wait(0, until);
        waiters.subtract(1);
    }
}

fn give<W: Word>(value: &W, waiters: &W, most: u32) -> Result<(), OverRelease> {
    loop {
        let seen = value.load();
        if seen >= most {
            return Err(OverRelease);
        }
        if value.exchange(seen, seen + 1).is_ok() {
            break;
        }
    }
    if waiters.load() != 0 {
        value.wake(1);
    }
    Ok(())
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::super::word::model::ModelWord;
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_every_permit_reaches_a_waiter() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let words = Arc::new((ModelWord::new(0), ModelWord::new(0)));
            let takers: Vec<_> = (0..2)
                .map(|_| {
                    let words = Arc::clone(&words);
                    thread::spawn(move || assert!(take(&words.0, &words.1, Until::EVER)))
                })
                .collect();
            give(&words.0, &words.1, 2).expect("none is there");
            give(&words.0, &words.1, 2).expect("one at most is there");
            takers.into_iter().for_each(|taker| taker.join().expect("no panic"));
            assert!(!take(&words.0, &words.1, Until::Now));
        });
    }
}
