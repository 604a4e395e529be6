//! Where the sections of a module come from.

use gimli::RunTimeEndian;
use object::{Object, ObjectSection};
use std::fmt;
use target::ByteOrder;
use target::modules::{Content, FileSet, Files, Role, Surveyed};

/// Which of a module's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The module's file, or its separate debug file.
    Own,
    /// What dwz has moved out of several modules.
    Alternate,
    /// The .dwp.
    Package,
}

/// The sections of a module's files.
pub trait Source<'a> {
    /// The byte order of the module.
    fn endian(&self) -> RunTimeEndian;

    /// Whether there is such a file.
    fn has(&self, part: Part) -> bool;

    /// A section's content, inflated where it is compressed; empty if there is none of that name.
    ///
    /// # Errors
    /// Why it cannot be read, as a fragment that names the file and the section.
    fn section(&self, part: Part, name: &str) -> Result<&'a [u8], String>;

    /// The content of another file, such as a .dwo.
    ///
    /// # Errors
    /// Why it cannot be read, as a fragment that names the file.
    fn other(&self, path: &str) -> Result<&'a [u8], String>;
}

/// Which of a module's files has its debug information.
pub fn debug_role(module: &Surveyed) -> Role {
    let within = module.section_named(Some(Role::Main), ".debug_info").is_some();
    if within { Role::Main } else { Role::Debug }
}

/// How many modules have no debug information; `None` if all have.
pub fn without_debug_info(set: &FileSet) -> Option<String> {
    let has = |module: &Surveyed| module.section_named(Some(debug_role(module)), ".debug_info").is_some();
    let (bare, all) = (set.modules.iter().filter(|module| !has(module)).count(), set.modules.len());
    (bare > 0).then(|| format!("no debug information in {bare} of {all} modules"))
}

/// A module of a set of files.
#[derive(Clone, Copy, Debug)]
pub struct ModuleSource<'a> {
    files: &'a Files,
    module: usize,
    /// Which of its files has the debug information.
    own: Role,
}

impl<'a> ModuleSource<'a> {
    pub fn new(files: &'a Files, module: usize) -> Self {
        Self { files, module, own: debug_role(&files.set().modules[module]) }
    }

    /// The number of a section of debug information among the module's, if there is one of that name.
    pub fn section_number(&self, name: &str) -> Option<usize> {
        self.files.set().modules[self.module].section_named(Some(self.own), name)
    }

    fn role(&self, part: Part) -> Role {
        match part {
            Part::Own => self.own,
            Part::Alternate => Role::Alternate,
            Part::Package => Role::Package,
        }
    }
}

impl<'a> Source<'a> for ModuleSource<'a> {
    fn endian(&self) -> RunTimeEndian {
        match self.files.set().modules[self.module].layout.byte_order {
            ByteOrder::Little => RunTimeEndian::Little,
            ByteOrder::Big => RunTimeEndian::Big,
        }
    }

    fn has(&self, part: Part) -> bool {
        self.files.set().modules[self.module].file(self.role(part)).is_some()
    }

    fn section(&self, part: Part, name: &str) -> Result<&'a [u8], String> {
        let bytes = self.files.section_named(self.module, Some(self.role(part)), name);
        bytes.map_err(|error| format!("{name} of {error}"))
    }

    fn other(&self, path: &str) -> Result<&'a [u8], String> {
        // Where the module was found, in the view of a process or in ours, what belongs to it is looked for.
        let pid = self.files.set().modules[self.module].files.iter().find_map(|file| match file.content {
            Content::Path { pid, .. } => Some(pid),
            _ => None,
        });
        self.files.other(path, pid.flatten()).map_err(|error| error.to_string())
    }
}

/// The same sections, for those who hold them together with what is there for less long.
#[derive(Clone, Copy)]
pub struct Briefly<'a>(pub &'a dyn Source<'a>);

impl fmt::Debug for Briefly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Briefly").finish_non_exhaustive()
    }
}

impl<'b, 'a: 'b> Source<'b> for Briefly<'a> {
    fn endian(&self) -> RunTimeEndian {
        self.0.endian()
    }

    fn has(&self, part: Part) -> bool {
        self.0.has(part)
    }

    fn section(&self, part: Part, name: &str) -> Result<&'b [u8], String> {
        self.0.section(part, name)
    }

    fn other(&self, path: &str) -> Result<&'b [u8], String> {
        self.0.other(path)
    }
}

/// A single file whose sections are not compressed.
#[derive(Debug)]
pub struct ObjectSource<'a>(object::File<'a, &'a [u8]>);

impl<'a> ObjectSource<'a> {
    /// # Errors
    /// If it is not an object file.
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        object::File::parse(bytes).map(Self).map_err(|error| error.to_string())
    }

    /// The file itself.
    pub fn file(&self) -> &object::File<'a, &'a [u8]> {
        &self.0
    }
}

impl<'a> Source<'a> for ObjectSource<'a> {
    fn endian(&self) -> RunTimeEndian {
        if self.0.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big }
    }

    fn has(&self, part: Part) -> bool {
        part == Part::Own
    }

    fn section(&self, _: Part, name: &str) -> Result<&'a [u8], String> {
        let Some(section) = self.0.section_by_name_bytes(name.as_bytes()) else { return Ok(&[]) };
        let range = section.compressed_file_range().map_err(|error| format!("{name}: {error}"))?;
        if range.format != object::CompressionFormat::None {
            return Err(format!("{name} is compressed"));
        }
        section.data().map_err(|error| format!("{name}: {error}"))
    }

    fn other(&self, path: &str) -> Result<&'a [u8], String> {
        Err(format!("{path} is not read here"))
    }
}
