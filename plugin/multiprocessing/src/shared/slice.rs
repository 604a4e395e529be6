//! Many values of a kind.

use super::{Plain, load, store};
use crate::memory::OutOfBounds;
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

/// A fixed number of values that processes share, and a lock beside them.
///
/// Reading and writing take no lock: a value of four or eight bytes is always whole, a larger one can be a mixture
/// of two if another process writes it at the same time. Who wants more than one at the same time to fit together holds the
/// lock; it binds only those that take it.
///
/// It can be a part of any message between processes; clones, and what arrives there, are the same values.
///
/// ```
/// use multiprocessing::SharedSlice;
///
/// let numbers = SharedSlice::from_slice(&[1_u32, 2, 3])?;
/// let guard = numbers.lock()?;
/// guard.set(0, guard.get(1).unwrap_or(0) * 10)?;
/// assert_eq!(guard.to_vec(), [20, 2, 3]);
/// drop(guard);
/// assert_eq!(numbers.get(3), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SharedSlice<T> {
    region: Arc<Region>,
    length: usize,
    value: PhantomData<fn() -> T>,
}

impl<T: Plain> SharedSlice<T> {
    /// So many values, whose bytes are all zero.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new(length: usize) -> io::Result<SharedSlice<T>> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "more shared memory than there are addresses");
        let size = length.checked_mul(size_of::<T>()).ok_or_else(too_large)?;
        Ok(SharedSlice { region: Region::new(size)?, length, value: PhantomData })
    }

    /// These values, copied into shared memory.
    ///
    /// # Errors
    /// As for [`SharedSlice::new`].
    pub fn from_slice(values: &[T]) -> io::Result<SharedSlice<T>> {
        let slice = SharedSlice::new(values.len())?;
        slice.write(0, values).map_err(io::Error::other)?;
        Ok(slice)
    }

    /// The value of this index; `None` if there are not so many.
    pub fn get(&self, index: usize) -> Option<T> {
        let offset = self.offset(index, 1).ok()?;
        load(&self.region, offset).ok()
    }

    /// Changes the value of this index.
    ///
    /// # Errors
    /// There are not so many.
    pub fn set(&self, index: usize, value: T) -> Result<(), OutOfBounds> {
        store(&self.region, self.offset(index, 1)?, &value)
    }

    /// Copies values, from this index on, into `to`.
    ///
    /// # Errors
    /// There are not so many.
    pub fn read(&self, index: usize, to: &mut [T]) -> Result<(), OutOfBounds> {
        let offset = self.offset(index, to.len())?;
        self.region.read(offset, bytemuck::cast_slice_mut(to))
    }

    /// Copies `from` over the values from this index on.
    ///
    /// # Errors
    /// There are not so many.
    pub fn write(&self, index: usize, from: &[T]) -> Result<(), OutOfBounds> {
        let offset = self.offset(index, from.len())?;
        self.region.write(offset, bytemuck::cast_slice(from))
    }

    /// All values, copied.
    pub fn to_vec(&self) -> Vec<T> {
        let mut values = vec![T::zeroed(); self.length];
        self.read(0, &mut values).expect("the size was checked when this was made");
        values
    }

    /// Waits for the lock, and takes it.
    ///
    /// # Errors
    /// As for [`Lock::lock`](crate::Lock::lock).
    pub fn lock(&self) -> Result<SharedSliceGuard<T>, LockError<SharedSliceGuard<T>>> {
        self.take(Until::EVER)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// As for [`Lock::try_lock`](crate::Lock::try_lock).
    pub fn try_lock(&self) -> Result<SharedSliceGuard<T>, LockError<SharedSliceGuard<T>>> {
        self.take(Until::Now)
    }

    /// Waits for the lock, but no longer than this.
    ///
    /// # Errors
    /// As for [`Lock::lock_timeout`](crate::Lock::lock_timeout).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<SharedSliceGuard<T>, LockError<SharedSliceGuard<T>>> {
        self.take(Until::after(timeout))
    }

    fn take(&self, until: Until) -> Result<SharedSliceGuard<T>, LockError<SharedSliceGuard<T>>> {
        let of = |guard| SharedSliceGuard { values: self.clone(), guard };
        take(&self.region, until).map(of).map_err(|error| error.map(of))
    }

    /// Where so many values begin, if they are all inside.
    fn offset(&self, index: usize, count: usize) -> Result<usize, OutOfBounds> {
        if index.checked_add(count).is_some_and(|end| end <= self.length) {
            return Ok(index * size_of::<T>());
        }
        let bytes = |count: usize| count.saturating_mul(size_of::<T>());
        Err(OutOfBounds { offset: bytes(index), length: bytes(count), size: bytes(self.length) })
    }
}

impl<T> SharedSlice<T> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<T> Clone for SharedSlice<T> {
    fn clone(&self) -> SharedSlice<T> {
        SharedSlice { region: Arc::clone(&self.region), length: self.length, value: PhantomData }
    }
}

impl<T> fmt::Debug for SharedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSlice({} values)", self.length)
    }
}

/// A region, beside a length that only the type of the values gives a meaning.
#[derive(Serialize, Deserialize)]
struct Parts {
    length: u64,
    #[serde(with = "as_descriptor")]
    region: Arc<Region>,
}

impl<T> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Parts { length: self.length as u64, region: Arc::clone(&self.region) }.serialize(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedSlice<T>, D::Error> {
        let Parts { length, region } = Parts::deserialize(deserializer)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        region.cells(0, length.saturating_mul(size_of::<T>())).map_err(D::Error::custom)?;
        Ok(SharedSlice { region, length, value: PhantomData })
    }
}

/// Holds the lock of a [`SharedSlice`], which it is otherwise.
#[derive(Debug)]
#[must_use = "the lock is released when the guard is dropped"]
pub struct SharedSliceGuard<T> {
    values: SharedSlice<T>,
    guard: LockGuard,
}

impl<T> Deref for SharedSliceGuard<T> {
    type Target = SharedSlice<T>;

    fn deref(&self) -> &SharedSlice<T> {
        &self.values
    }
}

impl<T> sealed::Region for SharedSlice<T> {
    fn region(&self) -> &Arc<Region> {
        &self.region
    }
}

impl<T> sealed::Region for SharedSliceGuard<T> {
    fn region(&self) -> &Arc<Region> {
        self.guard.region()
    }
}

impl<T> Lockable for SharedSlice<T> {}
impl<T> Guarded for SharedSliceGuard<T> {}
