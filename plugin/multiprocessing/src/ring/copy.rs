//! Copying into and out of memory that another process may write at the same time.
//!
//! What such a process writes meanwhile can only make the bytes wrong, not more: short copies go word by word through relaxed
//! atomics, or byte by byte; long ones through one machine instruction, of which the compiler knows only that it touches memory.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// From which length on the instruction is the faster way.
const LONG: usize = if cfg!(target_arch = "x86_64") { 512 } else { usize::MAX };

/// Copies bytes to `to` and on.
///
/// # Safety
/// So many bytes there can be written, and are reached in no other way than in this module.
pub(super) unsafe fn into_shared(to: *mut u8, from: &[u8]) {
    if from.len() >= LONG {
        // SAFETY: the source is a slice, and the caller vouches for the target.
        return unsafe { copy(from.as_ptr(), to, from.len()) };
    }
    let aligned = to.addr().is_multiple_of(8);
    let (words, rest) = if aligned { from.as_chunks::<8>() } else { (&[][..], from) };
    for (i, word) in words.iter().enumerate() {
        // SAFETY: it is within the caller's range, and aligned.
        let cell = unsafe { AtomicU64::from_ptr(to.add(i * 8).cast()) };
        cell.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
    }
    for (i, byte) in rest.iter().enumerate() {
        // SAFETY: it is within the caller's range.
        let cell = unsafe { AtomicU8::from_ptr(to.add(words.len() * 8 + i)) };
        cell.store(*byte, Ordering::Relaxed);
    }
}

/// Appends `length` bytes from `from` on to `to`.
///
/// # Safety
/// So many bytes there can be read, and are reached in no other way than in this module.
pub(super) unsafe fn out_of_shared(from: *mut u8, length: usize, to: &mut Vec<u8>) {
    to.reserve(length);
    if length >= LONG {
        let end = to.len();
        // SAFETY: the caller vouches for the source. There is room behind the vector's end, where nothing else can be, and the
        // copy has made all of it values when the length says so.
        unsafe {
            copy(from, to.as_mut_ptr().add(end), length);
            to.set_len(end + length);
        }
        return;
    }
    let words = if from.addr().is_multiple_of(8) { length / 8 } else { 0 };
    for i in 0..words {
        // SAFETY: it is within the caller's range, and aligned.
        let cell = unsafe { AtomicU64::from_ptr(from.add(i * 8).cast()) };
        to.extend_from_slice(&cell.load(Ordering::Relaxed).to_ne_bytes());
    }
    for i in words * 8..length {
        // SAFETY: it is within the caller's range.
        let cell = unsafe { AtomicU8::from_ptr(from.add(i)) };
        to.push(cell.load(Ordering::Relaxed));
    }
}

/// Copies so many bytes, ascending.
///
/// # Safety
/// `from` can be read and `to` written for that length, and they do not overlap. One of them may be written by another process
/// meanwhile.
#[cfg(target_arch = "x86_64")]
unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the instruction reads and writes the two ranges only, changes these registers only, and the direction flag is
    // clear, as it is wherever Rust runs. As the compiler cannot see into it, it does not count on what another process may change.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") length => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags)
        );
    }
}

/// As above, where there is no such instruction; it is not called.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn copy(from: *const u8, to: *mut u8, length: usize) {
    // SAFETY: the caller vouches for both.
    unsafe { std::ptr::copy_nonoverlapping(from, to, length) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_bytes() {
        let mut space = vec![0_u64; 200];
        let base: *mut u8 = space.as_mut_ptr().cast();
        for skip in [0, 3, 8] {
            for length in [0, 1, 7, 8, 255, 512, 900] {
                let bytes: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
                let mut found = b"before".to_vec();
                // SAFETY: the space is larger than any of these.
                unsafe {
                    into_shared(base.add(skip), &bytes);
                    out_of_shared(base.add(skip), length, &mut found);
                }
                assert_eq!(found, [&b"before"[..], &bytes].concat());
            }
        }
    }
}
