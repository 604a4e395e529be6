//! Heaps that tests make as glibc lays them out, for versions that are not at hand.

use super::layout::{BINS, CACHES, Cache, LARGEST_SMALL, LEAST, SMALL_BINS, bin, reveal, state};
use std::collections::BTreeMap;
use std::sync::Arc;
use target::{AddressRange, AddressSpace, Backing, Fault, FaultReason, Layout, Permissions, ReadMemory, Region};

pub const DATA: u64 = 0x7f00_0000_0000;
pub const MAIN: u64 = DATA + 0xc80;
pub const PARAMETERS: u64 = DATA + 0x300;
pub const BREAK: u64 = 0x5555_5555_9000;
pub const MAPPED: u64 = 0x7d00_0000_0000;
pub const HEAPS: u64 = 0x7e00_0000_0000;

/// Memory in pieces.
#[derive(Clone, Debug, Default)]
pub struct Pieces(pub BTreeMap<u64, Vec<u8>>);

impl Pieces {
    fn at(&self, address: u64) -> Option<&[u8]> {
        let (start, bytes) = self.0.range(..=address).next_back()?;
        bytes.get((address - start) as usize..).filter(|bytes| !bytes.is_empty())
    }

    pub fn put(&mut self, address: u64, word: u64) {
        let (start, bytes) = self.0.range_mut(..=address).next_back().expect("memory");
        bytes[(address - start) as usize..][..8].copy_from_slice(&word.to_le_bytes());
    }

    pub fn word(&self, address: u64) -> u64 {
        u64::from_le_bytes(*self.at(address).and_then(|bytes| bytes.first_chunk()).expect("memory"))
    }
}

impl ReadMemory for Pieces {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let bytes = self.at(address).ok_or(Fault { address, reason: FaultReason::Unreadable })?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// What differs between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub name: &'static str,
    pub heap_info: u64,
    /// HEAP_MAX_SIZE.
    pub heap: u64,
    pub protected: bool,
    pub cache: Cache,
    /// Of `mp_`: the offset of `n_mmaps`, and that of `mmapped_mem`.
    pub parameters: (u64, u64),
    /// And what it says of caches: how many bins they have for one size each, and how many bytes they take at most.
    pub cached: (u64, u64),
    /// The largest chunk that caches take.
    pub most: u64,
}

const PLAIN: Version = Version {
    name: "2.31",
    heap_info: 0x20,
    heap: 64 << 20,
    protected: false,
    cache: CACHES[0],
    parameters: (40, 56),
    cached: (SMALL_BINS, 1032),
    most: LARGEST_SMALL,
};
const SAFE: Version = Version { name: "2.32", protected: true, ..PLAIN };
const PAGED: Version = Version { name: "2.35", heap_info: 0x30, parameters: (60, 80), ..SAFE };
const WIDE: Version = Version { name: "2.42", cache: CACHES[1], cached: (SMALL_BINS, LARGEST_SMALL), ..PAGED };

/// Two are told to have caches of other sizes (glibc.malloc.tcache_max), the last ones to use huge pages of 2 MiB, 1 GiB, 32 and 512 MiB
/// (glibc.malloc.hugetlb).
pub const VERSIONS: [Version; 10] = [
    PLAIN,
    SAFE,
    PAGED,
    WIDE,
    Version { name: "2.42-larger", cached: (SMALL_BINS, 64 << 10), most: 64 << 10, ..WIDE },
    Version { name: "2.42-smaller", cached: (9, 160), most: 160, ..WIDE },
    Version { name: "2.35-huge", heap: 8 << 20, ..PAGED },
    Version { name: "2.35-gigantic", heap: 4 << 30, ..PAGED },
    Version { name: "2.35-huge-32", heap: 128 << 20, ..PAGED },
    Version { name: "2.35-huge-512", heap: 2 << 30, ..PAGED },
];

/// What becomes of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Used,
    /// In a bin.
    Free,
    /// In the thread's cache.
    Cached,
    /// On a fast bin.
    Fast,
}

/// A part of an arena's memory that is being filled.
struct Part<'a> {
    range: AddressRange,
    /// Whether it begins with the cache of a thread.
    cache: bool,
    /// Whether it ends with the top chunk.
    is_last: bool,
    lists: &'a mut [Vec<u64>; 3],
    /// How many chunks are in each bin of the cache.
    cached: &'a mut BTreeMap<u64, u64>,
}

