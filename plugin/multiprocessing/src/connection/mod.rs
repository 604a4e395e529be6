//! Connections between programs, also of two machines, and also with CPython's.
//!
//! A [`Listener`] has an [`Address`] that a [`Client`] connects to. Both then have a [`Connection`] that carries messages,
//! after each has proved to the other that it has the same [`AuthKey`], without sending it. What travels is what CPython's
//! `multiprocessing.connection` of 3.12 and later sends, so either side may be a Python program: [`Connection::send_bytes`]
//! is its `recv_bytes`, and the other way round.
//!
//! A connection is authenticated, not encrypted: whoever can change what is under way between two machines can read and
//! change messages. Over a network that is not trusted, let something else carry it, such as `ssh -L`.
//!
//! ```
//! use multiprocessing::connection::{Address, AuthKey, Client, Listener};
//! use std::time::Duration;
//!
//! let key = AuthKey::random()?;
//! let listener = Listener::bind(&"127.0.0.1:0".parse()?, Some(key.clone()))?;
//! let address = listener.address().clone();
//! let client = std::thread::spawn(move || -> Result<u64, multiprocessing::connection::ConnectionError> {
//!     let connection = Client::connect(&address, Some(&key), Duration::from_secs(10))?;
//!     connection.send(&("square", 12_u64))?;
//!     connection.recv(1024)
//! });
//! let connection = listener.accept_timeout(Duration::from_secs(10))?;
//! let (name, number): (String, u64) = connection.recv(1024)?;
//! assert_eq!(name, "square");
//! connection.send(&(number * number))?;
//! assert_eq!(client.join().expect("no panic")?, 144);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod client;
mod error;
pub mod framing;
mod handshake;
mod incoming;
mod key;
mod listener;
mod newcomer;
mod socket;
mod stream;

pub use address::{Address, AddressError};
pub use client::Client;
pub use error::{AcceptError, AuthenticationError, ConnectionError};
pub use handshake::{Handshake, Reply, Role};
pub use key::AuthKey;
pub(crate) use listener::SocketFile;
pub use listener::{ListenOptions, Listener};
pub use socket::Stream;
pub(crate) use socket::has_ended;
pub use stream::Connection;
