//! The headers of an ELF core file, of either class and byte order. Nothing in them is trusted.

use super::notes::{self, Notes};
use crate::{AddressRange, ByteOrder, Layout, Permissions};
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endianness, Pod};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are read piece by piece: a file, or a slice in tests.
pub trait ReadAt {
    /// Their number.
    ///
    /// # Errors
    /// The system's.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where they end before, or the system's.
    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl ReadAt for [u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// What the headers of a core file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub layout: Layout,
    /// In the order of the file; they may overlap, and reach beyond the file's end.
    pub segments: Vec<Segment>,
    pub notes: Notes,
    /// Bytes of the file.
    pub length: u64,
}

/// A PT_LOAD segment: memory of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Never empty.
    pub range: AddressRange,
    pub permissions: Permissions,
    /// Where in the file its bytes are.
    pub offset: u64,
    /// How many of its bytes are in the file, from its start on; the rest is not.
    pub file_size: u64,
}

/// Why a file is no core file that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    #[error("not an ELF core file")]
    NotElf,
    #[error("compressed: decompress it first, with `{with}`")]
    Compressed { with: &'static str },
    #[error("an ELF file, but not a core file")]
    NotCore,
    #[error("its headers are damaged or cut off")]
    Headers,
    #[error("it holds no memory")]
    Empty,
    #[error("it has more than {MOST_SEGMENTS} segments")]
    TooManySegments,
    #[error(transparent)]
    Read(io::Error),
}

/// No process has more mappings than a kernel that was told to allow them; this bounds what a damaged header costs.
const MOST_SEGMENTS: u64 = 1 << 22;

impl From<io::Error> for CoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Headers,
            _ => Self::Read(error),
        }
    }
}

/// Reads the headers and notes of a core file, and none of the memory in it.
///
/// # Errors
/// If it is none, or if its headers cannot be read. Notes that cannot be read are left out.
pub fn parse(data: &(impl ReadAt + ?Sized)) -> Result<Contents, CoreError> {
    const COMPRESSED: [(&[u8], &str); 5] = [
        (b"\x28\xb5\x2f\xfd", "zstd -d"),
        (b"\x1f\x8b", "gzip -d"),
        (b"\xfd7zXZ\0", "xz -d"),
        (b"\x04\x22\x4d\x18", "lz4 -d"),
        (b"BZh", "bzip2 -d"),
    ];
    let mut ident = [0; 6];
    match data.fill(0, &mut ident) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(CoreError::NotElf),
        filled => filled?,
    }
    if let Some((_, with)) = COMPRESSED.iter().find(|(magic, _)| ident.starts_with(magic)) {
        return Err(CoreError::Compressed { with });
    }
    if !ident.starts_with(&elf::ELFMAG) {
        return Err(CoreError::NotElf);
    }
    let (endian, byte_order) = match ident[5] {
        1 => (Endianness::Little, ByteOrder::Little),
        2 => (Endianness::Big, ByteOrder::Big),
        _ => return Err(CoreError::Headers),
    };
    match ident[4] {
        1 => parse_class::<FileHeader32<Endianness>>(data, endian, Layout { pointer_size: 4, byte_order }),
        2 => parse_class::<FileHeader64<Endianness>>(data, endian, Layout { pointer_size: 8, byte_order }),
        _ => Err(CoreError::Headers),
    }
}

fn parse_class<H: FileHeader<Endian = Endianness>>(
    data: &(impl ReadAt + ?Sized),
    endian: Endianness,
    layout: Layout,
) -> Result<Contents, CoreError> {
    let length = data.length()?;
    let header: H = pod(data, 0)?;
    if header.e_type(endian) != elf::ET_CORE {
        return Err(CoreError::NotCore);
    }
    if usize::from(header.e_phentsize(endian)) != size_of::<H::ProgramHeader>() {
        return Err(CoreError::Headers);
    }
    let table: u64 = header.e_phoff(endian).into();
    let count = segment_count::<H>(data, &header, endian)?;
    if count > MOST_SEGMENTS {
        return Err(CoreError::TooManySegments);
    }

    let mut segments = Vec::new();
    let mut found = Notes::default();
    let mut headers = Window::new(data, length);
    for index in 0..count {
        let size = size_of::<H::ProgramHeader>() as u64;
        let offset = table.checked_add(index * size).ok_or(CoreError::Headers)?;
        let bytes = headers.bytes(offset, size as usize)?;
        let (header, _) = object::pod::from_bytes::<H::ProgramHeader>(bytes).map_err(|()| CoreError::Headers)?;
        match header.p_type(endian) {
            elf::PT_LOAD => segments.extend(segment(header, endian)),
            elf::PT_NOTE => {
                let (offset, size) = header.file_range(endian);
                notes::read(&mut Window::new(data, length), offset, size, layout, machine_of(data, endian), &mut found);
            }
            _ => {}
        }
    }
    if segments.is_empty() {
        return Err(CoreError::Empty);
    }
    Ok(Contents { layout, segments, notes: found, length })
}

