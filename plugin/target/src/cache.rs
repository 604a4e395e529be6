//! Facts about modules, kept on disk by build id: what takes long to work out, and is the same whenever it is worked out.
//!
//! Nothing depends on what is kept: what cannot be written is not, what is damaged is not found, and none of that is an error. But a
//! file that is whole may have been written by anyone who can write to the folder, so its content is foreign bytes.

use crate::source::Access;
use crc32fast::Hasher;
use memmap2::Mmap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The default of what is kept, in bytes.
pub const LIMIT: u64 = 2 << 30;

/// What a kept file begins with; the last byte is the version of its header.
const MAGIC: [u8; 8] = *b"mp-scan\x01";

/// Bytes of a kept file before its content.
const HEADER: usize = 128;

/// The parts of the header, by where they begin: the CRC-32 of all that comes after it, the key, and the content's length;
/// the lengths of the build id and of the kind are two bytes at `BUILD_ID_LENGTH`.
const CRC: usize = 8;
const VERSION: usize = 12;
const PART: usize = 16;
const LENGTH: usize = 24;
const BUILD_ID_LENGTH: usize = 32;
const BUILD_ID: usize = 40;
const KIND: usize = 104;

/// Longer build ids and kinds are not kept, in bytes.
const LONGEST_BUILD_ID: usize = KIND - BUILD_ID;
const LONGEST_KIND: usize = HEADER - KIND;

/// What a file is called while it is being written.
const TEMPORARY: &str = ".new-";

/// What the names of its files end with: no other file in the folder is touched.
const SUFFIX: &str = ".facts";

/// A file that has been written for longer than this was left behind by a process that has ended.
const ABANDONED: Duration = Duration::from_secs(600);

/// When a file was last used is noted once in so long a time.
const USE: Duration = Duration::from_secs(3600);

/// A folder in which facts are kept. Any number of processes may use it at a time.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    /// In bytes.
    limit: u64,
    access: Access,
    /// Bytes that this process may keep before it looks how full the folder is.
    unchecked: AtomicU64,
    /// Nothing is kept any more, since something could not be.
    closed: AtomicBool,
}

/// What a fact is known by: part `part` of what there is of this kind about the module with this build id, as this version of the
/// code that works it out writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Nothing is kept for a module that has none.
    pub build_id: &'a [u8],
    /// A word of lower-case letters, at most 24 bytes.
    pub kind: &'a str,
    pub part: u64,
    pub version: u32,
}

/// The content of a kept file.
#[derive(Debug)]
pub struct Kept(Bytes);

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(map) => &map[HEADER..],
            Bytes::Read(bytes) => &bytes[HEADER..],
        }
    }
}

impl Cache {
    /// What is kept in `folder`, which is made when it is needed; about `limit` bytes at most, so that what has not been used for
    /// longest goes first.
    pub fn open(folder: PathBuf, limit: u64) -> Self {
        Self { folder, limit, access: Access::Pread, unchecked: AtomicU64::new(0), closed: AtomicBool::new(false) }
    }

    /// The same, read in this way.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The user's: `$MP_SCAN_CACHE`, or none if that is empty; else `mp-scan` in `$XDG_CACHE_HOME` or in `~/.cache`.
    pub fn folder() -> Option<PathBuf> {
        folder(|name| std::env::var_os(name).map(PathBuf::from))
    }

    /// What was kept under `key`, exactly as it was kept; at no particular alignment.
    pub fn find(&self, key: &Key<'_>) -> Option<Kept> {
        let mut header = key.header(0)?;
        // What is no file is not waited for.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.folder.join(key.file_name()))
            .ok()?;
        let data = file.metadata().ok().filter(|data| data.is_file() && data.len() <= self.limit)?;
        let bytes = match self.access {
            Access::Mapped => Bytes::Mapped(crate::modules::map(&file).ok()?),
            Access::Pread => {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(usize::try_from(data.len()).ok()?).ok()?;
                (&file).take(data.len()).read_to_end(&mut bytes).ok()?;
                Bytes::Read(bytes)
            }
        };
        let whole = match &bytes {
            Bytes::Mapped(map) => &map[..],
            Bytes::Read(bytes) => &bytes[..],
        };
        let length = whole.len().checked_sub(HEADER)? as u64;
        header[LENGTH..BUILD_ID_LENGTH].copy_from_slice(&length.to_le_bytes());
        header[CRC..VERSION].copy_from_slice(&crc32fast::hash(&whole[VERSION..]).to_le_bytes());
        if whole[..HEADER] != header {
            return None;
        }
        let now = SystemTime::now();
        if data.modified().is_ok_and(|used| now.duration_since(used).is_ok_and(|since| since > USE)) {
            // Where that is not allowed, it will go a little sooner.
            let _ = file.set_modified(now);
        }
        Some(Kept(bytes))
    }

