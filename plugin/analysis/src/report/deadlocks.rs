//! What `deadlocks` shows.

use super::{FrameRow, SymbolOffset};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Threads that wait, and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlockRow {
    pub kind: DeadlockKind,
    /// Threads that wait: those of a cycle in the order in which each waits for the next, and the last for the first.
    pub threads: Vec<StuckRow>,
    /// Others that wait for a cycle's threads, directly or not.
    pub behind: Vec<StuckRow>,
    /// Whom the threads of a queue wait for in the end, where that is known.
    pub owner: Option<StuckRow>,
    /// What they wait for: a cycle's own locks first.
    pub locks: Vec<LockRow>,
}

/// How threads wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeadlockKind {
    /// Each for another one of them: for ever.
    Cycle,
    /// For locks, which one thread has in the end or which are nobody's as far as is known.
    Queue,
    /// For what is to happen: a condition variable, a semaphore, the end of a thread that does not wait.
    #[default]
    Wait,
}

/// A thread, and where it is in code that is not of the system's libraries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckRow {
    pub thread: ThreadRef,
    pub name: Option<String>,
    /// Which one of the row's locks it waits for.
    pub lock: Option<usize>,
    /// How it wants that: `read`, `write`; `None` for locks that are wanted in one way only.
    pub wants: Option<String>,
    /// The system call that it is in.
    pub call: Option<String>,
    /// What it has called that has it wait, if a system's library has that: `pthread_mutex_lock`.
    pub through: Option<Arc<str>>,
    /// The innermost function that is not of a system's library.
    pub place: Option<FrameRow>,
    /// The address of `place`, 0 if it is not known, and the module that it is in.
    pub pc: u64,
    pub module: Option<Arc<str>>,
}

/// A thread by its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ThreadRef {
    /// The debugger's; `None` for one that there is not, or not any more.
    pub number: Option<u64>,
    /// The system's.
    pub id: u64,
}

/// Something that threads wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRow {
    pub address: u64,
    /// `mutex`, `robust mutex`, `rwlock`, `condition variable`, …; `unknown` where memory does not bear out what the thread calls.
    pub kind: String,
    /// The symbol that it lies in.
    pub symbol: Option<SymbolOffset>,
    /// Who has it; several where it is shared by readers.
    pub owners: Vec<ThreadRef>,
    /// Whether the owners are not told by the lock: their stacks or registers, and nobody else's, lead to it.
    pub inferred: bool,
    /// Threads whose stacks or registers lead to it, where it does not tell its owner and they are too many or too few.
    pub candidates: Vec<ThreadRef>,
    /// What else is known of it, as a fragment: `free, about to be taken`, `its word is 0x41414141`, ….
    pub state: Option<String>,
    /// Threads that wait for it directly.
    pub waiters: Vec<ThreadRef>,
}
