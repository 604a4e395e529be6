//! A queue.

use super::monitor::Monitor;
use super::{VERSION, length_of, no_method, packed, proxy_of, type_text, unpacked_if_any};
use crate::manager::error::{Failure, ManagerError};
use crate::manager::managed::{Caller, Managed, apply, arguments_of, read};
use crate::manager::{Manager, Proxy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::RwLock;
use std::time::Duration;

/// As the manager has it.
pub(super) struct Queue(Monitor<Items>);

struct Items {
    items: VecDeque<ByteBuf>,
    capacity: Option<usize>,
    /// Put, and not said to be done.
    unfinished: u64,
}

impl Managed for Queue {
    const KIND: &'static str = "queue";
    const SCHEMA: &'static str = VERSION;

    fn create(arguments: &[u8]) -> Result<Queue, Failure> {
        let (capacity,): (Option<usize>,) = arguments_of(arguments)?;
        Ok(Queue(Monitor::new(Items { items: VecDeque::new(), capacity, unfinished: 0 })))
    }

    fn call(queue: &RwLock<Queue>, method: &str, arguments: &[u8], caller: &Caller<'_>) -> Result<Vec<u8>, Failure> {
        let queue = read(queue);
        let queue = &queue.0;
        match method {
            "put" => {
                let (item, timeout): (ByteBuf, Option<Duration>) = arguments_of(arguments)?;
                let mut item = Some(item);
                let put = queue.wait(caller, timeout, |queue| {
                    if queue.capacity.is_some_and(|capacity| queue.items.len() >= capacity.max(1)) {
                        return None;
                    }
                    queue.unfinished += 1;
                    item.take().map(|item| queue.items.push_back(item))
                })?;
                apply(&[], |()| put.is_some())
            }
            "get" => {
                let (timeout,): (Option<Duration>,) = arguments_of(arguments)?;
                let item = queue.wait(caller, timeout, |queue| queue.items.pop_front())?;
                apply(&[], |()| item)
            }
            "len" => apply(arguments, |()| queue.look(|queue| queue.items.len())),
            "task_done" => apply(arguments, |()| {
                queue.change(|queue| {
                    let is_one = queue.unfinished > 0;
                    queue.unfinished -= u64::from(is_one);
                    is_one
                })
            }),
            "join" => {
                let (timeout,): (Option<Duration>,) = arguments_of(arguments)?;
                let joined = queue.wait(caller, timeout, |queue| (queue.unfinished == 0).then_some(()))?;
                apply(&[], |()| joined.is_some())
            }
            _ => Err(no_method(method)),
        }
    }

    fn undelivered(&self, method: &str, value: &[u8]) {
        if let ("get", Ok(Some(item))) = (method, arguments_of::<Option<ByteBuf>>(value)) {
            self.0.change(|queue| queue.items.push_front(item));
        }
    }

    fn stop(&self) {
        self.0.stop();
    }
}

/// A queue that a [`Manager`] owns, for many who put and many who get: CPython's `SyncManager.Queue` and `JoinableQueue`.
///
/// One who is gone, however it went, takes nothing out any more, unless the item had already reached its machine.
///
/// ```
/// use multiprocessing::connection::{Address, AuthKey};
/// use multiprocessing::{ManagedQueue, ManagedTypes, Manager};
/// use std::time::Duration;
///
/// let manager = Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random()?, ManagedTypes::new())?;
/// let queue = ManagedQueue::<String>::new(&manager, Some(1))?;
/// queue.put("work")?;
/// assert!(!queue.put_timeout("more", Duration::ZERO)?, "it is full");
/// assert_eq!(queue.get()?, "work");
/// assert!(!queue.join_timeout(Duration::ZERO)?);
/// assert!(queue.task_done()?);
/// queue.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManagedQueue<T> {
    proxy: Proxy,
    of: PhantomData<fn() -> T>,
}

proxy_of!(ManagedQueue<T> for Queue);
length_of!(ManagedQueue<T>);

impl<T: Serialize + DeserializeOwned> ManagedQueue<T> {
    /// Makes an empty one, for so many items at a time, at least one; `None` is for as many as the manager has memory for.
    ///
    /// # Errors
    /// The manager has ended.
    pub fn new(manager: &Manager, capacity: Option<usize>) -> Result<Self, ManagerError> {
        Self::make(manager, None, &(capacity,))
    }

    /// The one of this name, which is made if there is none.
    ///
    /// # Errors
    /// There is an object of another type; or the manager has ended.
    pub fn new_named(manager: &Manager, name: &str, capacity: Option<usize>) -> Result<Self, ManagerError> {
        Self::make(manager, Some(name), &(capacity,))
    }

    /// Puts an item in, and waits as long as there is no room.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn put<Q: Serialize + ?Sized>(&self, item: &Q) -> Result<(), ManagerError>
    where
        T: Borrow<Q>,
    {
        self.put_in_time(item, None).map(|_| ())
    }

    /// As [`ManagedQueue::put`], but waits no longer than this; whether there was room.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn put_timeout<Q: Serialize + ?Sized>(&self, item: &Q, timeout: Duration) -> Result<bool, ManagerError>
    where
        T: Borrow<Q>,
    {
        self.put_in_time(item, Some(timeout))
    }

    fn put_in_time<Q: Serialize + ?Sized>(&self, item: &Q, timeout: Option<Duration>) -> Result<bool, ManagerError> {
        self.proxy.call("put", &(packed(item)?, timeout))
    }

    /// Takes the oldest item out, and waits as long as there is none.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`]. An item that is of another type is lost.
    pub fn get(&self) -> Result<T, ManagerError> {
        self.get_in_time(None)?.ok_or(ManagerError::Ended)
    }

    /// As [`ManagedQueue::get`], but waits no longer than this; nothing if there was none.
    ///
    /// # Errors
    /// As for [`ManagedQueue::get`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<T>, ManagerError> {
        self.get_in_time(Some(timeout))
    }

    fn get_in_time(&self, timeout: Option<Duration>) -> Result<Option<T>, ManagerError> {
        unpacked_if_any(self.proxy.call("get", &(timeout,))?)
    }

    /// Says that what an item asked for was done. It is false if that was said of all items already.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn task_done(&self) -> Result<bool, ManagerError> {
        self.proxy.call("task_done", &())
    }

    /// Waits until all items that were ever put were said to be done.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn join(&self) -> Result<(), ManagerError> {
        self.join_in_time(None).map(|_| ())
    }

    /// As [`ManagedQueue::join`], but waits no longer than this; whether they were.
    ///
    /// # Errors
    /// As for any call of a manager's object: see [`ManagerError`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ManagerError> {
        self.join_in_time(Some(timeout))
    }

    fn join_in_time(&self, timeout: Option<Duration>) -> Result<bool, ManagerError> {
        self.proxy.call("join", &(timeout,))
    }
}
