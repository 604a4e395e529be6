//! The files that a core file leaves memory to, and whether they are still what the process had mapped.

use crate::modules::build_id_in;
use crate::{AddressRange, Permissions, ReadMemory};
use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes from a file's start that are looked at. The headers of an ELF file are there, and its build id.
const HEAD: usize = 64 << 10;

/// Fewer bytes than these tell nothing: an ELF file's header.
const LEAST: usize = 52;

/// A file that is what the process had mapped.
#[derive(Debug)]
pub(super) struct BackingFile {
    pub(super) file: File,
    /// Which parts of it are mapped with which permissions, by its own headers: ranges of offsets.
    segments: Vec<(AddressRange, Permissions)>,
}

/// Why a file cannot stand in for memory that is not in the core file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("{0}")]
    Open(#[from] io::Error),
    #[error("not a regular file")]
    Irregular,
    #[error("nothing in the core file tells whether it is still the same")]
    Unknown,
    #[error("it has changed")]
    Changed,
}

impl BackingFile {
    /// Opens the file at `path`, and compares it with what `memory` has of its first bytes, at `start`: by build id where
    /// both have one, else byte by byte. `is_writable` says that the process may have changed those bytes.
    pub(super) fn open(
        path: &[u8],
        memory: &dyn ReadMemory,
        start: Option<u64>,
        is_writable: bool,
    ) -> Result<Self, Unfit> {
        let path = Path::new(OsStr::from_bytes(path));
        // Opening a device or a pipe may do something, so what it is comes first; a pipe that takes its place meanwhile
        // is at least not waited for.
        if !std::fs::metadata(path)?.is_file() {
            return Err(Unfit::Irregular);
        }
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(Unfit::Irregular);
        }

        let mut dumped = vec![0; HEAD];
        let length = start.and_then(|start| memory.read(start, &mut dumped).ok()).unwrap_or(0);
        dumped.truncate(length);
        let mut head = vec![0; HEAD];
        let length = read_up_to(&file, &mut head)?;
        head.truncate(length);
        match (build_id_in(&dumped), build_id_in(&head)) {
            (Some(dumped), Some(found)) if dumped == found => {}
            (Some(_), Some(_)) => return Err(Unfit::Changed),
            _ if is_writable || dumped.len() < LEAST => return Err(Unfit::Unknown),
            // The core file may have more of the mapping than there is of the file: zeros, to the end of the page.
            _ if !dumped.starts_with(&head[..dumped.len().min(head.len())]) => return Err(Unfit::Changed),
            _ => {}
        }
        Ok(Self { file, segments: segments(&head) })
    }

    /// With which permissions a mapping that begins at `offset` was made. `None` if its headers do not say.
    pub(super) fn permissions(&self, offset: u64) -> Option<Permissions> {
        // The last page of one segment is often the first of the next one as well.
        let begins = self.segments.iter().find(|(range, _)| range.start == offset);
        let segment = begins.or_else(|| self.segments.iter().find(|(range, _)| range.contains(offset)));
        segment.map(|(_, permissions)| *permissions)
    }
}

/// Fills the front of `buffer` from the file's start on.
fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The PT_LOAD segments by the headers in a file's first bytes, in pages.
fn segments(head: &[u8]) -> Vec<(AddressRange, Permissions)> {
    let found = match head.get(4) {
        Some(1) => segments_of::<FileHeader32<Endianness>>(head),
        Some(2) => segments_of::<FileHeader64<Endianness>>(head),
        _ => None,
    };
    found.unwrap_or_default()
}

fn segments_of<H: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<Vec<(AddressRange, Permissions)>> {
    const PAGE: u64 = 4096;
    let header = H::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let loads = header.program_headers(endian, head).ok()?.iter();
    let loads = loads.filter(|segment| segment.p_type(endian) == elf::PT_LOAD).map(|segment| {
        let (offset, size) = segment.file_range(endian);
        let end = offset.saturating_add(size).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        (AddressRange::new(offset / PAGE * PAGE, end), super::parse::permissions(segment.p_flags(endian)))
    });
    Some(loads.collect())
}
