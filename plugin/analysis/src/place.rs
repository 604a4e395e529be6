//! Where to look: what `--in` means on an address space.

use crate::plan::ScanRange;
use target::{AddressRange, AddressSpace, Backing, Permissions, ReadMemory, Region};

/// A part of the address space, as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Everything that is readable.
    All,
    /// What holds allocations of a recognised allocator, and `[heap]`.
    Heap,
    /// From each thread's stack pointer to the top of its stack's region.
    Stack,
    Writable,
    Executable,
    /// Private memory without a file, heap and stacks among it.
    Anonymous,
    /// What files back.
    File,
    /// The regions of a module, named by its path, its file name, or its file name up to a `.` or `-`.
    Module(String),
    Range(AddressRange),
}

/// A thread and where its stack is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStack {
    /// The debugger's index of the thread.
    pub thread: u64,
    pub stack_pointer: u64,
}

/// What a list of places comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Disjoint, in address order.
    pub ranges: Vec<ScanRange>,
    /// Mappings in these places that are not readable for the process itself: how many, and their bytes.
    pub left_out: (u64, u64),
}

/// The address space with what places need to know beside it.
pub struct Atlas<'a> {
    pub space: &'a AddressSpace,
    pub stacks: &'a [ThreadStack],
    pub memory: &'a dyn ReadMemory,
    /// Where malloc of glibc has its chunks, disjoint and in address order, if that was looked for. If not, regions are known by what they
    /// begin with.
    pub chunks: Option<Vec<AddressRange>>,
}

impl std::fmt::Debug for Atlas<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Atlas").field("regions", &self.space.regions.len()).finish_non_exhaustive()
    }
}

