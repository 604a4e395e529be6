//! Copies a heap into memory that all workers map.
//!
//! What is looked at in any order costs a call for each piece where the memory is another process's. Reading all of it once, in
//! order, takes less time than a twentieth of the pieces.

use super::{Area, Segments, View};
use crate::driver::Sink;
use crate::memory::Buffer;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Skip, Stop};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use target::AddressRange;

const PAGE: u64 = 4096;

/// Copies segments, from the first on, into its table. Pages of zeros are not written there, and take no memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapCopy {
    area: Area,
    /// Where the page that a range begins in is in the table, in bytes; and at the end, how many bytes the table has.
    offsets: Vec<u64>,
}

impl HeapCopy {
    /// Of at most `most` bytes that are in memory, as `resident` says of a range. `sparse` says whether untouched pages of it are known
    /// to hold zeros.
    pub fn new(
        segments: &Segments,
        most: u64,
        resident: impl Fn(AddressRange) -> u64,
        sparse: impl Fn(AddressRange) -> bool,
    ) -> Self {
        let (mut ranges, mut offsets, mut room, mut end) = (Vec::new(), vec![0], most, 0);
        for segment in segments.list() {
            let mut range = segment.range;
            let size = resident(range).min(range.len());
            if size > room {
                // Nothing is known of which pages are there, so it counts as if all were.
                range.end = range.start + room / PAGE * PAGE;
            }
            if range.is_empty() {
                break;
            }
            room -= size.min(room);
            ranges.push(ScanRange { range, region: segment.range, sparse: sparse(range) });
            end += range.end.next_multiple_of(PAGE) - range.start / PAGE * PAGE;
            offsets.push(end);
            if range != segment.range {
                break;
            }
        }
        Self { area: Area { ranges, ..Area::default() }, offsets }
    }

    /// How many words its table takes.
    pub fn tables(&self) -> Vec<u64> {
        vec![self.offsets.last().map_or(0, |end| end / 8)]
    }

    /// Bytes that are copied, untouched pages among them.
    pub fn bytes(&self) -> u64 {
        self.area.ranges.iter().map(|scan| scan.range.len()).sum()
    }

    /// What has been copied: all but what was skipped. With each range where it is in the table, in bytes.
    pub fn parts(&self, skipped: &[Skip]) -> Vec<(AddressRange, u64)> {
        let mut parts = Vec::new();
        for (scan, offset) in self.area.ranges.iter().zip(&self.offsets) {
            let page = scan.range.start / PAGE * PAGE;
            let mut push = |start: u64, end: u64| {
                if start < end {
                    parts.push((AddressRange::new(start, end), offset + (start - page)));
                }
            };
            let mut start = scan.range.start;
            for skip in skipped.iter().filter_map(|skip| skip.range.intersect(scan.range)) {
                push(start, skip.start);
                start = start.max(skip.end);
            }
            push(start, scan.range.end);
        }
        parts
    }
}

/// A buffer, kept from one task to the next.
#[derive(Debug, Default)]
pub struct CopyScanner {
    buffer: Buffer,
}

