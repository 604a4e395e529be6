//! Puts together what parts tell of each address.

use super::part::{Location, Part};
use super::plan::{Asked, Lookup};
use super::symbols::{Best, Candidate, SymbolPart};
use crate::parallel::in_parallel;
use crate::report::{FrameRow, LookupRow};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// As many rows are made at a time, so that somebody who presses Ctrl-C is not kept waiting by all of them.
const BATCH: usize = 8192;

/// As many, at least, are made by a thread.
const PART: usize = 512;

/// What has been told of each address so far.
#[derive(Debug, Default)]
pub struct LookupMerge {
    /// By module, and the number of the address.
    known: BTreeMap<usize, Vec<Known>>,
    parts: Vec<Texts>,
    /// What further units tell, by module, number of the address, and unit: the part and the place.
    places: FxHashMap<(usize, u32, u64), (u32, Location)>,
    /// By module; they are found out when its first row is made.
    best: BTreeMap<usize, Best>,
    /// Of modules of which rows have been made, the best symbol of each address, with the number of its part.
    symbols: BTreeMap<usize, Vec<Option<(Candidate, u32)>>>,
    /// The names of each part of symbol tables.
    names: Vec<Vec<Arc<str>>>,
    /// Of so many addresses, in the order in which they were given, the rows have been taken.
    taken: usize,
}

/// A part with its texts in a form that rows can share.
#[derive(Debug)]
struct Texts {
    part: Part,
    texts: Vec<Arc<str>>,
}

/// What is known of an address: each with the number of the part that tells it.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The unit and the innermost frame.
    innermost: Option<(u64, u32, u32)>,
    /// The first unit that tells a place, and that place.
    place: Option<(u64, u32, Location)>,
}

impl LookupMerge {
    pub(super) fn new(plan: &Lookup) -> Self {
        let known = plan.wanted.iter().map(|(module, wanted)| (*module, vec![Known::default(); wanted.len()]));
        Self { known: known.collect(), ..Self::default() }
    }

    /// Takes what a part of .debug_info tells. Parts come in the order of the section, so that of two units with the same
    /// address the first one tells of it.
    pub(super) fn absorb(&mut self, module: usize, mut part: Part) {
        let Some(known) = self.known.get_mut(&module) else { return };
        let number = self.parts.len() as u32;
        let frames = part.frames.len() as u32;
        for (address, unit, frame) in part.innermost.drain(..) {
            let Some(known) = known.get_mut(address as usize) else { continue };
            if known.innermost.is_none() && frame < frames {
                known.innermost = Some((unit, number, frame));
            }
        }
        for (address, unit, place) in part.places.drain(..) {
            let Some(known) = known.get_mut(address as usize) else { continue };
            match known.place {
                None => known.place = Some((unit, number, place)),
                // Which unit's is right is known when the function is.
                Some(_) => drop(self.places.insert((module, address, unit), (number, place))),
            }
        }
        self.parts.push(Texts::new(part));
    }

    /// Takes what entries of a symbol table tell.
    pub(super) fn absorb_symbols(&mut self, module: usize, part: SymbolPart) {
        let Some(known) = self.known.get(&module) else { return };
        let best = self.best.entry(module).or_insert_with(|| Best::new(known.len()));
        best.absorb(&part, self.names.len() as u32);
        self.names.push(part.texts.into_iter().map(Arc::from).collect());
    }

    /// The next rows, in the order in which the addresses were given, up to the first that lies in module `from` or one behind it: of
    /// the modules before it all is known. No more than a batch of them.
    pub(super) fn take_before(&mut self, plan: &Lookup, from: usize) -> Vec<LookupRow> {
        let limit = usize::try_from(plan.options.limit).unwrap_or(usize::MAX).min(plan.given.len());
        let rest = &plan.given[self.taken.min(limit)..limit];
        let known = |asked: &&Asked| asked.found.is_none_or(|(module, _)| module < from);
        let known = rest.iter().take(BATCH).take_while(known).count();
        let rows = self.rows(plan, &rest[..known]);
        self.taken += known;
        rows
    }

