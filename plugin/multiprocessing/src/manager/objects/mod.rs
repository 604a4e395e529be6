//! The objects that every manager can make. It keeps what they hold in its encoded form, so it needs to know no types.

mod dict;
mod event;
mod list;
mod lock;
mod monitor;
mod queue;
mod value;

pub use dict::ManagedDict;
pub use event::ManagedEvent;
pub use list::ManagedList;
pub use lock::{ManagedGuard, ManagedLock, ManagedSemaphore};
pub use queue::ManagedQueue;
pub use value::ManagedValue;

use super::error::{Failure, ManagerError};
use super::managed::ManagedTypes;
use crate::codec::{CodecError, decode, encode_plain};
use crate::schema::without_modules;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

pub(super) fn add_all(types: ManagedTypes) -> ManagedTypes {
    types
        .add::<dict::Dict>()
        .add::<list::List>()
        .add::<value::Value>()
        .add::<queue::Queue>()
        .add::<lock::Permits>()
        .add::<event::Event>()
}

/// For the schema of these types: they change with the library only.
const VERSION: &str = concat!("multiprocessing ", env!("CARGO_PKG_VERSION"));

/// A type's name, wherever it is defined: its source may be a part of several programs.
fn type_text<T>() -> String {
    String::from_utf8_lossy(&without_modules(std::any::type_name::<T>()).collect::<Vec<u8>>()).into_owned()
}

fn no_method(method: &str) -> Failure {
    Failure::NoMethod(crate::bounded(method.to_owned(), 256))
}

fn packed<T: Serialize + ?Sized>(value: &T) -> Result<ByteBuf, CodecError> {
    encode_plain(value).map(ByteBuf::from)
}

fn unpacked<T: DeserializeOwned>(bytes: &ByteBuf) -> Result<T, ManagerError> {
    Ok(decode(bytes, Vec::new())?)
}

fn unpacked_if_any<T: DeserializeOwned>(bytes: Option<ByteBuf>) -> Result<Option<T>, ManagerError> {
    bytes.as_ref().map(unpacked).transpose()
}

/// What all of these proxies have: they can be cloned, shown, and sent to other processes; and they find the one of a name.
macro_rules! proxy_of {
    ($name:ident<$($parameter:ident),*> for $object:ty) => {
        impl<$($parameter),*> $name<$($parameter),*> {
            fn over(proxy: Proxy) -> Self {
                $name { proxy, of: PhantomData }
            }

            /// What it is of, so that one by the name of another is refused.
            fn parameters() -> String {
                <[String]>::join(&[$(type_text::<$parameter>()),*], ", ")
            }

            /// The manager's object of this name.
            ///
            /// # Errors
            /// There is none, or it is of another type; or the manager has ended.
            pub fn named(manager: &Manager, name: &str) -> Result<Self, ManagerError> {
                Proxy::find::<$object>(manager, name, &Self::parameters()).map(Self::over)
            }

            fn make(manager: &Manager, name: Option<&str>, arguments: &impl Serialize) -> Result<Self, ManagerError> {
                Proxy::create::<$object>(manager, name, &Self::parameters(), arguments).map(Self::over)
            }
        }

        impl<$($parameter),*> Clone for $name<$($parameter),*> {
            fn clone(&self) -> Self {
                Self::over(self.proxy.clone())
            }
        }

        impl<$($parameter),*> std::fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.proxy)
            }
        }

        impl<$($parameter),*> Serialize for $name<$($parameter),*> {
            fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                self.proxy.serialize(serializer)
            }
        }

        impl<'de, $($parameter),*> serde::Deserialize<'de> for $name<$($parameter),*> {
            fn deserialize<Z: serde::Deserializer<'de>>(deserializer: Z) -> Result<Self, Z::Error> {
                serde::Deserialize::deserialize(deserializer).map(Self::over)
            }
        }
    };
}
use proxy_of;

/// How much is in an object.
macro_rules! length_of {
    ($name:ident<$($parameter:ident),*>) => {
        impl<$($parameter),*> $name<$($parameter),*> {
            /// How much it holds at this moment.
            ///
            /// # Errors
            /// As for any call of a manager's object: see [`ManagerError`].
            pub fn len(&self) -> Result<usize, ManagerError> {
                self.proxy.call("len", &())
            }

            /// Whether it holds nothing at this moment.
            ///
            /// # Errors
            /// As for any call of a manager's object: see [`ManagerError`].
            pub fn is_empty(&self) -> Result<bool, ManagerError> {
                Ok(self.len()? == 0)
            }
        }
    };
}
use length_of;

/// An object that can be emptied.
macro_rules! clear_of {
    ($name:ident<$($parameter:ident),*>) => {
        impl<$($parameter),*> $name<$($parameter),*> {
            /// Removes everything.
            ///
            /// # Errors
            /// As for any call of a manager's object: see [`ManagerError`].
            pub fn clear(&self) -> Result<(), ManagerError> {
                self.proxy.call("clear", &())
            }
        }
    };
}
use clear_of;
