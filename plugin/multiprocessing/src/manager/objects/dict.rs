//! A dictionary.

use super::{VERSION, clear_of, length_of, no_method, packed, proxy_of, type_text, unpacked, unpacked_if_any};
use crate::manager::error::{Failure, ManagerError};
use crate::manager::managed::{Caller, Managed, apply, read, write};
use crate::manager::{Manager, Proxy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::RwLock;

/// As the manager has it: two keys are the same if they are encoded alike.
#[derive(Default)]
pub(super) struct Dict(HashMap<ByteBuf, ByteBuf>);

impl Managed for Dict {
    const KIND: &'static str = "dict";
    const SCHEMA: &'static str = VERSION;

    fn create(_: &[u8]) -> Result<Dict, Failure> {
        Ok(Dict::default())
    }

    fn call(dict: &RwLock<Dict>, method: &str, arguments: &[u8], _: &Caller<'_>) -> Result<Vec<u8>, Failure> {
        match method {
            "get" => apply(arguments, |(key,): (ByteBuf,)| read(dict).0.get(&key).cloned()),
            "contains" => apply(arguments, |(key,): (ByteBuf,)| read(dict).0.contains_key(&key)),
            "insert" => apply(arguments, |(key, value): (ByteBuf, ByteBuf)| write(dict).0.insert(key, value)),
            "get_or_insert" => {
                apply(arguments, |(key, value): (ByteBuf, ByteBuf)| write(dict).0.entry(key).or_insert(value).clone())
            }
            "replace" => apply(arguments, |(key, old, new): (ByteBuf, Option<ByteBuf>, ByteBuf)| {
                let dict = &mut write(dict).0;
                let as_expected = dict.get(&key) == old.as_ref();
                if as_expected {
                    dict.insert(key, new);
                }
                as_expected
            }),
            "remove" => apply(arguments, |(key,): (ByteBuf,)| write(dict).0.remove(&key)),
            "extend" => apply(arguments, |(items,): (Vec<(ByteBuf, ByteBuf)>,)| write(dict).0.extend(items)),
            "len" => apply(arguments, |()| read(dict).0.len() as u64),
            "clear" => apply(arguments, |()| write(dict).0.clear()),
            "keys" => apply(arguments, |()| read(dict).0.keys().cloned().collect::<Vec<_>>()),
            "items" => apply(arguments, |()| read(dict).0.clone().into_iter().collect::<Vec<_>>()),
            _ => Err(no_method(method)),
        }
    }
}

/// A dictionary that a [`Manager`] owns: CPython's `SyncManager.dict`. Its order is none.
///
/// Keys are the same if they are encoded alike. A key may be given as whatever it borrows as: `&str` for a `String`.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey};
/// use multiprocessing::{ManagedDict, ManagedTypes, Manager};
///
/// let manager = Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random()?, ManagedTypes::new())?;
/// let ages = ManagedDict::<String, u32>::new(&manager)?;
/// assert_eq!(ages.insert("Ada", &36)?, None);
/// assert_eq!(ages.insert("Ada", &37)?, Some(36));
/// assert!(ages.replace("Ada", Some(&37), &38)?, "nobody has changed it in between");
/// assert_eq!(ages.get("Ada")?, Some(38));
/// assert_eq!(ages.items()?, [("Ada".to_owned(), 38)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedDict<K, V> {
    proxy: Proxy,
    of: PhantomData<fn() -> (K, V)>,
}

proxy_of!(ManagedDict<K, V> for Dict);
length_of!(ManagedDict<K, V>);
clear_of!(ManagedDict<K, V>);

impl<K: Serialize + DeserializeOwned, V: Serialize + DeserializeOwned> ManagedDict<K, V> {
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

    /// The value of a key.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        unpacked_if_any(self.proxy.call("get", &(packed(key)?,))?)
    }

    /// Whether it has a key.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn contains_key<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        self.proxy.call("contains", &(packed(key)?,))
    }

    /// Sets the value of a key; gives the one that it had.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn insert<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        unpacked_if_any(self.proxy.call("insert", &(packed(key)?, packed(value)?))?)
    }

    /// The value of a key, which is this one if it had none: CPython's `setdefault`.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn get_or_insert<Q: Serialize + ?Sized>(&self, key: &Q, value: &V) -> Result<V, ManagerError>
    where
        K: Borrow<Q>,
    {
        unpacked(&self.proxy.call("get_or_insert", &(packed(key)?, packed(value)?))?)
    }

    /// Sets the value of a key if it still is what is expected, where `None` is that it has none; whether it was.
    /// Repeated with what [`get`](ManagedDict::get) gives, this changes a value by what it was.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn replace<Q: Serialize + ?Sized>(&self, key: &Q, expected: Option<&V>, value: &V) -> Result<bool, ManagerError>
    where
        K: Borrow<Q>,
    {
        let expected = expected.map(packed).transpose()?;
        self.proxy.call("replace", &(packed(key)?, expected, packed(value)?))
    }

    /// Removes a key; gives its value.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn remove<Q: Serialize + ?Sized>(&self, key: &Q) -> Result<Option<V>, ManagerError>
    where
        K: Borrow<Q>,
    {
        unpacked_if_any(self.proxy.call("remove", &(packed(key)?,))?)
    }

    /// Sets many at once.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn extend<'a>(&self, items: impl IntoIterator<Item = (&'a K, &'a V)>) -> Result<(), ManagerError>
    where
        K: 'a,
        V: 'a,
    {
        let items = items.into_iter().map(|(key, value)| Ok((packed(key)?, packed(value)?)));
        self.proxy.call("extend", &(items.collect::<Result<Vec<_>, ManagerError>>()?,))
    }

    /// All keys, as they are at one moment.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn keys(&self) -> Result<Vec<K>, ManagerError> {
        self.proxy.call::<Vec<ByteBuf>>("keys", &())?.iter().map(unpacked).collect()
    }

    /// All keys with their values, as they are at one moment.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn items(&self) -> Result<Vec<(K, V)>, ManagerError> {
        let items = self.proxy.call::<Vec<(ByteBuf, ByteBuf)>>("items", &())?;
        items.iter().map(|(key, value)| Ok((unpacked(key)?, unpacked(value)?))).collect()
    }
}