    fn rows(&mut self, plan: &Lookup, asked: &[Asked]) -> Vec<LookupRow> {
        for (module, _) in asked.iter().filter_map(|asked| asked.found) {
            if let Some(best) = self.best.remove(&module) {
                self.symbols.insert(module, best.symbols().collect());
            }
        }
        let known = &*self;
        in_parallel(asked, PART, |asked| {
            // Threads that count the holders of one text would wait for one another, so each has its own.
            let mut paths: BTreeMap<usize, Arc<str>> = BTreeMap::new();
            let mut path = |module: usize| {
                Arc::clone(paths.entry(module).or_insert_with(|| plan.set.modules[module].path.as_str().into()))
            };
            asked.iter().map(|asked| known.row(plan, asked, &mut path)).collect()
        })
    }

    fn row(&self, plan: &Lookup, asked: &Asked, path: &mut impl FnMut(usize) -> Arc<str>) -> LookupRow {
        let Some((module, number)) = asked.found else {
            return LookupRow { address: asked.address, ..LookupRow::default() };
        };
        let file_address = plan.wanted[&module][number];
        let known = &self.known[&module][number];
        let mut row = LookupRow { address: asked.address, module: Some(path(module)), ..Default::default() };
        let symbol = self.symbol(module, number);
        if let Some((candidate, name)) = &symbol {
            row.symbol = Some(Arc::clone(name));
            row.offset = Some(file_address - candidate.address + u64::from(plan.options.returns));
        }
        row.frames = self.frames(known, (module, number as u32));
        // The symbol tells a clone of the function from the function.
        if let (Some(outermost), Some((Candidate { sized: true, code: true, .. }, name))) =
            (row.frames.last_mut(), symbol)
        {
            outermost.function = Some(name);
        }
        row
    }

    fn symbol(&self, module: usize, number: usize) -> Option<(Candidate, Arc<str>)> {
        let (candidate, part): (Candidate, u32) = (*self.symbols.get(&module)?.get(number)?)?;
        let name = self.names[part as usize].get(candidate.name as usize)?;
        Some((candidate, Arc::clone(name)))
    }

    fn frames(&self, known: &Known, (module, number): (usize, u32)) -> Vec<FrameRow> {
        let mut frames = Vec::new();
        let Some((unit, part, innermost)) = known.innermost else {
            frames.extend(known.place.map(|(_, part, place)| self.parts[part as usize].frame(place, false)));
            return frames;
        };
        // The unit that has the function tells the place as well.
        let first = known.place.filter(|(of, ..)| *of == unit).map(|(_, part, place)| (part, place));
        let place = first.or_else(|| self.places.get(&(module, number, unit)).copied());
        let texts = &self.parts[part as usize];
        let (mut at, mut place) = (innermost, place.unwrap_or_default());
        // Callers come before those they call.
        loop {
            let frame = texts.part.frames[at as usize];
            let caller = frame.caller.filter(|(caller, _)| *caller < at);
            let row = self.parts[place.0 as usize].frame(place.1, caller.is_some());
            frames.push(FrameRow { function: frame.function.and_then(|function| texts.text(function)), ..row });
            let Some((caller, call)) = caller else { return frames };
            (at, place) = (caller, (part, call));
        }
    }
}

impl Texts {
    fn new(mut part: Part) -> Self {
        let texts = std::mem::take(&mut part.texts).into_iter().map(Arc::from).collect();
        Self { part, texts }
    }

    fn text(&self, index: u32) -> Option<Arc<str>> {
        self.texts.get(index as usize).cloned()
    }

    /// A frame whose function is not known yet.
    fn frame(&self, place: Location, inlined: bool) -> FrameRow {
        let known = |number: u32| (number > 0).then_some(u64::from(number));
        FrameRow {
            function: None,
            file: place.file.and_then(|file| self.text(file)),
            line: known(place.line),
            column: known(place.column),
            inlined,
        }
    }
}
