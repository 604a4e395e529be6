//! An ELF file's tables, the same for both classes and byte orders.

use object::elf::{self, FileHeader32, FileHeader64, Rel32, Rel64, Rela32, Rela64, Sym32, Sym64};
use object::pod::{Pod, slice_from_bytes};
use object::read::elf::{FileHeader, ProgramHeader, Rel as _, Rela as _, SectionHeader, VersionTable};
use object::{Endian as _, Endianness, ReadRef, SymbolIndex};

/// A section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub kind: elf::SectionType,
    pub flags: u64,
    pub address: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Its length in memory and, unless it is `SHT_NOBITS`, in the file.
    pub size: u64,
    /// The section that it belongs to: a symbol table's strings, a relocation table's symbols.
    pub link: usize,
}

impl Part {
    pub fn is_loaded(&self) -> bool {
        self.flags & elf::SHF_ALLOC.0 != 0
    }

    /// Whether instructions are loaded there, be it from this file or from the one that it is the debug file of.
    pub fn is_executable(&self) -> bool {
        self.is_loaded() && self.flags & elf::SHF_EXECINSTR.0 != 0
    }

    /// Whether it holds instructions.
    pub fn is_code(&self) -> bool {
        self.is_executable() && self.kind == elf::SHT_PROGBITS
    }

    /// Whether it holds the stubs through which functions of other modules are called.
    pub fn is_plt(&self) -> bool {
        self.is_code() && (self.name == ".iplt" || self.name.starts_with(".plt"))
    }

    /// Whether it holds the slots of the global offset table.
    pub fn is_got(&self) -> bool {
        self.name.starts_with(".got") || self.name.starts_with(".igot")
    }

    pub fn contains(&self, address: u64) -> bool {
        address >= self.address && address - self.address < self.size
    }
}

/// A symbol, without its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    pub value: u64,
    pub size: u64,
    pub kind: elf::SymbolType,
    pub section: elf::SymbolSection,
    /// Where its name begins in the table's strings.
    pub name: u32,
}

impl Symbol {
    /// Whether it names an address of its file.
    pub fn is_place(&self) -> bool {
        let kinds = [elf::STT_TLS, elf::STT_FILE, elf::STT_SECTION];
        self.section != elf::SHN_UNDEF && self.section != elf::SHN_ABS && !kinds.contains(&self.kind)
    }

    /// Whether it names what each thread has of its own of the file.
    pub fn is_thread_local(&self) -> bool {
        self.section != elf::SHN_UNDEF && self.kind == elf::STT_TLS
    }
}

/// A symbol table.
#[derive(Clone, Copy, Debug)]
pub struct Symbols<'a> {
    entries: Entries<'a, Sym32<Endianness>, Sym64<Endianness>>,
    strings: &'a [u8],
    endian: Endianness,
}

impl<'a> Symbols<'a> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<Symbol> {
        let endian = self.endian;
        Some(match self.entries {
            Entries::Small(entries) => symbol(entries.get(index)?, endian),
            Entries::Large(entries) => symbol(entries.get(index)?, endian),
        })
    }

    /// All of them with their numbers, but for the first, which is none.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Symbol)> + use<'a> {
        let table = *self;
        (1..self.len()).filter_map(move |index| Some((index, table.get(index)?)))
    }

    /// A symbol's name; empty if it is not within the strings.
    pub fn name(&self, symbol: &Symbol) -> &'a [u8] {
        let rest = usize::try_from(symbol.name).ok().and_then(|start| self.strings.get(start..)).unwrap_or_default();
        &rest[..memchr::memchr(0, rest).unwrap_or(rest.len())]
    }

    /// Whether that is a symbol's name.
    pub fn is_named(&self, symbol: &Symbol, name: &[u8]) -> bool {
        let rest = usize::try_from(symbol.name).ok().and_then(|start| self.strings.get(start..)).unwrap_or_default();
        rest.starts_with(name) && rest.get(name.len()).is_none_or(|byte| *byte == 0)
    }
}

fn symbol<S: object::read::elf::Sym<Endian = Endianness>>(entry: &S, endian: Endianness) -> Symbol {
    Symbol {
        value: entry.st_value(endian).into(),
        size: entry.st_size(endian).into(),
        kind: entry.st_type(),
        section: entry.st_shndx(endian),
        name: entry.st_name(endian),
    }
}

