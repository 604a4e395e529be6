//! Goes from chunk to chunk through all segments.
//!
//! A task in the middle of a segment does not know where a chunk begins. It takes what looks like one, and the merge sees whether
//! the chunks before lead there; if not, it goes on itself until they do. That is rare, and soon so: what is not a chunk mostly leads
//! to one.

use super::chain::{Chain, Header, HeaderKind, Next};
use super::layout::{CACHES, user};
use super::watch::Watch;
use super::{Break, Located, Reason, Sightings};
use crate::driver::{Sink, push_skip};
use crate::heap::{GRANULE, Index, Segment, SegmentKind, View};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Skip, Stop};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{AddressRange, AddressSpace, ReadMemory};

/// Bytes read at once.
const BLOCK: u64 = 256 << 10;

/// As many places where the chain is lost are told apart.
const MOST_BREAKS: usize = 10_000;

/// As many caches of threads are looked for.
const MOST_CACHES: usize = 1 << 16;

/// Finds all chunks, and which of them are in use, but for those on lists of free ones that do not say so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    ranges: Vec<ScanRange>,
    /// What each range is.
    segments: Vec<Walkable>,
    /// Pointers into this are looked for on the way.
    watched: Option<AddressRange>,
}

/// A segment whose chunks follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walkable {
    pub range: AddressRange,
    kind: SegmentKind,
    /// As an index into what was located.
    pub arena: Option<u32>,
    /// Where its top chunk begins.
    top: Option<u64>,
    /// Whether pages that were never touched are known to hold zeros.
    sparse: bool,
}

impl Walkable {
    /// Its chunks; `block` bytes are read at once.
    pub fn chain<'a>(&self, memory: &'a dyn ReadMemory, block: u64, stop: &'a dyn Fn() -> bool) -> Chain<'a> {
        Chain::new(memory, (self.range, self.kind, self.top), self.sparse, block, stop)
    }

    pub fn is_of_thread(&self) -> bool {
        self.kind == SegmentKind::Thread
    }
}

/// What a task has walked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walked {
    /// Where its first chunk begins, and where the first one behind its last.
    start: u64,
    end: u64,
    /// For each chunk, how many granules it has, twice, and one more if it is in use, in LEB128.
    #[serde(with = "serde_bytes")]
    chunks: Vec<u8>,
    breaks: Vec<Break>,
    /// How many more.
    more_breaks: u64,
    gaps: Vec<AddressRange>,
    marks: Vec<u64>,
    caches: Vec<u64>,
    sightings: Sightings,
}

/// All chunks are in the index then; this is what is found on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkMerge {
    /// Where the chain was lost, in address order; at most 10 000 of them.
    pub breaks: Vec<Break>,
    /// How many more there are.
    pub more_breaks: u64,
    /// Memory between chunks of the main arena that others had from brk.
    pub gaps: Vec<AddressRange>,
    /// What marks where a piece ends, in address order: in the index, with the gap behind it, but nobody can have it.
    pub marks: Vec<u64>,
    /// Chunks that seem to hold the caches of threads.
    pub caches: Vec<u64>,
    /// The pointers that were looked for.
    pub sightings: Sightings,
    /// The range that is being merged, and where its next chunk begins.
    at: Option<(usize, u64)>,
    /// Whether that is not known, since a part of the segment was lost.
    lost: bool,
}

impl Walk {
    /// A walk through what was located in `space`.
    pub fn new(located: &Located, space: &AddressSpace) -> Self {
        let mut tops: Vec<u64> = located.arenas.iter().filter_map(|arena| arena.top).collect();
        tops.sort_unstable();
        let walked = located.segments.iter().filter(|segment| segment.kind != SegmentKind::Mapped);
        let segments: Vec<_> = walked
            .map(|segment| {
                let Segment { range, kind, arena } = *segment;
                let top = tops.get(tops.partition_point(|top| *top < range.start)).copied();
                Walkable { range, kind, arena, top, sparse: space.is_sparse(range) }
            })
            .collect();
        // A chain leads past what is sparse, so tasks need not be larger for it.
        let ranges = segments.iter().map(|segment| ScanRange::alone(segment.range)).collect();
        Self { ranges, segments, watched: None }
    }

