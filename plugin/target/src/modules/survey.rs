//! Surveys a module: reads its headers, and finds the files that belong to it.

use super::data::{Data, Pieces};
use super::elf::{self, Elf};
use super::set::LONGEST_FILE;
use super::surveyed::{Content, FileRef, Identity, Role, Surveyed};
use super::{Module, Search, companions, loaded, open, relocate};
use std::fmt::Write;
use std::io;

/// No single piece of a file's headers is longer, in bytes.
const LONGEST_PIECE: u64 = 64 << 20;

/// Reads the headers of a module's file, and finds the files that belong to it. What cannot be had is in
/// [`Surveyed::problems`].
///
/// No descriptor is kept, nothing is mapped, and no more than headers is read, but for a debug file whose CRC has to be
/// checked, and symbols that have to be inflated.
pub fn survey(module: &Module, search: &Search) -> Surveyed {
    let mut survey = Survey::new(module, search);
    match &module.image {
        Some(image) => {
            let what = Candidate {
                path: module.path.clone(),
                content: Content::Bytes(image.clone()),
                size: image.len() as u64,
            };
            match elf::parse(&image[..]) {
                Some(elf) => survey.main(what, Data::Bytes(image), &elf),
                None => survey.problem(&module.path, "not an ELF file"),
            }
        }
        None => survey.main_file(),
    }
    survey.found
}

/// A file that may belong to the module.
pub(super) struct Candidate {
    pub(super) path: String,
    pub(super) content: Content,
    pub(super) size: u64,
}

/// A module that is being surveyed.
pub(super) struct Survey<'a> {
    pub(super) module: &'a Module,
    pub(super) search: &'a Search,
    /// The process, if it sees other files than we do.
    pub(super) pid: Option<u64>,
    pub(super) found: Surveyed,
}

impl<'a> Survey<'a> {
    fn new(module: &'a Module, search: &'a Search) -> Self {
        let pid = search.pid.filter(|pid| loaded::sees_other_files(*pid));
        Self { module, search, pid, found: Surveyed::nothing(module) }
    }

    pub(super) fn problem(&mut self, path: &str, what: impl std::fmt::Display) {
        self.note(format!("{path}: {what}"));
    }

    /// Takes down a problem, once: a file may be looked at for several reasons.
    pub(super) fn note(&mut self, problem: String) {
        if !self.found.problems.contains(&problem) {
            self.found.problems.push(problem);
        }
    }

