//! Where chunks begin, and which are in use.
//!
//! For each granule there is a bit that says whether a chunk begins there, and one that says whether that chunk is in use. A
//! directory has an entry for each block of 512 granules: how many chunks begin before it, and where the last of those is.
//! So the chunk around an address, and its number, take three words, however large the chunk is.

use super::segments::BLOCK;
use super::{GRANULE, Segment, SegmentKind, Segments, Table, table};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use target::AddressRange;

/// Bits of a word.
const BITS: u64 = 64;

/// Words of a block in each of the two bit maps.
const WORDS: u64 = BLOCK / BITS;

/// Bytes before what a chunk gives to its user: the size of the chunk before, if that is free, and its own.
pub const HEADER: u64 = 16;

/// A chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first granule: this is how a chunk is known.
    pub granule: u64,
    /// All of it, with its header. What the last segment's bytes leave for no chunk ends it.
    pub range: AddressRange,
    pub used: bool,
    pub kind: SegmentKind,
    /// Index into [`Segments::list`].
    pub segment: usize,
}

impl Chunk {
    /// What malloc returned.
    pub fn address(&self) -> u64 {
        self.range.start + HEADER
    }

    /// What may be used of it. But for chunks with mappings of their own, this has the first word of the next chunk,
    /// which says the size of this one only once it is free.
    pub fn usable(&self) -> AddressRange {
        let beyond = if self.kind == SegmentKind::Mapped { 0 } else { GRANULE / 2 };
        AddressRange::new(self.address(), self.range.end + beyond)
    }
}

/// All chunks of a heap.
#[derive(Clone)]
pub struct Index {
    segments: Arc<Segments>,
    /// The bits of beginnings, those of chunks in use, and the directory.
    words: Table,
}

impl Default for Index {
    fn default() -> Self {
        Self::new(Arc::default(), table(Self::words(&Segments::default())))
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("chunks", &self.count()).finish_non_exhaustive()
    }
}

impl Index {
    /// How many words an index takes. The last one is one more of the directory: how many chunks there are.
    pub fn words(segments: &Segments) -> u64 {
        let granules = segments.granules();
        2 * granules / BITS + granules / BLOCK + 1
    }

    /// The index that `words` hold, of which there must be at least [`words`](Self::words).
    pub fn new(segments: Arc<Segments>, words: Table) -> Self {
        assert!(words.words().len() as u64 >= Self::words(&segments), "an index of another heap");
        Self { segments, words }
    }

    pub fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// How many chunks there are, free ones among them.
    pub fn count(&self) -> u64 {
        self.lookup().count()
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> u64 {
        Self::words(&self.segments) * 8
    }

    /// For many look-ups.
    pub fn lookup(&self) -> Lookup<'_> {
        let granules = self.segments.granules();
        let (starts, rest) = self.words.words().split_at((granules / BITS) as usize);
        let (used, directory) = rest.split_at((granules / BITS) as usize);
        Lookup { segments: &self.segments, starts, used, directory }
    }

    /// Notes the chunks of a segment that is not in the index yet: where each begins, and whether it is in use.
    pub fn add(&self, chunks: impl IntoIterator<Item = (u64, bool)>) {
        let lookup = self.lookup();
        let set = |word: u64, bits: u64, table: &[AtomicU64]| {
            if let Some(word) = table.get(word as usize).filter(|_| bits != 0) {
                word.fetch_or(bits, Relaxed);
            }
        };
        // Neighbours' bits are in the same words, which are written once.
        let (mut word, mut starts, mut in_use) = (0, 0, 0);
        for (granule, used) in chunks {
            if granule / BITS != word {
                set(word, starts, lookup.starts);
                set(word, in_use, lookup.used);
                (word, starts, in_use) = (granule / BITS, 0, 0);
            }
            starts |= 1 << (granule % BITS);
            in_use |= u64::from(used) << (granule % BITS);
        }
        set(word, starts, lookup.starts);
        set(word, in_use, lookup.used);
    }

    /// Notes that a chunk that was thought to be in use is not.
    pub fn free(&self, granule: u64) {
        if let Some(word) = self.lookup().used.get((granule / BITS) as usize) {
            word.fetch_and(!(1 << (granule % BITS)), Relaxed);
        }
    }

    /// Notes the chunks of an index of the same memory, of whose segments this one's are parts.
    pub fn adopt(&self, other: &Self) {
        let from = other.lookup();
        for (segment, Segment { range, .. }) in self.segments.list().iter().enumerate() {
            let Some(first) = other.segments.granule(range.start) else { continue };
            let granules = self.segments.granules_of(segment);
            let starts = from.starts(first..first + (granules.end - granules.start));
            self.add(starts.map(|start| (granules.start + (start - first), from.is_used(start))));
        }
    }

