//! Sends a text to a listener, and prints its answer: `cargo run -p multiprocessing --example client -- ADDRESS KEY TEXT`
//!
//! The listener may be the example `listener`, or CPython's (3.12 or later):
//!
//! ```text
//! from multiprocessing.connection import Listener
//! with Listener(("127.0.0.1", 7000), authkey=b"KEY") as listener, listener.accept() as connection:
//!     connection.send_bytes(connection.recv_bytes().upper())
//! ```
//!
//! ADDRESS is HOST:PORT, a path with a `/` in it, or @NAME. The exit code is 0 if there was an answer.

mod text;

use multiprocessing::connection::{Address, AuthKey, Client};
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const LIMIT: usize = 64 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, key, message] = &arguments[..] else {
        eprintln!("usage: client HOST:PORT KEY TEXT");
        return ExitCode::from(2);
    };
    match ask(address, key, message) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("client: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(address: &str, key: &str, message: &str) -> Result<String, Box<dyn Error>> {
    let address: Address = address.parse()?;
    let connection = Client::connect(&address, Some(&AuthKey::from(key)), PATIENCE)?;
    connection.send_bytes(message.as_bytes())?;
    if !connection.poll_timeout(PATIENCE)? {
        return Err(format!("no answer within {} s", PATIENCE.as_secs()).into());
    }
    Ok(text::text(&connection.recv_bytes(LIMIT)?))
}
