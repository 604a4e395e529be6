//! What a manager can own.

use super::error::Failure;
use crate::codec;
use crate::connection::has_ended;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A type whose objects a manager can own: what [`managed!`](crate::managed) makes of a type.
pub trait Managed: Send + Sync + Sized + 'static {
    /// The name by which clients ask for it.
    const KIND: &'static str;
    /// Its methods, with their types. Clients that think otherwise are refused.
    const SCHEMA: &'static str;

    /// Makes an object from the encoded tuple of arguments.
    ///
    /// # Errors
    /// The arguments cannot be decoded.
    fn create(arguments: &[u8]) -> Result<Self, Failure>;

    /// Calls a method. Several threads may do so at the same time.
    ///
    /// # Errors
    /// There is no such method, its arguments cannot be decoded, or its value cannot be encoded.
    fn call(object: &RwLock<Self>, method: &str, arguments: &[u8], caller: &Caller<'_>) -> Result<Vec<u8>, Failure>;

    /// What a method returned did not get to its caller, who is gone.
    fn undelivered(&self, method: &str, value: &[u8]) {
        let _ = (method, value);
    }

    /// A client that held the object is gone.
    fn left(&self, session: u64) {
        let _ = session;
    }

    /// The manager ends: whoever waits in a method is to return.
    fn stop(&self) {}
}

/// Who has called a method.
#[derive(Debug)]
pub struct Caller<'a> {
    pub(super) session: u64,
    pub(super) connection: BorrowedFd<'a>,
}

impl Caller<'_> {
    /// The number of the client; no two have the same.
    pub fn session(&self) -> u64 {
        self.session
    }

    /// Whether nobody waits for what the method returns.
    pub fn is_gone(&self) -> bool {
        has_ended(self.connection)
    }
}

/// Decodes a method's arguments and hands them over; encodes what it returns.
///
/// # Errors
/// Either cannot be done.
#[doc(hidden)]
pub fn apply<A: DeserializeOwned, V: Serialize>(
    arguments: &[u8],
    method: impl FnOnce(A) -> V,
) -> Result<Vec<u8>, Failure> {
    let value = method(arguments_of(arguments)?);
    codec::encode_plain(&value).map_err(|error| Failure::Codec(error.to_string()))
}

/// Decodes the tuple of arguments.
///
/// # Errors
/// It is another tuple.
#[doc(hidden)]
pub fn arguments_of<A: DeserializeOwned>(arguments: &[u8]) -> Result<A, Failure> {
    codec::decode(arguments, Vec::new()).map_err(|error| Failure::Codec(error.to_string()))
}

/// An object for its methods of `&self`, also after a panic.
#[doc(hidden)]
pub fn read<T>(object: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    object.read().unwrap_or_else(PoisonError::into_inner)
}

/// An object for its methods of `&mut self`, also after a panic.
#[doc(hidden)]
pub fn write<T>(object: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    object.write().unwrap_or_else(PoisonError::into_inner)
}

/// An object of any type. A panic in one of these is its failure.
pub(super) trait Object: Send + Sync {
    fn call(&self, method: &str, arguments: &[u8], caller: &Caller<'_>) -> Result<Vec<u8>, Failure>;
    fn undelivered(&self, method: &str, value: &[u8]);
    fn left(&self, session: u64);
    fn stop(&self);
}

impl<T: Managed> Object for RwLock<T> {
    fn call(&self, method: &str, arguments: &[u8], caller: &Caller<'_>) -> Result<Vec<u8>, Failure> {
        caught(|| T::call(self, method, arguments, caller))
    }

    fn undelivered(&self, method: &str, value: &[u8]) {
        self.tell(|object| object.undelivered(method, value));
    }

    fn left(&self, session: u64) {
        self.tell(|object| object.left(session));
    }

    fn stop(&self) {
        self.tell(T::stop);
    }
}

/// Tells an object something that must not wait: one that is being changed hears nothing, and has nobody who waits in it.
trait Tell<T> {
    fn tell(&self, what: impl FnOnce(&T));
}

impl<T> Tell<T> for RwLock<T> {
    fn tell(&self, what: impl FnOnce(&T)) {
        let object = match self.try_read() {
            Ok(object) => object,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return,
        };
        let _ = caught(|| {
            what(&object);
            Ok(())
        });
    }
}

/// A panic as a failure.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        // What it holds may panic when it is dropped.
        std::mem::forget(panic);
        Err(Failure::Panicked(crate::bounded(text.unwrap_or_else(|| "no message".into()), 4096)))
    })
}

type Create = fn(&[u8]) -> Result<Arc<dyn Object>, Failure>;

/// Types that a manager knows, beside those that every manager knows.
///
/// ```
/// use multiprocessing::ManagedTypes;
///
/// struct Counter(u64);
///
/// impl Counter {
///     fn new(start: u64) -> Counter {
///         Counter(start)
///     }
///
///     fn add(&mut self, by: u64) -> u64 {
///         self.0 += by;
///         self.0
///     }
/// }
///
/// multiprocessing::managed! {
///     /// A counter of a manager.
///     struct CounterProxy for Counter {
///         fn new(start: u64) -> Self;
///         fn add(&mut self, by: u64) -> u64;
///     }
/// }
///
/// let types = ManagedTypes::new().add::<Counter>();
/// assert!(format!("{types:?}").contains("Counter"));
/// # let _ = CounterProxy::add;
/// ```
#[derive(Clone)]
pub struct ManagedTypes(HashMap<&'static str, (&'static str, Create)>);

impl ManagedTypes {
    /// Those that every manager knows: dictionaries, lists, values, queues, locks, semaphores, events.
    pub fn new() -> ManagedTypes {
        super::objects::add_all(ManagedTypes(HashMap::new()))
    }

    /// Adds a type. A later one of the same name takes its place.
    #[must_use]
    pub fn add<T: Managed>(mut self) -> ManagedTypes {
        let create: Create = |arguments| Ok(Arc::new(RwLock::new(T::create(arguments)?)));
        self.0.insert(T::KIND, (T::SCHEMA, create));
        self
    }

    pub(super) fn create(&self, kind: &str, schema: &str, arguments: &[u8]) -> Result<Arc<dyn Object>, Failure> {
        match self.0.get(kind) {
            Some((known, create)) if *known == schema => caught(|| create(arguments)),
            _ => Err(Failure::NoType(crate::bounded(kind.to_owned(), 256))),
        }
    }
}

impl Default for ManagedTypes {
    fn default() -> ManagedTypes {
        ManagedTypes::new()
    }
}

impl fmt::Debug for ManagedTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManagedTypes").field(&self.0.keys()).finish()
    }
}
