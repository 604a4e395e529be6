//! The sending end of a ring with a line beside it.

use crate::message::{self, Line, MESSAGE_LIMIT, SendError, Sink, WITH_HANDLES};
use crate::packets::Packets;
use crate::ring::{Memory, Producer, Stream};
use crate::sync::word::Until;
use crate::wait::poll_one;
use nix::poll::PollFlags;
use serde::Serialize;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// How many messages are sent between two looks whether anybody is there, if nothing else says so.
const LOOK: u32 = 64;

#[derive(Debug)]
pub(super) struct Outgoing {
    producer: Producer,
    pub(super) line: Line,
    scratch: Vec<u8>,
    unlooked: u32,
}

impl Outgoing {
    pub(super) fn new(
        memory: Arc<impl Memory + 'static>,
        offset: usize,
        capacity: usize,
        socket: Packets,
    ) -> io::Result<Outgoing> {
        let producer = Producer::new(memory, offset, capacity).map_err(io::Error::other)?;
        Ok(Outgoing { producer, line: Line::new(socket), scratch: Vec::new(), unlooked: LOOK })
    }

    pub(super) fn send<T: Serialize + 'static>(&mut self, value: &T, until: Until) -> Result<(), SendError> {
        if let Some(bytes) = message::raw(value) {
            return self.send_bytes(bytes, until);
        }
        self.look()?;
        let Outgoing { producer, line, scratch, .. } = self;
        let mut way = Way { stream: producer.stream(), line, until, used: false };
        let handles = message::encode(value, scratch, &mut way)?;
        let mut tag = 0;
        if !handles.is_empty() {
            let nonce = way.line.send_handles(&handles, until)?;
            scratch.extend_from_slice(&nonce.to_le_bytes());
            tag = WITH_HANDLES;
        }
        if way.used {
            return way.finish(scratch, tag);
        }
        drop(way);
        self.push(tag, until)
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8], until: Until) -> Result<(), SendError> {
        if bytes.len() > MESSAGE_LIMIT {
            return Err(SendError::TooLarge);
        }
        self.look()?;
        if self.producer.try_push(&[bytes], 0)? {
            self.ring();
            return Ok(());
        }
        let Outgoing { producer, line, .. } = self;
        Way { stream: producer.stream(), line, until, used: false }.finish(bytes, 0)
    }

    /// Sends what is in the scratch.
    fn push(&mut self, tag: u8, until: Until) -> Result<(), SendError> {
        if self.producer.try_push(&[&self.scratch], tag)? {
            self.ring();
            return Ok(());
        }
        let Outgoing { producer, line, scratch, .. } = self;
        Way { stream: producer.stream(), line, until, used: false }.finish(scratch, tag)
    }

    fn ring(&mut self) {
        if self.producer.owes_ring() {
            self.line.ring();
        }
    }

    /// Whether there is anybody left to send to, as far as can be known without asking the system each time.
    fn look(&mut self) -> Result<(), SendError> {
        self.unlooked += 1;
        if self.unlooked < LOOK && !self.producer.is_let_go() {
            return Ok(());
        }
        if self.line.is_dead()? {
            // The next one is to be told as well.
            self.unlooked = LOOK;
            return Err(SendError::Closed);
        }
        self.unlooked = 0;
        Ok(())
    }

    pub(super) fn let_go(&self) {
        self.producer.let_go();
    }
}

/// A message on its way in pieces.
struct Way<'a> {
    stream: Stream<'a>,
    line: &'a mut Line,
    until: Until,
    used: bool,
}

impl Way<'_> {
    fn finish(mut self, rest: &[u8], tag: u8) -> Result<(), SendError> {
        let (line, until) = (self.line, self.until);
        let mut wait = |producer: &mut Producer, units: u64| await_room(producer, line, units, until);
        self.stream.write(rest, &mut wait)?;
        if self.stream.finish(tag, &mut wait)? {
            line.ring();
        }
        Ok(())
    }
}

impl Sink for Way<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.used = true;
        let (line, until) = (&mut *self.line, self.until);
        self.stream.write(bytes, &mut |producer, units| await_room(producer, line, units, until))
    }
}

/// Waits for so much room: awake, in the futex, and then at the line, where the end of the other side shows.
fn await_room(producer: &mut Producer, line: &mut Line, units: u64, until: Until) -> Result<(), SendError> {
    loop {
        if producer.owes_ring() {
            line.ring();
        }
        if producer.has_room(units)? {
            return Ok(());
        }
        if until.is_over() {
            return Err(SendError::Full);
        }
        if producer.sleep_briefly(units, until.deadline())? {
            return Ok(());
        }
        if producer.want_doorbell(units)? {
            line.hush();
            let found = if producer.is_woken() {
                PollFlags::empty()
            } else {
                poll_one(line.socket.as_fd(), PollFlags::POLLIN, until)?
            };
            producer.awake();
            if found.contains(PollFlags::POLLHUP) {
                return Err(SendError::Closed);
            }
        }
    }
}
