//! What is known of each chunk, in a table that all tasks fill.
//!
//! A chunk's code is a number that only rises, so it is the same in the end whoever wrote first, and how often. The surer
//! what it says, the higher it is: nothing, then the slot of a vtable without type information, then a [`Shape`] that is a
//! guess, what is held with functions of its type, a shape that is certain, then the slot of a vtable with type information.

use super::shapes::Shape;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Slots are lower than this: those of 4 GiB of modules.
pub(super) const SLOTS: u32 = 1 << 29;

const VTABLES: u32 = 1;
const GUESSES: u32 = VTABLES + SLOTS;
const CALLABLES: u32 = GUESSES + 256;
const TRAITS: u32 = CALLABLES + SLOTS;
const COUNTED: u32 = TRAITS + SLOTS;
const UNDECIDED: u32 = COUNTED + SLOTS;
const SHAPES: u32 = UNDECIDED + 1;
const CLASSES: u32 = SHAPES + 256;

/// What a code says. Slots are numbers of words of modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Code {
    Nothing,
    /// Its first word may point to a vtable, of which nothing says that it is one.
    Vtable(u32),
    /// A callable that a `std::function` holds, which calls it by the function in this slot.
    Callable(u32),
    /// A value of the type that this vtable of a trait is for.
    Trait(u32),
    /// The same behind its reference counts.
    Counted(u32),
    /// Of those that hold it, some say one and some another of the last three.
    Undecided,
    Shape(Shape),
    /// Its first word points to the vtable of a class.
    Class(u32),
}

/// What makes a code doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// Pointers that are no vector's, nor a function's.
    Vector,
    /// Pointers that do not say what they lead to.
    Held,
}

impl Code {
    /// Who else must not point to the chunk, since nothing but who holds it says what it is.
    pub(super) fn doubt(self) -> Doubt {
        match self {
            Self::Shape(shape) if shape.is_guess() => Doubt::Vector,
            Self::Callable(_) => Doubt::Vector,
            Self::Trait(_) | Self::Counted(_) => Doubt::Held,
            Self::Nothing | Self::Vtable(_) | Self::Undecided | Self::Shape(_) | Self::Class(_) => Doubt::None,
        }
    }

    /// Whether it is of a chunk that begins with an object of C++, or with several.
    pub(super) fn is_of_object(self) -> bool {
        matches!(self, Self::Vtable(_) | Self::Class(_))
    }

    fn number(self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Vtable(slot) => VTABLES + slot,
            Self::Shape(shape) if shape.is_guess() => GUESSES + shape as u32,
            Self::Callable(slot) => CALLABLES + slot,
            Self::Trait(slot) => TRAITS + slot,
            Self::Counted(slot) => COUNTED + slot,
            Self::Undecided => UNDECIDED,
            Self::Shape(shape) => SHAPES + shape as u32,
            Self::Class(slot) => CLASSES + slot,
        }
    }

    fn new(number: u32) -> Self {
        let shape = |number: u32| Shape::ALL.get(number as usize).map_or(Self::Nothing, |shape| Self::Shape(*shape));
        match number {
            0 => Self::Nothing,
            VTABLES..GUESSES => Self::Vtable(number - VTABLES),
            GUESSES..CALLABLES => shape(number - GUESSES),
            CALLABLES..TRAITS => Self::Callable(number - CALLABLES),
            TRAITS..COUNTED => Self::Trait(number - TRAITS),
            COUNTED..UNDECIDED => Self::Counted(number - COUNTED),
            UNDECIDED => Self::Undecided,
            SHAPES..CLASSES => shape(number - SHAPES),
            CLASSES.. => Self::Class(number - CLASSES),
        }
    }
}

/// What two codes for the same chunk come to. A callable and a guess are as doubtful as each other.
fn join(one: u32, other: u32) -> u32 {
    let held = |code: u32| (CALLABLES..=UNDECIDED).contains(&code);
    let (less, more) = (one.min(other), one.max(other));
    let guessed = (GUESSES..CALLABLES).contains(&less) && (CALLABLES..TRAITS).contains(&more);
    if less != more && (guessed || (held(less) && held(more))) { UNDECIDED } else { more }
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
            let before = (word >> shift) as u32;
            let joined = join(before, code);
            (joined != before).then_some(others | u64::from(joined) << shift)
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
        let slot = || prop_oneof![0..3u32, Just(SLOTS - 1)];
        prop_oneof![
            Just(Code::Nothing),
            slot().prop_map(Code::Vtable),
            slot().prop_map(Code::Callable),
            slot().prop_map(Code::Trait),
            slot().prop_map(Code::Counted),
            prop::sample::select(Shape::ALL.to_vec()).prop_map(Code::Shape),
            slot().prop_map(Code::Class),
        ]
    }

    /// How sure it is.
    fn rank(code: Code) -> u32 {
        match code {
            Code::Nothing => 0,
            Code::Vtable(_) => 1,
            Code::Shape(shape) if shape.is_guess() => 2,
            Code::Callable(_) | Code::Trait(_) | Code::Counted(_) | Code::Undecided => 3,
            Code::Shape(_) => 4,
            Code::Class(_) => 5,
        }
    }

    /// What there is in the end, by all notes at once.
    fn naive(notes: &[Code]) -> Code {
        let Some(most) = notes.iter().map(|code| rank(*code)).max() else { return Code::Nothing };
        let mut best: Vec<Code> = notes.iter().copied().filter(|code| rank(*code) == most).collect();
        best.sort_by_key(|code| code.number());
        best.dedup();
        let guessed =
            notes.iter().any(|code| rank(*code) == 2) && notes.iter().any(|code| matches!(code, Code::Callable(_)));
        if most == 3 && (best.len() > 1 || guessed) { Code::Undecided } else { best[best.len() - 1] }
    }

    proptest! {
        #[test]
        fn the_surest_stays_in_any_order(notes in prop::collection::vec((0..7u64, code()), 0..60)) {
            let table = table(Codes::words(7));
            let codes = Codes(table.words());
            notes.iter().for_each(|(chunk, code)| codes.raise(*chunk, *code));
            for chunk in 0..7 {
                let own: Vec<Code> = notes.iter().filter(|(other, _)| *other == chunk).map(|(_, code)| *code).collect();
                prop_assert_eq!(codes.of(chunk), naive(&own));
            }
        }
    }
}