/// A heap, and the truth about it.
#[derive(Clone)]
pub struct Image {
    pub version: Version,
    pub memory: Pieces,
    /// Each chunk, how long it is, and whether it is in use.
    pub chunks: Vec<(u64, u64, bool)>,
    /// The chunks of each arena that are in bins, in a cache, on fast bins.
    pub lists: Vec<[Vec<u64>; 3]>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:x?}, {:x?}", self.version.name, self.chunks, self.lists)
    }
}

impl Image {
    /// The chunks of the main arena, and of threads', each by its granules, and the granules of mapped ones.
    pub fn new(version: Version, arenas: &[Vec<(u64, Fate)>], mapped: &[(u64, u64)]) -> Self {
        Self::with_heaps(version, arenas, &[], mapped)
    }

    /// The same with more heaps of the last thread's arena, each by its chunks.
    pub fn with_heaps(
        version: Version,
        arenas: &[Vec<(u64, Fate)>],
        more: &[Vec<(u64, Fate)>],
        mapped: &[(u64, u64)],
    ) -> Self {
        let mut image = Self { version, memory: Pieces::default(), chunks: Vec::new(), lists: Vec::new() };
        image.memory.0.insert(DATA, vec![0; 0x2000]);
        let of = |number: usize| HEAPS + number as u64 * version.heap;
        let address = |number: usize| if number == 0 { MAIN } else { of(number) + version.heap_info };
        for (number, chunks) in arenas.iter().enumerate() {
            let arena = address(number);
            let first = if number == 0 { BREAK } else { (arena + state::SIZE).next_multiple_of(16) };
            let cache = version.cache.chunk();
            let sum = |chunks: &[(u64, Fate)]| chunks.iter().map(|(granules, _)| granules * 16).sum::<u64>();
            let start = if number == 0 { BREAK } else { of(number) };
            let end = (first + cache + sum(chunks) + 0x800).next_multiple_of(4096);
            image.memory.0.insert(start, vec![0; (end - start) as usize]);
            let mut parts = vec![(AddressRange::new(first, end), chunks.as_slice())];
            // The last arena has all heaps that there are more than one for each.
            let mut before = start;
            let mut system = end - start;
            for (index, chunks) in more.iter().enumerate().filter(|_| number > 0 && number + 1 == arenas.len()) {
                let heap = of(arenas.len() + index);
                let first = heap + version.heap_info;
                let end = (first + sum(chunks) + 0x800).next_multiple_of(4096);
                image.memory.0.insert(heap, vec![0; (end - heap) as usize]);
                image.heap_info(heap, arena, before, end - heap);
                parts.push((AddressRange::new(first, end), chunks.as_slice()));
                (before, system) = (heap, system + (end - heap));
            }
            image.arena(arena, address((number + 1) % arenas.len()), system);
            if number > 0 {
                image.heap_info(start, arena, 0, end - start);
            }
            image.fill(arena, &parts);
        }
        let (count, bytes) = image.map(mapped);
        let (at, size) = version.parameters;
        let base = BREAK;
        let half = |low: u64, high: u64| high << 32 | low;
        let halves = [(at, count), (at + 4, 65536), (at + 8, count), (at + 12, 0)];
        for (offset, value) in halves {
            let place = (PARAMETERS + offset) & !7;
            let old = image.memory.word(place);
            let (low, high) = (old & 0xffff_ffff, old >> 32);
            image.memory.put(place, if offset % 8 == 0 { half(value, high) } else { half(low, value) });
        }
        let (bins, most) = version.cached;
        let words = [(0, 128 << 10), (16, 128 << 10), (24, 8), (size, bytes), (size + 8, bytes), (size + 16, base)];
        for (offset, word) in words.into_iter().chain([(size + 24, bins), (size + 32, most), (size + 40, 7)]) {
            image.memory.put(PARAMETERS + offset, word);
        }
        image.chunks.sort_unstable();
        image
    }

