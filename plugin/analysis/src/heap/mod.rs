//! The heap of a process: which allocations there are, what they are, and who points to whom.
//!
//! ```text
//! locate ──▶ segments ──▶ walk ──▶ index ──▶ mark, graph, types, check
//! ```
//!
//! An allocator's memory consists of [`Segment`]s, each of which it has cut into *chunks* without a gap. Where chunks begin, and
//! which of them are in use, is the [`Index`]: two bits for each 16 bytes of heap and a small directory, in memory that all
//! workers share. All that is found out after that is an analysis over a [`View`]: the target's memory, the index, and tables
//! that its tasks fill together.

pub mod allocators;
mod area;
mod copy;
pub mod dominators;
pub mod glibc;
pub mod graph;
mod index;
pub mod leaks;
pub mod mark;
pub mod provider;
pub mod refs;
pub mod retained;
pub mod roots;
mod segments;
#[cfg(test)]
mod testing;
pub mod types;
mod view;

pub use area::Area;
pub use copy::HeapCopy;
pub use index::{Chunk, HEADER, Index, Lookup};
pub use segments::{GRANULE, Segment, SegmentKind, Segments};
pub use view::{Setup, Table, View, Words, table};
