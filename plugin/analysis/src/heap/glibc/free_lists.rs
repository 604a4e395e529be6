//! Chunks that are free although the next one says that they are in use: those on fast bins, and in the caches of threads.

use super::arena::Arena;
use super::layout::{self, BINS, CACHES, Cache, FAST_BINS, LEAST, PAGE, reveal, state, user};
use super::reader::Reader;
use super::{Located, WalkMerge};
use crate::driver::Sink;
use crate::heap::{GRANULE, HEADER, Lookup, Segment, View};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressRange;

/// As many lists show whether links are protected.
const SAMPLE: usize = 256;

/// As many links of each of these are followed.
const SAMPLE_LENGTH: usize = 64;

/// As many things that are wrong are told apart.
const MOST_WRONG: usize = 10_000;

/// Follows the lists of free chunks that keep their in-use bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeLists {
    /// One, that stands for all lists.
    ranges: Vec<ScanRange>,
    /// Where the arenas are.
    arenas: Vec<u64>,
    /// Chunks that may hold caches.
    caches: Vec<u64>,
    /// The first chunks of arenas' memory, in address order.
    first: Vec<u64>,
    /// How many chunks a bin of a cache takes, if that is known.
    cached: Option<u64>,
}

/// What the lists hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// The granules at which the chunks begin, in address order.
    granules: Vec<u64>,
    /// What follows from all lists.
    found: FreeListsMerge,
}

/// All chunks on the lists are free in the index then; this is what is found on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeListsMerge {
    /// How many there are.
    pub chunks: u64,
    /// The chunks that are caches of threads.
    pub caches: Vec<u64>,
    /// Whether links are protected; `None` if there is no list.
    pub protected: Option<bool>,
    /// At most 10 000 of them.
    pub wrong: Vec<Wrong>,
    pub more_wrong: u64,
}

/// A list that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// The chunk at fault; `None` where it is the list's head.
    pub chunk: Option<u64>,
    /// Where the list begins: a word in an arena or in a cache.
    pub list: u64,
    pub kind: WrongKind,
}

/// What is wrong with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WrongKind {
    /// The chunk's link, or the head, leads to this, where no chunk begins.
    Link(u64),
    /// The chunk is of this size, and the list is for others.
    Size(u64),
    /// The chunk is on the list twice.
    Loop,
    /// The chunk is on this list as well, which begins there.
    Twice(u64),
    /// The chunk after it says that it is free anyway.
    Merged,
    /// The list is shorter or longer than its cache says.
    Count { said: u64, found: u64 },
    /// The head of a cache's list leads to this, where no chunk begins, and the cache says that it has so many.
    Hidden { to: u64, said: u64 },
    /// This bin of the arena begins with a chunk that does not lead back.
    First { arena: u64, bin: u64, to: u64 },
    /// This bin of the arena is said to end with what is not its last chunk.
    Last { arena: u64, bin: u64, to: u64 },
}

/// A list.
#[derive(Clone, Copy, Debug)]
struct List {
    /// Where its head is.
    head: u64,
    kind: ListKind,
}

#[derive(Clone, Copy, Debug)]
enum ListKind {
    /// Links lead to chunks.
    Fast { bin: u64 },
    /// Links lead to what the user had.
    Cached { cache: Cache, bin: u64, said: Option<u64> },
}

impl List {
    fn holds(&self, size: u64) -> bool {
        match self.kind {
            ListKind::Fast { bin } => size == bin * GRANULE + LEAST,
            ListKind::Cached { cache, bin, .. } => cache.bin(size) == Some(bin),
        }
    }

    /// The chunk that a link leads to.
    fn chunk(&self, link: u64) -> u64 {
        match self.kind {
            ListKind::Fast { .. } => link,
            ListKind::Cached { .. } => link.wrapping_sub(HEADER),
        }
    }
}

impl FreeLists {
    pub fn new(located: &Located, walked: &WalkMerge) -> Self {
        let first = located.segments.first().map(|segment| AddressRange::sized(segment.range.start, 1));
        let ranges = first.map(ScanRange::alone);
        let cached = located.parameters.first().map(|parameters| parameters.cached);
        let arenas = located.arenas.iter().filter(|arena| arena.top.is_some());
        // The first memory of an arena: the lowest that the main one has, and what lies right behind a thread's.
        let begins = |(number, arena): (usize, &Arena)| {
            let own = |segment: &&Segment| segment.arena.is_some_and(|own| own as usize == number);
            let first = located.segments.iter().filter(own).map(|segment| segment.range.start);
            match arena.main {
                true => first.min(),
                false => first.filter(|start| start.checked_sub(arena.address).is_some_and(|gap| gap < PAGE)).min(),
            }
        };
        let mut first: Vec<u64> = located.arenas.iter().enumerate().filter_map(begins).collect();
        first.sort_unstable();
        Self {
            ranges: ranges.into_iter().collect(),
            arenas: arenas.map(|arena| arena.address).collect(),
            caches: walked.caches.clone(),
            first,
            cached: cached.filter(|_| located.parameters.len() == 1),
        }
    }

