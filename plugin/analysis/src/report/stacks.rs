//! What `stacks` shows.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The stacks of all threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackRows {
    /// Ranked by how many threads have them.
    pub rows: Vec<StackRow>,
    /// How many threads there are in all.
    pub threads: u64,
    /// Whether text shows in which system calls they are.
    pub states: bool,
    /// Whether text shows all calls of a long stack.
    pub all_frames: bool,
}

/// A stack that threads have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackRow {
    pub threads: Vec<ThreadRow>,
    /// The innermost first; functions that are inlined have their own.
    pub frames: Vec<CallRow>,
    /// Why it ends before its outermost call.
    pub end: Option<String>,
    /// Whether the debugger has unwound it.
    pub by_debugger: bool,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadRow {
    /// The debugger's number of it.
    pub number: u64,
    /// The system's id of it.
    pub id: u64,
    pub name: Option<Arc<str>>,
    /// The system call that it is in, or `running`; `None` where that is not known.
    pub state: Option<Arc<str>>,
}

/// A function on a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallRow {
    pub address: u64,
    pub function: Option<Arc<str>>,
    /// Bytes from the beginning of the symbol, where no more is known of the function than its symbol.
    pub offset: Option<u64>,
    /// Path of the module.
    pub module: Option<Arc<str>>,
    pub file: Option<Arc<str>>,
    pub line: Option<u64>,
    pub column: Option<u64>,
    /// Whether it is inlined into the next one.
    pub inlined: bool,
}

/// A function in the tree of all stacks: it comes before those that it calls, of which the one that most threads are in comes
/// first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchRow {
    /// How far from the outermost call.
    pub depth: usize,
    /// How many threads are in it or in what it calls.
    pub count: u64,
    pub function: Option<Arc<str>>,
    pub module: Option<Arc<str>>,
    pub file: Option<Arc<str>>,
    pub line: Option<u64>,
    /// Those whose stack ends here.
    pub threads: Vec<ThreadRow>,
    /// How many of its callers call others as well.
    pub forks: usize,
}