impl Atlas<'_> {
    /// All that the places cover together; everything if there are none.
    ///
    /// # Errors
    /// One line about a place that covers nothing.
    pub fn cover(&self, places: &[Place]) -> Result<Coverage, String> {
        let everything = [Place::All];
        let places = if places.is_empty() { &everything } else { places };
        let mut wanted: Vec<(AddressRange, &Region)> = Vec::new();
        for place in places {
            let before = wanted.len();
            wanted.extend(self.parts(place));
            if wanted.len() == before {
                return Err(nothing_there(place));
            }
        }
        wanted.sort_by_key(|(range, _)| *range);
        wanted.dedup_by_key(|(range, _)| *range);
        let mut coverage = Coverage::default();
        for (range, region) in wanted {
            if !region.is_readable() && !self.asked_for(places, range) {
                coverage.left_out.0 += 1;
                coverage.left_out.1 += range.len();
                continue;
            }
            match coverage.ranges.last_mut() {
                Some(last) if last.region == region.range && range.start <= last.range.end => {
                    last.range.end = last.range.end.max(range.end);
                }
                _ => coverage.ranges.push(ScanRange::within(range, region)),
            }
        }
        Ok(coverage)
    }

    /// The parts of regions that a place names, readable or not.
    fn parts(&self, place: &Place) -> Vec<(AddressRange, &Region)> {
        let whole = |keep: &dyn Fn(&Region) -> bool| {
            self.space.regions.iter().filter(|region| keep(region)).map(|region| (region.range, region)).collect()
        };
        let permitted = |flag: Permissions| whole(&|region| region.permissions.contains(flag));
        match place {
            Place::All => whole(&|_| true),
            Place::Heap => whole(&|region| self.is_heap(region)),
            Place::Stack => self.stack_parts(),
            Place::Writable => permitted(Permissions::WRITE),
            Place::Executable => permitted(Permissions::EXECUTE),
            Place::Anonymous => whole(&|region| {
                !region.shared
                    && !matches!(
                        region.backing,
                        Backing::File { .. } | Backing::Shared { .. } | Backing::Special { .. }
                    )
            }),
            Place::File => whole(&|region| matches!(region.backing, Backing::File { .. })),
            Place::Module(name) => self.module_parts(name),
            Place::Range(range) => {
                let parts = self.space.regions.iter().map(|region| (region.range.intersect(*range), region));
                parts.filter_map(|(part, region)| part.map(|part| (part, region))).collect()
            }
        }
    }

    /// Whether a range that the process itself cannot read was named by its addresses, with nothing readable in it.
    fn asked_for(&self, places: &[Place], part: AddressRange) -> bool {
        places.iter().any(|place| match place {
            Place::Range(range) if range.intersect(part) == Some(part) => !self
                .space
                .regions
                .iter()
                .any(|region| region.is_readable() && region.range.intersect(*range).is_some()),
            _ => false,
        })
    }

    fn stack_parts(&self) -> Vec<(AddressRange, &Region)> {
        let part = |stack: &ThreadStack| {
            let region = self.space.region_at(stack.stack_pointer)?;
            Some((AddressRange::new(stack.stack_pointer, region.range.end), region))
        };
        self.stacks.iter().filter_map(part).collect()
    }

    /// A module's own regions, and the anonymous one that follows its last: what of .bss lies beyond the file.
    fn module_parts(&self, name: &str) -> Vec<(AddressRange, &Region)> {
        let mut parts = Vec::new();
        let mut end = None;
        for region in &self.space.regions {
            let own = matches!(&region.backing, Backing::File { path, .. } if names_module(name, path));
            let tail = end == Some(region.range.start)
                && matches!(region.backing, Backing::Anonymous { name: None } | Backing::Unknown)
                && region.permissions.contains(Permissions::WRITE);
            if own || tail {
                parts.push((region.range, region));
            }
            end = own.then_some(region.range.end);
        }
        parts
    }

    /// Whether a region holds allocations: `[heap]`, memory that an allocator has named, and what has glibc's in it: a thread's
    /// arena or a chunk with a mapping of its own (`malloc/arena.c` and `malloc/malloc.c` of glibc).
    fn is_heap(&self, region: &Region) -> bool {
        match &region.backing {
            Backing::Heap => true,
            Backing::Anonymous { name: Some(name) } => {
                ["malloc", "scudo", "partition_alloc"].iter().any(|allocator| name.contains(allocator))
            }
            Backing::Anonymous { name: None } | Backing::Unknown
                if region.permissions.contains(Permissions::READ | Permissions::WRITE) =>
            {
                match &self.chunks {
                    Some(chunks) => {
                        let first = chunks.partition_point(|chunk| chunk.end <= region.range.start);
                        chunks.get(first).is_some_and(|chunk| chunk.intersect(region.range).is_some())
                    }
                    None => self.holds_glibc_heap(region),
                }
            }
            _ => false,
        }
    }

    /// Linux joins mappings that meet, so a thread's arena may lie anywhere in a region, but only at multiples of its size.
    fn holds_glibc_heap(&self, region: &Region) -> bool {
        /// HEAP_MAX_SIZE: thread arenas consist of heaps of this size and alignment.
        const HEAP: u64 = 64 << 20;
        /// As many places of a region are looked at.
        const MOST: usize = 1024;
        let range = region.range;
        let aligned = (range.start.next_multiple_of(HEAP)..range.end).step_by(HEAP as usize);
        self.is_mapped_chunk(range) || aligned.take(MOST).any(|address| self.is_arena_heap(address, HEAP))
    }

    /// The words of four at `address`; `None` if they cannot be read.
    fn words(&self, address: u64) -> Option<[u64; 4]> {
        let word = usize::from(self.space.layout.pointer_size);
        let mut bytes = [0; 32];
        let bytes = &mut bytes[..4 * word];
        if self.memory.read(address, bytes) != Ok(bytes.len()) {
            return None;
        }
        Some(std::array::from_fn(|index| self.space.layout.number(&bytes[index * word..][..word])))
    }

    /// heap_info: the arena, the arena's previous heap, bytes in use, bytes made writable.
    fn is_arena_heap(&self, address: u64, most: u64) -> bool {
        let Some([arena, _, size, writable]) = self.words(address) else { return false };
        let known = arena.wrapping_sub(address) < most || self.space.region_at(arena).is_some();
        arena != 0 && known && size <= writable && 0 < writable && writable <= most
    }

    /// A chunk with a mapping of its own: the size of the one before (0), and its own size with flags.
    fn is_mapped_chunk(&self, range: AddressRange) -> bool {
        const IS_MMAPPED: u64 = 2;
        let Some([before, chunk, ..]) = self.words(range.start) else { return false };
        let size = chunk & !7;
        before == 0 && chunk & 7 == IS_MMAPPED && size.is_multiple_of(4096) && 0 < size && size <= range.len()
    }
}

