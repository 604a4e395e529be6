//! The side that is connected to.

use super::address::Address;
use super::error::{AcceptError, ConnectionError};
use super::handshake::Role;
use super::key::AuthKey;
use super::newcomer::{Newcomer, Progress};
use super::socket::{Stream, poll_timeout};
use super::stream::Connection;
use crate::futex::deadline;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockname, listen, socket};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the listening socket is called among those that are waited for.
const DOOR: u64 = 0;

/// How a listener treats those who come.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// How many connections the system keeps until they are accepted; it may have a lower limit of its own.
    pub backlog: u32,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How many handshakes may be under way; at least 1. When one more begins, the oldest is given up.
    pub handshakes: usize,
}

impl Default for ListenOptions {
    /// 128 connections in the system's queue, 10 s, 128 handshakes.
    fn default() -> ListenOptions {
        ListenOptions { backlog: 128, handshake_timeout: Duration::from_secs(10), handshakes: 128 }
    }
}

/// Where others connect to. Dropping it ends that; connections that were accepted live on.
///
/// Handshakes are done in [`Listener::accept`], of all newcomers at the same time, so one that is silent, slow or wrong
/// keeps nobody else waiting. Each is bounded in time and in memory. Several threads may accept at the same time.
///
/// ```
/// use multiprocessing::connection::{AcceptError, Address, AuthKey, Client, Listener};
/// use std::time::Duration;
///
/// let key = AuthKey::random()?;
/// let listener = Listener::bind(&Address::Abstract(Vec::new()), Some(key.clone()))?;
/// let address = listener.address().clone();
/// let client = std::thread::spawn(move || Client::connect(&address, Some(&key), Duration::from_secs(10)));
/// let connection = loop {
///     match listener.accept_timeout(Duration::from_secs(10)) {
///         Ok(connection) => break connection,
///         // Somebody else's error is not ours.
///         Err(refused @ AcceptError::Refused { .. }) => eprintln!("{refused}"),
///         Err(error) => return Err(error.into()),
///     }
/// };
/// client.join().expect("no panic")?.send_bytes(b"hello")?;
/// assert_eq!(connection.recv_bytes(100)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    door: Door,
    address: Address,
    key: Option<AuthKey>,
    options: ListenOptions,
    /// Waits for the door and for all newcomers.
    ready: Epoll,
    newcomers: Mutex<Newcomers>,
    /// Removed when this is dropped.
    file: Option<SocketFile>,
}

/// A socket's name in the file system, which is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    number: u64,
}

impl SocketFile {
    fn of(address: &Address) -> io::Result<Option<SocketFile>> {
        let Address::Unix(path) = address else { return Ok(None) };
        let found = fs::symlink_metadata(path)?;
        Ok(Some(SocketFile { path: path.clone(), device: found.dev(), number: found.ino() }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else's that has taken its place stays.
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| found.dev() == self.device && found.ino() == self.number) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug)]
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug, Default)]
struct Newcomers {
    /// The last number that was given to one.
    last: u64,
    /// By number, so that the oldest is the first, and what each may take.
    waiting: BTreeMap<u64, (Newcomer, Instant)>,
}

impl Listener {
    /// Listens at an address. With a key, only those get in who have it, and none is asked for without.
    ///
    /// # Errors
    /// The address is in use, is not this machine's, or may not be had.
    pub fn bind(address: &Address, key: Option<AuthKey>) -> io::Result<Listener> {
        Listener::bind_with(address, key, ListenOptions::default())
    }

