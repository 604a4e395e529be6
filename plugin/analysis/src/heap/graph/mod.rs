//! Who points to whom: the chunks of a heap, and the pointers between them.
//!
//! Chunks are known by their [numbers](super::Lookup::number), 32 bits each. [`Edges`] finds the pointers, in parallel;
//! [`Graph`] has them by the chunk that they lie in, [`ReverseGraph`] by the chunk that they point to.

mod edges;
mod reverse;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use super::Lookup;
use std::ops::Range;

pub use edges::{Edges, EdgesMerge, EdgesPartial, EdgesScanner};
pub use reverse::{ReverseGraph, Step};

/// How often a loop over a graph asks whether to stop: once in so many steps.
pub(super) const STEPS: usize = 1 << 16;

/// Why there is no graph of a heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    #[error("the heap has {0} chunks, and a graph can be made of at most 4294967295")]
    Chunks(u64),
    #[error(
        "there are more than {0} pointers to allocations, which is more than a graph may have; allow it more memory"
    )]
    Pointers(u64),
}

/// A register of a thread: what it holds keeps alive what that points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The thread's id in the operating system.
    pub thread: u64,
    pub name: String,
    pub value: u64,
}

/// For each chunk, the chunks in use that it points to, each once, and never itself. Free chunks have what their users
/// left in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    pub(super) arrows: Arrows,
    pub(super) roots: Roots,
}

impl Graph {
    /// How many chunks there are, free ones among them.
    pub fn chunks(&self) -> u32 {
        self.arrows.count()
    }

    /// How many pairs of chunks there are of which one points to the other.
    pub fn edges(&self) -> u64 {
        self.arrows.ends.len() as u64
    }

    /// The chunks that this one points to, in order.
    pub fn targets(&self, chunk: u32) -> &[u32] {
        self.arrows.of(chunk)
    }

    /// What points into the heap from outside.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Bytes that it takes: 4 for each chunk and each pair, 12 for each pointer from outside.
    pub fn memory(&self) -> u64 {
        self.arrows.memory() + self.roots.memory()
    }
}

/// Pointers into chunks in use from what is not heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// What the pointers point to, in order; those to the same chunk in the order of where they lie.
    chunks: Vec<u32>,
    /// Where each lies.
    addresses: Vec<u64>,
    /// Those in registers, and what they point to; in order of that.
    registers: Vec<(u32, Register)>,
}

impl Roots {
    /// Takes pointers, each where it lies and what it points to, in order of where they lie.
    fn new(mut pointers: Vec<(u64, u32)>, registers: &[Register], lookup: Lookup<'_>) -> Self {
        pointers.sort_by_key(|(_, chunk)| *chunk);
        let chunk = |register: &Register| Some(lookup.number(lookup.used_at(register.value)?) as u32);
        let registers = registers.iter().filter_map(|register| Some((chunk(register)?, register.clone())));
        let mut registers: Vec<_> = registers.collect();
        registers.sort_by_key(|(chunk, _)| *chunk);
        let chunks = pointers.iter().map(|(_, chunk)| *chunk).collect();
        Self { chunks, addresses: pointers.iter().map(|(address, _)| *address).collect(), registers }
    }

    /// The chunks that anything outside of the heap points to, each once, in order.
    pub fn chunks(&self) -> Vec<u32> {
        let mut all = self.chunks.clone();
        all.dedup();
        let memory = all.len();
        all.extend(self.registers.iter().map(|(chunk, _)| *chunk));
        if all.len() > memory {
            all.sort_unstable();
            all.dedup();
        }
        all
    }

    /// Where pointers to this chunk lie, in order.
    pub fn addresses(&self, chunk: u32) -> &[u64] {
        let first = self.chunks.partition_point(|other| *other < chunk);
        let count = self.chunks[first..].partition_point(|other| *other == chunk);
        &self.addresses[first..first + count]
    }

    /// Registers that point to this chunk.
    pub fn registers(&self, chunk: u32) -> impl Iterator<Item = &Register> {
        let first = self.registers.partition_point(|(other, _)| *other < chunk);
        self.registers[first..].iter().take_while(move |(other, _)| *other == chunk).map(|(_, register)| register)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        (self.chunks.len() + self.registers.len()) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take.
    pub fn memory(&self) -> u64 {
        let registers = size_of::<(u32, Register)>() * self.registers.len();
        (4 * self.chunks.capacity() + 8 * self.addresses.capacity() + registers) as u64
    }
}

/// A list of chunks for each chunk, all in one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrows {
    /// Where the list of each begins, and behind them, where the last one ends. Empty if there is no chunk.
    pub(super) first: Vec<u32>,
    pub(super) ends: Vec<u32>,
}

impl Arrows {
    pub(super) fn count(&self) -> u32 {
        self.first.len().saturating_sub(1) as u32
    }

    #[inline]
    pub(super) fn range(&self, chunk: u32) -> Range<usize> {
        let chunk = chunk as usize;
        match self.first.get(chunk..chunk.saturating_add(2)) {
            Some(&[start, end]) => start as usize..end as usize,
            _ => 0..0,
        }
    }

    #[inline]
    pub(super) fn of(&self, chunk: u32) -> &[u32] {
        &self.ends[self.range(chunk)]
    }

    pub(super) fn memory(&self) -> u64 {
        4 * (self.first.capacity() + self.ends.capacity()) as u64
    }

    /// The same arrows the other way round; `None` if told to stop. Each list is in order.
    pub(super) fn reversed(&self, stop: &dyn Fn() -> bool) -> Option<Self> {
        let count = self.count();
        let mut first = vec![0u32; self.first.len()];
        for ends in self.ends.chunks(STEPS) {
            if stop() {
                return None;
            }
            ends.iter().for_each(|end| first[*end as usize] += 1);
        }
        let mut sum = 0u32;
        for entry in &mut first {
            let many = std::mem::replace(entry, sum);
            sum += many;
        }
        let mut ends = vec![0u32; self.ends.len()];
        for chunk in 0..count {
            if (chunk as usize).is_multiple_of(STEPS) && stop() {
                return None;
            }
            for end in self.of(chunk) {
                let place = &mut first[*end as usize];
                ends[*place as usize] = chunk;
                *place += 1;
            }
        }
        Some(Self::counted(first, ends))
    }

    /// Lists that were filled one by one, while each entry of `first` was counted up to where the next one's list begins.
    pub(super) fn counted(mut first: Vec<u32>, ends: Vec<u32>) -> Self {
        if !first.is_empty() {
            first.rotate_right(1);
            first[0] = 0;
        }
        Self { first, ends }
    }
}
