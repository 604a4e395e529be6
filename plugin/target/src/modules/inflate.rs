//! Inflates compressed sections.

use super::data::{Data, reopen};
use super::surveyed::{Compression, Content, Format, Surveyed};
use elsa::FrozenVec;
use libdeflater::Decompressor;
use memmap2::{Mmap, MmapMut};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use object::ReadRef;
use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// No section is inflated to more bytes.
const LONGEST: u64 = 8 << 30;

/// Nor are those of a file that is not of a module's set, all together.
const LONGEST_OTHER: u64 = 1 << 30;

/// No more bytes than these are made of one: by deflate, and by Zstandard, of whose blocks the densest are 4 bytes for 128 KiB.
const DEFLATE_RATIO: u64 = 1032;
const ZSTD_RATIO: u64 = 32 << 10;

/// Inflates a compressed section into a sealed memory file, which others may map.
///
/// # Errors
/// If its file cannot be read or is another by now, or if what is compressed is damaged.
///
/// # Panics
/// If there is no such section, or it is not compressed.
pub fn inflate(surveyed: &Surveyed, section: usize) -> io::Result<OwnedFd> {
    let section = &surveyed.sections[section];
    let compression = section.compressed.expect("a compressed section");
    let file = &surveyed.files[section.file];
    let (bytes, map);
    let data = match &file.content {
        Content::Bytes(content) => Data::Bytes(content),
        Content::Path { pid, identity } => {
            map = super::map(&reopen(&file.path, *pid, identity)?)?;
            bytes = &map[..];
            Data::Bytes(bytes)
        }
        Content::Shared { .. } | Content::Section(_) => unreachable!("no section of an inflated one"),
    };
    let range = &section.range;
    let compressed = data.read_bytes_at(range.start, range.end - range.start);
    let compressed = compressed.map_err(|()| io::ErrorKind::UnexpectedEof)?;
    let descriptor = memfd_create(c"section", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let file = File::from(descriptor);
    let size = check_size(compressed, compression, section.size)?;
    file.set_len(section.size)?;
    if size > 0 {
        // SAFETY: nobody else has the memory file yet.
        let mut inflated = unsafe { MmapMut::map_mut(&file) }?;
        fill(compressed, compression, &mut inflated)?;
    }
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// Maps a memory file that [`inflate`] has made. It cannot get shorter.
pub(super) fn map_sealed(descriptor: &OwnedFd) -> io::Result<Mmap> {
    let seals = fcntl(descriptor.as_fd(), FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_retain)?;
    if !seals.contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_WRITE) {
        return Err(io::Error::other("not sealed"));
    }
    // SAFETY: nobody can write to it or cut it off any more.
    unsafe { Mmap::map(descriptor) }
}

/// Inflates a section into memory of this process.
pub(super) fn inflate_here(compressed: &[u8], compression: Compression, size: u64) -> io::Result<Inflated> {
    if check_size(compressed, compression, size)? == 0 {
        return Ok(Inflated(None));
    }
    let length = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut inflated = MmapMut::map_anon(length)?;
    fill(compressed, compression, &mut inflated)?;
    Ok(Inflated(Some(inflated.make_read_only()?)))
}

/// An inflated section.
#[derive(Debug)]
pub(super) struct Inflated(Option<Mmap>);

impl Inflated {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// The inflated sections of a file that is not of a module's set, such as a `.dwo`: at most 1 GiB. A worker reads hundreds of such
/// files, so their sections are not kept with those of modules, and what they take is given back with this.
pub struct InflatedSections {
    sections: FrozenVec<Vec<u8>>,
    /// So many bytes may still be added.
    left: Cell<u64>,
}

impl Default for InflatedSections {
    fn default() -> Self {
        Self { sections: FrozenVec::new(), left: Cell::new(LONGEST_OTHER) }
    }
}

impl fmt::Debug for InflatedSections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InflatedSections").field("left", &self.left).finish_non_exhaustive()
    }
}

impl InflatedSections {
    /// The `size` bytes that `compressed`, which has no header any more, is made of.
    ///
    /// # Errors
    /// If it is damaged, or too long together with those before.
    pub fn inflate(&self, compressed: &[u8], format: Format, size: u64) -> io::Result<&[u8]> {
        let compression = Compression { format, header: 0 };
        let left = self.left.get().checked_sub(check_size(compressed, compression, size)?);
        let left = left.ok_or_else(|| invalid("the sections of its file are too long"))?;
        let length = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // Some files have thousands of small sections, so none gets a mapping of its own.
        let mut inflated = Vec::new();
        inflated.try_reserve_exact(length)?;
        inflated.resize(length, 0);
        fill(compressed, compression, &mut inflated)?;
        self.left.set(left);
        Ok(self.sections.push_get(inflated))
    }
}

/// Checks the size that a section says that it has, before anything is made so big.
fn check_size(compressed: &[u8], compression: Compression, size: u64) -> io::Result<u64> {
    let ratio = match compression.format {
        Format::Zlib => DEFLATE_RATIO,
        Format::Zstd => ZSTD_RATIO,
    };
    let most = (compressed.len() as u64).saturating_mul(ratio);
    if size > most.min(LONGEST) {
        return Err(invalid(format!("it says that it has {size} bytes")));
    }
    Ok(size)
}

/// Fills `inflated` with what a section is compressed from.
fn fill(compressed: &[u8], compression: Compression, inflated: &mut [u8]) -> io::Result<()> {
    let header = usize::try_from(compression.header).unwrap_or(usize::MAX);
    let compressed = compressed.get(header..).ok_or(io::ErrorKind::UnexpectedEof)?;
    let filled = match compression.format {
        Format::Zlib => Decompressor::new().zlib_decompress(compressed, inflated).map_err(invalid)?,
        Format::Zstd => {
            let filled = zstd_safe::decompress(inflated, compressed);
            filled.map_err(|code| invalid(zstd_safe::get_error_name(code)))?
        }
    };
    if filled == inflated.len() { Ok(()) } else { Err(invalid("it ends before its size")) }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1000 bytes, compressed.
    fn compressed(format: Format) -> Vec<u8> {
        let mut bytes = vec![0; 2000];
        let length = match format {
            Format::Zlib => libdeflater::Compressor::default().zlib_compress(&[7; 1000], &mut bytes).unwrap(),
            Format::Zstd => zstd_safe::compress(&mut bytes[..], &[7; 1000], 3).unwrap(),
        };
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn the_sections_of_other_files_are_inflated_as_long_as_there_is_room() {
        for format in [Format::Zlib, Format::Zstd] {
            let sections = InflatedSections { left: Cell::new(2500), ..InflatedSections::default() };
            let bytes = compressed(format);
            let first = sections.inflate(&bytes, format, 1000).unwrap();
            assert!(sections.inflate(&bytes[1..], format, 1000).is_err(), "damaged ones take no room");
            assert!(sections.inflate(&bytes, format, 1001).is_err(), "it is not so long");
            assert!(sections.inflate(&bytes, format, u64::MAX).is_err(), "nothing can be so long");
            let second = sections.inflate(&bytes, format, 1000).unwrap();
            assert_eq!((first, second), (&[7; 1000][..], &[7; 1000][..]));
            let full = sections.inflate(&bytes, format, 1000).unwrap_err();
            assert_eq!(full.to_string(), "the sections of its file are too long");
        }
    }
}
