//! Shared memory that has robust locks in it, and is mapped once in a process.
//!
//! A robust lock is a word in shared memory, and a node of a list of the thread that holds it. The kernel wants the two at a
//! fixed distance, so the C library keeps the node in the shared memory as well, and follows the pointers that it finds
//! there: whoever can write that memory could make another process write anywhere. Here, the mapping of the shared memory is
//! followed by one page that is private to the process. The words are at the very end of the shared memory, the nodes at the
//! beginning of the private page, and so no pointer is ever where another process can write.

use super::thread::NODE_AFTER_WORD;
use crate::memory::{FIXED, OutOfBounds, add_seals, anonymous, copy_in, copy_out, require_seals};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One of a region's two locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    First,
    Second,
}

/// A node's `previous` and `next`.
const NODE: usize = 16;
/// How far from the end of the shared memory the first word is: then its node begins where the private page does.
const RESERVED: usize = NODE_AFTER_WORD - 8;

/// What only this process knows of a lock: who holds it, if it is one of its threads.
#[derive(Default)]
pub(super) struct Holder {
    /// The thread's number; 0 if none has it.
    pub(super) owner: AtomicU32,
    /// How often the holder has locked it beyond the first time.
    pub(super) depth: AtomicU32,
    /// Keeps the region mapped while a node of it is in a list, even if the guard was forgotten.
    keep: AtomicPtr<Region>,
}

impl Holder {
    pub(super) fn keep(&self, region: &Arc<Region>) {
        drop(self.replace(Arc::into_raw(Arc::clone(region)).cast_mut()));
    }

    /// What `keep` has kept.
    pub(super) fn kept(&self) -> Option<Arc<Region>> {
        self.replace(ptr::null_mut())
    }

    fn replace(&self, with: *mut Region) -> Option<Arc<Region>> {
        let before = self.keep.swap(with, Ordering::AcqRel);
        // SAFETY: a pointer that is not null came from `Arc::into_raw` in `keep`, and each is taken out once.
        (!before.is_null()).then(|| unsafe { Arc::from_raw(before) })
    }
}

/// See above. All that is read from it may be the work of a hostile process.
pub struct Region {
    base: NonNull<u8>,
    /// Of the shared memory, in bytes: whole pages.
    size: usize,
    page: usize,
    file: File,
    identity: (u64, u64),
    holders: [Holder; 2],
}

// SAFETY: the memory is mapped as long as the region lives, wherever it is used, and is only reached through atomics.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// The regions that are mapped here, so that one that comes twice is mapped once: a thread that has locked it through one
/// handle must be known to hold it through any other.
static MAPPED: Mutex<BTreeMap<(u64, u64), Weak<Region>>> = Mutex::new(BTreeMap::new());

