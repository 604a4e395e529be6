//! A byte ring in shared memory: whole messages from one producer to one consumer, each in a process of its own.
//!
//! The ring is a [`Header`](header::Header) and a power of two of bytes. A record is a word (its length and kind) and its
//! bytes, padded to words. Nothing of a record can be seen before its producer publishes the position behind it, so a producer
//! that dies in the middle of one has written nothing. A message that does not fit travels as several records while the
//! consumer takes them, so its size has nothing to do with the ring's. A message that was begun and never ended is dropped
//! where the next one begins.
//!
//! Both sides work on copies of the other's position and look at it only when theirs says that the ring is full, or empty.
//! Then they spin, if the other side runs on another processor; a consumer whose producer runs on the same one lets it run. After
//! that they sleep in a futex, or at a doorbell, which is whatever the user of the ring has: each side says in the header how it
//! sleeps, and the other one looks after it has published. A consumer sleeps in its futex until it is woken, if need be by an [`Alarm`], for it does not notice that its
//! producer has died.
//!
//! Neither side trusts the other: what is read from the memory is checked, and [`Broken`] says that it made no sense.

mod alarm;
mod area;
mod consumer;
mod copy;
mod handover;
mod header;
mod position;
mod producer;
mod spin;
mod view;

#[cfg(all(loom, test))]
mod loom;
#[cfg(all(not(loom), test))]
mod tests;

pub(crate) use self::{
    alarm::Alarm,
    area::Memory,
    consumer::Consumer,
    position::MESSAGES_MAX,
    producer::{Producer, Stream},
    view::View,
};

use std::time::Duration;

/// The bytes that a ring takes in its memory, beside its capacity.
pub(crate) const HEADER: usize = size_of::<header::Header>();

/// To what a ring's place in its memory must be aligned.
pub(crate) const ALIGNMENT: usize = 128;

/// The least capacity, in bytes.
pub(crate) const CAPACITY_MIN: usize = 64;

/// The greatest capacity, in bytes: a record's length is a 32-bit number.
pub(crate) const CAPACITY_MAX: usize = 1 << 31;

/// How long a producer sleeps in a futex, where it does not hear of its consumer's death, before it goes to its doorbell.
pub(crate) const BRIEF: Duration = Duration::from_millis(1);

/// The other side wrote what makes no sense; or the place of the ring is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ring that was written by something else than its other side: {0}")]
pub(crate) struct Broken(pub(crate) &'static str);
