//! The side that reads.

use super::area::{Area, Memory};
use super::handover::Handover;
use super::header::Sleep;
use super::position::{Kind, Position, Record};
use super::{Alarm, Broken, spin};
use crate::futex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The only reader of a ring, or the one that holds the readers' lock.
#[derive(Debug)]
pub(crate) struct Consumer {
    area: Area,
    /// How far it has come.
    head: Position,
    /// How far the producer had come when last looked.
    tail: Position,
    /// What has come of a message in pieces, if one has begun.
    partial: Option<Vec<u8>>,
    /// The longest message.
    limit: usize,
    /// The processor that the header names.
    processor: u32,
    handover: Handover,
    /// Whether the producer has to be woken by its doorbell.
    owes_ring: bool,
}

impl Consumer {
    /// The reader of the ring at `offset`, whose `capacity` is a power of two. A message of more than `limit` bytes breaks the
    /// ring. Memory that is all zero is an empty ring; one that was used goes on where it is.
    pub(crate) fn new(
        memory: Arc<impl Memory + 'static>,
        offset: usize,
        capacity: usize,
        limit: usize,
    ) -> Result<Consumer, Broken> {
        let area = Area::new(memory, offset, capacity)?;
        let head = area.header().head();
        let handover = Handover::default();
        Ok(Consumer { area, head, tail: head, partial: None, limit, processor: 0, handover, owes_ring: false })
    }

    /// Takes up where another consumer of the ring has left off.
    pub(crate) fn reload(&mut self) {
        self.head = self.area.header().head();
        // What is known of the producer is old, but true, as long as it is possible.
        if self.tail.units_since(self.head) > self.area.units() {
            self.tail = self.head;
        }
        self.partial = None;
    }

    /// Lets this side go: a producer that sleeps in the futex is told to look whether there is anybody left.
    pub(crate) fn let_go(&self) {
        let header = self.area.header();
        Area::let_go(&header.consumer.0).store(1, Ordering::Relaxed);
        futex::wake(Area::futex(&header.producer.0), 1);
    }

    /// Whether it has been woken since it wanted its doorbell rung.
    pub(crate) fn is_woken(&self) -> bool {
        self.area.header().consumer.0.is_awake()
    }

    /// Takes a message, if one has come as a whole: its bytes are `into` then, and its tag is returned. What has come of one that
    /// has not is kept.
    pub(crate) fn try_pop(&mut self, into: &mut Vec<u8>) -> Result<Option<u8>, Broken> {
        while self.has_record()? {
            let record = Record::parse(self.area.word(self.head))?;
            if record.units() > self.tail.units_since(self.head) {
                return Err(Broken("a record beyond its end"));
            }
            let length = record.length as usize;
            let first = self.head.after(1, 0);
            let so_far = self.partial.as_ref().map_or(0, Vec::len);
            let begins = matches!(record.kind, Kind::Whole | Kind::First | Kind::Abandoned);
            if length > self.limit - if begins { 0 } else { so_far } {
                return Err(Broken("a message beyond the limit"));
            }
            match record.kind {
                Kind::Whole => {
                    self.partial = None;
                    into.clear();
                    self.area.read(first, length, into);
                    self.release(record);
                    return Ok(Some(record.tag));
                }
                Kind::First => {
                    // The caller's space is used, so that there is no other one.
                    let mut partial = std::mem::take(into);
                    partial.clear();
                    self.area.read(first, length, &mut partial);
                    self.partial = Some(partial);
                }
                Kind::More | Kind::Last => {
                    // Without a beginning, it was another consumer, which has died, that had it.
                    if let Some(partial) = &mut self.partial {
                        self.area.read(first, length, partial);
                    }
                }
                Kind::Abandoned => self.partial = None,
            }
            self.release(record);
            if record.kind == Kind::Last
                && let Some(message) = self.partial.take()
            {
                *into = message;
                return Ok(Some(record.tag));
            }
        }
        Ok(None)
    }

