//! All pointers by what they point to, so that who points to an address takes no scan.

use super::PointersMerge;
use crate::driver::Sink;
use crate::heap::area::{Area, WORD};
use crate::heap::{Lookup, View};
use crate::memory::Buffer;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressRange;

/// Pointers are sorted by the page that they point to.
const PAGE: u64 = 4096;

/// More pages are not told apart, in all and of one region: 4 bytes each are kept of them, used or not.
const MOST_PAGES: u64 = 8 << 20;

/// A task that has found so many pointers leaves the rest to another.
const MOST_FOUND: usize = 1 << 20;

/// Bytes of a pointer in a partial.
const RECORD: usize = 10;

/// How many words pass between two questions whether to stop.
const STEPS: usize = 1 << 20;

/// Pages between two questions whether to stop.
const PATIENCE: u32 = 64;

/// The memory that pointers may point to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Spans {
    /// Whole pages; disjoint, in address order, with something between them.
    list: Vec<AddressRange>,
    /// The number of the first page of each, and behind them, what the next one's would be.
    first: Vec<u32>,
}

impl Spans {
    /// Of as many of these ranges as there may be pages of, small ones before large ones.
    fn new(mut ranges: Vec<AddressRange>) -> Self {
        ranges.sort_by_key(|range| range.len());
        let mut room = MOST_PAGES;
        ranges.retain_mut(|range| {
            let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX / PAGE * PAGE);
            *range = AddressRange::new(range.start / PAGE * PAGE, end);
            let pages = range.len() / PAGE;
            let fits = pages <= room;
            room -= if fits { pages } else { 0 };
            fits
        });
        ranges.sort_by_key(|range| range.start);
        let mut list: Vec<AddressRange> = Vec::new();
        for range in ranges {
            match list.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => list.push(range),
            }
        }
        let mut next = 0;
        let mut first = vec![0];
        for span in &list {
            next += (span.len() / PAGE) as u32;
            first.push(next);
        }
        Self { list, first }
    }

    fn at(&self, address: u64) -> Option<usize> {
        let index = self.list.partition_point(|span| span.start <= address).checked_sub(1)?;
        self.list[index].contains(address).then_some(index)
    }

    /// The number of the page of a span that `address` lies in.
    fn page(&self, span: usize, address: u64) -> u32 {
        self.first[span] + ((address - self.list[span].start) / PAGE) as u32
    }

    fn pages(&self) -> usize {
        self.first.last().map_or(0, |pages| *pages as usize)
    }
}

/// The words of an area, numbered from 0 on in address order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Numbers {
    /// Where the first word of each range lies, and its number.
    first: Vec<(u64, u32)>,
}

impl Numbers {
    /// `None` if there are too many words.
    fn new(ranges: &[ScanRange]) -> Option<Self> {
        let mut next = 0;
        let mut first = Vec::with_capacity(ranges.len());
        for scan in ranges {
            first.push((scan.range.start.next_multiple_of(WORD), next));
            next = u32::try_from(u64::from(next) + scan.range.len().div_ceil(WORD)).ok()?;
        }
        Some(Self { first })
    }

    fn number(&self, range: usize, address: u64) -> u32 {
        let (start, number) = self.first[range];
        number + ((address - start) / WORD) as u32
    }

    fn address(&self, number: u32) -> u64 {
        let range = self.first.partition_point(|(_, first)| *first <= number).saturating_sub(1);
        self.first.get(range).map_or(0, |(start, first)| start + WORD * u64::from(number - first))
    }
}

/// Finds all words that point to certain memory, such as all that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invert {
    area: Area,
    spans: Spans,
    numbers: Numbers,
    /// There may be so many pointers.
    most: u64,
}

/// For each pointer the number of its word and of the page that it points to, 32 bits each, and where in that page, 16 bits; lowest byte
/// first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvertPartial {
    #[serde(with = "serde_bytes")]
    pointers: Vec<u8>,
}

/// What the tasks have found, in address order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvertMerge {
    partials: Vec<Vec<u8>>,
    count: u64,
    full: bool,
}

/// A buffer, kept from one task to the next.
#[derive(Debug, Default)]
pub struct InvertScanner {
    buffer: Buffer,
}

impl Invert {
    /// A search in `area` for at most `most` pointers to these parts of the address space. `None` if there is too much of the area.
    pub fn new(area: Area, targets: Vec<AddressRange>, most: u64) -> Option<Self> {
        let numbers = Numbers::new(&area.ranges)?;
        Some(Self { area, spans: Spans::new(targets), numbers, most: most.min(u32::MAX.into()) })
    }

    /// What the tasks have found, sorted. `None` if there were too many pointers, or if told to stop.
    pub fn finish(self, merge: InvertMerge, stop: &dyn Fn() -> bool) -> Option<Inverted> {
        if merge.full {
            return None;
        }
        let mut first = vec![0u32; self.spans.pages() + 1];
        for pointers in &merge.partials {
            for record in pointers.as_chunks::<RECORD>().0.chunks(STEPS) {
                if stop() {
                    return None;
                }
                for record in record {
                    // No task that did what it should tells of a page that is not there.
                    *first.get_mut(parse(record).1 as usize)? += 1;
                }
            }
        }
        let mut sum = 0;
        for entry in &mut first {
            let count = std::mem::replace(entry, sum);
            sum += count;
        }
        let mut words = vec![0; sum as usize];
        let mut offsets = vec![0; sum as usize];
        // What is sorted in is not needed any more.
        for pointers in merge.partials {
            for record in pointers.as_chunks::<RECORD>().0.chunks(STEPS) {
                if stop() {
                    return None;
                }
                for record in record {
                    let (word, page, offset) = parse(record);
                    let place = &mut first[page as usize];
                    (words[*place as usize], offsets[*place as usize]) = (word, offset);
                    *place += 1;
                }
            }
        }
        // Each entry was counted up to where the next page begins.
        first.rotate_right(1);
        first[0] = 0;
        Some(Inverted { spans: self.spans, numbers: self.numbers, first, words, offsets })
    }
}

