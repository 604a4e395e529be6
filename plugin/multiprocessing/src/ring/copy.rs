//! Copying into and out of memory that another process may write at the same time.
//!
//! What such a process writes meanwhile can only make the bytes wrong, not more: short copies go through relaxed atomics; long
//! ones through one machine instruction, of which the compiler knows only that it touches memory.

use crate::memory::SharedMemory;

/// From which length on the instruction is the faster way.
#[cfg(target_arch = "x86_64")]
const LONG: usize = 256;

/// Copies bytes to `offset` and on; outside of the memory, nothing.
pub(super) fn into_shared(memory: &SharedMemory, offset: usize, from: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    if from.len() >= LONG && inside(memory, offset, from.len()) {
        // SAFETY: the source is a slice, and the target that many bytes inside of the mapping, which `memory` keeps alive.
        unsafe { copy(from.as_ptr(), memory.address().add(offset), from.len()) };
        return;
    }
    let _ = memory.write(offset, from);
}

/// Appends `length` bytes from `offset` on to `to`; outside of the memory, nothing.
pub(super) fn out_of_shared(memory: &SharedMemory, offset: usize, length: usize, to: &mut Vec<u8>) {
    #[cfg(target_arch = "x86_64")]
    if length >= LONG && inside(memory, offset, length) {
        to.reserve(length);
        let end = to.len();
        // SAFETY: the source is that many bytes inside of the mapping, which `memory` keeps alive. There is room for them behind
        // the vector's end, where nothing else can be, and the copy has made them all values when the length says so.
        unsafe {
            copy(memory.address().add(offset), to.as_mut_ptr().add(end), length);
            to.set_len(end + length);
        }
        return;
    }
    let end = to.len();
    to.resize(end + length, 0);
    let _ = memory.read(offset, &mut to[end..]);
}

#[cfg(target_arch = "x86_64")]
fn inside(memory: &SharedMemory, offset: usize, length: usize) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= memory.len())
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_bytes_and_stays_inside() {
        let memory = SharedMemory::new(1000).expect("memory");
        for length in [0, 1, 7, 255, 256, 900] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            into_shared(&memory, 3, &bytes);
            let mut found = b"before".to_vec();
            out_of_shared(&memory, 3, length, &mut found);
            assert_eq!(found, [&b"before"[..], &bytes].concat());
        }
        into_shared(&memory, 900, &[1; 300]);
        into_shared(&memory, usize::MAX, &[1; 300]);
        let mut found = Vec::new();
        out_of_shared(&memory, 900, 100, &mut found);
        assert!(!found.contains(&1));
    }
}
