//! Source places and symbols of addresses that other analyses show.

use super::part::{Found, Kept, Location, Question, Spelling, look_up};
use super::symbols::{self, Best, Candidate};
use super::variables;
use crate::describe::text_of;
use crate::dwarf::{DebugInfo, ModuleSource, Source};
use crate::report::SymbolOffset;
use object::{ReadRef, elf};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use target::modules::{Files, Surveyed};

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePlace {
    pub file: String,
    /// 0 where no line is known.
    pub line: u64,
    /// 0 where no column is known.
    pub column: u64,
}

/// The symbols of addresses in some tables.
struct Tables<'a> {
    addresses: &'a [u64],
    best: Best,
    names: Vec<Vec<String>>,
}

impl<'a> Tables<'a> {
    fn new(addresses: &'a [u64]) -> Self {
        Self { addresses, best: Best::new(addresses.len()), names: Vec::new() }
    }

    fn look_up<'data, R: ReadRef<'data>>(&mut self, file: &object::File<'data, R>, dynamic: bool, sections: &[u64]) {
        let part = symbols::look_up(file, dynamic, 0..usize::MAX, sections, self.addresses, Spelling::Demangled);
        self.best.absorb(&part, self.names.len() as u32);
        self.names.push(part.texts);
    }

    fn symbols(&self) -> Vec<Option<SymbolOffset>> {
        let symbol = |(best, address): (Option<(Candidate, u32)>, &u64)| {
            let (candidate, part) = best?;
            let name = self.names[part as usize].get(candidate.name as usize)?.clone();
            Some(SymbolOffset { name, offset: address - candidate.address })
        };
        self.best.symbols().zip(self.addresses).map(symbol).collect()
    }
}

/// The symbols of addresses, in the file's own terms and ascending order, in both tables of a file.
pub fn symbols_in<'data, R: ReadRef<'data>>(
    file: &object::File<'data, R>,
    addresses: &[u64],
) -> Vec<Option<SymbolOffset>> {
    let mut tables = Tables::new(addresses);
    for dynamic in [false, true] {
        tables.look_up(file, dynamic, &[]);
    }
    tables.symbols()
}

/// Tells what is at addresses of modules, in their files' own terms. It keeps what it has learnt of a module, and so belongs
/// into a scanner. What cannot be read is not known, and [told once](Self::unread): nothing here is an error.
#[derive(Debug, Default)]
pub struct Symbolizer {
    modules: HashMap<usize, Kept>,
    variables: HashMap<usize, variables::Kept>,
    /// Of each module, where in its debug information something could not be read.
    known: HashSet<(usize, u64)>,
    /// What has not been told yet.
    unread: Vec<String>,
}

impl Symbolizer {
    /// The places of `addresses`, in their order.
    pub fn places(
        &mut self,
        files: &Files,
        module: usize,
        addresses: &[u64],
        stop: &dyn Fn() -> bool,
    ) -> Vec<Option<SourcePlace>> {
        let sorted = sorted(addresses);
        let mut found = vec![None; sorted.len()];
        let source = ModuleSource::new(files, module);
        let section = source.section_number(".debug_info").filter(|_| !addresses.is_empty());
        let Some(section) = section else { return vec![None; addresses.len()] };
        let mut unread = Vec::new();
        match DebugInfo::load(&source) {
            Err(error) => unread.push((0, error.to_string())),
            Ok(debug) => {
                let kept = match self.modules.entry(module) {
                    Entry::Vacant(new) => new.insert(Kept::new(&debug, &sorted)),
                    Entry::Occupied(known) => {
                        let kept = known.into_mut();
                        kept.turn_to(&sorted);
                        kept
                    }
                };
                let Found { part, unread: malformed, .. } = places(&debug, &source, kept, stop);
                unread.extend(malformed.into_iter().map(|(range, reason)| (range.start, reason)));
                let place = |Location { file, line, column }: Location| {
                    let file = part.texts.get(file? as usize)?.clone();
                    Some(SourcePlace { file, line: line.into(), column: column.into() })
                };
                // The first unit with an address tells of it.
                for (number, _, location) in part.places.iter().rev() {
                    found[*number as usize] = place(*location);
                }
            }
        }
        self.note(files, module, section, unread);
        in_order(addresses, &sorted, &found)
    }

