//! Copying many bytes into shared memory, as fast as the processor does it.

use std::sync::atomic::AtomicU8;

/// From so many bytes on it is faster than word by word: it need not read what it overwrites.
const WORTH: usize = 4096;
/// Where it should begin: it is slow elsewhere.
const LINE: usize = 64;

/// Copies bytes to as many shared ones, in any order, and in pieces of any size: for memory that nobody else should use at the
/// same time.
pub(crate) fn copy_in(cells: &[AtomicU8], from: &[u8]) {
    let head = cells.as_ptr().align_offset(LINE);
    if cfg!(target_arch = "x86_64") && from.len() >= WORTH && head < LINE && cells.len() == from.len() {
        crate::memory::copy_in(&cells[..head], &from[..head]);
        copy(&cells[head..], &from[head..]);
    } else {
        crate::memory::copy_in(cells, from);
    }
}

#[cfg(target_arch = "x86_64")]
fn copy(cells: &[AtomicU8], from: &[u8]) {
    // SAFETY: both ranges are as long, and do not overlap, since one of them is borrowed exclusively or not shared at all. If
    // another process breaks the rules and uses the memory at the same time, then this is an instruction's race and not the
    // language's: the compiler knows nothing of what happens here but that memory changes, and any byte is a valid one.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") from.len() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rdi") cells.as_ptr() => _,
            options(nostack, preserves_flags)
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn copy(cells: &[AtomicU8], from: &[u8]) {
    crate::memory::copy_in(cells, from);
}
