//! What chunks can be that have no type information, by how they are held.

use serde::{Deserialize, Serialize};

/// A part of a container, by what points to it and how. Later ones are surer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Shape {
    VectorStorage,
    RustVecStorage,
    StringCharacters,
    RustString,
    DequeBlock,
    DequeMap,
    UnorderedBuckets,
    ListNode,
    UnorderedNode,
    MapNode,
    RustTable,
    RustTreeNode,
}

impl Shape {
    pub(super) const ALL: [Self; 12] = [
        Self::VectorStorage,
        Self::RustVecStorage,
        Self::StringCharacters,
        Self::RustString,
        Self::DequeBlock,
        Self::DequeMap,
        Self::UnorderedBuckets,
        Self::ListNode,
        Self::UnorderedNode,
        Self::MapNode,
        Self::RustTable,
        Self::RustTreeNode,
    ];

    /// Whether nothing but who holds it says what it is, so that it is doubtful if somebody else does as well.
    pub(super) fn is_guess(self) -> bool {
        matches!(self, Self::VectorStorage | Self::RustVecStorage)
    }

    /// As it is shown. Of containers with the same layout, as maps and sets, all are named.
    pub fn name(self) -> &'static str {
        match self {
            Self::VectorStorage => "std::vector storage",
            Self::RustVecStorage => "Vec/VecDeque storage",
            Self::StringCharacters => "std::string characters",
            Self::RustString => "String characters",
            Self::DequeBlock => "std::deque block",
            Self::DequeMap => "std::deque map",
            Self::UnorderedBuckets => "std::unordered_map/set buckets",
            Self::ListNode => "std::list node",
            Self::UnorderedNode => "std::unordered_map/set node",
            Self::MapNode => "std::map/set node",
            Self::RustTable => "HashMap/HashSet table",
            Self::RustTreeNode => "BTreeMap/BTreeSet node",
        }
    }
}
