//! The heap of glibc's malloc.
//!
//! Three analyses, one after the other: [`Locate`] finds the arenas and their memory by their structure alone, so it does not matter
//! whether libc has symbols, or is linked into the program; [`Walk`] goes from chunk to chunk; [`FreeLists`] takes out what is free
//! although the chunks do not say so. [`Check`] looks for damage. [`survey`] is all of them on the calling thread.

mod arena;
mod chain;
mod check;
mod findings;
mod free_lists;
#[cfg(test)]
mod images;
mod layout;
mod locate;
mod mapped;
mod parameters;
mod reader;
mod segments;
mod survey;
#[cfg(test)]
mod tests;
mod walk;
mod watch;

pub use arena::{Arena, any_in_heap};
pub use check::{Check, CheckMerge};
pub use findings::{Before, Finding, FindingKind, Findings, Problem};
pub use free_lists::{FreeLists, FreeListsMerge, Freed, Wrong, WrongKind};
pub use locate::{Locate, LocateMerge, Located};
pub use parameters::Parameters;
pub use survey::{Heap, located, survey};
pub use walk::{Walk, WalkMerge, Walked};
pub use watch::Sightings;

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where one chunk does not lead to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The last chunk before it.
    pub before: Option<u64>,
    /// Where the next one should begin.
    pub at: u64,
    /// Where one does begin again. If that is before `at`, the size of the chunk before is wrong; else what is between them is
    /// taken for one free chunk.
    pub end: u64,
    pub reason: Reason,
}

/// Why no chunk begins at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Its size, with the flags in it, cannot be one.
    Size(u64),
    /// It cannot be read.
    Unreadable,
    /// It was given up to look at that part.
    GivenUp,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(word) => write!(f, "{word:#x} is not the size of a chunk"),
            Self::Unreadable => f.write_str("it cannot be read"),
            Self::GivenUp => f.write_str("the part around it was given up"),
        }
    }
}
