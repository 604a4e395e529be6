//! Reading the memory in a core file.

use super::Core;
use super::extents::{Content, Extent};
use crate::pagemap::push_run;
use crate::source::{Access, OpenError};
use crate::{AddressRange, Fault, FaultReason, Populated, ReadMemory};
use memmap2::Mmap;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::{Arc, Mutex, PoisonError};

/// A file that is mapped.
struct Mapped {
    /// Its device, number and length.
    identity: (u64, u64, u64),
    map: Arc<Mmap>,
}

/// The file that was mapped last. To map its pages anew takes longer than to search them, and one core file is looked at
/// many times.
static LAST: Mutex<Option<Mapped>> = Mutex::new(None);

/// Maps a whole core file, or finds it mapped.
fn map(file: &File) -> io::Result<Arc<Mmap>> {
    let data = file.metadata()?;
    let identity = (data.dev(), data.ino(), data.len());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(mapped) = last.as_ref().filter(|mapped| mapped.identity == identity) {
        return Ok(Arc::clone(&mapped.map));
    }
    // SAFETY: the file is foreign, so its bytes may change while they are looked at: they are only ever compared and
    // copied, and nothing that was checked in them is relied on after. If it is truncated, this process dies by a signal,
    // which is what who asks for this access has to expect.
    let map = Arc::new(unsafe { Mmap::map(file) }?);
    *last = Some(Mapped { identity, map: Arc::clone(&map) });
    Ok(map)
}

/// The memory in a core file, and in the files that it leaves some to.
#[derive(Debug)]
pub struct CoreMemory {
    /// In address order and disjoint.
    extents: Vec<Extent>,
    core: File,
    /// The core file, where it is mapped here.
    mapped: Option<Arc<Mmap>>,
    files: Vec<File>,
}

impl CoreMemory {
    /// `descriptors` are those of the source.
    ///
    /// # Errors
    /// [`OpenError::Descriptors`], or if the file cannot be mapped.
    pub fn new(core: &Core, descriptors: Vec<OwnedFd>, access: Access) -> Result<Self, OpenError> {
        let expected = 1 + core.files;
        let found = descriptors.len();
        let mut descriptors = descriptors.into_iter().map(File::from);
        let file = descriptors.next().filter(|_| found == expected);
        let file = file.ok_or(OpenError::Descriptors { expected, found })?;
        let mapped = match access {
            Access::Pread => None,
            Access::Mapped => {
                Some(map(&file).map_err(|error| OpenError::System { what: "mapping a core file", error })?)
            }
        };
        Ok(Self { extents: core.extents.clone(), core: file, mapped, files: descriptors.collect() })
    }

    pub(super) fn from_parts(extents: Vec<Extent>, core: File) -> Self {
        Self { extents, core, mapped: None, files: Vec::new() }
    }

    /// Whether it is known what lies at `address`, and where that changes.
    pub(crate) fn holds(&self, address: u64) -> (bool, u64) {
        let after = self.extents.partition_point(|extent| extent.range.start <= address);
        match self.extents[..after].last().filter(|extent| extent.range.contains(address)) {
            Some(extent) => (true, extent.range.end),
            None => (false, self.extents.get(after).map_or(u64::MAX, |extent| extent.range.start)),
        }
    }

    /// Where the bytes at `address` are, and how many of them there are in a row.
    fn locate(&self, address: u64) -> Option<(Content, u64)> {
        let after = self.extents.partition_point(|extent| extent.range.start <= address);
        let extent = self.extents[..after].last().filter(|extent| extent.range.contains(address))?;
        Some((extent.content.at(address - extent.range.start), extent.range.end - address))
    }

