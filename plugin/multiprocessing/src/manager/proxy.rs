//! What stands for an object elsewhere.

use super::Manager;
use super::error::ManagerError;
use super::link::{self, Link};
use super::managed::Managed;
use super::protocol::{Request, Wanted};
use crate::codec::{Descriptor, encode_plain};
use crate::connection::{Address, AuthKey, Connection};
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// An object of a manager, as seen from anywhere: what the types that [`managed!`](crate::managed) makes are made of.
///
/// A clone stands for the same object. So does what comes out at the other side of a message to another process of this machine: it has a
/// connection of its own to the manager, which is made, and bound to the object, before the message is sent, and travels
/// with it. The manager's key travels with it, too. A process that is gone holds nothing any more, however it went.
///
/// Calls wait for the method, and return an error as soon as the manager has ended.
#[derive(Clone)]
pub struct Proxy(Arc<Held>);

/// An object that this process holds, once.
struct Held {
    link: Arc<Link>,
    object: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.link.release(self.object);
    }
}

impl Proxy {
    /// Makes an object of a type from the tuple of its arguments; with a name only if none has it. `parameters` says of what it is, if it is a
    /// container.
    ///
    /// # Errors
    /// The manager does not know the type, or has another object of this name, or has ended; or making the object panics.
    pub fn create<T: Managed>(
        manager: &Manager,
        name: Option<&str>,
        parameters: &str,
        arguments: &impl Serialize,
    ) -> Result<Proxy, ManagerError> {
        let arguments = encode_plain(arguments)?;
        let request = Request::Create { wanted: wanted::<T>(parameters), name, arguments: &arguments };
        Proxy::asked(manager, &request)
    }

    /// Finds the object of this name.
    ///
    /// # Errors
    /// There is none, or it is of another type; or the manager has ended.
    pub fn find<T: Managed>(manager: &Manager, name: &str, parameters: &str) -> Result<Proxy, ManagerError> {
        Proxy::asked(manager, &Request::Find { wanted: wanted::<T>(parameters), name })
    }

    fn asked(manager: &Manager, request: &Request<'_>) -> Result<Proxy, ManagerError> {
        let link = Arc::clone(manager.link());
        let object = link::number(link.ask(request)?)?;
        Ok(Proxy(Arc::new(Held { link, object })))
    }

    /// Calls a method with the tuple of its arguments, and waits for its value.
    ///
    /// # Errors
    /// The method panics or does not exist, arguments or value cannot be encoded or decoded, or the manager has ended.
    pub fn call<V: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &(impl Serialize + ?Sized),
    ) -> Result<V, ManagerError> {
        link::value(&self.0.link.call(self.0.object, method, arguments)?)
    }

    /// Whether both stand for the same object.
    pub fn is_same(&self, other: &Proxy) -> bool {
        self.0.object == other.0.object && self.0.link.address() == other.0.link.address()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy(object {} of {})", self.0.object, self.0.link.address())
    }
}

fn wanted<T: Managed>(parameters: &str) -> Wanted<'_> {
    Wanted { kind: T::KIND, schema: T::SCHEMA, parameters }
}

/// A link as a part of a message. It is with the descriptor that it becomes one that cannot leave the machine.
#[derive(Serialize, Deserialize)]
struct Travelling {
    lifeline: Descriptor,
    session: u64,
    object: Option<u64>,
    address: Address,
    #[serde(with = "serde_bytes")]
    key: Zeroed,
}

/// A key on its way.
struct Zeroed(Zeroizing<Vec<u8>>);

impl serde_bytes::Serialize for Zeroed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde_bytes::Deserialize<'de> for Zeroed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Zeroed, D::Error> {
        let bytes: Vec<u8> = serde_bytes::Deserialize::deserialize(deserializer)?;
        Ok(Zeroed(Zeroizing::new(bytes)))
    }
}

pub(super) fn serialize_link<S: Serializer>(
    link: &Link,
    object: Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let (lifeline, session) = link.branch(object).map_err(S::Error::custom)?;
    let travelling = Travelling {
        lifeline: Descriptor::from(lifeline),
        session,
        object,
        address: link.address().clone(),
        key: Zeroed(Zeroizing::new(link.key().as_bytes().to_vec())),
    };
    travelling.serialize(serializer)
}

pub(super) fn deserialize_link<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(Arc<Link>, Option<u64>), D::Error> {
    let Travelling { lifeline, session, object, address, key } = Travelling::deserialize(deserializer)?;
    let lifeline = Connection::from_stream(lifeline.into_inner()).map_err(D::Error::custom)?;
    let link = Link::adopt(address, AuthKey::from(&key.0[..]), lifeline, session, object);
    Ok((link.map_err(D::Error::custom)?, object))
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_link(&self.0.link, Some(self.0.object), serializer)
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Proxy, D::Error> {
        match deserialize_link(deserializer)? {
            (link, Some(object)) => Ok(Proxy(Arc::new(Held { link, object }))),
            (_, None) => Err(D::Error::custom("a manager where one of its objects was expected")),
        }
    }
}
