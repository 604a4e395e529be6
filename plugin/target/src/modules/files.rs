//! The files of a set of modules, open.

use super::data::{Data, Pieces, reopen};
use super::inflate::{Inflated, inflate_here, map_sealed};
use super::relocate::relocated;
use super::surveyed::{Content, FileRef, Role};
use super::{FileSet, open};
use crate::cache::Cache;
use crate::source::Access;
use elsa::sync::FrozenMap;
use memmap2::Mmap;
use object::ReadRef;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// So many files that are not of the set may be open. The kernel allows 65 530 mappings.
const MOST_OTHERS: usize = 1 << 15;

/// The files of a set of modules. Each is opened when it is first asked for, and its bytes are there as long as this is.
///
/// Where they are mapped ([`Access::Mapped`]), a file that is truncated meanwhile kills this process. No descriptor is kept.
#[derive(Debug)]
pub struct Files {
    set: FileSet,
    access: Access,
    cache: Option<Cache>,
    /// The memory files that sections have been inflated into.
    slots: Vec<Result<Mmap, String>>,
    /// By module and file.
    open: Vec<Vec<Slot>>,
    /// Debug sections of files that have yet to be linked, by module and section.
    relocated: FrozenMap<(usize, usize), Box<[u8]>>,
    /// By process and path.
    others: FrozenMap<(Option<u64>, String), Box<Opened>>,
}

/// A file whose bytes cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FileError {
    pub path: String,
    pub reason: String,
}

/// A file that is opened when it is first asked for.
type Slot = OnceLock<Result<Opened, FileError>>;

#[derive(Debug)]
enum Opened {
    Mapped(Mmap),
    Empty,
    Pieces(Pieces),
    Inflated(Inflated),
}

impl Opened {
    fn data(&self) -> Data<'_> {
        match self {
            Self::Mapped(map) => Data::Bytes(map),
            Self::Empty => Data::Bytes(&[]),
            Self::Pieces(pieces) => Data::Pieces(pieces),
            Self::Inflated(inflated) => Data::Bytes(inflated.bytes()),
        }
    }
}

impl Files {
    /// The files of `set`. `descriptors` are the job's memory files: those that [`Content::Shared`] counts.
    pub fn new(set: FileSet, descriptors: Vec<OwnedFd>, access: Access, cache: Option<Cache>) -> Self {
        let open = set.modules.iter().map(|module| module.files.iter().map(|_| Slot::new()).collect()).collect();
        let slots = descriptors.iter().map(|file| map_sealed(file).map_err(|error| error.to_string())).collect();
        let cache = cache.map(|cache| cache.access(access));
        Self { set, access, cache, slots, open, relocated: FrozenMap::new(), others: FrozenMap::new() }
    }

    pub fn set(&self) -> &FileSet {
        &self.set
    }

