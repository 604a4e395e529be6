//! The receiving end of a ring with a line beside it.

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

#[derive(Debug)]
pub(super) struct Incoming {
    consumer: Consumer,
    pub(super) line: Line,
    /// The message that was taken last.
    message: Vec<u8>,
    /// Once this end's descriptor is looked at by others: readable as long as there may be something to receive.
    flag: Option<EventFd>,
    flagged: bool,
}

impl Incoming {
    pub(super) fn new(
        memory: Arc<impl Memory + 'static>,
        offset: usize,
        capacity: usize,
        socket: Packets,
    ) -> io::Result<Incoming> {
        let consumer = Consumer::new(memory, offset, capacity, MESSAGE_LIMIT).map_err(io::Error::other)?;
        Ok(Incoming { consumer, line: Line::new(socket), message: Vec::new(), flag: None, flagged: false })
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

    /// Sleeps until there may be something, or the time is over: in the futex, and then at the line, where the end of the
    /// other side shows. Whether that is gone.
    fn sleep(&mut self, until: Until) -> Result<bool, RecvError> {
        if self.flag.is_none() {
            self.consumer.sleep_briefly(until.deadline());
            if self.consumer.has_record()? {
                return Ok(false);
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
        let _ = self.settle();
        Ok(epoll.0)
    }

    pub(super) fn let_go(&self) {
        self.consumer.let_go();
    }
}
