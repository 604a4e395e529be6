//! Which symbol an address lies in, read from the modules' own symbol tables.
//!
//! ELF files are foreign bytes: [`look_up`] is made to be run in a worker.

use crate::lookup::symbols_in;
use crate::report::SymbolOffset;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object, ObjectSegment, ReadCache, ReadRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Seek};
use target::{AddressSpace, Backing, Permissions, ReadMemory};

/// Addresses in one module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleAddresses {
    /// The module's file, as the target names it.
    pub path: String,
    /// The address at which the beginning of the file is mapped.
    pub base: u64,
    /// In ascending order.
    pub addresses: Vec<u64>,
    /// What the target has at `base`, to tell whether the file is still the same: a module begins with its headers and,
    /// as a rule, its build id. Empty if that is certain anyway.
    pub head: Vec<u8>,
}

/// As many bytes of a module are compared with its file.
pub const HEAD: usize = 1024;

/// Sorts addresses by the module that they lie in: in one of its mappings, or in the anonymous one right behind its
/// last, where its .bss goes on. Addresses in no module, or in one whose file has been deleted, are left out.
pub fn by_module(space: &AddressSpace, addresses: impl IntoIterator<Item = u64>) -> Vec<ModuleAddresses> {
    let mut modules: BTreeMap<u64, ModuleAddresses> = BTreeMap::new();
    for address in addresses {
        let Some((path, base)) = module_at(space, address) else { continue };
        let module = || ModuleAddresses { path: path.to_owned(), base, addresses: Vec::new(), head: Vec::new() };
        modules.entry(base).or_insert_with(module).addresses.push(address);
    }
    for module in modules.values_mut() {
        module.addresses.sort_unstable();
        module.addresses.dedup();
    }
    modules.into_values().collect()
}

/// The path of the module whose .bss `address` lies in, where that goes on in memory of no file. What is mapped right behind a module
/// may be another's, so its headers, which are in memory, say how far it reaches.
pub fn bss_at<'a>(space: &'a AddressSpace, memory: &dyn ReadMemory, address: u64) -> Option<&'a str> {
    if matches!(space.region_at(address)?.backing, Backing::File { .. }) {
        return None;
    }
    let (path, base) = module_at(space, address)?;
    let mut head = [0; HEAD];
    let read = memory.read(base, &mut head).ok()?;
    let head = &head[..read];
    let header = FileHeader64::<Endianness>::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let loaded = || {
        let headers = header.program_headers(endian, head).unwrap_or_default().iter();
        headers.filter(|header| header.p_type(endian) == elf::PT_LOAD)
    };
    let start = loaded().next()?.p_vaddr(endian) / 4096 * 4096;
    let end = loaded().map(|header| header.p_vaddr(endian).saturating_add(header.p_memsz(endian))).max()?;
    (address - base < end.saturating_sub(start)).then_some(path)
}

/// The path of the module at `address`, and where its file's beginning is mapped.
fn module_at(space: &AddressSpace, address: u64) -> Option<(&str, u64)> {
    let regions = &space.regions;
    let mut index = regions.partition_point(|region| region.range.start <= address).checked_sub(1)?;
    if !regions[index].range.contains(address) {
        return None;
    }
    if matches!(regions[index].backing, Backing::Anonymous { name: None } | Backing::Unknown) {
        let before = index.checked_sub(1)?;
        let follows = regions[before].range.end == regions[index].range.start;
        let writable = regions[index].permissions.contains(Permissions::WRITE);
        if !(follows && writable) {
            return None;
        }
        index = before;
    }
    let Backing::File { path, deleted: false, .. } = &regions[index].backing else { return None };
    let same = |index: &usize| matches!(&regions[*index].backing, Backing::File { path: other, .. } if other == path);
    let first = (0..=index).rev().take_while(same).last()?;
    match regions[first].backing {
        Backing::File { offset: 0, .. } => Some((path, regions[first].range.start)),
        _ => None,
    }
}

/// The symbols at addresses of the module that `data` is the file of, in the order of the addresses; none where there is
/// no symbol, or it is known to end before the address.
pub fn look_up<'data>(data: impl ReadRef<'data>, module: &ModuleAddresses) -> Vec<Option<SymbolOffset>> {
    let nothing = || vec![None; module.addresses.len()];
    if !module.head.is_empty() && data.read_bytes_at(0, module.head.len() as u64) != Ok(&module.head[..]) {
        return nothing();
    }
    let Ok(file) = object::File::parse(data) else { return nothing() };
    let Some(bias) = bias(&file, module.base) else { return nothing() };
    let wanted: Vec<u64> = module.addresses.iter().map(|address| address.wrapping_sub(bias)).collect();
    symbols_in(&file, &wanted)
}

/// What has to be added to the file's own addresses.
fn bias<'data>(file: &object::File<'data, impl ReadRef<'data>>, base: u64) -> Option<u64> {
    // The first mapping begins at a page, and so maybe before the segment does.
    let first =
        file.segments().filter(|segment| segment.file_range().1 > 0).min_by_key(|segment| segment.file_range().0)?;
    let (offset, _) = first.file_range();
    let start = first.address().wrapping_sub(offset);
    Some(base.wrapping_sub(start))
}

/// The worker's function that looks up symbols.
pub const FUNCTION: &str = "names";

/// What that function is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The process on this machine whose file it is, which may see other files than we do; `None` for a core file's.
    pub pid: Option<u64>,
    pub module: ModuleAddresses,
}

/// As [`look_up`], of a file that is read piece by piece.
pub fn look_up_in(file: impl Read + Seek, module: &ModuleAddresses) -> Vec<Option<SymbolOffset>> {
    look_up(&ReadCache::new(file), module)
}
