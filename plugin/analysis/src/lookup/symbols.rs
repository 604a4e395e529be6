//! The symbols of a module's tables that addresses lie in.

use super::part::Spelling;
use super::wanted::{Spans, span};
use crate::describe::text_of;
use crate::symbols::{demangled, telling};
use crate::xrefs::{Elf, stubs};
use object::{Object, ObjectSection, ObjectSymbol, ObjectSymbolTable, ReadRef, SymbolIndex, SymbolKind};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Longer names are cut, in bytes.
const LONGEST_NAME: usize = 1 << 14;

/// What entries of symbol tables tell of some addresses of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolPart {
    /// Names, none of them twice.
    pub texts: Vec<String>,
    /// The numbers of addresses, and the best symbol for each.
    pub found: Vec<(u32, Candidate)>,
    /// Where symbols with a size begin: the number of the first address that is not before it, and the last that is there.
    pub starts: Vec<(u32, u64)>,
}

/// A symbol that an address lies in, or, of one without a size, that it comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// Whether it is known to reach as far as the address.
    pub sized: bool,
    /// In the file's own terms.
    pub address: u64,
    /// Of two at one address, the more telling one: global before weak, before local.
    pub rank: u8,
    /// Whether it may be a function.
    pub code: bool,
    /// Index into the part's texts.
    pub name: u32,
}

impl Candidate {
    /// The better one of two is worth more.
    pub fn worth(&self) -> (bool, u64, u8) {
        (self.sized, self.address, self.rank)
    }
}

/// The best symbols of all parts.
#[derive(Clone, Debug, Default)]
pub struct Best {
    /// With the number of the part.
    found: Vec<Option<(Candidate, u32)>>,
    starts: Vec<u64>,
}

impl Best {
    /// For so many addresses.
    pub fn new(count: usize) -> Self {
        Self { found: vec![None; count], starts: vec![0; count] }
    }

    /// Takes a part, by its number.
    pub fn absorb(&mut self, part: &SymbolPart, number: u32) {
        for (address, candidate) in &part.found {
            let Some(slot) = self.found.get_mut(*address as usize) else { continue };
            if slot.is_none_or(|(old, _)| candidate.worth() > old.worth()) {
                *slot = Some((*candidate, number));
            }
        }
        for (address, start) in &part.starts {
            if let Some(slot) = self.starts.get_mut(*address as usize) {
                *slot = (*slot).max(*start);
            }
        }
    }

    /// The symbol of each address. One without a size reaches no further than where the next one begins.
    pub fn symbols(&self) -> impl Iterator<Item = Option<(Candidate, u32)>> {
        let mut start = 0;
        self.found.iter().zip(&self.starts).map(move |(found, next)| {
            start = start.max(*next);
            found.filter(|(candidate, _)| candidate.sized || candidate.address >= start)
        })
    }
}

/// Finds the best symbols for `addresses`, in ascending order, among those entries of one of the file's tables. `sections` says where
/// the sections of a file that has yet to be linked lie, by number, and is empty for others.
pub fn look_up<'data, R: ReadRef<'data>>(
    file: &object::File<'data, R>,
    dynamic: bool,
    entries: Range<usize>,
    sections: &[u64],
    addresses: &[u64],
    spelling: Spelling,
) -> SymbolPart {
    let table = if dynamic { file.dynamic_symbol_table() } else { file.symbol_table() };
    let Some(table) = table else { return SymbolPart::default() };
    let extent = |section: object::Section<'data, '_, R>| {
        let index = section.index().0;
        let base = sections.get(index).copied();
        let start = base.unwrap_or_else(|| section.address());
        (index, Extent { base: base.unwrap_or(0), end: start.saturating_add(section.size()) })
    };
    let extents: FxHashMap<usize, Extent> = file.sections().map(extent).collect();
    let none = vec![None; addresses.len()];
    let starts = vec![0; addresses.len()];
    let mut search = Search { addresses, spans: Spans::new(addresses), inside: none.clone(), below: none, starts };
    for entry in entries.start.max(1)..entries.end {
        let Ok(symbol) = table.symbol_by_index(SymbolIndex(entry)) else { break };
        search.offer(entry as u32, &symbol, &extents);
    }
    search.finish(spelling, |entry| table.symbol_by_index(SymbolIndex(entry as usize)).ok()?.name_bytes().ok())
}

/// Adds the names of stubs of the PLT that `addresses`, in ascending order, lie in: that of the function, and `@plt`.
///
/// # Errors
/// If a table that tells of them is damaged; a fragment that says which.
pub fn add_stubs<'data, R: ReadRef<'data>>(
    part: &mut SymbolPart,
    file: &Elf<R>,
    addresses: &[u64],
    spelling: Spelling,
) -> Result<(), String> {
    let within = |range: &Range<u64>| span(addresses, range);
    let wanted = |range: &Range<u64>| {
        let (first, last) = within(range);
        first < last
    };
    for stub in stubs(file, wanted)? {
        let (first, last) = within(&stub.range);
        if first == last {
            continue;
        }
        let name = &stub.name[..stub.name.len().min(LONGEST_NAME)];
        part.texts.push(format!("{}@plt", spelled(name, spelling)));
        let name = (part.texts.len() - 1) as u32;
        let candidate = Candidate { sized: true, address: stub.range.start, rank: 0, code: true, name };
        part.found.extend((first..last).map(|number| (number as u32, candidate)));
    }
    Ok(())
}

