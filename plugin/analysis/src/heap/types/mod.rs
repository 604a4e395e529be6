//! What chunks in use are: objects of C++ classes, and parts of containers.
//!
//! An object of a class with virtual functions begins with a pointer to its class's vtable; what that class is called, and what
//! it derives from, is in memory beside it (`rtti.rs`), in stripped programs too. What has no such pointer is known by
//! how it is held: three words that are a `std::string` say what the chunk is that the first of them points to
//! (`stl.rs`, `rust.rs`). Where neither is certain a chunk has no type.
//!
//! One pass over the heap and over the memory that roots lie in finds all of it. What is found is noted in a table, a code for
//! each chunk (`codes.rs`), and [`Types`] is what it comes to.

mod arrays;
mod btree;
mod callables;
mod catalogue;
mod codes;
mod glance;
mod modules;
mod names;
mod peek;
mod probe;
mod rtti;
mod rust;
mod shapes;
mod stl;
#[cfg(test)]
mod tests;
mod traits;

pub use arrays::Array;
pub use catalogue::{Kind, Object, Type, Types};
pub use glance::Glance;
pub use modules::Modules;
pub use names::Symbols;
pub use rtti::{Class, Facts};
pub use shapes::Shape;
pub use traits::TraitVtable;

use super::index::set;
use super::{Area, Chunk, GRANULE, HEADER, Index, Lookup, Segments, View};
use crate::driver::Sink;
use crate::memory::{Buffer, Walk, Window};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use callables::Callables;
use codes::{Code, Codes};
use peek::Pages;
use probe::{Holder, Probe};
use rtti::{Reader, Vtable};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;
use target::{AddressRange, AddressSpace};
use traits::Traits;

/// As far as a holder reaches beyond its first word: that of a deque has ten.
const REACH: usize = 96;

/// So many steps are taken along foreign pointers in a task, beyond a few for each chunk.
const STEPS: u64 = 1 << 20;

/// The languages whose containers are looked for. What looks like one of a language that a program is not written in is
/// something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Languages {
    /// C++ with GNU's library.
    pub libstdcxx: bool,
    pub rust: bool,
}

/// Finds out what the chunks in use of a heap are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapTypes {
    /// The heap's segments and the memory that roots lie in, disjoint, in address order.
    ranges: Vec<ScanRange>,
    modules: Modules,
    languages: Languages,
    /// Whether pages in swap are read.
    pub swapped: bool,
    /// Bytes read at once.
    pub block: u32,
}

impl HeapTypes {
    /// `roots` is memory outside of the heap that containers may lie in, as globals and stacks are.
    pub fn new(space: &AddressSpace, segments: &Segments, roots: &[ScanRange], languages: Languages) -> Self {
        let Area { ranges, swapped, block } = Area::of(roots, segments, |range| space.is_sparse(range));
        Self { ranges, modules: Modules::new(space), languages, swapped, block }
    }

    /// How many words its tables take: codes of chunks, and which of them anything points to, beside vectors and beside pointers to traits.
    pub fn tables(index: &Index) -> Vec<u64> {
        let bits = index.segments().granules().div_ceil(64);
        vec![Codes::words(index.count()), bits, bits]
    }
}

/// What is kept from one task to the next.
#[derive(Debug, Default)]
pub struct TypesScanner {
    buffer: Buffer,
    kept: Kept,
}

/// What has been found out about modules, and the last pages that were looked at.
#[derive(Debug, Default)]
struct Kept {
    pages: Pages,
    reader: Reader,
    traits: Traits,
    callables: Callables,
}

impl Analysis for HeapTypes {
    const NAME: &'static str = "heap-types";
    type Input = View;
    type Partial = Facts;
    type Scanner = TypesScanner;
    type Merge = Facts;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn reads_swapped(&self) -> bool {
        self.swapped
    }

    fn scanner(&self) -> Result<TypesScanner, String> {
        Ok(TypesScanner::default())
    }

