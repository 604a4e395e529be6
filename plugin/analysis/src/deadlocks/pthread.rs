//! Structures of glibc that threads wait in, on x86-64.
//!
//! Sources: `nptl/pthread_mutex_lock.c`, `nptl/pthreadP.h`, `sysdeps/x86/nptl/bits/struct_mutex.h` and `struct_rwlock.h`,
//! `sysdeps/nptl/bits/thread-shared-types.h`, `nptl/pthread_rwlock_common.c`, `nptl/descr.h` and `sysdeps/nptl/stdio-lock.h` of
//! glibc 2.31 to 2.42.

use super::futex::{Futex, Operation};
use super::lock::{Holders, Lock, garbage};
use super::reader::{Reader, half, word};

/// No thread has a larger number (PID_MAX_LIMIT of Linux).
const LARGEST_ID: u32 = 1 << 22;

/// In the word of a lock that the kernel knows of: others wait for it, and its owner has died. The rest is the owner's id.
const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const ID: u32 = 0x3fff_ffff;

/// Owners of a robust mutex that are none: whoever gets it is to repair what it protects, or nobody gets it any more.
const INCONSISTENT: u32 = 0x7fff_ffff;
const NOT_RECOVERABLE: u32 = 0x7fff_fffe;

/// Of the kind of a mutex: its type, and flags.
const TYPE: u32 = 3;
const ROBUST: u32 = 16;
const INHERIT: u32 = 32;
const PROTECT: u32 = 64;
const SHARED: u32 = 128;
/// Whether its lock may be elided, or may not.
const ELISION: u32 = 256 | 512;

/// A pthread_mutex_t: its word at 0, the owner at 8, its kind at 16.
///
/// # Errors
/// Why it is none.
pub(super) fn mutex(futex: &Futex, reader: Reader<'_>) -> Result<Lock, String> {
    let address = futex.address;
    let bytes = reader.bytes::<20>(address).ok_or("its memory cannot be read")?;
    let (value, owner, kind) = (half(&bytes, 0), half(&bytes, 8), half(&bytes, 16));
    if kind & !(TYPE | ROBUST | INHERIT | PROTECT | SHARED | ELISION) != 0 {
        return Err(format!("it is of no kind that there is, {kind:#x}"));
    }
    let known_to_kernel = kind & (ROBUST | INHERIT) != 0;
    // A ceiling of priorities stands above the number.
    let plain = if kind & PROTECT != 0 { value & 0x7_ffff } else { value };
    if known_to_kernel && value & ID > LARGEST_ID || !known_to_kernel && plain > 2 {
        return Err(garbage(value));
    }
    if owner > LARGEST_ID && !matches!(owner, INCONSISTENT | NOT_RECOVERABLE) {
        return Err(format!("its owner would be thread {owner}"));
    }
    // Who waits for one that the kernel does not know of has found, or made, a 2 in it.
    let expected = match (known_to_kernel, futex.operation) {
        (true, Operation::Inheriting) => true,
        (true, _) => futex.expected & (WAITERS | OWNER_DIED) != 0,
        (false, _) => futex.expected & 0x7_ffff == 2,
    };
    if !expected {
        return Err(format!("who waits for it has seen {:#x}", futex.expected));
    }
    let owner = if known_to_kernel { value & ID } else { owner };
    let name = mutex_kind(kind);
    Ok(match (value, owner) {
        _ if known_to_kernel && value & OWNER_DIED != 0 => Lock {
            state: Some("its owner has died, and nobody has repaired it".to_owned()),
            ..Lock::new(address, name, Holders::Nobody)
        },
        // Of a lock that the kernel does not know of, a ceiling is left in the word when nobody has it.
        _ if plain == 0 && (!known_to_kernel || value & ID == 0) => Lock::free(address, name),
        // It has been taken, and who has taken it is about to say so.
        (_, 0 | INCONSISTENT | NOT_RECOVERABLE) => Lock::new(address, name, Holders::Untold(1)),
        // Every robust mutex has that flag.
        _ => Lock {
            state: (kind & (SHARED | ROBUST) == SHARED).then(|| "shared with other processes".to_owned()),
            ..Lock::new(address, name, Holders::Told(vec![u64::from(owner)]))
        },
    })
}

