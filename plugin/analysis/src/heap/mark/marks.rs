//! Which chunks have been found to be reachable, and which of those have been looked into.
//!
//! Both are bits by granule, in tables that all tasks share. What is looked into at once is a *piece*: a chunk, or of a
//! large one, [`PIECE`] bytes. The bits of a piece are those of its first granule.

use crate::heap::index::{HEADER, is_set, set};
use crate::heap::{GRANULE, Lookup, View};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use target::AddressRange;

/// Bytes of a large chunk that are looked into at once.
pub(in crate::heap) const PIECE: u64 = 1 << 20;

/// Granules of a piece.
const STRIDE: u64 = PIECE / GRANULE;

const BITS: u64 = 64;

/// Where a piece is and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::heap) struct Piece {
    /// What its chunk's user may use of it.
    pub range: AddressRange,
    pub segment: usize,
    /// Whether a chunk begins with it that has more.
    pub opens: bool,
}

/// The heap, and what is known of it.
#[derive(Clone, Copy)]
pub(in crate::heap) struct Marks<'a> {
    pub lookup: Lookup<'a>,
    marked: &'a [AtomicU64],
    claimed: &'a [AtomicU64],
    /// From the first segment's beginning to the last one's end.
    span: AddressRange,
}

impl<'a> Marks<'a> {
    /// Without tables, nothing is marked, and nothing can be.
    pub(in crate::heap) fn new(view: &'a View) -> Self {
        let table = |index: usize| view.tables.get(index).map_or(&[][..], |table| table.words());
        let segments = view.index.segments().list();
        let span = segments.first().zip(segments.last());
        let span = span.map(|(first, last)| AddressRange::new(first.range.start, last.range.end));
        Self { lookup: view.index.lookup(), marked: table(0), claimed: table(1), span: span.unwrap_or_default() }
    }

    pub(in crate::heap) fn is_marked(&self, granule: u64) -> bool {
        is_set(self.marked, granule)
    }

    /// Marks the piece that begins at this granule, and says whether it was not yet.
    pub(in crate::heap) fn mark(&self, granule: u64) -> bool {
        set(self.marked, granule)
    }

    /// Says that a piece is being looked into, and whether nobody had said so.
    pub(in crate::heap) fn claim(&self, granule: u64) -> bool {
        set(self.claimed, granule)
    }

    /// Gives the chunks in use that `words` point into to `visit`. Words are little-endian.
    #[inline]
    pub(in crate::heap) fn targets(&self, words: &[[u8; 8]], mut visit: impl FnMut(u64)) {
        let (start, length) = (self.span.start, self.span.len());
        for word in words {
            let value = u64::from_le_bytes(*word);
            // Most words point to nowhere near.
            if value.wrapping_sub(start) < length
                && let Some(granule) = self.lookup.used_at(value)
            {
                visit(granule);
            }
        }
    }

    /// The first piece from `granules.start` on that is marked and not claimed; with `claimed`, of all that are marked.
    pub(in crate::heap) fn next(&self, granules: Range<u64>, claimed: bool) -> Option<u64> {
        let mut word = granules.start / BITS;
        let mut mask = u64::MAX << (granules.start % BITS);
        while word * BITS < granules.end {
            let mut bits = self.marked.get(word as usize)?.load(Relaxed) & mask;
            if bits != 0 && !claimed {
                bits &= !self.claimed.get(word as usize)?.load(Relaxed);
            }
            if bits != 0 {
                return Some(word * BITS + u64::from(bits.trailing_zeros())).filter(|found| *found < granules.end);
            }
            mask = u64::MAX;
            word += 1;
        }
        None
    }

    /// The piece that begins at this granule: a chunk's first, or one that is marked.
    pub(in crate::heap) fn piece(&self, granule: u64) -> Option<Piece> {
        let segments = self.lookup.segments();
        let (segment, address) = segments.place(granule)?;
        let opens = self.lookup.is_start(granule);
        let start = if opens { address + HEADER } else { address };
        let after = (granule + STRIDE + 1).min(segments.granules_of(segment).end);
        let whole = segments.list()[segment];
        let (end, more) = match self.lookup.starts(granule + 1..after).next() {
            // The next chunk's first word is this one's.
            Some(next) => (address + (next - granule) * GRANULE + HEADER / 2, false),
            None => (address.saturating_add(PIECE).min(whole.range.end), after == granule + STRIDE + 1),
        };
        let end = end.min(whole.range.end);
        Some(Piece { range: AddressRange::new(start, end), segment, opens: opens && more })
    }

