//! Finds arenas and their memory.
//!
//! An arena is known by its bins: an empty one, and most are, points to itself, 16 bytes before where it lies. The main one is in the
//! data of libc, or of a program that libc is linked into; all are in one ring. What the ring leads to, and what lies where a heap of a
//! thread's arena must begin, have to agree.

use super::arena::{self, Arena, Heap, State};
use super::findings::{FindingKind, Problem, top_problem};
use super::layout::{BINS, BITS, HEAP_SIZES, LEAST_HEAP, PAGE, align, bin, state};
use super::parameters::Parameters;
use super::reader::Reader;
use super::segments::Areas;
use crate::driver::Sink;
use crate::heap::{Segment, SegmentKind, View};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{AddressRange, AddressSpace, Backing, ReadMemory, Region};

/// As many arenas are told apart.
pub(super) const MOST_ARENAS: usize = 1 << 16;

/// As many places that look like bins, but are in no arena, are looked at.
const MOST_TRIED: u32 = 1 << 14;

/// As many problems are told apart.
const MOST_PROBLEMS: usize = 256;

/// Finds the arenas, and what they have from the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locate {
    /// One, that stands for all: what is found leads to where is looked next, so it is one task.
    ranges: Vec<ScanRange>,
    areas: Vec<Area>,
}

/// Private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Area {
    pub range: AddressRange,
    pub kind: AreaKind,
    /// Whether pages that were never touched are known to hold zeros.
    pub sparse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AreaKind {
    /// Written data of a module, or what may be: where a main arena is looked for.
    Data,
    /// brk's.
    Break,
    Other,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// The main one first; empty if there is no malloc of glibc's.
    pub arenas: Vec<Arena>,
    /// Disjoint, in address order.
    pub segments: Vec<Segment>,
    /// What malloc counts, of each main arena whose parameters were found.
    pub parameters: Vec<Parameters>,
    /// What does not add up.
    pub problems: Vec<Problem>,
}

/// The task's, once it has ended.
pub type LocateMerge = Located;

impl Located {
    /// Whether there is a malloc of glibc's, of which nothing was ever allocated.
    pub fn is_unused(&self) -> bool {
        !self.arenas.is_empty() && self.segments.is_empty()
    }

    /// Where malloc keeps its own books outside of chunks: arenas, and what heaps of threads begin with.
    pub fn books(&self) -> Vec<AddressRange> {
        let arenas = self.arenas.iter().map(|arena| AddressRange::sized(arena.address, state::SIZE));
        arenas.chain(self.heads()).collect()
    }

    /// What heaps of threads begin with, before their first chunks: words of their own, and an arena in the first of each.
    pub fn heads(&self) -> impl Iterator<Item = AddressRange> {
        let threads = self.segments.iter().filter(|segment| segment.kind == SegmentKind::Thread);
        // Both together are shorter than a page.
        threads.map(|segment| AddressRange::new(segment.range.start / PAGE * PAGE, segment.range.start))
    }
}

impl Locate {
    pub fn new(space: &AddressSpace) -> Self {
        let files = space.regions.iter().any(|region| matches!(region.backing, Backing::File { .. }));
        let areas: Vec<Area> = space.regions.iter().filter_map(|region| area(region, files)).collect();
        let first = areas.first().map(|area| AddressRange::sized(area.range.start, 1));
        let ranges = first.map(ScanRange::alone);
        Self { ranges: ranges.into_iter().collect(), areas }
    }
}

fn area(region: &Region, files: bool) -> Option<Area> {
    let kind = match &region.backing {
        _ if !region.is_readable() => return None,
        // Where huge pages are asked for, they come with this name.
        Backing::File { path, .. } | Backing::Shared { name: path, .. } if path.starts_with("/anon_hugepage") => {
            AreaKind::Other
        }
        _ if region.shared => return None,
        Backing::File { .. } => AreaKind::Data,
        Backing::Unknown if !files => AreaKind::Data,
        Backing::Heap => AreaKind::Break,
        Backing::Anonymous { .. } | Backing::Unknown => AreaKind::Other,
        Backing::Stack | Backing::Shared { .. } | Backing::Special { .. } => return None,
    };
    // What is read-only now may have been written before; a module's data is not among that.
    let written = region.permissions.contains(target::Permissions::WRITE) || region.backing == Backing::Unknown;
    (kind != AreaKind::Data || written).then_some(Area { range: region.range, kind, sparse: region.is_sparse() })
}

impl Analysis for Locate {
    const NAME: &'static str = "heap-locate";
    type Input = View;
    type Partial = Located;
    type Scanner = ();
    type Merge = LocateMerge;
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