    /// Takes a message, and waits for one until the deadline; `None` if none has come.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn pop(&mut self, into: &mut Vec<u8>, deadline: Option<Instant>) -> Result<Option<u8>, Broken> {
        loop {
            if let Some(tag) = self.try_pop(into)? {
                return Ok(Some(tag));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(None);
            }
            self.sleep(deadline, None);
        }
    }

    /// Whether the producer sleeps at its doorbell, since before the last call: then it is for the caller to ring it, once. A
    /// producer that slept in the futex was woken already.
    pub(crate) fn owes_ring(&mut self) -> bool {
        std::mem::take(&mut self.owes_ring)
    }

    /// Whether a message has begun to come and is not there as a whole.
    pub(crate) fn is_gathering(&self) -> bool {
        self.partial.is_some()
    }

    /// Drops what has come of a message: its producer is known to have died.
    pub(crate) fn abandon(&mut self) {
        self.partial = None;
    }

    /// Whether there is a record: a message, or a part of one.
    pub(crate) fn has_record(&mut self) -> Result<bool, Broken> {
        if self.tail.units() == self.head.units() {
            self.tail = self.area.header().tail();
            if self.tail.units_since(self.head) > self.area.units() {
                return Err(Broken("its producer is ahead of its consumer by more than it holds"));
            }
        }
        Ok(self.tail.units() != self.head.units())
    }

    /// How many messages there are.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn messages(&self) -> u32 {
        self.area.header().tail().messages_since(self.head)
    }

    /// Gives a record's place back.
    fn release(&mut self, record: Record) {
        self.note_processor();
        self.head = self.head.after(record.units(), u64::from(matches!(record.kind, Kind::Whole | Kind::Last)));
        let header = self.area.header();
        header.publish_head(self.head);
        let free = self.area.units().saturating_sub(self.tail.units_since(self.head));
        let producer = &header.producer.0;
        match producer.rouse(free) {
            Sleep::Awake => {}
            Sleep::Futex => _ = futex::wake(Area::futex(producer), 1),
            Sleep::Doorbell => self.owes_ring = true,
        }
    }

    fn note_processor(&mut self) {
        let processor = spin::processor();
        if processor != self.processor {
            self.processor = processor;
            Area::processor(&self.area.header().consumer.0).store(processor, Ordering::Relaxed);
        }
    }

    /// An alarm that ends its sleep in the futex.
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm::new(self.area.clone())
    }

    /// Waits awake for a record, if that pays; whether there is one. A producer of this processor is let run for that.
    pub(crate) fn spin(&mut self) -> bool {
        self.note_processor();
        let Consumer { area, head, processor, handover, .. } = self;
        let header = area.header();
        let ready = || header.tail().units() != head.units();
        let other = Area::processor(&header.producer.0);
        if *processor != 0 && other.load(Ordering::Relaxed) == *processor {
            ready() || handover.until(ready)
        } else {
            spin::until(other, *processor, ready)
        }
    }

    /// Waits for a record, awake and then in the futex, until the deadline. It may also return for no reason, and does if this
    /// alarm of it is raised.
    pub(crate) fn sleep(&mut self, deadline: Option<Instant>, alarm: Option<&Alarm>) {
        if self.spin() {
            return;
        }
        let header = self.area.header();
        header.consumer.0.announce(Sleep::Futex, 1);
        // A timer that is set and taken back at each message would cost more than the sleep itself.
        if header.tail().units() == self.head.units() && !alarm.is_some_and(Alarm::is_raised) {
            futex::wait(Area::futex(&header.consumer.0), Sleep::Futex as u32, deadline);
        }
        header.consumer.0.awake();
    }

    /// Says that this side is going to sleep at its doorbell until there is a record. Whether it has to; if not, it is
    /// awake.
    pub(crate) fn want_doorbell(&mut self) -> Result<bool, Broken> {
        self.area.header().consumer.0.announce(Sleep::Doorbell, 1);
        let there = self.has_record();
        if !matches!(there, Ok(false)) {
            self.awake();
        }
        there.map(|there| !there)
    }

    /// Says that it sleeps no more. Whether it was the producer who woke it: then its doorbell rings, or soon will.
    pub(crate) fn awake(&self) -> bool {
        self.area.header().consumer.0.awake()
    }
}