    /// Writes the directory, once all chunks have been noted.
    pub fn complete(&self) {
        let lookup = self.lookup();
        let mut rank = 0u64;
        let mut last = None;
        let mut segment_end = 0;
        let mut segment = 0;
        for block in 0..self.segments.granules() / BLOCK {
            if block * BLOCK >= segment_end {
                // A chunk does not reach from one segment to the next.
                last = None;
                segment_end = self.segments.granules_of(segment).end;
                segment += 1;
            }
            let back = last.map_or(0, |last: u64| block - last);
            lookup.directory[block as usize].store(back << 32 | rank, Relaxed);
            let words = &lookup.starts[(block * WORDS) as usize..][..WORDS as usize];
            let count: u64 = words.iter().map(|word| u64::from(word.load(Relaxed).count_ones())).sum();
            if count > 0 {
                last = Some(block);
            }
            rank += count;
        }
        if let Some(end) = lookup.directory.get((self.segments.granules() / BLOCK) as usize) {
            end.store(rank, Relaxed);
        }
    }
}

/// Sets a bit, and says whether it was not set before.
pub(crate) fn set(bits: &[AtomicU64], index: u64) -> bool {
    let bit = 1 << (index % BITS);
    match bits.get((index / BITS) as usize) {
        // Most are set already; then the line need not be owned.
        Some(word) => word.load(Relaxed) & bit == 0 && word.fetch_or(bit, Relaxed) & bit == 0,
        None => false,
    }
}

/// Whether a bit is set.
pub(crate) fn is_set(bits: &[AtomicU64], index: u64) -> bool {
    bits.get((index / BITS) as usize).is_some_and(|word| word.load(Relaxed) >> (index % BITS) & 1 == 1)
}

/// An index, to be asked.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    segments: &'a Segments,
    starts: &'a [AtomicU64],
    used: &'a [AtomicU64],
    directory: &'a [AtomicU64],
}