    /// Keeps `content` under `key`, in place of what was there.
    pub fn keep(&self, key: &Key<'_>, content: &[u8]) {
        let size = (HEADER + content.len()) as u64;
        let Some(mut header) = key.header(content.len() as u64) else { return };
        if size > self.limit / 4 || self.closed.load(Ordering::Relaxed) {
            return;
        }
        let spend = |left: u64| left.checked_sub(size);
        if self.unchecked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_err() {
            self.trim();
            self.unchecked.store((self.limit / 64).saturating_sub(size), Ordering::Relaxed);
        }
        let mut crc = Hasher::new();
        crc.update(&header[VERSION..]);
        crc.update(content);
        header[CRC..VERSION].copy_from_slice(&crc.finalize().to_le_bytes());
        if self.write(&key.file_name(), &header, content).is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    fn write(&self, name: &str, header: &[u8], content: &[u8]) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (count, pid) = (COUNT.fetch_add(1, Ordering::Relaxed), std::process::id());
        let temporary = self.folder.join(format!("{TEMPORARY}{pid}-{count}-{}{SUFFIX}", since.as_nanos()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(header).and_then(|()| file.write_all(content));
        let moved = written.and_then(|()| fs::rename(&temporary, self.folder.join(name)));
        moved.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }

    /// Makes room, if the folder holds too much, and removes what was left behind.
    fn trim(&self) {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(SUFFIX)) else { continue };
            let Ok(data) = entry.metadata() else { continue };
            let used = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if !name.starts_with(TEMPORARY) {
                kept.push((used, on_disk(data.len()), entry.path()));
            } else if used.elapsed().is_ok_and(|since| since > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let mut total: u64 = kept.iter().map(|(_, size, _)| size).sum();
        if total <= self.limit {
            return;
        }
        kept.sort();
        for (_, size, path) in kept {
            if total <= self.limit - self.limit / 8 {
                break;
            }
            // Another process may have done it.
            let _ = fs::remove_file(path);
            total -= size;
        }
    }
}

impl Key<'_> {
    fn file_name(&self) -> String {
        let Self { build_id, kind, part, version } = self;
        format!("{}-{kind}-{version}-{part}{SUFFIX}", crate::modules::hex(build_id))
    }

    /// The header of a file with this key, but for its CRC. `None` if nothing is kept under such a key.
    fn header(&self, length: u64) -> Option<[u8; HEADER]> {
        let (id, kind) = (self.build_id, self.kind.as_bytes());
        let named = !id.is_empty() && !kind.is_empty() && kind.iter().all(u8::is_ascii_lowercase);
        if !named || id.len() > LONGEST_BUILD_ID || kind.len() > LONGEST_KIND {
            return None;
        }
        let mut header = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(VERSION, &self.version.to_le_bytes());
        put(PART, &self.part.to_le_bytes());
        put(LENGTH, &length.to_le_bytes());
        put(BUILD_ID_LENGTH, &[id.len() as u8, kind.len() as u8]);
        put(BUILD_ID, id);
        put(KIND, kind);
        Some(header)
    }
}

/// What a file of this length takes on the disk, in bytes.
fn on_disk(length: u64) -> u64 {
    length.next_multiple_of(4096)
}

fn folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if let Some(folder) = variable("MP_SCAN_CACHE") {
        return Some(folder).filter(|folder| !folder.as_os_str().is_empty());
    }
    // A relative one counts as none (XDG Base Directory Specification).
    let given = variable("XDG_CACHE_HOME").filter(|folder| folder.is_absolute());
    let folder = given.or_else(|| variable("HOME").filter(|home| home.is_absolute()).map(|home| home.join(".cache")));
    folder.map(|folder| folder.join("mp-scan"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_users() {
        let with = |set: &[(&str, &str)]| {
            folder(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value)))
        };
        let home = ("HOME", "/home/u");
        let cases = [
            (vec![home], Some("/home/u/.cache/mp-scan")),
            (vec![home, ("XDG_CACHE_HOME", "/cache")], Some("/cache/mp-scan")),
            (vec![home, ("XDG_CACHE_HOME", "cache")], Some("/home/u/.cache/mp-scan")),
            (vec![home, ("XDG_CACHE_HOME", "/cache"), ("MP_SCAN_CACHE", "/own")], Some("/own")),
            (vec![home, ("MP_SCAN_CACHE", "")], None),
            (vec![], None),
        ];
        for (set, expected) in cases {
            assert_eq!(with(&set), expected.map(PathBuf::from), "{set:?}");
        }
    }
}
