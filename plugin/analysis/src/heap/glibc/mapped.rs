//! Chunks that have mappings of their own.

use super::findings::{FindingKind, Problem};
use super::layout::{BITS, LEAST, MAPPED, PAGE, align, user};
use super::locate::{AreaKind, Located, Search};
use super::reader::Reader;
use super::segments::gaps;
use crate::heap::{HEADER, Segment, SegmentKind};
use target::AddressRange;

/// As many of them are told apart. Linux has 65 530 mappings by default.
const MOST_MAPPED: usize = 1 << 22;

/// What was to be aligned lies at most so far behind the beginning of its mapping, where that is looked for page by page.
const FARTHEST: u64 = 1 << 30;

/// As many places are told where one may be of which the size was overwritten.
const MOST_PLACES: usize = 4;

/// A chunk with a mapping of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MappedChunk {
    pub chunk: AddressRange,
    /// With what lies before it, where it was to be aligned.
    pub mapping: AddressRange,
}

/// What malloc counts of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    count: u64,
    bytes: u64,
}

impl Counted {
    /// `None` if that is not found of all main arenas that have memory.
    fn of(located: &Located) -> Option<Self> {
        let parameters = &located.parameters;
        let mains = located.arenas.iter().filter(|arena| arena.main && arena.system > 0).count();
        let is_known = !parameters.is_empty() && parameters.len() >= mains;
        is_known.then(|| Self {
            count: parameters.iter().map(|parameters| u64::from(parameters.mappings)).sum(),
            bytes: parameters.iter().fold(0, |sum, parameters| sum.saturating_add(parameters.mapped)),
        })
    }

    fn in_all(found: &[MappedChunk]) -> Self {
        Self { count: found.len() as u64, bytes: found.iter().map(|chunk| chunk.mapping.len()).sum() }
    }
}

impl Search<'_> {
    /// Finds them, in what nothing else has.
    pub fn mapped(&mut self) {
        if self.located.arenas.is_empty() && self.located.segments.is_empty() {
            return;
        }
        let counted = Counted::of(&self.located);
        let mut found = self.mapped_chunks(counted, false);
        if counted != Some(Counted::in_all(&found)) {
            // Some may have been moved since.
            found = self.mapped_chunks(counted, true);
        }
        let chunks = found.iter().map(|found| found.chunk);
        let segments = chunks.map(|range| Segment { range, kind: SegmentKind::Mapped, arena: None });
        self.located.segments.extend(segments);
        let all = Counted::in_all(&found);
        let Counted { count: number, bytes: sum } = all;
        match counted {
            Some(counted) if counted == all => {}
            Some(Counted { count, bytes })
                if count == number + 1 && self.broken_chunk(&found, bytes.saturating_sub(sum)) => {}
            Some(Counted { count, bytes }) => {
                let text = format!(
                    "{number} chunks with mappings of their own are found, of {sum} bytes; malloc counts {count}, of {bytes} bytes"
                );
                let address = self.located.parameters[0].address;
                self.problem(address, FindingKind::Count, text);
            }
            None if self.located.is_unused() => {}
            None => {
                let text = format!(
                    "malloc's count of chunks with mappings of their own is not found; there may be more than the {number} that are"
                );
                let address = self.located.arenas.first().map(|arena| arena.address);
                let address = address.or_else(|| Some(self.located.segments.first()?.range.start));
                self.problem(address.unwrap_or_default(), FindingKind::Count, text);
            }
        }
    }

    /// As many as are counted, or all that are there, first where other things end. `moved` also finds those that realloc has moved.
    fn mapped_chunks(&mut self, counted: Option<Counted>, moved: bool) -> Vec<MappedChunk> {
        let mut found = Vec::new();
        let mut left = Vec::new();
        for area in self.areas.0.iter().filter(|area| area.kind == AreaKind::Other) {
            for free in self.free_parts(area.range) {
                let mut page = align(free.start, PAGE);
                while let Some(chunk) = at(&mut self.probe, page, free.end, moved).filter(|_| found.len() < MOST_MAPPED)
                {
                    if (self.stop)() {
                        return found;
                    }
                    page = chunk.mapping.end;
                    found.push(chunk);
                }
                left.push(AddressRange::new(page.min(free.end), free.end));
            }
        }
        // Where other mappings meet them, they begin anywhere.
        for free in left {
            let mut page = free.start;
            let is_all = |found: &[MappedChunk]| counted.is_some_and(|counted| counted.count <= found.len() as u64);
            while page < free.end && !is_all(&found) && found.len() < MOST_MAPPED && !(self.stop)() {
                page = match at(&mut self.probe, page, free.end, moved) {
                    Some(chunk) => {
                        found.push(chunk);
                        chunk.mapping.end
                    }
                    None => page + PAGE,
                };
            }
        }
        found
    }

    /// The one that is not found, of so many bytes, its header having been overwritten. Returns whether something could be told of it.
    fn broken_chunk(&mut self, found: &[MappedChunk], bytes: u64) -> bool {
        if bytes == 0 || !bytes.is_multiple_of(PAGE) {
            return false;
        }
        let places = self.broken_places(found, bytes);
        match places[..] {
            [Place { at, word, is_likely: true }] => {
                let mapping = AddressRange::sized(at, bytes);
                let range = inner(&mut self.probe, at, mapping.end, mapping.end).map_or(mapping, |inner| inner.chunk);
                self.located.segments.push(Segment { range, kind: SegmentKind::Mapped, arena: None });
                let text = format!(
                    "the chunk at {:#x}, one of those with mappings of their own, has {bytes:#x} bytes, and says {word:#x}",
                    user(at)
                );
                self.problems(Problem::new(at, FindingKind::Size, text));
                true
            }
            _ if places.is_empty() || places.len() > MOST_PLACES => false,
            _ => {
                let said =
                    places.iter().map(|Place { at, word, .. }| format!("{:#x}, which says {word:#x}", user(*at)));
                let text = format!(
                    "one of the chunks with mappings of their own, of {bytes:#x} bytes, is not found, for its size was overwritten; it may be that at {}",
                    said.collect::<Vec<_>>().join(", or that at ")
                );
                let address = self.located.parameters[0].address;
                self.problem(address, FindingKind::Count, text);
                true
            }
        }
    }

    /// Where that one may begin: at one place if what is free there is as long as it was, else beside others of its kind, else wherever it
    /// looks like one.
    fn broken_places(&mut self, found: &[MappedChunk], bytes: u64) -> Vec<Place> {
        let mut mappings: Vec<AddressRange> = found.iter().map(|chunk| chunk.mapping).collect();
        mappings.sort_unstable();
        let is_mapped = |at: u64| {
            let after = mappings.partition_point(|mapping| mapping.start <= at);
            mappings[..after].last().is_some_and(|mapping| mapping.contains(at))
        };
        let mut taken: Vec<AddressRange> = self.taken().chain(mappings.iter().copied()).collect();
        taken.sort_unstable();
        let (mut exact, mut beside, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for area in self.areas.0.iter().filter(|area| area.kind == AreaKind::Other) {
            for free in gaps(area.range, &taken) {
                let first = align(free.start, PAGE);
                for at in (first..free.end).step_by(PAGE as usize) {
                    if (self.stop)() {
                        return Vec::new();
                    }
                    if free.end - at < bytes || others.len() > MOST_PLACES && at != first && free.end - at != bytes {
                        continue;
                    }
                    let [before, word] = self.probe.pair(at).unwrap_or_default();
                    if word == 0 {
                        continue;
                    }
                    let place = Place { at, word, is_likely: true };
                    let is_beside = at == free.start && is_mapped(at.wrapping_sub(1))
                        || free.end - at == bytes && is_mapped(free.end);
                    match () {
                        () if at == free.start && free.end - at == bytes => exact.push(place),
                        () if is_beside => beside.push(place),
                        () if before == 0 => others.push(Place { is_likely: false, ..place }),
                        () => {}
                    }
                }
            }
        }
        [exact, beside].into_iter().find(|places| !places.is_empty()).unwrap_or(others)
    }
}

