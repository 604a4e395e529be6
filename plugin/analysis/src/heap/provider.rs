//! Which module's malloc a process calls, as its dynamic linker has bound it.
//!
//! A call goes to the first module, in the order of the dynamic linker's list, that defines the symbol. So a program that brings a malloc
//! of its own, or has one loaded before libc, is known by its symbols in memory, whatever its allocator is. Where there is no dynamic
//! linker, or it has not run yet, nobody is known. Sources: the ELF specification for dynamic sections and hash tables, `link.h` and
//! `elf/link.h` of glibc for `r_debug` and `link_map`.

use super::View;
use crate::driver::Sink;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use object::elf;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{AddressRange, AddressSpace, Backing, ReadMemory};

/// As many places are looked at for the program, which comes first in most processes.
const MOST_BASES: usize = 1 << 12;

/// As many modules are looked at.
const MOST_MODULES: usize = 1 << 12;

/// As many program headers, and entries of a dynamic section, are read of a module.
const MOST_ENTRIES: u64 = 1 << 10;

/// As many symbols with the same hash are looked at.
const MOST_SYMBOLS: u64 = 1 << 10;

/// A path is at most as long.
const LONGEST_PATH: usize = 4096;

/// Bytes of an entry of a 64-bit symbol table, program header table and dynamic section.
const SYMBOL: u64 = 24;
const PROGRAM_HEADER: u64 = 56;
const DYNAMIC: u64 = 16;

/// Finds whose malloc is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindProvider {
    /// One, that stands for all: each module leads to the next.
    ranges: Vec<ScanRange>,
    /// Where modules may begin.
    bases: Vec<u64>,
}

/// The module whose malloc a process calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Its path, as the dynamic linker knows it; empty for the program.
    pub path: String,
    /// Where its malloc is.
    pub address: u64,
    /// Whether it is glibc.
    pub is_glibc: bool,
}

impl FindProvider {
    pub fn new(space: &AddressSpace) -> Self {
        let begins = |backing: &Backing| match backing {
            Backing::File { offset, .. } => *offset == 0,
            Backing::Unknown => true,
            _ => false,
        };
        let regions = space.regions.iter().filter(|region| region.is_readable() && begins(&region.backing));
        let bases: Vec<u64> = regions.map(|region| region.range.start).take(MOST_BASES).collect();
        let first = bases.first().map(|base| ScanRange::alone(AddressRange::sized(*base, 1)));
        Self { ranges: first.into_iter().collect(), bases }
    }
}

impl Analysis for FindProvider {
    const NAME: &'static str = "heap-provider";
    type Input = View;
    type Partial = Option<Provider>;
    type Scanner = ();
    type Merge = Option<Provider>;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn scanner(&self) -> Result<(), String> {
        Ok(())
    }

    fn scan(&self, (): &mut (), task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<Option<Provider>> {
        let memory = Memory(&*view.memory);
        let mut bases = self.bases.iter().take_while(|_| !stop());
        let list = bases.find_map(|base| memory.list(*base));
        let partial = list.and_then(|list| memory.provider(list, stop));
        let rest = stop().then_some(task.range);
        let bytes = if rest.is_some() { 0 } else { task.range.len() };
        Scanned { partial, bytes, skipped: Vec::new(), rest, gone: false }
    }

    fn merge(&self) -> Option<Provider> {
        None
    }

    fn absorb(
        &self,
        merge: &mut Option<Provider>,
        _task: &Task,
        partial: Option<Provider>,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        *merge = partial;
        ControlFlow::Continue(())
    }
}

/// The memory of a 64-bit little-endian process.
struct Memory<'a>(&'a dyn ReadMemory);

/// A module's entry in the dynamic linker's list.
struct Link {
    bias: u64,
    name: u64,
    dynamic: u64,
    next: u64,
}

