//! Finding pointers by looking at all memory.

use super::Pointer;
use crate::driver::Sink;
use crate::heap::area::{Area, WORD};
use crate::heap::{Lookup, View};
use crate::memory::Buffer;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressRange;

/// Words compared at once.
const GROUP: usize = 64;

/// Looks for pointers into a range of addresses, in chunks, used and free, and in what is not heap.
///
/// The allocator's own words between what its users may use do not count. Where no allocator is known, all words do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointers {
    pub area: Area,
    pub target: AddressRange,
    /// So many are kept, the first ones in address order; all are counted.
    pub most: u64,
}

/// The pointers that a task has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointersPartial {
    /// Of each that is kept, where it lies and what it points to; 8 bytes each, the lowest one first.
    #[serde(with = "serde_bytes")]
    kept: Vec<u8>,
    /// How many there are.
    total: u64,
}

/// A buffer, kept from one task to the next.
#[derive(Debug, Default)]
pub struct PointersScanner {
    buffer: Buffer,
}

/// The pointers found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointersMerge {
    /// Where each lies, and what it points to, in address order; the first ones, if there are more than are kept.
    pub pointers: Vec<(u64, u64)>,
    /// How many there are.
    pub total: u64,
}

impl PointersMerge {
    /// Adds others, of which none is among them. `most` are kept.
    pub fn add(&mut self, others: Vec<(u64, u64)>, most: u64) {
        self.total += others.len() as u64;
        self.pointers.extend(others);
        self.pointers.sort_unstable();
        self.pointers.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }

    /// The pointers, with the chunks that they lie in.
    pub fn pointers(&self, lookup: &Lookup<'_>) -> Vec<Pointer> {
        self.pointers.iter().map(|(address, value)| Pointer::at(*address, *value, lookup)).collect()
    }
}

impl Analysis for Pointers {
    const NAME: &'static str = "heap-refs";
    type Input = View;
    type Partial = PointersPartial;
    type Scanner = PointersScanner;
    type Merge = PointersMerge;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.area.ranges
    }

    fn reach(&self) -> u64 {
        WORD
    }

    fn reads_swapped(&self) -> bool {
        self.area.swapped
    }

    fn scanner(&self) -> Result<PointersScanner, String> {
        Ok(PointersScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut PointersScanner,
        task: &Task,
        view: &View,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<PointersPartial> {
        let lookup = view.index.lookup();
        let mut partial = PointersPartial::default();
        let most = usize::try_from(self.most).unwrap_or(usize::MAX).saturating_mul(16);
        let Scanned { bytes, skipped, rest, gone, .. } =
            self.area.scan(task, &view.memory, &mut scanner.buffer, stop, |address, words| {
                pointers_into(self.target, address, words, |address, value| {
                    let counts = lookup.segments().segment_at(address).is_none() || lookup.owner_at(address).is_some();
                    if counts {
                        partial.total += 1;
                        if partial.kept.len() < most {
                            partial.kept.extend_from_slice(&address.to_le_bytes());
                            partial.kept.extend_from_slice(&value.to_le_bytes());
                        }
                    }
                });
                ControlFlow::Continue(())
            });
        Scanned { partial, bytes, skipped, rest, gone }
    }

    fn merge(&self) -> PointersMerge {
        PointersMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut PointersMerge,
        _task: &Task,
        partial: PointersPartial,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        let room = usize::try_from(self.most).unwrap_or(usize::MAX).saturating_sub(merge.pointers.len());
        let words = partial.kept.as_chunks::<8>().0.as_chunks::<2>().0;
        let pointers = words.iter().map(|[address, value]| (u64::from_le_bytes(*address), u64::from_le_bytes(*value)));
        merge.pointers.extend(pointers.take(room));
        merge.total += partial.total;
        ControlFlow::Continue(())
    }

    fn weight(partial: &PointersPartial) -> usize {
        partial.kept.len() + size_of::<PointersPartial>()
    }
}

/// Tells of the words, of which the first lies at `address`, that point into `target`, and what they point to.
pub(in crate::heap) fn pointers_into(
    target: AddressRange,
    address: u64,
    words: &[[u8; 8]],
    mut found: impl FnMut(u64, u64),
) {
    // Alike for all of a group, and without a branch for each, so that the compiler can use vectors.
    let (start, length) = (target.start, target.len());
    let is_in = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_sub(start) < length;
    for (index, group) in words.chunks(GROUP).enumerate() {
        if !group.iter().fold(false, |any, word| any | is_in(word)) {
            continue;
        }
        for (within, word) in group.iter().enumerate() {
            if is_in(word) {
                found(address + (index * GROUP + within) as u64 * WORD, u64::from_le_bytes(*word));
            }
        }
    }
}
