//! Locks of Rust's standard library on Linux. None of them says which thread has it.
//!
//! Source: `library/std/src/sys/sync/{mutex,rwlock}/futex.rs` of Rust, the same in 1.62 (`sys/unix/locks`) to 1.95.

use super::lock::{Holders, Lock, garbage};
use super::reader::Reader;
use super::site::Want;

/// A mutex is a word: 0 if it is free, 1 if a thread has it, 2 if others wait for it as well.
pub(super) fn mutex(address: u64, value: u32, kind: &str) -> Lock {
    match value {
        0 => Lock::free(address, kind),
        1 | 2 => Lock::new(address, kind, Holders::Untold(1)),
        _ => Lock::unknown(address, garbage(value)),
    }
}

/// A read-write lock has two words. The first counts its readers in 30 bits, all of which are set while a writer has it; writers
/// wait for the second.
pub(super) fn rwlock(address: u64, want: Want, reader: Reader<'_>) -> Lock {
    const COUNT: u32 = (1 << 30) - 1;
    /// There are no more threads than this (PID_MAX_LIMIT of Linux), and hardly a thread that reads twice.
    const MOST: u32 = 1 << 22;
    const KIND: &str = "Rust rwlock";
    let start = match want {
        Want::Read => Some(address),
        Want::Write => address.checked_sub(4),
    };
    let Some((start, state)) = start.and_then(|start| Some((start, reader.half(start)?))) else {
        return Lock::unknown(address, "its memory cannot be read".to_owned());
    };
    match state & COUNT {
        0 => Lock::free(start, KIND),
        COUNT => Lock { state: Some("locked to write".to_owned()), ..Lock::new(start, KIND, Holders::Untold(1)) },
        count if count <= MOST => Lock {
            state: Some(format!("locked to read {count} times")),
            ..Lock::new(start, KIND, Holders::Untold(count))
        },
        _ => Lock::unknown(start, garbage(state)),
    }
}
