//! Inflates compressed sections.

use super::data::{Data, reopen};
use super::surveyed::{Compression, Content, Format, Surveyed};
use libdeflater::Decompressor;
use memmap2::{Mmap, MmapMut};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use object::ReadRef;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// No section is inflated to more bytes.
const LONGEST: u64 = 8 << 30;

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
