//! Finding pointers by the graph, which says where to look.

use super::pointers::{PointersMerge, pointers_into};
use super::{Chain, Pointer, Reference};
use crate::heap::area::{Area, words_of};
use crate::heap::graph::{ReverseGraph, Step};
use crate::heap::{Chunk, Lookup, View};
use crate::memory::Buffer;
use rustc_hash::FxHashMap;
use std::ops::ControlFlow;
use target::AddressRange;

/// Asks the graph of a heap, and the memory that it was made of, as long as that has not changed.
pub struct Query<'a> {
    graph: &'a ReverseGraph,
    view: &'a View,
    area: &'a Area,
    lookup: Lookup<'a>,
    stop: &'a dyn Fn() -> bool,
    buffer: Buffer,
    /// By the number of a chunk, the pointer to it from where a root reaches it.
    links: FxHashMap<u32, Pointer>,
}

impl std::fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("chunks", &self.graph.chunks()).finish_non_exhaustive()
    }
}

/// References of several depths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By depth, and in the order of where they lie, registers last; the first ones, if there are more than are kept.
    pub references: Vec<Reference>,
    /// How many there are.
    pub total: u64,
    /// Whether it was told to stop.
    pub stopped: bool,
}

impl Answer {
    /// Pointers to what was asked for, of which there are so many, or more if not all are known; `most` are kept.
    pub fn direct(pointers: Vec<Pointer>, total: u64, most: usize) -> Self {
        let total = total.max(pointers.len() as u64);
        let references = pointers.into_iter().take(most).map(|pointer| Reference { pointer, depth: 1, chain: None });
        Self { references: references.collect(), total, stopped: false }
    }

    fn add(&mut self, pointer: Pointer, depth: u32, most: usize) {
        self.total += 1;
        if self.references.len() < most {
            self.references.push(Reference { pointer, depth, chain: None });
        }
    }
}

impl<'a> Query<'a> {
    /// `area` is the one that the graph was made of.
    pub fn new(graph: &'a ReverseGraph, view: &'a View, area: &'a Area, stop: &'a dyn Fn() -> bool) -> Self {
        Self {
            graph,
            view,
            area,
            lookup: view.index.lookup(),
            stop,
            buffer: Buffer::default(),
            links: FxHashMap::default(),
        }
    }

    /// The pointers into `target`, of which `most` are kept: what [`Pointers`](super::Pointers) finds. `None` if the graph
    /// cannot tell, which has pointers to what may be used of chunks in use only, or if told to stop.
    pub fn pointers(&mut self, target: AddressRange, most: u64) -> Option<PointersMerge> {
        let chunk = self.lookup.chunk(self.lookup.used_at(target.start)?)?;
        if target.end > self.words(&chunk).end {
            return None;
        }
        let number = self.number(&chunk);
        let mut found = Vec::new();
        for address in self.graph.roots().addresses(number) {
            found.extend(self.word(*address).filter(|value| target.contains(*value)).map(|value| (*address, value)));
        }
        for source in self.graph.sources(number).iter().copied().chain([number]) {
            self.each_pointer(source, target, |address, value| {
                found.push((address, value));
                true
            })?;
        }
        found.sort_unstable();
        let total = found.len() as u64;
        found.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Some(PointersMerge { pointers: found, total })
    }

    /// What points into `target`, which is given with how many there are, and what points to the chunks that these pointers
    /// lie in, and so on, over at most `depth` pointers. It looks at what points to a chunk once; `most` are kept.
    pub fn deeper(
        &mut self,
        target: AddressRange,
        pointers: Vec<Pointer>,
        total: u64,
        depth: u32,
        most: usize,
    ) -> Answer {
        // Chunks that have been asked for, in order.
        let mut seen = self.chunks(target);
        let holders = pointers.iter().filter_map(|pointer| pointer.place.holder());
        let mut level: Vec<u32> = holders.map(|chunk| self.number(&chunk)).collect();
        let mut answer = Answer::direct(pointers, total, most);
        for depth in 2..=depth {
            level.sort_unstable();
            level.dedup();
            level.retain(|chunk| seen.binary_search(chunk).is_err());
            if level.is_empty() {
                break;
            }
            seen.extend(&level);
            seen.sort_unstable();
            match self.level(&level, depth, most, &mut answer) {
                Some(next) => level = next,
                None => {
                    answer.stopped = true;
                    break;
                }
            }
        }
        answer
    }

