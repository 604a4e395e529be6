//! A list.

use super::{VERSION, clear_of, length_of, no_method, packed, proxy_of, type_text, unpacked, unpacked_if_any};
use crate::manager::error::{Failure, ManagerError};
use crate::manager::managed::{Caller, Managed, apply, read, write};
use crate::manager::{Manager, Proxy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::marker::PhantomData;
use std::sync::RwLock;

/// As the manager has it.
#[derive(Default)]
pub(super) struct List(Vec<ByteBuf>);

impl Managed for List {
    const KIND: &'static str = "list";
    const SCHEMA: &'static str = VERSION;

    fn create(_: &[u8]) -> Result<List, Failure> {
        Ok(List::default())
    }

    fn call(list: &RwLock<List>, method: &str, arguments: &[u8], _: &Caller<'_>) -> Result<Vec<u8>, Failure> {
        match method {
            "get" => apply(arguments, |(index,): (usize,)| read(list).0.get(index).cloned()),
            "set" => apply(arguments, |(index, value): (usize, ByteBuf)| {
                write(list).0.get_mut(index).map(|place| std::mem::replace(place, value))
            }),
            "push" => apply(arguments, |(value,): (ByteBuf,)| {
                let list = &mut write(list).0;
                list.push(value);
                list.len() - 1
            }),
            "extend" => apply(arguments, |(values,): (Vec<ByteBuf>,)| write(list).0.extend(values)),
            "pop" => apply(arguments, |()| write(list).0.pop()),
            "insert" => apply(arguments, |(index, value): (usize, ByteBuf)| {
                let list = &mut write(list).0;
                let index = index.min(list.len());
                list.insert(index, value);
            }),
            "remove" => apply(arguments, |(index,): (usize,)| {
                let list = &mut write(list).0;
                (index < list.len()).then(|| list.remove(index))
            }),
            "len" => apply(arguments, |()| read(list).0.len()),
            "clear" => apply(arguments, |()| write(list).0.clear()),
            "all" => apply(arguments, |()| read(list).0.clone()),
            _ => Err(no_method(method)),
        }
    }
}

/// A list that a [`Manager`] owns: CPython's `SyncManager.list`.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey};
/// use multiprocessing::{ManagedList, ManagedTypes, Manager};
///
/// let manager = Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random()?, ManagedTypes::new())?;
/// let list = ManagedList::<String>::new(&manager)?;
/// assert_eq!(list.push(&"one".into())?, 0);
/// list.extend(&["two".into(), "three".into()])?;
/// assert_eq!(list.set(0, &"first".into())?, Some("one".into()));
/// assert_eq!(list.pop()?, Some("three".into()));
/// assert_eq!(list.to_vec()?, ["first", "two"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedList<T> {
    proxy: Proxy,
    of: PhantomData<fn() -> T>,
}

proxy_of!(ManagedList<T> for List);
length_of!(ManagedList<T>);
clear_of!(ManagedList<T>);

impl<T: Serialize + DeserializeOwned> ManagedList<T> {
    /// Makes an empty one.
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

    /// What is at an index; nothing beyond the end.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn get(&self, index: usize) -> Result<Option<T>, ManagerError> {
        unpacked_if_any(self.proxy.call("get", &(index,))?)
    }

    /// Sets what is at an index, and gives what was there; beyond the end it changes nothing and gives nothing.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn set(&self, index: usize, value: &T) -> Result<Option<T>, ManagerError> {
        unpacked_if_any(self.proxy.call("set", &(index, packed(value)?))?)
    }

    /// Adds at the end; gives its index.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn push(&self, value: &T) -> Result<usize, ManagerError> {
        self.proxy.call("push", &(packed(value)?,))
    }

    /// Adds many at the end, next to one another.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn extend<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> Result<(), ManagerError>
    where
        T: 'a,
    {
        let values = values.into_iter().map(packed).collect::<Result<Vec<_>, _>>()?;
        self.proxy.call("extend", &(values,))
    }

    /// Takes the last away; nothing if it is empty.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn pop(&self) -> Result<Option<T>, ManagerError> {
        unpacked_if_any(self.proxy.call("pop", &())?)
    }

    /// Puts one before an index; at the end if that is beyond it.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn insert(&self, index: usize, value: &T) -> Result<(), ManagerError> {
        self.proxy.call("insert", &(index, packed(value)?))
    }

    /// Takes away what is at an index; nothing beyond the end.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn remove(&self, index: usize) -> Result<Option<T>, ManagerError> {
        unpacked_if_any(self.proxy.call("remove", &(index,))?)
    }

    /// All of it, as it is at one moment.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn to_vec(&self) -> Result<Vec<T>, ManagerError> {
        self.proxy.call::<Vec<ByteBuf>>("all", &())?.iter().map(unpacked).collect()
    }
}
