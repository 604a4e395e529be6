//! A lock between processes.

use super::error::LockError;
use super::guard::{Guarded, Lockable, sealed};
use super::region::{Region, Which, as_descriptor};
use super::robust;
use super::word::Until;
use serde::{Deserialize, Serialize};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A lock that threads of several processes take by turns. It is not recursive: for that, there is [`RLock`](super::RLock).
///
/// When the thread or process that holds it dies, by whatever means, the next one gets it at once, as
/// [`LockError::OwnerDied`]: what the lock protects may be half changed then, and it is theirs to look.
///
/// It can be a part of any message between processes; clones, and what arrives there, are the same lock. The processes
/// must be in one PID namespace: a holder is known by its thread's number.
///
/// ```standalone_crate
/// use multiprocessing::sync::{Lock, LockError};
/// use multiprocessing::{Pool, PoolConfig, Program, Registry, Shared};
///
/// multiprocessing::function! {
///     fn count(lock: Lock, number: Shared<u64>) -> Result<(), LockError> {
///         for _ in 0..1000 {
///             let _guard = lock.lock()?;
///             number.set(number.get() + 1);
///         }
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<count>().serve_if_worker();
///     let (lock, number) = (Lock::new()?, Shared::new(0)?);
///     let pool = Pool::start(PoolConfig::new(Program::current("example")?))?;
///     let job = pool.typed_job::<count>(&())?;
///     (0..4).try_for_each(|id| job.submit(id, &(lock.clone(), number.clone())))?;
///     while let Some((_, result)) = job.next() {
///         result?;
///     }
///     match lock.lock() {
///         Ok(_guard) => assert_eq!(number.get(), 4000),
///         Err(LockError::OwnerDied(_guard)) => println!("one of them was killed while it held the lock"),
///         Err(error) => return Err(error.into()),
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lock {
    #[serde(with = "as_descriptor")]
    region: Arc<Region>,
}

impl Lock {
    /// A new lock, which nobody holds.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new() -> io::Result<Lock> {
        Ok(Lock { region: Region::new(0)? })
    }

    /// Waits until the lock is free, and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`], with the lock held; [`LockError::AlreadyHeld`] by this thread; the lock is unusable.
    pub fn lock(&self) -> Result<LockGuard, LockError> {
        self.take(Until::EVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`LockError::TimedOut`] if it is not; and as for [`Lock::lock`].
    pub fn try_lock(&self) -> Result<LockGuard, LockError> {
        self.take(Until::Now)
    }

    /// Waits for the lock, but no longer than this.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; and as for [`Lock::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard, LockError> {
        self.take(Until::after(timeout))
    }

    /// Releases the lock though its guard is elsewhere or was forgotten. A guard that is left does nothing when it is dropped,
    /// unless the same thread has taken the lock once more.
    ///
    /// # Errors
    /// [`LockError::NotOwner`] if this thread does not hold it.
    pub fn release(&self) -> Result<(), LockError> {
        Ok(robust::unlock(&self.region, Which::First)?)
    }

    /// Whether this thread holds it.
    pub fn is_held(&self) -> bool {
        robust::is_held(&self.region, Which::First)
    }

    fn take(&self, until: Until) -> Result<LockGuard, LockError> {
        take(&self.region, until)
    }
}

/// Takes the first lock of a region.
pub(crate) fn take(region: &Arc<Region>, until: Until) -> Result<LockGuard, LockError> {
    let died = robust::lock(region, Which::First, until)?;
    let guard = LockGuard { region: Some(Arc::clone(region)), here: PhantomData };
    if died { Err(LockError::OwnerDied(guard)) } else { Ok(guard) }
}

/// Holds a [`Lock`], and releases it when it is dropped. It stays in the thread that has taken the lock.
#[must_use = "the lock is released when the guard is dropped"]
#[derive(Debug)]
pub struct LockGuard {
    /// Nothing once the lock is to stay held.
    region: Option<Arc<Region>>,
    here: PhantomData<*const ()>,
}

impl LockGuard {
    /// Leaves the lock held by this thread, without a guard, until [`Lock::release`]. (A guard that is forgotten instead does the
    /// same, and its memory stays mapped for good.)
    pub fn leave_locked(mut self) {
        self.region = None;
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // It may have been released by hand, or be lost.
        if let Some(region) = &self.region {
            let _ = robust::unlock(region, Which::First);
        }
    }
}

impl sealed::Region for Lock {
    fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl sealed::Region for LockGuard {
    fn region(&self) -> &Arc<Region> {
        self.region.as_ref().expect("only a guard that is being consumed has none")
    }
}

impl Lockable for Lock {}
impl Guarded for LockGuard {}
