//! Source places and symbols of addresses that other analyses show.

use super::part::{Kept, Location, Question, Spelling, look_up};
use super::plan::is_table;
use super::symbols::{self, Best, Candidate};
use crate::dwarf::{DebugInfo, ModuleSource};
use crate::report::SymbolOffset;
use object::elf;
use std::collections::HashMap;
use target::modules::Files;

/// A place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePlace {
    pub file: String,
    /// 0 where no line is known.
    pub line: u64,
    /// 0 where no column is known.
    pub column: u64,
}

/// Tells what is at addresses of modules, in their files' own terms. It keeps what it has learnt of a module, and so belongs
/// into a scanner. What cannot be read is not known: nothing here is an error.
#[derive(Debug, Default)]
pub struct Symbolizer {
    modules: HashMap<usize, Kept>,
}

impl Symbolizer {
    /// The places of `addresses`, in their order.
    pub fn places(&mut self, files: &Files, module: usize, addresses: &[u64]) -> Vec<Option<SourcePlace>> {
        let sorted = sorted(addresses);
        let mut found = vec![None; sorted.len()];
        let source = ModuleSource::new(files, module);
        if source.section_number(".debug_info").is_some()
            && let Ok(debug) = DebugInfo::load(&source)
        {
            let kept = self.modules.entry(module).or_insert_with(|| Kept::whole(&debug));
            let part = 0..kept.end();
            let question = Question { addresses: &sorted, part, spelling: Spelling::Demangled, functions: false };
            let part = look_up(&debug, &source, kept, &question, &|| false).part;
            let place = |Location { file, line, column }: Location| {
                let file = part.texts.get(file? as usize)?.clone();
                Some(SourcePlace { file, line: line.into(), column: column.into() })
            };
            // The first unit with an address tells of it.
            for (number, _, location) in part.places.iter().rev() {
                found[*number as usize] = place(*location);
            }
        }
        in_order(addresses, &sorted, &found)
    }

    /// The symbols of `addresses`, in their order.
    pub fn symbols(&mut self, files: &Files, module: usize, addresses: &[u64]) -> Vec<Option<SymbolOffset>> {
        let sorted = sorted(addresses);
        let mut best = Best::new(sorted.len());
        let mut names = Vec::new();
        let surveyed = &files.set().modules[module];
        for table in surveyed.sections.iter().filter(|section| is_table(surveyed, section)) {
            let dynamic = elf::SectionType(table.kind) == elf::SHT_DYNSYM;
            let file = files.data(module, table.file).ok().and_then(|data| object::File::parse(data).ok());
            let Some(file) = file else { continue };
            let part = symbols::look_up(&file, dynamic, 0..usize::MAX, &sorted, Spelling::Demangled);
            best.absorb(&part, names.len() as u32);
            names.push(part.texts);
        }
        let symbol = |(best, address): (Option<(Candidate, u32)>, &u64)| {
            let (candidate, part) = best?;
            let name = names[part as usize].get(candidate.name as usize)?.clone();
            Some(SymbolOffset { name, offset: address - candidate.address })
        };
        let found: Vec<Option<SymbolOffset>> = best.symbols().zip(&sorted).map(symbol).collect();
        in_order(addresses, &sorted, &found)
    }
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
