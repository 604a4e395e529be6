//! Looks at every chunk, and at every free one's links, as malloc itself does only where it comes along.

use super::chain::{Chain, HeaderKind};
use super::findings::{FindingKind, MOST_FINDINGS, Problem, bin_begins, bin_ends, top_problem};
use super::layout::{BINS, BITS, LEAST, NOT_MAIN, PREVIOUS_USED, bin, user};
use super::reader::Reader;
use super::walk::Walkable;
use super::{Arena, Located, Walk};
use crate::driver::Sink;
use crate::heap::{Chunk, GRANULE, Lookup, View};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressSpace;

/// Bytes read at once.
const BLOCK: u64 = 128 << 10;

/// Sizes from here on are in bins for several sizes.
const LEAST_LARGE: u64 = 1024;

/// Checks chunks and bins, once the index is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    ranges: Vec<ScanRange>,
    segments: Vec<Walkable>,
    /// The arena of each segment, where it is the first of it.
    arenas: Vec<Option<Arena>>,
}

/// What is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckMerge {
    /// In address order, but for what arenas lead to; at most 10 000.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: u64,
}

impl Check {
    /// A check of what was located in `space`.
    pub fn new(located: &Located, space: &AddressSpace) -> Self {
        let (ranges, segments) = Walk::new(located, space).into_parts();
        let mut seen = FxHashSet::default();
        let arena = |segment: &Walkable| {
            let index = segment.arena.filter(|index| seen.insert(*index))?;
            located.arenas.get(index as usize).filter(|arena| arena.top.is_some()).cloned()
        };
        let arenas = segments.iter().map(arena).collect();
        Self { ranges, segments, arenas }
    }
}

impl CheckMerge {
    fn add(&mut self, address: u64, kind: FindingKind, text: String) {
        self.push(Problem::new(address, kind, text));
    }

    fn push(&mut self, problem: Problem) {
        if self.problems.len() < MOST_FINDINGS {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }
}

impl Analysis for Check {
    const NAME: &'static str = "heap-check";
    type Input = View;
    type Partial = CheckMerge;
    type Scanner = ();
    type Merge = CheckMerge;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn reads_swapped(&self) -> bool {
        true
    }

    fn scanner(&self) -> Result<(), String> {
        Ok(())
    }

