//! One value.

use super::{VERSION, no_method, packed, proxy_of, type_text, unpacked};
use crate::manager::error::{Failure, ManagerError};
use crate::manager::managed::{Caller, Managed, apply, arguments_of, read, write};
use crate::manager::{Manager, Proxy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::marker::PhantomData;
use std::sync::RwLock;

/// As the manager has it.
pub(super) struct Value(ByteBuf);

impl Managed for Value {
    const KIND: &'static str = "value";
    const SCHEMA: &'static str = VERSION;

    fn create(arguments: &[u8]) -> Result<Value, Failure> {
        arguments_of(arguments).map(|(value,)| Value(value))
    }

    fn call(object: &RwLock<Value>, method: &str, arguments: &[u8], _: &Caller<'_>) -> Result<Vec<u8>, Failure> {
        match method {
            "get" => apply(arguments, |()| read(object).0.clone()),
            "set" => apply(arguments, |(value,): (ByteBuf,)| write(object).0 = value),
            "swap" => apply(arguments, |(value,): (ByteBuf,)| std::mem::replace(&mut write(object).0, value)),
            "replace" => apply(arguments, |(old, new): (ByteBuf, ByteBuf)| {
                let value = &mut write(object).0;
                let as_expected = *value == old;
                if as_expected {
                    *value = new;
                }
                as_expected
            }),
            _ => Err(no_method(method)),
        }
    }
}

/// A value that a [`Manager`] owns: CPython's `SyncManager.Value`, of any type.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey};
/// use multiprocessing::{ManagedTypes, ManagedValue, Manager};
///
/// let manager = Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random()?, ManagedTypes::new())?;
/// let total = ManagedValue::new(&manager, &40_u64)?;
/// assert_eq!(total.update(|total| total + 2)?, 42);
/// assert_eq!(total.get()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedValue<T> {
    proxy: Proxy,
    of: PhantomData<fn() -> T>,
}

proxy_of!(ManagedValue<T> for Value);

impl<T: Serialize + DeserializeOwned> ManagedValue<T> {
    /// Makes one.
    ///
    /// # Errors
    /// The value cannot be encoded; or the manager has ended.
    pub fn new(manager: &Manager, value: &T) -> Result<Self, ManagerError> {
        Self::make(manager, None, &(packed(value)?,))
    }

    /// The one of this name, which is made, with this value, if there is none.
    ///
    /// # Errors
    /// There is an object of another type; the value cannot be encoded; or the manager has ended.
    pub fn new_named(manager: &Manager, name: &str, value: &T) -> Result<Self, ManagerError> {
        Self::make(manager, Some(name), &(packed(value)?,))
    }

    /// What it is.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn get(&self) -> Result<T, ManagerError> {
        unpacked(&self.proxy.call("get", &())?)
    }

    /// Sets it.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn set(&self, value: &T) -> Result<(), ManagerError> {
        self.proxy.call("set", &(packed(value)?,))
    }

    /// Sets it; gives what it was.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn swap(&self, value: &T) -> Result<T, ManagerError> {
        unpacked(&self.proxy.call("swap", &(packed(value)?,))?)
    }

    /// Sets it to what `change` makes of it, and gives that. If somebody else changes it in between, `change` is called once more
    /// with what it is then.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> Result<T, ManagerError> {
        loop {
            let old: ByteBuf = self.proxy.call("get", &())?;
            let new = change(unpacked(&old)?);
            if self.proxy.call("replace", &(old, packed(&new)?))? {
                return Ok(new);
            }
        }
    }
}
