//! What a few chunks are, as far as they tell it themselves: objects by what they begin with, nodes of lists and trees by what they lead to.
//! It takes no pass over the heap.

use super::catalogue::Catalogue;
use super::codes::{Code, Codes, Doubt};
use super::probe::Holder;
use super::{Facts, HeapTypes, Pass, REACH, Symbols, TypesScanner, stl, word_at};
use crate::driver::Sink;
use crate::heap::{Chunk, Index, View};
use crate::memory::Window;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressRange;

/// So many steps are taken along foreign pointers, for all chunks together.
const STEPS: u64 = 1 << 15;

/// Bytes that a holder is known by: its words, and the one before.
type Around = [u8; 8 + REACH];

/// Looks at a few chunks. What it finds is what [`HeapTypes`] finds of them, but for what only those who hold them say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    types: HeapTypes,
    /// One, that stands for all chunks.
    ranges: Vec<ScanRange>,
    /// Where each begins that is wanted: what malloc has returned.
    chunks: Vec<u64>,
}

impl Glance {
    pub fn new(types: HeapTypes, chunks: Vec<u64>) -> Self {
        let first = chunks.first().map(|address| ScanRange::alone(AddressRange::sized(*address, 1)));
        Self { types, ranges: first.into_iter().collect(), chunks }
    }

    /// How many words its table takes, of which it touches only what it fills.
    pub fn tables(index: &Index) -> Vec<u64> {
        vec![Codes::words(index.count())]
    }

    /// The name of each chunk's type, as far as it is known. `symbols` are those at [`Facts::unnamed`] addresses.
    pub fn names(&self, facts: &Facts, symbols: &Symbols, view: &View) -> Vec<Option<String>> {
        let Some(codes) = view.tables.first() else { return vec![None; self.chunks.len()] };
        let codes = Codes(codes.words());
        let catalogue = Catalogue::new(facts, symbols);
        let lookup = view.index.lookup();
        let name = |address: &u64| {
            let code = codes.of(lookup.number(lookup.used_at(*address)?));
            let named = catalogue.named(code, |slot| self.types.modules.address(slot));
            // What others have to bear out is not known here.
            let own = named.filter(|_| code.doubt() == Doubt::None)?.name;
            let array = facts.arrays.get(address).filter(|_| code.is_of_object());
            Some(array.map_or_else(|| own.clone(), |array| array.shown(&own)))
        };
        self.chunks.iter().map(name).collect()
    }
}

impl Analysis for Glance {
    const NAME: &'static str = "heap-glance";
    type Input = View;
    type Partial = Facts;
    type Scanner = TypesScanner;
    type Merge = Facts;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn reads_swapped(&self) -> bool {
        self.types.swapped
    }

    fn scanner(&self) -> Result<TypesScanner, String> {
        Ok(TypesScanner::default())
    }

    fn scan(&self, scanner: &mut TypesScanner, task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<Facts> {
        let Some(codes) = view.tables.first() else {
            return Scanned::unread(task, "the table of this analysis is missing".to_owned());
        };
        let mut pass = Pass::new(&self.types, &mut scanner.kept, view, codes.words(), (STEPS, stop));
        for address in &self.chunks {
            pass.glance(*address);
        }
        // It is done again by whoever goes on: noting twice what a chunk is does no harm.
        let rest = pass.probe.stopped.then_some(task.range);
        let bytes = if rest.is_some() { 0 } else { task.range.len() };
        Scanned { partial: pass.facts, bytes, skipped: Vec::new(), rest, gone: false }
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

impl Pass<'_> {
    /// Notes what the chunk in use at this address is, as far as it says so.
    fn glance(&mut self, address: u64) {
        let lookup = self.probe.lookup;
        let Some(chunk) = lookup.used_at(address).and_then(|granule| lookup.chunk(granule)) else { return };
        let number = lookup.number(chunk.granule);
        if self.probe.codes.of(number) != Code::Nothing {
            return;
        }
        let mut bytes = [0; REACH];
        let usable = chunk.usable();
        let length = bytes.len().min(usable.len() as usize);
        let filled = self.probe.pages.read(self.probe.memory, usable.start, &mut bytes[..length]);
        let window = Window { base: usable.start, data: &bytes[..filled], starts: 0..filled, closes: false };
        if let Some(word) = word_at(&window, usable.start) {
            self.object(&window, &chunk, number, word);
        }
        if self.plan.languages.libstdcxx {
            self.node(&chunk);
        }
    }

    /// Notes that a chunk is a node of a list or of a tree, if it leads to what holds all of it.
    fn node(&mut self, chunk: &Chunk) {
        let mut bytes: Around = [0; 8 + REACH];
        if let Some(ascent) = stl::ascend(&mut self.probe, chunk)
            && let Some(holder) = self.holder(ascent.holder, &mut bytes)
        {
            stl::descend(&mut self.probe, &holder, &ascent);
        }
        if let Some(head) = stl::head_of_list(&mut self.probe, chunk)
            && let Some(holder) = self.holder(head, &mut bytes)
            && let Some(first) = holder.word(0)
            && let Some(granule) = self.probe.start(first)
        {
            stl::list(&mut self.probe, &holder, first, granule);
        }
    }

    /// What lies at an address, if containers are looked for there: in a chunk in use, or in memory outside of the heap that roots lie in.
    fn holder<'b>(&mut self, address: u64, bytes: &'b mut Around) -> Option<Holder<'b>> {
        let lookup = self.probe.lookup;
        let (range, chunk) = match lookup.segments().segment_at(address) {
            Some(_) => {
                let chunk = lookup.chunk(lookup.used_at(address)?)?;
                (chunk.usable(), Some(chunk))
            }
            None => {
                let ranges = &self.plan.ranges;
                let after = ranges.partition_point(|scan| scan.range.start <= address);
                let scan = ranges[..after].last().filter(|scan| scan.range.contains(address))?;
                (scan.range, None)
            }
        };
        if !address.is_multiple_of(8) {
            return None;
        }
        let start = address.saturating_sub(8).max(range.start);
        let length = bytes.len().min((range.end - start) as usize);
        let filled = self.probe.pages.read(self.probe.memory, start, &mut bytes[..length]);
        let at = (address - start) as usize;
        (filled >= at + 8).then(|| Holder { address, bytes: &bytes[..filled], at, chunk })
    }
}
