//! Addresses are `u64` in the target's address space, ranges half-open.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A half-open range of addresses, `start..end` with `start <= end`.
///
/// The last byte of the address space is never part of a range; no user-space mapping on x86-64 reaches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressRange {
    pub start: u64,
    pub end: u64,
}

impl AddressRange {
    /// The range `start..end`; empty at `start` if `end` lies before it.
    pub const fn new(start: u64, end: u64) -> Self {
        let end = if end < start { start } else { end };
        Self { start, end }
    }

    /// The `length` bytes from `start`, cut at the end of the address space.
    pub const fn sized(start: u64, length: u64) -> Self {
        Self { start, end: start.saturating_add(length) }
    }

    /// Its length in bytes.
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub const fn contains(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// What both ranges cover; `None` if that is nothing.
    pub fn intersect(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Self { start, end })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.start, self.end)
    }
}

/// The order of the bytes of a number in the target's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ByteOrder {
    #[default]
    Little,
    Big,
}

/// How the target lays out numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Bytes of a pointer: 4 or 8.
    pub pointer_size: u8,
    pub byte_order: ByteOrder,
}

impl Default for Layout {
    fn default() -> Self {
        Self { pointer_size: 8, byte_order: ByteOrder::Little }
    }
}

impl Layout {
    /// The number in `bytes` (at most 8 of them).
    pub fn number(self, bytes: &[u8]) -> u64 {
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self.byte_order {
            ByteOrder::Little => bytes.iter().rev().fold(0, fold),
            ByteOrder::Big => bytes.iter().fold(0, fold),
        }
    }

    /// The lowest `size` bytes (at most 8) of `value`, as they lie in memory.
    pub fn bytes(self, value: u64, size: usize) -> Vec<u8> {
        match self.byte_order {
            ByteOrder::Little => value.to_le_bytes()[..size].to_vec(),
            ByteOrder::Big => value.to_be_bytes()[8 - size..].to_vec(),
        }
    }
}