    fn scan(&self, (): &mut (), task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<CheckMerge> {
        let Some(segment) = self.segments.get(task.index) else {
            return Scanned::unread(task, "no segment of the heap".to_owned());
        };
        let mut partial = CheckMerge::default();
        let lookup = view.index.lookup();
        let mut links = Reader::new(&*view.memory, 4096, 1024, false);
        if let Some(arena) = self.arenas[task.index].as_ref().filter(|_| task.range.start == segment.range.start) {
            bins(arena, &mut links, &lookup, &mut partial, stop);
        }
        let mut chain = segment.chain(&*view.memory, BLOCK, &|| false);
        let mut rest = None;
        for (number, chunk) in lookup.chunks(task.range).enumerate() {
            if number % 4096 == 0 && number > 0 && stop() {
                rest = Some(chunk.range.start);
                break;
            }
            check(&chunk, &mut chain, segment, &mut links, &lookup, &mut partial);
        }
        let end = rest.unwrap_or(task.range.end);
        let rest = rest.map(|rest| target::AddressRange::new(rest, task.range.end));
        Scanned { partial, bytes: end - task.range.start, skipped: Vec::new(), rest, gone: false }
    }

    fn merge(&self) -> CheckMerge {
        CheckMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut CheckMerge,
        _task: &Task,
        partial: CheckMerge,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        for problem in partial.problems {
            merge.push(problem);
        }
        merge.more += partial.more;
        ControlFlow::Continue(())
    }

    fn weight(partial: &CheckMerge) -> usize {
        size_of_val(partial) + partial.problems.len() * 128
    }
}

/// One chunk, and what the next one says of it.
fn check(
    chunk: &Chunk,
    chain: &mut Chain<'_>,
    segment: &Walkable,
    links: &mut Reader<'_>,
    lookup: &Lookup<'_>,
    found: &mut CheckMerge,
) {
    let start = chunk.range.start;
    // What is no chunk is a finding of the walk, as is one whose size is wrong.
    let Ok(header) = chain.header(start) else { return };
    if header.kind == HeaderKind::Top {
        let word = chain.reader.pair(start).map_or(0, |[_, word]| word);
        if word & BITS != PREVIOUS_USED || word & !BITS != header.size {
            found.push(top_problem(start, word, header.size));
        }
        return;
    }
    if header.kind == HeaderKind::Fence || start + header.size != chunk.range.end {
        return;
    }
    let next = chunk.range.end;
    let Some(after) = (next < segment.range.end).then(|| chain.header(next).ok()).flatten() else { return };
    if after.previous_used {
        let word = chain.reader.pair(start).map_or(0, |[_, word]| word);
        if segment.is_of_thread() && chunk.used && word & NOT_MAIN == 0 {
            let text = format!(
                "the chunk at {:#x} is of a thread's arena, but does not say so: its size and flags are {word:#x}",
                user(start)
            );
            found.add(start, FindingKind::Flags, text);
        }
        return;
    }
    if after.previous != header.size {
        let text = format!(
            "the chunk at {:#x} says that the one before it is free and has {:#x} bytes; it has {:#x}",
            user(next),
            after.previous,
            header.size
        );
        found.add(next, FindingKind::Previous, text);
    }
    if !header.previous_used && start > segment.range.start {
        let text = format!("the free chunk at {:#x} follows another free one, and is not merged with it", user(start));
        found.add(start, FindingKind::Unmerged, text);
    }
    free(start, links, lookup, found);
}

/// A free chunk on a list of two directions: its neighbours have to lead back.
fn free(chunk: u64, links: &mut Reader<'_>, lookup: &Lookup<'_>, found: &mut CheckMerge) {
    let Some([next, previous]) = links.pair(chunk + 16) else { return };
    for (to, back, name) in [(next, 24, "next"), (previous, 16, "previous")] {
        let place = if to.is_multiple_of(GRANULE) { to.checked_add(back) } else { None };
        let leads_back = place.and_then(|place| links.word(place)) == Some(chunk);
        let is_known = lookup.segments().segment_at(to).is_none() || is_chunk(to, lookup);
        if !leads_back || !is_known {
            let text = format!(
                "the free chunk at {:#x} has {to:#x} for the {name} one on its list, which does not lead back",
                user(chunk)
            );
            found.add(chunk, FindingKind::Link, text);
        }
    }
}

/// Whether a list may lead there: to a chunk, or to a bin of an arena, which lies before the chunks of its heap.
fn is_chunk(address: u64, lookup: &Lookup<'_>) -> bool {
    lookup.segments().granule(address).is_some_and(|granule| lookup.is_start(granule))
}

/// The bins of an arena: what is in each has to be of its sizes.
fn bins(arena: &Arena, links: &mut Reader<'_>, lookup: &Lookup<'_>, found: &mut CheckMerge, stop: &dyn Fn() -> bool) {
    let mut left = lookup.count();
    for number in 1..=BINS {
        let head = bin(arena.address, number);
        let mut before = head;
        let mut least = 0;
        let mut sizes = Some(Sizes::default());
        while let Some(next) = links.word(before.wrapping_add(16)) {
            if next == head {
                let last = links.word(head.wrapping_add(24)).unwrap_or(0);
                if last != before {
                    found.push(bin_ends(arena.address, number, last));
                }
                if let Some(sizes) = sizes {
                    sizes.close(links, found);
                }
                break;
            }
            let back = links.word(next.wrapping_add(24)).filter(|_| next.is_multiple_of(GRANULE));
            if back != Some(before) || !is_chunk(next, lookup) || left == 0 {
                // Where it is a chunk's link, that chunk is a finding of its own.
                if before == head {
                    found.push(bin_begins(arena.address, number, next));
                }
                break;
            }
            left -= 1;
            let size = links.word(next + 8).unwrap_or(0) & !BITS;
            if !belongs(number, size) {
                let text = format!(
                    "the free chunk at {:#x} has {size:#x} bytes, and is in bin {number} of the arena at {:#x}",
                    user(next),
                    arena.address
                );
                found.add(next, FindingKind::Bin, text);
                sizes = None;
            }
            // Large ones are in the order of their sizes.
            if number > 1 && size >= LEAST_LARGE && least != 0 && size > least {
                let text = format!(
                    "the free chunk at {:#x} has {size:#x} bytes, more than the one before it on its list",
                    user(next)
                );
                found.add(next, FindingKind::Bin, text);
                sizes = None;
            }
            if let Some(sizes) = sizes.as_mut().filter(|_| size >= LEAST_LARGE) {
                sizes.add(next, number > 1 && size != least, links, found);
            }
            least = size;
            before = next;
            if left.is_multiple_of(1024) && stop() {
                return;
            }
        }
    }
}

/// The first chunk of each size in a bin of large ones. These are on a ring of their own, by which malloc skips those of the same size
/// (fd_nextsize and bk_nextsize in malloc.c); the others, and all that are still unsorted, have nothing there.
#[derive(Clone, Copy, Default)]
struct Sizes {
    first: Option<u64>,
    last: Option<u64>,
}

impl Sizes {
    const SMALLER: u64 = 32;
    const LARGER: u64 = 40;

