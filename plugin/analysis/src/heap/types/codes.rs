//! What is known of each chunk, in a table that all tasks fill.
//!
//! A chunk's code is a number that only rises, so it is the same in the end whoever wrote first, and how often. The surer
//! what it says, the higher it is: nothing, then the slot of a vtable without type information, then a [`Shape`],
//! then the slot of a vtable with type information.

use super::shapes::Shape;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SHAPES: u32 = 1 << 31;
const CLASSES: u32 = SHAPES + 256;

/// Slots of vtables are lower than this.
pub(super) const SLOTS: u32 = u32::MAX - CLASSES;

/// What a code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Code {
    Nothing,
    /// Its first word may point to a vtable, of which nothing says that it is one.
    Vtable(u32),
    Shape(Shape),
    /// Its first word points to the vtable of a class.
    Class(u32),
}

impl Code {
    fn number(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Vtable(slot) => 1 + slot,
            Self::Shape(shape) => SHAPES + shape as u32,
            Self::Class(slot) => CLASSES + slot,
        }
    }

    fn new(number: u32) -> Self {
        match number {
            0 => Self::Nothing,
            1..SHAPES => Self::Vtable(number - 1),
            SHAPES..CLASSES => {
                Shape::ALL.get((number - SHAPES) as usize).map_or(Self::Nothing, |shape| Self::Shape(*shape))
            }
            CLASSES.. => Self::Class(number - CLASSES),
        }
    }
}

/// A code of 32 bits for each chunk, by the chunk's number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes<'a>(pub(super) &'a [AtomicU64]);

impl Codes<'_> {
    /// How many words the codes of so many chunks take.
    pub(super) fn words(chunks: u64) -> u64 {
        chunks.div_ceil(2)
    }

    pub(super) fn of(&self, chunk: u64) -> Code {
        let word = self.0.get((chunk / 2) as usize).map_or(0, |word| word.load(Relaxed));
        Code::new((word >> (chunk % 2 * 32)) as u32)
    }

    /// Notes what a chunk is, unless something surer is known.
    pub(super) fn raise(&self, chunk: u64, code: Code) {
        let Some(word) = self.0.get((chunk / 2) as usize) else { return };
        let shift = chunk % 2 * 32;
        let code = code.number();
        let raise = |word: u64| {
            let others = word & !(u64::from(u32::MAX) << shift);
            (((word >> shift) as u32) < code).then_some(others | u64::from(code) << shift)
        };
        // It fails where there is nothing to raise.
        let _ = word.fetch_update(Relaxed, Relaxed, raise);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::table;
    use proptest::prelude::*;

    fn code() -> impl Strategy<Value = Code> {
        prop_oneof![
            Just(Code::Nothing),
            (0..SHAPES - 1).prop_map(Code::Vtable),
            prop::sample::select(Shape::ALL.to_vec()).prop_map(Code::Shape),
            (0..SLOTS).prop_map(Code::Class),
        ]
    }

    proptest! {
        #[test]
        fn the_surest_stays_in_any_order(notes in prop::collection::vec((0..7u64, code()), 0..60)) {
            let table = table(Codes::words(7));
            let codes = Codes(table.words());
            notes.iter().for_each(|(chunk, code)| codes.raise(*chunk, *code));
            for chunk in 0..7 {
                let surest = notes.iter().filter(|(other, _)| *other == chunk).map(|(_, code)| *code).max();
                prop_assert_eq!(codes.of(chunk), surest.unwrap_or(Code::Nothing));
            }
        }
    }
}