    fn arena(&mut self, arena: u64, next: u64, system: u64) {
        let memory = &mut self.memory;
        for number in 1..=BINS {
            memory.put(bin(arena, number) + 16, bin(arena, number));
            memory.put(bin(arena, number) + 24, bin(arena, number));
        }
        for (at, word) in
            [(state::NEXT, next), (state::ATTACHED, 1), (state::SYSTEM, system), (state::MOST_SYSTEM, system)]
        {
            memory.put(arena + at, word);
        }
    }

    fn heap_info(&mut self, heap: u64, arena: u64, before: u64, size: u64) {
        for (at, word) in [(0, arena), (8, before), (16, size), (24, size), (32, 4096)] {
            if at < self.version.heap_info {
                self.memory.put(heap + at, word);
            }
        }
    }

    /// Fills the parts of an arena. The first chunk of all is the cache of a thread, and the last one the top chunk.
    fn fill(&mut self, arena: u64, parts: &[(AddressRange, &[(u64, Fate)])]) {
        let mut lists = [Vec::new(), Vec::new(), Vec::new()];
        let mut cached = BTreeMap::new();
        let user = parts[0].0.start + 16;
        for (index, (range, chunks)) in parts.iter().enumerate() {
            let is_last = index + 1 == parts.len();
            let mut part = Part { range: *range, cache: index == 0, is_last, lists: &mut lists, cached: &mut cached };
            self.fill_part(arena, &mut part, chunks);
        }
        self.link(arena, user, &lists);
        self.lists.push(lists);
    }

    fn fill_part(&mut self, arena: u64, part: &mut Part<'_>, chunks: &[(u64, Fate)]) {
        let Part { range: AddressRange { start: first, end }, lists, cached, .. } = part;
        let (first, end) = (*first, *end);
        let other = if arena == MAIN { 0 } else { 4 };
        let cache = self.version.cache;
        let mut at = first;
        let mut last_free = 0;
        let own = if part.cache { cache.chunk() } else { 0 };
        let caches = (own > 0).then_some((own / 16, Fate::Used));
        for (granules, fate) in caches.into_iter().chain(chunks.iter().copied()) {
            let size = granules * 16;
            let full = |bin: &Option<u64>| bin.is_none_or(|bin| cached.get(&bin).is_some_and(|count| *count >= 7));
            // What cannot be is in use.
            let fate = match fate {
                Fate::Free if last_free > 0 => Fate::Used,
                Fate::Cached if size > self.version.most || full(&cache.bin(size)) => Fate::Used,
                Fate::Fast if size > 128 => Fate::Used,
                fate => fate,
            };
            let previous = if last_free > 0 { 0 } else { 1 };
            let flag = if fate == Fate::Free { 0 } else { other };
            // If the chunk before is in use, this is its user's; the cache ends here.
            let is_users = at > first + own;
            self.memory.put(at, if last_free == 0 && is_users { 0x1234 } else { last_free });
            self.memory.put(at + 8, size | previous | flag);
            self.chunks.push((at, size, fate == Fate::Used));
            last_free = if fate == Fate::Free { size } else { 0 };
            match fate {
                Fate::Used => {}
                Fate::Free => lists[0].push(at),
                Fate::Cached => {
                    lists[1].push(at);
                    *cached.entry(cache.bin(size).expect("a bin")).or_default() += 1;
                }
                Fate::Fast => lists[2].push(at),
            }
            at += size;
        }
        self.memory.put(at, last_free);
        // The one before the top chunk is never free.
        if last_free > 0 {
            let free = lists[0].pop().expect("the last one");
            let chunk = self.chunks.iter_mut().find(|chunk| chunk.0 == free).expect("a chunk");
            chunk.2 = true;
            let word = self.memory.word(free + 8);
            self.memory.put(free + 8, word | other);
        }
        if part.is_last {
            self.memory.put(at + 8, (end - at) | 1);
            self.chunks.push((at, end - at, false));
            self.memory.put(arena + state::TOP, at);
            return;
        }
        // What was the top chunk is free, but for the mark that another heap follows.
        let mark = end - LEAST;
        self.memory.put(at + 8, (mark - at) | 1);
        self.chunks.push((at, mark - at, false));
        lists[0].push(at);
        self.memory.put(mark, mark - at);
        self.memory.put(mark + 8, 16);
        self.memory.put(mark + 24, 1);
        self.chunks.push((mark, LEAST, false));
    }

