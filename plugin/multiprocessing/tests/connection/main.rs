//! Listeners and clients: with each other, with peers that are none, and with CPython's.

#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
mod hostile;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod local;
mod python;
#[path = "../common/signals.rs"]
mod signals;
#[path = "../worker/connection.rs"]
mod worker;

use basics::{PATIENCE, SOON, program};
use leftovers::alone;
use multiprocessing::connection::{AcceptError, Address, AuthKey, Client, Connection, ConnectionError, Listener};

pub fn key() -> Option<AuthKey> {
    Some(AuthKey::from("a key"))
}

pub fn anywhere() -> Address {
    "127.0.0.1:0".parse().expect("an address")
}

pub fn listener() -> Listener {
    Listener::bind(&anywhere(), key()).expect("a free port")
}

pub fn connect(listener: &Listener) -> Result<Connection, ConnectionError> {
    Client::connect(listener.address(), key().as_ref(), PATIENCE)
}

/// Both sides of a connection.
pub fn pair(listener: &Listener) -> (Connection, Connection) {
    std::thread::scope(|scope| {
        let client = scope.spawn(|| connect(listener).expect("the same key"));
        let accepted = accept(listener);
        (accepted, client.join().expect("no panic"))
    })
}

pub fn accept(listener: &Listener) -> Connection {
    listener.accept_timeout(PATIENCE).expect("a client with the right key")
}

/// Why the next one who comes is refused.
pub fn refusal(listener: &Listener) -> ConnectionError {
    match listener.accept_timeout(PATIENCE) {
        Err(AcceptError::Refused { error, peer }) => {
            assert!(!peer.is_empty());
            error
        }
        other => panic!("{other:?}"),
    }
}