impl Region {
    /// New memory with place for at least so many bytes, all zero, and two locks.
    pub(crate) fn new(bytes: usize) -> io::Result<Arc<Region>> {
        let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "more shared memory than there are addresses");
        let size = bytes.checked_add(RESERVED).and_then(|size| size.checked_next_multiple_of(page_size()));
        let size = size.filter(|size| isize::try_from(*size).is_ok()).ok_or_else(too_large)?;
        let file = anonymous()?;
        file.set_len(size as u64)?;
        add_seals(&file, FIXED | nix::fcntl::SealFlag::F_SEAL_SEAL)?;
        Region::open(file)
    }

    /// The memory that another process has made.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Arc<Region>> {
        let file = File::from(descriptor);
        require_seals(&file, FIXED)?;
        Region::open(file)
    }

    fn open(file: File) -> io::Result<Arc<Region>> {
        let facts = file.metadata()?;
        let identity = (facts.dev(), facts.ino());
        let page = page_size();
        let size = usize::try_from(facts.len()).ok().filter(|size| *size >= page && size.is_multiple_of(page));
        let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "memory that holds no locks"))?;
        let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = mapped.get(&identity).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let region =
            Arc::new(Region { base: map(&file, size, page)?, size, page, file, identity, holders: Default::default() });
        mapped.insert(identity, Arc::downgrade(&region));
        Ok(region)
    }

    /// Where it begins in this process. It is aligned to a page.
    pub(crate) fn address(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// How many bytes it has place for.
    pub(crate) fn capacity(&self) -> usize {
        self.size - RESERVED
    }

    pub(crate) fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), OutOfBounds> {
        copy_out(self.cells(offset, to.len())?, to);
        Ok(())
    }

    pub(crate) fn write(&self, offset: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        copy_in(self.cells(offset, from.len())?, from);
        Ok(())
    }

    /// A range, as atomic bytes.
    pub(crate) fn cells(&self, offset: usize, length: usize) -> Result<&[AtomicU8], OutOfBounds> {
        if offset.checked_add(length).is_none_or(|end| end > self.capacity()) {
            return Err(OutOfBounds { offset, length, size: self.capacity() });
        }
        // SAFETY: the range is inside of the mapping, which lives as long as `self`; an `AtomicU8` may be anywhere and hold
        // any value; and all that reach these bytes do so through atomics.
        Ok(unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset).cast(), length) })
    }

    /// The word at an offset that the caller knows to be inside and aligned.
    pub(crate) fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.capacity(), "a word outside of its memory");
        self.word_at(offset)
    }

    /// The double word at an offset that the caller knows to be inside and aligned.
    pub(crate) fn atomic_u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.capacity(), "a word outside of its memory");
        // SAFETY: it is inside of the mapping and aligned, since that begins at a page; all reach it through atomics.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// The lock's word.
    pub(super) fn lock_word(&self, which: Which) -> &AtomicU32 {
        self.word_at(self.size - RESERVED + which as usize * NODE)
    }

    /// The address of the `next` of the lock's node, in the private page.
    pub(super) fn node(&self, which: Which) -> usize {
        self.base.as_ptr().expose_provenance() + self.size + which as usize * NODE + 8
    }

    pub(super) fn holder(&self, which: Which) -> &Holder {
        &self.holders[which as usize]
    }

    fn word_at(&self, offset: usize) -> &AtomicU32 {
        debug_assert!(offset + 4 <= self.size);
        // SAFETY: both callers give an offset inside of the mapping and aligned, and the mapping begins at a page; all reach
        // it through atomics.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} bytes)", self.size)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
        // Meanwhile it may have come once more, and been mapped anew.
        if mapped.get(&self.identity).is_some_and(|known| known.strong_count() == 0) {
            mapped.remove(&self.identity);
        }
        // SAFETY: this is the mapping that `map` has made, and nothing can reach it any more: a node in a thread's list keeps
        // the region alive.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size + self.page) };
    }
}

/// A region as a part of a message: its descriptor.
pub(crate) mod as_descriptor {
    use super::Region;
    use crate::codec::{Descriptor, serialize_descriptor};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::os::fd::AsFd;
    use std::sync::Arc;

    pub(crate) fn serialize<S: Serializer>(region: &Arc<Region>, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_descriptor(region.as_fd(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Region>, D::Error> {
        Region::from_descriptor(Descriptor::deserialize(deserializer)?.into_inner()).map_err(D::Error::custom)
    }
}

/// Maps the file, and a private page behind it.
fn map(file: &File, size: usize, page: usize) -> io::Result<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, wherever the kernel likes.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size + page,
            access,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it takes the place of the beginning of the mapping that was just made, which nobody knows yet.
    let placed = unsafe { libc::mmap(base, size, access, libc::MAP_SHARED | libc::MAP_FIXED, file.as_raw_fd(), 0) };
    if placed == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        // SAFETY: as above.
        unsafe { libc::munmap(base, size + page) };
        return Err(error);
    }
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("memory at address 0"))
}

fn page_size() -> usize {
    // SAFETY: it takes a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
