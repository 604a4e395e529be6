//! What is wrong with a heap.

use super::free_lists::{Wrong, WrongKind};
use super::{Break, CheckMerge, FreeListsMerge, Located, Reason, WalkMerge};
use crate::heap::{Chunk, Lookup};
use serde::{Deserialize, Serialize};
use std::fmt;
use target::ReadMemory;

/// As many are told apart.
pub(super) const MOST_FINDINGS: usize = 10_000;

/// Bytes of the chunk before that are shown.
const SHOWN: u64 = 32;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where: of a chunk, where its header begins.
    pub address: u64,
    pub kind: FindingKind,
    /// A sentence, without its full stop.
    pub text: String,
    /// The chunk before: who has written beyond its end has mostly had this one.
    pub before: Option<Before>,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FindingKind {
    /// An arena, its ring, or its bins.
    Arena,
    /// A heap of a thread's arena.
    Heap,
    /// A top chunk.
    Top,
    /// Memory that malloc counts is not found, or more than that.
    Count,
    /// The size of a chunk.
    Size,
    /// What a chunk says of the one before it.
    Previous,
    /// The flags of a chunk.
    Flags,
    /// Two free chunks that follow one another.
    Unmerged,
    /// A link on a list leads to no chunk, or to one that does not lead back.
    Link,
    /// A list that leads into itself.
    Loop,
    /// A chunk that is on two lists.
    DoubleFree,
    /// A chunk on a list for other sizes.
    Bin,
    /// A part that could not be looked at.
    Unread,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arena => "arena",
            Self::Heap => "heap",
            Self::Top => "top",
            Self::Count => "count",
            Self::Size => "size",
            Self::Previous => "previous size",
            Self::Flags => "flags",
            Self::Unmerged => "unmerged",
            Self::Link => "link",
            Self::Loop => "loop",
            Self::DoubleFree => "double free",
            Self::Bin => "bin",
            Self::Unread => "unread",
        })
    }
}

/// The chunk before a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// What malloc returned.
    pub address: u64,
    /// What may be used of it.
    pub size: u64,
    pub used: bool,
    /// What it begins with, at most 32 bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// All that is wrong with a heap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// By address; at most 10 000.
    pub list: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
}

/// What is wrong, before anybody has looked at what lies around it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    pub address: u64,
    pub kind: FindingKind,
    /// A sentence, without its full stop.
    pub text: String,
}

impl Findings {
    /// Puts together what was found on the way. `lookup` is that of the complete index.
    pub fn new(
        located: &Located,
        walked: &WalkMerge,
        free: &FreeListsMerge,
        checked: &CheckMerge,
        memory: &dyn ReadMemory,
        lookup: &Lookup<'_>,
    ) -> Self {
        let lost = walked.breaks.iter().map(problem_of_break);
        let wrong = free.wrong.iter().map(problem_of_list);
        let found = located.problems.iter().chain(&checked.problems).cloned();
        let mut problems: Vec<Problem> = found.chain(lost).chain(wrong).collect();
        problems.sort();
        problems.dedup();
        let more = problems.len().saturating_sub(MOST_FINDINGS) as u64;
        problems.truncate(MOST_FINDINGS);
        let list = problems.into_iter().map(|Problem { address, kind, text }| {
            let before = before(address, kind, lookup).map(|chunk| shown(&chunk, memory));
            Finding { address, kind, text, before }
        });
        Self { list: list.collect(), more: more + walked.more_breaks + free.more_wrong + checked.more }
    }
}

/// The chunk that ends where another begins, or should.
fn before(address: u64, kind: FindingKind, lookup: &Lookup<'_>) -> Option<Chunk> {
    if matches!(kind, FindingKind::Arena | FindingKind::Heap | FindingKind::Count) {
        return None;
    }
    let at = lookup.chunk_at(address)?;
    // What lies within a chunk should be the next one's beginning.
    if at.range.start < address { Some(at) } else { lookup.chunk_at(address.checked_sub(1)?) }
}

fn shown(chunk: &Chunk, memory: &dyn ReadMemory) -> Before {
    let usable = chunk.usable();
    let mut bytes = vec![0; usable.len().min(SHOWN) as usize];
    let read = memory.read(usable.start, &mut bytes).unwrap_or(0);
    bytes.truncate(read);
    Before { address: usable.start, size: usable.len(), used: chunk.used, bytes }
}

fn problem_of_break(lost: &Break) -> Problem {
    let Break { before, at, end, reason } = *lost;
    let kind = match reason {
        Reason::Size(_) => FindingKind::Size,
        Reason::Unreadable | Reason::GivenUp => FindingKind::Unread,
    };
    match before {
        Some(before) if end < at => {
            let size = at - before;
            let text = format!(
                "the chunk at {before:#x} is said to have {size:#x} bytes, but none begins at {at:#x}; one does at {end:#x}"
            );
            Problem { address: before, kind, text }
        }
        _ => {
            let text = format!("no chunk can begin at {at:#x}: {reason}; the next one that can is at {end:#x}");
            Problem { address: at, kind, text }
        }
    }
}

fn problem_of_list(wrong: &Wrong) -> Problem {
    let Wrong { chunk, list, kind } = *wrong;
    let address = chunk.unwrap_or(list);
    let on = format!("the free chunk at {address:#x}, on the list at {list:#x},");
    let (kind, text) = match kind {
        WrongKind::Link(to) if chunk.is_none() => {
            (FindingKind::Link, format!("the list of free chunks at {list:#x} begins with {to:#x}, where none is"))
        }
        WrongKind::Link(to) => (FindingKind::Link, format!("{on} leads to {to:#x}, where no chunk is")),
        WrongKind::Size(size) => (FindingKind::Bin, format!("{on} has {size:#x} bytes, and the list is for others")),
        WrongKind::Loop => (FindingKind::Loop, format!("{on} is on it twice, which a double free does")),
        WrongKind::Twice(other) => {
            (FindingKind::DoubleFree, format!("{on} is on that at {other:#x} as well: it was freed twice"))
        }
        WrongKind::Merged => (FindingKind::Previous, format!("{on} is said to be free by the chunk after it as well")),
        WrongKind::Count { said, found } => (
            FindingKind::Count,
            format!("the list of free chunks at {list:#x} is said to have {said}, {found} are on it"),
        ),
    };
    Problem { address, kind, text }
}
