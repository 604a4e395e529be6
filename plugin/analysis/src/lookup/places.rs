//! Where in the source a module's functions begin and its variables are declared, kept on disk by build id, so that line tables
//! are run once and not in each session.
//!
//! A fact has the numbers of symbols and of files; a row for each symbol, in the order of their addresses; where the name of each
//! file begins and the last ends; and these names. Numbers have the least significant byte first.

use super::part::{Kept as KeptUnits, Location};
use super::symbolizer::{contains, data, places};
use super::variables;
use crate::describe::text_of;
use crate::dwarf::{DebugInfo, ModuleSource};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::ops::Deref;
use target::cache::{Kept, Key};
use target::modules::{Files, Surveyed};

/// The word and the version that facts are kept under.
const FACTS: (&str, u32) = ("places", 2);

/// The numbers of symbols and files.
const HEADER: usize = 8;

/// An address, the number of a file, and a line.
const ROW: usize = 16;

/// What stands for a file that is not known.
const NO_FILE: u32 = u32::MAX;

/// The key of what is known of a module's symbols.
fn key(module: &Surveyed) -> Key<'_> {
    // Files of one build id may differ: one is stripped, the other has debug info.
    let named =
        |section: &&target::modules::Section| section.name.starts_with(".debug") || section.name.ends_with("sym");
    let sizes = module.sections.iter().filter(named);
    let numbers = sizes.flat_map(|section| [section.range.start, section.range.end, section.size]);
    let (kind, version) = FACTS;
    Key { build_id: &module.build_id, kind, part: crate::files::part(numbers), version }
}

/// The addresses of a module's symbols, in the file's own terms and ascending order.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    pub functions: Vec<u64>,
    pub variables: Vec<u64>,
}

/// Where symbols of a module are in the source.
#[derive(Debug)]
pub struct Places<B = Kept> {
    kept: B,
    rows: usize,
    files: usize,
}

impl Places {
    /// What is kept of a module.
    pub fn find(files: &Files, module: usize) -> Option<Self> {
        Self::new(files.cache()?.find(&key(&files.set().modules[module]))?)
    }

    /// Looks up symbols and keeps what is found, unless it is kept already, or the symbols are not to be had, or `stop` says so.
    pub fn keep(files: &Files, module: usize, symbols: impl FnOnce() -> Option<Symbols>, stop: &dyn Fn() -> bool) {
        let surveyed = &files.set().modules[module];
        let key = key(surveyed);
        let source = ModuleSource::new(files, module);
        let (Some(cache), Ok(debug)) = (files.cache(), DebugInfo::load(&source)) else { return };
        if Self::find(files, module).is_some() {
            return;
        }
        let Some(Symbols { functions, variables }) = symbols() else { return };
        let found = places(&debug, &source, &mut KeptUnits::new(&debug, &functions), stop);
        let data = data(surveyed);
        let units = variables::Kept::new(&debug, &|address| contains(&data, address), stop);
        let (Some(units), None, false) = (units, found.stopped, stop()) else { return };
        let declared = variables::declared(&debug, &source, &units, &variables, stop);
        if stop() {
            return;
        }
        let mut locations = vec![Location::default(); functions.len()];
        // The first unit with an address tells of it.
        for (number, _, location) in found.part.places.iter().rev() {
            locations[*number as usize] = *location;
        }
        let mut known: BTreeMap<u64, Location> =
            variables.iter().map(|address| (*address, Location::default())).collect();
        known.extend(functions.into_iter().zip(locations));
        let mut texts = found.part.texts;
        let mut numbers: FxHashMap<String, u32> = (texts.iter().cloned()).zip(0..).collect();
        for (address, (file, line)) in declared.places {
            let text = text_of(&file);
            let file = *numbers.entry(text).or_insert_with_key(|text| {
                texts.push(text.clone());
                (texts.len() - 1) as u32
            });
            let line = u32::try_from(line).unwrap_or(0);
            known.insert(address, Location { file: Some(file), line, column: 0 });
        }
        // What a malformed unit may have told of is looked up again each time, so that it is said each time.
        if !(found.unread.is_empty() && declared.unread.is_empty()) {
            known.retain(|_, location| location.file.is_some());
        }
        if let Some(fact) = fact(&known.into_iter().collect::<Vec<_>>(), &texts) {
            cache.keep(&key, &fact);
        }
    }
}

