//! Waiting for the first of several things.

use crate::sync::word::Until;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Waits until at least one of these is ready, and says which are, by their places in the list.
///
/// A receiving end of a [`pipe`](crate::pipe()) or [`channel`](crate::channel()) is ready when there is something to receive or all
/// holders of the other end are gone; a [`Queue`](crate::Queue) when there is something to get or it is closed; a
/// [`Process`](crate::Process) when it has ended; a socket, a pipe of the system, or anything else that has a descriptor, when it can be
/// read.
///
/// ```
/// use multiprocessing::{Queue, channel, wait, wait_timeout};
/// use std::time::Duration;
///
/// let queue = Queue::<u32>::new()?;
/// let (mut sender, mut receiver) = channel::<String>()?;
/// assert!(wait_timeout(&[&queue, &receiver], Duration::ZERO)?.is_empty());
/// sender.send(&"here".to_string())?;
/// assert_eq!(wait(&[&queue, &receiver])?, [1]);
/// assert_eq!(receiver.recv()?, "here");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// More descriptors than the process may have.
pub fn wait(things: &[&dyn AsFd]) -> io::Result<Vec<usize>> {
    wait_until(things, Until::EVER)
}

/// As [`wait`], but waits no longer than this; none is ready if the time is over before.
///
/// # Errors
/// As for [`wait`].
pub fn wait_timeout(things: &[&dyn AsFd], timeout: Duration) -> io::Result<Vec<usize>> {
    wait_until(things, Until::after(timeout))
}

fn wait_until(things: &[&dyn AsFd], until: Until) -> io::Result<Vec<usize>> {
    let mut polled: Vec<_> = things.iter().map(|thing| PollFd::new(thing.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut polled, until)?;
    let ready = |(i, polled): (usize, &PollFd<'_>)| polled.any().unwrap_or(true).then_some(i);
    Ok(polled.iter().enumerate().filter_map(ready).collect())
}

/// As the system's `poll`, but not interrupted.
pub(crate) fn poll(polled: &mut [PollFd<'_>], until: Until) -> io::Result<()> {
    loop {
        let left = match until {
            Until::Now => Some(Duration::ZERO),
            Until::Then(deadline) => deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())),
        };
        match ppoll(polled, left.map(TimeSpec::from_duration), None) {
            Err(Errno::EINTR) => {}
            other => return other.map(|_| ()).map_err(io::Error::from),
        }
    }
}

/// Polls one descriptor, and says what it is ready for.
pub(crate) fn poll_one(descriptor: BorrowedFd<'_>, for_what: PollFlags, until: Until) -> io::Result<PollFlags> {
    let mut polled = [PollFd::new(descriptor, for_what)];
    poll(&mut polled, until)?;
    Ok(polled[0].revents().unwrap_or(PollFlags::empty()))
}

/// Waits until a descriptor is readable, or its other side has ended; whether it is before the time is over. `None` waits for ever.
pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    Ok(!poll_one(descriptor, PollFlags::POLLIN, Until::Then(deadline))?.is_empty())
}

impl Until {
    /// Whether there is no time left.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Until::Now => true,
            Until::Then(deadline) => deadline.is_some_and(|deadline| deadline <= Instant::now()),
        }
    }

    /// The moment at which the time is over, if there is one.
    pub(crate) fn deadline(self) -> Option<Instant> {
        match self {
            Until::Now => Some(Instant::now()),
            Until::Then(deadline) => deadline,
        }
    }
}
