//! What the worker does in the tests of connections.

use multiprocessing::connection::{Address, AuthKey, Client, Connection};
use std::time::Duration;

multiprocessing::function! {
    /// Connects, and says so.
    pub fn connect_and_say(address: Address, key: Option<String>, text: String) -> Result<(), String> {
        let key = key.map(AuthKey::from);
        let connection = Client::connect(&address, key.as_ref(), Duration::from_secs(20)).map_err(|error| error.to_string())?;
        connection.send_bytes(text.as_bytes()).map_err(|error| error.to_string())
    }
}

multiprocessing::function! {
    /// Serves a connection that somebody else has accepted: sends everything back.
    pub fn send_back(connection: Connection) -> Result<(), String> {
        while let Ok(message) = connection.recv_bytes(1 << 20) {
            connection.send_bytes(&message).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}
