//! Memory that processes share: anonymous files, passed by descriptor, without a name anywhere that could be left behind.

use crate::codec::{Descriptor, serialize_descriptor};
use memmap2::{Mmap, MmapOptions, MmapRaw, UncheckedAdvice};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// An anonymous file that can be sealed.
pub(crate) fn anonymous() -> io::Result<File> {
    // `noexec` keeps kernels quiet that want to know; those before 6.3 do not know the flag.
    let noexec = MFdFlags::from_bits_retain(0x8);
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let descriptor = match memfd_create(c"multiprocessing", flags | noexec) {
        Err(Errno::EINVAL) => memfd_create(c"multiprocessing", flags),
        other => other,
    }?;
    Ok(File::from(descriptor))
}

pub(crate) fn add_seals(file: &File, seals: SealFlag) -> io::Result<()> {
    fcntl(file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// Whether the descriptor is an anonymous file with at least these seals; anything else could change under a mapping.
pub(crate) fn require_seals(file: &File, seals: SealFlag) -> io::Result<()> {
    let found = SealFlag::from_bits_retain(fcntl(file, FcntlArg::F_GET_SEALS)?);
    if found.contains(seals) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "memory that its sender may still cut or write"))
    }
}

/// An access outside of a [`SharedMemory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes at offset {offset} of a shared memory of {size} bytes")]
pub struct OutOfBounds {
    /// Where the access was to begin.
    pub offset: usize,
    /// How many bytes it was to touch.
    pub length: usize,
    /// The size of the memory.
    pub size: usize,
}

/// Memory that several processes read and write at the same time. Its size is fixed: it is sealed, so no holder of the
/// descriptor can cut it, and an access never ends in SIGBUS.
///
/// Every access is atomic byte by byte or word by word, in relaxed order, for another process may write at any time.
///
/// It can be a part of any message between processes (an argument, a value, an item of a queue): there it is its descriptor,
/// and the receiver maps the same memory. Nothing of it has a name, so nothing is left when the last process has let it go.
///
/// ```
/// use multiprocessing::SharedMemory;
/// use std::sync::atomic::Ordering;
///
/// let memory = SharedMemory::new(4096)?;
/// memory.write(16, b"block")?;
/// // This is what happens to it on its way to another process.
/// let message = multiprocessing::codec::encode(&memory)?;
/// let other: SharedMemory = multiprocessing::codec::decode(&message.bytes, message.descriptors)?;
/// let mut bytes = [0; 5];
/// other.read(16, &mut bytes)?;
/// assert_eq!(&bytes, b"block");
/// if let Some(word) = other.atomic_u32(0) {
///     word.store(1, Ordering::Release);
/// }
/// assert!(memory.write(4095, b"beyond").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SharedMemory {
    map: MmapRaw,
    file: File,
}

pub(crate) const FIXED: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW);
const FROZEN: SealFlag = FIXED.union(SealFlag::F_SEAL_WRITE);

impl SharedMemory {
    /// New memory of `size` bytes, all zero. Pages are taken when they are first written.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new(size: usize) -> io::Result<SharedMemory> {
        let file = anonymous()?;
        file.set_len(size as u64)?;
        add_seals(&file, FIXED | SealFlag::F_SEAL_SEAL)?;
        SharedMemory::map(file)
    }

    /// Maps memory that another process made with [`SharedMemory::new`].
    ///
    /// # Errors
    /// The descriptor is something else, or memory whose size may change.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<SharedMemory> {
        let file = File::from(descriptor);
        require_seals(&file, FIXED)?;
        SharedMemory::map(file)
    }

    fn map(file: File) -> io::Result<SharedMemory> {
        let map = MmapOptions::new().map_raw(&file)?;
        Ok(SharedMemory { map, file })
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it begins in this process. It is aligned to a page.
    pub(crate) fn address(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// Copies bytes from `offset` on into `to`.
    ///
    /// # Errors
    /// The range is not inside of the memory.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), OutOfBounds> {
        copy_out(self.cells(offset, to.len())?, to);
        Ok(())
    }

    /// Copies `from` to `offset` and on.
    ///
    /// # Errors
    /// The range is not inside of the memory.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        copy_in(self.cells(offset, from.len())?, from);
        Ok(())
    }

    /// The four bytes at `offset` as an atomic integer; `None` outside of the memory or where it is not aligned.
    pub fn atomic_u32(&self, offset: usize) -> Option<&AtomicU32> {
        let inside = offset.is_multiple_of(4) && offset.checked_add(4)? <= self.len();
        // SAFETY: the address is inside of the mapping, which lives as long as `self`, and aligned, since the mapping begins
        // at a page. Other threads and processes reach these bytes through atomics too.
        inside.then(|| unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(offset).cast()) })
    }

    /// The eight bytes at `offset` as an atomic integer; `None` outside of the memory or where it is not aligned.
    pub fn atomic_u64(&self, offset: usize) -> Option<&AtomicU64> {
        let inside = offset.is_multiple_of(8) && offset.checked_add(8)? <= self.len();
        // SAFETY: as for `atomic_u32`.
        inside.then(|| unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(offset).cast()) })
    }

    /// A range, as atomic bytes.
    pub(crate) fn cells(&self, offset: usize, length: usize) -> Result<&[AtomicU8], OutOfBounds> {
        if offset.checked_add(length).is_none_or(|end| end > self.len()) {
            return Err(OutOfBounds { offset, length, size: self.len() });
        }
        // SAFETY: the range is inside of the mapping, which lives as long as `self`; an `AtomicU8` may be anywhere and hold
        // any value; and all that reach these bytes do so through atomics.
        Ok(unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().add(offset).cast(), length) })
    }
}