    /// [`Listener::bind`], with other options.
    ///
    /// # Errors
    /// As there.
    pub fn bind_with(address: &Address, key: Option<AuthKey>, options: ListenOptions) -> io::Result<Listener> {
        let backlog = Backlog::new(options.backlog.clamp(1, 4096) as i32)?;
        let (door, address) = match address {
            Address::Tcp { host, port } => {
                let door = TcpListener::bind(&*(&**host, *port).to_socket_addrs()?.collect::<Vec<_>>())?;
                // It is already, with the library's own idea of a backlog; a second call changes that.
                listen(&door, backlog)?;
                let bound = door.local_addr()?;
                let host = if *port == 0 { bound.ip().to_string() } else { host.clone() };
                (Door::Tcp(door), Address::Tcp { host, port: bound.port() })
            }
            Address::Unix(path) => {
                let path = std::path::absolute(path)?;
                let door = bind_unix(&UnixAddr::new(&path)?, backlog)?;
                (Door::Unix(door.into()), Address::Unix(path))
            }
            Address::Abstract(name) => {
                let wanted = if name.is_empty() { UnixAddr::new_unnamed() } else { UnixAddr::new_abstract(name)? };
                let door = bind_unix(&wanted, backlog)?;
                let bound: UnixAddr = getsockname(door.as_raw_fd())?;
                let name = bound.as_abstract().unwrap_or(name).to_vec();
                (Door::Unix(door.into()), Address::Abstract(name))
            }
        };
        let file = SocketFile::of(&address)?;
        Listener::open(door, address, key, options, file)
    }

    /// Accepts at the socket that [`Listener::into_door`] has given, maybe to another process.
    pub(crate) fn from_door(door: OwnedFd, address: Address, key: AuthKey) -> io::Result<Listener> {
        let door = match address {
            Address::Tcp { .. } => Door::Tcp(door.into()),
            Address::Unix(_) | Address::Abstract(_) => Door::Unix(door.into()),
        };
        Listener::open(door, address, Some(key), ListenOptions::default(), None)
    }

    /// The listening socket, and its file, which is to be kept as long as anybody accepts there.
    pub(crate) fn into_door(self) -> (OwnedFd, Option<SocketFile>) {
        let door = match self.door {
            Door::Tcp(door) => door.into(),
            Door::Unix(door) => door.into(),
        };
        (door, self.file)
    }

    fn open(
        door: Door,
        address: Address,
        key: Option<AuthKey>,
        options: ListenOptions,
        file: Option<SocketFile>,
    ) -> io::Result<Listener> {
        match &door {
            Door::Tcp(door) => door.set_nonblocking(true)?,
            Door::Unix(door) => door.set_nonblocking(true)?,
        }
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        ready.add(&door, EpollEvent::new(EpollFlags::EPOLLIN, DOOR))?;
        Ok(Listener { door, address, key, options, ready, newcomers: Mutex::default(), file })
    }

    /// Where it listens: with the port or name that the system has chosen, if it was to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for somebody to connect and to prove that they have the key.
    ///
    /// # Errors
    /// Somebody came and was refused, whereupon one accepts again; or the system refuses, for example because the process has no
    /// descriptor left.
    pub fn accept(&self) -> Result<Connection, AcceptError> {
        self.accept_until(None)
    }

    /// As [`Listener::accept`], but waits no longer than this.
    ///
    /// # Errors
    /// As for [`Listener::accept`]; or [`AcceptError::TimedOut`].
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection, AcceptError> {
        self.accept_until(deadline(Some(timeout)))
    }

