//! The parts of modules that vtables and type information can be in.

use super::codes::SLOTS;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use target::{AddressRange, AddressSpace, Backing, Permissions, Region};

/// Readable memory of modules. Its words are numbered from 0 on, in address order: a vtable is known by the number of its
/// first word, its slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modules {
    parts: Vec<Part>,
    /// What can be called, in address order.
    code: Vec<AddressRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    range: AddressRange,
    writable: bool,
    /// The slot of its first word.
    first: u32,
}

impl Modules {
    /// A module is a file of which something is mapped to be run. Memory that follows its last part without a gap belongs
    /// to it as well: its .bss, where programs at a fixed address have copies of other modules' variables.
    pub fn new(space: &AddressSpace) -> Self {
        let is_code = |region: &&Region| region.permissions.contains(Permissions::EXECUTE);
        let file = |region: &Region| match &region.backing {
            Backing::File { path, .. } => Some(path.clone()),
            _ => None,
        };
        let programs: HashSet<String> = space.regions.iter().filter(is_code).filter_map(file).collect();
        let mut modules = Self::default();
        let mut next = 0u32;
        let mut module_end = None;
        for region in &space.regions {
            let own = file(region).is_some_and(|path| programs.contains(&path));
            let writable = region.permissions.contains(Permissions::WRITE);
            let bss = module_end == Some(region.range.start)
                && writable
                && matches!(region.backing, Backing::Anonymous { name: None } | Backing::Unknown);
            module_end = own.then_some(region.range.end);
            if is_code(&region) {
                modules.code.push(region.range);
            }
            if !(own || bss) || !region.permissions.contains(Permissions::READ) {
                continue;
            }
            let words = u32::try_from(region.range.len() / 8).unwrap_or(u32::MAX);
            // Those of a program with more than 4 GiB of modules have no numbers left.
            let Some(end) = next.checked_add(words).filter(|end| *end < SLOTS) else { continue };
            modules.parts.push(Part { range: region.range, writable, first: next });
            next = end;
        }
        modules
    }

    /// The slot of the word at `address`.
    pub(super) fn slot(&self, address: u64) -> Option<u32> {
        let part = self.part(address).filter(|_| address.is_multiple_of(8))?;
        Some(part.first + ((address - part.range.start) / 8) as u32)
    }

    /// The address of a slot.
    pub(super) fn address(&self, slot: u32) -> Option<u64> {
        let part = self.parts.get(self.parts.partition_point(|part| part.first <= slot).checked_sub(1)?)?;
        Some(part.range.start + u64::from(slot - part.first) * 8)
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        self.part(address).is_some()
    }

    /// Whether it lies in a module, where the program cannot write.
    pub(super) fn is_constant(&self, address: u64) -> bool {
        self.part(address).is_some_and(|part| !part.writable)
    }

    pub(super) fn is_code(&self, address: u64) -> bool {
        let after = self.code.partition_point(|range| range.start <= address);
        self.code[..after].last().is_some_and(|range| range.contains(address))
    }

    fn part(&self, address: u64) -> Option<&Part> {
        let after = self.parts.partition_point(|part| part.range.start <= address);
        self.parts[..after].last().filter(|part| part.range.contains(address))
    }
}
