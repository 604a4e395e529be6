//! What is looked up, and in which modules.

use super::part::Spelling;
use crate::files::section_range;
use crate::plan::ScanRange;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use target::modules::{FileSet, Section};

/// An address as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A load address where there is a process, else a file address of the first module.
    Address(u64),
    /// An address of the module that is called so, in its file's own terms.
    In(Arc<str>, u64),
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
    /// In the order in which they were given. No worker needs to know it.
    #[serde(skip)]
    pub(super) given: Vec<Asked>,
    /// For each module, the addresses in the file's own terms, in ascending order, none of them twice.
    pub(super) wanted: BTreeMap<usize, Vec<u64>>,
    ranges: Vec<ScanRange>,
}

/// An address that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// As it was given, or where it is loaded.
    pub(super) address: u64,
    /// The module, and the number of the address among its wanted ones.
    pub(super) found: Option<(usize, usize)>,
}

impl Lookup {
    pub fn new(set: FileSet, given: &[Given], options: LookupOptions) -> Self {
        let spans = Spans::new(&set, options.loaded);
        let names = ModuleNames::new(set.modules.iter().map(|module| module.path.as_str()));
        let mut images: BTreeMap<usize, Image> = BTreeMap::new();
        let back = u64::from(options.returns);
        let mut named = names.finder();
        // By module, an address in its file's terms, and by whom it was given.
        let mut found: BTreeMap<usize, Vec<(u64, usize)>> = BTreeMap::new();
        let mut asked = Vec::with_capacity(given.len());
        for (number, given) in given.iter().enumerate() {
            let (address, at) = match given {
                Given::Address(address) => (*address, spans.at(address.wrapping_sub(back))),
                Given::In(name, address) => {
                    let at = named.find(name).and_then(|module| {
                        let range = |section: &Section| section.address..section.address.saturating_add(section.size);
                        let loaded = || set.modules[module].loaded().map(range).collect();
                        let image = images.entry(module).or_insert_with(|| Image::new(loaded()));
                        Some((module, image.address(address.wrapping_sub(back))?))
                    });
                    let loaded = at.map(|(module, address)| match set.modules[module].bias {
                        Some(bias) if options.loaded => address.wrapping_add(bias),
                        _ => address,
                    });
                    (loaded.map_or(*address, |loaded| loaded.wrapping_add(back)), at)
                }
            };
            asked.push(Asked { address, found: None });
            if let Some((module, address)) = at {
                found.entry(module).or_default().push((address, number));
            }
        }
        let mut wanted: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (module, mut found) in found {
            found.sort_unstable();
            let mut addresses: Vec<u64> = Vec::new();
            for (address, given) in found {
                if addresses.last() != Some(&address) {
                    addresses.push(address);
                }
                asked[given].found = Some((module, addresses.len() - 1));
            }
            wanted.insert(module, addresses);
        }
        let ranges = ranges(&set, wanted.keys().copied());
        Self { set, options, given: asked, wanted, ranges }
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

/// Modules by their files: the whole path or, where there is none, the file's name.
#[derive(Debug, Default)]
pub struct ModuleNames<'a> {
    /// Numbers of modules; of several, the first.
    paths: HashMap<&'a str, usize>,
    files: HashMap<&'a str, usize>,
}

impl<'a> ModuleNames<'a> {
    /// Of modules with these paths.
    pub fn new(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut names = Self::default();
        for (number, path) in paths.enumerate() {
            names.paths.entry(path).or_insert(number);
            names.files.entry(file_name(path)).or_insert(number);
        }
        names
    }

    /// The number of the module that is called so. Of a path that no module has, the file's name counts: logs may be of another
    /// machine.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.paths.get(name).or_else(|| self.files.get(file_name(name))).copied()
    }

    /// Finds the modules of many addresses.
    pub fn finder(&self) -> ModuleFinder<'_, 'a> {
        ModuleFinder { names: self, last: None }
    }
}

/// Finds one module after another. A name that several addresses have in common is looked up once for all that follow one another.
#[derive(Debug)]
pub struct ModuleFinder<'n, 'a> {
    names: &'n ModuleNames<'a>,
    last: Option<(&'n Arc<str>, Option<usize>)>,
}

impl<'n> ModuleFinder<'n, '_> {
    pub fn find(&mut self, name: &'n Arc<str>) -> Option<usize> {
        match self.last {
            Some((known, number)) if Arc::ptr_eq(known, name) => number,
            _ => self.last.insert((name, self.names.find(name))).1,
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
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
}

/// Where a module's file has something, in its own terms.
#[derive(Debug, Default)]
struct Image {
    /// Where it begins, at a page.
    lowest: u64,
    /// In ascending order; they do not meet.
    ranges: Vec<Range<u64>>,
}

impl Image {
    /// Of sections that are not empty.
    fn new(mut all: Vec<Range<u64>>) -> Self {
        all.sort_unstable_by_key(|range| range.start);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for range in all {
            match ranges.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
        }
        Self { lowest: ranges.first().map_or(0, |range| range.start & !0xfff), ranges }
    }

    /// An address as a log tells it: in the file's terms or, where there is nothing at it, from where the file begins.
    fn address(&self, told: u64) -> Option<u64> {
        [told, told.wrapping_add(self.lowest)].into_iter().find(|address| self.has(*address))
    }

    fn has(&self, address: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= address);
        self.ranges[..after].last().is_some_and(|range| address < range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_module_is_found_by_its_path_and_by_its_file_name() {
        let paths = ["/a/prog", "/a/libx.so", "/b/libx.so", "[vdso]"];
        let names = ModuleNames::new(paths.into_iter());
        for (name, number) in [
            ("prog", Some(0)),
            ("/other/prog", Some(0)),
            ("libx.so", Some(1)),
            ("/c/libx.so", Some(1)),
            ("/b/libx.so", Some(2)),
            ("[vdso]", Some(3)),
            ("libx", None),
            ("", None),
        ] {
            assert_eq!(names.find(name), number, "{name}");
        }
    }

    proptest! {
        /// An address lies in an image if it lies in a section, whatever their order and however they overlap.
        #[test]
        fn an_image_has_what_its_sections_have(
            sections in proptest::collection::vec((0x800u64..0x1800, 1u64..0x400), 0..6),
            told in proptest::collection::vec(0u64..0x2800, 1..50),
        ) {
            let all: Vec<Range<u64>> = sections.iter().map(|(start, size)| *start..start + size).collect();
            let image = Image::new(all.clone());
            let has = |address: u64| all.iter().any(|range| range.contains(&address));
            let lowest = all.iter().map(|range| range.start & !0xfff).min();
            for told in told {
                let expected = [Some(told), lowest.map(|lowest| told + lowest)].into_iter().flatten().find(|at| has(*at));
                prop_assert_eq!(image.address(told), expected);
            }
        }
    }
}
