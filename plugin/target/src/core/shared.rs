//! A core file that another machine may have as well.

use super::extents::{Content, joined};
use super::{Core, CoreMemory, Extent};
use crate::AddressRange;
use crate::source::{Access, OpenError, Opened, Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A core file's headers and notes lie at its beginning; so much of that is looked at.
const HEAD: u64 = 4 << 20;

/// Its end tells whether it was cut off, or is still being written.
const TAIL: u64 = 64 << 10;

/// How many pages in between are looked at.
const SAMPLES: u64 = 256;

const PAGE: u64 = 4096;

/// What a file's content is known by: its length, and a SHA-256 of its first 4 MiB (headers and notes, as a rule), its last
/// 64 KiB, and 256 pages spread over the rest. All of 50 GB would take longer to hash than to search.
///
/// Files of different processes, or of one process at different times, have different fingerprints. A file that somebody has
/// changed in a few places may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub length: u64,
    pub digest: [u8; 32],
}

impl Fingerprint {
    /// That of an open file.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::UnexpectedEof`] if it is truncated meanwhile.
    pub fn of(file: &File) -> io::Result<Fingerprint> {
        let length = file.metadata()?.len();
        let mut hasher = Sha256::new();
        hasher.update(length.to_le_bytes());
        let mut buffer = vec![0; HEAD.min(length) as usize];
        let mut add = |offset: u64, size: u64| -> io::Result<()> {
            let buffer = &mut buffer[..size as usize];
            file.read_exact_at(buffer, offset)?;
            hasher.update(&*buffer);
            Ok(())
        };
        let head = HEAD.min(length);
        let tail = TAIL.min(length - head);
        add(0, head)?;
        let pages = (length - head - tail) / PAGE;
        for sample in 0..SAMPLES.min(pages) {
            let page = u128::from(pages) * u128::from(sample) / u128::from(SAMPLES.min(pages));
            add(head + page as u64 * PAGE, PAGE)?;
        }
        add(length - tail, tail)?;
        Ok(Fingerprint { length, digest: hasher.finalize().into() })
    }
}

/// A core file by its path and content, and where in it what lies: what a worker on another machine is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedCore {
    path: PathBuf,
    fingerprint: Fingerprint,
    core: Core,
}

impl SharedCore {
    /// For a core file that was opened here; `None` for another kind of source.
    ///
    /// # Errors
    /// [`OpenError::File`] if it cannot be read.
    pub fn new(path: &Path, opened: &Opened) -> Result<Option<SharedCore>, OpenError> {
        let (Source::Core(core), Some(descriptor)) = (&opened.source, opened.descriptors.first()) else {
            return Ok(None);
        };
        let error = |error| OpenError::File { path: path.into(), error };
        let file = File::from(descriptor.try_clone().map_err(error)?);
        let fingerprint = Fingerprint::of(&file).map_err(error)?;
        Ok(Some(SharedCore { path: path.into(), fingerprint, core: core.clone() }))
    }

    /// Whether all that there is in `range` is in the core file itself, and nothing in the files of this machine that it leaves
    /// memory to.
    pub fn holds(&self, range: AddressRange) -> bool {
        let first = self.core.extents.partition_point(|extent| extent.range.end <= range.start);
        let within = self.core.extents[first..].iter().take_while(|extent| extent.range.start < range.end);
        within.into_iter().all(|extent| !matches!(extent.content, Content::File { .. }))
    }

    /// What another machine needs to know: without the files of this one.
    #[must_use]
    pub fn alone(mut self) -> SharedCore {
        let without_file = |extent: &Extent| match extent.content {
            Content::File { .. } => Extent { content: Content::Absent, ..*extent },
            _ => *extent,
        };
        self.core = Core { extents: joined(self.core.extents.iter().map(without_file)), files: 0 };
        self
    }

    /// The memory in the file of that path here, if it has the same content. It must have been sent [`alone`](Self::alone),
    /// and be asked only for what the file [`holds`](Self::holds).
    ///
    /// # Errors
    /// [`OpenError::File`] if there is none that can be read, [`OpenError::Differs`] if it is another.
    pub fn open(&self) -> Result<CoreMemory, OpenError> {
        let error = |error| OpenError::File { path: self.path.clone(), error };
        // A pipe or a device in its place is not waited for.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path).map_err(error)?;
        let data = file.metadata().map_err(error)?;
        let differs = || OpenError::Differs { path: self.path.clone() };
        if !data.is_file() || data.len() != self.fingerprint.length {
            return Err(differs());
        }
        if Fingerprint::of(&file).map_err(error)? != self.fingerprint {
            return Err(differs());
        }
        CoreMemory::new(&self.core, vec![OwnedFd::from(file)], Access::Mapped)
    }
}
