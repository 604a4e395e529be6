//! A core file that another machine may have as well.

use super::extents::{Content, joined};
use super::{Core, CoreMemory, Extent};
use crate::AddressRange;
use crate::source::{Access, OpenError, Opened, Source};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

    /// That of an open file, which is not read again as long as nothing has changed it.
    fn kept(file: &File) -> io::Result<Fingerprint> {
        let before = Version::of(&file.metadata()?);
        let found = kept().iter().find(|(version, _)| *version == before).map(|(_, fingerprint)| *fingerprint);
        if let Some(fingerprint) = found {
            return Ok(fingerprint);
        }
        let fingerprint = Fingerprint::of(file)?;
        if before.is_settled() && Version::of(&file.metadata()?) == before {
            let mut kept = kept();
            kept.retain(|(version, _)| (version.device, version.inode) != (before.device, before.inode));
            kept.truncate(KEPT - 1);
            kept.insert(0, (before, fingerprint));
        }
        Ok(fingerprint)
    }
}

/// So many files' fingerprints are kept, the last ones.
const KEPT: usize = 8;

/// A file that was changed a moment ago may be changed once more without a sign of it: its times are those of the kernel's clock, which
/// goes in steps.
const SETTLED: Duration = Duration::from_secs(2);

/// By which it is known that a file is the same and was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(data: &Metadata) -> Version {
        Version {
            device: data.dev(),
            inode: data.ino(),
            length: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// Whether its last change was long enough ago.
    fn is_settled(&self) -> bool {
        let last = u64::try_from(self.modified.0.max(self.changed.0)).ok().map(Duration::from_secs);
        let last = last.and_then(|last| UNIX_EPOCH.checked_add(last + SETTLED));
        last.is_some_and(|last| last < SystemTime::now())
    }
}

fn kept() -> MutexGuard<'static, Vec<(Version, Fingerprint)>> {
    static ALL: Mutex<Vec<(Version, Fingerprint)>> = Mutex::new(Vec::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
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
        let fingerprint = Fingerprint::kept(&file).map_err(error)?;
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
        if Fingerprint::kept(&file).map_err(error)? != self.fingerprint {
            return Err(differs());
        }
        CoreMemory::new(&self.core, vec![OwnedFd::from(file)], Access::Mapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(content, 0).unwrap();
        file
    }

    fn is_kept(file: &File) -> bool {
        let version = Version::of(&file.metadata().unwrap());
        kept().iter().any(|(kept, _)| *kept == version)
    }

    #[test]
    fn a_fingerprint_is_kept_until_the_file_is_changed() {
        let file = file(&[1; 100_000]);
        let first = Fingerprint::kept(&file).unwrap();
        assert!(!is_kept(&file), "it was changed a moment ago");
        std::thread::sleep(SETTLED + Duration::from_millis(1100));
        assert_eq!(Fingerprint::kept(&file).unwrap(), first);
        assert!(is_kept(&file));
        assert_eq!(Fingerprint::kept(&file).unwrap(), Fingerprint::of(&file).unwrap());
        file.write_all_at(&[2], 50_000).unwrap();
        assert!(!is_kept(&file));
        let second = Fingerprint::kept(&file).unwrap();
        assert_ne!(second, first);
        assert_eq!(second, Fingerprint::of(&file).unwrap());
    }

    #[test]
    fn a_time_in_the_future_settles_nothing() {
        let file = file(b"content");
        let mut version = Version::of(&file.metadata().unwrap());
        version.modified.0 = i64::MAX;
        assert!(!version.is_settled());
        version.modified.0 = i64::MIN;
        assert!(!version.is_settled(), "its inode is new");
    }
}
