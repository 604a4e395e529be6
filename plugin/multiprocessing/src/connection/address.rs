//! Where a program listens.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a listener is, or is to be.
///
/// As text it is `HOST:PORT` (`[::1]:7000` for IPv6), a path that has a `/` in it, or `@NAME`.
///
/// ```
/// use multiprocessing::connection::Address;
///
/// let address: Address = "localhost:7000".parse()?;
/// assert_eq!(address, Address::Tcp { host: "localhost".into(), port: 7000 });
/// assert_eq!("./socket".parse::<Address>()?, Address::Unix("./socket".into()));
/// assert_eq!("@name".parse::<Address>()?.to_string(), "@name");
/// assert!("localhost".parse::<Address>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// Its number; to listen at 0 is to listen wherever there is one free.
        port: u16,
    },
    /// A socket with a name in the file system, which its listener makes and removes.
    Unix(PathBuf),
    /// A socket with a name that only Linux knows of, and forgets with the listener. Any process of the same network
    /// namespace can connect to it, so it needs a key. To listen at an empty name is to get one that is free.
    Abstract(Vec<u8>),
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address: give HOST:PORT, a path with a '/', or @NAME")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let error = || AddressError(text.to_owned());
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Address::Abstract(name.into()));
        }
        if text.contains('/') {
            return Ok(Address::Unix(text.into()));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let port = port.parse().map_err(|_| error())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host,
            None if host.contains([':', '[', ']']) => return Err(error()),
            None => host,
        };
        if host.is_empty() { Err(error()) } else { Ok(Address::Tcp { host: host.to_owned(), port }) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_is_read_as_it_is_shown(host in "[a-z0-9.-]{1,20}|[0-9a-f]{1,4}::[0-9a-f]{1,4}", port: u16, name in "[^/\u{0}]{0,20}") {
            for address in [
                Address::Tcp { host, port },
                Address::Unix(format!("/tmp/{name}").into()),
                Address::Abstract(name.into_bytes()),
            ] {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in "\\PC{0,30}") {
            let _ = text.parse::<Address>();
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", "localhost", "localhost:", "localhost:70000", ":80", "::1:80", "[::1:80", "a]:80"] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }
}