/// The content of a fact; `None` if there is too much for one.
fn fact(symbols: &[(u64, Location)], texts: &[String]) -> Option<Vec<u8>> {
    let number = |number: usize| u32::try_from(number).ok();
    let mut fact = Vec::with_capacity(HEADER + symbols.len() * ROW);
    fact.extend_from_slice(&number(symbols.len())?.to_le_bytes());
    fact.extend_from_slice(&number(texts.len())?.to_le_bytes());
    for (address, location) in symbols {
        fact.extend_from_slice(&address.to_le_bytes());
        fact.extend_from_slice(&location.file.unwrap_or(NO_FILE).to_le_bytes());
        fact.extend_from_slice(&location.line.to_le_bytes());
    }
    let mut end = 0;
    fact.extend_from_slice(&[0; 4]);
    for text in texts {
        end += text.len();
        fact.extend_from_slice(&number(end)?.to_le_bytes());
    }
    texts.iter().for_each(|text| fact.extend_from_slice(text.as_bytes()));
    Some(fact)
}

impl<B: Deref<Target = [u8]>> Places<B> {
    /// Takes a fact, if it is one.
    fn new(kept: B) -> Option<Self> {
        let (rows, files) = (u32_at(&kept, 0)? as usize, u32_at(&kept, 4)? as usize);
        let places = Self { kept, rows, files };
        (places.texts() <= places.kept.len()).then_some(places)
    }

    /// The file and the line, 0 if it is not known, of the symbol at an address: `None` if none is known to be there,
    /// `Some(None)` if its place is not known.
    pub fn place(&self, address: u64) -> Option<Option<(&str, u32)>> {
        let row = |row: usize| self.kept.get(HEADER + row * ROW..).and_then(|row| row.first_chunk::<ROW>());
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low.midpoint(high);
            let at = u64::from_le_bytes(*row(middle)?.first_chunk()?);
            if at < address { low = middle + 1 } else { high = middle }
        }
        let row = row(low).filter(|row| low < self.rows && row[..8] == address.to_le_bytes())?;
        Some(self.file(u32_at(row, 8)?).zip(u32_at(row, 12)))
    }

    fn file(&self, number: u32) -> Option<&str> {
        let number = usize::try_from(number).ok().filter(|number| *number < self.files)?;
        let at = HEADER + self.rows * ROW + number * 4;
        let (start, end) = (u32_at(&self.kept, at)? as usize, u32_at(&self.kept, at + 4)? as usize);
        std::str::from_utf8(self.kept.get(self.texts()..)?.get(start..end)?).ok()
    }

    /// Where the names of files begin.
    fn texts(&self) -> usize {
        HEADER + self.rows * ROW + (self.files + 1) * 4
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Known = BTreeMap<u64, (Option<u32>, u32)>;

    fn built(known: &Known, texts: &[String]) -> Vec<u8> {
        let function = |(address, (file, line)): (&u64, &(Option<u32>, u32))| {
            (*address, Location { file: *file, line: *line, column: 3 })
        };
        fact(&known.iter().map(function).collect::<Vec<_>>(), texts).unwrap()
    }

    fn known() -> impl Strategy<Value = Known> {
        proptest::collection::btree_map(0u64..40, (proptest::option::of(0u32..3), 0u32..9), 0..20)
    }

    proptest! {
        #[test]
        fn a_place_is_found_as_it_was_put(known in known(), texts in proptest::collection::vec("[a/é]{0,4}", 3)) {
            let places = Places::new(built(&known, &texts)).unwrap();
            for address in 0..41 {
                let expected = known.get(&address).map(|(file, line)| file.map(|file| (texts[file as usize].as_str(), *line)));
                prop_assert_eq!(places.place(address), expected);
            }
        }

        #[test]
        fn damage_does_no_harm(
            known in known(),
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
            cut in proptest::option::of(any::<proptest::sample::Index>()),
        ) {
            let mut fact = built(&known, &["a".to_owned(), "bc".to_owned(), String::new()]);
            for (at, byte) in damage {
                let at = at.index(fact.len());
                fact[at] = byte;
            }
            if let Some(cut) = cut {
                fact.truncate(cut.index(fact.len()));
            }
            if let Some(places) = Places::new(fact) {
                for address in 0..41 {
                    places.place(address);
                }
            }
        }
    }
}