fn machine_of(data: &(impl ReadAt + ?Sized), endian: Endianness) -> elf::Machine {
    // It is at the same place in both classes.
    pod::<FileHeader32<Endianness>>(data, 0).map_or(elf::Machine(0), |header| header.e_machine(endian))
}

/// The number of program headers. From 65535 on, that of the first section tells it; Linux writes that at the file's
/// end, so where a file is cut off, it follows from where the table ends: the first segment's bytes come right after.
fn segment_count<H: FileHeader<Endian = Endianness>>(
    data: &(impl ReadAt + ?Sized),
    header: &H,
    endian: Endianness,
) -> Result<u64, CoreError> {
    let count = header.e_phnum(endian);
    if count != elf::PN_XNUM {
        return Ok(count.into());
    }
    let table: u64 = header.e_phoff(endian).into();
    let sections: u64 = header.e_shoff(endian).into();
    if let (1.., Ok(section)) = (sections, pod::<H::SectionHeader>(data, sections)) {
        return Ok(section.sh_info(endian).into());
    }
    let first: H::ProgramHeader = pod(data, table)?;
    let (end, _) = first.file_range(endian);
    Ok(end.checked_sub(table).ok_or(CoreError::Headers)? / size_of::<H::ProgramHeader>() as u64)
}

fn segment<P: ProgramHeader<Endian = Endianness>>(header: &P, endian: Endianness) -> Option<Segment> {
    let (offset, file_size) = header.file_range(endian);
    let memory_size: u64 = header.p_memsz(endian).into();
    let range = AddressRange::sized(header.p_vaddr(endian).into(), memory_size.max(file_size));
    let permissions = permissions(header.p_flags(endian));
    (!range.is_empty()).then_some(Segment { range, permissions, offset, file_size: file_size.min(range.len()) })
}

pub(super) fn permissions(flags: elf::ProgramFlags) -> Permissions {
    let mut permissions = Permissions::empty();
    for (flag, permission) in
        [(elf::PF_R, Permissions::READ), (elf::PF_W, Permissions::WRITE), (elf::PF_X, Permissions::EXECUTE)]
    {
        permissions.set(permission, flags.contains(flag));
    }
    permissions
}

/// One of the structs of an ELF file.
fn pod<T: Pod>(data: &(impl ReadAt + ?Sized), offset: u64) -> io::Result<T> {
    let mut bytes = vec![0; size_of::<T>()];
    data.fill(offset, &mut bytes)?;
    let (value, _) = object::pod::from_bytes::<T>(&bytes).map_err(|()| io::ErrorKind::InvalidData)?;
    Ok(*value)
}

/// A part of a file that is looked at piece by piece, read in larger pieces.
pub(super) struct Window<'a, R: ?Sized> {
    data: &'a R,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a, R: ReadAt + ?Sized> Window<'a, R> {
    const SIZE: u64 = 64 << 10;

    pub(super) fn new(data: &'a R, length: u64) -> Self {
        Self { data, length, start: 0, bytes: Vec::new() }
    }

    /// The `size` bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` where the file ends before, or the system's.
    pub(super) fn bytes(&mut self, offset: u64, size: usize) -> io::Result<&[u8]> {
        let held = |window: &Self| {
            let within = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            let end = within.checked_add(size)?;
            (end <= window.bytes.len()).then_some(within..end)
        };
        if held(self).is_none() {
            // What the file does not have is not even asked for memory.
            let left = self.length.saturating_sub(offset);
            if left < size as u64 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.bytes.resize(left.min(Self::SIZE.max(size as u64)) as usize, 0);
            self.start = offset;
            if let Err(error) = self.data.fill(offset, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let range = held(self).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(&self.bytes[range])
    }
}