    /// Where the variables at `addresses` are declared, in their order.
    pub fn variables(
        &mut self,
        files: &Files,
        module: usize,
        addresses: &[u64],
        stop: &dyn Fn() -> bool,
    ) -> Vec<Option<SourcePlace>> {
        let nothing = || vec![None; addresses.len()];
        let source = ModuleSource::new(files, module);
        let section = source.section_number(".debug_info").filter(|_| !addresses.is_empty());
        let Some(section) = section else { return nothing() };
        let debug = match DebugInfo::load(&source) {
            Ok(debug) => debug,
            Err(error) => {
                self.note(files, module, section, vec![(0, error.to_string())]);
                return nothing();
            }
        };
        let kept = match self.variables.entry(module) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let data = data(&files.set().modules[module]);
                match variables::Kept::new(&debug, &|address| contains(&data, address), stop) {
                    Some(kept) => new.insert(kept),
                    None => return nothing(),
                }
            }
        };
        let found = variables::declared(&debug, &source, kept, addresses, stop);
        self.note(files, module, section, found.unread);
        let place = |address: &u64| {
            let (file, line) = found.places.get(address)?;
            Some(SourcePlace { file: text_of(file), line: *line, column: 0 })
        };
        addresses.iter().map(place).collect()
    }

    /// Takes down what could not be read at offsets of a section, each once.
    fn note(&mut self, files: &Files, module: usize, section: usize, unread: Vec<(u64, String)>) {
        let surveyed = &files.set().modules[module];
        let file = &surveyed.files[surveyed.sections[section].file].path;
        for (at, reason) in unread {
            if self.known.insert((module, at)) {
                let file = file.rsplit('/').next().unwrap_or(file);
                self.unread.push(format!("{file} .debug_info: {reason}; what it tells of has no source lines here"));
            }
        }
    }

    /// What could not be read for places since this was asked last: the file, and why, a line each.
    pub fn unread(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unread)
    }

    /// The symbols of `addresses`, in their order.
    pub fn symbols(&mut self, files: &Files, module: usize, addresses: &[u64]) -> Vec<Option<SymbolOffset>> {
        let sorted = sorted(addresses);
        let mut tables = Tables::new(&sorted);
        let surveyed = &files.set().modules[module];
        for table in surveyed.symbol_tables().map(|section| &surveyed.sections[section]) {
            let dynamic = elf::SectionType(table.kind) == elf::SHT_DYNSYM;
            if let Some(file) = files.data(module, table.file).ok().and_then(|data| object::File::parse(data).ok()) {
                tables.look_up(&file, dynamic, &surveyed.bases(table.file));
            }
        }
        let found = tables.symbols();
        in_order(addresses, &sorted, &found)
    }
}

/// What units tell of the places of the addresses that `kept` is for.
pub(super) fn places<'a>(
    debug: &DebugInfo<'a>,
    source: &dyn Source<'a>,
    kept: &mut Kept,
    stop: &dyn Fn() -> bool,
) -> Found {
    let question = Question { part: 0..kept.end(), spelling: Spelling::Demangled, functions: false };
    look_up(debug, source, kept, &question, stop)
}

/// Where a module's data is, in the file's own terms and ascending order.
pub(super) fn data(module: &Surveyed) -> Vec<Range<u64>> {
    let data = module.sections.iter().filter(|section| section.alloc && !section.execute && section.size > 0);
    let mut data: Vec<_> = data.map(|part| part.address..part.address.saturating_add(part.size)).collect();
    data.sort_unstable_by_key(|range| range.start);
    data
}

/// Whether an address is in one of those ranges.
pub(super) fn contains(ranges: &[Range<u64>], address: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= address);
    // That of thread-local data lies over the one behind it.
    ranges[..after].iter().rev().take(2).any(|range| address < range.end)
}

fn sorted(addresses: &[u64]) -> Vec<u64> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

fn in_order<T: Clone>(addresses: &[u64], sorted: &[u64], found: &[Option<T>]) -> Vec<Option<T>> {
    addresses.iter().map(|address| sorted.binary_search(address).ok().and_then(|at| found[at].clone())).collect()
}