    /// Looks for pointers into this on the way, in what is walked: it reads then what chunks hold as well.
    pub fn watching(self, watched: Option<AddressRange>) -> Self {
        Self { watched, ..self }
    }

    /// What is to be walked, and what that is.
    pub(super) fn into_parts(self) -> (Vec<ScanRange>, Vec<Walkable>) {
        (self.ranges, self.segments)
    }

    fn chain<'a>(&self, index: usize, memory: &'a dyn ReadMemory, stop: &'a dyn Fn() -> bool) -> Option<Chain<'a>> {
        Some(self.segments.get(index)?.chain(memory, BLOCK, stop))
    }

    /// Goes on from the chunk at `from` until one begins at `end` or behind, or until `met` says so of where one begins. Returns
    /// whether it came so far before it was told to stop.
    fn follow(
        &self,
        chain: &mut Chain<'_>,
        from: (u64, Header),
        end: u64,
        walked: &mut Walked,
        met: &mut dyn FnMut(u64) -> bool,
    ) -> bool {
        let (mut address, mut header) = from;
        walked.end = address;
        while address < end && !met(address) {
            chain.pass(address);
            let next = chain.next(address, header);
            let (used, resumed) = match next {
                Next::Chunk { address, header, used } => (used, Some((address, header))),
                Next::End => (false, None),
                Next::Gap { resumed } => {
                    let gap =
                        AddressRange::new(address + header.size, resumed.map_or(chain.range.end, |(next, _)| next));
                    walked.gaps.push(gap);
                    (false, resumed)
                }
                // Whoever has written beyond its end had it.
                Next::Lost { lost, resumed } => {
                    let used =
                        if lost.end < lost.at { resumed.is_none_or(|(_, next)| next.previous_used) } else { true };
                    walked.lose(lost);
                    if lost.end > lost.at {
                        walked.push(lost.at - address, used && header.kind == HeaderKind::Chunk);
                        walked.push(lost.end - lost.at, false);
                        walked.end = lost.end;
                        let Some(next) = resumed else { return true };
                        (address, header) = next;
                        continue;
                    }
                    (used, resumed)
                }
                Next::Stopped => return false,
            };
            let used = used && header.kind == HeaderKind::Chunk;
            if header.kind == HeaderKind::Fence {
                walked.marks.push(address);
            }
            let next = resumed.map_or(chain.range.end, |(next, _)| next);
            walked.push(next - address, used);
            if used && is_cache(chain, address, header.size) && walked.caches.len() < MOST_CACHES {
                walked.caches.push(address);
            }
            walked.end = next;
            match resumed {
                Some(next) => (address, header) = next,
                None => return true,
            }
        }
        true
    }
}

/// Whether this chunk in use may hold a thread's cache with something in it.
fn is_cache(chain: &mut Chain<'_>, address: u64, size: u64) -> bool {
    let Some(cache) = CACHES.iter().find(|cache| cache.chunk() == size) else { return false };
    let Some(words) = chain.reader.words(user(address), cache.words()) else { return false };
    let agrees = |(count, entry): &(u64, u64)| {
        entry.is_multiple_of(GRANULE) && (!cache.counts || (*entry == 0) == (*count == 0))
    };
    // One of them may have been written over.
    let wrong = cache.heads(&words).filter(|head| !agrees(head)).count();
    let holds = cache.heads(&words).any(|(count, entry)| entry != 0 || cache.counts && count != 0);
    wrong <= 1 && holds
}

