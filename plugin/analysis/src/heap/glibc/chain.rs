//! How one chunk leads to the next.

use super::layout::{BITS, LEAST, MAPPED, NOT_MAIN, PREVIOUS_USED};
use super::reader::Reader;
use super::watch::{Sightings, Watch};
use super::{Break, Reason};
use crate::heap::{GRANULE, SegmentKind};
use target::{AddressRange, ReadMemory};

/// Where the chain is lost, it is taken up again at what has so many chunks in a row after it.
const RUN: usize = 8;

/// Chunks or granules between two questions whether to stop.
const PATIENCE: u32 = 4096;

/// What a chunk's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub size: u64,
    pub previous_used: bool,
    /// The size of the chunk before, if that is free.
    pub previous: u64,
    pub kind: HeaderKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderKind {
    Chunk,
    /// The top chunk.
    Top,
    /// The first of the two that mark where a piece ends. It is taken for both, and what is lost behind them.
    Fence,
}

/// What follows a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A chunk, and whether the one before it is in use.
    Chunk { address: u64, header: Header, used: bool },
    /// Memory of others, and then, unless the segment ends, a chunk.
    Gap { resumed: Option<(u64, Header)> },
    /// No chunk; after that, unless the segment ends, one again.
    Lost { lost: Break, resumed: Option<(u64, Header)> },
    /// The segment's end.
    End,
    /// It was to stop before this was known.
    Stopped,
}

/// The chunks of a segment, one after the other.
///
/// What follows a chunk depends on nothing but its address and the memory, so it does not matter where one has begun.
pub(super) struct Chain<'a> {
    pub range: AddressRange,
    kind: SegmentKind,
    /// Where the top chunk begins, if it is in this segment.
    top: Option<u64>,
    /// For what comes next, and for what may come.
    pub reader: Reader<'a>,
    ahead: Reader<'a>,
    /// What looks for pointers, and from where on it has something to look at.
    watch: Option<Watch>,
    unwatched: u64,
    /// Whether it is looked for where chunks begin again behind what is no chunk.
    resumes: bool,
    stop: &'a dyn Fn() -> bool,
    patience: u32,
}

impl<'a> Chain<'a> {
    /// `block` bytes are read at once.
    pub fn new(
        memory: &'a dyn ReadMemory,
        (range, kind, top): (AddressRange, SegmentKind, Option<u64>),
        sparse: bool,
        block: u64,
        stop: &'a dyn Fn() -> bool,
    ) -> Self {
        let reader = Reader::new(memory, block, 1, sparse);
        let top = top.filter(|top| range.contains(*top));
        let ahead = Reader::new(memory, 4096, 16, sparse);
        Self {
            range,
            kind,
            top,
            reader,
            ahead,
            watch: None,
            unwatched: u64::MAX,
            resumes: true,
            stop,
            patience: PATIENCE,
        }
    }

    /// The same for who wants no chunk behind what is none.
    pub fn unbroken(self) -> Self {
        Self { resumes: false, ..self }
    }