    /// Fills the front of `buffer` from one extent, and returns how much of it.
    fn read_once(&self, address: u64, buffer: &mut [u8]) -> Result<usize, FaultReason> {
        let (content, length) = self.locate(address).ok_or(FaultReason::Unreadable)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..length];
        match content {
            Content::Absent => Err(FaultReason::NotInCore),
            Content::Truncated => Err(FaultReason::Truncated),
            Content::Unread => Err(FaultReason::Relay),
            Content::Core { offset } => match self.mapped_at(offset, length) {
                Some(bytes) => {
                    buffer[..bytes.len()].copy_from_slice(bytes);
                    Ok(bytes.len())
                }
                None => match read_at(&self.core, offset, buffer) {
                    // It has been truncated since it was opened.
                    0 => Err(FaultReason::Truncated),
                    read => Ok(read),
                },
            },
            Content::File { number, offset } => {
                let file = self.files.get(number).ok_or(FaultReason::NotInCore)?;
                match read_at(file, offset, buffer) {
                    0 => zeros_after(file, offset, buffer).ok_or(FaultReason::NotInCore),
                    read => Ok(read),
                }
            }
        }
    }

    /// At least one byte of the mapped core file from `offset` on, and at most `length`.
    fn mapped_at(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let bytes = self.mapped.as_ref()?.get(usize::try_from(offset).ok()?..)?;
        (!bytes.is_empty()).then(|| &bytes[..length.min(bytes.len())])
    }

    /// Whether the core file has a hole from `offset` on, which reads as zeros, and where that changes; at most at `end`.
    fn hole(&self, offset: u64, end: u64) -> Option<(bool, u64)> {
        let seek = |whence| {
            let found = lseek(&self.core, i64::try_from(offset).ok()?, whence);
            match found {
                Ok(found) => u64::try_from(found).ok(),
                // There is nothing but a hole up to the file's end.
                Err(nix::errno::Errno::ENXIO) => Some(end),
                Err(_) => None,
            }
        };
        let data = seek(Whence::SeekData)?.min(end);
        if data > offset { Some((true, data)) } else { Some((false, seek(Whence::SeekHole)?.min(end))) }
    }
}

/// As much as the file has from `offset` on. An error counts as its end.
fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> usize {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read.unwrap_or(0),
        }
    }
}

/// Beyond the end of a mapped file, the rest of its last page is zeros.
fn zeros_after(file: &File, offset: u64, buffer: &mut [u8]) -> Option<usize> {
    const PAGE: u64 = 4096;
    let length = file.metadata().ok()?.len();
    let zeros = length.checked_next_multiple_of(PAGE)?.checked_sub(offset)?;
    let count = buffer.len().min(zeros as usize);
    if offset < length || count == 0 {
        return None;
    }
    buffer[..count].fill(0);
    Some(count)
}

impl ReadMemory for CoreMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        while read < buffer.len() {
            let next = address.saturating_add(read as u64);
            match self.read_once(next, &mut buffer[read..]) {
                Ok(length) => read += length,
                Err(reason) if read == 0 => return Err(Fault { address, reason }),
                Err(_) => break,
            }
        }
        Ok(read)
    }

    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        match self.locate(address)? {
            (Content::Core { offset }, there) => self.mapped_at(offset, usize::try_from(there.min(length)).ok()?),
            _ => None,
        }
    }

    /// Where the core file has holes, it holds zeros: so Linux writes pages that were never touched.
    fn populated(&self, range: AddressRange, _swapped: bool) -> Populated {
        let mut runs = Vec::new();
        let mut address = range.start;
        while address < range.end {
            let Some((content, there)) = self.locate(address) else {
                // What is in no extent must be read, and found to be unreadable.
                let next = self.extents.partition_point(|extent| extent.range.start <= address);
                let next = self.extents.get(next).map_or(range.end, |extent| extent.range.start.min(range.end));
                push_run(&mut runs, AddressRange::new(address, next));
                address = next;
                continue;
            };
            let length = there.min(range.end - address);
            let (is_hole, length) = match content {
                Content::Core { offset } => match self.hole(offset, offset.saturating_add(length)) {
                    Some((is_hole, end)) if end > offset => (is_hole, end - offset),
                    _ => (false, length),
                },
                _ => (false, length),
            };
            if !is_hole {
                push_run(&mut runs, AddressRange::sized(address, length));
            }
            address += length;
        }
        Populated { runs, skipped: Vec::new() }
    }
}
