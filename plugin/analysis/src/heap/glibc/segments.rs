//! What arenas have from the system: brk's memory, mappings where that failed, and chunks with mappings of their own.

use super::arena::State;
use super::chain::{Chain, HeaderKind, Next};
use super::findings::{FindingKind, top_problem};
use super::layout::{BITS, CACHES, LEAST, PAGE, PREVIOUS_USED, align};
use super::locate::{Area, AreaKind, Search};
use super::mapped;
use super::parameters::{self, Parameters};
use crate::heap::{GRANULE, Segment, SegmentKind};
use target::AddressRange;

/// How many chunks are still gone through to find where a piece begins. In memory of which every page looks like one, chains from all
/// of them would take as many steps as there are pairs of pages.
struct Steps(u64);

impl Steps {
    /// As many as take one through all of it twice, whatever the chunks.
    fn within(range: AddressRange) -> Self {
        Self(2 * (range.len() / LEAST))
    }

    /// Takes one. Returns whether there are no more.
    fn take(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.are_over()
    }

    fn are_over(&self) -> bool {
        self.0 == 0
    }
}

/// Private memory, in address order.
pub(super) struct Areas<'a>(pub &'a [Area]);

impl Areas<'_> {
    /// The area that an address lies in.
    pub fn at(&self, address: u64) -> Option<&Area> {
        let after = self.0.partition_point(|area| area.range.start <= address);
        self.0[..after].last().filter(|area| area.range.contains(address))
    }

    /// The memory around an address, across areas that meet; empty if there is none.
    pub fn run(&self, address: u64) -> AddressRange {
        let after = self.0.partition_point(|area| area.range.start <= address);
        let Some(area) = self.0[..after].last().filter(|area| area.range.contains(address)) else {
            return AddressRange::default();
        };
        let mut run = area.range;
        for area in self.0[..after].iter().rev().skip(1).take_while(|area| area.kind != AreaKind::Data) {
            if area.range.end != run.start {
                break;
            }
            run.start = area.range.start;
        }
        for area in &self.0[after..] {
            if area.range.start != run.end {
                break;
            }
            run.end = area.range.end;
        }
        run
    }
}

/// What is left of a range by what is taken of it and around it, which is in address order and disjoint.
pub(super) fn gaps(range: AddressRange, taken: &[AddressRange]) -> Vec<AddressRange> {
    let mut free = Vec::new();
    let mut from = range.start;
    let first = taken.partition_point(|taken| taken.end <= range.start);
    for taken in taken[first..].iter().take_while(|taken| taken.start < range.end) {
        if from < taken.start {
            free.push(AddressRange::new(from, taken.start));
        }
        from = from.max(taken.end);
    }
    if from < range.end {
        free.push(AddressRange::new(from, range.end));
    }
    free
}