/// A section.
#[derive(Clone, Copy)]
struct Extent {
    /// What the addresses of its symbols count from.
    base: u64,
    end: u64,
}

struct Search<'a> {
    addresses: &'a [u64],
    spans: Spans<&'a [u64]>,
    /// Symbols with a size that the address lies in.
    inside: Vec<Option<Found>>,
    /// Symbols without a size, by the first address that is not before them.
    below: Vec<Option<Found>>,
    /// Where the last symbol with a size begins, by the first address that is not before it.
    starts: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Found {
    address: u64,
    end: u64,
    /// Its number in the table. There may be many addresses, so no more is kept of it.
    entry: u32,
    rank: u8,
    code: bool,
}

impl Search<'_> {
    fn offer<'data, R: ReadRef<'data>>(
        &mut self,
        entry: u32,
        symbol: &object::Symbol<'data, '_, R>,
        extents: &FxHashMap<usize, Extent>,
    ) {
        let kinds = [SymbolKind::Text, SymbolKind::Data, SymbolKind::Unknown, SymbolKind::Label];
        if !symbol.is_definition() || !kinds.contains(&symbol.kind()) {
            return;
        }
        let extent = symbol.section_index().and_then(|index| extents.get(&index.0));
        let base = extent.map_or(0, |extent| extent.base);
        let (address, size) = (symbol.address().wrapping_add(base), symbol.size());
        // Of a symbol without a size, it is not known where it ends, but not later than its section.
        let end = match (size, extent) {
            (0, Some(extent)) => extent.end,
            (0, None) => return,
            (size, _) => address.saturating_add(size),
        };
        let (first, last) = self.spans.span(&(address..end));
        if let Some(start) = self.starts.get_mut(first).filter(|_| size > 0) {
            *start = (*start).max(address);
        }
        if first == last {
            return;
        }
        let Ok(name) = symbol.name_bytes() else { return };
        if name.is_empty() {
            return;
        }
        let rank = 2 * u8::from(symbol.is_global()) + u8::from(!symbol.is_weak());
        let code = symbol.kind() != SymbolKind::Data;
        let found = Found { address, end, entry, rank, code };
        let slots = if size == 0 { &mut self.below[first..=first] } else { &mut self.inside[first..last] };
        for slot in slots {
            if slot.is_none_or(|old| (address, rank) > (old.address, old.rank)) {
                *slot = Some(found);
            }
        }
    }

    fn finish<'data>(self, spelling: Spelling, name: impl Fn(u32) -> Option<&'data [u8]>) -> SymbolPart {
        let mut part = SymbolPart::default();
        let starts = self.starts.iter().enumerate().filter(|(_, start)| **start > 0);
        part.starts = starts.map(|(number, start)| (number as u32, *start)).collect();
        let mut names = Spelled::default();
        let mut nearest: Option<Found> = None;
        let slots = self.inside.into_iter().zip(self.below).zip(self.addresses);
        for (number, ((inside, below), wanted)) in slots.enumerate() {
            nearest = below.or(nearest);
            let below = nearest.filter(|found| *wanted < found.end);
            let Some(found) = inside.or(below) else { continue };
            let Found { address, rank, code, entry, .. } = found;
            let Some(name) = name(entry) else { continue };
            let name = names.number(&name[..name.len().min(LONGEST_NAME)], spelling, &mut part.texts);
            part.found.push((number as u32, Candidate { sized: inside.is_some(), address, rank, code, name }));
        }
        part
    }
}

/// Names as they are shown, by what in the file tells that: hundreds of copies of a function may differ in no more than a hash.
#[derive(Debug, Default)]
pub(super) struct Spelled {
    whole: FxHashMap<Box<[u8]>, u32>,
    stems: FxHashMap<Box<[u8]>, u32>,
}

impl Spelled {
    /// The number, among `texts`, of the name of a symbol, or of a function of debug information, as it is shown; it is added if it
    /// is not there.
    pub(super) fn number(&mut self, name: &[u8], spelling: Spelling, texts: &mut Vec<String>) -> u32 {
        let (key, names) = match spelling {
            Spelling::Mangled => (name, &mut self.whole),
            Spelling::Demangled => match telling(name) {
                (stem, true) => (stem, &mut self.stems),
                (whole, false) => (whole, &mut self.whole),
            },
        };
        if let Some(known) = names.get(key) {
            return *known;
        }
        let number = texts.len() as u32;
        texts.push(spelled(name, spelling));
        names.insert(key.into(), number);
        number
    }
}

fn spelled(name: &[u8], spelling: Spelling) -> String {
    match (spelling, std::str::from_utf8(name)) {
        (Spelling::Demangled, Ok(name)) => demangled(name),
        _ => text_of(name),
    }
}
