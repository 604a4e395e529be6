//! The bytes of a file: all of them in memory, or read piece by piece.

use super::Identity;
use elsa::sync::FrozenMap;
use memchr::memchr;
use object::ReadRef;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of a file.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    Bytes(&'a [u8]),
    Pieces(&'a Pieces),
}

impl<'a> ReadRef<'a> for Data<'a> {
    fn len(self) -> Result<u64, ()> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::Pieces(pieces) => Ok(pieces.length),
        }
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        match self {
            Self::Bytes(bytes) => bytes.read_bytes_at(offset, size),
            Self::Pieces(pieces) => pieces.read(offset, size).map_err(drop),
        }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        match self {
            Self::Bytes(bytes) => bytes.read_bytes_at_until(range, delimiter),
            Self::Pieces(pieces) => pieces.read_until(range, delimiter).ok_or(()),
        }
    }
}

/// A file whose pieces are read when they are asked for, and kept.
#[derive(Debug)]
pub struct Pieces {
    source: Source,
    /// The file's, in bytes.
    length: u64,
    /// No longer piece is read, in bytes.
    longest: u64,
    /// Bytes that may still be read: a damaged file could ask for the same ones without end.
    budget: AtomicU64,
    pieces: FrozenMap<(u64, u64), Box<[u8]>>,
}

#[derive(Debug)]
enum Source {
    File(File),
    /// Opened for each piece, so that no descriptor is held.
    Path {
        path: String,
        pid: Option<u64>,
        identity: Identity,
    },
}

/// Strings are looked for in blocks of this many bytes.
const BLOCK: u64 = 64 << 10;

/// Beyond what the file is long, so much is read of it.
const SLACK: u64 = 64 << 20;

impl Pieces {
    /// Of an open file that is `length` bytes long.
    pub(super) fn of_file(file: File, length: u64, longest: u64) -> Self {
        Self::new(Source::File(file), length, longest)
    }

    /// Of a file that has to have this identity each time it is opened.
    pub(super) fn of_path(path: String, pid: Option<u64>, identity: Identity) -> Self {
        Self::new(Source::Path { path, pid, identity }, identity.size, u64::MAX)
    }

    fn new(source: Source, length: u64, longest: u64) -> Self {
        let budget = AtomicU64::new(length.saturating_mul(2).saturating_add(SLACK));
        Self { source, length, longest, budget, pieces: FrozenMap::new() }
    }

    /// Of the file, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The `size` bytes from `offset` on.
    ///
    /// # Errors
    /// The system's; if the file ends before, or it is another by now; or if too much is read of it.
    pub(super) fn read(&self, offset: u64, size: u64) -> io::Result<&[u8]> {
        if size == 0 {
            return Ok(&[]);
        }
        if offset.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(piece) = self.pieces.get(&(offset, size)) {
            return Ok(piece);
        }
        let spend = |left: u64| left.checked_sub(size);
        let allowed =
            size <= self.longest && self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok();
        let length = usize::try_from(size).ok().filter(|_| allowed).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut piece = Vec::new();
        piece.try_reserve_exact(length)?;
        piece.resize(length, 0);
        match &self.source {
            Source::File(file) => file.read_exact_at(&mut piece, offset)?,
            Source::Path { path, pid, identity } => reopen(path, *pid, identity)?.read_exact_at(&mut piece, offset)?,
        }
        Ok(self.pieces.insert((offset, size), piece.into_boxed_slice()))
    }

    /// The bytes at the start of `range` before the first that is `delimiter`.
    fn read_until(&self, range: Range<u64>, delimiter: u8) -> Option<&[u8]> {
        let start = range.start / BLOCK * BLOCK;
        let block = self.read(start, BLOCK.min(self.length.checked_sub(start)?)).ok()?;
        let within = |end: u64| usize::try_from(end - start).unwrap_or(usize::MAX).min(block.len());
        let rest = block.get(within(range.start)..within(range.end.max(range.start)))?;
        if let Some(length) = memchr(delimiter, rest) {
            return Some(&rest[..length]);
        }
        let size = BLOCK.min(range.end.min(self.length).checked_sub(range.start)?);
        let across = self.read(range.start, size).ok()?;
        Some(&across[..memchr(delimiter, across)?])
    }
}

/// Opens a file that was looked at before.
///
/// # Errors
/// The system's, or if it is another by now.
pub(super) fn reopen(path: &str, pid: Option<u64>, identity: &Identity) -> io::Result<File> {
    let file = super::open(path, pid)?;
    let now = Identity::of(&file.metadata()?);
    if now == *identity { Ok(file) } else { Err(io::Error::other("it has changed since it was looked at")) }
}
