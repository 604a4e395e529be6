//! Symbol tables of ELF files, as the gABI describes them.

use object::read::elf::{FileHeader, Sym};
use object::{BigEndian, LittleEndian, elf};
use serde::{Deserialize, Serialize};
use target::modules::{FileError, Files, Machine};
use target::{ByteOrder, Layout};

/// Of a longer name, this much is looked at, in bytes.
const LONGEST_NAME: usize = 1 << 16;

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    Function,
    Data,
    /// Neither, or not known.
    Other,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Data => "data",
            Self::Other => "other",
        }
    }
}

/// A symbol table and the names in it.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    entries: &'a [u8],
    names: &'a [u8],
    layout: Layout,
    machine: Machine,
    bias: Option<u64>,
    /// For the sections of its file: whether they are loaded, and whether there is code in them.
    sections: Vec<(bool, bool)>,
    /// Where they lie, if symbols count from there because the file has yet to be linked.
    addresses: Vec<u64>,
    pub(super) dynamic: bool,
}

/// A symbol that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol<'a> {
    /// As it is in the table.
    pub(super) name: &'a [u8],
    pub(super) kind: Kind,
    /// Whether the module only uses it.
    pub(super) undefined: bool,
    /// Whether each thread has its own.
    pub(super) thread_local: bool,
    /// Its address in the file's own terms, or whatever else stands there.
    pub(super) value: u64,
    /// In the target's memory, or in the file if it is not loaded; `None` if it has none of its own.
    pub(super) address: Option<u64>,
    pub(super) size: u64,
}

struct Raw {
    name: u32,
    info: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// The bytes of an entry.
pub(crate) fn entry_size(layout: Layout) -> u64 {
    if layout.pointer_size == 4 { 16 } else { 24 }
}

impl<'a> Table<'a> {
    /// # Errors
    /// If its file cannot be read.
    pub(super) fn open(files: &'a Files, module: usize, section: usize) -> Result<Self, FileError> {
        let surveyed = &files.set().modules[module];
        let table = &surveyed.sections[section];
        let dynamic = elf::SectionType(table.kind) == elf::SHT_DYNSYM;
        let own = || surveyed.sections.iter().filter(|section| section.file == table.file);
        let mut sections = vec![(false, false); own().map(|section| section.index + 1).max().unwrap_or_default()];
        for section in own() {
            sections[section.index] = (section.alloc, section.execute);
        }
        Ok(Self {
            entries: files.section(module, section)?,
            names: beside(files, module, section, if dynamic { ".dynstr" } else { ".strtab" })?,
            layout: surveyed.layout,
            machine: surveyed.machine,
            bias: surveyed.bias,
            sections,
            addresses: surveyed.bases(table.file),
            dynamic,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() / entry_size(self.layout) as usize
    }

    /// The symbol in entry `index`. `None` for what is no symbol to a user: sections, source files, and what has no name.
    ///
    /// # Errors
    /// If its name lies outside of the table's names.
    #[inline]
    pub(super) fn symbol(&self, index: usize) -> Result<Option<Symbol<'a>>, ()> {
        let size = entry_size(self.layout) as usize;
        let Some(entry) = self.entries.get(index * size..(index + 1) * size) else { return Ok(None) };
        let Raw { name, info, section, value, size: length } = self.raw(entry).ok_or(())?;
        let name = name as usize;
        let sort = elf::SymbolType(info & 0xf);
        if matches!(sort, elf::STT_SECTION | elf::STT_FILE) || name == 0 {
            return Ok(None);
        }
        let rest = self.names.get(name..).filter(|rest| !rest.is_empty()).ok_or(())?;
        let rest = &rest[..rest.len().min(LONGEST_NAME)];
        let name = &rest[..memchr::memchr(0, rest).unwrap_or(rest.len())];
        if name.is_empty() {
            return Ok(None);
        }
        let section = elf::SymbolSection(section);
        let (undefined, thread_local) = (section == elf::SHN_UNDEF, sort == elf::STT_TLS);
        // The lowest bit of a function's says that it is of Thumb instructions.
        let value = if self.machine == Machine::Arm && sort == elf::STT_FUNC { value & !1 } else { value };
        let address = match section {
            _ if thread_local => None,
            elf::SHN_UNDEF | elf::SHN_COMMON => None,
            elf::SHN_ABS => Some(value),
            _ => Some(self.loaded(value.wrapping_add(self.addresses.get(section.0 as usize).copied().unwrap_or(0)))),
        };
        let kind = self.kind(sort, section);
        Ok(Some(Symbol { name, kind, undefined, thread_local, value, address, size: length }))
    }

    /// The fields of an entry.
    #[inline]
    fn raw(&self, entry: &[u8]) -> Option<Raw> {
        fn fields<H: FileHeader>(entry: &[u8], endian: H::Endian) -> Option<Raw> {
            let (symbol, _) = object::pod::from_bytes::<H::Sym>(entry).ok()?;
            Some(Raw {
                name: symbol.st_name(endian),
                info: symbol.st_info().0,
                section: symbol.st_shndx(endian).0,
                value: symbol.st_value(endian).into(),
                size: symbol.st_size(endian).into(),
            })
        }
        match (self.layout.pointer_size, self.layout.byte_order) {
            (4, ByteOrder::Little) => fields::<elf::FileHeader32<LittleEndian>>(entry, LittleEndian),
            (4, ByteOrder::Big) => fields::<elf::FileHeader32<BigEndian>>(entry, BigEndian),
            (_, ByteOrder::Little) => fields::<elf::FileHeader64<LittleEndian>>(entry, LittleEndian),
            (_, ByteOrder::Big) => fields::<elf::FileHeader64<BigEndian>>(entry, BigEndian),
        }
    }

    /// The value in entry `index`, whatever it is.
    pub(super) fn value(&self, index: usize) -> u64 {
        let size = entry_size(self.layout) as usize;
        let entry = self.entries.get(index * size..(index + 1) * size);
        let value = entry.and_then(|entry| self.raw(entry)).map_or(0, |raw| raw.value);
        if self.machine == Machine::Arm { value & !1 } else { value }
    }

    fn loaded(&self, value: u64) -> u64 {
        let address = value.wrapping_add(self.bias.unwrap_or(0));
        if self.layout.pointer_size == 4 { address & 0xffff_ffff } else { address }
    }

    fn kind(&self, sort: elf::SymbolType, section: elf::SymbolSection) -> Kind {
        match sort {
            elf::STT_FUNC | elf::STT_GNU_IFUNC => Kind::Function,
            elf::STT_OBJECT | elf::STT_COMMON | elf::STT_TLS => Kind::Data,
            _ => match self.sections.get(section.0 as usize) {
                Some((true, true)) => Kind::Function,
                Some((true, false)) => Kind::Data,
                _ if section == elf::SHN_COMMON => Kind::Data,
                _ => Kind::Other,
            },
        }
    }
}

/// The section of that name in the file of another; empty if there is none.
fn beside<'a>(files: &'a Files, module: usize, section: usize, name: &str) -> Result<&'a [u8], FileError> {
    let sections = &files.set().modules[module].sections;
    let file = sections[section].file;
    let found = sections.iter().position(|other| other.file == file && other.name == name && other.has_bytes());
    found.map_or(Ok(&[]), |found| files.section(module, found))
}