/// All of it as atomic integers of eight bytes; fewer than eight bytes at the end are left out.
impl AsRef<[AtomicU64]> for SharedMemory {
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: the range is inside of the mapping, which lives as long as `self`, and aligned, since the mapping begins at
        // a page. Any bytes are an integer, and all that reach these do so through atomics.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast(), self.len() / 8) }
    }
}

/// Atomic bytes as bytes up to the first aligned word, words, and the bytes after them.
fn words(cells: &[AtomicU8]) -> (&[AtomicU8], &[AtomicU64], &[AtomicU8]) {
    // SAFETY: `align_to` gives the middle only where it is aligned, and eight atomic bytes are a valid atomic word.
    unsafe { cells.align_to::<AtomicU64>() }
}

/// Copies shared bytes, of which there must be as many as there is place; each word or byte by itself is whole.
pub(crate) fn copy_out(cells: &[AtomicU8], to: &mut [u8]) {
    let (head, words, tail) = words(cells);
    let (to_head, rest) = to.split_at_mut(head.len());
    let (to_words, to_tail) = rest.split_at_mut(words.len() * 8);
    for (cell, byte) in head.iter().zip(to_head).chain(tail.iter().zip(to_tail)) {
        *byte = cell.load(Ordering::Relaxed);
    }
    for (cell, word) in words.iter().zip(to_words.chunks_exact_mut(8)) {
        word.copy_from_slice(&cell.load(Ordering::Relaxed).to_ne_bytes());
    }
}

