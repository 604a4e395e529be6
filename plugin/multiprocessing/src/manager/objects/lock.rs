//! Locks and semaphores.

use super::monitor::Monitor;
use super::{VERSION, no_method, proxy_of};
use crate::manager::error::{Failure, ManagerError};
use crate::manager::managed::{Caller, Managed, apply, arguments_of, read};
use crate::manager::{Manager, Proxy};
use serde::Serialize;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::RwLock;
use std::time::Duration;

/// As the manager has it: a lock is a semaphore of one permit.
pub(super) struct Permits(Monitor<State>);

#[derive(Default)]
struct State {
    permits: u64,
    last: u64,
    /// The client that has each permit which is out, by the permit's number.
    holders: HashMap<u64, u64>,
    /// Whether a client has gone with a permit, and nobody was told.
    died: bool,
}

impl Managed for Permits {
    const KIND: &'static str = "permits";
    const SCHEMA: &'static str = VERSION;

    fn create(arguments: &[u8]) -> Result<Permits, Failure> {
        let (permits,): (u64,) = arguments_of(arguments)?;
        Ok(Permits(Monitor::new(State { permits, ..State::default() })))
    }

    fn call(object: &RwLock<Permits>, method: &str, arguments: &[u8], caller: &Caller<'_>) -> Result<Vec<u8>, Failure> {
        let object = read(object);
        let permits = &object.0;
        match method {
            "acquire" => {
                let (timeout,): (Option<Duration>,) = arguments_of(arguments)?;
                let permit = permits.wait(caller, timeout, |state| {
                    (state.permits > state.holders.len() as u64).then(|| {
                        state.last += 1;
                        state.holders.insert(state.last, caller.session());
                        (state.last, std::mem::take(&mut state.died))
                    })
                })?;
                apply(&[], |()| permit)
            }
            "release" => {
                apply(arguments, |(permit,): (u64,)| permits.change(|state| state.holders.remove(&permit).is_some()))
            }
            "available" => {
                apply(arguments, |()| permits.look(|state| state.permits.saturating_sub(state.holders.len() as u64)))
            }
            _ => Err(no_method(method)),
        }
    }

    fn undelivered(&self, method: &str, value: &[u8]) {
        if let ("acquire", Ok(Some((permit, died)))) = (method, arguments_of::<Option<(u64, bool)>>(value)) {
            self.0.change(|state| {
                state.holders.remove(&permit);
                state.died |= died;
            });
        }
    }

    fn left(&self, session: u64) {
        self.0.change(|state| {
            let before = state.holders.len();
            state.holders.retain(|_, holder| *holder != session);
            state.died |= state.holders.len() < before;
        });
    }

    fn stop(&self) {
        self.0.stop();
    }
}

/// What has been acquired; given back when this is dropped, or when this process is gone.
#[derive(Debug)]
pub struct ManagedGuard {
    proxy: Proxy,
    permit: u64,
    owner_died: bool,
}

impl ManagedGuard {
    /// Whether one who had acquired it before has gone without giving it back, and may have left its work half done. It is said once.
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }
}

impl Drop for ManagedGuard {
    fn drop(&mut self) {
        // If the manager is gone, so is the lock.
        let _ = self.proxy.call::<bool>("release", &(self.permit,));
    }
}

/// Acquires one, and waits for it without end.
fn acquire(proxy: &Proxy) -> Result<ManagedGuard, ManagerError> {
    acquire_in_time(proxy, None)?.ok_or(ManagerError::Ended)
}

fn acquire_in_time(proxy: &Proxy, timeout: Option<Duration>) -> Result<Option<ManagedGuard>, ManagerError> {
    let permit: Option<(u64, bool)> = proxy.call("acquire", &(timeout,))?;
    Ok(permit.map(|(permit, owner_died)| ManagedGuard { proxy: proxy.clone(), permit, owner_died }))
}

/// A lock that a [`Manager`] owns: CPython's `SyncManager.Lock`. It is not recursive: who has it and wants it again waits.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey};
/// use multiprocessing::{ManagedLock, ManagedTypes, Manager};
/// use std::time::Duration;
///
/// let manager = Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random()?, ManagedTypes::new())?;
/// let lock = ManagedLock::new(&manager)?;
/// let guard = lock.lock()?;
/// assert!(!guard.owner_died());
/// assert!(lock.lock_timeout(Duration::ZERO)?.is_none(), "it is taken");
/// drop(guard);
/// assert!(lock.lock_timeout(Duration::ZERO)?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedLock {
    proxy: Proxy,
    of: PhantomData<()>,
}

proxy_of!(ManagedLock<> for Permits);

impl ManagedLock {
    /// Makes one.
    ///
    /// # Errors
    /// The manager has ended.
    pub fn new(manager: &Manager) -> Result<Self, ManagerError> {
        Self::make(manager, None, &(1_u64,))
    }

    /// The one of this name, which is made if there is none.
    ///
    /// # Errors
    /// There is an object of another type; or the manager has ended.
    pub fn new_named(manager: &Manager, name: &str) -> Result<Self, ManagerError> {
        Self::make(manager, Some(name), &(1_u64,))
    }

    /// Takes it, and waits as long as somebody else has it.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn lock(&self) -> Result<ManagedGuard, ManagerError> {
        acquire(&self.proxy)
    }

    /// As [`ManagedLock::lock`], but waits no longer than this; nothing if somebody else had it all the time.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ManagedGuard>, ManagerError> {
        acquire_in_time(&self.proxy, Some(timeout))
    }
}

/// A semaphore that a [`Manager`] owns: CPython's `SyncManager.BoundedSemaphore`. There are never more permits than at first.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey};
/// use multiprocessing::{ManagedSemaphore, ManagedTypes, Manager};
///
/// let manager = Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random()?, ManagedTypes::new())?;
/// let semaphore = ManagedSemaphore::new(&manager, 2)?;
/// let permit = semaphore.acquire()?;
/// assert_eq!(semaphore.available()?, 1);
/// drop(permit);
/// assert_eq!(semaphore.available()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedSemaphore {
    proxy: Proxy,
    of: PhantomData<()>,
}

proxy_of!(ManagedSemaphore<> for Permits);

impl ManagedSemaphore {
    /// Makes one with so many permits.
    ///
    /// # Errors
    /// The manager has ended.
    pub fn new(manager: &Manager, permits: u64) -> Result<Self, ManagerError> {
        Self::make(manager, None, &(permits,))
    }

    /// The one of this name, which is made if there is none.
    ///
    /// # Errors
    /// There is an object of another type; or the manager has ended.
    pub fn new_named(manager: &Manager, name: &str, permits: u64) -> Result<Self, ManagerError> {
        Self::make(manager, Some(name), &(permits,))
    }

    /// Takes a permit, and waits as long as all are out.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn acquire(&self) -> Result<ManagedGuard, ManagerError> {
        acquire(&self.proxy)
    }

    /// As [`ManagedSemaphore::acquire`], but waits no longer than this; nothing if all were out.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ManagedGuard>, ManagerError> {
        acquire_in_time(&self.proxy, Some(timeout))
    }

    /// How many permits there are at this moment.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn available(&self) -> Result<u64, ManagerError> {
        self.proxy.call("available", &())
    }
}
