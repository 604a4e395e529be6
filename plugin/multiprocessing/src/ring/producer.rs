//! The side that writes.

use super::area::{Area, Memory};
use super::header::Sleep;
use super::position::{Kind, MESSAGES_MAX, Position, Record, UNIT};
use super::{BRIEF, Broken, spin};
use crate::futex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The only writer of a ring, or the one that holds the writers' lock.
#[derive(Debug)]
pub(crate) struct Producer {
    area: Area,
    /// How far it has come.
    tail: Position,
    /// How far the consumer had come when last looked.
    head: Position,
    /// How many messages there may be.
    messages: u32,
    /// The processor that the header names.
    processor: u32,
    /// Whether the consumer has to be woken by its doorbell.
    owes_ring: bool,
}

impl Producer {
    /// The writer of the ring at `offset`, whose `capacity` is a power of two. Memory that is all zero is an empty ring; one that
    /// was used goes on where it is.
    pub(crate) fn new(memory: Arc<impl Memory + 'static>, offset: usize, capacity: usize) -> Result<Producer, Broken> {
        let area = Area::new(memory, offset, capacity)?;
        let (tail, head) = (area.header().tail(), area.header().head());
        let mut producer = Producer { area, tail, head, messages: MESSAGES_MAX, processor: 0, owes_ring: false };
        producer.reload()?;
        Ok(producer)
    }

    /// Bounds the number of messages that are there at once, too; at least one.
    pub(crate) fn set_message_limit(&mut self, messages: u32) {
        self.messages = messages.clamp(1, MESSAGES_MAX);
    }

    /// Takes up where another producer of the ring has left off.
    pub(crate) fn reload(&mut self) -> Result<(), Broken> {
        self.tail = self.area.header().tail();
        // What is known of the consumer is old, but true, as long as it is possible.
        if self.tail.units_since(self.head) > self.area.units() { self.refresh() } else { Ok(()) }
    }

    /// Whether one who held the other side has let it go, since this was last asked and the answer was yes.
    pub(crate) fn is_let_go(&self) -> bool {
        let let_go = Area::let_go(&self.area.header().consumer.0);
        let_go.load(Ordering::Relaxed) != 0 && let_go.swap(0, Ordering::Relaxed) != 0
    }

    /// Lets this side go: a consumer that sleeps in the futex is told to look whether there is anybody left.
    pub(crate) fn let_go(&self) {
        let header = self.area.header();
        Area::let_go(&header.producer.0).store(1, Ordering::Relaxed);
        futex::wake(Area::futex(&header.consumer.0), 1);
    }