    /// Facts about these modules that were kept.
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// The bytes of a module's file.
    ///
    /// # Errors
    /// If it cannot be opened, or is another than the one that was surveyed; of an inflated section, if it is damaged.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn data(&self, module: usize, file: usize) -> Result<Data<'_>, FileError> {
        let entry = &self.set.modules[module].files[file];
        match &entry.content {
            Content::Bytes(bytes) => Ok(Data::Bytes(bytes)),
            Content::Shared { slot } => match self.slots.get(*slot) {
                Some(Ok(map)) => Ok(Data::Bytes(map)),
                Some(Err(error)) => Err(failure(entry, error)),
                None => Err(failure(entry, "its inflated section has not come along")),
            },
            Content::Path { .. } | Content::Section(_) => {
                let opened = self.open[module][file].get_or_init(|| self.open(module, entry));
                opened.as_ref().map(Opened::data).map_err(FileError::clone)
            }
        }
    }

    fn open(&self, module: usize, entry: &FileRef) -> Result<Opened, FileError> {
        match &entry.content {
            Content::Path { pid, identity } if self.access == Access::Pread => {
                Ok(Opened::Pieces(Pieces::of_path(entry.path.clone(), *pid, *identity)))
            }
            Content::Path { pid, identity } => {
                let map = reopen(&entry.path, *pid, identity).and_then(|file| super::map(&file));
                map.map(Opened::Mapped).map_err(|error| failure(entry, error))
            }
            Content::Section(section) => {
                let section = &self.set.modules[module].sections[*section];
                let compression = section.compressed.expect("it has a file of its own because it is compressed");
                let compressed = self.bytes(module, section.file, section.range.clone())?;
                let inflated = inflate_here(compressed, compression, section.size);
                inflated.map(Opened::Inflated).map_err(|error| failure(entry, format!("{}: {error}", section.name)))
            }
            Content::Bytes(_) | Content::Shared { .. } => unreachable!("they need not be opened"),
        }
    }

    /// A range of the bytes of a module's file.
    fn bytes(&self, module: usize, file: usize, range: std::ops::Range<u64>) -> Result<&[u8], FileError> {
        let entry = &self.set.modules[module].files[file];
        match self.data(module, file)? {
            Data::Bytes(bytes) => {
                bytes.read_bytes_at(range.start, range.end - range.start).map_err(|()| failure(entry, "it is cut off"))
            }
            Data::Pieces(pieces) => {
                pieces.read(range.start, range.end - range.start).map_err(|error| failure(entry, error))
            }
        }
    }

    /// The bytes of a section, inflated if it is compressed, and relocated if its file has yet to be linked and it is of the debug
    /// information; none if its file has none.
    ///
    /// # Errors
    /// As of [`data`](Self::data).
    ///
    /// # Panics
    /// If there is no such section.
    pub fn section(&self, module: usize, section: usize) -> Result<&[u8], FileError> {
        let key = (module, section);
        let module_files = &self.set.modules[module];
        let section = &module_files.sections[section];
        let file = &module_files.files[section.file];
        let content = || match section.inflated {
            Some(file) => self.bytes(module, file, 0..section.size),
            None => self.bytes(module, section.file, section.range.clone()),
        };
        if !(file.relocatable && section.name.starts_with(".debug_")) {
            return content();
        }
        if let Some(relocated) = self.relocated.get(&key) {
            return Ok(relocated);
        }
        let addresses = module_files.bases(section.file);
        let data = self.data(module, section.file)?;
        let relocated = relocated(data, section.index, content()?, module_files.layout, &addresses);
        let relocated = relocated.map_err(|error| failure(file, format!("{}: {error}", section.name)))?;
        Ok(self.relocated.insert(key, relocated))
    }

    /// The bytes of the section of that name, as [`Surveyed::section_named`](super::Surveyed::section_named) finds it; none if
    /// there is no such section.
    ///
    /// # Errors
    /// As of [`data`](Self::data).
    pub fn section_named(&self, module: usize, role: Option<Role>, name: &str) -> Result<&[u8], FileError> {
        let section = self.set.modules[module].section_named(role, name);
        section.map_or(Ok(&[]), |section| self.section(module, section))
    }

    /// The bytes of a file that is not of the set, as a debug file names it (`.dwo`).
    ///
    /// # Errors
    /// If it cannot be opened, or 32 768 of them are open.
    pub fn other(&self, path: &str, pid: Option<u64>) -> Result<&[u8], FileError> {
        let key = (pid, path.to_owned());
        let opened = match self.others.get(&key) {
            Some(opened) => opened,
            None => {
                let opened = self.open_other(path, pid);
                let opened = opened.map_err(|error| FileError { path: path.to_owned(), reason: error.to_string() })?;
                self.others.insert(key, Box::new(opened))
            }
        };
        match opened.data() {
            Data::Bytes(bytes) => Ok(bytes),
            Data::Pieces(pieces) => {
                let whole = pieces.read(0, pieces.length());
                whole.map_err(|error| FileError { path: path.to_owned(), reason: error.to_string() })
            }
        }
    }

    fn open_other(&self, path: &str, pid: Option<u64>) -> io::Result<Opened> {
        if self.others.len() >= MOST_OTHERS {
            return Err(io::Error::other(format!("{MOST_OTHERS} such files are open already")));
        }
        let file = open(path, pid)?;
        let identity = super::Identity::of(&file.metadata()?);
        Ok(match self.access {
            _ if identity.size == 0 => Opened::Empty,
            Access::Mapped => Opened::Mapped(super::map(&file)?),
            Access::Pread => Opened::Pieces(Pieces::of_path(path.to_owned(), pid, identity)),
        })
    }
}

fn failure(file: &FileRef, reason: impl ToString) -> FileError {
    FileError { path: file.path.clone(), reason: reason.to_string() }
}