    fn fast_bins(&self) -> impl Iterator<Item = List> + use<'_> {
        self.arenas.iter().flat_map(|arena| {
            let head = move |bin| arena + state::FAST_BINS + 8 * bin;
            (0..FAST_BINS).map(move |bin| List { head: head(bin), kind: ListKind::Fast { bin } })
        })
    }

    /// The lists of the cache in a chunk, if it is one: if at least half of its lists lead to what they should, or if it is the first chunk of
    /// an arena's memory, which mostly is the cache of the thread that the arena was made for. All of such a cache may have been overwritten
    /// that was in use; but all lists but one have to be empty, or not, by both their heads and their counts.
    fn lists_of(&self, follow: &mut Follow<'_, '_>, chunk: u64) -> Option<Vec<List>> {
        let size = follow.reader.word(chunk + 8)? & !7;
        let cache = *CACHES.iter().find(|cache| cache.chunk() == size)?;
        let words = follow.reader.words(user(chunk), cache.words())?;
        let mut lists = Vec::new();
        let (mut right, mut differ) = (0, 0);
        for (bin, (count, first)) in (0..).zip(cache.heads(&words)) {
            let head = user(chunk) + cache.entries() + 8 * bin;
            let said =
                if cache.counts { Some(count) } else { self.cached.and_then(|cached| cached.checked_sub(count)) };
            let list = List { head, kind: ListKind::Cached { cache, bin, said } };
            differ += u32::from(said.is_some_and(|said| (said > 0) != (first != 0)));
            if first != 0 || said.is_some_and(|said| said > 0) {
                right += u32::from(follow.chunk(&list, first).is_ok());
                lists.push(list);
            }
        }
        let is_first =
            !lists.is_empty() && differ <= 1 && self.cached != Some(0) && self.first.binary_search(&chunk).is_ok();
        (2 * right as usize >= lists.len() && right > 0 || is_first).then_some(lists)
    }
}

/// What is needed to follow lists.
struct Follow<'a, 'b> {
    reader: Reader<'a>,
    lookup: Lookup<'a>,
    stop: &'b dyn Fn() -> bool,
    /// The granules of chunks that are on lists, and the list.
    seen: FxHashMap<u64, u64>,
    found: FreeListsMerge,
}

impl Follow<'_, '_> {
    /// The granule of the chunk that `link` on a list leads to.
    fn chunk(&mut self, list: &List, link: u64) -> Result<u64, WrongKind> {
        let chunk = list.chunk(link);
        let granule = self
            .lookup
            .segments()
            .granule(chunk)
            .filter(|granule| chunk.is_multiple_of(GRANULE) && self.lookup.is_start(*granule));
        let granule = granule.ok_or(WrongKind::Link(link))?;
        let size = self.reader.word(chunk + 8).ok_or(WrongKind::Link(link))? & !7;
        if !list.holds(size) { Err(WrongKind::Size(size)) } else { Ok(granule) }
    }

    /// Follows a list as far as it is right, at most so many links; calls `visit` with each chunk and its granule. Returns whether it
    /// ended as it should.
    fn follow(
        &mut self,
        list: &List,
        protected: bool,
        most: usize,
        visit: &mut dyn FnMut(&mut Self, u64, u64) -> Result<(), WrongKind>,
    ) -> Result<usize, (Option<u64>, WrongKind, usize)> {
        let mut link = self.reader.word(list.head).unwrap_or(0);
        let mut before = None;
        let mut count = 0;
        while link != 0 && count < most {
            // A link to nowhere is the fault of the chunk that it is in, all else is that of the chunk that it leads to.
            let chunk = list.chunk(link);
            let granule = self.chunk(list, link).map_err(|kind| match kind {
                WrongKind::Link(_) => (before, kind, count),
                kind => (Some(chunk), kind, count),
            })?;
            visit(self, chunk, granule).map_err(|kind| (Some(chunk), kind, count))?;
            count += 1;
            before = Some(chunk);
            let position = chunk + HEADER;
            let value = self.reader.word(position).unwrap_or(0);
            link = if protected { reveal(position, value) } else { value };
            if count.is_multiple_of(1024) && (self.stop)() {
                break;
            }
        }
        Ok(count)
    }

    /// Whether links are protected: what of the two leads farther.
    fn is_protected(&mut self, lists: &[List]) -> Option<bool> {
        let mut right = [0u32; 2];
        let mut seen = 0;
        for list in lists {
            if seen >= SAMPLE {
                break;
            }
            let mut any = false;
            for protected in [false, true] {
                let followed = self.follow(list, protected, SAMPLE_LENGTH, &mut |_, _, _| Ok(()));
                let (steps, ended) = match followed {
                    Ok(count) => (count, 2),
                    Err((_, _, count)) => (count, 0),
                };
                any |= steps > 0;
                right[usize::from(protected)] += steps as u32 + ended;
            }
            seen += usize::from(any);
        }
        (seen > 0).then_some(right[1] > right[0])
    }