fn parse(record: &[u8; RECORD]) -> (u32, u32, u16) {
    let [a, b, c, d, e, f, g, h, i, j] = *record;
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]), u16::from_le_bytes([i, j]))
}

impl Analysis for Invert {
    const NAME: &'static str = "heap-invert";
    type Input = View;
    type Partial = InvertPartial;
    type Scanner = InvertScanner;
    type Merge = InvertMerge;
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

    fn scanner(&self) -> Result<InvertScanner, String> {
        Ok(InvertScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut InvertScanner,
        task: &Task,
        view: &View,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<InvertPartial> {
        let spans = &self.spans;
        let lowest = spans.list.first().map_or(0, |span| span.start);
        let length = spans.list.last().map_or(0, |span| span.end - lowest);
        let mut pointers = Vec::new();
        // What one points to is often near to what the one before does.
        let mut last = 0;
        let Scanned { bytes, skipped, rest, gone, .. } =
            self.area.scan(task, &view.memory, &mut scanner.buffer, stop, |address, words| {
                for (index, word) in words.iter().enumerate() {
                    let value = u64::from_le_bytes(*word);
                    if value.wrapping_sub(lowest) >= length {
                        continue;
                    }
                    if !spans.list[last].contains(value) {
                        let Some(span) = spans.at(value) else { continue };
                        last = span;
                    }
                    let number = self.numbers.number(task.index, address + WORD * index as u64);
                    pointers.extend_from_slice(&number.to_le_bytes());
                    pointers.extend_from_slice(&spans.page(last, value).to_le_bytes());
                    pointers.extend_from_slice(&((value % PAGE) as u16).to_le_bytes());
                }
                if pointers.len() < MOST_FOUND * RECORD { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        Scanned { partial: InvertPartial { pointers }, bytes, skipped, rest, gone }
    }

    fn merge(&self) -> InvertMerge {
        InvertMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut InvertMerge,
        _task: &Task,
        partial: InvertPartial,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        merge.count += (partial.pointers.len() / RECORD) as u64;
        merge.partials.push(partial.pointers);
        merge.full |= merge.count > self.most;
        if merge.full { ControlFlow::Break(Stop::Limit) } else { ControlFlow::Continue(()) }
    }

    fn weight(partial: &InvertPartial) -> usize {
        partial.pointers.len() + size_of::<InvertPartial>()
    }
}

/// All words of an area that point to certain memory, by the page that they point to: 6 bytes a pointer, and 4 a page.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Inverted {
    spans: Spans,
    numbers: Numbers,
    /// Where the pointers to each page begin, and behind them, where the last ones end.
    first: Vec<u32>,
    /// Where pointers lie; those to the same page in order.
    words: Vec<u32>,
    /// Where in its page each points to.
    offsets: Vec<u16>,
}

impl Inverted {
    /// What [`Pointers`](super::Pointers) finds. `None` if it cannot tell, since it has no pointers to some of `target`, or if told to stop.
    pub fn pointers(
        &self,
        target: AddressRange,
        most: u64,
        lookup: &Lookup<'_>,
        stop: &dyn Fn() -> bool,
    ) -> Option<PointersMerge> {
        let mut found = PointersMerge::default();
        let Some(last) = target.end.checked_sub(1).filter(|last| *last >= target.start) else { return Some(found) };
        let index = self.spans.at(target.start)?;
        let span = self.spans.list[index];
        if target.end > span.end {
            return None;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        for page in self.spans.page(index, target.start)..=self.spans.page(index, last) {
            if page.is_multiple_of(PATIENCE) && stop() {
                return None;
            }
            let start = span.start + u64::from(page - self.spans.first[index]) * PAGE;
            let range = self.first[page as usize] as usize..self.first[page as usize + 1] as usize;
            for (word, offset) in self.words[range.clone()].iter().zip(&self.offsets[range]) {
                let value = start + u64::from(*offset);
                if !target.contains(value) {
                    continue;
                }
                let address = self.numbers.address(*word);
                if lookup.segments().segment_at(address).is_none() || lookup.owner_at(address).is_some() {
                    found.total += 1;
                    found.pointers.push((address, value));
                }
            }
            if found.pointers.len() / 2 > most.max(MOST_FOUND) {
                found.pointers.select_nth_unstable(most);
                found.pointers.truncate(most);
            }
        }
        found.pointers.sort_unstable();
        found.pointers.truncate(most);
        Some(found)
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> u64 {
        4 * (self.first.capacity() + self.words.capacity()) as u64 + 2 * self.offsets.capacity() as u64
    }
}

impl std::fmt::Debug for Inverted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inverted").field("pointers", &self.words.len()).finish_non_exhaustive()
    }
}
