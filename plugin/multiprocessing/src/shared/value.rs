//! One value.

use super::{Plain, load, store};
use crate::sync::region::{Region, as_descriptor};
use crate::sync::word::Until;
use crate::sync::{Guarded, LockError, LockGuard, Lockable, sealed, take};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// A value that processes share, and a lock beside it.
///
/// [`Shared::get`] and [`Shared::set`] take no lock: a value of four or eight bytes is always whole, a larger one can be a mixture
/// of two if another process writes it at the same time. Who wants a whole one, or reads and then writes, holds the lock;
/// it binds only those that take it.
///
/// It can be a part of any message between processes; clones, and what arrives there, are the same value.
///
/// ```
/// use multiprocessing::Shared;
///
/// let sum = Shared::new([1.5_f64, 2.5])?;
/// let other = sum.clone();
/// other.update(|[left, right]| [left + right, 0.0])?;
/// assert_eq!(sum.get(), [4.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Shared<T> {
    region: Arc<Region>,
    value: PhantomData<fn() -> T>,
}

impl<T: Plain> Shared<T> {
    /// A new value in shared memory.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new(value: T) -> io::Result<Shared<T>> {
        let shared = Shared { region: Region::new(size_of::<T>())?, value: PhantomData };
        shared.set(value);
        Ok(shared)
    }

    /// The value, without regard to the lock.
    pub fn get(&self) -> T {
        load(&self.region, 0).expect("the size was checked when this was made")
    }

    /// Changes the value, without regard to the lock.
    pub fn set(&self, value: T) {
        store(&self.region, 0, &value).expect("the size was checked when this was made");
    }

    /// Takes the lock, replaces the value by what the function makes of it, and returns the old one.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`]: then the function was not called, and the value may be half changed. And as for [`Shared::lock`].
    pub fn update(&self, change: impl FnOnce(T) -> T) -> Result<T, LockError<SharedGuard<T>>> {
        let guard = self.lock()?;
        let before = guard.get();
        guard.set(change(before));
        Ok(before)
    }

    /// Waits for the value's lock, and takes it.
    ///
    /// # Errors
    /// As for [`Lock::lock`](crate::Lock::lock).
    pub fn lock(&self) -> Result<SharedGuard<T>, LockError<SharedGuard<T>>> {
        self.take(Until::EVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// As for [`Lock::try_lock`](crate::Lock::try_lock).
    pub fn try_lock(&self) -> Result<SharedGuard<T>, LockError<SharedGuard<T>>> {
        self.take(Until::Now)
    }

    /// Waits for the lock, but no longer than this.
    ///
    /// # Errors
    /// As for [`Lock::lock_timeout`](crate::Lock::lock_timeout).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<SharedGuard<T>, LockError<SharedGuard<T>>> {
        self.take(Until::after(timeout))
    }

    fn take(&self, until: Until) -> Result<SharedGuard<T>, LockError<SharedGuard<T>>> {
        let of = |guard| SharedGuard { value: self.clone(), guard };
        take(&self.region, until).map(of).map_err(|error| error.map(of))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared { region: Arc::clone(&self.region), value: PhantomData }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.get()).finish()
    }
}

impl<T> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        as_descriptor::serialize(&self.region, serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<T>, D::Error> {
        let region = as_descriptor::deserialize(deserializer)?;
        load::<T>(&region, 0).map_err(D::Error::custom)?;
        Ok(Shared { region, value: PhantomData })
    }
}

/// Holds the lock of a [`Shared`], which it is otherwise.
#[must_use = "the lock is released when the guard is dropped"]
pub struct SharedGuard<T> {
    value: Shared<T>,
    guard: LockGuard,
}

impl<T> Deref for SharedGuard<T> {
    type Target = Shared<T>;

    fn deref(&self) -> &Shared<T> {
        &self.value
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for SharedGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedGuard").field(&self.value.get()).finish()
    }
}

impl<T> sealed::Region for Shared<T> {
    fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl<T> sealed::Region for SharedGuard<T> {
    fn region(&self) -> &Arc<Region> {
        self.guard.region()
    }
}

impl<T> Lockable for Shared<T> {}
impl<T> Guarded for SharedGuard<T> {}