    /// The pieces after the first one of the chunk that begins at this granule.
    pub(in crate::heap) fn further(&self, granule: u64) -> impl Iterator<Item = u64> + use<'a> {
        let lookup = self.lookup;
        let end = lookup.segments().place(granule).map_or(0, |(segment, _)| lookup.segments().granules_of(segment).end);
        let next = move |granule: &u64| {
            let next = granule + STRIDE;
            let within = lookup.starts(granule + 1..(next + 1).min(end)).next().is_none();
            (within && next < end).then_some(next)
        };
        std::iter::successors(next(&granule), next)
    }

    /// The granules of chunks and pieces that begin in this range of a segment.
    pub(in crate::heap) fn granules(&self, range: AddressRange) -> Range<u64> {
        let segments = self.lookup.segments();
        let Some(segment) = segments.segment_at(range.start) else { return 0..0 };
        let (all, start) = (segments.granules_of(segment), segments.list()[segment].range.start);
        let granule = |address: u64| (all.start + (address - start).div_ceil(GRANULE)).min(all.end);
        granule(range.start)..granule(range.end)
    }

    /// The piece whose chunk has `address`, and that has it or begins there.
    pub(in crate::heap) fn piece_at(&self, address: u64) -> Option<u64> {
        let chunk = self.lookup.granule_at(address)?;
        let granule = self.lookup.segments().granule(address)?;
        Some(chunk + (granule - chunk) / STRIDE * STRIDE)
    }

    /// How many pieces are marked and not claimed, and how many are claimed.
    pub(in crate::heap) fn count(&self) -> (u64, u64) {
        let ones = |bits: u64| u64::from(bits.count_ones());
        let words = self.marked.iter().zip(self.claimed);
        words.fold((0, 0), |(pending, done), (marked, claimed)| {
            let (marked, claimed) = (marked.load(Relaxed), claimed.load(Relaxed));
            (pending + ones(marked & !claimed), done + ones(claimed))
        })
    }

    /// Takes back all claims.
    pub(in crate::heap) fn forget_claims(&self) {
        self.claimed.iter().for_each(|word| word.store(0, Relaxed));
    }

    /// The range within a segment in which pieces are pending; `None` if none is.
    pub(in crate::heap) fn pending(&self, segment: usize) -> Option<AddressRange> {
        let segments = self.lookup.segments();
        let all = segments.granules_of(segment);
        let first = self.next(all.clone(), false)?;
        let words = (first / BITS..all.end.div_ceil(BITS)).rev();
        let mut last = words.filter_map(|word| {
            let bits = self.marked.get(word as usize)?.load(Relaxed) & !self.claimed.get(word as usize)?.load(Relaxed);
            (bits != 0).then(|| word * BITS + BITS - 1 - u64::from(bits.leading_zeros()))
        });
        let last = last.next().unwrap_or(first);
        let start = segments.list()[segment].range.start;
        let address = |granule: u64| start + (granule - all.start) * GRANULE;
        Some(AddressRange::new(address(first), address(last) + GRANULE))
    }

    /// The granules of the chunks in use that are not marked, in this range of granules.
    pub(in crate::heap) fn unmarked(&self, granules: Range<u64>) -> impl Iterator<Item = u64> + use<'a> {
        let marks = *self;
        self.lookup.starts(granules).filter(move |granule| marks.is_unmarked(*granule))
    }

    fn is_unmarked(&self, granule: u64) -> bool {
        self.lookup.is_used(granule) && !self.is_marked(granule)
    }

    /// The pieces that begin in this range of a segment, of chunks in use that are not marked, each behind its chunk.
    pub(in crate::heap) fn unmarked_pieces(&self, range: AddressRange) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let marks = *self;
        let granules = self.granules(range);
        let before = self.lookup.granule_at(range.start).filter(|chunk| *chunk < granules.start);
        let before = before.filter(|chunk| marks.is_unmarked(*chunk));
        let (first, end) = (granules.start, granules.end);
        let pieces = move |chunk| {
            let pieces = std::iter::once(chunk).chain(marks.further(chunk));
            pieces.map(move |piece| (chunk, piece)).skip_while(move |(_, piece)| *piece < first)
        };
        let chunks = before.into_iter().chain(self.unmarked(granules));
        chunks.flat_map(pieces).take_while(move |(_, piece)| *piece < end)
    }
}

/// Whether pages of `range` that are not present hold zeros; `dense` are those of which that is not known.
pub(in crate::heap) fn is_sparse(dense: &[AddressRange], range: AddressRange) -> bool {
    let first = dense.partition_point(|dense| dense.end <= range.start);
    dense.get(first).is_none_or(|dense| dense.intersect(range).is_none())
}