impl Memory<'_> {
    fn bytes<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let read = self.0.read(address, &mut bytes).ok()?;
        (read == N).then_some(bytes)
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.bytes(address).map(u64::from_le_bytes)
    }

    fn half(&self, address: u64) -> Option<u32> {
        self.bytes(address).map(u32::from_le_bytes)
    }

    /// The number at the beginning of an array of 32-bit numbers, and so on.
    fn nth(&self, array: u64, index: u64) -> Option<u32> {
        self.half(array.checked_add(index.checked_mul(4)?)?)
    }

    /// Whether `text` is at `address`, with its end.
    fn is_text(&self, address: u64, text: &[u8]) -> bool {
        let mut bytes = vec![0; text.len() + 1];
        let read = self.0.read(address, &mut bytes).unwrap_or(0);
        read == bytes.len() && bytes.strip_suffix(&[0]) == Some(text)
    }

    fn text(&self, address: u64) -> String {
        let mut bytes = vec![0; LONGEST_PATH];
        let read = self.0.read(address, &mut bytes).unwrap_or(0);
        let end = bytes[..read].iter().position(|byte| *byte == 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// The first entry of the dynamic linker's list of modules, if the program is what begins at `base`: nothing else has a place in
    /// its dynamic section for that.
    fn list(&self, base: u64) -> Option<u64> {
        let header: [u8; 64] = self.bytes(base)?;
        let is_module = header.starts_with(&elf::ELFMAG) && header[4..6] == [2, 1];
        if !is_module {
            return None;
        }
        let word = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let headers = base.checked_add(word(32)?)?;
        let count = u64::from(u16::from_le_bytes([header[56], header[57]])).min(MOST_ENTRIES);
        let (mut start, mut dynamic) = (None, None);
        for at in (0..count).map(|index| index * PROGRAM_HEADER) {
            let kind = self.half(headers.checked_add(at)?)?;
            let address = self.word(headers.checked_add(at + 16)?)?;
            match elf::ProgramType(kind) {
                elf::PT_LOAD if start.is_none() => start = Some(address / 4096 * 4096),
                elf::PT_DYNAMIC => dynamic = Some(address),
                _ => {}
            }
        }
        let dynamic = base.checked_sub(start?)?.checked_add(dynamic?)?;
        let debug = self.entries(dynamic).find(|(tag, _)| *tag == elf::DT_DEBUG.0)?.1;
        self.word(debug.checked_add(8)?).filter(|list| *list != 0)
    }

    /// The entries of a dynamic section.
    fn entries(&self, dynamic: u64) -> impl Iterator<Item = (i64, u64)> {
        let entry = move |index| {
            let bytes: [u8; 16] = self.bytes(dynamic.checked_add(index * DYNAMIC)?)?;
            let (tag, value) = bytes.split_at(8);
            Some((i64::from_le_bytes(*tag.first_chunk()?), u64::from_le_bytes(*value.first_chunk()?)))
        };
        (0..MOST_ENTRIES).map_while(entry).take_while(|(tag, _)| *tag != elf::DT_NULL.0)
    }

    /// The first module from this one on that defines malloc.
    fn provider(&self, list: u64, stop: &dyn Fn() -> bool) -> Option<Provider> {
        let mut at = list;
        for _ in 0..MOST_MODULES {
            if at == 0 || stop() {
                return None;
            }
            let bytes: [u8; 32] = self.bytes(at)?;
            let word = |index: usize| bytes.as_chunks::<8>().0.get(index).map_or(0, |word| u64::from_le_bytes(*word));
            let link = Link { bias: word(0), name: word(1), dynamic: word(2), next: word(3) };
            let symbols = Symbols::of(self, &link);
            if let Some(address) = symbols.as_ref().and_then(|symbols| symbols.function(b"malloc")) {
                let is_glibc = symbols.is_some_and(|symbols| symbols.function(b"gnu_get_libc_version").is_some());
                return Some(Provider { path: self.text(link.name), address, is_glibc });
            }
            at = link.next;
        }
        None
    }
}

/// A module's symbols for the dynamic linker.
struct Symbols<'a> {
    memory: &'a Memory<'a>,
    bias: u64,
    table: u64,
    names: u64,
    gnu_hash: Option<u64>,
    hash: Option<u64>,
}

