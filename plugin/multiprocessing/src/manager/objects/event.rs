//! An event.

use super::monitor::Monitor;
use super::{VERSION, no_method, proxy_of};
use crate::manager::error::{Failure, ManagerError};
use crate::manager::managed::{Caller, Managed, apply, arguments_of, read};
use crate::manager::{Manager, Proxy};
use serde::Serialize;
use std::marker::PhantomData;
use std::sync::RwLock;
use std::time::Duration;

/// As the manager has it.
pub(super) struct Event(Monitor<bool>);

impl Managed for Event {
    const KIND: &'static str = "event";
    const SCHEMA: &'static str = VERSION;

    fn create(_: &[u8]) -> Result<Event, Failure> {
        Ok(Event(Monitor::new(false)))
    }

    fn call(event: &RwLock<Event>, method: &str, arguments: &[u8], caller: &Caller<'_>) -> Result<Vec<u8>, Failure> {
        let event = read(event);
        match method {
            "set" => apply(arguments, |(to,): (bool,)| event.0.change(|is_set| *is_set = to)),
            "is_set" => apply(arguments, |()| event.0.look(|is_set| *is_set)),
            "wait" => {
                let (timeout,): (Option<Duration>,) = arguments_of(arguments)?;
                let set = event.0.wait(caller, timeout, |is_set| is_set.then_some(()))?;
                apply(&[], |()| set.is_some())
            }
            _ => Err(no_method(method)),
        }
    }

    fn stop(&self) {
        self.0.stop();
    }
}

/// An event that a [`Manager`] owns: CPython's `SyncManager.Event`.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey};
/// use multiprocessing::{ManagedEvent, ManagedTypes, Manager};
/// use std::time::Duration;
///
/// let manager = Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random()?, ManagedTypes::new())?;
/// let event = ManagedEvent::new(&manager)?;
/// assert!(!event.wait_timeout(Duration::ZERO)?);
/// event.set()?;
/// event.wait()?;
/// assert!(event.is_set()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedEvent {
    proxy: Proxy,
    of: PhantomData<()>,
}

proxy_of!(ManagedEvent<> for Event);

impl ManagedEvent {
    /// Makes one that is not set.
    ///
    /// # Errors
    /// The manager has ended.
    pub fn new(manager: &Manager) -> Result<Self, ManagerError> {
        Self::make(manager, None, &())
    }

    /// The one of this name, which is made if there is none.
    ///
    /// # Errors
    /// There is an object of another type; or the manager has ended.
    pub fn new_named(manager: &Manager, name: &str) -> Result<Self, ManagerError> {
        Self::make(manager, Some(name), &())
    }

    /// Sets it: all who wait return.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn set(&self) -> Result<(), ManagerError> {
        self.proxy.call("set", &(true,))
    }

    /// Takes it back.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.proxy.call("set", &(false,))
    }

    /// Whether it is set at this moment.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn is_set(&self) -> Result<bool, ManagerError> {
        self.proxy.call("is_set", &())
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn wait(&self) -> Result<(), ManagerError> {
        self.await_set(None).map(|_| ())
    }

    /// As [`ManagedEvent::wait`], but waits no longer than this; whether it was set.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.await_set(Some(timeout))
    }

    fn await_set(&self, timeout: Option<Duration>) -> Result<bool, ManagerError> {
        self.proxy.call("wait", &(timeout,))
    }
}