impl Walked {
    /// Adds a chunk of so many bytes.
    #[inline]
    fn push(&mut self, bytes: u64, used: bool) {
        let mut number = ((bytes / GRANULE) << 1) | u64::from(used);
        while number >= 0x80 {
            self.chunks.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.chunks.push(number as u8);
    }

    fn lose(&mut self, lost: Break) {
        if self.breaks.len() < MOST_BREAKS {
            self.breaks.push(lost);
        } else {
            self.more_breaks += 1;
        }
    }

    /// Where each chunk begins, where it ends, and whether it is in use.
    fn chunks(&self) -> impl Iterator<Item = (u64, u64, bool)> + use<'_> {
        let mut address = self.start;
        let mut bytes = self.chunks.iter();
        std::iter::from_fn(move || {
            let mut number = 0;
            let mut shift = 0;
            loop {
                let byte = *bytes.next()?;
                number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
            }
            let start = address;
            address = start.checked_add((number >> 1).checked_mul(GRANULE)?)?;
            Some((start, address, number & 1 == 1))
        })
    }
}

impl Analysis for Walk {
    const NAME: &'static str = "heap-walk";
    type Input = View;
    type Partial = Walked;
    type Scanner = ();
    type Merge = WalkMerge;
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

    fn scan(&self, (): &mut (), task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<Walked> {
        let Some(mut chain) = self.chain(task.index, &*view.memory, stop) else {
            return Scanned::unread(task, "no segment of the heap".to_owned());
        };
        if let Some(watched) = self.watched {
            chain.watch(Watch::new(watched, task.range));
        }
        let mut walked = Walked { start: task.range.end, end: task.range.end, ..Walked::default() };
        let done = match self.begin(&mut chain, task, &mut walked) {
            Ok(Some(first)) => self.follow(&mut chain, first, task.range.end, &mut walked, &mut |_| false),
            Ok(None) => true,
            Err(()) => {
                walked.end = task.range.start;
                false
            }
        };
        let unread = walked.breaks.iter().filter(|lost| lost.reason == Reason::Unreadable);
        let unread = unread.filter_map(|lost| AddressRange::new(lost.at, lost.end).intersect(task.range));
        let mut skipped = Vec::new();
        for range in unread {
            push_skip(&mut skipped, Skip { range, reason: "unreadable memory".to_owned() });
        }
        let end = if done { task.range.end } else { walked.end.clamp(task.range.start, task.range.end) };
        walked.sightings = chain.sightings(end);
        let bytes = end - task.range.start - skipped.iter().map(|skip| skip.range.len()).sum::<u64>();
        let rest = (end < task.range.end).then(|| AddressRange::new(end, task.range.end));
        Scanned { partial: walked, bytes, skipped, rest, gone: false }
    }

    fn merge(&self) -> WalkMerge {
        WalkMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut WalkMerge,
        task: &Task,
        mut walked: Walked,
        view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        merge.sightings.append(std::mem::take(&mut walked.sightings));
        let Some(segment) = self.segments.get(task.index) else { return ControlFlow::Continue(()) };
        let next = match merge.at {
            Some((index, next)) if index == task.index => next,
            _ => {
                self.close(merge, &view.index);
                segment.range.start
            }
        };
        if next < task.range.start && !merge.lost {
            // The part before was given up.
            merge.lose(Break { before: None, at: next, end: task.range.start, reason: Reason::GivenUp });
            view.index.add(view.index.segments().granule(next).map(|granule| (granule, false)));
            merge.lost = true;
        }
        if next >= task.range.end {
            return ControlFlow::Continue(());
        }
        let next = if merge.lost || next == walked.start {
            merge.lost &= walked.chunks.is_empty();
            self.take(merge, walked, 0, view)
        } else {
            self.join(merge, task, walked, next, view)
        };
        merge.at = Some((task.index, next));
        ControlFlow::Continue(())
    }

    fn weight(partial: &Walked) -> usize {
        size_of_val(partial) + partial.chunks.len() + size_of_val(&partial.breaks[..]) + partial.sightings.weight()
    }
}

impl Walk {
    /// The first chunk of a task: the segment's, or what looks like one.
    fn begin(&self, chain: &mut Chain<'_>, task: &Task, walked: &mut Walked) -> Result<Option<(u64, Header)>, ()> {
        let start = task.range.start;
        if start == chain.range.start {
            walked.start = start;
            if let Ok(header) = chain.header(start) {
                return Ok(Some((start, header)));
            }
            let resumed = chain.resume(start, chain.range.end)?;
            let reason = chain.header(start).err().unwrap_or(Reason::Unreadable);
            let end = resumed.map_or(chain.range.end, |(address, _)| address);
            walked.lose(Break { before: None, at: start, end, reason });
            walked.push(end - start, false);
            walked.end = end;
            return Ok(resumed.filter(|(address, _)| *address < task.range.end));
        }
        let first = chain.resume(start, task.range.end)?;
        if let Some((address, _)) = first {
            walked.start = address;
        }
        Ok(first)
    }