    /// Writes a message, the parts one behind the other, if there is room for all of it. If not, nothing is written; for a
    /// message that is larger than the ring there never is.
    pub(crate) fn try_push(&mut self, parts: &[&[u8]], tag: u8) -> Result<bool, Broken> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let units = 1 + length.div_ceil(UNIT) as u64;
        if units > self.area.units() || !self.has_room(units)? {
            return Ok(false);
        }
        let mut at = 0;
        for part in parts {
            self.area.write(self.tail.after(1, 0), at, part);
            at += part.len();
        }
        self.publish(Record { kind: Kind::Whole, length: length as u32, tag });
        Ok(true)
    }

    /// Writes a message of any size, and waits for room until the deadline; whether it was written. One that is larger than a
    /// quarter of the ring is written in pieces.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn push(&mut self, parts: &[&[u8]], tag: u8, deadline: Option<Instant>) -> Result<bool, Broken> {
        let mut stream = self.stream();
        let mut timed_out = false;
        let mut wait = |producer: &mut Producer, units| {
            while !producer.sleep_briefly(units, deadline)? {
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    timed_out = true;
                    return Err(Broken("no time left"));
                }
            }
            Ok(())
        };
        let pushed = parts.iter().try_for_each(|part| stream.write(part, &mut wait));
        let pushed = pushed.and_then(|()| stream.finish(tag, &mut wait));
        match pushed {
            Err(_) if timed_out => Ok(false),
            Err(error) => Err(error),
            Ok(owes_ring) => {
                self.owes_ring = owes_ring;
                Ok(true)
            }
        }
    }

    /// Begins a message whose size is not known yet. It is dropped if the stream is.
    pub(crate) fn stream(&mut self) -> Stream<'_> {
        Stream { producer: self, open: 0, begun: false }
    }

    /// Whether the consumer sleeps at its doorbell, since before the last call: then it is for the caller to ring it, once. A
    /// consumer that slept in the futex was woken already.
    pub(crate) fn owes_ring(&mut self) -> bool {
        std::mem::take(&mut self.owes_ring)
    }

    /// The most units that a message can wait for; a larger one goes in pieces.
    fn piece(&self) -> u64 {
        self.area.units() / 4
    }

    /// Whether there is room for so many units, of one message.
    pub(crate) fn has_room(&mut self, units: u64) -> Result<bool, Broken> {
        if self.fits(units) {
            return Ok(true);
        }
        self.refresh()?;
        Ok(self.fits(units))
    }

    fn fits(&self, units: u64) -> bool {
        self.area.units().saturating_sub(self.tail.units_since(self.head)) >= units
            && self.tail.messages_since(self.head) < self.messages
    }

    fn refresh(&mut self) -> Result<(), Broken> {
        self.head = self.area.header().head();
        if self.tail.units_since(self.head) > self.area.units() {
            return Err(Broken("its consumer is ahead of its producer"));
        }
        Ok(())
    }

    /// How many messages there are, as far as known.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn messages(&mut self) -> Result<u32, Broken> {
        self.refresh()?;
        Ok(self.tail.messages_since(self.head))
    }

    /// Publishes the record whose bytes have been written.
    fn publish(&mut self, record: Record) {
        let header = self.area.header();
        let processor = spin::processor();
        if processor != self.processor {
            self.processor = processor;
            Area::processor(&header.producer.0).store(processor, Ordering::Relaxed);
        }
        self.area.set_word(self.tail, record.word());
        self.tail = self.tail.after(record.units(), u64::from(matches!(record.kind, Kind::Whole | Kind::Last)));
        header.publish_tail(self.tail);
        let consumer = &header.consumer.0;
        match consumer.rouse(u64::MAX) {
            Sleep::Awake => {}
            Sleep::Futex => _ = futex::wake(Area::futex(consumer), 1),
            Sleep::Doorbell => self.owes_ring = true,
        }
    }

    /// Waits until there is room for so many units, awake and then in the futex, for [`BRIEF`] at most or until the
    /// deadline. Whether there is. It does not notice the consumer's death.
    pub(crate) fn sleep_briefly(&mut self, units: u64, deadline: Option<Instant>) -> Result<bool, Broken> {
        let header = self.area.header();
        let (area, tail, messages) = (self.area.clone(), self.tail, self.messages);
        let room = |wanted: u64| {
            let head = area.header().head();
            area.units().saturating_sub(tail.units_since(head)) >= wanted && tail.messages_since(head) < messages
        };
        if spin::until(Area::processor(&header.consumer.0), spin::processor(), || room(units)) {
            return self.has_room(units);
        }
        // A ring that is full to the brim would cost a wake-up for each message. For the short time of this sleep, it is better to
        // wait for more room than is needed.
        let wanted = units.max(self.piece()).min(area.units());
        header.producer.0.announce(Sleep::Futex, u32::try_from(wanted).unwrap_or(u32::MAX));
        if !room(wanted) {
            let brief = Instant::now() + BRIEF;
            let until = deadline.map_or(brief, |deadline| deadline.min(brief));
            futex::wait(Area::futex(&header.producer.0), Sleep::Futex as u32, Some(until));
        }
        header.producer.0.awake();
        self.has_room(units)
    }

    /// Says that this side is going to sleep at its doorbell until there is room for so many units. Whether it has to; if not,
    /// it is awake.
    pub(crate) fn want_doorbell(&mut self, units: u64) -> Result<bool, Broken> {
        self.area.header().producer.0.announce(Sleep::Doorbell, u32::try_from(units).unwrap_or(u32::MAX));
        let room = self.has_room(units);
        if !matches!(room, Ok(false)) {
            self.awake();
        }
        room.map(|room| !room)
    }

    /// Whether it has been woken since it wanted its doorbell rung.
    pub(crate) fn is_woken(&self) -> bool {
        self.area.header().producer.0.is_awake()
    }

    /// Says that it sleeps no more. Whether it was the consumer who woke it: then its doorbell rings, or soon will.
    pub(crate) fn awake(&self) -> bool {
        self.area.header().producer.0.awake()
    }
}

/// A message that is being written. It is published in pieces once it is larger than a quarter of the ring, or than the room
/// there is.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    producer: &'a mut Producer,
    /// How many bytes have been written and not been published.
    open: usize,
    /// Whether something has been published.
    begun: bool,
}

impl Stream<'_> {
    /// Writes more of it. `wait` is called for room: for so many units.
    pub(crate) fn write<E: From<Broken>>(
        &mut self,
        mut bytes: &[u8],
        wait: &mut impl FnMut(&mut Producer, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        let piece = self.producer.piece();
        while !bytes.is_empty() {
            let units = 1 + (self.open + bytes.len()).div_ceil(UNIT) as u64;
            let units = units.min(piece);
            let room = units as usize * UNIT - UNIT - self.open;
            if room == 0 {
                self.publish(false, 0);
                continue;
            }
            if !self.producer.has_room(units)? {
                // What has been written can be taken meanwhile. If it is little, a message that will fit as a whole is better.
                if self.open > 0 && self.begun {
                    self.publish(false, 0);
                    continue;
                }
                wait(self.producer, units)?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.producer.area.write(self.producer.tail.after(1, 0), self.open, now);
            self.open += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Ends it. Whether the consumer sleeps at its doorbell, as [`Producer::owes_ring`] says.
    pub(crate) fn finish<E: From<Broken>>(
        mut self,
        tag: u8,
        wait: &mut impl FnMut(&mut Producer, u64) -> Result<(), E>,
    ) -> Result<bool, E> {
        // Only an empty message, or an empty rest, has no room yet for its word.
        while self.open == 0 && !self.producer.has_room(1)? {
            wait(self.producer, 1)?;
        }
        self.publish(true, tag);
        self.begun = false;
        Ok(self.producer.owes_ring())
    }

    fn publish(&mut self, last: bool, tag: u8) {
        let kind = match (self.begun, last) {
            (false, true) => Kind::Whole,
            (false, false) => Kind::First,
            (true, true) => Kind::Last,
            (true, false) => Kind::More,
        };
        self.producer.publish(Record { kind, length: self.open as u32, tag });
        self.begun = true;
        self.open = 0;
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if self.begun {
            // Without room for this, the next message says as much.
            self.open = 0;
            if matches!(self.producer.has_room(1), Ok(true)) {
                self.producer.publish(Record { kind: Kind::Abandoned, length: 0, tag: 0 });
            }
        }
    }
}
