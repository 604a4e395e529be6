//! What a survey of a module finds.

use super::Module;
use crate::Layout;
use object::elf;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::Metadata;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;

/// A module's files and their sections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surveyed {
    /// As the target names it.
    pub path: String,
    /// Of its file, or of what is loaded where there is no such file here; empty if it has none.
    pub build_id: Vec<u8>,
    pub layout: Layout,
    pub machine: Machine,
    /// Whether its file is loaded at the addresses in it, so that its code and data may hold them as they are.
    pub fixed: bool,
    /// Where its file's first byte is loaded; `None` if it is not.
    pub base: Option<u64>,
    /// What is added to the file's addresses, wrapping around, to get those of the target; `None` if the module is not loaded, or it has no file that
    /// tells.
    pub bias: Option<u64>,
    /// The main file first, if it could be read; empty if none could. An inflated section has a file of its own.
    pub files: Vec<FileRef>,
    pub sections: Vec<Section>,
    /// What is wrong, or was refused: lines for the user, each of which names its file.
    pub problems: Vec<String>,
}

impl Surveyed {
    /// A module of which nothing has been read yet.
    pub(super) fn nothing(module: &Module) -> Self {
        Self {
            path: module.path.clone(),
            build_id: module.build_id.clone(),
            layout: Layout::default(),
            machine: Machine::default(),
            fixed: false,
            base: module.base,
            bias: None,
            files: Vec::new(),
            sections: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// A module that could not be surveyed, and why.
    pub fn unread(module: &Module, why: &str) -> Self {
        Self { problems: vec![format!("{}: {why}", module.path)], ..Self::nothing(module) }
    }

    /// The section of that name which has bytes: in the first file with that role, or if none is given, in the first of the
    /// main, the debug and the mini file that has one.
    pub fn section_named(&self, role: Option<Role>, name: &str) -> Option<usize> {
        let named = |role: Role| {
            let fits = |section: &Section| {
                section.name == name && section.has_bytes() && self.files[section.file].role == role
            };
            self.sections.iter().position(fits)
        };
        match role {
            Some(role) => named(role),
            None => [Role::Main, Role::Debug, Role::Mini].into_iter().find_map(named),
        }
    }

    /// The `.debug_info` of the module itself: in its own file, or in its debug file.
    pub fn debug_info(&self) -> Option<usize> {
        [Role::Main, Role::Debug].into_iter().find_map(|role| self.section_named(Some(role), ".debug_info"))
    }

    /// What the file that a section is in is to the module.
    pub fn role(&self, section: usize) -> Role {
        self.files[self.sections[section].file].role
    }

    /// What symbols of a file that has yet to be linked count from, by the number of their section in it; empty for other files, whose
    /// symbols have addresses.
    pub fn bases(&self, file: usize) -> Vec<u64> {
        if !self.files[file].relocatable {
            return Vec::new();
        }
        let own = || self.sections.iter().filter(|section| section.file == file);
        let mut addresses = vec![0; own().map(|section| section.index + 1).max().unwrap_or_default()];
        for section in own() {
            addresses[section.index] = section.address;
        }
        addresses
    }

    /// Whether it has yet to be linked. What dwz makes for several files to share is an object file too, and says nothing of them.
    pub fn is_unlinked(&self) -> bool {
        self.files.iter().any(|file| file.role == Role::Main && file.relocatable)
    }

    /// The sections that are loaded, of the file that is.
    pub fn loaded(&self) -> impl Iterator<Item = &Section> {
        let role = if self.file(Role::Main).is_some() { Role::Main } else { Role::Debug };
        // Thread-local variables that are zero take no room where their section says that it is.
        let loaded = move |section: &&Section| {
            section.alloc
                && section.size > 0
                && self.files[section.file].role == role
                && !section.name.starts_with(".tbss")
        };
        self.sections.iter().filter(loaded)
    }

    /// Where there is code, in the file's own addresses and ascending order.
    pub fn code(&self) -> Vec<Range<u64>> {
        let code = self.loaded().filter(|section| section.execute);
        let mut code: Vec<_> = code.map(|part| part.address..part.address.saturating_add(part.size)).collect();
        code.sort_unstable_by_key(|range| range.start);
        code
    }

    /// The sections that are the module's symbol tables.
    pub fn symbol_tables(&self) -> impl Iterator<Item = usize> {
        let is_table = |section: &usize| {
            let section = &self.sections[*section];
            matches!(self.files[section.file].role, Role::Main | Role::Debug | Role::Mini)
                && matches!(elf::SectionType(section.kind), elf::SHT_SYMTAB | elf::SHT_DYNSYM)
                && section.has_bytes()
        };
        (0..self.sections.len()).filter(is_table)
    }

    /// The first file with that role.
    pub fn file(&self, role: Role) -> Option<usize> {
        self.files.iter().position(|file| file.role == role)
    }

    /// The sections that have to be inflated before they can be read.
    pub fn compressed(&self) -> impl Iterator<Item = usize> {
        (0..self.sections.len()).filter(|section| self.sections[*section].compressed.is_some())
    }

    /// Notes that a section has been inflated into the memory file that is number `slot` among the job's descriptors.
    pub fn share(&mut self, section: usize, slot: usize) {
        if let Some(file) = self.sections[section].inflated {
            self.files[file].content = Content::Shared { slot };
        }
    }
}

/// A file of a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    pub role: Role,
    /// Where it is read; of an inflated section, the file that it is in.
    pub path: String,
    pub content: Content,
    /// In bytes.
    pub size: u64,
    /// Whether it has yet to be linked (an object file, a kernel module): its debug sections are relocated when they are read.
    pub relocatable: bool,
}

/// What a file is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// What is loaded.
    Main,
    /// Its separate debug file.
    Debug,
    /// What several debug files have in common, as dwz makes it.
    Alternate,
    /// Split debug information of the whole module (`.dwp`).
    Package,
    /// The symbols that `.gnu_debugdata` holds.
    Mini,
    /// A section that is compressed in another file.
    Inflated,
}