fn names_module(name: &str, path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    path == name
        || file == name
        || file.strip_prefix(name).is_some_and(|rest| !name.is_empty() && rest.starts_with(['.', '-']))
}

fn nothing_there(place: &Place) -> String {
    match place {
        Place::Range(range) => format!("nothing is mapped in {range}: see `mp-scan map`"),
        Place::Module(name) => format!("no module '{name}' is mapped: see `mp-scan map`"),
        Place::Stack => "no thread's stack is known".into(),
        Place::Heap => "no heap is known: it has not allocated yet, or its allocator is not recognised".into(),
        _ => "there is no such memory: see `mp-scan map`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use target::{Fault, FaultReason};

    /// Memory in which only the given words can be read.
    struct Words(Vec<(u64, [u64; 4])>);

    impl ReadMemory for Words {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
            let found = self.0.iter().find(|(start, _)| *start == address);
            let (_, words) = found.ok_or(Fault { address, reason: FaultReason::Unreadable })?;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let length = buffer.len().min(bytes.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            Ok(length)
        }
    }

    fn region(start: u64, end: u64, permissions: &str, backing: Backing) -> Region {
        let flag = |letter, flag| if permissions.contains(letter) { flag } else { Permissions::empty() };
        Region {
            range: AddressRange::new(start, end),
            permissions: flag('r', Permissions::READ) | flag('w', Permissions::WRITE) | flag('x', Permissions::EXECUTE),
            backing,
            shared: false,
            userfault: false,
        }
    }

    fn file(path: &str) -> Backing {
        Backing::File { path: path.into(), offset: 0, deleted: false }
    }

    fn anonymous() -> Backing {
        Backing::Anonymous { name: None }
    }

    fn space() -> AddressSpace {
        AddressSpace {
            regions: vec![
                region(0x1000, 0x2000, "rx", file("/opt/service")),
                region(0x2000, 0x3000, "rw", file("/opt/service")),
                region(0x3000, 0x5000, "rw", anonymous()),
                region(0x8000, 0x9000, "rw", Backing::Heap),
                region(0x9000, 0xa000, "", anonymous()),
                region(0x400_0000, 0x402_1000, "rw", anonymous()),
                region(0x500_0000, 0x510_0000, "rw", anonymous()),
                region(0x600_0000, 0x600_2000, "rx", file("/usr/lib/libc.so.6")),
                region(0x700_0000, 0x701_0000, "rw", Backing::Stack),
            ],
            ..AddressSpace::default()
        }
    }

    fn covered(places: &[Place]) -> Result<Vec<(u64, u64)>, String> {
        covered_with(places, None)
    }

    fn covered_with(places: &[Place], chunks: Option<Vec<AddressRange>>) -> Result<Vec<(u64, u64)>, String> {
        let space = space();
        let arena = [0x400_0030, 0, 0x21000, 0x21000];
        let chunk = [0, 0x10_0002, 0, 0];
        let memory = Words(vec![(0x400_0000, arena), (0x500_0000, chunk)]);
        let stacks = [ThreadStack { thread: 1, stack_pointer: 0x700_8010 }];
        let atlas = Atlas { space: &space, stacks: &stacks, memory: &memory, chunks };
        let ranges = atlas.cover(places)?.ranges;
        Ok(ranges.iter().map(|part| (part.range.start, part.range.end)).collect())
    }

    #[test]
    fn everything_readable_is_the_default_and_the_rest_is_counted() {
        let space = space();
        let memory = Words(Vec::new());
        let coverage = Atlas { space: &space, stacks: &[], memory: &memory, chunks: None }.cover(&[]).unwrap();
        assert_eq!(coverage.ranges.len(), 8);
        assert_eq!(coverage.left_out, (1, 0x1000));
        let sparse: Vec<u64> = coverage.ranges.iter().filter(|part| part.sparse).map(|part| part.range.start).collect();
        assert_eq!(sparse, [0x3000, 0x8000, 0x400_0000, 0x500_0000, 0x700_0000]);
    }

    #[test]
    fn places_cover_what_they_name() {
        let module = |name: &str| covered(&[Place::Module(name.into())]);
        assert_eq!(module("service").unwrap(), [(0x1000, 0x2000), (0x2000, 0x3000), (0x3000, 0x5000)]);
        assert_eq!(module("libc").unwrap(), [(0x600_0000, 0x600_2000)]);
        assert_eq!(module("/usr/lib/libc.so.6").unwrap(), [(0x600_0000, 0x600_2000)]);
        assert_eq!(covered(&[Place::Stack]).unwrap(), [(0x700_8010, 0x701_0000)]);
        assert_eq!(covered(&[Place::Executable]).unwrap(), [(0x1000, 0x2000), (0x600_0000, 0x600_2000)]);
        let heap = [(0x8000, 0x9000), (0x400_0000, 0x402_1000), (0x500_0000, 0x510_0000)];
        assert_eq!(covered(&[Place::Heap]).unwrap(), heap);
        // What was found is so, whatever a region looks like.
        let chunks = vec![AddressRange::new(0x8010, 0x9000), AddressRange::new(0x50f_0000, 0x50f_8000)];
        let heap = [(0x8000, 0x9000), (0x500_0000, 0x510_0000)];
        assert_eq!(covered_with(&[Place::Heap], Some(chunks)).unwrap(), heap);
        assert_eq!(covered_with(&[Place::Heap], Some(Vec::new())).unwrap(), heap[..1]);
    }

    #[test]
    fn overlapping_places_cover_once() {
        let places = [
            Place::Range(AddressRange::new(0x3100, 0x3200)),
            Place::Range(AddressRange::new(0x3180, 0x3300)),
            Place::Range(AddressRange::new(0x3100, 0x3110)),
        ];
        assert_eq!(covered(&places).unwrap(), [(0x3100, 0x3300)]);
        assert_eq!(covered(&[Place::All, Place::Heap]).unwrap().len(), 8);
    }

    #[test]
    fn an_unreadable_mapping_is_read_only_when_its_addresses_are_named() {
        assert_eq!(covered(&[Place::Range(AddressRange::new(0x9000, 0xa000))]).unwrap(), [(0x9000, 0xa000)]);
        assert_eq!(covered(&[Place::Range(AddressRange::new(0x8000, 0xa000))]).unwrap(), [(0x8000, 0x9000)]);
    }

    #[test]
    fn a_place_with_nothing_in_it_is_an_error() {
        let error = covered(&[Place::Range(AddressRange::new(0xb000, 0xc000))]).unwrap_err();
        assert_eq!(error, "nothing is mapped in 0xb000..0xc000: see `mp-scan map`");
        assert_eq!(
            covered(&[Place::Module("libm".into())]).unwrap_err(),
            "no module 'libm' is mapped: see `mp-scan map`"
        );
        assert!(covered(&[Place::Module(String::new())]).is_err());
    }
}