/// A table's entries in the file's class.
#[derive(Clone, Copy, Debug)]
enum Entries<'a, S, L> {
    Small(&'a [S]),
    Large(&'a [L]),
}

impl<'a, S: Pod, L: Pod> Entries<'a, S, L> {
    /// As many whole entries as `bytes` hold.
    fn new(bytes: &'a [u8], large: bool) -> Self {
        if large { Self::Large(whole(bytes)) } else { Self::Small(whole(bytes)) }
    }

    fn len(&self) -> usize {
        match self {
            Self::Small(entries) => entries.len(),
            Self::Large(entries) => entries.len(),
        }
    }
}

fn whole<T: Pod>(bytes: &[u8]) -> &[T] {
    slice_from_bytes(bytes, bytes.len() / size_of::<T>()).map_or(&[], |(entries, _)| entries)
}

/// An entry of a relocation table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub place: u64,
    pub kind: elf::RelocationType,
    pub symbol: usize,
    /// `None` where it is in the place itself.
    pub addend: Option<u64>,
}

/// Sections that end behind this address are not loaded.
const LAST: u64 = u64::MAX - (1 << 20);

/// Words are read in blocks of so many bytes.
const BLOCK: u64 = 64 << 10;

/// A file, of which the tables are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Elf<R> {
    data: R,
    pub endian: Endianness,
    /// Whether it is of the 64-bit class.
    pub large: bool,
    pub machine: elf::Machine,
    /// Whether it is loaded at the addresses in it, so that code and data may hold them as they are.
    pub fixed: bool,
    /// How far below the thread pointer what each thread has of the file begins, if that is x86-64 code, and the program's: code of
    /// libraries, of which nobody knows where theirs will be, has no offsets from the thread pointer.
    pub thread_block: Option<u64>,
    pub parts: Vec<Part>,
    /// What is loaded from the file: address, offset in the file, length.
    segments: Vec<(u64, u64, u64)>,
}

impl<'a, R: ReadRef<'a>> Elf<R> {
    /// # Errors
    /// If it is no ELF file, or its headers are not within it; a fragment that says what is wrong.
    pub fn parse(data: R) -> Result<Self, String> {
        let class = data.read_bytes_at(0, 5).map_err(|()| "the file is too short".to_owned())?;
        let file = match class[4] {
            1 => Self::parse_class::<FileHeader32<Endianness>>(data),
            _ => Self::parse_class::<FileHeader64<Endianness>>(data),
        };
        let file = file.map_err(|error| error.to_string())?;
        // Each of them is read; in a sound file they lie beside one another.
        let read = file.parts.iter().filter(|part| part.is_loaded() && part.kind != elf::SHT_NOBITS);
        let all = read.map(|part| part.size).fold(0, u64::saturating_add);
        let length = data.len().map_err(|()| "it cannot be read".to_owned())?;
        if all > length { Err("its sections overlap, or it is cut off".to_owned()) } else { Ok(file) }
    }

