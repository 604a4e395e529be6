//! The least that two processes need: a ring of slots in shared memory, one producer, one consumer, and a futex for each
//! to sleep on. It trusts its peer, knows nothing of deaths, and has one size of message: what the machine can do.

use anyhow::Result;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// Each on a cache line of its own.
#[repr(C, align(64))]
struct Side {
    /// How many messages this side has passed.
    count: AtomicU32,
    /// Whether this side sleeps, or is about to.
    sleeps: AtomicU32,
}

/// What a side does before it sleeps.
#[derive(Clone, Copy, Debug)]
pub enum Awake {
    Nothing,
    /// It lets the other side run, which is on the same processor.
    HandOver,
    /// It looks this often.
    Look(u32),
}

#[derive(Clone, Copy, Debug)]
pub struct Ring {
    memory: NonNull<u8>,
    slots: u32,
    size: usize,
    awake: Awake,
}

impl Ring {
    pub fn new(slots: u32, size: usize, awake: Awake) -> Result<Ring> {
        let bytes = 2 * size_of::<Side>() + slots as usize * size;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let length = NonZero::new(bytes).expect("two sides");
        // SAFETY: new memory, wherever the kernel wants it.
        let memory =
            unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE)? };
        Ok(Ring { memory: memory.cast(), slots, size, awake })
    }

    fn side(&self, index: usize) -> &Side {
        // SAFETY: the memory begins with two sides, zeroed, which is a valid value of both; it is never unmapped.
        unsafe { self.memory.cast::<Side>().add(index).as_ref() }
    }

    fn slot(&self, count: u32) -> *mut u8 {
        let slot = (count % self.slots) as usize;
        // SAFETY: the slots follow the two sides.
        unsafe { self.memory.as_ptr().add(2 * size_of::<Side>() + slot * self.size) }
    }

    /// Waits for the `other` side to have come further than `count`.
    fn wait(&self, own: usize, other: usize, count: u32) {
        let (own, other) = (self.side(own), &self.side(other).count);
        match self.awake {
            Awake::Nothing => {}
            Awake::HandOver => {
                if other.load(Ordering::Acquire) == count {
                    std::thread::yield_now();
                }
            }
            Awake::Look(times) => {
                for _ in 0..times {
                    if other.load(Ordering::Acquire) != count {
                        return;
                    }
                    std::hint::spin_loop();
                }
            }
        }
        while other.load(Ordering::Acquire) == count {
            own.sleeps.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            if other.load(Ordering::Acquire) == count {
                futex(other, nix::libc::FUTEX_WAIT, count);
            }
            own.sleeps.store(0, Ordering::Relaxed);
        }
    }

    fn advance(&self, own: usize, other: usize) {
        let count = &self.side(own).count;
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        fence(Ordering::SeqCst);
        if self.side(other).sleeps.load(Ordering::Relaxed) != 0 {
            futex(count, nix::libc::FUTEX_WAKE, 1);
        }
    }

    pub fn push(&self, message: &[u8]) {
        let count = self.side(0).count.load(Ordering::Relaxed);
        self.wait(0, 1, count.wrapping_sub(self.slots));
        // SAFETY: the slot is the producer's until it advances, and has room for a message of this size.
        unsafe { std::ptr::copy_nonoverlapping(message.as_ptr(), self.slot(count), message.len().min(self.size)) };
        self.advance(0, 1);
    }

    pub fn pop(&self, message: &mut [u8]) {
        let count = self.side(1).count.load(Ordering::Relaxed);
        self.wait(1, 0, count);
        // SAFETY: the slot is the consumer's until it advances.
        unsafe { std::ptr::copy_nonoverlapping(self.slot(count), message.as_mut_ptr(), message.len().min(self.size)) };
        self.advance(1, 0);
    }
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    let timeout = std::ptr::null::<nix::libc::timespec>();
    // SAFETY: the word outlives the call, and no time is given.
    unsafe { nix::libc::syscall(nix::libc::SYS_futex, word.as_ptr(), operation, value, timeout) };
}