impl<'a> Symbols<'a> {
    fn of(memory: &'a Memory<'a>, link: &Link) -> Option<Self> {
        let (mut table, mut names, mut gnu_hash, mut hash) = (None, None, None, None);
        for (tag, value) in memory.entries(link.dynamic) {
            // glibc relocates these in place, others do not.
            let address = if value < link.bias { value.checked_add(link.bias) } else { Some(value) };
            match elf::DynamicTag(tag) {
                elf::DT_SYMTAB => table = address,
                elf::DT_STRTAB => names = address,
                elf::DT_GNU_HASH => gnu_hash = address,
                elf::DT_HASH => hash = address,
                _ => {}
            }
        }
        Some(Self { memory, bias: link.bias, table: table?, names: names?, gnu_hash, hash })
    }

    /// Where a function is that the module defines for others.
    fn function(&self, name: &[u8]) -> Option<u64> {
        match (self.gnu_hash, self.hash) {
            (Some(table), _) => self.by_gnu_hash(table, name),
            (None, Some(table)) => self.by_hash(table, name),
            (None, None) => None,
        }
    }

    fn by_gnu_hash(&self, table: u64, name: &[u8]) -> Option<u64> {
        let hash = elf::gnu_hash(name);
        let [buckets, first, blooms] = [0, 1, 2].map(|index| self.memory.nth(table, index));
        let (buckets, first, blooms) = (buckets.filter(|count| *count > 0)?, first?, blooms?);
        let heads = table.checked_add(16 + 8 * u64::from(blooms))?;
        let chains = heads.checked_add(4 * u64::from(buckets))?;
        let head = self.memory.nth(heads, (hash % buckets).into())?;
        for index in (u64::from(head)..).take(MOST_SYMBOLS as usize) {
            // A bucket without symbols begins with 0, which is none that is hashed.
            let own = self.memory.nth(chains, index.checked_sub(first.into())?)?;
            // The lowest bit marks the end of a chain.
            if own | 1 == hash | 1
                && let Some(address) = self.symbol(index, name)
            {
                return Some(address);
            }
            if own & 1 == 1 {
                return None;
            }
        }
        None
    }

    fn by_hash(&self, table: u64, name: &[u8]) -> Option<u64> {
        let buckets = self.memory.half(table).filter(|count| *count > 0)?;
        let mut index = self.memory.nth(table, 2 + u64::from(elf::hash(name) % buckets))?;
        for _ in 0..MOST_SYMBOLS {
            if index == 0 {
                return None;
            }
            if let Some(address) = self.symbol(index.into(), name) {
                return Some(address);
            }
            index = self.memory.nth(table, 2 + u64::from(buckets) + u64::from(index))?;
        }
        None
    }

    /// The address of a symbol, if it is a function of that name, and defined here.
    fn symbol(&self, index: u64, name: &[u8]) -> Option<u64> {
        let bytes: [u8; SYMBOL as usize] = self.memory.bytes(self.table.checked_add(index.checked_mul(SYMBOL)?)?)?;
        let own = u32::from_le_bytes(*bytes.first_chunk()?);
        let section = u16::from_le_bytes([bytes[6], bytes[7]]);
        let value = u64::from_le_bytes(*bytes[8..].first_chunk()?);
        let is_function = matches!(elf::SymbolType(bytes[4] & 15), elf::STT_FUNC | elf::STT_GNU_IFUNC);
        let is_defined = elf::SymbolSection(section) != elf::SHN_UNDEF && is_function;
        let is_wanted = is_defined && self.memory.is_text(self.names.checked_add(own.into())?, name);
        is_wanted.then(|| self.bias.wrapping_add(value))
    }
}

#[cfg(test)]
mod tests;