/// What a mutex is called by its kind.
fn mutex_kind(kind: u32) -> String {
    let name = ["mutex", "recursive mutex", "error-checking mutex", "adaptive mutex"][(kind & TYPE) as usize];
    let robust = if kind & ROBUST != 0 { "robust " } else { "" };
    let inherit = if kind & INHERIT != 0 { "priority-inheriting " } else { "" };
    let protect = if kind & PROTECT != 0 { "priority-protecting " } else { "" };
    format!("{robust}{inherit}{protect}{name}")
}

/// A pthread_rwlock_t, by the word of it that is waited for: at 8 for its phase, at 12 for writers to become the first. At 0 it
/// counts readers, from bit 3 on; at 24 it has the writer's id.
///
/// # Errors
/// Why it is none.
pub(super) fn rwlock(futex: u64, reader: Reader<'_>) -> Result<Lock, String> {
    /// Of the readers' word: readers may not pass before the writers, a writer has it or is to have it, readers wait.
    const WRITE_PHASE: u32 = 1;
    const WRITE_LOCKED: u32 = 2;
    const READERS: u32 = 3;
    let address = futex.checked_sub(if futex.is_multiple_of(8) { 8 } else { 12 }).ok_or("it would begin below 0")?;
    let bytes = reader.bytes::<52>(address).ok_or("its memory cannot be read")?;
    let [readers, writers, phase, first] = [0, 4, 8, 12].map(|offset| half(&bytes, offset));
    let [writer, shared, flags] = [24, 28, 48].map(|offset| half(&bytes, offset));
    let count = readers >> READERS;
    let most = |number: u32, most: u32| number <= most;
    // Each of the two words is a flag, and another one of whether anybody waits.
    if !(most(phase, 3) && most(first, 3) && most(shared, 1) && most(flags, 3)) {
        return Err(format!("its words are {phase:#x}, {first:#x} and {flags:#x}"));
    }
    if !(most(count, LARGEST_ID) && most(writer, LARGEST_ID) && most(writers & 0x7fff_ffff, LARGEST_ID)) {
        return Err(format!("it would have {count} readers and thread {writer} as its writer"));
    }
    let lock = |holders, state: String| Lock { state: Some(state), ..Lock::new(address, "rwlock", holders) };
    Ok(match (writer, count) {
        (1.., _) => lock(Holders::Told(vec![u64::from(writer)]), "locked to write".to_owned()),
        // In the phase of writers, readers that are counted wait.
        (0, 1..) if readers & WRITE_PHASE == 0 => lock(Holders::Untold(count), format!("locked to read {count} times")),
        _ if readers & WRITE_LOCKED != 0 => Lock::new(address, "rwlock", Holders::Untold(1)),
        _ => Lock::free(address, "rwlock"),
    })
}

/// Where a pthread_cond_t begins, by the word of it that is waited for: that of one of its two groups. They are at 40 and 44 up to
/// 2.41, and at 32 and 36 from 2.42 on, since it does not count references any more; but releases of earlier versions have
/// that change too, so what is in memory decides.
pub(super) fn condition(futex: u64, reader: Reader<'_>) -> Option<u64> {
    let group = if futex.is_multiple_of(8) { 0 } else { 1 };
    let aligned = futex & !7;
    let before = |address: u64| {
        let bytes = reader.bytes::<48>(address)?;
        let [sequence, first] = [word(&bytes, 0), word(&bytes, 8)];
        // Who waits is counted twice: in each group, from bit 1 on, and together, from bit 3 on.
        let counts = [16, 20].map(|offset| half(&bytes, offset) >> 1);
        let waiters = counts[0].checked_add(counts[1])?;
        let is_waited_for = counts[group as usize] > 0 && waiters == half(&bytes, 36) >> 3;
        (is_waited_for && sequence >> 1 >= first >> 1).then_some(address)
    };
    let since = |address: u64| {
        let bytes = reader.bytes::<32>(address)?;
        let [sequence, first] = [word(&bytes, 0), word(&bytes, 8)];
        (sequence > 1 && sequence >= first && half(&bytes, 28) >> 3 > 0).then_some(address)
    };
    let before = aligned.checked_sub(40).and_then(before);
    before.or_else(|| aligned.checked_sub(32).and_then(since))
}

/// Where a pthread_barrier_t begins, by the word of it that is waited for: its round, at 4. How many have come in is at 0, and how
/// many are waited for at 8.
pub(super) fn barrier(futex: u64, reader: Reader<'_>) -> Option<u64> {
    let address = futex.checked_sub(4)?;
    let bytes = reader.bytes::<12>(address)?;
    let [come, round, count] = [0, 4, 8].map(|offset| half(&bytes, offset));
    (0 < count && come.wrapping_sub(round) <= count).then_some(address)
}

