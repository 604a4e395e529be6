//! What an analysis of the heap looks at.

use super::Index;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use target::ReadMemory;

/// Words that all tasks of an analysis read and write at the same time, wherever on this machine they run.
///
/// A task may run twice, or end in the middle: what it writes has to be right even so. Setting bits and raising numbers is.
pub trait Words: Send + Sync {
    fn words(&self) -> &[AtomicU64];
}

impl Words for Vec<AtomicU64> {
    fn words(&self) -> &[AtomicU64] {
        self
    }
}

/// Words that are shared.
pub type Table = Arc<dyn Words>;

/// So many words of this process alone, all zero.
pub fn table(words: u64) -> Table {
    Arc::new((0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>())
}

/// The heap, and the memory around it: what every analysis of the heap has for its input.
#[derive(Clone)]
pub struct View {
    pub memory: Arc<dyn ReadMemory>,
    /// Empty while it is still being made.
    pub index: Index,
    /// What the analysis shares among its tasks, in the order in which it has asked for it; zero at first.
    pub tables: Vec<Table>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("index", &self.index).field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}