impl fmt::Debug for Lookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl<'a> Lookup<'a> {
    pub fn segments(&self) -> &'a Segments {
        self.segments
    }

    /// How many chunks there are.
    pub fn count(&self) -> u64 {
        self.directory.get((self.segments.granules() / BLOCK) as usize).map_or(0, |word| word.load(Relaxed))
    }

    /// The first granule of the chunk that `address` lies in, header or not, used or free.
    #[inline]
    pub fn granule_at(&self, address: u64) -> Option<u64> {
        self.start_before(self.segments.granule(address)?)
    }

    /// The first granule of the chunk in use that a pointer to `address` keeps alive: one to what its user may use of it.
    #[inline]
    pub fn used_at(&self, address: u64) -> Option<u64> {
        self.owner_at(address).filter(|start| self.is_used(*start))
    }

    /// The first granule of the chunk, used or free, whose user may use, or once might, what lies at `address`; `None` for
    /// the allocator's own words.
    #[inline]
    pub fn owner_at(&self, address: u64) -> Option<u64> {
        let (segment, inner) = self.segments.find(address)?;
        let start = self.start_before(inner)?;
        if inner == start {
            // Within the header. Its first word is the chunk's before.
            let list = self.segments.list();
            let shared = list[segment].kind != SegmentKind::Mapped && address % GRANULE < GRANULE / 2;
            let first = self.segments.granules_of(segment).start;
            let before = start.checked_sub(1).filter(|before| shared && *before >= first)?;
            return self.start_before(before);
        }
        Some(start)
    }

    /// Whether a chunk begins at this granule and is in use.
    #[inline]
    pub fn is_used(&self, granule: u64) -> bool {
        is_set(self.used, granule)
    }

    /// Whether a chunk begins at this granule.
    #[inline]
    pub fn is_start(&self, granule: u64) -> bool {
        is_set(self.starts, granule)
    }

    /// The chunk that begins at this granule.
    pub fn chunk(&self, granule: u64) -> Option<Chunk> {
        if !self.is_start(granule) {
            return None;
        }
        let (index, start) = self.segments.place(granule)?;
        let Segment { range, kind, .. } = self.segments.list()[index];
        let end = match self.next_start(granule + 1, self.segments.granules_of(index).end) {
            Some(next) => range.start + (next - self.segments.granules_of(index).start) * GRANULE,
            None => range.end,
        };
        Some(Chunk { granule, range: AddressRange::new(start, end), used: self.is_used(granule), kind, segment: index })
    }

    /// The chunk that `address` lies in, header or not, used or free.
    pub fn chunk_at(&self, address: u64) -> Option<Chunk> {
        self.chunk(self.granule_at(address)?)
    }

    /// The number of the chunk that begins at this granule, counted from 0 in address order.
    #[inline]
    pub fn number(&self, granule: u64) -> u64 {
        let block = granule / BLOCK;
        let rank = self.directory.get(block as usize).map_or(0, |word| word.load(Relaxed) & 0xffff_ffff);
        let first = block * WORDS;
        let word = granule / BITS;
        let whole = self.starts.get(first as usize..word as usize).unwrap_or_default();
        let whole: u64 = whole.iter().map(|word| u64::from(word.load(Relaxed).count_ones())).sum();
        let part = self.starts.get(word as usize).map_or(0, |word| word.load(Relaxed)) & ((1 << (granule % BITS)) - 1);
        rank + whole + u64::from(part.count_ones())
    }

    /// The first granule of the chunk with this number.
    pub fn numbered(&self, number: u64) -> Option<u64> {
        let blocks = (self.segments.granules() / BLOCK) as usize;
        let ranks = self.directory.get(..blocks)?;
        let block = ranks.partition_point(|word| word.load(Relaxed) & 0xffff_ffff <= number).checked_sub(1)?;
        let mut left = number - (ranks[block].load(Relaxed) & 0xffff_ffff);
        for word in block as u64 * WORDS..(block as u64 + 1) * WORDS {
            let mut bits = self.starts[word as usize].load(Relaxed);
            let count = u64::from(bits.count_ones());
            if left < count {
                for _ in 0..left {
                    bits &= bits - 1;
                }
                return Some(word * BITS + u64::from(bits.trailing_zeros()));
            }
            left -= count;
        }
        None
    }

    /// The granules in this range at which chunks begin, used and free.
    pub fn starts(&self, granules: Range<u64>) -> impl Iterator<Item = u64> + use<'a> {
        let lookup = *self;
        let mut next = granules.start;
        std::iter::from_fn(move || {
            let found = lookup.next_start(next, granules.end)?;
            next = found + 1;
            Some(found)
        })
    }

    /// All chunks that begin in this range of addresses, in their order.
    pub fn chunks(&self, range: AddressRange) -> impl Iterator<Item = Chunk> + use<'a> {
        let lookup = *self;
        let segments = self.segments;
        segments.list().iter().enumerate().flat_map(move |(index, segment)| {
            let part = segment.range.intersect(range).unwrap_or_default();
            let first = segments.granules_of(index).start;
            let granule = |address: u64| first + (address - segment.range.start).div_ceil(GRANULE);
            let granules = if part.is_empty() { 0..0 } else { granule(part.start)..granule(part.end) };
            lookup.starts(granules).filter_map(move |granule| lookup.chunk(granule))
        })
    }

    /// The last beginning at or before this granule, in its segment.
    #[inline]
    fn start_before(&self, granule: u64) -> Option<u64> {
        let word = granule / BITS;
        let mask = u64::MAX >> (BITS - 1 - granule % BITS);
        let bits = self.starts.get(word as usize)?.load(Relaxed) & mask;
        if bits != 0 {
            return Some(word * BITS + highest(bits));
        }
        let block = granule / BLOCK;
        if let Some(found) = self.last_of(block * WORDS..word) {
            return Some(found);
        }
        let back = self.directory.get(block as usize)?.load(Relaxed) >> 32;
        let block = block.checked_sub(back).filter(|_| back > 0)?;
        self.last_of(block * WORDS..(block + 1) * WORDS)
    }

    fn last_of(&self, words: Range<u64>) -> Option<u64> {
        words.rev().find_map(|word| {
            let bits = self.starts.get(word as usize)?.load(Relaxed);
            (bits != 0).then(|| word * BITS + highest(bits))
        })
    }

    /// The first beginning from `granule` on and before `end`.
    fn next_start(&self, granule: u64, end: u64) -> Option<u64> {
        let mut word = granule / BITS;
        let mut mask = u64::MAX << (granule % BITS);
        while word * BITS < end {
            let bits = self.starts.get(word as usize)?.load(Relaxed) & mask;
            if bits != 0 {
                return Some(word * BITS + u64::from(bits.trailing_zeros())).filter(|found| *found < end);
            }
            mask = u64::MAX;
            word += 1;
        }
        None
    }
}

