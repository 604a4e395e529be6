//! Workers that somebody else starts, and that connect to the pool by themselves.

use super::{Launcher, Transport};
use crate::connection::{AcceptError, Address, AuthKey, Listener};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

/// The word that makes a worker program connect to the address after it.
pub(crate) const CONNECT: &str = "--connect";
/// The environment variable in which it finds the key.
pub(crate) const KEY: &str = "MULTIPROCESSING_AUTHKEY";

/// How often one who waits asks whether that is still wanted.
const PERIOD: Duration = Duration::from_millis(50);

/// A listener for workers that are started by something that carries no bytes: `worker --connect HOST:PORT`, with the key in the
/// environment variable `MULTIPROCESSING_AUTHKEY`. Each side proves to the other that it has the key; what is said after that is not
/// encrypted, so the network in between must be one to be trusted.
///
/// Each call of [`Launcher::launch`] gives one of the workers that have come. A pool that shall have three of them has three seats with
/// the same one of these.
///
/// ```
/// use multiprocessing::{DialBack, Pool, PoolConfig, Program, Registry};
/// use std::process::Command;
/// use std::sync::Arc;
///
/// multiprocessing::function! { fn square(n: u64) -> u64 { n * n } }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     Registry::new("example").function::<square>().serve_if_worker();
///     let program = Program::current("example")?;
///     let dial_back = Arc::new(DialBack::bind(&"127.0.0.1:0".parse()?)?);
///     // Whoever starts the worker does what this does.
///     let (variable, key) = dial_back.environment();
///     let mut worker = Command::new(program.path());
///     worker.arg("--multiprocessing-worker").args(dial_back.arguments()).env(variable, key);
///     let mut worker = worker.spawn()?;
///     let mut config = PoolConfig::new(program);
///     config.workers = 0;
///     config.remote.push(dial_back);
///     let pool = Pool::start(config)?;
///     assert_eq!(pool.apply(square, &12)?, 144);
///     drop(pool);
///     worker.wait()?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct DialBack {
    listener: Listener,
    key: AuthKey,
    name: String,
    patience: Duration,
}

impl DialBack {
    /// Listens at `address`, with a key of its own; at port 0 that is a port that is free.
    ///
    /// # Errors
    /// The address cannot be had, or the system has no randomness.
    pub fn bind(address: &Address) -> io::Result<DialBack> {
        let mut text = String::new();
        for byte in AuthKey::random()?.as_bytes() {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        let key = AuthKey::from(text);
        let listener = Listener::bind(address, Some(key.clone()))?;
        let name = format!("dial back to {}", listener.address());
        Ok(DialBack { listener, key, name, patience: Duration::from_secs(60) })
    }

    /// With a name of the caller's choice.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> DialBack {
        self.name = name.into();
        self
    }

    /// With another time, instead of a minute, to wait for a worker.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> DialBack {
        self.patience = patience;
        self
    }

    /// Where it listens. From another machine, an unspecified address such as `0.0.0.0` has to be put right.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// The key: 64 hexadecimal digits.
    pub fn key(&self) -> &AuthKey {
        &self.key
    }

    /// The worker program's arguments.
    pub fn arguments(&self) -> [String; 2] {
        [CONNECT.into(), self.address().to_string()]
    }

    /// The environment variable that the worker program needs, and its value. It does not belong into arguments, which all users of a
    /// machine can see.
    pub fn environment(&self) -> (&'static str, OsString) {
        (KEY, OsString::from_vec(self.key.as_bytes().to_vec()))
    }
}

impl Launcher for DialBack {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn launch(&self, wanted: &dyn Fn() -> bool) -> io::Result<Transport> {
        let deadline = Instant::now() + self.patience;
        let mut refused = String::new();
        while wanted() {
            match self.listener.accept_timeout(PERIOD) {
                Ok(connection) => {
                    let reader = OwnedFd::from(connection);
                    let writer = reader.try_clone()?;
                    return Ok(Transport::new(reader, writer));
                }
                Err(AcceptError::TimedOut) => {}
                // It is no worker of ours, and the next may be one.
                Err(AcceptError::Refused { peer, error }) => refused = format!("; {peer} was refused: {error}"),
                Err(AcceptError::Io(error)) => return Err(error),
            }
            if Instant::now() >= deadline {
                let text = format!("no worker has connected within {} s{refused}", self.patience.as_secs_f32());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "no worker is waited for any more"))
    }
}