    fn scan(&self, scanner: &mut TypesScanner, task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<Facts> {
        let scan = task.scan_range(&self.ranges);
        let [codes, pointed, others] = &view.tables[..] else {
            return Scanned::unread(task, "the tables of this analysis are missing".to_owned());
        };
        let walk = Walk {
            memory: &*view.memory,
            range: task.range,
            region: scan.region,
            sparse: scan.sparse,
            swapped: self.swapped,
            before: 8,
            reach: REACH,
            zero_reach: REACH,
            zeros: false,
            block: self.block.max(1) as usize,
            stop,
        };
        let TypesScanner { buffer, kept } = scanner;
        let lookup = view.index.lookup();
        let steps = STEPS.saturating_add(lookup.count().saturating_mul(4));
        let mut pass = Pass::new(self, kept, view, codes.words(), (steps, stop));
        (pass.pointed, pass.others) = (pointed.words(), others.words());
        let in_heap = lookup.segments().segment_at(task.range.start);
        let walked = walk.run(buffer, |window| {
            match in_heap {
                Some(segment) => pass.heap(window, segment),
                None => pass.outside(window),
            }
            // What it was in the middle of when it was told to stop is for whoever goes on.
            let first = window.address(window.starts.start);
            if pass.probe.stopped && first > task.range.start {
                ControlFlow::Break(first)
            } else {
                ControlFlow::Continue(())
            }
        });
        stl::read_texts(&mut pass.probe);
        Scanned {
            partial: pass.facts,
            bytes: walked.bytes(task.range),
            skipped: walked.skipped,
            rest: walked.rest.map(|rest| AddressRange::new(rest, task.range.end)),
            gone: walked.gone,
        }
    }

    fn merge(&self) -> Facts {
        Facts::default()
    }

    fn absorb(
        &self,
        merge: &mut Facts,
        _task: &Task,
        partial: Facts,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        merge.join(partial);
        ControlFlow::Continue(())
    }

    fn weight(partial: &Facts) -> usize {
        size_of_val(partial) + partial.weight()
    }
}

/// A task.
struct Pass<'a> {
    plan: &'a HeapTypes,
    probe: Probe<'a>,
    reader: &'a mut Reader,
    traits: &'a mut Traits,
    callables: &'a mut Callables,
    /// The granules of chunks that something in the heap or in a module points to, beside what says what they are.
    pointed: &'a [AtomicU64],
    /// The same beside pointers to traits.
    others: &'a [AtomicU64],
    facts: Facts,
}

