//! Who points to an address: every pointer, the chunk that it lies in, who points to that, and how a root leads there.
//!
//! The first time all memory is scanned for pointers into a range ([`Pointers`]), but for what a walk through the heap has found of
//! them on its way. Once all pointers are sorted by what they point to ([`Inverted`]), nothing is read any more; once there is a
//! [`ReverseGraph`](super::graph::ReverseGraph), only chunks that point to the right chunk are looked at ([`Query`]). The answer is
//! the same.

mod inverted;
mod pointers;
mod query;
#[cfg(test)]
mod tests;

use super::area::words_of;
use super::graph::Register;
use super::{Chunk, Lookup, Segments};
use target::AddressRange;

pub use inverted::{Invert, InvertMerge, InvertPartial, InvertScanner, Inverted};
pub(super) use pointers::pointers_into;
pub use pointers::{Pointers, PointersMerge, PointersPartial, PointersScanner};
pub use query::{Answer, Query};

/// Where a pointer lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In memory: at this address, and in this chunk, used or free, if it lies in one.
    Memory {
        address: u64,
        chunk: Option<Chunk>,
    },
    Register {
        thread: u64,
        name: String,
    },
}

impl Place {
    /// Where in memory it is.
    pub fn address(&self) -> Option<u64> {
        match self {
            Self::Memory { address, .. } => Some(*address),
            Self::Register { .. } => None,
        }
    }

    /// The chunk in use that it lies in.
    pub fn holder(&self) -> Option<Chunk> {
        match self {
            Self::Memory { chunk, .. } => chunk.filter(|chunk| chunk.used),
            Self::Register { .. } => None,
        }
    }

    /// Whether it keeps alive what it points to: it does not lie in a chunk.
    pub fn is_root(&self) -> bool {
        !matches!(self, Self::Memory { chunk: Some(_), .. })
    }
}

/// A pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    pub place: Place,
    /// What it points to.
    pub value: u64,
}

impl Pointer {
    /// The pointer to `value` at an address.
    pub fn at(address: u64, value: u64, lookup: &Lookup<'_>) -> Self {
        let chunk = lookup.owner_at(address).and_then(|granule| lookup.chunk(granule));
        Self { place: Place::Memory { address, chunk }, value }
    }

    /// The pointer in a register.
    pub fn of(register: &Register) -> Self {
        let place = Place::Register { thread: register.thread, name: register.name.clone() };
        Self { place, value: register.value }
    }
}

/// A pointer that leads to what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub pointer: Pointer,
    /// Over how many pointers it leads there: 1 if it points to it.
    pub depth: u32,
    /// How a root leads to it, if that was asked for and one does.
    pub chain: Option<Chain>,
}

/// A shortest way from a root to a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The pointer to the chunk that the pointer lies in, the one to the chunk that this one lies in, and so on; empty if
    /// the pointer is a root itself.
    pub links: Vec<Pointer>,
    /// Whether there are more links, the last of which is a root.
    pub cut: bool,
}

/// What is pointed into when an address is asked for: all that may be used of the allocation that it lies in, and else
/// exactly the address.
pub fn target(lookup: &Lookup<'_>, address: u64) -> AddressRange {
    let chunk = lookup.used_at(address).and_then(|granule| lookup.chunk(granule));
    chunk.map_or(AddressRange::sized(address, 1), |chunk| words_of(&chunk, lookup.segments()))
}

/// What an allocation at `address` hardly reaches beyond, before it is known where it begins and ends.
pub fn around(segments: &Segments, address: u64) -> AddressRange {
    let exactly = AddressRange::sized(address, 1);
    segments.segment_at(address).map_or(exactly, |segment| {
        let around = AddressRange::new(address.saturating_sub(AROUND), address.saturating_add(AROUND));
        segments.list()[segment].range.intersect(around).unwrap_or(exactly)
    })
}

/// Chunks that are larger than this mostly have mappings of their own (M_MMAP_THRESHOLD).
const AROUND: u64 = 128 << 10;

/// The registers that point into a range.
pub fn in_registers(registers: &[Register], target: AddressRange) -> impl Iterator<Item = Pointer> {
    registers.iter().filter(move |register| target.contains(register.value)).map(Pointer::of)
}