/// In a `struct pthread`, which begins with a pointer to itself: another one, and the thread's id, which the kernel clears and
/// wakes who waits for it when the thread ends.
const SELF: u64 = 0x10;
const TID: u64 = 0x2d0;

/// What a thread that joins another one waits for.
pub(super) const END: &str = "end of a thread";

/// Whether there is a `struct pthread` at an address, by the bytes there.
fn is_descriptor(address: u64, bytes: &[u8; 24]) -> bool {
    let is_aligned = address != 0 && address.is_multiple_of(64);
    is_aligned && word(bytes, 0) == address && word(bytes, SELF as usize) == address
}

/// Of the bytes at an address those that lie below the `struct pthread` of a thread, which is at the top of the mapping that its stack
/// is in: what is in there was put there by no call.
pub(super) fn below_descriptor(address: u64, stack: &[u8]) -> &[u8] {
    let first = (address.wrapping_neg() % 64) as usize;
    let is_here = |at: &usize| {
        let bytes = stack.get(*at..).and_then(<[u8]>::first_chunk);
        bytes.is_some_and(|bytes| is_descriptor(address + *at as u64, bytes))
    };
    let end = (first..stack.len()).step_by(64).find(is_here);
    &stack[..end.unwrap_or(stack.len())]
}

/// The id of a thread by its `struct pthread`; `None` if it is none.
fn thread_id(descriptor: u64, reader: Reader<'_>) -> Option<u32> {
    let is_descriptor = is_descriptor(descriptor, &reader.bytes(descriptor)?);
    let id = is_descriptor.then(|| reader.half(descriptor.checked_add(TID)?)).flatten()?;
    (id <= LARGEST_ID).then_some(id)
}

/// The end of a thread, which pthread_join waits for; `None` if the word is not the id in a `struct pthread`.
pub(super) fn join(futex: u64, reader: Reader<'_>) -> Option<Lock> {
    let descriptor = futex.checked_sub(TID)?;
    Some(match thread_id(descriptor, reader)? {
        0 => Lock { state: Some("it has ended".to_owned()), ..Lock::new(descriptor, END, Holders::Event) },
        id => Lock::new(descriptor, END, Holders::Told(vec![u64::from(id)])),
    })
}

/// The lock of a stream of stdio's: a word, how many times it is locked at 4, and the owner's `struct pthread` at 8. `None` if it
/// is another lock.
pub(super) fn stream(address: u64, reader: Reader<'_>) -> Option<Lock> {
    let bytes = reader.bytes::<16>(address)?;
    let (value, count) = (half(&bytes, 0), half(&bytes, 4));
    let id = (matches!(value, 1 | 2) && count > 0).then(|| thread_id(word(&bytes, 8), reader)).flatten()?;
    Some(Lock::new(address, "stream", Holders::Told(vec![u64::from(id)])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestMemory;

    #[test]
    fn a_stack_ends_below_the_descriptor_of_its_thread() {
        let mut stack = vec![0_u8; 4096];
        let address = 0x7000_0008_u64;
        assert_eq!(below_descriptor(address, &stack).len(), 4096);
        let mut put = |at: u64, word: u64| {
            let at = (at - address) as usize;
            stack[at..at + 8].copy_from_slice(&word.to_le_bytes());
        };
        // One that is not aligned, one that points to itself only once, and one.
        for at in [0x7000_0108, 0x7000_0118] {
            put(at, 0x7000_0108);
        }
        put(0x7000_0200, 0x7000_0200);
        for at in [0x7000_0740, 0x7000_0750] {
            put(at, 0x7000_0740);
        }
        assert_eq!(below_descriptor(address, &stack).len(), 0x738);
        assert_eq!(below_descriptor(address, &stack[..0x748]).len(), 0x748, "it is cut off before that can be told");
        assert_eq!(below_descriptor(u64::MAX - 7, &stack[..8]).len(), 8);
        assert_eq!(below_descriptor(0, &[]).len(), 0);
    }

    #[test]
    fn nothing_begins_below_0() {
        let memory = TestMemory::plain(0, vec![1; 4096]);
        for futex in 0..32 {
            assert_eq!(condition(futex, Reader(&memory)), None, "{futex}");
            assert_eq!(join(futex, Reader(&memory)), None, "{futex}");
        }
        assert_eq!(barrier(3, Reader(&memory)), None);
        assert_eq!(rwlock(4, Reader(&memory)), Err("it would begin below 0".to_owned()));
    }
}
