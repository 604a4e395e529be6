//! How glibc's malloc lays out what it keeps, where pointers have 64 bits.
//!
//! The source is malloc/malloc.c and malloc/arena.c of glibc 2.31 to 2.42. What differs between them is found out from the memory
//! itself: the length of `heap_info` by where in its heap an arena lies, that of `tcache_perthread_struct` by which chunks hold
//! lists that lead somewhere, and whether links are protected by which way they do.

use crate::heap::HEADER;

/// `struct malloc_state`: offsets of its members, in bytes.
pub(super) mod state {
    /// And its flags, of 32 bits each.
    pub const MUTEX: u64 = 0;
    pub const FAST_BINS: u64 = 16;
    pub const TOP: u64 = 96;
    pub const BINS: u64 = 112;
    pub const NEXT: u64 = 2160;
    pub const ATTACHED: u64 = 2176;
    pub const SYSTEM: u64 = 2184;
    pub const MOST_SYSTEM: u64 = 2192;
    pub const SIZE: u64 = 2200;
}

/// NFASTBINS.
pub(super) const FAST_BINS: u64 = 10;

/// The bins of an arena, each two words, but for the one with number 0, which there is not.
pub(super) const BINS: u64 = 127;

/// NONCONTIGUOUS_BIT of an arena's flags.
pub(super) const NONCONTIGUOUS: u32 = 2;

/// `struct heap_info`: offsets of its members, in bytes.
pub(super) mod heap_info {
    pub const ARENA: u64 = 0;
    pub const PREVIOUS: u64 = 8;
    pub const SIZE: u64 = 16;
    pub const WRITABLE: u64 = 24;
    /// How long it may be: until 2.34, and since, with the size of its pages.
    pub const LENGTHS: [u64; 2] = [0x20, 0x30];
}

/// What HEAP_MAX_SIZE may be: a heap begins at a multiple of it. From 2.35 to 2.41 it is four huge pages where malloc is told to use these
/// (`glibc.malloc.hugetlb` from 2 on; `heap_max_size` in arena.c), whether there are any or not: of 2 MiB or 1 GiB on x86-64, and of 32 or
/// 512 MiB elsewhere.
pub(super) const HEAP_SIZES: [u64; 5] = [64 << 20, 8 << 20, 4 << 30, 128 << 20, 2 << 30];

/// The smallest of them, which all are multiples of.
pub(super) const LEAST_HEAP: u64 = HEAP_SIZES[1];

/// No page is smaller.
pub(super) const PAGE: u64 = 4096;

/// MINSIZE: no chunk is smaller, but for what marks the end of a piece.
pub(super) const LEAST: u64 = 32;

/// Bits of a chunk's size.
pub(super) const PREVIOUS_USED: u64 = 1;
pub(super) const MAPPED: u64 = 2;
pub(super) const NOT_MAIN: u64 = 4;
pub(super) const BITS: u64 = 7;

/// How a thread's cache of freed chunks, `tcache_perthread_struct`, is laid out: a number of 16 bits for each bin, and then a pointer
/// to what the first chunk's user had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    pub bins: u64,
    /// Whether the number is how many chunks are in the bin; since 2.42 it is how many more it takes.
    pub counts: bool,
}

/// TCACHE_SMALL_BINS: as many bins of a cache have chunks of one size each.
pub(super) const SMALL_BINS: u64 = 64;

/// The size of the chunks in the last of them.
pub(super) const LARGEST_SMALL: u64 = (SMALL_BINS - 1) * 16 + LEAST;

/// Until 2.41, and since.
pub(super) const CACHES: [Cache; 2] = [Cache { bins: 64, counts: true }, Cache { bins: 76, counts: false }];

impl Cache {
    /// The size of the chunk that it is in.
    pub const fn chunk(self) -> u64 {
        chunk_size(self.bins * 10)
    }

    /// Where the pointers begin, from the structure's beginning on.
    pub const fn entries(self) -> u64 {
        (self.bins * 2).next_multiple_of(8)
    }

    /// How many words the structure has.
    pub const fn words(self) -> u64 {
        self.entries() / 8 + self.bins
    }

    /// The number and the pointer of each bin, from the words of the structure.
    pub fn heads(self, words: &[u64]) -> impl Iterator<Item = (u64, u64)> {
        let (counts, entries) = words.split_at((self.entries() / 8) as usize);
        entries.iter().enumerate().map(|(bin, entry)| (counts[bin / 4] >> (bin % 4 * 16) & 0xffff, *entry))
    }

    /// The bin that chunks of this size belong into.
    pub fn bin(self, size: u64) -> Option<u64> {
        let small = size.checked_sub(LEAST).filter(|_| size.is_multiple_of(16))? / 16;
        // Each of the others has sizes with one number of binary digits.
        let digits = || SMALL_BINS + u64::from(LARGEST_SMALL.leading_zeros().saturating_sub(size.leading_zeros()));
        let bin = if small < SMALL_BINS { small } else { digits() };
        (bin < self.bins).then_some(bin)
    }
}

/// The first multiple of `to` from `address` on, or the end of the address space.
pub(super) const fn align(address: u64, to: u64) -> u64 {
    match address.checked_next_multiple_of(to) {
        Some(aligned) => aligned,
        None => u64::MAX,
    }
}

/// What malloc returned of the chunk whose header is at `chunk`.
pub(super) const fn user(chunk: u64) -> u64 {
    chunk.saturating_add(HEADER)
}

/// The size of the chunk for a request of so many bytes.
pub(super) const fn chunk_size(bytes: u64) -> u64 {
    let size = (bytes + 8 + 15) & !15;
    if size < LEAST { LEAST } else { size }
}

/// Where a bin of the arena at `arena` pretends to be a chunk; an empty one points to it with both of its words.
pub(super) const fn bin(arena: u64, number: u64) -> u64 {
    arena.wrapping_add(state::BINS + 16 * number).wrapping_sub(32)
}

/// What a link that lies at `position` and has this value leads to, if it is protected (PROTECT_PTR, since 2.32).
pub(super) const fn reveal(position: u64, value: u64) -> u64 {
    position >> 12 ^ value
}