fn highest(bits: u64) -> u64 {
    BITS - 1 - u64::from(bits.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Chunks of these sizes, in granules, in segments that begin where the sizes of one end.
    fn build(segments: &[(SegmentKind, Vec<(u64, bool)>)]) -> (Index, Vec<Chunk>) {
        let mut list = Vec::new();
        let mut start = 0x1_0000;
        for (kind, sizes) in segments {
            let length: u64 = sizes.iter().map(|(size, _)| size * GRANULE).sum();
            list.push(Segment { range: AddressRange::sized(start, length), kind: *kind, arena: None });
            start += length + 0x1000;
        }
        let all = Arc::new(Segments::new(list.clone()));
        let index = Index::new(Arc::clone(&all), table(Index::words(&all)));
        let mut chunks = Vec::new();
        for (number, ((kind, sizes), segment)) in segments.iter().zip(&list).enumerate() {
            let mut address = segment.range.start;
            for (size, used) in sizes {
                let range = AddressRange::sized(address, size * GRANULE);
                let granule = all.granule(address).unwrap();
                chunks.push(Chunk { granule, range, used: *used, kind: *kind, segment: number });
                address = range.end;
            }
        }
        index.add(chunks.iter().map(|chunk| (chunk.granule, chunk.used)));
        index.complete();
        (index, chunks)
    }

    fn sizes() -> impl Strategy<Value = Vec<(u64, bool)>> {
        prop::collection::vec((prop_oneof![9 => 2..40u64, 1 => 600..5000u64], any::<bool>()), 1..60)
    }

    proptest! {
        #[test]
        fn every_address_is_in_the_chunk_that_a_plain_list_says(
            segments in prop::collection::vec((prop_oneof![Just(SegmentKind::Main), Just(SegmentKind::Thread)], sizes()), 1..4),
            mapped in 1..9000u64,
            at in prop::collection::vec(any::<prop::sample::Index>(), 50),
        ) {
            let mut segments = segments;
            segments.push((SegmentKind::Mapped, vec![(mapped, true)]));
            let (index, chunks) = build(&segments);
            let lookup = index.lookup();
            prop_assert_eq!(lookup.count(), chunks.len() as u64);
            let all = AddressRange::new(0, u64::MAX);
            prop_assert_eq!(lookup.chunks(all).collect::<Vec<_>>(), chunks.clone());
            for (number, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(lookup.number(chunk.granule), number as u64);
                prop_assert_eq!(lookup.numbered(number as u64), Some(chunk.granule));
            }
            prop_assert_eq!(lookup.numbered(chunks.len() as u64), None);
            let end = chunks.last().unwrap().range.end + 0x20;
            for place in at {
                let address = 0xfff0 + place.index((end - 0xfff0) as usize) as u64;
                let around = chunks.iter().find(|chunk| chunk.range.contains(address));
                prop_assert_eq!(lookup.chunk_at(address), around.copied(), "{:#x}", address);
                // What the next chunk's first word is lies in its segment, but for the last one.
                let inside = |chunk: &&Chunk| index.segments().list()[chunk.segment].range.contains(address);
                let user = chunks.iter().find(|chunk| chunk.used && inside(chunk) && chunk.usable().contains(address));
                prop_assert_eq!(lookup.used_at(address), user.map(|chunk| chunk.granule), "{:#x}", address);
            }
        }
    }

    #[test]
    fn a_freed_chunk_stays_a_chunk() {
        let (index, chunks) = build(&[(SegmentKind::Main, vec![(4, true), (2, true), (8, false)])]);
        assert_eq!(
            index.lookup().used_at(chunks[0].range.end + 7),
            Some(chunks[0].granule),
            "the next one's first word"
        );
        assert_eq!(index.lookup().used_at(chunks[1].range.start + 8), None, "its size");
        index.free(chunks[0].granule);
        assert_eq!(index.lookup().used_at(chunks[0].address()), None);
        assert_eq!(index.lookup().chunk_at(chunks[0].address()).map(|chunk| chunk.used), Some(false));
        assert_eq!(index.count(), 3);
    }

    #[test]
    fn an_index_of_parts_has_the_chunks_in_them() {
        let main =
            |start, end| Segment { range: AddressRange::new(start, end), kind: SegmentKind::Main, arena: Some(0) };
        let whole = Arc::new(Segments::new(vec![main(0x1000, 0x9000), main(0xa000, 0xb000)]));
        let index = Index::new(Arc::clone(&whole), table(Index::words(&whole)));
        let granule = |address| whole.granule(address).unwrap();
        let chunks = [0x1000, 0x1040, 0x3000, 0x8000, 0xa000].map(|address| (granule(address), address != 0x1040));
        index.add(chunks);
        let parts = Arc::new(whole.without(&[AddressRange::new(0x1060, 0x3000)]));
        let cut = Index::new(Arc::clone(&parts), table(Index::words(&parts)));
        cut.adopt(&index);
        cut.complete();
        let all = cut.lookup().chunks(AddressRange::new(0, u64::MAX));
        let all: Vec<_> = all.map(|chunk| (chunk.range.start, chunk.range.end, chunk.used)).collect();
        let expected = [
            (0x1000, 0x1040, true),
            (0x1040, 0x1060, false),
            (0x3000, 0x8000, true),
            (0x8000, 0x9000, true),
            (0xa000, 0xb000, true),
        ];
        assert_eq!(all, expected);
        assert_eq!(cut.lookup().owner_at(0x2000), None);
    }

    #[test]
    fn an_index_of_nothing_knows_nothing() {
        let index = Index::default();
        assert_eq!(index.count(), 0);
        assert_eq!(index.lookup().used_at(0x1000), None);
    }
}
