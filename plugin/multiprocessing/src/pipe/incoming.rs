//! The receiving end of a ring with a line beside it.

use super::watcher::Watched;
use crate::message::{self, Line, MESSAGE_LIMIT, RecvError, WITH_HANDLES};
use crate::packets::Packets;
use crate::ring::{Consumer, Memory};
use crate::sync::word::Until;
use crate::wait::poll_one;
use nix::poll::PollFlags;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// How often an end sleeps at its line before that is watched for it: a thread is too much for a few messages.
const FEW: u32 = 16;

#[derive(Debug)]
pub(super) struct Incoming {
    consumer: Consumer,
    pub(super) line: Line,
    /// The message that was taken last.
    message: Vec<u8>,
    /// Once this end's descriptor is looked at by others: readable as long as there may be something to receive.
    flag: Option<EventFd>,
    flagged: bool,
    /// Once it sleeps in the futex.
    watched: Option<Watched>,
    /// How often it has slept at the line since it was last tried to have that watched.
    slept: u32,
}

impl Incoming {
    pub(super) fn new(
        memory: Arc<impl Memory + 'static>,
        offset: usize,
        capacity: usize,
        socket: Packets,
    ) -> io::Result<Incoming> {
        let consumer = Consumer::new(memory, offset, capacity, MESSAGE_LIMIT).map_err(io::Error::other)?;
        let line = Line::new(socket);
        Ok(Incoming { consumer, line, message: Vec::new(), flag: None, flagged: false, watched: None, slept: 0 })
    }

    pub(super) fn receive<T: DeserializeOwned + 'static>(&mut self, until: Until) -> Result<T, RecvError> {
        let tag = self.take(until)?;
        let handles = if tag == WITH_HANDLES {
            let nonce = message::nonce(&mut self.message).ok_or(RecvError::Broken)?;
            self.line.handles(nonce)
        } else {
            Ok(Vec::new())
        };
        let value = handles.and_then(|handles| Ok(message::decode(&mut self.message, handles)?));
        self.settle()?;
        value
    }

    pub(super) fn receive_bytes(&mut self, into: &mut Vec<u8>, until: Until) -> Result<(), RecvError> {
        std::mem::swap(into, &mut self.message);
        let taken = self.take(until);
        std::mem::swap(into, &mut self.message);
        taken?;
        self.settle()
    }

    /// Whether there is something to receive, or nobody left to send.
    pub(super) fn poll(&mut self, until: Until) -> Result<bool, RecvError> {
        loop {
            if self.consumer.has_record()? {
                return Ok(true);
            }
            if until.is_over() {
                return Ok(self.line.is_dead()?);
            }
            if self.sleep(until)? {
                return Ok(true);
            }
        }
    }

    /// Takes a message; returns its tag.
    fn take(&mut self, until: Until) -> Result<u8, RecvError> {
        loop {
            let taken = self.consumer.try_pop(&mut self.message)?;
            if self.consumer.owes_ring() {
                self.line.ring();
            }
            if let Some(tag) = taken {
                return Ok(tag);
            }
            let over = until.is_over();
            if over && !self.line.is_dead()? {
                return Err(RecvError::Empty);
            }
            // The end of the other side counts only if nothing has come before it.
            if (over || self.sleep(until)?) && !self.consumer.has_record()? {
                return Err(RecvError::Closed);
            }
        }
    }

    /// Sleeps until there may be something, or the time is over: in the futex, or at the line, where the end of the other side
    /// shows. Whether that is gone.
    fn sleep(&mut self, until: Until) -> Result<bool, RecvError> {
        if self.flag.is_none() {
            if let Some(watched) = self.watched.as_ref().filter(|watched| !watched.alarm().is_raised()) {
                self.consumer.sleep(until.deadline(), Some(watched.alarm()));
                return Ok(false);
            }
            if self.consumer.spin() {
                return Ok(false);
            }
            self.slept += 1;
            if self.slept == FEW {
                self.slept = 0;
                self.have_watched();
            }
        }
        if !self.consumer.want_doorbell()? {
            return Ok(false);
        }
        self.line.hush();
        if self.consumer.is_woken() {
            return Ok(false);
        }
        let found = poll_one(self.line.socket.as_fd(), PollFlags::POLLIN, until)?;
        self.consumer.awake();
        Ok(found.contains(PollFlags::POLLHUP))
    }

    /// Has the line watched, so that it can sleep in the futex. If that cannot be, it sleeps at the line as before.
    fn have_watched(&mut self) {
        if self.watched.is_none() {
            self.watched = Watched::new(self.line.socket.as_fd(), self.consumer.alarm()).ok();
        }
    }

    fn end_watch(&mut self) {
        if let Some(watched) = self.watched.take() {
            watched.end(self.line.socket.as_fd());
        }
    }

    /// Makes the descriptor say what is so, if others look at it.
    fn settle(&mut self) -> Result<(), RecvError> {
        let Some(flag) = &self.flag else { return Ok(()) };
        if self.consumer.want_doorbell()? {
            self.line.hush();
            if self.flagged {
                let _ = flag.read();
                self.flagged = false;
            }
            // What has come since will ring, or has: that ring may be among those that were just taken.
            if !self.consumer.is_woken() {
                return Ok(());
            }
        }
        if !self.flagged {
            let _ = flag.write(1);
            self.flagged = true;
        }
        Ok(())
    }

    /// Begins to keep a descriptor that says whether there is something to receive: readable when the line is, or the flag.
    pub(super) fn watch(&mut self) -> io::Result<OwnedFd> {
        let flag = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&flag, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        epoll.add(&self.line.socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        self.flag = Some(flag);
        // From now on it sleeps at its line only.
        self.end_watch();
        let _ = self.settle();
        Ok(epoll.0)
    }

    pub(super) fn let_go(&self) {
        self.consumer.let_go();
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.end_watch();
    }
}