/// Copies bytes to as many shared ones; each word or byte by itself is whole.
pub(crate) fn copy_in(cells: &[AtomicU8], from: &[u8]) {
    let (head, words, tail) = words(cells);
    let (from_head, rest) = from.split_at(head.len());
    let (from_words, from_tail) = rest.split_at(words.len() * 8);
    for (cell, byte) in head.iter().zip(from_head).chain(tail.iter().zip(from_tail)) {
        cell.store(*byte, Ordering::Relaxed);
    }
    for (cell, word) in words.iter().zip(from_words.as_chunks().0) {
        cell.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_descriptor(self.as_fd(), serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedMemory, D::Error> {
        let descriptor = Descriptor::deserialize(deserializer)?.into_inner();
        SharedMemory::from_descriptor(descriptor).map_err(D::Error::custom)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Bytes in memory that nobody can write or cut any more, not even the process that made them: so they can be used in place,
/// as a slice, wherever they came from.
#[derive(Debug)]
pub struct SealedMemory {
    map: Mmap,
}

impl SealedMemory {
    /// Copies `bytes` into new sealed memory, to be sent to another process.
    ///
    /// # Errors
    /// The process has no descriptor, or the machine no memory, left.
    pub fn descriptor(bytes: &[u8]) -> io::Result<OwnedFd> {
        let mut file = SealedMemory::begin()?;
        file.write_all(bytes)?;
        SealedMemory::finish(file)
    }

    /// Memory that is not sealed yet, to be written from its beginning on.
    pub(crate) fn begin() -> io::Result<File> {
        anonymous()
    }

    /// Seals it.
    pub(crate) fn finish(file: File) -> io::Result<OwnedFd> {
        add_seals(&file, FROZEN | SealFlag::F_SEAL_SEAL)?;
        Ok(file.into())
    }

    /// Maps sealed memory; the descriptor is closed.
    ///
    /// # Errors
    /// The descriptor is something else, or memory that may still be written or cut.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<SealedMemory> {
        let file = File::from(descriptor);
        require_seals(&file, FROZEN)?;
        // SAFETY: the seals mean that nobody, in whatever process, can change the file's bytes or its length from here on.
        // A private mapping is asked for because kernels before 6.7 refuse a shared one of such a file.
        let map = unsafe { MmapOptions::new().map_copy_read_only(&file) }?;
        Ok(SealedMemory { map })
    }
}

impl SealedMemory {
    /// Says that this range will not be looked at again soon: until then it does not count as this process's memory.
    pub(crate) fn pass_over(&self, from: usize, to: usize) {
        let page = 4096;
        let (from, to) = (from.next_multiple_of(page), to / page * page);
        if from < to {
            // SAFETY: nobody writes to these pages, here or anywhere, so that they come back as they are when they are looked at
            // again. It fails where a page is larger, and then nothing happens.
            let _ = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, from, to - from) };
        }
    }
}

impl Deref for SealedMemory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::MFdFlags;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    proptest! {
        #[test]
        fn what_is_written_is_read_through_another_mapping(at in 0_usize..80, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let memory = SharedMemory::new(100).expect("memory");
            let other = SharedMemory::from_descriptor(memory.as_fd().try_clone_to_owned().expect("descriptor")).expect("same memory");
            let mut naive = vec![0; 100];
            let written = memory.write(at, &bytes);
            prop_assert_eq!(written.is_ok(), at + bytes.len() <= 100);
            if written.is_ok() {
                naive[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            let mut found = vec![1; 100];
            other.read(0, &mut found).expect("all of it");
            prop_assert_eq!(&found, &naive);
            let mut part = vec![1; 100 - at];
            other.read(at, &mut part).expect("a part");
            prop_assert_eq!(&part, &naive[at..]);
        }
    }

    #[test]
    fn atomics_are_inside_and_aligned() {
        let memory = SharedMemory::new(16).expect("memory");
        memory.atomic_u64(8).expect("inside").store(u64::from_ne_bytes(*b"abcdefgh"), Ordering::Relaxed);
        let mut bytes = [0; 4];
        memory.read(12, &mut bytes).expect("inside");
        assert_eq!(&bytes, b"efgh");
        assert!(memory.atomic_u32(12).is_some());
        assert!(
            memory.atomic_u32(14).is_none()
                && memory.atomic_u32(16).is_none()
                && memory.atomic_u32(usize::MAX - 3).is_none()
        );
        assert!(memory.atomic_u64(12).is_none() && memory.atomic_u64(16).is_none());
    }

    #[test]
    fn shared_memory_cannot_be_cut() {
        let memory = SharedMemory::new(100).expect("memory");
        assert!(memory.file.set_len(10).is_err());
        assert!(memory.file.set_len(1000).is_err());
    }

    #[test]
    fn sealed_memory_cannot_be_written() {
        let descriptor = SealedMemory::descriptor(b"sealed").expect("memory");
        let file = File::from(descriptor.try_clone().expect("descriptor"));
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.set_len(1).is_err());
        assert_eq!(&*SealedMemory::from_descriptor(descriptor).expect("our own"), b"sealed");
    }

    #[test]
    fn memory_that_may_change_is_refused() {
        let open: OwnedFd = memfd_create(c"test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).expect("memory");
        assert!(SharedMemory::from_descriptor(open.try_clone().expect("descriptor")).is_err());
        assert!(SealedMemory::from_descriptor(open).is_err());
        let shared = SharedMemory::new(10).expect("memory").as_fd().try_clone_to_owned().expect("descriptor");
        assert!(SealedMemory::from_descriptor(shared).is_err());
        let disk: OwnedFd = tempfile::tempfile().expect("file").into();
        assert!(SharedMemory::from_descriptor(disk).is_err());
    }
}
