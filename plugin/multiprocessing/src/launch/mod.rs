//! Where workers on other machines come from.
//!
//! An engine that is there already (ssh, Slurm, a container's runtime) does the placement, the log-in and the encryption; what it gives
//! is a stream of bytes to a worker program over there, and that is all that the pool needs of it.

mod command;
mod dial_back;
mod prefix;

pub use dial_back::DialBack;
pub(crate) use dial_back::{CONNECT, KEY};
pub use prefix::{CommandPrefix, Local};
pub(crate) use prefix::{GUARD, STDIO};

use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Starts workers on another machine, one for each call. A pool has a seat for each launcher of
/// [`PoolConfig::remote`](crate::PoolConfig::remote), and asks it again when its worker was lost.
///
/// ```
/// use multiprocessing::{CommandPrefix, Launcher, Transport};
/// use std::io;
///
/// /// A machine that can be reached in two ways.
/// #[derive(Debug)]
/// struct TwoWays(CommandPrefix, CommandPrefix);
///
/// impl Launcher for TwoWays {
///     fn name(&self) -> String {
///         self.0.name()
///     }
///
///     fn launch(&self, wanted: &dyn Fn() -> bool) -> io::Result<Transport> {
///         self.0.launch(wanted).or_else(|_| self.1.launch(wanted))
///     }
/// }
///
/// let ways = TwoWays(CommandPrefix::new(["ssh", "-T", "w1"], "mp-worker"), CommandPrefix::new(["rsh", "w1"], "mp-worker"));
/// assert_eq!(ways.name(), "ssh -T w1");
/// ```
pub trait Launcher: Send + Sync + Debug {
    /// What errors and the status call it, such as `ssh w1`.
    fn name(&self) -> String;

    /// Starts a worker program in the way of `worker --stdio` and gives the connection to it; it need not be ready yet. This may
    /// block; it is called on a thread of the seat's own. One that waits asks now and then whether the worker is still `wanted`: once
    /// its seat or its pool has ended, it is not, and it never is again.
    ///
    /// # Errors
    /// There is no such worker. The pool goes on with the others, and asks again after a while.
    fn launch(&self, wanted: &dyn Fn() -> bool) -> io::Result<Transport>;
}

/// What carries a connection, such as an ssh client.
pub trait Carrier: Send + Debug {
    /// The connection's descriptors are closed. Ends what carried it, at the latest after `patience`, and says how it ended if that
    /// is known, such as `exited with code 255`.
    fn end(&mut self, patience: Duration) -> Option<String>;
}

/// A connection to a worker program on another machine: a stream of bytes each way.
///
/// ```
/// use multiprocessing::Transport;
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let stream = TcpStream::connect(listener.local_addr()?)?;
/// let transport = Transport::new(stream.try_clone()?, stream);
/// # drop(transport);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Transport {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) carrier: Option<Box<dyn Carrier>>,
}

impl Transport {
    /// What the worker writes is read from `reader`, and what it reads is written to `writer`: pipes or sockets, two descriptors of
    /// one socket included. They are made non-blocking.
    pub fn new(reader: impl Into<OwnedFd>, writer: impl Into<OwnedFd>) -> Transport {
        Transport { reader: reader.into(), writer: writer.into(), stderr: None, carrier: None }
    }

    /// A descriptor from which messages of the engine, and what the worker prints, can be read; the last of them are in errors.
    #[must_use]
    pub fn stderr(mut self, stderr: impl Into<OwnedFd>) -> Transport {
        self.stderr = Some(stderr.into());
        self
    }

    /// What has to be ended with the connection.
    #[must_use]
    pub fn carrier(mut self, carrier: impl Carrier + 'static) -> Transport {
        self.carrier = Some(Box::new(carrier));
        self
    }
}