    fn parse_class<H: FileHeader<Endian = Endianness>>(data: R) -> object::Result<Self> {
        let header = H::parse(data)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, data)?;
        let part = |section: &H::SectionHeader| {
            let (address, size) = (section.sh_addr(endian).into(), section.sh_size(endian).into());
            // Nothing is loaded at the end of the address space.
            let sound = address.checked_add(size).is_some_and(|end| end <= LAST);
            Part {
                name: String::from_utf8_lossy(sections.section_name(endian, section).unwrap_or_default()).into_owned(),
                kind: section.sh_type(endian),
                flags: if sound { section.sh_flags(endian).0 } else { 0 },
                address: if sound { address } else { 0 },
                offset: section.sh_offset(endian).into(),
                size,
                link: section.sh_link(endian) as usize,
            }
        };
        let loaded = header.program_headers(endian, data)?.iter().filter(|part| part.p_type(endian) == elf::PT_LOAD);
        let segments = loaded.map(|part| {
            let (offset, length) = part.file_range(endian);
            (part.p_vaddr(endian).into(), offset, length)
        });
        let thread_local = header.program_headers(endian, data)?.iter().find(|part| part.p_type(endian) == elf::PT_TLS);
        let thread_block = thread_local.map(|part| {
            thread_block(part.p_vaddr(endian).into(), part.p_memsz(endian).into(), part.p_align(endian).into())
        });
        Ok(Self {
            data,
            endian,
            large: header.is_class_64(),
            machine: header.e_machine(endian),
            fixed: header.e_type(endian) == elf::ET_EXEC,
            thread_block: thread_block.filter(|_| header.e_machine(endian) == elf::EM_X86_64),
            parts: sections.iter().map(part).collect(),
            segments: segments.collect(),
        })
    }

    /// A section's bytes; none for one that has none in the file.
    ///
    /// # Errors
    /// If they reach beyond the file's end.
    pub fn bytes(&self, part: &Part) -> Result<&'a [u8], String> {
        if part.kind == elf::SHT_NOBITS {
            return Ok(&[]);
        }
        let error = |()| format!("section {} reaches beyond the end of the file", part.name);
        self.data.read_bytes_at(part.offset, part.size).map_err(error)
    }

    /// The bytes of a section from `start` to `end`, offsets in it.
    ///
    /// # Errors
    /// If they reach beyond the section's or the file's end.
    pub fn bytes_in(&self, part: &Part, start: u64, end: u64) -> Result<&'a [u8], String> {
        let error = || format!("section {} reaches beyond the end of the file", part.name);
        let length = end.checked_sub(start).filter(|_| end <= part.size && part.kind != elf::SHT_NOBITS);
        let offset = part.offset.checked_add(start);
        let (length, offset) = length.zip(offset).ok_or_else(error)?;
        self.data.read_bytes_at(offset, length).map_err(|()| error())
    }

    /// The first section of that name; `None` if there is none.
    pub fn named(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The section that is loaded at an address.
    pub fn part_at(&self, address: u64) -> Option<&Part> {
        // A template of thread-local variables has addresses that others have, too.
        let own = |part: &&Part| part.is_loaded() && part.flags & elf::SHF_TLS.0 == 0;
        self.parts.iter().filter(own).find(|part| part.contains(address))
    }

    /// The table of that kind, `SHT_SYMTAB` or `SHT_DYNSYM`; empty if there is none.
    ///
    /// # Errors
    /// If it, or its strings, reach beyond the end of the file.
    pub fn symbols(&self, kind: elf::SectionType) -> Result<Symbols<'a>, String> {
        let table = self.parts.iter().find(|part| part.kind == kind);
        let bytes = table.map_or(Ok(&[][..]), |part| self.bytes(part))?;
        let strings = table.and_then(|part| self.parts.get(part.link)).map_or(Ok(&[][..]), |part| self.bytes(part))?;
        Ok(Symbols { entries: Entries::new(bytes, self.large), strings, endian: self.endian })
    }

    /// The versions of the dynamic symbols.
    pub fn versions(&self) -> Versions<'a> {
        if self.large {
            Versions::Large(self.versions_of::<FileHeader64<Endianness>>(), self.endian)
        } else {
            Versions::Small(self.versions_of::<FileHeader32<Endianness>>(), self.endian)
        }
    }

    /// What is wrong with a table of versions costs the versions alone: then symbols are known by name.
    fn versions_of<H: FileHeader<Endian = Endianness>>(&self) -> VersionTable<'a, H> {
        let sections = H::parse(self.data).and_then(|header| header.sections(self.endian, self.data));
        let versions = sections.and_then(|sections| sections.versions(self.endian, self.data));
        versions.ok().flatten().unwrap_or_default()
    }

    /// The size of an entry of a table of relocations; `None` if it is no such table.
    pub fn entry_size(&self, part: &Part) -> Option<usize> {
        Some(match (part.kind, self.large) {
            (elf::SHT_RELA, true) => size_of::<Rela64<Endianness>>(),
            (elf::SHT_RELA, false) => size_of::<Rela32<Endianness>>(),
            (elf::SHT_REL, true) => size_of::<Rel64<Endianness>>(),
            (elf::SHT_REL, false) => size_of::<Rel32<Endianness>>(),
            (elf::SHT_RELR, _) => self.pointer(),
            _ => return None,
        })
    }

    /// The entries that `bytes`, of the table `part`, hold. Of `SHT_RELR` there are none: see [`relr`](Self::relr).
    pub fn entries(&self, part: &Part, bytes: &'a [u8]) -> impl Iterator<Item = Entry> + use<'a, R> {
        let endian = self.endian;
        let with = part.kind == elf::SHT_RELA;
        let without = part.kind == elf::SHT_REL;
        let only = |wanted: bool| if wanted { bytes } else { &[] };
        let rela = whole::<Rela64<Endianness>>(only(with && self.large)).iter().map(move |entry| Entry {
            place: entry.r_offset(endian),
            kind: entry.r_type(endian, false),
            symbol: entry.r_sym(endian, false) as usize,
            addend: Some(entry.r_addend(endian) as u64),
        });
        let rela_small = whole::<Rela32<Endianness>>(only(with && !self.large)).iter().map(move |entry| Entry {
            place: entry.r_offset(endian).into(),
            kind: entry.r_type(endian),
            symbol: entry.r_sym(endian) as usize,
            addend: Some(entry.r_addend(endian) as u32 as u64),
        });
        let rel = whole::<Rel64<Endianness>>(only(without && self.large)).iter().map(move |entry| Entry {
            place: entry.r_offset(endian),
            kind: entry.r_type(endian),
            symbol: entry.r_sym(endian) as usize,
            addend: None,
        });
        let rel_small = whole::<Rel32<Endianness>>(only(without && !self.large)).iter().map(move |entry| Entry {
            place: entry.r_offset(endian).into(),
            kind: entry.r_type(endian),
            symbol: entry.r_sym(endian) as usize,
            addend: None,
        });
        rela.chain(rela_small).chain(rel).chain(rel_small)
    }

    /// The places that a whole table of `SHT_RELR` names, of words to be adjusted by the load address.
    pub fn relr(&self, bytes: &'a [u8]) -> impl Iterator<Item = u64> + use<'a, R> {
        use object::read::elf::RelrIterator;
        let (small, large) = if self.large { (&[][..], bytes) } else { (bytes, &[][..]) };
        let small = RelrIterator::<FileHeader32<Endianness>>::new(self.endian, whole(small)).map(u64::from);
        small.chain(RelrIterator::<FileHeader64<Endianness>>::new(self.endian, whole(large)))
    }

    /// The size of a pointer, in bytes.
    pub fn pointer(&self) -> usize {
        if self.large { 8 } else { 4 }
    }

    /// A pointer at the front of `bytes`.
    pub fn word(&self, bytes: &[u8]) -> Option<u64> {
        if self.large {
            Some(self.endian.read_u64(*bytes.first_chunk()?))
        } else {
            Some(self.endian.read_u32(*bytes.first_chunk()?).into())
        }
    }

    /// The pointer that the file has for an address; `None` where nothing is loaded from it.
    pub fn word_at(&self, address: u64) -> Option<u64> {
        let holds = |segment: &&(u64, u64, u64)| address >= segment.0 && address - segment.0 < segment.2;
        let &(start, offset, length) = self.segments.iter().find(holds)?;
        let within = address - start;
        let end = within.checked_add(self.pointer() as u64).filter(|end| *end <= length)?;
        // Neighbours are asked for, too, so they are read together.
        let block = within / BLOCK * BLOCK;
        let last = block.saturating_add(BLOCK).max(end).min(length);
        let bytes = self.data.read_bytes_at(offset.checked_add(block)?, last - block).ok()?;
        self.word(bytes.get((within - block) as usize..)?)
    }
}

/// How far below the thread pointer the first module's block of thread-local variables begins, whose segment has these headers: as
/// glibc lays it out, after "ELF Handling For Thread-Local Storage", variant II.
fn thread_block(address: u64, size: u64, align: u64) -> u64 {
    let align = align.max(1);
    let first = address.wrapping_neg() % align;
    size.saturating_sub(first).div_ceil(align).saturating_mul(align).saturating_add(first)
}

/// The versions of a file's dynamic symbols.
#[derive(Clone, Debug)]
pub enum Versions<'a> {
    Small(VersionTable<'a, FileHeader32<Endianness>>, Endianness),
    Large(VersionTable<'a, FileHeader64<Endianness>>, Endianness),
}

impl<'a> Versions<'a> {
    /// The version of a dynamic symbol; `None` if it has none.
    pub fn get(&self, symbol: usize) -> Option<&'a [u8]> {
        match self {
            Self::Small(table, endian) => version(table, *endian, symbol),
            Self::Large(table, endian) => version(table, *endian, symbol),
        }
    }
}

fn version<'a, H: FileHeader<Endian = Endianness>>(
    table: &VersionTable<'a, H>,
    endian: Endianness,
    symbol: usize,
) -> Option<&'a [u8]> {
    let index = table.version_index(endian, SymbolIndex(symbol)).index();
    table.version(index).ok().flatten().map(|version| version.name())
}