    /// The next chunk in the bin.
    fn add(&mut self, chunk: u64, is_first: bool, links: &mut Reader<'_>, found: &mut CheckMerge) {
        if !is_first {
            expect(chunk, Self::SMALLER, 0, links, found);
            expect(chunk, Self::LARGER, 0, links, found);
            return;
        }
        match self.last {
            Some(last) => {
                expect(last, Self::SMALLER, chunk, links, found);
                expect(chunk, Self::LARGER, last, links, found);
            }
            None => self.first = Some(chunk),
        }
        self.last = Some(chunk);
    }

    /// The bin's end.
    fn close(self, links: &mut Reader<'_>, found: &mut CheckMerge) {
        if let (Some(first), Some(last)) = (self.first, self.last) {
            expect(last, Self::SMALLER, first, links, found);
            expect(first, Self::LARGER, last, links, found);
        }
    }
}

/// Whether a large free chunk's link to the next size leads where it should.
fn expect(chunk: u64, link: u64, expected: u64, links: &mut Reader<'_>, found: &mut CheckMerge) {
    let Some(to) = links.word(chunk + link).filter(|to| *to != expected) else { return };
    let name = if link == Sizes::SMALLER { "smaller" } else { "larger" };
    let at = user(chunk);
    let text = match expected {
        0 => format!("the free chunk at {at:#x} has {to:#x} for the next {name} one, and should have none"),
        _ => {
            format!("the free chunk at {at:#x} has {to:#x} for the next {name} one, which is at {:#x}", user(expected))
        }
    };
    found.add(chunk, FindingKind::Link, text);
}

/// Whether a chunk of this size belongs into this bin (bin_index in malloc.c); the first one takes all.
fn belongs(number: u64, size: u64) -> bool {
    let expected = match size {
        _ if number == 1 => 1,
        0..LEAST_LARGE => size / GRANULE,
        _ if size >> 6 <= 48 => 48 + (size >> 6),
        _ if size >> 9 <= 20 => 91 + (size >> 9),
        _ if size >> 12 <= 10 => 110 + (size >> 12),
        _ if size >> 15 <= 4 => 119 + (size >> 15),
        _ if size >> 18 <= 2 => 124 + (size >> 18),
        _ => 126,
    };
    number == expected && size >= LEAST
}
