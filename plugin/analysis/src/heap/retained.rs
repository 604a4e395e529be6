//! How many bytes would be freed with an allocation, or with all of a kind.

use super::Index;
use super::dominators::Dominators;
use super::graph::STEPS;

/// What may be used of each chunk, by its number, in bytes; 0 of those that are not in use.
pub fn sizes(index: &Index) -> Vec<u64> {
    let lookup = index.lookup();
    let mut sizes = Vec::with_capacity(lookup.count() as usize);
    let all = lookup.segments().list().iter().flat_map(|segment| lookup.chunks(segment.range));
    sizes.extend(all.map(|chunk| if chunk.used { chunk.usable().len() } else { 0 }));
    sizes
}

/// What each chunk retains: the bytes that may be used of it and of all that only it keeps alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// By place in the dominators' order; the first is of all chunks together.
    bytes: Vec<u64>,
    /// The places in an order in which each comes right before all that it dominates.
    order: Vec<u32>,
    /// By place, how many it dominates, itself among them.
    many: Vec<u32>,
    /// The chunk of each place.
    chunks: Vec<u32>,
}

impl Retained {
    /// Bytes that it takes.
    pub fn memory(&self) -> u64 {
        (8 * self.bytes.capacity() + 4 * (self.order.capacity() + self.many.capacity() + self.chunks.capacity())) as u64
    }

    /// Adds up the sizes of chunks, which are in bytes and by the chunks' numbers.
    pub fn of(dominators: &Dominators, sizes: &[u64]) -> Self {
        let (chunks, above) = dominators.places();
        let size = |chunk: &u32| sizes.get(*chunk as usize).copied().unwrap_or(0);
        let mut bytes: Vec<u64> = chunks.iter().map(size).collect();
        let mut many = vec![1u32; chunks.len()];
        // What dominates a chunk comes before it.
        for place in (1..chunks.len()).rev() {
            let above = above[place] as usize;
            bytes[above] = bytes[above].saturating_add(bytes[place]);
            many[above] += many[place];
        }
        // Where the next one that a place dominates comes in the order.
        let mut next = vec![1u32; chunks.len()];
        let mut order = vec![0; chunks.len()];
        for place in 1..chunks.len() {
            let slot = &mut next[above[place] as usize];
            let at = *slot;
            *slot += many[place];
            order[at as usize] = place as u32;
            next[place] = at + 1;
        }
        Self { bytes, order, many, chunks: chunks.to_vec() }
    }

    /// Bytes that each chunk in use retains, with the chunk's number, in no order that matters.
    pub fn chunks(&self) -> impl Iterator<Item = (u32, u64)> {
        self.chunks.iter().copied().zip(self.bytes.iter().copied()).skip(1)
    }

    /// What the chunks of each group retain: each byte once that is retained by any of them. `group` tells a chunk's group,
    /// a number below `groups`; a chunk may be in none. `None` if told to stop.
    pub fn groups(
        &self,
        groups: usize,
        group: impl Fn(u32) -> Option<usize>,
        stop: &dyn Fn() -> bool,
    ) -> Option<Vec<u64>> {
        let mut bytes = vec![0u64; groups];
        // How many of the chunks that dominate the one that we are at are in each group.
        let mut around = vec![0u32; groups];
        // Those chunks' groups, and where what they dominate ends in the order.
        let mut way: Vec<(usize, usize)> = Vec::new();
        for (at, place) in self.order.iter().enumerate().skip(1) {
            if at.is_multiple_of(STEPS) && stop() {
                return None;
            }
            while let Some((group, _)) = way.pop_if(|(_, end)| *end <= at) {
                around[group] -= 1;
            }
            let Some(group) = group(self.chunks[*place as usize]).filter(|group| *group < groups) else { continue };
            if around[group] == 0 {
                bytes[group] = bytes[group].saturating_add(self.bytes[*place as usize]);
            }
            around[group] += 1;
            way.push((group, at + self.many[*place as usize] as usize));
        }
        Some(bytes)
    }
}
