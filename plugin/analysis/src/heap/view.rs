//! What an analysis of the heap looks at.

use super::{Index, Segments};
use crate::plan::Analysis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use target::{ReadMemory, Source};

/// Words that all tasks of an analysis read and write at the same time, wherever on this machine they run.
///
/// A task may run twice, or end in the middle: what it writes has to be right even so. Setting bits and raising numbers is.
pub trait Words: Send + Sync {
    fn words(&self) -> &[AtomicU64];
}

impl<T: AsRef<[AtomicU64]> + Send + Sync> Words for T {
    fn words(&self) -> &[AtomicU64] {
        self.as_ref()
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

/// What a worker is told once for a job. The index, the tables and the descriptors of the source travel beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Setup<A: Analysis> {
    pub analysis: A,
    pub source: Source,
    pub segments: Arc<Segments>,
}