    fn main_file(&mut self) {
        let module = self.module;
        let looked = match look(&module.path, self.pid) {
            Ok((candidate, data)) => match elf::parse(Data::Pieces(&data)) {
                Some(elf) if self.is_loaded(&elf, Data::Pieces(&data)) => {
                    return self.main(candidate, Data::Pieces(&data), &elf);
                }
                elf => Ok(elf),
            },
            Err(error) => Err(error),
        };
        let (loaded, hidden) = self.loaded_file();
        if let Some((candidate, data, elf)) = loaded {
            let path = &module.path;
            let what = match looked {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    format!("{path} was deleted since it was loaded")
                }
                Err(error) => format!("{path}: {error}"),
                Ok(_) => format!("{path} was rebuilt since it was loaded"),
            };
            self.found.problems.push(format!("{what}: what is loaded is read, which the kernel still has"));
            return self.main(candidate, Data::Pieces(&data), &elf);
        }
        let rebuilt = "was rebuilt since it was loaded";
        self.found.problems.push(match looked {
            Ok(Some(elf)) if elf.build_id.is_empty() && module.build_id.len() <= loaded::MADE_UP => {
                format!("{} {rebuilt}: neither has a build id, and what is loaded is not the file's", module.path)
            }
            Ok(Some(elf)) if elf.build_id.is_empty() => format!("{} {rebuilt}: now it has no build id", module.path),
            Ok(Some(elf)) => {
                let (now, then) = (hex(&elf.build_id), hex(&module.build_id));
                format!("{} {rebuilt}: the file's build id is {now}, that of what is loaded {then}", module.path)
            }
            Ok(None) => format!("{}: not an ELF file", module.path),
            Err(error) if error.kind() == io::ErrorKind::NotFound && hidden => {
                format!("{} was deleted since it was loaded, and only root may read it still", module.path)
            }
            Err(error) => format!("{}: {error}", module.path),
        });
        companions::find_without_main(self);
    }

    /// Whether a file at the module's path is what is loaded, as far as that can be told.
    fn is_loaded(&self, elf: &Elf, file: Data<'_>) -> bool {
        // Without a build id the kernel is asked, which has a long list to look through.
        let process = self.search.pid.zip(self.module.base).filter(|_| elf.build_id.is_empty());
        loaded::is_loaded(&elf.build_id, &self.module.build_id)
            && !process.is_some_and(|(pid, base)| loaded::is_deleted(pid, base))
            && (!elf.build_id.is_empty() || loaded::begins_as_loaded(file, &self.module.head))
    }

    fn main(&mut self, candidate: Candidate, data: Data<'_>, elf: &Elf) {
        self.describe(elf, elf.start);
        self.add(Role::Main, candidate, elf);
        companions::find(self, data, elf);
    }

    /// Notes what the module is, by a file of its whose first byte is at `start` in the file's addresses.
    pub(super) fn describe(&mut self, elf: &Elf, start: Option<u64>) {
        self.found.layout = elf.layout;
        self.found.machine = elf.machine;
        self.found.fixed = elf.fixed;
        self.found.bias = self.module.base.zip(start).map(|(base, start)| base.wrapping_sub(start));
        if !elf.build_id.is_empty() {
            self.found.build_id.clone_from(&elf.build_id);
        }
    }

    /// Adds a file and its sections. They have been parsed as those of any file.
    pub(super) fn add(&mut self, role: Role, candidate: Candidate, elf: &Elf) {
        let Candidate { path, content, size } = candidate;
        for what in &elf.damage {
            self.problem(&path, what);
        }
        if elf.relocatable && !relocate::is_known(elf.machine) {
            let what = format!(
                "has yet to be linked, and how that is done for {} is not known: its debug information is unreliable",
                elf.machine
            );
            self.found.problems.push(format!("{path} {what}"));
        }
        let file = self.found.files.len();
        let relocatable = elf.relocatable;
        self.found.files.push(FileRef { role, path: path.clone(), content, size, relocatable });
        for section in &elf.sections {
            let mut section = section.clone();
            section.file = file;
            if section.compressed.is_some() {
                let content = Content::Section(self.found.sections.len());
                section.inflated = Some(self.found.files.len());
                let size = section.size;
                self.found.files.push(FileRef {
                    role: Role::Inflated,
                    path: path.clone(),
                    content,
                    size,
                    relocatable: false,
                });
            }
            self.found.sections.push(section);
        }
    }

    /// The file that is loaded, though its path leads nowhere or elsewhere by now, if it may be read; and whether the kernel still
    /// has it.
    fn loaded_file(&self) -> (Option<(Candidate, Pieces, Elf)>, bool) {
        let Some(pid) = self.search.pid else { return (None, false) };
        let paths = loaded::paths(pid, &self.module.path, self.module.base);
        let found = paths.iter().find_map(|path| {
            let (candidate, data) = look(path, None).ok()?;
            let elf = elf::parse(Data::Pieces(&data))?;
            loaded::is_loaded(&elf.build_id, &self.module.build_id).then_some((candidate, data, elf))
        });
        (found, !paths.is_empty())
    }
}

/// Opens a file to look at its headers.
pub(super) fn look(path: &str, pid: Option<u64>) -> io::Result<(Candidate, Pieces)> {
    let file = open(path, pid)?;
    let identity = Identity::of(&file.metadata()?);
    if identity.size > LONGEST_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let content = Content::Path { pid, identity };
    let data = Pieces::of_file(file, identity.size, LONGEST_PIECE);
    Ok((Candidate { path: path.to_owned(), content, size: identity.size }, data))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