impl<'a> Pass<'a> {
    /// One that takes so many steps at most along foreign pointers, and notes nothing of who else points to chunks.
    fn new(
        plan: &'a HeapTypes,
        kept: &'a mut Kept,
        view: &'a View,
        codes: &'a [AtomicU64],
        (steps, stop): (u64, &'a dyn Fn() -> bool),
    ) -> Self {
        let Kept { pages, reader, traits, callables } = kept;
        pages.clear();
        let probe = Probe {
            lookup: view.index.lookup(),
            codes: Codes(codes),
            memory: &*view.memory,
            pages,
            stop,
            steps,
            stopped: false,
            segment: 0,
            texts: Vec::new(),
        };
        Self { plan, probe, reader, traits, callables, pointed: &[], others: &[], facts: Facts::default() }
    }

    /// Looks at the chunks in use of a window into a segment.
    fn heap(&mut self, window: &Window<'_>, segment: usize) {
        let lookup = self.probe.lookup;
        let range = AddressRange::new(window.address(window.starts.start), window.address(window.starts.end));
        let mut number = None;
        for chunk in chunks_in(&lookup, segment, range) {
            let own = number.map_or_else(|| lookup.number(chunk.granule), |number| number + 1);
            number = Some(own);
            if !chunk.used {
                continue;
            }
            if range.contains(chunk.address())
                && let Some(word) = word_at(window, chunk.address())
            {
                self.object(window, &chunk, own, word);
            }
            self.words(window, chunk.usable(), Some(chunk));
        }
    }

    /// Looks at memory in which no chunk is.
    fn outside(&mut self, window: &Window<'_>) {
        self.words(window, AddressRange::sized(window.base, window.data.len() as u64), None);
    }

    /// Notes what a chunk is whose first word is this, if that points to a vtable, or is the number of objects that follow.
    fn object(&mut self, window: &Window<'_>, chunk: &Chunk, number: u64, word: u64) {
        let code = match self.vtable(word) {
            Some((slot, Vtable::Of(class))) => {
                // The object in one that has been made with its reference counts may have a class of its own.
                if let Some(offset) = self.reader.name(class).and_then(catalogue::payload_offset) {
                    if let Some(word) = word_at(window, chunk.address() + offset) {
                        self.vtable(word);
                    }
                } else {
                    self.array(window, chunk);
                }
                Code::Class(slot)
            }
            Some((slot, Vtable::Untyped)) => {
                self.array(window, chunk);
                Code::Vtable(slot)
            }
            _ => match self.counted(window, chunk, word) {
                Some(slot) => Code::Class(slot),
                None => return,
            },
        };
        self.probe.codes.raise(number, code);
    }

    /// Notes how many objects a chunk has that begins with one, if there are several.
    fn array(&mut self, window: &Window<'_>, chunk: &Chunk) {
        let usable = chunk.usable();
        let length = (usable.len() as usize).min(arrays::LARGEST);
        let start = (usable.start - window.base) as usize;
        let mut bytes = Vec::new();
        let shown = window.data.get(start..start + length).unwrap_or_else(|| {
            bytes.resize(length, 0);
            let filled = self.probe.pages.read(self.probe.memory, usable.start, &mut bytes);
            &bytes[..filled]
        });
        if let Some(array) = arrays::plain(&mut self.probe, chunk, shown) {
            self.facts.arrays.insert(usable.start, array);
        }
    }

    /// The slot of the vtable of objects whose number, this word, a chunk begins with.
    fn counted(&mut self, window: &Window<'_>, chunk: &Chunk, count: u64) -> Option<u32> {
        if count < 2 || count > chunk.usable().len() / 8 {
            return None;
        }
        let vtable = word_at(window, chunk.address() + arrays::COOKIE)?;
        let (slot, Vtable::Of(_)) = self.vtable(vtable)? else { return None };
        let array = arrays::counted(&mut self.probe, chunk, count, vtable)?;
        self.facts.arrays.insert(chunk.address(), array);
        Some(slot)
    }

    /// The slot of the vtable that this word points to.
    fn vtable(&mut self, word: u64) -> Option<(u32, Vtable)> {
        let slot = self.plan.modules.slot(word)?;
        let Probe { memory, pages, .. } = &mut self.probe;
        let found = self.reader.vtable(&self.plan.modules, *memory, pages, word);
        if found != Vtable::No {
            self.reader.tell(word, &mut self.facts);
        }
        Some((slot, found))
    }

    /// Looks for holders among the words of `range`, a chunk's or not, that begin in the window.
    fn words(&mut self, window: &Window<'_>, range: AddressRange, chunk: Option<Chunk>) {
        let begin = range.start.max(window.base).next_multiple_of(8);
        let end = range.end.min(window.base + window.data.len() as u64);
        let first = begin.max(window.address(window.starts.start).next_multiple_of(8));
        let last = end.min(window.address(window.starts.end));
        if first >= last {
            return;
        }
        let bytes = &window.data[(begin - window.base) as usize..(end - window.base) as usize];
        let offset = (first - begin) as usize;
        let words = bytes[offset..].as_chunks::<8>().0;
        for (index, word) in words.iter().take(((last - first) as usize).div_ceil(8)).enumerate() {
            let word = u64::from_le_bytes(*word);
            // Small numbers are in all heaps more often than pointers.
            if word < 1 << 16 || !word.is_multiple_of(GRANULE) {
                continue;
            }
            let Some(granule) = self.probe.granule(word.wrapping_sub(HEADER)) else { continue };
            let at = offset + 8 * index;
            let holder = Holder { address: begin + at as u64, bytes, at, chunk };
            if self.probe.lookup.is_used(granule) {
                self.pointer(&holder, granule);
            } else if self.plan.languages.rust {
                rust::table(&mut self.probe, &holder);
            }
        }
    }

    /// Looks at a word that points to the beginning of a chunk in use.
    #[inline]
    fn pointer(&mut self, holder: &Holder<'_>, granule: u64) {
        let Languages { libstdcxx, rust } = self.plan.languages;
        // Stacks have words that are left of what was there before.
        let counts = match holder.chunk {
            Some(own) => own.granule != granule,
            None => self.plan.modules.contains(holder.address),
        };
        let mut named = false;
        if libstdcxx {
            named = stl::vector(&mut self.probe, holder, granule);
            stl::recognise(&mut self.probe, holder, granule);
            named |= counts && self.callable(holder, granule);
        }
        if rust {
            named |= rust::vector(&mut self.probe, holder, granule);
            btree::tree(&mut self.probe, holder, granule);
            if counts && self.trait_object(holder, granule) {
                return;
            }
        }
        if counts && !named {
            set(self.pointed, granule);
        }
        if counts && rust {
            set(self.others, granule);
        }
    }

    /// Whether the holder's words are a `std::function`, with its callable in the chunk.
    fn callable(&mut self, holder: &Holder<'_>, granule: u64) -> bool {
        let held = self.callables.held(&mut self.probe, &self.plan.modules, holder, granule);
        self.facts.callables.extend(held);
        held.is_some()
    }

    /// Whether the holder's words are a pointer to a trait, with a value in the chunk.
    fn trait_object(&mut self, holder: &Holder<'_>, granule: u64) -> bool {
        let Some((address, vtable)) = self.traits.held(&mut self.probe, &self.plan.modules, holder, granule) else {
            return false;
        };
        self.facts.traits.entry(address).or_insert_with(|| vtable.clone());
        true
    }
}

/// The word at an address that the window shows.
fn word_at(window: &Window<'_>, address: u64) -> Option<u64> {
    let at = address.checked_sub(window.base)? as usize;
    Some(u64::from_le_bytes(*window.data.get(at..)?.first_chunk()?))
}

/// The chunks that something of `range` belongs to, in address order. It is in the segment.
fn chunks_in<'a>(lookup: &Lookup<'a>, segment: usize, range: AddressRange) -> impl Iterator<Item = Chunk> + use<'a> {
    let segments = lookup.segments();
    let own = segments.list()[segment];
    let granules = segments.granules_of(segment);
    let granule = |address: u64| granules.start + (address - own.range.start) / GRANULE;
    let address = move |granule: u64| own.range.start + (granule - granules.start) * GRANULE;
    let lookup = *lookup;
    // A chunk's last word is the first one of the next.
    let begin = range.start.saturating_sub(8).max(own.range.start);
    let first = lookup.granule_at(begin).unwrap_or(granule(begin));
    let mut starts = lookup.starts(first..granule(range.end - 1) + 1).peekable();
    std::iter::from_fn(move || {
        let start = starts.next()?;
        match starts.peek() {
            Some(next) => {
                let range = AddressRange::new(address(start), address(*next));
                Some(Chunk { granule: start, range, used: lookup.is_used(start), kind: own.kind, segment })
            }
            None => lookup.chunk(start),
        }
    })
}
