//! An ELF core file: the memory of a process that has crashed, or that gdb has written.
//!
//! A core file does not hold everything. What `p_filesz` leaves of `p_memsz` was not written: which kinds of memory are,
//! `/proc/PID/coredump_filter` tells, and `madvise(MADV_DONTDUMP)`. Such memory is unknown, and never taken for zeros. Only
//! where a file was mapped, that file tells what was there, as far as it is still the same, and as far as the
//! process cannot have changed it in memory.

mod backing;
mod extents;
mod memory;
mod notes;
mod parse;
mod shared;
mod snapshot;

pub use extents::{Content, Extent};
pub use memory::CoreMemory;
pub use notes::{MappedFile, Notes};
pub use parse::{Contents, CoreError, ReadAt, Segment, parse};
pub use shared::{Fingerprint, SharedCore};
pub use snapshot::Snapshot;

use crate::source::{OpenError, Opened, Process, Source};
use crate::{AddressRange, AddressSpace, Backing, Permissions, Region, auxv, maps};
use backing::BackingFile;
use extents::Piece;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How a core file is read. Its descriptors: the core file, then the files that it leaves memory to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    extents: Vec<Extent>,
    files: usize,
}

impl Core {
    /// A file that holds `parts` of memory, disjoint and in address order, each from this offset on.
    pub fn of_parts(parts: impl IntoIterator<Item = (AddressRange, u64)>) -> Self {
        let extent = |(range, offset)| Extent { range, content: Content::Core { offset } };
        Self { extents: extents::joined(parts.into_iter().map(extent)), files: 0 }
    }
}

/// How a core file is to be opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many of the files that it leaves memory to are opened, those with most of it first: each one takes a
    /// descriptor here and in each worker.
    pub files: usize,
}

impl Default for Options {
    fn default() -> Self {
        // A message can carry 253 descriptors.
        Self { files: 200 }
    }
}

/// Opens a core file. It reads its headers and notes, and little of the memory in it.
///
/// # Errors
/// If it cannot be opened, or is no core file.
pub fn open(path: &Path, options: &Options) -> Result<Opened, OpenError> {
    let file = File::open(path).map_err(|error| OpenError::File { path: path.into(), error })?;
    let contents = parse(&file).map_err(|error| OpenError::Core { path: path.into(), error })?;
    let mut pieces = extents::pieces(&contents);

    let mut warnings = Vec::new();
    let truncated = |piece: &&Piece| piece.content == Content::Truncated;
    let missing: u64 = pieces.iter().filter(truncated).map(|piece| piece.range.len()).sum();
    if missing > 0 {
        warnings.push(format!("the core file is truncated: {missing} bytes of memory are missing from it"));
    }
    if contents.notes.damaged {
        warnings.push("the core file's notes are damaged: what they say of files and threads is incomplete".into());
    }

    let copy = file.try_clone().map_err(|error| OpenError::System { what: "duplicating a descriptor", error })?;
    let memory = CoreMemory::from_parts(extents(&pieces), copy);
    let files = backing_files(&contents, &mut pieces, &memory, options, &mut warnings);

    let process = process(&contents);
    let regions = regions(&contents, &pieces, process.executable.as_deref());
    Ok(Opened {
        source: Source::Core(Core { extents: extents(&pieces), files: files.len() }),
        descriptors: std::iter::once(file).chain(files).map(OwnedFd::from).collect(),
        space: AddressSpace { layout: contents.layout, regions },
        process,
        warnings,
    })
}

/// What is at which address, by the core file alone: without what it leaves to other files. In address order and disjoint.
pub fn lay_out(contents: &Contents) -> (Vec<Extent>, Vec<Region>) {
    let pieces = extents::pieces(contents);
    (extents(&pieces), regions(contents, &pieces, process(contents).executable.as_deref()))
}

fn extents(pieces: &[Piece]) -> Vec<Extent> {
    extents::joined(pieces.iter().map(|piece| Extent { range: piece.range, content: piece.content }))
}