impl Analysis for HeapCopy {
    const NAME: &'static str = "heap-copy";
    type Input = View;
    type Partial = ();
    type Scanner = CopyScanner;
    type Merge = ();
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.area.ranges
    }

    fn reads_swapped(&self) -> bool {
        self.area.swapped
    }

    fn scanner(&self) -> Result<CopyScanner, String> {
        Ok(CopyScanner::default())
    }

    fn scan(&self, scanner: &mut CopyScanner, task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<()> {
        let (Some(scan), Some(offset), Some(table)) =
            (self.area.ranges.get(task.index), self.offsets.get(task.index), view.tables.first())
        else {
            return Scanned::unread(task, "the table of this analysis is missing".to_owned());
        };
        let first = scan.range.start / PAGE * PAGE;
        let table = table.words();
        self.area.scan(task, &*view.memory, &mut scanner.buffer, stop, |mut address, mut words| {
            while !words.is_empty() {
                let length = ((PAGE - address % PAGE) / 8).min(words.len() as u64);
                let (page, after) = words.split_at(length as usize);
                let place = ((offset + (address - first)) / 8) as usize;
                if page.iter().any(|word| *word != [0; 8]) {
                    for (copy, word) in table.get(place..).unwrap_or_default().iter().zip(page) {
                        copy.store(u64::from_ne_bytes(*word), Relaxed);
                    }
                }
                (address, words) = (address + 8 * length, after);
            }
            ControlFlow::Continue(())
        })
    }

    fn merge(&self) {}

    fn absorb(&self, (): &mut (), _: &Task, (): (), _: &View, _: &mut dyn Sink<()>) -> ControlFlow<Stop> {
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::testing::{World, chunks};
    use crate::heap::{Segments, table};
    use crate::{Cut, InProcess, run};
    use proptest::prelude::*;
    use std::sync::Arc;
    use target::ReadMemory;

    proptest! {
        /// Whatever can be read of what is to be copied is in the copy, where that says so, and nothing else is said to be.
        #[test]
        fn a_copy_holds_what_can_be_read(
            plan in chunks(),
            pointers in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..60),
            holes in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            most in prop_oneof![Just(u64::MAX), 0..1u64 << 21],
            task in 8_000..200_000u64,
        ) {
            let mut world = World::new(&plan);
            for (chunk, value) in &pointers {
                let chunk = chunk.index(world.chunks.len());
                world.point(chunk, chunk, *value);
            }
            let segments: Vec<AddressRange> = world.view().index.segments().list().iter().map(|segment| segment.range).collect();
            for hole in &holes {
                let chunk = world.chunks[hole.index(world.chunks.len())].range.start;
                world.memory().holes.insert(chunk / PAGE * PAGE);
            }
            let view = world.view();
            let copy = HeapCopy::new(view.index.segments(), most, |range| range.len(), |_| false);
            let all: u64 = segments.iter().map(|range| range.len()).sum();
            prop_assert!(copy.bytes() <= most && (most < all || copy.bytes() == all));
            let view = Arc::new(crate::heap::View { tables: copy.tables().into_iter().map(table).collect(), ..view });
            let shared = Arc::new(copy.clone());
            let mut outcome = None;
            for _twice in 0..2 {
                let mut executor = InProcess::new(Arc::clone(&shared), Arc::clone(&view), 3);
                let cut = Cut { block: 4096, task, sparse: task };
                outcome = Some(run(&copy, &mut executor, &view, cut, &mut Vec::new()));
            }
            let parts = copy.parts(&outcome.expect("it ran").skipped);
            let words = view.tables[0].words();
            let mut position = 0;
            for (range, offset) in &parts {
                prop_assert!(range.start >= position, "in address order, and disjoint");
                position = range.end;
                for address in (range.start..range.end).step_by(8) {
                    let mut bytes = [0; 8];
                    prop_assert_eq!(view.memory.read(address, &mut bytes).map_err(|fault| fault.address), Ok(8));
                    let word = words[((offset + address - range.start) / 8) as usize].load(Relaxed);
                    prop_assert_eq!(word, u64::from_ne_bytes(bytes), "{:#x}", address);
                }
            }
            let copied: u64 = parts.iter().map(|(range, _)| range.len()).sum();
            let unreadable: u64 = copy.area.ranges.iter().flat_map(|scan| world.memory.holes.iter().filter_map(|hole| {
                AddressRange::sized(*hole, PAGE).intersect(scan.range)
            })).map(|hole| hole.len()).sum();
            prop_assert_eq!(copied, copy.bytes() - unreadable);
        }
    }

    #[test]
    fn nothing_is_copied_of_nothing() {
        let copy = HeapCopy::new(&Segments::default(), 1 << 30, |range| range.len(), |_| true);
        assert_eq!((copy.bytes(), copy.tables(), copy.parts(&[])), (0, vec![0], Vec::new()));
    }
}