    fn scan(&self, (): &mut (), task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<Located> {
        let partial = Search::new(&self.areas, &*view.memory, stop).run();
        // One that was told to stop has found nothing that could be relied on.
        let rest = stop().then_some(task.range);
        let bytes = if rest.is_some() { 0 } else { task.range.len() };
        Scanned { partial, bytes, skipped: Vec::new(), rest, gone: false }
    }

    fn merge(&self) -> LocateMerge {
        Located::default()
    }

    fn absorb(
        &self,
        merge: &mut LocateMerge,
        _task: &Task,
        partial: Located,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        *merge = partial;
        ControlFlow::Continue(())
    }
}

/// The search under way.
pub(super) struct Search<'a> {
    pub areas: Areas<'a>,
    /// For what something points to.
    pub reader: Reader<'a>,
    /// For what may be anything: it leaves alone what was never touched.
    pub probe: Reader<'a>,
    pub memory: &'a dyn ReadMemory,
    pub stop: &'a dyn Fn() -> bool,
    pub located: Located,
    /// By address.
    states: FxHashMap<u64, State>,
    /// Where they begin, and how far they were written.
    heaps: FxHashMap<u64, u64>,
}

impl<'a> Search<'a> {
    fn new(areas: &'a [Area], memory: &'a dyn ReadMemory, stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            areas: Areas(areas),
            reader: Reader::new(memory, 4096, 64, false),
            probe: Reader::new(memory, 4096, 64, true),
            memory,
            stop,
            located: Located::default(),
            states: FxHashMap::default(),
            heaps: FxHashMap::default(),
        }
    }

    fn run(mut self) -> Located {
        let mains = self.mains();
        for main in &mains {
            self.ring(main);
        }
        // A malloc that was never called has made no heap and no mapping. Another may be in its place that has reserved terabytes.
        let used = mains.is_empty() || mains.iter().any(|main| !main.unused);
        if used {
            self.loose_heaps();
        }
        for main in &mains {
            self.main_memory(main);
        }
        if mains.is_empty() && !self.located.arenas.is_empty() {
            let first = self.located.arenas[0].address;
            let text = "the main arena is not where the others lead to: it is damaged".to_owned();
            self.problem(first, FindingKind::Arena, text);
        }
        if mains.is_empty() {
            self.break_alone();
        }
        if used {
            self.mapped();
        }
        self.located.segments.sort_by_key(|segment| segment.range.start);
        self.located
    }

    /// What segments and heaps have taken.
    pub fn taken(&self) -> impl Iterator<Item = AddressRange> + use<'_> {
        let heaps = self.heaps.iter().map(|(start, size)| AddressRange::sized(*start, *size));
        self.located.segments.iter().map(|segment| segment.range).chain(heaps)
    }

    pub fn problem(&mut self, address: u64, kind: FindingKind, text: String) {
        self.problems(Problem::new(address, kind, text));
    }

    pub fn problems(&mut self, problem: Problem) {
        if self.located.problems.len() < MOST_PROBLEMS {
            self.located.problems.push(problem);
        }
    }

    /// The main arenas: in the data of modules, or if there is none, anywhere.
    fn mains(&mut self) -> Vec<State> {
        for data in [true, false] {
            let areas = self.areas.0.iter().filter(|area| (area.kind == AreaKind::Data) == data);
            let mut found = Vec::new();
            for area in areas.copied().collect::<Vec<_>>() {
                self.states_in(&area, &mut found);
            }
            // That of a thread lies at the beginning of a heap.
            let reader = &mut self.reader;
            found.retain(|state| !HEAP_SIZES.iter().any(|size| is_in_heap(reader, state.address, *size)));
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    /// The arenas in an area, by what their empty bins look like.
    fn states_in(&mut self, area: &Area, found: &mut Vec<State>) {
        let mut reader = Reader::new(self.memory, 64 << 10, 1, area.sparse);
        let mut last = 0;
        let mut tried = 0;
        let mut address = align(area.range.start, 16);
        while address < area.range.end {
            if address.is_multiple_of(1 << 20) && (self.stop)() {
                return;
            }
            let Some([first, second]) = reader.pair(address) else {
                // What cannot be read may be long.
                address = align(self.memory.after_fault(address), 16);
                last = 0;
                continue;
            };
            for (at, words) in [(address.wrapping_sub(8), [last, first]), (address, [first, second])] {
                let known = found.last().is_some_and(|state| at.wrapping_sub(state.address) < state::SIZE);
                let is_bin = words == [at.wrapping_sub(16); 2];
                // One that was never used has nothing but a ring of its own.
                let is_ring = words[0] == at.wrapping_sub(state::NEXT);
                if known || !(is_bin || is_ring) || tried > MOST_TRIED {
                    continue;
                }
                tried += 1;
                let state = if is_ring {
                    State::read(&mut self.reader, words[0])
                } else {
                    let starts = (1..=BINS).filter_map(|number| at.checked_sub(bin(16, number)));
                    starts.filter_map(|start| State::read(&mut self.reader, start)).min_by_key(|state| state.wrong)
                };
                found.extend(state);
            }
            last = second;
            address = address.saturating_add(16);
        }
    }

    /// The arenas that a main one leads to, and their heaps.
    fn ring(&mut self, main: &State) {
        self.located.arenas.push(main.arena(true, None));
        self.states.insert(main.address, *main);
        self.bins_lead_nowhere(main, "main arena");
        let mut at = main.next;
        while at != main.address {
            let Some(state) = State::read(&mut self.reader, at).filter(|_| !self.states.contains_key(&at)) else {
                let text = format!("the ring of arenas from the main one at {:#x} breaks at {at:#x}", main.address);
                self.problem(at, FindingKind::Arena, text);
                return;
            };
            if self.located.arenas.len() >= MOST_ARENAS || (self.stop)() {
                self.problem(at, FindingKind::Arena, format!("there are more than {MOST_ARENAS} arenas"));
                return;
            }
            self.thread_arena(&state);
            at = state.next;
        }
    }

    fn bins_lead_nowhere(&mut self, state: &State, name: &str) {
        let address = state.address;
        let text = match state.wrong {
            0 => return,
            1 => format!("one bin of the {name} at {address:#x} leads nowhere"),
            wrong => format!("{wrong} bins of the {name} at {address:#x} lead nowhere"),
        };
        self.problem(address, FindingKind::Arena, text);
    }

    /// A thread's arena with its heaps.
    fn thread_arena(&mut self, state: &State) {
        self.states.insert(state.address, *state);
        self.bins_lead_nowhere(state, "arena");
        let (heaps, problem) = arena::heaps(&mut self.reader, state);
        let top = heaps.last().map(Heap::chunks).filter(|chunks| chunks.contains(state.top) && problem.is_none());
        if let Some(problem) = problem {
            self.problem(state.address, FindingKind::Heap, problem);
        }
        if let Some(chunks) = top {
            let word = self.reader.pair(state.top & !15).map_or(0, |[_, word]| word);
            if state.top.checked_add(word & !BITS) != Some(chunks.end) {
                self.problems(top_problem(state.top, word, chunks.end - state.top));
            }
        }
        let index = self.located.arenas.len() as u32;
        self.located.arenas.push(state.arena(false, top.map(|_| state.top)));
        for heap in heaps {
            self.heap(&heap, index);
        }
    }

    fn heap(&mut self, heap: &Heap, arena: u32) {
        let readable = self.areas.run(heap.address);
        let mut range = heap.chunks();
        if range.end > readable.end {
            let (address, end, memory) = (heap.address, range.end, readable.end);
            let text = format!("the heap at {address:#x} is said to end at {end:#x}, its memory ends at {memory:#x}");
            self.problem(address, FindingKind::Heap, text);
            range = AddressRange::new(range.start, readable.end & !15);
        }
        if self.heaps.insert(heap.address, heap.writable).is_none() && !range.is_empty() {
            self.located.segments.push(Segment { range, kind: SegmentKind::Thread, arena: Some(arena) });
        }
    }

    /// What may be a heap at an address, and how large it may become, where no heap is known.
    fn loose_heap(&mut self, address: u64) -> Option<(u64, Heap)> {
        let sizes = || HEAP_SIZES.into_iter();
        let is_known = |start: u64| self.heaps.get(&start).is_some_and(|size| address - start < *size);
        if sizes().any(|size| is_known(address / size * size)) {
            return None;
        }
        let mut sizes = sizes().filter(|size| address.is_multiple_of(*size));
        sizes.find_map(|size| Some((size, Heap::read(&mut self.probe, address, size)?)))
    }

    /// Heaps that no arena of a ring leads to.
    fn loose_heaps(&mut self) {
        let ring = self.states.len();
        for area in self.areas.0 {
            for address in (align(area.range.start, LEAST_HEAP)..area.range.end).step_by(LEAST_HEAP as usize) {
                if (self.stop)() {
                    return;
                }
                let Some((size, heap)) = self.loose_heap(address) else { continue };
                if let Some(index) = self.located.arenas.iter().position(|arena| arena.address == heap.arena) {
                    let text = format!("the heap at {address:#x} is not on the list of its arena at {:#x}", heap.arena);
                    self.problem(address, FindingKind::Heap, text);
                    self.heap(&heap, index as u32);
                    continue;
                }
                let first = heap.arena / size * size;
                if Heap::read(&mut self.probe, first, size)
                    .is_none_or(|first| !first.is_first() || first.arena != heap.arena)
                {
                    continue;
                }
                if self.located.arenas.len() >= MOST_ARENAS {
                    return;
                }
                match State::read(&mut self.reader, heap.arena) {
                    Some(state) => {
                        if ring > 0 {
                            let text = format!("no ring leads to the arena at {:#x}", heap.arena);
                            self.problem(heap.arena, FindingKind::Arena, text);
                        }
                        self.thread_arena(&state);
                    }
                    None => {
                        let text = format!("the arena at {:#x} is damaged", heap.arena);
                        self.problem(heap.arena, FindingKind::Arena, text);
                        let index = self.located.arenas.len() as u32;
                        self.located.arenas.push(Arena::damaged(heap.arena));
                        self.heap(&heap, index);
                    }
                }
            }
        }
    }
}

fn is_in_heap(reader: &mut Reader<'_>, arena: u64, size: u64) -> bool {
    Heap::read(reader, arena / size * size, size).is_some_and(|heap| heap.is_first() && heap.arena == arena)
}