/// Opens the files that the core file leaves memory to, and has the pieces point to them.
fn backing_files(
    contents: &Contents,
    pieces: &mut [Piece],
    memory: &CoreMemory,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Vec<File> {
    let mapped = &contents.notes.files;
    let modified = has_modified_pages(contents);
    let is_left = |piece: &Piece| {
        piece.content == Content::Absent && piece.permissions.is_none_or(|permissions| modified.allow(permissions))
    };
    let mut wanted = BTreeMap::<&[u8], u64>::new();
    for piece in pieces.iter().filter(|piece| is_left(piece)) {
        if let Some(file) = piece.file {
            *wanted.entry(&mapped[file].path).or_default() += piece.range.len();
        }
    }
    let mut wanted: Vec<_> = wanted.into_iter().collect();
    wanted.sort_by_key(|(_, missing)| std::cmp::Reverse(*missing));
    if wanted.len() > options.files {
        let left = wanted.len() - options.files;
        warnings.push(format!("{left} of the files that the core file leaves memory to are not looked at"));
        wanted.truncate(options.files);
    }

    let mut files = Vec::new();
    let mut numbers = BTreeMap::new();
    for (path, missing) in wanted {
        let head = mapped.iter().find(|file| file.path == path && file.offset == 0).map(|file| file.range.start);
        let piece = head.and_then(|head| pieces.iter().find(|piece| piece.range.start == head));
        let permissions = piece.and_then(|piece| piece.permissions);
        let is_writable = permissions.is_some_and(|permissions| permissions.contains(Permissions::WRITE));
        match BackingFile::open(path, memory, head, is_writable) {
            Ok(file) => {
                numbers.insert(path, files.len());
                files.push(file);
            }
            Err(error) => warnings.push(format!(
                "{missing} bytes of memory are neither in the core file nor taken from {}: {error}",
                String::from_utf8_lossy(path)
            )),
        }
    }

    for piece in pieces.iter_mut().filter(|piece| is_left(piece)) {
        let Some(mapping) = piece.file.map(|index| &mapped[index]) else { continue };
        let offset = mapping.offset.saturating_add(piece.range.start - mapping.range.start);
        if let Some(number) = numbers.get(&*mapping.path) {
            piece.content = Content::File { number: *number, offset };
            piece.permissions = piece.permissions.or_else(|| files[*number].permissions(mapping.offset));
        }
    }
    files.into_iter().map(|file| file.file).collect()
}

/// Which mappings of a file can be taken from the file, where the core file does not have them.
struct Unmodified {
    /// Whether what the process has written to private memory was dumped.
    written: bool,
}

impl Unmodified {
    fn allow(&self, permissions: Permissions) -> bool {
        // Writable ones are written to, and what is read-only now may have been writable before (as what the dynamic
        // linker has relocated). If it was, it was dumped: but only if such memory was dumped at all.
        self.written || permissions == Permissions::READ | Permissions::EXECUTE
    }
}

fn has_modified_pages(contents: &Contents) -> Unmodified {
    let files = &contents.notes.files;
    let is_file = |start: u64| {
        let after = files.partition_point(|file| file.range.start <= start);
        files[..after].last().is_some_and(|file| file.range.contains(start))
    };
    let written = contents.segments.iter().any(|segment| {
        segment.permissions.contains(Permissions::WRITE) && segment.file_size > 0 && !is_file(segment.range.start)
    });
    Unmodified { written }
}

fn process(contents: &Contents) -> Process {
    let notes = &contents.notes;
    // The program's headers lie in its first mapping; without that, its name is cut off after 15 bytes.
    let main = auxv::value(&notes.auxv, auxv::AT_PHDR).or_else(|| auxv::value(&notes.auxv, auxv::AT_ENTRY));
    let main = main.and_then(|address| notes.files.iter().find(|file| file.range.contains(address)));
    let path = main.map(|file| String::from_utf8_lossy(&file.path).into_owned());
    Process {
        pid: notes.pid,
        executable: path.or_else(|| notes.program.clone()),
        threads: notes.threads.clone(),
        auxv: notes.auxv.clone(),
    }
}

fn regions(contents: &Contents, pieces: &[Piece], executable: Option<&str>) -> Vec<Region> {
    let notes = &contents.notes;
    let mut regions = Vec::<Region>::new();
    for piece in pieces {
        let backing = match piece.file.map(|index| &notes.files[index]) {
            Some(file) => {
                let offset = file.offset.saturating_add(piece.range.start - file.range.start);
                maps::backing(&file.path, offset, false, true)
            }
            // Without a list of mapped files, this may be one as well.
            None if notes.files.is_empty() => Backing::Unknown,
            None => Backing::Anonymous { name: None },
        };
        let shared = matches!(backing, Backing::Shared { .. });
        // What was mapped from a file without being readable is rare enough.
        let permissions = piece.permissions.unwrap_or(Permissions::READ);
        let region = Region { range: piece.range, permissions, backing, shared, userfault: false };
        match regions.last_mut().filter(|last| last.continues_in(&region)) {
            Some(last) => last.range.end = region.range.end,
            None => regions.push(region),
        }
    }
    let known =
        [(auxv::AT_SYSINFO_EHDR, Backing::Special { name: "[vdso]".into() }), (auxv::AT_RANDOM, Backing::Stack)];
    for (kind, backing) in known {
        let address = auxv::value(&notes.auxv, kind);
        let region = address.and_then(|address| regions.iter_mut().find(|region| region.range.contains(address)));
        if let Some(region) = region.filter(|region| region.name().is_none()) {
            region.backing = backing;
        }
    }
    if let Some(heap) = executable.and_then(|path| heap(&regions, path)) {
        regions[heap].backing = Backing::Heap;
    }
    regions
}

/// Where brk's memory is, which a core file does not say: Linux puts it above the program, at a random distance of up to
/// 1 GiB, and nothing else in between. If it follows without a gap, it cannot be told from the program's own.
fn heap(regions: &[Region], executable: &str) -> Option<usize> {
    const FARTHEST: u64 = 1 << 30;
    let is_program = |region: &Region| matches!(&region.backing, Backing::File { path, .. } if path == executable);
    let mut last = regions.iter().rposition(is_program)?;
    // Its memory of zeros.
    while regions.get(last + 1).is_some_and(|next| next.range.start == regions[last].range.end) {
        last += 1;
    }
    let next = regions.get(last + 1)?;
    let gap = next.range.start - regions[last].range.end;
    let is_data = next.permissions == Permissions::READ | Permissions::WRITE;
    (gap <= FARTHEST && is_data && next.backing == Backing::Anonymous { name: None }).then_some(last + 1)
}
