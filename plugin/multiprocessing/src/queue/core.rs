//! The shared part of a queue: a ring with a robust lock at each end, and what is said beside it.

use super::event;
use crate::codec::Descriptor;
use crate::message::{Line, MESSAGE_LIMIT};
use crate::packets::Packets;
use crate::pipe::Lent;
use crate::ring::{Consumer, HEADER, MESSAGES_MAX, Producer, View};
use crate::sync::region::{Region, Which};
use crate::sync::robust::{self, Hold};
use crate::sync::word::Until;
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where what is.
const CAPACITY: usize = 0;
const MESSAGES: usize = 8;
const CLOSED: usize = 12;
const WATCHED: usize = 16;
const ITEMS: usize = 128;
const ROOM: usize = 256;
const PUT: usize = 384;
const DONE: usize = 512;
const ALL_DONE: usize = 520;
const RING: usize = 640;

/// The lock of those who put, and of those who get.
const PUTTING: Which = Which::First;
const GETTING: Which = Which::Second;

/// What one who puts works with.
pub(super) struct Putting {
    pub(super) producer: Producer,
    pub(super) line: Line,
}

/// What one who gets works with.
pub(super) struct Getting {
    pub(super) consumer: Consumer,
    pub(super) line: Line,
}

/// See above.
pub(super) struct Core {
    region: Arc<Region>,
    pub(super) view: View,
    pub(super) messages: u32,
    capacity: usize,
    putting: Mutex<Putting>,
    getting: Mutex<Getting>,
    /// Readable as long as there is something to get, once somebody looks at it.
    flag: OwnedFd,
    sockets: [Packets; 2],
}

/// An end of the queue that is held: nobody else puts, or gets.
pub(super) struct Held<'a, E> {
    // In this order, so that the lock is released last.
    pub(super) end: MutexGuard<'a, E>,
    _hold: Hold<'a>,
}

/// Why an end is not held.
pub(super) enum NotHeld {
    TimedOut,
    Broken,
}

impl Core {
    pub(super) fn new(capacity: usize, messages: u32) -> io::Result<Core> {
        let region = Region::new(RING + HEADER + capacity)?;
        region.atomic_u64(CAPACITY).store(capacity as u64, Ordering::Relaxed);
        region.atomic_u32(MESSAGES).store(messages.clamp(1, MESSAGES_MAX), Ordering::Relaxed);
        let flag = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let (one, other) = Packets::pair()?;
        Core::open(region, flag.into(), [one, other])
    }

    fn open(region: Arc<Region>, flag: OwnedFd, sockets: [Packets; 2]) -> io::Result<Core> {
        let capacity =
            usize::try_from(region.atomic_u64(CAPACITY).load(Ordering::Relaxed)).map_err(io::Error::other)?;
        let messages = region.atomic_u32(MESSAGES).load(Ordering::Relaxed);
        let view = View::new(region.clone(), RING, capacity).map_err(io::Error::other)?;
        let mut producer = Producer::new(region.clone(), RING, capacity).map_err(io::Error::other)?;
        producer.set_message_limit(messages);
        let consumer = Consumer::new(region.clone(), RING, capacity, MESSAGE_LIMIT).map_err(io::Error::other)?;
        let line = |socket: &Packets| -> io::Result<Line> {
            Ok(Line::new(Packets::from_descriptor(socket.as_fd().try_clone_to_owned()?)?))
        };
        let putting = Mutex::new(Putting { producer, line: line(&sockets[0])? });
        let getting = Mutex::new(Getting { consumer, line: line(&sockets[1])? });
        Ok(Core { region, view, messages, capacity, putting, getting, flag, sockets })
    }

