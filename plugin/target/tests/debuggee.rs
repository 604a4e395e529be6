//! A process for the tests of this crate to look at: it maps memory of every kind, tells on standard output where, and
//! then does what it is told by a word on standard input.

use nix::fcntl::OFlag;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect};
use std::error::Error;
use std::ffi::c_void;
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr::NonNull;
use std::slice;
use target::cache::{Cache, Key};

const PAGE: usize = 4096;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("idle") => {}
        Some("keep") => keep(&std::env::args().nth(2).ok_or("where?")?),
        Some("sparse") => sparse()?,
        Some("userfault") => userfault()?,
        Some(file) => memory(file)?,
        None => return Err("what to do?".into()),
    }
    println!("ready");
    let mut word = String::new();
    std::io::stdin().lock().read_line(&mut word)?;
    match word.trim() {
        "exec" => Err(Command::new("/proc/self/exe").arg("idle").exec().into()),
        "exit" | "" => Ok(()),
        other => Err(format!("what is {other}?").into()),
    }
}

/// Keeps facts in a folder, again and again: the content of each part is its number, as often as that number and a few.
fn keep(folder: &str) {
    let cache = Cache::open(folder.into(), 64 << 20);
    for round in 0..4 {
        for part in 0..250 {
            let key = Key { build_id: b"build", kind: "facts", part, version: 1 };
            cache.keep(&key, &vec![part as u8; part as usize * 64 + round]);
        }
    }
}

/// Memory of every kind, patterned by [`fill`].
fn memory(path: &str) -> Result<()> {
    // A page and a half, of which four pages are mapped: the rest of the second is zeros, and the others fault.
    let file = std::fs::File::open(path)?;
    tell("file", file_mapping(file.as_fd(), 4 * PAGE, MapFlags::MAP_PRIVATE, ProtFlags::PROT_READ)?, 4 * PAGE);

    let shared = memfd_create("told by others", MFdFlags::MFD_CLOEXEC)?;
    nix::unistd::ftruncate(&shared, 2 * PAGE as i64)?;
    let read_write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    tell("shared", file_mapping(shared.as_fd(), 2 * PAGE, MapFlags::MAP_SHARED, read_write)?, 2 * PAGE);
    println!("descriptor {:x} {:x}", shared.as_raw_fd(), shared.as_raw_fd());
    std::mem::forget(shared);

    let shared = anonymous(PAGE, MapFlags::MAP_SHARED)?;
    fill(shared, PAGE);
    tell("shared-anonymous", shared, PAGE);

    let dense = anonymous(4 << 20, MapFlags::MAP_PRIVATE)?;
    fill(dense, 4 << 20);
    tell("dense", dense, 4 << 20);

    // Comes last, for what is mapped later may fill the gap that it ends with.
    let hole = anonymous(5 * PAGE, MapFlags::MAP_PRIVATE)?;
    fill(hole, 5 * PAGE);
    protect(hole, 2 * PAGE, PAGE, ProtFlags::PROT_NONE)?;
    unmap_after(hole, 4 * PAGE, PAGE)?;
    tell("hole", hole, 5 * PAGE);
    Ok(())
}

/// 16 GiB, of which single pages are touched, and some that were only read.
fn sparse() -> Result<()> {
    const LENGTH: usize = 16 << 30;
    let start = anonymous(LENGTH, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE)?;
    // SAFETY: the mapping is ours.
    unsafe { libc::madvise(start.as_ptr(), LENGTH, libc::MADV_NOHUGEPAGE) };
    for offset in (0..LENGTH).step_by(64 << 20) {
        fill(at(start, offset + 8 * PAGE), PAGE);
    }
    let mut sum = 0_u64;
    for offset in (0..LENGTH).step_by(256 << 20) {
        // SAFETY: it lies within the mapping.
        sum += u64::from(unsafe { at(start, offset + 20 * PAGE).cast::<u8>().read_volatile() });
    }
    assert_eq!(sum, 0);
    tell("sparse", start, LENGTH);
    Ok(())
}

/// A private anonymous mapping whose missing pages a userfaultfd handler is to fill.
fn userfault() -> Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Api {
        api: u64,
        features: u64,
        ioctls: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Register {
        start: u64,
        length: u64,
        mode: u64,
        ioctls: u64,
    }
    nix::ioctl_readwrite!(api, 0xaa, 0x3f, Api);
    nix::ioctl_readwrite!(register, 0xaa, 0x00, Register);

    let start = anonymous(4 * PAGE, MapFlags::MAP_PRIVATE)?;
    // SAFETY: the call takes flags and returns a descriptor of ours; the requests are the structs that it expects.
    unsafe {
        let found = libc::syscall(libc::SYS_userfaultfd, OFlag::O_CLOEXEC.bits());
        let descriptor = OwnedFd::from_raw_fd(nix::errno::Errno::result(found)? as i32);
        api(descriptor.as_raw_fd(), &mut Api { api: 0xaa, ..Api::default() })?;
        let start = start.as_ptr() as u64;
        let mut request = Register { start, length: 2 * PAGE as u64, mode: 1, ioctls: 0 };
        register(descriptor.as_raw_fd(), &mut request)?;
        std::mem::forget(descriptor);
    }
    tell("userfault", start, 2 * PAGE);
    tell("plain", at(start, 2 * PAGE), 2 * PAGE);
    Ok(())
}

fn tell(name: &str, start: NonNull<c_void>, length: usize) {
    let start = start.as_ptr() as usize;
    println!("{name} {start:x} {:x}", start + length);
}

/// Each 8 bytes hold their own address.
fn fill(start: NonNull<c_void>, length: usize) {
    // SAFETY: callers give a mapping of ours that is writable, aligned, and not otherwise referred to.
    let words = unsafe { slice::from_raw_parts_mut(start.as_ptr().cast::<u64>(), length / 8) };
    for (index, word) in words.iter_mut().enumerate() {
        *word = start.as_ptr() as u64 + 8 * index as u64;
    }
}

fn at(start: NonNull<c_void>, offset: usize) -> NonNull<c_void> {
    // SAFETY: callers stay within the mapping.
    unsafe { start.byte_add(offset) }
}

fn anonymous(length: usize, flags: MapFlags) -> Result<NonNull<c_void>> {
    let length = NonZeroUsize::new(length).ok_or("nothing to map")?;
    // SAFETY: the kernel chooses the place.
    Ok(unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags)? })
}

fn file_mapping(file: BorrowedFd<'_>, length: usize, flags: MapFlags, access: ProtFlags) -> Result<NonNull<c_void>> {
    let length = NonZeroUsize::new(length).ok_or("nothing to map")?;
    // SAFETY: the kernel chooses the place.
    Ok(unsafe { mmap(None, length, access, flags, file, 0)? })
}

fn protect(start: NonNull<c_void>, offset: usize, length: usize, access: ProtFlags) -> Result<()> {
    // SAFETY: it lies within a mapping of ours that nothing refers to any more.
    unsafe { mprotect(at(start, offset), length, access) }.map_err(Into::into)
}

fn unmap_after(start: NonNull<c_void>, offset: usize, length: usize) -> Result<()> {
    // SAFETY: it lies within a mapping of ours that nothing refers to any more.
    unsafe { nix::sys::mman::munmap(at(start, offset), length) }.map_err(Into::into)
}