/// Where a file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A file, as process `pid` sees it or as we do.
    Path {
        pid: Option<u64>,
        identity: Identity,
    },
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A memory file among the job's descriptors.
    Shared {
        slot: usize,
    },
    /// This section, inflated by whoever needs it.
    Section(usize),
}

/// What tells a file from one that has taken its place, or from itself once it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub device: u64,
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// When it was last written: seconds and nanoseconds.
    pub modified: (i64, i64),
}

impl Identity {
    pub fn of(data: &Metadata) -> Self {
        Self { device: data.dev(), inode: data.ino(), size: data.len(), modified: (data.mtime(), data.mtime_nsec()) }
    }
}

/// A section of one of a module's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// At most 255 bytes of it. `.zdebug_info` is called `.debug_info`.
    pub name: String,
    /// The number of its file.
    pub file: usize,
    /// Its number in its file's section table.
    pub index: usize,
    /// The `sh_type` of its header.
    pub kind: u32,
    /// Its bytes in its file, as they are there; empty for one that has none.
    pub range: Range<u64>,
    /// In the file's own addresses; 0 if it is not loaded.
    pub address: u64,
    /// Its bytes once it is inflated, and in the target's memory.
    pub size: u64,
    pub alloc: bool,
    pub execute: bool,
    pub write: bool,
    pub compressed: Option<Compression>,
    /// The number of the file that it is when inflated; there is one for each compressed section.
    pub inflated: Option<usize>,
}

impl Section {
    /// Whether the file has bytes of it.
    pub fn has_bytes(&self) -> bool {
        !self.range.is_empty()
    }
}

/// How a section is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compression {
    pub format: Format,
    /// Bytes at the section's beginning that are not compressed.
    pub header: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    Zlib,
    Zstd,
}

/// The machine whose code it is (`e_machine`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Machine {
    #[default]
    X86_64,
    X86,
    AArch64,
    Arm,
    RiscV,
    PowerPc,
    PowerPc64,
    S390,
    LoongArch,
    Mips,
    Other(u16),
}

impl From<elf::Machine> for Machine {
    fn from(machine: elf::Machine) -> Self {
        match machine {
            elf::EM_X86_64 => Self::X86_64,
            elf::EM_386 => Self::X86,
            elf::EM_AARCH64 => Self::AArch64,
            elf::EM_ARM => Self::Arm,
            elf::EM_RISCV => Self::RiscV,
            elf::EM_PPC => Self::PowerPc,
            elf::EM_PPC64 => Self::PowerPc64,
            elf::EM_S390 => Self::S390,
            elf::EM_LOONGARCH => Self::LoongArch,
            elf::EM_MIPS => Self::Mips,
            elf::Machine(other) => Self::Other(other),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86_64 => "x86-64",
            Self::X86 => "x86",
            Self::AArch64 => "aarch64",
            Self::Arm => "arm",
            Self::RiscV => "riscv",
            Self::PowerPc => "powerpc",
            Self::PowerPc64 => "powerpc64",
            Self::S390 => "s390",
            Self::LoongArch => "loongarch",
            Self::Mips => "mips",
            Self::Other(number) => return write!(f, "machine {number}"),
        })
    }
}