    fn accept_until(&self, deadline: Option<Instant>) -> Result<Connection, AcceptError> {
        loop {
            let newcomers_deadline = self.give_up_late_ones()?;
            let until = deadline.into_iter().chain(newcomers_deadline).min();
            let mut events = [EpollEvent::empty(); 16];
            let count = match self.ready.wait(&mut events, poll_timeout(until)) {
                Err(Errno::EINTR) => continue,
                other => other.map_err(io::Error::from)?,
            };
            // What is left over when one is done shows again at the next wait, here or in another thread.
            for event in &events[..count] {
                let done = if event.data() == DOOR { self.let_in()? } else { self.advance(event.data())? };
                if let Some(connection) = done {
                    return Ok(connection);
                }
            }
            if count == 0 && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                // One whose time is over at this very moment is the better answer.
                self.give_up_late_ones()?;
                return Err(AcceptError::TimedOut);
            }
        }
    }

    /// Opens the door to one who is there, if anyone still is.
    fn let_in(&self) -> Result<Option<Connection>, AcceptError> {
        let stream = match &self.door {
            Door::Tcp(door) => door.accept().and_then(|(stream, _)| Stream::tcp(stream)),
            Door::Unix(door) => door.accept().map(|(stream, _)| Stream::unix(stream)),
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) if is_of_the_newcomer(&error) => return Ok(None),
            Err(error) if is_exhaustion(&error) => {
                // Rather those who have been dawdling than this one.
                let oldest = self.newcomers().waiting.pop_first();
                return if oldest.is_some() { Ok(None) } else { Err(error.into()) };
            }
            Err(error) => return Err(error.into()),
        };
        let Some(key) = &self.key else { return Ok(Some(Connection::new(stream))) };
        let peer = stream.peer();
        let newcomer = Newcomer::new(stream, Role::Listener, key).map_err(|error| refused(peer, error))?;
        let mut newcomers = self.newcomers();
        newcomers.last += 1;
        let number = newcomers.last;
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
        self.ready.add(newcomer.stream(), EpollEvent::new(events, number)).map_err(io::Error::from)?;
        let until = Instant::now() + self.options.handshake_timeout.min(Duration::from_secs(86_400));
        newcomers.waiting.insert(number, (newcomer, until));
        if newcomers.waiting.len() > self.options.handshakes.max(1) {
            newcomers.waiting.pop_first();
        }
        Ok(None)
    }

    /// Takes what a newcomer has said.
    fn advance(&self, number: u64) -> Result<Option<Connection>, AcceptError> {
        let mut newcomers = self.newcomers();
        // Another thread may have been quicker.
        let Some((newcomer, until)) = newcomers.waiting.remove(&number) else { return Ok(None) };
        let peer = newcomer.stream().peer();
        match newcomer.advance() {
            Ok(Progress::Waiting(newcomer)) => {
                newcomers.waiting.insert(number, (newcomer, until));
                Ok(None)
            }
            Ok(Progress::Done(connection)) => {
                self.ready.delete(&connection).map_err(io::Error::from)?;
                Ok(Some(connection))
            }
            Err(error) => Err(refused(peer, error)),
        }
    }

    /// Gives up a newcomer whose time is over; when the next one's will be.
    fn give_up_late_ones(&self) -> Result<Option<Instant>, AcceptError> {
        let mut newcomers = self.newcomers();
        // All have the same time, so the oldest is the first to run out of it.
        let Some(first) = newcomers.waiting.first_entry() else { return Ok(None) };
        let until = first.get().1;
        if until > Instant::now() {
            return Ok(Some(until));
        }
        let (newcomer, _) = first.remove();
        Err(refused(newcomer.stream().peer(), ConnectionError::TimedOut))
    }

    fn newcomers(&self) -> MutexGuard<'_, Newcomers> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Listener {
    /// Readable when somebody has come, or has said something: when [`Listener::accept`] has something to do. It need not
    /// have a connection then, so it is to be called with a timeout of zero.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.0.as_fd()
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Door::Tcp(door) => door.as_fd(),
            Door::Unix(door) => door.as_fd(),
        }
    }
}

fn bind_unix(address: &UnixAddr, backlog: Backlog) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), address)?;
    listen(&socket, backlog)?;
    Ok(socket)
}

fn refused(peer: String, error: ConnectionError) -> AcceptError {
    AcceptError::Refused { peer, error }
}

/// Whether it is the error of one who has gone again, or of the way to them: Linux passes on what the network has noted.
fn is_of_the_newcomer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, InvalidInput, NetworkDown};
    use io::ErrorKind::{NetworkUnreachable, NotConnected, WouldBlock};
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | InvalidInput
            | NetworkDown
            | NetworkUnreachable
            | NotConnected
            | WouldBlock
    )
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
