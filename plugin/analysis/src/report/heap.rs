//! What the heap commands show.

use super::Match;
use serde::{Deserialize, Serialize};

/// An allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationRow {
    /// What malloc returned.
    pub start: u64,
    /// How many bytes may be used of it.
    pub size: u64,
    /// False for one that has been freed.
    pub used: bool,
    /// What it is, where its content or its holder says so.
    pub type_name: Option<String>,
}

/// How many, and of how many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub count: u64,
    /// Bytes that may be used.
    pub bytes: u64,
}

impl Sum {
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What `heap` answers with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeapRows {
    pub totals: HeapTotals,
    /// What the rows are of: `size`, `type`, `arena`, `region`.
    pub by: String,
    pub rows: Vec<HeapRow>,
}

/// The heap as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapTotals {
    pub used: Sum,
    /// What has been freed and can be given out again, with what has never been given out.
    pub free: Sum,
    /// Bytes for headers, arenas, and what marks where memory ends.
    pub overhead: u64,
    pub largest_free: u64,
    pub arenas: u64,
    /// Of `used`, what has mappings of its own.
    pub mapped: Sum,
    /// Bytes of memory that the allocator has from the system.
    pub system: u64,
}

impl HeapTotals {
    /// How much of the free memory does not lie in its largest piece: 0 for one piece, towards 1 for many.
    pub fn fragmentation(&self) -> f64 {
        match self.free.bytes {
            0 => 0.0,
            free => 1.0 - self.largest_free as f64 / free as f64,
        }
    }
}

/// Allocations that have something in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapRow {
    pub key: String,
    pub count: u64,
    pub bytes: u64,
    /// Bytes that would be free without them: theirs, and those of all that only they reach.
    pub retained: Option<u64>,
}

/// What `leaks` answers with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeakRows {
    /// One for each leaked allocation, by address.
    pub rows: Vec<LeakRow>,
    /// The same ones by what they have in common, the most bytes first: this is what text shows.
    pub groups: Vec<LeakGroup>,
    /// All of them together.
    pub sum: Sum,
    /// What of them nothing refers to.
    pub unreferenced: Sum,
    /// Whether nothing was ever allocated, so that there is nothing that could have leaked.
    pub unused: bool,
}

/// A leaked allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakRow {
    pub address: u64,
    pub size: u64,
    pub type_name: Option<String>,
    /// Whether no other leaked allocation points to it.
    pub unreferenced: bool,
    /// What is reached only from it: of the head of a leaked structure; none for what a head holds.
    pub holds: Option<Sum>,
}

/// Heads of leaked structures that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakGroup {
    /// The size of each, where they are grouped by it.
    pub size: Option<u64>,
    pub type_name: Option<String>,
    pub heads: Sum,
    /// What they hold beside themselves.
    pub holds: Sum,
    /// Whether they point to each other in a ring, so that none is without a pointer to it.
    pub ring: bool,
    /// The first of them.
    pub example: u64,
}

/// What `objects` answers with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectRows {
    /// One for each object, by address.
    pub rows: Vec<ObjectRow>,
    /// All of them together, those beyond the limit too.
    pub sum: Sum,
}

/// A pointer to what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RefRow {
    /// Where it is, what it points to, and what lies around it.
    pub place: Match,
    /// 1 for a pointer to what was asked for, 2 for one to an allocation with such a pointer, and so on.
    pub depth: u32,
    /// With `--to-roots`: the pointers from a root to this one, the root's first; none if it is a root itself. `None` if no
    /// root reaches it.
    pub chain: Option<Vec<Match>>,
}

/// A live object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObjectRow {
    pub address: u64,
    pub type_name: String,
    /// Bytes that may be used of its allocation.
    pub size: u64,
    pub allocation: AllocationRow,
    /// The first pointer to it that is known.
    pub owner: Option<Match>,
}

/// Something in the heap that does not add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRow {
    pub address: u64,
    /// A word or two: `double free`, `size`, `link`, ….
    pub kind: String,
    /// What is wrong, in a sentence.
    pub text: String,
    /// The chunk before it, whose owner may have written beyond its end; where that may be damaged itself, the one before that as well.
    pub before: Vec<BeforeRow>,
}

/// A chunk before something that does not add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeforeRow {
    pub allocation: AllocationRow,
    /// Its last bytes.
    pub bytes: Vec<u8>,
    /// What lies behind it: the size of the next one, or what that was overwritten with.
    pub behind: Vec<u8>,
}