    /// Looks also for pointers from here on.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
        self.unwatched = 0;
    }

    /// The chain has come to `address`.
    #[inline]
    pub fn pass(&mut self, address: u64) {
        if address >= self.unwatched {
            self.look(address);
        }
    }

    #[cold]
    fn look(&mut self, address: u64) {
        self.unwatched = self.watch.as_mut().map_or(u64::MAX, |watch| watch.reach(&mut self.reader, address));
    }

    /// The pointers that lie before `end`.
    pub fn sightings(&mut self, end: u64) -> Sightings {
        let watch = self.watch.take();
        watch.map(|watch| watch.finish(&mut self.reader, end)).unwrap_or_default()
    }

    /// The header at `address`, a multiple of [`GRANULE`] from the segment's start on.
    ///
    /// # Errors
    /// If no chunk can begin there: why.
    #[inline]
    pub fn header(&mut self, address: u64) -> Result<Header, Reason> {
        if Some(address) == self.top {
            let size = self.range.end - address;
            return Ok(Header { size, previous_used: true, previous: 0, kind: HeaderKind::Top });
        }
        let pair = self.reader.pair(address);
        self.parse(address, pair, false)
    }

    fn peek(&mut self, address: u64) -> Result<Header, Reason> {
        if Some(address) == self.top {
            return self.header(address);
        }
        let pair = self.ahead.pair(address);
        self.parse(address, pair, true)
    }

    #[inline]
    fn parse(&mut self, address: u64, pair: Option<[u64; 2]>, ahead: bool) -> Result<Header, Reason> {
        let [previous, word] = pair.ok_or(Reason::Unreadable)?;
        let (size, bits) = (word & !BITS, word & BITS);
        let previous_used = bits & PREVIOUS_USED != 0;
        let limit = self.limit(address);
        let foreign = if self.kind == SegmentKind::Thread { MAPPED } else { MAPPED | NOT_MAIN };
        let ends = limit.checked_sub(address).is_some_and(|left| size <= left);
        let is_last = self.kind == SegmentKind::Thread && size == LEAST && self.range.end - address == LEAST + GRANULE;
        if is_last && bits & NOT_MAIN == 0 && self.ends_here(ahead) {
            // What was left of a top chunk was too small to be freed. Nobody had it: it does not say whose it is.
            return Ok(Header { size, previous_used, previous, kind: HeaderKind::Fence });
        }
        if size < LEAST {
            return self.fence(address, word, ahead).ok_or(Reason::Size(word));
        }
        if !size.is_multiple_of(GRANULE) || !ends || bits & foreign != 0 {
            return Err(Reason::Size(word));
        }
        Ok(Header { size, previous_used, previous, kind: HeaderKind::Chunk })
    }

    /// Where chunks end that begin at `address`, at the latest.
    #[inline]
    fn limit(&self, address: u64) -> u64 {
        self.top.filter(|top| address < *top).unwrap_or(self.range.end)
    }

    /// Whether a thread's heap ends with the mark that another one follows.
    fn ends_here(&mut self, ahead: bool) -> bool {
        let reader = if ahead { &mut self.ahead } else { &mut self.reader };
        reader.pair(self.range.end - GRANULE).is_some_and(|[_, word]| word == PREVIOUS_USED)
    }

    /// Two chunks that are too small mark the end of a piece (sysmalloc in malloc.c): of the main arena, 16 bytes each; of a
    /// thread's heap, the second one none, and at its end.
    fn fence(&mut self, address: u64, word: u64, ahead: bool) -> Option<Header> {
        if word & !PREVIOUS_USED != GRANULE {
            return None;
        }
        let next = address.checked_add(GRANULE).filter(|next| *next < self.limit(address))?;
        let reader = if ahead { &mut self.ahead } else { &mut self.reader };
        let second = reader.pair(next)?[1];
        let is_fence = match self.kind {
            SegmentKind::Thread => second == PREVIOUS_USED && self.range.end - address < LEAST + GRANULE,
            _ => second == GRANULE | PREVIOUS_USED,
        };
        let previous = reader.pair(address)?[0];
        let previous_used = word & PREVIOUS_USED != 0;
        is_fence.then_some(Header { size: LEAST, previous_used, previous, kind: HeaderKind::Fence })
    }

    /// What follows the chunk at `address` with this header.
    #[inline]
    pub fn next(&mut self, address: u64, header: Header) -> Next {
        if self.is_told_to_stop() {
            return Next::Stopped;
        }
        let next = address + header.size;
        match header.kind {
            HeaderKind::Top => return Next::End,
            HeaderKind::Fence if self.kind == SegmentKind::Thread || next >= self.range.end => return Next::End,
            HeaderKind::Fence => {
                let Ok(resumed) = self.resume(next, self.range.end) else { return Next::Stopped };
                return Next::Gap { resumed };
            }
            HeaderKind::Chunk if next == self.range.end => return Next::End,
            HeaderKind::Chunk => {}
        }
        match self.header(next) {
            Ok(header) => Next::Chunk { address: next, header, used: header.previous_used },
            Err(reason) => {
                // It may be this chunk's own size that is wrong.
                let Ok(resumed) = self.resume(address + LEAST, self.range.end) else { return Next::Stopped };
                let end = resumed.map_or(self.range.end, |(address, _)| address);
                Next::Lost { lost: Break { before: Some(address), at: next, end, reason }, resumed }
            }
        }
    }

    /// The first address from `from` on and before `end` at which a chunk seems to begin; `None` in an [unbroken](Self::unbroken) chain.
    ///
    /// # Errors
    /// If it was to stop before it was found.
    pub fn resume(&mut self, from: u64, end: u64) -> Result<Option<(u64, Header)>, ()> {
        let mut address = self.range.start + (from - self.range.start).next_multiple_of(GRANULE);
        while self.resumes && address < end.min(self.range.end) {
            if self.is_told_to_stop() {
                return Err(());
            }
            match self.header(address) {
                Ok(header) if self.is_run(address, header) => return Ok(Some((address, header))),
                _ => address += GRANULE,
            }
        }
        Ok(None)
    }

    /// Whether chunks follow one another from here on, and agree with each other.
    fn is_run(&mut self, start: u64, first: Header) -> bool {
        let (mut address, mut header) = (start, first);
        if !header.previous_used {
            let before = start.checked_sub(header.previous).is_some_and(|before| before >= self.range.start);
            if !before || header.previous < LEAST || !header.previous.is_multiple_of(GRANULE) {
                return false;
            }
        }
        for _ in 0..RUN {
            let next = address + header.size;
            if header.kind != HeaderKind::Chunk || next == self.range.end {
                return true;
            }
            let Ok(found) = self.peek(next) else { return false };
            if !found.previous_used && found.previous != header.size {
                return false;
            }
            (address, header) = (next, found);
        }
        true
    }

    #[inline]
    fn is_told_to_stop(&mut self) -> bool {
        self.patience -= 1;
        if self.patience > 0 {
            return false;
        }
        self.patience = PATIENCE;
        (self.stop)()
    }
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("range", &self.range).field("top", &self.top).finish_non_exhaustive()
    }
}
