//! What a word that threads wait for is part of: a mutex, a condition variable, …, and who has it.

use super::futex::Futex;
use super::reader::Reader;
use super::site::Hint;
use super::{pthread, rust};

/// Something that threads wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    /// Where it begins, not the word in it that is waited for.
    pub address: u64,
    pub kind: String,
    pub holders: Holders,
    pub state: Option<String>,
}

/// Who has a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    /// Nobody can have it: it is something that happens.
    Event,
    /// It is free.
    Nobody,
    /// The threads of these ids, as the lock says.
    Told(Vec<u64>),
    /// So many, and the lock does not say who.
    Untold(u32),
    Unknown,
}

impl Lock {
    pub fn new(address: u64, kind: impl Into<String>, holders: Holders) -> Self {
        Self { address, kind: kind.into(), holders, state: None }
    }

    fn event(address: u64, kind: &str) -> Self {
        Self::new(address, kind, Holders::Event)
    }

    /// One that has nothing in memory of what the thread that waits takes it for.
    pub fn unknown(address: u64, state: String) -> Self {
        Self { state: Some(state), ..Self::new(address, "unknown", Holders::Unknown) }
    }

    /// Whether it is to be had, and not just to happen.
    pub fn is_had(&self) -> bool {
        self.holders != Holders::Event && self.kind != pthread::END
    }

    /// A lock that is free: who waits has not been woken yet, or has not got to run.
    pub fn free(address: u64, kind: impl Into<String>) -> Self {
        Self { state: Some("free, about to be taken".to_owned()), ..Self::new(address, kind, Holders::Nobody) }
    }
}

/// What is wrong with a word that holds a number which no such lock has.
pub(super) fn garbage(word: u32) -> String {
    format!("its word is {word:#x}")
}

/// What the words around a futex and the functions that wait for it say that it is. Structures that cannot be mistaken for others
/// count more than names, which a stripped library has few of.
pub(super) fn identify(futex: &Futex, hint: Option<Hint>, reader: Reader<'_>, is_thread: &dyn Fn(u64) -> bool) -> Lock {
    let address = futex.address;
    let Some(value) = reader.half(address) else {
        return Lock::unknown(address, "its memory cannot be read".to_owned());
    };
    let strict = || pthread::mutex(futex, reader).ok().filter(|lock| is_held(lock, is_thread));
    match hint {
        None => pthread::join(address, reader)
            .or_else(|| pthread::stream(address, reader))
            .or_else(strict)
            .unwrap_or_else(|| Lock::event(address, "futex")),
        Some(Hint::Mutex) => pthread::mutex(futex, reader).unwrap_or_else(|state| Lock::unknown(address, state)),
        Some(Hint::Internal(kind)) => pthread::stream(address, reader)
            .or_else(|| pthread::join(address, reader))
            .or_else(strict)
            .unwrap_or_else(|| internal(address, value, kind)),
        Some(Hint::Stream) => pthread::stream(address, reader).unwrap_or_else(|| internal(address, value, "stream")),
        // Who was woken waits for the mutex again, in the same function. A mutex of each kind tells by what is expected of its word
        // that it is one.
        Some(Hint::Condition) => strict().unwrap_or_else(|| condition(address, reader)),
        Some(Hint::Rwlock(_)) => pthread::rwlock(address, reader).unwrap_or_else(|state| Lock::unknown(address, state)),
        Some(Hint::Join) => pthread::join(address, reader).unwrap_or_else(|| {
            Lock::unknown(address, format!("no thread is described where its end is waited for, {}", garbage(value)))
        }),
        Some(Hint::Semaphore) => Lock::event(address, "semaphore"),
        Some(Hint::Barrier) => Lock::event(pthread::barrier(address, reader).unwrap_or(address), "barrier"),
        Some(Hint::Once) => Lock::new(address, "once", Holders::Untold(1)),
        Some(Hint::Static) => Lock::new(address, "initialization of a static", Holders::Unknown),
        Some(Hint::Atomic(kind) | Hint::RustEvent(kind)) => Lock::event(address, kind),
        Some(Hint::RustMutex) => rust::mutex(address, value, "Rust mutex"),
        Some(Hint::RustReentrant) => rust::mutex(address, value, "Rust reentrant lock"),
        Some(Hint::RustRwlock(want)) => rust::rwlock(address, want, reader),
        Some(Hint::Parked(kind)) => Lock::new(address, kind, Holders::Unknown),
    }
}

fn condition(address: u64, reader: Reader<'_>) -> Lock {
    Lock::event(pthread::condition(address, reader).unwrap_or(address), "condition variable")
}

/// Whether a thread that there is has it.
fn is_held(lock: &Lock, is_thread: &dyn Fn(u64) -> bool) -> bool {
    matches!(&lock.holders, Holders::Told(ids) if ids.iter().any(|id| is_thread(*id)))
}

/// A lock of libc's own: 0 if it is free, 1 if a thread has it, 2 if others wait for it as well (`sysdeps/nptl/lowlevellock.h`).
fn internal(address: u64, value: u32, kind: &str) -> Lock {
    match value {
        0 => Lock::free(address, kind),
        1 | 2 => Lock::new(address, kind, Holders::Untold(1)),
        _ => Lock::unknown(address, garbage(value)),
    }
}