/// The versions of a dynamic symbol table's symbols.
#[derive(Clone, Debug)]
pub(super) struct Versions<'a> {
    /// For each symbol, the number of its version; the highest bit says that it is not the default one.
    numbers: &'a [u8],
    layout: Layout,
    /// Name and whether it is that of the file itself, by number.
    names: Vec<Option<(&'a [u8], bool)>>,
}

/// More versions than this a file has not.
const MOST_VERSIONS: usize = 1 << 15;

impl<'a> Versions<'a> {
    /// Those of the dynamic symbol table that is this section.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn open(files: &'a Files, module: usize, section: usize) -> Result<Self, FileError> {
        let part = |name: &str| beside(files, module, section, name);
        let layout = files.set().modules[module].layout;
        let strings = part(".dynstr")?;
        let mut versions = Self { numbers: part(".gnu.version")?, layout, names: Vec::new() };
        versions.defined(part(".gnu.version_d")?, strings);
        versions.needed(part(".gnu.version_r")?, strings);
        Ok(versions)
    }

    /// Behind the name of symbol `index`, as `nm -D` writes it: `@V` for one that is used or is not the default, else `@@V`.
    pub(super) fn suffix(&self, index: usize, symbol: &Symbol<'_>) -> Vec<u8> {
        let number = self.numbers.get(index * 2..index * 2 + 2).map_or(0, |bytes| self.layout.number(bytes) as u16);
        let Some(Some((name, base))) = self.names.get(usize::from(number & 0x7fff)) else { return Vec::new() };
        // The file's own is none, and a version's own symbol is called as it is.
        if *base || *name == symbol.name {
            return Vec::new();
        }
        let hidden = number & 0x8000 != 0 || symbol.undefined;
        [if hidden { "@".as_bytes() } else { b"@@" }, name].concat()
    }

    fn put(&mut self, number: u16, name: &'a [u8], base: bool) {
        let number = usize::from(number & 0x7fff);
        if self.names.len() <= number {
            self.names.resize(number + 1, None);
        }
        self.names[number] = Some((name, base));
    }

    fn defined(&mut self, bytes: &'a [u8], strings: &'a [u8]) {
        let mut at = 0;
        for _ in 0..MOST_VERSIONS {
            let Some(entry) = bytes.get(at..).and_then(|rest| rest.get(..20)) else { return };
            let number = |from: usize, size: usize| self.layout.number(&entry[from..from + size]);
            let (flags, index, next) = (number(2, 2), number(4, 2) as u16, number(16, 4) as usize);
            let first = at.saturating_add(number(12, 4) as usize);
            if let Some(name) = bytes.get(first..).and_then(|rest| rest.get(..4)) {
                let name = string(strings, self.layout.number(name));
                self.put(index, name, flags & u64::from(elf::VER_FLG_BASE.0) != 0);
            }
            if next == 0 {
                return;
            }
            at = at.saturating_add(next);
        }
    }

    fn needed(&mut self, bytes: &'a [u8], strings: &'a [u8]) {
        let layout = self.layout;
        let mut at = 0;
        let mut left = MOST_VERSIONS;
        while left > 0 {
            let Some(entry) = bytes.get(at..).and_then(|rest| rest.get(..16)) else { return };
            let mut version = at.saturating_add(layout.number(&entry[8..12]) as usize);
            while left > 0 {
                left -= 1;
                let Some(entry) = bytes.get(version..).and_then(|rest| rest.get(..16)) else { break };
                self.put(layout.number(&entry[6..8]) as u16, string(strings, layout.number(&entry[8..12])), false);
                match layout.number(&entry[12..16]) as usize {
                    0 => break,
                    next => version = version.saturating_add(next),
                }
            }
            match layout.number(&entry[12..16]) as usize {
                0 => return,
                next => at = at.saturating_add(next),
            }
        }
    }
}

fn string(strings: &[u8], at: u64) -> &[u8] {
    let rest = usize::try_from(at).ok().and_then(|at| strings.get(at..)).unwrap_or_default();
    let rest = &rest[..rest.len().min(LONGEST_NAME)];
    &rest[..memchr::memchr(0, rest).unwrap_or(rest.len())]
}
