//! The files of many modules, and the one space that all their bytes lie in.

use super::Surveyed;
use crate::AddressRange;
use serde::{Deserialize, Serialize};

/// A file begins at its number times this many bytes.
const FILE_BITS: u32 = 40;

/// No longer file is looked at, in bytes.
pub(super) const LONGEST_FILE: u64 = 1 << FILE_BITS;

/// Modules that have been surveyed.
///
/// An address in *file space* is that of a byte in one of their files: all files, counted through in the order of the modules,
/// lie one after another, 1 TiB apart. A compressed section lies in a file of its own, inflated, whether or not anyone has
/// inflated it yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSet {
    pub modules: Vec<Surveyed>,
    /// For each module, the number of its first file.
    first: Vec<u64>,
}

impl FileSet {
    pub fn new(modules: Vec<Surveyed>) -> Self {
        let mut count = 0;
        let number = |module: &Surveyed| {
            let first = count;
            count += module.files.len() as u64;
            first
        };
        let first = modules.iter().map(number).collect();
        Self { modules, first }
    }

    /// Where a section's bytes lie in file space, inflated if it is compressed. It is empty for one that has none.
    pub fn range(&self, module: usize, section: usize) -> AddressRange {
        let number = |file: usize| (self.first[module] + file as u64) << FILE_BITS;
        let section = &self.modules[module].sections[section];
        match section.inflated {
            Some(file) => AddressRange::sized(number(file), section.size),
            None => {
                AddressRange::new(number(section.file) + section.range.start, number(section.file) + section.range.end)
            }
        }
    }

    /// The module and section that a byte in file space lies in, and where in the section.
    pub fn locate(&self, address: u64) -> Option<(usize, usize, u64)> {
        let number = address >> FILE_BITS;
        let module = self.first.partition_point(|first| *first <= number).checked_sub(1)?;
        let sections = 0..self.modules[module].sections.len();
        let found = sections.map(|section| (section, self.range(module, section)));
        let (section, range) = found.into_iter().find(|(_, range)| range.contains(address))?;
        Some((module, section, address - range.start))
    }
}