    /// Looks at both ends of all bins of an arena: what is in between is looked at by who checks all of the heap.
    fn bins(&mut self, arena: u64) {
        for bin in 1..=BINS {
            let head = layout::bin(arena, bin);
            let ends = [head + HEADER, head + HEADER + 8].map(|link| self.reader.word(link));
            let [Some(first), Some(last)] = ends else { continue };
            if first == head && last == head {
                continue;
            }
            let mut leads_back = |chunk: u64, link: u64| {
                let place = chunk.checked_add(link).filter(|_| chunk.is_multiple_of(GRANULE));
                place.and_then(|place| self.reader.word(place)) == Some(head)
            };
            let (from_first, from_last) = (leads_back(first, HEADER + 8), leads_back(last, HEADER));
            let [first_is_one, last_is_one] = [first, last].map(|chunk| {
                let granule = self.lookup.segments().granule(chunk);
                granule.is_some_and(|granule| self.lookup.is_start(granule))
            });
            if first != head && !(from_first && first_is_one) {
                self.wrong(Wrong { chunk: None, list: head, kind: WrongKind::First { arena, bin, to: first } });
            }
            if !from_last || last != head && !last_is_one {
                self.wrong(Wrong { chunk: None, list: head, kind: WrongKind::Last { arena, bin, to: last } });
            }
        }
    }

    /// Follows a list to its end, and notes what is on it.
    fn take(&mut self, list: &List, protected: bool) {
        let most = match list.kind {
            // It has no more than its cache says, but for one that tells that it has.
            ListKind::Cached { said: Some(said), .. } => said as usize + 1,
            _ => usize::MAX,
        };
        let followed = self.follow(list, protected, most, &mut |follow, _, granule| {
            match follow.seen.get(&granule) {
                Some(other) if *other == list.head => return Err(WrongKind::Loop),
                Some(other) => return Err(WrongKind::Twice(*other)),
                None => follow.seen.insert(granule, list.head),
            };
            Ok(())
        });
        let wrong = match (followed, list.kind) {
            (Err((None, WrongKind::Link(to), 0)), ListKind::Cached { said: Some(said), .. }) if said > 0 => {
                Some((None, WrongKind::Hidden { to, said }))
            }
            (Err((chunk, kind, _)), _) => Some((chunk, kind)),
            (Ok(found), ListKind::Cached { said: Some(said), .. }) if found as u64 != said => {
                Some((None, WrongKind::Count { said, found: found as u64 }))
            }
            _ => None,
        };
        if let Some((chunk, kind)) = wrong {
            self.wrong(Wrong { chunk, list: list.head, kind });
        }
    }

    fn wrong(&mut self, wrong: Wrong) {
        if self.found.wrong.len() < MOST_WRONG {
            self.found.wrong.push(wrong);
        } else {
            self.found.more_wrong += 1;
        }
    }
}

impl Analysis for FreeLists {
    const NAME: &'static str = "heap-free";
    type Input = View;
    type Partial = Freed;
    type Scanner = ();
    type Merge = FreeListsMerge;
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

    fn scan(&self, (): &mut (), task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<Freed> {
        let mut follow = Follow {
            // They lead anywhere.
            reader: Reader::new(&*view.memory, 4096, 1024, false),
            lookup: view.index.lookup(),
            stop,
            seen: FxHashMap::default(),
            found: FreeListsMerge::default(),
        };
        let mut lists: Vec<List> = self.fast_bins().collect();
        for chunk in &self.caches {
            if let Some(found) = self.lists_of(&mut follow, *chunk) {
                lists.extend(found);
                follow.found.caches.push(*chunk);
            }
        }
        follow.found.protected = follow.is_protected(&lists);
        for list in &lists {
            follow.take(list, follow.found.protected == Some(true));
        }
        for arena in &self.arenas {
            follow.bins(*arena);
        }
        let mut granules: Vec<u64> = follow.seen.keys().copied().collect();
        granules.sort_unstable();
        for granule in &granules {
            let chunk = follow.lookup.segments().place(*granule).filter(|_| !follow.lookup.is_used(*granule));
            if let Some((_, chunk)) = chunk {
                follow.wrong(Wrong { chunk: Some(chunk), list: follow.seen[granule], kind: WrongKind::Merged });
            }
        }
        let rest = stop().then_some(task.range);
        let bytes = if rest.is_some() { 0 } else { task.range.len() };
        follow.found.chunks = granules.len() as u64;
        Scanned { partial: Freed { granules, found: follow.found }, bytes, skipped: Vec::new(), rest, gone: false }
    }

    fn merge(&self) -> FreeListsMerge {
        FreeListsMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut FreeListsMerge,
        _task: &Task,
        partial: Freed,
        view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        for granule in partial.granules {
            view.index.free(granule);
        }
        *merge = partial.found;
        ControlFlow::Continue(())
    }

    fn weight(partial: &Freed) -> usize {
        size_of_val(partial) + size_of_val(&partial.granules[..])
    }
}