impl Search<'_> {
    /// The memory of a main arena.
    pub fn main_memory(&mut self, main: &State) {
        let parameters = self.parameters(main);
        self.located.parameters.extend(parameters);
        let Some(index) = self.located.arenas.iter().position(|arena| arena.address == main.address) else { return };
        if main.is_bare() {
            return;
        }
        let base = parameters.map(|parameters| parameters.base);
        let run = self.areas.run(main.top);
        if run.is_empty() || !main.top.is_multiple_of(GRANULE) {
            let text =
                format!("the top chunk of the main arena at {:#x} is said to be at {:#x}", main.address, main.top);
            self.problem(main.address, FindingKind::Arena, text);
            if let Some(base) = base.filter(|base| !self.areas.run(*base).is_empty()) {
                let run = self.areas.run(base);
                let end = base.checked_add(main.system).filter(|end| *end <= run.end).unwrap_or(run.end);
                self.push(AddressRange::new(align(base, GRANULE), end & !15), Some(index));
            }
            return;
        }
        let base = base.filter(|base| run.contains(*base) && *base <= main.top);
        let end = self.top_end(main, run, base);
        self.located.arenas[index].top = Some(main.top);
        let start = match base {
            Some(base) => align(base, GRANULE),
            None => self.start_of_piece(run.start, main.top, end),
        };
        let piece = AddressRange::new(start, end);
        self.push(piece, Some(index));
        let elsewhere = parameters.map(|parameters| parameters.base).filter(|base| !piece.contains(*base));
        if !main.contiguous || elsewhere.is_some() {
            self.other_pieces(main, index, piece.len(), elsewhere);
        }
    }

    fn push(&mut self, range: AddressRange, arena: Option<usize>) {
        if !range.is_empty() {
            let arena = arena.map(|arena| arena as u32);
            self.located.segments.push(Segment { range, kind: SegmentKind::Main, arena });
        }
    }

    /// What malloc counts beside its arenas: it lies near the main one.
    fn parameters(&mut self, main: &State) -> Option<Parameters> {
        let area = *self.areas.at(main.address)?;
        let areas = &self.areas;
        let mut is_base = |base: u64| match main.is_bare() {
            true => base == 0,
            false if main.contiguous => base <= main.top && areas.run(main.top).contains(base) && base > 0,
            false => !areas.run(base).is_empty(),
        };
        parameters::find(&mut self.reader, area.range, &mut is_base, self.stop)
    }

    /// Where the top chunk ends.
    fn top_end(&mut self, main: &State, run: AddressRange, base: Option<u64>) -> u64 {
        let top = main.top;
        let word = self.reader.pair(top).map_or(0, |[_, word]| word);
        let end = top.checked_add(word & !BITS).filter(|end| *end <= run.end && word & BITS == PREVIOUS_USED);
        let end = end.filter(|end| end.is_multiple_of(GRANULE) && *end > top);
        // brk's memory is all counted, that of others in it too.
        let counted = base.filter(|_| main.contiguous).and_then(|base| base.checked_add(main.system));
        let counted = counted.filter(|counted| *counted > top && *counted <= run.end);
        let area = self.areas.at(top).map_or(run.end, |area| area.range.end);
        let found = counted.or(end).unwrap_or(area & !15);
        if end != Some(found) {
            self.problems(top_problem(top, word, found - top));
        }
        found
    }

    /// Where the piece begins that has its top chunk at `top`: at the first page from which chunks lead there.
    fn start_of_piece(&mut self, from: u64, top: u64, end: u64) -> u64 {
        let mut steps = Steps::within(AddressRange::new(from.min(end), end));
        for page in (align(from, PAGE)..top).step_by(PAGE as usize) {
            if (self.stop)() || steps.are_over() {
                break;
            }
            let mut chain = self.chain(AddressRange::new(page, end), Some(top)).unbroken();
            let Ok(mut header) = chain.header(page) else { continue };
            let mut address = page;
            while let Next::Chunk { address: next, header: found, .. } = chain.next(address, header) {
                (address, header) = (next, found);
                if steps.take() {
                    break;
                }
            }
            if address == top {
                return page;
            }
        }
        top
    }

    fn chain(&self, range: AddressRange, top: Option<u64>) -> Chain<'_> {
        Chain::new(self.memory, (range, SegmentKind::Main, top), false, 64 << 10, self.stop)
    }

    /// The piece of a main arena without its top chunk that begins at `start`, a page, and ends with a fence before `end`, if all of it are
    /// chunks, and these are not too many. It may be as short as a page: since 2.35, a piece that is mapped where brk has failed is no longer
    /// than what was asked for and what the top chunk is padded with (sysmalloc in malloc.c has the least size in the place of its unit).
    fn mapped_piece(&self, start: u64, end: u64, steps: &mut Steps) -> Option<AddressRange> {
        let mut chain = self.chain(AddressRange::new(start, end), None).unbroken();
        let mut address = start;
        let mut header = chain.header(start).ok()?;
        while header.kind != HeaderKind::Fence {
            let Next::Chunk { address: next, header: found, .. } = chain.next(address, header) else { return None };
            (address, header) = (next, found);
            if steps.take() {
                return None;
            }
        }
        let end = address + LEAST;
        end.is_multiple_of(PAGE).then_some(AddressRange::new(start, end))
    }

    /// What brk gave a main arena before it failed, from `start` on: it ends with the last fence before `end`. There is one before each gap
    /// that others have as well.
    fn broken_piece(&self, start: u64, end: u64) -> Option<AddressRange> {
        let mut chain = self.chain(AddressRange::new(start, end), None);
        let mut address = start;
        let mut header = chain.header(start).ok()?;
        let mut fence = None;
        loop {
            if header.kind == HeaderKind::Fence && (address + LEAST).is_multiple_of(PAGE) {
                fence = Some(address + LEAST);
            }
            (address, header) = match chain.next(address, header) {
                Next::Chunk { address, header, .. } => (address, header),
                Next::Gap { resumed: Some(resumed) } | Next::Lost { resumed: Some(resumed), .. } => resumed,
                _ => return Some(AddressRange::new(start, fence?)),
            };
        }
    }

    /// Pieces that brk gave before it failed, and those that were mapped since.
    fn other_pieces(&mut self, main: &State, index: usize, known: u64, base: Option<u64>) {
        let mut known = known;
        if let Some(base) = base {
            let run = self.areas.run(base);
            if let Some(piece) = self.broken_piece(align(base, GRANULE), run.end & !15) {
                known += piece.len();
                self.push(piece, Some(index));
            }
        }
        for area in self.areas.0.iter().filter(|area| area.kind != AreaKind::Data) {
            for free in self.free_parts(area.range) {
                let mut page = align(free.start, PAGE);
                let mut steps = Steps::within(free);
                while page < free.end && known < main.system && !steps.are_over() {
                    if (self.stop)() {
                        return;
                    }
                    if let Some(chunk) = mapped::at(&mut self.probe, page, free.end, false) {
                        // What its user has may look like anything.
                        page = chunk.mapping.end;
                        continue;
                    }
                    let word = self.probe.pair(page).map_or(0, |[_, word]| word);
                    let may_be = word & BITS == PREVIOUS_USED && word >= LEAST;
                    let piece = if may_be { self.mapped_piece(page, free.end & !15, &mut steps) } else { None };
                    page = match piece {
                        Some(piece) => {
                            known += piece.len();
                            self.push(piece, Some(index));
                            piece.end
                        }
                        None => page + PAGE,
                    };
                }
            }
        }
        if known < main.system {
            let (address, system) = (main.address, main.system);
            let text = format!("the main arena at {address:#x} has {system:#x} bytes, {known:#x} are found");
            self.problem(address, FindingKind::Count, text);
        }
    }

    /// What no segment has of a range, and no heap has kept for later.
    pub fn free_parts(&self, range: AddressRange) -> Vec<AddressRange> {
        let mut taken: Vec<AddressRange> = self.taken().filter(|taken| taken.intersect(range).is_some()).collect();
        taken.sort_unstable();
        gaps(range, &taken)
    }

    /// Where there seems to be no main arena, brk's memory may still be its.
    pub fn break_alone(&mut self) {
        let Some(area) = self.areas.0.iter().find(|area| area.kind == AreaKind::Break).copied() else { return };
        let start = align(area.range.start, GRANULE);
        let range = AddressRange::new(start, area.range.end & !15);
        let mut chain = self.chain(range, None);
        // The first chunk is mostly the first thread's cache.
        let is_ours = chain.header(start).is_ok_and(|header| CACHES.iter().any(|cache| cache.chunk() == header.size));
        let is_ours = is_ours && matches!(chain.resume(start, start + GRANULE), Ok(Some(_)));
        drop(chain);
        if is_ours {
            let text = format!("no main arena is found for the chunks at {start:#x}: it is damaged");
            self.problem(start, FindingKind::Arena, text);
            self.push(range, None);
        }
    }
}
