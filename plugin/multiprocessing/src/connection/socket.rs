//! Stream sockets: made, described, read and written, whatever their family.

use super::address::Address;
use crate::wait::wait_readable;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect as connect_socket, getsockopt, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A connection's bytes, as they are. Reading and writing need no exclusive access, so that one thread can do each.
#[derive(Debug)]
pub struct Stream(OwnedFd);

impl Stream {
    /// Takes a connected stream socket of any family.
    ///
    /// # Errors
    /// It is something else.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Stream> {
        if getsockopt(&descriptor, sockopt::SockType)? != SockType::Stream {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stream socket"));
        }
        Ok(Stream(descriptor))
    }

    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Stream> {
        // A message is sent whole, so waiting for more only delays it.
        stream.set_nodelay(true)?;
        // A machine that is gone without a word is noticed after 25 s; while something that it was sent is under way, by the
        // kernel's retries, which go on for a quarter of an hour. A user timeout would make that 25 s, too, but would also end the
        // connection to one that is there and only does not read for so long.
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &10)?;
        setsockopt(&stream, sockopt::TcpKeepInterval, &5)?;
        setsockopt(&stream, sockopt::TcpKeepCount, &3)?;
        Ok(Stream(stream.into()))
    }

    pub(crate) fn unix(stream: UnixStream) -> Stream {
        Stream(stream.into())
    }

    /// Connects until the deadline. How long a host's name takes to be looked up is not bounded by it.
    pub(crate) fn connect(address: &Address, deadline: Option<Instant>) -> io::Result<Stream> {
        let name = match address {
            Address::Tcp { host, port } => return connect_tcp(host, *port, deadline),
            Address::Unix(path) => UnixAddr::new(path)?,
            Address::Abstract(name) => UnixAddr::new_abstract(name)?,
        };
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        loop {
            // This is how long a local socket waits for room in its listener's queue; zero is for ever.
            let wait = left(deadline)?.map_or(Duration::ZERO, |left| left.max(Duration::from_millis(1)));
            setsockopt(&socket, sockopt::SendTimeout, &time(wait))?;
            match connect_socket(socket.as_raw_fd(), &name) {
                Ok(()) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
        setsockopt(&socket, sockopt::SendTimeout, &time(Duration::ZERO))?;
        Ok(Stream(socket))
    }

    /// Who is at the other side, to be shown.
    pub(crate) fn peer(&self) -> String {
        let credentials = getsockopt(&self.0, sockopt::PeerCredentials);
        if let Some(pid) = credentials.ok().map(|credentials| credentials.pid()).filter(|pid| *pid > 0) {
            return format!("process {pid}");
        }
        let tcp = self.0.try_clone().map(TcpStream::from).and_then(|stream| stream.peer_addr());
        tcp.map_or_else(|_| "an unknown peer".to_owned(), |address| address.to_string())
    }

    /// Receives what is there already; `WouldBlock` if nothing is.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT))
    }

    /// Sends what there is room for; `WouldBlock` if there is none.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        retry(|| send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT))
    }

    /// Waits until there is something to read, or the other side has ended; whether so.
    pub(crate) fn wait_readable(&self, deadline: Option<Instant>) -> io::Result<bool> {
        wait_readable(self.0.as_fd(), deadline)
    }

    /// Ends both directions, for whoever has this socket, in whatever process.
    ///
    /// # Errors
    /// It is not connected any more.
    pub fn shutdown(&self) -> io::Result<()> {
        Ok(nix::sys::socket::shutdown(self.0.as_raw_fd(), nix::sys::socket::Shutdown::Both)?)
    }

    /// A second handle of the same socket.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Stream> {
        self.0.try_clone().map(Stream)
    }

    /// Ends this side's sending: the other side reads an end.
    ///
    /// # Errors
    /// It is not connected any more.
    pub fn finish(&self) -> io::Result<()> {
        let socket = self.0.try_clone()?;
        // The call is the same for every family.
        TcpStream::from(socket).shutdown(Shutdown::Write)
    }
}

impl Read for &Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()))
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retry(|| send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> OwnedFd {
        stream.0
    }
}

/// Whether the other side of a stream has ended, whatever it has sent before that.
pub(crate) fn has_ended(stream: BorrowedFd<'_>) -> bool {
    // The flag is Linux's own, and has no name in nix.
    let mut entry = [PollFd::new(stream, PollFlags::from_bits_retain(libc::POLLRDHUP))];
    poll(&mut entry, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// How long to wait in one call; rounded up, so that a wait does not end a moment too early.
pub(crate) fn poll_timeout(deadline: Option<Instant>) -> PollTimeout {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.map_or(PollTimeout::NONE, |left| {
        let millis = left.as_nanos().div_ceil(1_000_000).min(1 << 30);
        PollTimeout::try_from(millis as u32).unwrap_or(PollTimeout::MAX)
    })
}

fn connect_tcp(host: &str, port: u16, deadline: Option<Instant>) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host's name has no address");
    for address in (host, port).to_socket_addrs()? {
        let stream = match left(deadline)? {
            Some(left) => TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))),
            None => TcpStream::connect(address),
        };
        match stream {
            Ok(stream) => return Stream::tcp(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time that is left, an error if there is none.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    left.map(Some).ok_or_else(|| io::ErrorKind::TimedOut.into())
}

fn time(duration: Duration) -> TimeVal {
    TimeVal::new(duration.as_secs().try_into().unwrap_or(i64::MAX), duration.subsec_micros().into())
}

fn retry(mut call: impl FnMut() -> nix::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}