    /// Adds what points to one of these chunks, and returns the chunks in use that it lies in.
    fn level(&mut self, chunks: &[u32], depth: u32, most: usize, answer: &mut Answer) -> Option<Vec<u32>> {
        let graph = self.graph;
        let lookup = self.lookup;
        let mut roots = Vec::new();
        let mut sources = Vec::new();
        for chunk in chunks {
            roots.extend_from_slice(graph.roots().addresses(*chunk));
            sources.extend_from_slice(graph.sources(*chunk));
            // Pointers of a chunk to itself are not in the graph.
            sources.push(*chunk);
        }
        sources.sort_unstable();
        sources.dedup();
        let mut found = Vec::new();
        for address in roots {
            found.extend(self.word(address).map(|value| (address, value)));
        }
        let mut holders = Vec::new();
        let all = lookup.segments().list();
        let span = match (all.first(), all.last()) {
            (Some(first), Some(last)) => AddressRange::new(first.range.start, last.range.end),
            _ => return Some(holders),
        };
        for source in sources {
            let before = found.len();
            self.each_pointer(source, span, |address, value| {
                let target = lookup.used_at(value).map(|granule| lookup.number(granule) as u32);
                if target.is_some_and(|target| chunks.binary_search(&target).is_ok()) {
                    found.push((address, value));
                }
                true
            })?;
            if found.len() > before {
                holders.push(source);
            }
        }
        found.sort_unstable();
        for (address, value) in found {
            answer.add(Pointer::at(address, value, &lookup), depth, most);
        }
        for chunk in chunks {
            for register in graph.roots().registers(*chunk) {
                answer.add(Pointer::of(register), depth, most);
            }
        }
        holders.retain(|holder| self.chunk(*holder).is_some_and(|chunk| chunk.used));
        Some(holders)
    }

    /// Fills in how roots lead to references, over at most `most` links each. Returns whether it got to the end before it was
    /// told to stop.
    pub fn chains(&mut self, references: &mut [Reference], most: usize) -> bool {
        for reference in references {
            if (self.stop)() {
                return false;
            }
            reference.chain = self.chain(&reference.pointer, most);
        }
        !(self.stop)()
    }

    /// How a root leads to a pointer, over at most `most` links. `None` if none does, or if told to stop.
    pub fn chain(&mut self, pointer: &Pointer, most: usize) -> Option<Chain> {
        let mut chain = Chain::default();
        if pointer.place.is_root() {
            return Some(chain);
        }
        let mut chunk = self.number(&pointer.place.holder()?);
        loop {
            let step = self.graph.towards_root(chunk)?;
            if chain.links.len() >= most {
                chain.cut = true;
                return Some(chain);
            }
            // Chains meet on their way, and are the same from there on.
            let link = match self.links.get(&chunk) {
                Some(link) => link.clone(),
                None => self.link(chunk, step)?,
            };
            self.links.insert(chunk, link.clone());
            chain.links.push(link);
            match step {
                Step::Root => return Some(chain),
                Step::Chunk(next) => chunk = next,
            }
        }
    }

    /// A pointer to a chunk from where a root reaches it.
    fn link(&mut self, chunk: u32, from: Step) -> Option<Pointer> {
        match from {
            Step::Root => {
                let roots = self.graph.roots();
                let found = roots.addresses(chunk).iter().find_map(|address| Some((*address, self.word(*address)?)));
                let found = found.map(|(address, value)| Pointer::at(address, value, &self.lookup));
                found.or_else(|| roots.registers(chunk).next().map(Pointer::of))
            }
            Step::Chunk(next) => {
                let target = self.words(&self.chunk(chunk)?);
                let mut first = None;
                self.each_pointer(next, target, |address, value| {
                    first = Some((address, value));
                    false
                })?;
                first.map(|(address, value)| Pointer::at(address, value, &self.lookup))
            }
        }
    }

    /// The chunks in use of which some part lies in a range, in order.
    fn chunks(&self, range: AddressRange) -> Vec<u32> {
        // What may be used of a chunk reaches into the next one.
        let first = self.lookup.owner_at(range.start).and_then(|granule| self.lookup.chunk(granule));
        let start = first.map_or(range.start, |chunk| chunk.range.start);
        let chunks = self.lookup.chunks(AddressRange::new(start, range.end)).filter(|chunk| chunk.used);
        chunks.filter(|chunk| self.words(chunk).intersect(range).is_some()).map(|chunk| self.number(&chunk)).collect()
    }

    fn words(&self, chunk: &Chunk) -> AddressRange {
        words_of(chunk, self.view.index.segments())
    }

    fn number(&self, chunk: &Chunk) -> u32 {
        self.lookup.number(chunk.granule) as u32
    }

    fn chunk(&self, number: u32) -> Option<Chunk> {
        self.lookup.chunk(self.lookup.numbered(number.into())?)
    }

    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.view.memory.read(address, &mut bytes) == Ok(8)).then(|| u64::from_le_bytes(bytes))
    }

    /// Tells of the words in a chunk that point into `target`, in order, until it is told that this is enough. `None` if told
    /// to stop.
    fn each_pointer(
        &mut self,
        chunk: u32,
        target: AddressRange,
        mut found: impl FnMut(u64, u64) -> bool,
    ) -> Option<()> {
        let Some(chunk) = self.chunk(chunk) else { return Some(()) };
        let mut left = Some(self.words(&chunk));
        let mut enough = false;
        // Of a large chunk of which little has ever been touched, a part is read at once.
        while let Some(range) = left.filter(|_| !enough) {
            if (self.stop)() {
                return None;
            }
            let memory = &self.view.memory;
            let scanned = self.area.part(range, memory, &mut self.buffer, self.stop, |address, words| {
                pointers_into(target, address, words, |address, value| enough = enough || !found(address, value));
                if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            left = scanned.rest;
        }
        Some(())
    }
}
