//! Managers: processes that own objects, which others use through proxies.
//!
//! A [`Manager`] is CPython's `BaseManager` and `SyncManager`: its objects can be used from any process, on this machine and on
//! others, that has its address and its key. What it owns is:
//!
//! - objects of your own types, which [`managed!`](crate::managed) makes manageable;
//! - ready-made: [`ManagedDict`], [`ManagedList`], [`ManagedValue`], [`ManagedQueue`] (also joinable), [`ManagedLock`],
//!   [`ManagedSemaphore`], [`ManagedEvent`]. Of `SyncManager`'s, `Namespace` is a [`ManagedDict`] or a type of your own, and
//!   `Array` is a [`ManagedList`]. Conditions, barriers and recursive locks it does not have.
//!
//! Each call is a message to the manager and one back. Between processes of one machine the library's types in shared memory do
//! the same without a third process, and much faster; a manager is for what they cannot do: other machines, values of
//! any size and shape, and logic of your own.
//!
//! # What happens when somebody dies
//!
//! - A client that is gone, however it went, lets go of what it held: its references, its locks, its place in a queue. What
//!   was just on its way to it from a [`ManagedQueue`] goes back into it.
//! - When the manager is gone, each call, also one that is waiting, returns [`ManagerError::Ended`] at once.
//! - A manager that was started as a process ends with whoever started it.

mod error;
mod handle;
mod link;
mod macros;
mod managed;
mod objects;
pub mod protocol;
mod proxy;
mod server;

pub use error::{Failure, ManagerError};
pub use handle::Manager;
pub use managed::{Caller, Managed, ManagedTypes};
#[doc(hidden)]
pub use managed::{apply, arguments_of, read, write};
pub use objects::{
    ManagedDict, ManagedEvent, ManagedGuard, ManagedList, ManagedLock, ManagedQueue, ManagedSemaphore, ManagedValue,
};
pub use proxy::Proxy;
/// For what the macro makes.
#[doc(hidden)]
pub use serde;
pub(crate) use server::process::{SERVER, Serving};
