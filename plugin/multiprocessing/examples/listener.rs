//! Prints what one client sends, and sends it back: `cargo run -p multiprocessing --example listener -- ADDRESS KEY`
//!
//! The client may be the example `client`, or CPython's (3.12 or later):
//!
//! ```text
//! from multiprocessing.connection import Client
//! with Client(("127.0.0.1", 7000), authkey=b"KEY") as connection:
//!     connection.send_bytes(b"hello")
//!     print(connection.recv_bytes())
//! ```
//!
//! ADDRESS is HOST:PORT, where port 0 is any that is free; a path with a `/` in it, or @NAME. The first line of the output
//! says where it listens. It ends with its client: with exit code 0, or another if the client has no or the wrong key.

mod text;

use multiprocessing::connection::{Address, AuthKey, ConnectionError, Listener};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

const LIMIT: usize = 64 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, key] = &arguments[..] else {
        eprintln!("usage: listener HOST:PORT KEY");
        return ExitCode::from(2);
    };
    match serve(address, key) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("listener: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let address: Address = address.parse()?;
    let bind = |error| format!("cannot listen at {address}: {error}");
    let listener = Listener::bind(&address, Some(AuthKey::from(key))).map_err(bind)?;
    let mut output = io::stdout();
    writeln!(output, "listening at {}", listener.address())?;
    output.flush()?;
    let connection = listener.accept()?;
    loop {
        let message = match connection.recv_bytes(LIMIT) {
            Err(ConnectionError::Closed) => return Ok(()),
            other => other?,
        };
        writeln!(output, "{}", text::text(&message))?;
        output.flush()?;
        match connection.send_bytes(&message) {
            // A client may go without waiting for its answer.
            Err(ConnectionError::Closed) => return Ok(()),
            other => other?,
        }
    }
}