    /// Puts the chunks from `from` on into the index. Returns where the next one begins.
    fn take(&self, merge: &mut WalkMerge, walked: Walked, from: u64, view: &View) -> u64 {
        let segments = view.index.segments();
        let chunks = walked.chunks().filter(|(start, ..)| *start >= from);
        // One segment's granules have consecutive numbers.
        let first = segments.granule(walked.start).unwrap_or(0);
        view.index.add(chunks.map(|(start, _, used)| (first + (start - walked.start) / GRANULE, used)));
        for lost in walked.breaks.into_iter().filter(|lost| lost.before.unwrap_or(lost.at) >= from) {
            merge.lose(lost);
        }
        merge.more_breaks += walked.more_breaks;
        merge.gaps.extend(walked.gaps.into_iter().filter(|gap| gap.start >= from));
        merge.marks.extend(walked.marks.into_iter().filter(|mark| *mark >= from));
        let room = MOST_CACHES.saturating_sub(merge.caches.len());
        merge.caches.extend(walked.caches.into_iter().filter(|cache| *cache >= from).take(room));
        walked.end
    }

    /// Goes on from `next`, where the chunk begins that those of earlier tasks lead to, until it comes to one of this task's.
    fn join(&self, merge: &mut WalkMerge, task: &Task, walked: Walked, next: u64, view: &View) -> u64 {
        let Some(mut chain) = self.chain(task.index, &*view.memory, &|| false) else { return next };
        let mut between = Walked { start: next, end: next, ..Walked::default() };
        let Ok(header) = chain.header(next) else { return next };
        // Where a chunk begins, not where the chain was lost.
        let holes: FxHashSet<u64> = walked.breaks.iter().map(|lost| lost.at).collect();
        let mut starts = walked.chunks().map(|(start, ..)| start).filter(|start| !holes.contains(start)).peekable();
        let mut met = None;
        self.follow(&mut chain, (next, header), task.range.end, &mut between, &mut |address| {
            while starts.next_if(|start| *start < address).is_some() {}
            met = starts.peek().copied().filter(|start| *start == address);
            met.is_some()
        });
        drop(starts);
        let reached = self.take(merge, between, next, view);
        match met {
            Some(from) => self.take(merge, walked, from, view),
            None => reached,
        }
    }

    /// Ends a segment: what is left of it where its last part was given up is a free chunk.
    fn close(&self, merge: &mut WalkMerge, index: &Index) {
        let Some((range, next)) = merge.at.take() else { return };
        let Some(segment) = self.segments.get(range) else { return };
        if next < segment.range.end && !merge.lost {
            merge.lose(Break { before: None, at: next, end: segment.range.end, reason: Reason::GivenUp });
            index.add(index.segments().granule(next).map(|granule| (granule, false)));
        }
        merge.lost = false;
    }

    /// Ends the walk: what is in the index then are all chunks, those with mappings of their own among them.
    pub fn finish(&self, merge: &mut WalkMerge, index: &Index) {
        self.close(merge, index);
        let segments = index.segments();
        let mapped = segments.list().iter().filter(|segment| segment.kind == SegmentKind::Mapped);
        index.add(mapped.filter_map(|segment| Some((segments.granule(segment.range.start)?, true))));
    }
}

impl WalkMerge {
    fn lose(&mut self, lost: Break) {
        if self.breaks.len() < MOST_BREAKS {
            self.breaks.push(lost);
        } else {
            self.more_breaks += 1;
        }
    }
}
