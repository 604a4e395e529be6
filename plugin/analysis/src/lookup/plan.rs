//! What is looked up, and in which modules.

use super::part::Spelling;
use crate::files::section_range;
use crate::plan::ScanRange;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use target::modules::{FileSet, Section};

/// An address as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Given {
    /// A load address where there is a process, else a file address of the first module.
    Address(u64),
    /// An address of the module that is called so, in its file's own terms.
    In(String, u64),
}

/// How addresses are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupOptions {
    pub spelling: Spelling,
    /// Whether they are where calls return to: it is the call before that is meant.
    pub returns: bool,
    /// Whether they are load addresses.
    pub loaded: bool,
    /// As many are shown.
    pub limit: u64,
}

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    pub(super) set: FileSet,
    pub(super) options: LookupOptions,
    /// In the order in which they were given.
    pub(super) given: Vec<Asked>,
    /// For each module, the addresses in the file's own terms, in ascending order, none of them twice.
    pub(super) wanted: BTreeMap<usize, Vec<u64>>,
    ranges: Vec<ScanRange>,
}

/// An address that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// As it was given, or where it is loaded.
    pub(super) address: u64,
    /// The module, and the number of the address among its wanted ones.
    pub(super) found: Option<(usize, usize)>,
}

impl Lookup {
    pub fn new(set: FileSet, given: &[Given], options: LookupOptions) -> Self {
        let spans = Spans::new(&set, options.loaded);
        let back = u64::from(options.returns);
        let found: Vec<(u64, Option<(usize, u64)>)> = given
            .iter()
            .map(|given| match given {
                Given::Address(address) => (*address, spans.at(address.wrapping_sub(back))),
                Given::In(name, address) => {
                    let module = set.modules.iter().position(|module| has_file_name(&module.path, name));
                    let found = module.and_then(|module| spans.within(&set, module, address.wrapping_sub(back)));
                    let loaded = found.map(|(module, address)| match set.modules[module].bias {
                        Some(bias) if options.loaded => address.wrapping_add(bias),
                        _ => address,
                    });
                    (loaded.map_or(*address, |loaded| loaded.wrapping_add(back)), found)
                }
            })
            .collect();
        let mut wanted: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (module, address) in found.iter().filter_map(|(_, found)| *found) {
            wanted.entry(module).or_default().push(address);
        }
        for addresses in wanted.values_mut() {
            addresses.sort_unstable();
            addresses.dedup();
        }
        let number = |(module, address): (usize, u64)| {
            let number = wanted.get(&module)?.binary_search(&address).ok()?;
            Some((module, number))
        };
        let asked = |(address, found): (u64, Option<(usize, u64)>)| Asked { address, found: found.and_then(number) };
        let given = found.into_iter().map(asked).collect();
        let ranges = ranges(&set, wanted.keys().copied());
        Self { set, options, given, wanted, ranges }
    }

    pub(super) fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }
}

/// The sections that are looked into.
fn ranges(set: &FileSet, modules: impl Iterator<Item = usize>) -> Vec<ScanRange> {
    let mut ranges = Vec::new();
    for module in modules {
        let surveyed = &set.modules[module];
        let sections = surveyed.symbol_tables().chain(surveyed.debug_info());
        ranges.extend(sections.map(|section| section_range(set, module, section)));
    }
    ranges.sort_by_key(|range| range.range.start);
    ranges
}

/// Whether a module's file is called so: its whole path, or its file name.
pub fn has_file_name(path: &str, name: &str) -> bool {
    path == name || path.rsplit('/').next() == Some(name.rsplit('/').next().unwrap_or(name))
}

/// Where modules' sections are loaded, or would be.
struct Spans {
    /// Beginning, end, module; in ascending order.
    spans: Vec<(u64, u64, usize)>,
    /// What is taken from an address of a module to get the file's own.
    biases: Vec<u64>,
}

impl Spans {
    fn new(set: &FileSet, loaded: bool) -> Self {
        let mut spans = Vec::new();
        let mut biases = vec![0; set.modules.len()];
        for (number, module) in set.modules.iter().enumerate() {
            biases[number] = match (loaded, module.bias) {
                (true, Some(bias)) => bias,
                (true, None) => continue,
                (false, _) => 0,
            };
            let add = |section: &Section| {
                let start = section.address.wrapping_add(biases[number]);
                (start, start.saturating_add(section.size), number)
            };
            spans.extend(module.loaded().map(add));
        }
        spans.sort_unstable();
        Self { spans, biases }
    }

    /// The module that an address lies in, and the address in its file's terms.
    fn at(&self, address: u64) -> Option<(usize, u64)> {
        let after = self.spans.partition_point(|(start, _, _)| *start <= address);
        let (_, end, module) = *self.spans.get(after.checked_sub(1)?)?;
        // Between two sections of a module is that module.
        let next = self.spans.get(after).map(|(_, _, module)| *module);
        (address < end || next == Some(module)).then(|| (module, address.wrapping_sub(self.biases[module])))
    }

    /// An address of a module: in its file's terms, or, where there is nothing at it, from where its file begins.
    fn within(&self, set: &FileSet, module: usize, address: u64) -> Option<(usize, u64)> {
        let lies = |address: u64| {
            let lies = |section: &Section| section.address <= address && address - section.address < section.size;
            set.modules[module].loaded().any(lies)
        };
        let lowest = set.modules[module].loaded().map(|section| section.address & !0xfff).min()?;
        let from_beginning = address.wrapping_add(lowest);
        [address, from_beginning].into_iter().find(|address| lies(*address)).map(|address| (module, address))
    }
}
