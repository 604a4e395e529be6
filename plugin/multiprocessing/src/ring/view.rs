//! A look at a ring from aside: what is said may be old by the time it is heard.

use super::area::{Area, Memory};
use super::position::{Position, UNIT};
use super::{Broken, spin};
use std::sync::Arc;

/// Sees how full a ring is, and takes no part in it.
#[derive(Debug)]
pub(crate) struct View(Area);

impl View {
    pub(crate) fn new(memory: Arc<impl Memory + 'static>, offset: usize, capacity: usize) -> Result<View, Broken> {
        Area::new(memory, offset, capacity).map(View)
    }

    /// How many whole messages there are.
    pub(crate) fn messages(&self) -> u32 {
        let (tail, head) = self.positions();
        tail.messages_since(head)
    }

    /// Whether there is no record.
    pub(crate) fn is_empty(&self) -> bool {
        let (tail, head) = self.positions();
        tail.units() == head.units()
    }

    /// Whether a message of so many bytes can be pushed, if there may be so many messages.
    pub(crate) fn has_room(&self, bytes: usize, messages: u32) -> bool {
        let (tail, head) = self.positions();
        let units = 1 + bytes.div_ceil(UNIT) as u64;
        self.0.units().saturating_sub(tail.units_since(head)) >= units && tail.messages_since(head) < messages
    }

    /// Whether there is so much room that it pays to wake who waits for some.
    pub(crate) fn is_roomy(&self, messages: u32) -> bool {
        let (tail, head) = self.positions();
        tail.units_since(head) <= self.0.units() / 4 * 3 && tail.messages_since(head) <= messages / 4 * 3
    }

    /// How many messages have been pushed, given a count of them that is not too high, nor millions too low.
    pub(crate) fn pushed(&self, at_least: u64) -> u64 {
        at_least + u64::from(self.0.header().tail().messages_since(Position::of_messages(at_least)))
    }

    /// Waits awake for something to be there, if that pays.
    pub(crate) fn spin_for_message(&self) -> bool {
        spin::until(Area::processor(&self.0.header().producer.0), spin::processor(), || !self.is_empty())
    }

    /// Waits awake for room, if that pays.
    pub(crate) fn spin_for_room(&self, bytes: usize, messages: u32) -> bool {
        spin::until(Area::processor(&self.0.header().consumer.0), spin::processor(), || self.has_room(bytes, messages))
    }

    fn positions(&self) -> (Position, Position) {
        // The head first: a tail that is younger only shows more.
        let head = self.0.header().head();
        (self.0.header().tail(), head)
    }
}
