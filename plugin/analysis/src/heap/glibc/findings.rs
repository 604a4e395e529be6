//! What is wrong with a heap.

use super::free_lists::{Wrong, WrongKind};
use super::layout::{BITS, PREVIOUS_USED, user};
use super::{Break, CheckMerge, FreeListsMerge, Located, Reason, WalkMerge};
use crate::heap::{Chunk, Lookup, SegmentKind};
use serde::{Deserialize, Serialize};
use std::fmt;
use target::ReadMemory;

/// As many are told apart.
pub(super) const MOST_FINDINGS: usize = 10_000;

/// Bytes of the end of a chunk that are shown.
const SHOWN: u64 = 48;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where: of a chunk, what malloc returned, or would have.
    pub address: u64,
    pub kind: FindingKind,
    /// A sentence, without its full stop.
    pub text: String,
    /// The chunk before, and, where that one's own size may be what is wrong, the one before it as well: who has written beyond its end
    /// has mostly had one of them. The nearest is the first.
    pub before: Vec<Before>,
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

/// A chunk before a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// What malloc returned.
    pub address: u64,
    /// What may be used of it.
    pub size: u64,
    pub used: bool,
    /// What it ends with, at most 48 bytes.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// What lies behind that: the size of the next chunk, or what that was overwritten with.
    #[serde(with = "serde_bytes")]
    pub behind: Vec<u8>,
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
    /// Of a chunk, where its header begins.
    pub address: u64,
    pub kind: FindingKind,
    /// A sentence, without its full stop.
    pub text: String,
    /// Whether it is of a chunk.
    of_chunk: bool,
    /// The header of the chunk before, if that may be what is wrong.
    suspect: Option<u64>,
}

impl Problem {
    pub(super) fn new(address: u64, kind: FindingKind, text: String) -> Self {
        let of_chunk = !matches!(kind, FindingKind::Arena | FindingKind::Heap | FindingKind::Count);
        Self { address, kind, text, of_chunk, suspect: None }
    }
}

/// The top chunk at `top` has `word` for its size and flags, and has in fact `size` bytes.
pub(super) fn top_problem(top: u64, word: u64, size: u64) -> Problem {
    let said = word & !BITS;
    let flags =
        if word & BITS == PREVIOUS_USED { String::new() } else { format!(" with the flags {:#x}", word & BITS) };
    let text = format!("the top chunk at {:#x} says that it has {said:#x} bytes{flags}; it has {size:#x}", user(top));
    Problem::new(top, FindingKind::Top, text)
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
        let list = problems.into_iter().map(|problem| {
            let before = before(&problem, lookup).into_iter().map(|chunk| shown(&chunk, memory)).collect();
            let Problem { address, kind, text, of_chunk, .. } = problem;
            Finding { address: if of_chunk { user(address) } else { address }, kind, text, before }
        });
        let mut list: Vec<Finding> = list.collect();
        list.sort_by_key(|finding| finding.address);
        Self { list, more: more + walked.more_breaks + free.more_wrong + checked.more }
    }
}

/// The chunk that ends where another begins, or should, and the one before that if it is suspected as well.
fn before(problem: &Problem, lookup: &Lookup<'_>) -> Vec<Chunk> {
    let ends_at = |address: u64| lookup.chunk_at(address.checked_sub(1)?);
    let first = || {
        let at = lookup.chunk_at(problem.address);
        // What lies within a chunk should be the next one's beginning.
        at.filter(|at| at.range.start < problem.address).or_else(|| ends_at(problem.address))
    };
    let first = problem.of_chunk.then(first).flatten();
    let second = problem.suspect.and_then(ends_at);
    first.into_iter().chain(second).collect()
}

fn shown(chunk: &Chunk, memory: &dyn ReadMemory) -> Before {
    let usable = chunk.usable();
    let read = |start: u64, length: u64| {
        let mut bytes = vec![0; length as usize];
        let read = memory.read(start, &mut bytes).unwrap_or(0);
        bytes.truncate(read);
        bytes
    };
    let length = usable.len().min(SHOWN);
    let bytes = read(usable.end - length, length);
    // A mapping of its own may be followed by another.
    let header = if chunk.kind == SegmentKind::Mapped { usable.end + 8 } else { usable.end };
    Before { address: usable.start, size: usable.len(), used: chunk.used, bytes, behind: read(header, 8) }
}