/// Where a chunk may begin of which the size was overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u64,
    /// What lies where its size should be.
    word: u64,
    /// Whether what lies around it says so too.
    is_likely: bool,
}

/// The chunk whose mapping begins at `address`, a page, and ends at `end` at the latest; with `moved` also one of which realloc has moved
/// the mapping (mremap_chunk in malloc.c).
pub(super) fn at(reader: &mut Reader<'_>, address: u64, end: u64, moved: bool) -> Option<MappedChunk> {
    // The chunk at the beginning is what was mapped, at first.
    let whole = read(reader, address, address, end)?;
    // One that was to be aligned lies behind, and says how far (_int_memalign in malloc.c). Since realloc may have changed how long
    // it is, the one at the beginning need not.
    let mut alignment = LEAST;
    while alignment < whole.chunk.len() {
        let user = (address + 16).checked_next_multiple_of(alignment)?;
        let user = if user - 16 - address < LEAST { user.checked_add(alignment)? } else { user };
        if user - 16 >= end {
            break;
        }
        if let Some(chunk) = read(reader, address, user - 16, end) {
            return Some(chunk);
        }
        alignment *= 2;
    }
    let inner = if moved { inner(reader, address, whole.chunk.end.min(end), end) } else { None };
    inner.or_else(|| (whole.chunk.end <= end).then_some(whole))
}

/// The chunk behind the beginning of its mapping that begins before `last`. A mapping that was moved has it as far behind its beginning as
/// before, and at no multiple of what it was to be aligned to any more. Up to a page that makes no difference.
fn inner(reader: &mut Reader<'_>, start: u64, last: u64, end: u64) -> Option<MappedChunk> {
    let last = last.min(start.saturating_add(FARTHEST));
    let mut users = (start.saturating_add(PAGE)..last).step_by(PAGE as usize);
    users.find_map(|user| read(reader, start, user - HEADER, end))
}

/// The chunk at `address`, in a mapping that begins at `start`.
fn read(reader: &mut Reader<'_>, start: u64, address: u64, end: u64) -> Option<MappedChunk> {
    let [before, size] = reader.pair(address)?;
    let bytes = size & !BITS;
    let last = address.checked_add(bytes)?;
    let fits = before == address - start && size & BITS == MAPPED && bytes >= LEAST && last % PAGE == 0;
    // The one at the beginning may say what is no longer so.
    let fits = fits && (last <= end || address == start);
    fits.then_some(MappedChunk { chunk: AddressRange::new(address, last), mapping: AddressRange::new(start, last) })
}