    fn link(&mut self, arena: u64, user: u64, lists: &[Vec<u64>; 3]) {
        let unsorted = bin(arena, 1);
        for chunk in &lists[0] {
            let next = self.memory.word(unsorted + 16);
            self.memory.put(chunk + 16, next);
            self.memory.put(chunk + 24, unsorted);
            self.memory.put(next + 24, *chunk);
            self.memory.put(unsorted + 16, *chunk);
        }
        let cache = self.version.cache;
        if !cache.counts {
            for bin in 0..cache.bins {
                self.count(user, bin, |_| 7);
            }
        }
        for chunk in &lists[1] {
            let bin = cache.bin(self.memory.word(chunk + 8) & !7).expect("a bin");
            let head = user + cache.entries() + 8 * bin;
            self.push(head, chunk + 16, chunk + 16);
            self.count(user, bin, |count| if cache.counts { count + 1 } else { count - 1 });
        }
        for chunk in &lists[2] {
            let bin = (self.memory.word(chunk + 8) & !7) / 16 - 2;
            self.push(arena + state::FAST_BINS + 8 * bin, *chunk, chunk + 16);
        }
    }

    fn push(&mut self, head: u64, value: u64, position: u64) {
        let next = self.memory.word(head);
        self.memory.put(position, if self.version.protected { reveal(position, next) } else { next });
        self.memory.put(head, value);
    }

    fn count(&mut self, user: u64, bin: u64, change: impl Fn(u64) -> u64) {
        let (place, shift) = (user + bin / 4 * 8, bin % 4 * 16);
        let word = self.memory.word(place);
        let count = change(word >> shift & 0xffff);
        self.memory.put(place, word & !(0xffff << shift) | count << shift);
    }

    /// Chunks with mappings of their own, one after the other: pages, and what the chunk was to be aligned to.
    fn map(&mut self, mapped: &[(u64, u64)]) -> (u64, u64) {
        let sum: u64 = mapped.iter().map(|(pages, _)| pages * 4096).sum();
        self.memory.0.insert(MAPPED, vec![0; sum as usize]);
        let mut at = MAPPED;
        for (pages, alignment) in mapped {
            let end = at + pages * 4096;
            self.memory.put(at + 8, (end - at) | 2);
            // As _int_memalign does it.
            let user = (at + 16).next_multiple_of(*alignment);
            let chunk = user - 16 + if (1..LEAST).contains(&(user - 16 - at)) { *alignment } else { 0 };
            self.memory.put(chunk, chunk - at);
            self.memory.put(chunk + 8, (end - chunk) | 2);
            self.chunks.push((chunk, end - chunk, true));
            at = end;
        }
        (mapped.len() as u64, sum)
    }

    pub fn memory(&self) -> Arc<dyn ReadMemory> {
        Arc::new(self.memory.clone())
    }

    pub fn space(&self) -> AddressSpace {
        let region = |(start, bytes): (&u64, &Vec<u8>)| Region {
            range: AddressRange::sized(*start, bytes.len() as u64),
            permissions: Permissions::READ | Permissions::WRITE,
            backing: match *start {
                DATA => Backing::File { path: "/lib/libc.so.6".into(), offset: 0, deleted: false },
                BREAK => Backing::Heap,
                _ => Backing::Anonymous { name: None },
            },
            shared: false,
            userfault: false,
        };
        let regions = self.memory.0.iter().filter(|(_, bytes)| !bytes.is_empty()).map(region).collect();
        AddressSpace { layout: Layout::default(), regions }
    }

    /// A used chunk of the first arena that has a chunk of the same kind after it, and room for a user.
    pub fn used(&self, arena: usize, number: usize) -> (u64, u64) {
        let of_arena = |chunk: &&(u64, u64, bool)| match arena {
            0 => chunk.0 >= BREAK && chunk.0 < MAPPED,
            arena => chunk.0 / self.version.heap == HEAPS / self.version.heap + arena as u64,
        };
        let mut used = self.chunks.iter().filter(of_arena).filter(|chunk| chunk.2 && chunk.1 >= LEAST).skip(1);
        used.nth(number).map(|chunk| (chunk.0, chunk.1)).expect("a used chunk")
    }
}