fn problem_of_break(lost: &Break) -> Problem {
    let Break { before, at, end, reason } = *lost;
    let kind = match reason {
        Reason::Size(_) => FindingKind::Size,
        Reason::Unreadable | Reason::GivenUp => FindingKind::Unread,
    };
    let next = user(end);
    match before {
        Some(before) if end < at => {
            let text = format!(
                "the chunk at {:#x} says that it has {:#x} bytes, but no chunk begins behind these; the next one is at {next:#x}",
                user(before),
                at - before
            );
            Problem::new(before, kind, text)
        }
        Some(before) if kind == FindingKind::Size => {
            let text = format!(
                "the size of the chunk at {:#x} was overwritten: {reason}; or else that of the one before it, at {:#x}, which says {:#x}; the next one is at {next:#x}",
                user(at),
                user(before),
                at - before
            );
            Problem { suspect: Some(before), ..Problem::new(at, kind, text) }
        }
        _ => {
            let text = format!("the chunk at {:#x} is not one: {reason}; the next one is at {next:#x}", user(at));
            Problem::new(at, kind, text)
        }
    }
}

fn problem_of_list(wrong: &Wrong) -> Problem {
    let Wrong { chunk, list, kind } = *wrong;
    let address = chunk.unwrap_or(list);
    let on = format!("the free chunk at {:#x}, on the list at {list:#x},", user(address));
    let (kind, text) = match kind {
        WrongKind::Link(to) if chunk.is_none() => {
            (FindingKind::Link, format!("the list of free chunks at {list:#x} begins with {to:#x}, where none is"))
        }
        WrongKind::Hidden { to, said } => {
            let those = if said == 1 { "the one that was" } else { "those that were" };
            let text = format!(
                "the list of free chunks at {list:#x} begins with {to:#x}, where none is; {those} on it ({said}) cannot be told from chunks in use"
            );
            (FindingKind::Link, text)
        }
        WrongKind::Link(to) => (FindingKind::Link, format!("{on} leads to {to:#x}, where no chunk is")),
        WrongKind::Size(size) => (FindingKind::Bin, format!("{on} has {size:#x} bytes, and the list is for others")),
        WrongKind::Loop => (FindingKind::Loop, format!("{on} is on it twice, which a double free does")),
        WrongKind::Twice(other) => {
            (FindingKind::DoubleFree, format!("{on} is on that at {other:#x} as well: it was freed twice"))
        }
        WrongKind::Merged => (FindingKind::Previous, format!("{on} is said to be free by the chunk after it as well")),
        WrongKind::Count { said, found } => {
            let verb = if found == 1 { "is" } else { "are" };
            (
                FindingKind::Count,
                format!("the list of free chunks at {list:#x} is said to have {said}, {found} {verb} on it"),
            )
        }
        WrongKind::First { arena, bin, to } => return bin_begins(arena, bin, to),
        WrongKind::Last { arena, bin, to } => return bin_ends(arena, bin, to),
    };
    Problem { of_chunk: chunk.is_some(), ..Problem::new(address, kind, text) }
}

/// A bin of an arena begins with a chunk that does not lead back to it.
pub(super) fn bin_begins(arena: u64, bin: u64, first: u64) -> Problem {
    let text = format!("bin {bin} of the arena at {arena:#x} begins with {first:#x}, which does not lead back");
    Problem::new(arena, FindingKind::Arena, text)
}

/// A bin of an arena is said to end with what is not its last chunk.
pub(super) fn bin_ends(arena: u64, bin: u64, last: u64) -> Problem {
    let text =
        format!("bin {bin} of the arena at {arena:#x} is said to end with {last:#x}, which is not its last chunk");
    Problem::new(arena, FindingKind::Arena, text)
}
