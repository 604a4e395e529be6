//! A lock between processes that its holder may take again.

use super::error::{Denied, LockError};
use super::guard::{Guarded, Lockable, sealed};
use super::region::{Region, Which, as_descriptor};
use super::robust;
use super::word::Until;
use serde::{Deserialize, Serialize};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A [`Lock`](super::Lock) that the thread that holds it may take again. It is free once it has been released as often.
///
/// ```
/// use multiprocessing::sync::RLock;
///
/// let lock = RLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop(outer);
/// assert!(lock.is_held());
/// drop(inner);
/// assert!(!lock.is_held() && lock.release().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RLock {
    #[serde(with = "as_descriptor")]
    region: Arc<Region>,
}

impl RLock {
    /// A new lock, which nobody holds.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new() -> io::Result<RLock> {
        Ok(RLock { region: Region::new(0)? })
    }

    /// Takes the lock; waits until it is free, unless this thread holds it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`], with the lock held; the lock is unusable.
    pub fn lock(&self) -> Result<RLockGuard, LockError<RLockGuard>> {
        self.take(Until::EVER)
    }

    /// Takes the lock if no other thread holds it.
    ///
    /// # Errors
    /// [`LockError::TimedOut`] if one does; and as for [`RLock::lock`].
    pub fn try_lock(&self) -> Result<RLockGuard, LockError<RLockGuard>> {
        self.take(Until::Now)
    }

    /// Waits for the lock, but no longer than this.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; and as for [`RLock::lock`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard, LockError<RLockGuard>> {
        self.take(Until::after(timeout))
    }

    /// Releases the lock once, though the guard is elsewhere or was forgotten.
    ///
    /// # Errors
    /// [`LockError::NotOwner`] if this thread does not hold it (any more).
    pub fn release(&self) -> Result<(), LockError<RLockGuard>> {
        Ok(release(&self.region)?)
    }

    /// Whether this thread holds it.
    pub fn is_held(&self) -> bool {
        robust::is_held(&self.region, Which::First)
    }

    fn take(&self, until: Until) -> Result<RLockGuard, LockError<RLockGuard>> {
        let died = if self.is_held() {
            // Only the holder is here, so nobody else changes the depth.
            let depth = &self.region.holder(Which::First).depth;
            depth.store(depth.load(Ordering::Relaxed).checked_add(1).ok_or(LockError::TooDeep)?, Ordering::Relaxed);
            false
        } else {
            robust::lock(&self.region, Which::First, until)?
        };
        let guard = RLockGuard { region: Some(Arc::clone(&self.region)), here: PhantomData };
        if died { Err(LockError::OwnerDied(guard)) } else { Ok(guard) }
    }
}

fn release(region: &Region) -> Result<(), Denied> {
    if !robust::is_held(region, Which::First) {
        return Err(Denied::NotOwner);
    }
    let depth = &region.holder(Which::First).depth;
    match depth.load(Ordering::Relaxed).checked_sub(1) {
        Some(less) => depth.store(less, Ordering::Relaxed),
        None => robust::unlock(region, Which::First)?,
    }
    Ok(())
}

/// Holds an [`RLock`] once, and releases it once when it is dropped. It stays in the thread that has taken the lock.
#[must_use = "the lock is released when the guard is dropped"]
#[derive(Debug)]
pub struct RLockGuard {
    /// Nothing once the lock is to stay held.
    region: Option<Arc<Region>>,
    here: PhantomData<*const ()>,
}

impl RLockGuard {
    /// Leaves the lock held by this thread, without a guard, until [`RLock::release`]. (A guard that is forgotten instead does the
    /// same, and its memory stays mapped for good.)
    pub fn leave_locked(mut self) {
        self.region = None;
    }
}

impl Drop for RLockGuard {
    fn drop(&mut self) {
        // It may have been released by hand, or be lost.
        if let Some(region) = &self.region {
            let _ = release(region);
        }
    }
}

impl sealed::Region for RLock {
    fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl sealed::Region for RLockGuard {
    fn region(&self) -> &Arc<Region> {
        self.region.as_ref().expect("only a guard that is being consumed has none")
    }
}

impl Lockable for RLock {}
impl Guarded for RLockGuard {}
