//! What both sides of a ring say to each other: how far they have come, where they run, and how they sleep.
//!
//! No wake-up is lost: a side that goes to sleep says so, then looks once more whether it has to; the other one publishes its
//! position, then looks whether somebody sleeps. The fences between mean that at least one of them sees what the other did.
//! An alarm is raised in the same way: it takes the place of the position.

use super::position::Position;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

#[cfg(all(loom, test))]
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};
#[cfg(not(all(loom, test)))]
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};

/// Two cache lines, as they are often fetched in pairs.
#[repr(C, align(128))]
#[derive(Debug)]
pub(super) struct Line<T>(pub(super) T);

/// One side, as the other one sees it. It changes seldom, so that looking at it costs nothing.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Standing {
    /// How it sleeps: a number of [`Sleep`]. This is the word of its futex.
    pub(super) sleep: AtomicU32,
    /// How many units it sleeps for; for a consumer it is one.
    pub(super) wants: AtomicU32,
    /// The number of the processor on which it last ran, and one; zero before it has.
    pub(super) processor: AtomicU32,
    /// Whether one who held this side has let it go. Others may hold it still.
    pub(super) let_go: AtomicU32,
}

/// The header of a ring. All zero is an empty ring.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Header {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
    pub(super) producer: Line<Standing>,
    pub(super) consumer: Line<Standing>,
}

/// How a side sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// It does not.
    Awake = 0,
    /// In the futex of its standing.
    Futex = 1,
    /// At a doorbell that it shares with the other side, or soon.
    Doorbell = 2,
}

/// Whether a side's alarm was raised. It is not in the ring's memory, but in that of the process that sleeps.
#[derive(Debug, Default)]
pub(super) struct Raised(AtomicBool);

impl Raised {
    /// Raises it. Whoever sleeps on that side has to be woken after this.
    pub(super) fn raise(&self, side: &Standing) {
        self.0.store(true, Relaxed);
        side.rouse(u64::MAX);
    }

    /// To be asked after [`Standing::announce`], before this side sleeps.
    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Header {
    #[cfg(all(loom, test))]
    pub(super) fn new() -> Header {
        let standing = || Standing {
            sleep: AtomicU32::new(0),
            wants: AtomicU32::new(0),
            processor: AtomicU32::new(0),
            let_go: AtomicU32::new(0),
        };
        Header {
            tail: Line(AtomicU64::new(0)),
            head: Line(AtomicU64::new(0)),
            producer: Line(standing()),
            consumer: Line(standing()),
        }
    }

    /// How far the producer has come. All before it can be read.
    pub(super) fn tail(&self) -> Position {
        Position(self.tail.0.load(Acquire))
    }

    /// How far the consumer has come. All before it can be written again.
    pub(super) fn head(&self) -> Position {
        Position(self.head.0.load(Acquire))
    }

    pub(super) fn publish_tail(&self, tail: Position) {
        self.tail.0.store(tail.0, Release);
    }

    pub(super) fn publish_head(&self, head: Position) {
        self.head.0.store(head.0, Release);
    }
}

impl Standing {
    /// Says that this side is about to sleep. It has to look at the other one's position once more after this.
    pub(super) fn announce(&self, how: Sleep, wants: u32) {
        self.wants.store(wants, Relaxed);
        // A swap, as all other changes of this word are: so their order is plain, to loom as well.
        self.sleep.swap(how as u32, AcqRel);
        fence(SeqCst);
    }

    /// Says that this side sleeps no more. Whether it was woken before.
    pub(super) fn awake(&self) -> bool {
        // A swap, so that what the other side published before it woke this one is seen.
        self.sleep.swap(Sleep::Awake as u32, AcqRel) == Sleep::Awake as u32
    }

    /// Whether this side does not sleep, or was woken.
    pub(super) fn is_awake(&self) -> bool {
        self.sleep.load(Acquire) == Sleep::Awake as u32
    }

    /// How this side has to be woken, now that `available` units are there for it and published. It is for the caller to do it:
    /// nobody is told a second time.
    pub(super) fn rouse(&self, available: u64) -> Sleep {
        fence(SeqCst);
        if self.sleep.load(Acquire) == Sleep::Awake as u32 || available < u64::from(self.wants.load(Relaxed)) {
            return Sleep::Awake;
        }
        match self.sleep.swap(Sleep::Awake as u32, AcqRel) {
            0 => Sleep::Awake,
            1 => Sleep::Futex,
            _ => Sleep::Doorbell,
        }
    }
}