    /// The bytes that there is room for, at most.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn put_end(&self, until: Until) -> Result<Held<'_, Putting>, NotHeld> {
        let mut held = self.hold(PUTTING, &self.putting, until)?;
        held.end.producer.reload().map_err(|_| NotHeld::Broken)?;
        // One who died may have published and not counted, or counted and not published.
        self.put_count().store(self.count_put(), Ordering::Relaxed);
        Ok(held)
    }

    pub(super) fn get_end(&self, until: Until) -> Result<Held<'_, Getting>, NotHeld> {
        let mut held = self.hold(GETTING, &self.getting, until)?;
        held.end.consumer.reload();
        Ok(held)
    }

    /// Whether nobody is putting now.
    pub(super) fn is_nobody_putting(&self) -> bool {
        self.hold(PUTTING, &self.putting, Until::Now).is_ok()
    }

    fn hold<'a, E>(&'a self, which: Which, end: &'a Mutex<E>, until: Until) -> Result<Held<'a, E>, NotHeld> {
        // Whether the last holder died does not matter: what it has not published has not happened.
        robust::lock(&self.region, which, until).map_err(|denied| match denied {
            crate::sync::Denied::TimedOut => NotHeld::TimedOut,
            _ => NotHeld::Broken,
        })?;
        let hold = Hold(&self.region, which);
        Ok(Held { end: end.lock().unwrap_or_else(PoisonError::into_inner), _hold: hold })
    }

    /// To be called after something was put.
    pub(super) fn note_put(&self) {
        event::happened(self.region.atomic_u32(ITEMS));
        if self.is_watched() {
            let _ = nix::unistd::write(&self.flag, &1_u64.to_ne_bytes());
        }
    }

    /// To be called after something was got, with the end still held.
    pub(super) fn note_got(&self) {
        if self.is_watched() {
            self.settle();
        }
    }

    /// To be called after something was got.
    pub(super) fn note_room(&self) {
        let urgent = self.messages < 8 || self.urgent().load(Ordering::Relaxed) != 0;
        if urgent || self.view.is_roomy(self.messages) {
            event::happened(self.room());
        }
    }

    /// Waits until there may be something, for a while.
    pub(super) fn await_item(&self, until: Until) {
        if !self.view.spin_for_message() {
            let ready = || !self.view.is_empty() || self.is_closed();
            event::wait(self.region.atomic_u32(ITEMS), until.deadline(), ready);
        }
    }

    /// Waits until there may be room for so many bytes, for a while.
    pub(super) fn await_room(&self, bytes: usize, until: Until, patient: bool) {
        if self.view.spin_for_room(bytes, self.messages) {
            return;
        }
        // At first it is better to wait until there is much room, so that not each message costs a wake-up.
        if !patient {
            self.urgent().fetch_add(1, Ordering::SeqCst);
        }
        let ready = || self.view.has_room(bytes, self.messages) && (!patient || self.view.is_roomy(self.messages));
        let brief = patient.then(|| std::time::Instant::now() + crate::ring::BRIEF);
        let deadline = match (brief, until.deadline()) {
            (Some(brief), Some(deadline)) => Some(brief.min(deadline)),
            (brief, deadline) => brief.or(deadline),
        };
        event::wait(self.room(), deadline, || ready() || self.is_closed());
        if !patient {
            self.urgent().fetch_sub(1, Ordering::SeqCst);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.region.atomic_u32(CLOSED).load(Ordering::SeqCst) != 0
    }

    pub(super) fn close(&self) {
        self.region.atomic_u32(CLOSED).store(1, Ordering::SeqCst);
        for word in [ITEMS, ROOM, ALL_DONE] {
            event::happened_to_all(self.region.atomic_u32(word));
        }
        if self.is_watched() {
            self.settle();
        }
    }

    /// How many have been put and are not done.
    pub(super) fn undone(&self) -> u64 {
        let done = self.done_count().load(Ordering::SeqCst);
        self.count_put().saturating_sub(done)
    }

    /// One more is done; `false` if all were.
    pub(super) fn done(&self) -> bool {
        let one_more = |done: u64| (done < self.count_put()).then_some(done + 1);
        if self.done_count().fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_err() {
            return false;
        }
        if self.undone() == 0 {
            event::happened_to_all(self.region.atomic_u32(ALL_DONE));
        }
        true
    }

    pub(super) fn await_done(&self, until: Until) {
        event::wait(self.region.atomic_u32(ALL_DONE), until.deadline(), || self.undone() == 0);
    }

    /// The descriptor that is readable as long as there is something to get, or the queue is closed.
    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        if !self.is_watched() {
            self.region.atomic_u32(WATCHED).store(1, Ordering::SeqCst);
            // Producers that did not see this have put before.
            fence(Ordering::SeqCst);
            if !self.view.is_empty() || self.is_closed() {
                let _ = nix::unistd::write(&self.flag, &1_u64.to_ne_bytes());
            }
        }
        self.flag.as_fd()
    }

    fn settle(&self) {
        if self.view.is_empty() && !self.is_closed() {
            let _ = nix::unistd::read(&self.flag, &mut [0; 8]);
            fence(Ordering::SeqCst);
        }
        if !self.view.is_empty() || self.is_closed() {
            let _ = nix::unistd::write(&self.flag, &1_u64.to_ne_bytes());
        }
    }

    fn is_watched(&self) -> bool {
        self.region.atomic_u32(WATCHED).load(Ordering::Relaxed) != 0
    }

    fn count_put(&self) -> u64 {
        self.view.pushed(self.put_count().load(Ordering::SeqCst))
    }

    fn put_count(&self) -> &AtomicU64 {
        self.region.atomic_u64(PUT)
    }

    fn done_count(&self) -> &AtomicU64 {
        self.region.atomic_u64(DONE)
    }

    fn room(&self) -> &AtomicU32 {
        self.region.atomic_u32(ROOM)
    }

    /// How many wait for any room at all. One that was killed meanwhile only costs the others some wake-ups more.
    fn urgent(&self) -> &AtomicU32 {
        self.region.atomic_u32(ROOM + 4)
    }
}

impl Serialize for Core {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [one, other] = &self.sockets;
        (Lent(self.region.as_fd()), Lent(self.flag.as_fd()), Lent(one.as_fd()), Lent(other.as_fd()))
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Core {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Core, D::Error> {
        let (region, flag, one, other) = <(Descriptor, Descriptor, Descriptor, Descriptor)>::deserialize(deserializer)?;
        let region = Region::from_descriptor(region.into_inner()).map_err(D::Error::custom)?;
        let socket = |socket: Descriptor| Packets::from_descriptor(socket.into_inner()).map_err(D::Error::custom);
        Core::open(region, flag.into_inner(), [socket(one)?, socket(other)?]).map_err(D::Error::custom)
    }
}
