//! Which allocations have leaked, and which of them hold which others.
//!
//! A leak is a chunk in use that marking has not reached. What leaks is often a structure: a tree that nothing points to any
//! more is one mistake, however many nodes it has. So leaks are put under *heads*. One that no other leak points to is a
//! head. Where all of some leaks have others that point to them, there are rings; of each ring that no leak outside of it points
//! into, the one at the lowest address is the head. Each other leak is held by the first head in address order that reaches it.

mod edges;
mod heads;
#[cfg(test)]
mod tests;

pub use edges::{LeakEdges, LeakEdgesMerge, LeakEdgesPartial, LeakScanner};

use super::View;
use super::mark::Marks;
use crate::report::Sum;
use heads::{Graph, Heads};

/// A leaked allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// What malloc returned.
    pub address: u64,
    /// Bytes that may be used of it.
    pub size: u64,
    /// The number of its chunk in the index.
    pub number: u64,
    /// Whether no other leak points to it.
    pub unreferenced: bool,
    /// The address of its head: its own, if it is one.
    pub head: u64,
    /// What it holds if it is a head, itself left out.
    pub holds: Sum,
}

/// All leaks, in address order; 29 bytes for each.
#[derive(Clone, Debug, Default)]
pub struct Leaks {
    nodes: Vec<Node>,
    heads: Heads,
    /// Of heads that hold anything, by their index.
    holds: Vec<(u32, Sum)>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    address: u64,
    size: u64,
    number: u32,
}

impl Leaks {
    /// The leaks of a heap, by the tables of marking and what the leaks' edges came to. It asks `stop` often enough to
    /// end within milliseconds, and then there is nothing.
    pub fn new(view: &View, edges: LeakEdgesMerge, stop: &dyn Fn() -> bool) -> Option<Self> {
        let marks = Marks::new(view);
        let mut nodes = Vec::new();
        for granule in marks.unmarked(0..marks.lookup.segments().granules()) {
            let Some(chunk) = marks.lookup.chunk(granule) else { continue };
            let usable = chunk.usable();
            let number = u32::try_from(marks.lookup.number(granule)).unwrap_or(u32::MAX);
            nodes.push(Node { address: usable.start, size: usable.len(), number });
            if nodes.len().is_multiple_of(1 << 16) && stop() {
                return None;
            }
        }
        let graph = Graph::new(nodes.iter().map(|node| node.number), edges.pairs, marks.lookup.count());
        let heads = heads::heads(&graph, stop)?;
        let mut sums = std::collections::BTreeMap::<u32, Sum>::new();
        for (index, head) in heads.of.iter().enumerate().filter(|(index, head)| *index != **head as usize) {
            sums.entry(*head).or_default().add(nodes[index].size);
        }
        Some(Self { nodes, heads, holds: sums.into_iter().collect() })
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Bytes that may be used of all together.
    pub fn bytes(&self) -> u64 {
        self.nodes.iter().map(|node| node.size).sum()
    }

    /// The leak with this index, in address order.
    pub fn at(&self, index: usize) -> Option<Leak> {
        let node = self.nodes.get(index)?;
        let head = *self.heads.of.get(index)?;
        let holds = self.holds.binary_search_by_key(&(index as u32), |(head, _)| *head);
        Some(Leak {
            address: node.address,
            size: node.size,
            number: u64::from(node.number),
            unreferenced: self.heads.unreferenced[index],
            head: self.nodes[head as usize].address,
            holds: holds.map_or_else(|_| Sum::default(), |found| self.holds[found].1),
        })
    }

    /// All leaks in address order.
    pub fn iter(&self) -> impl Iterator<Item = Leak> {
        (0..self.len()).filter_map(|index| self.at(index))
    }

    /// Those that are heads.
    pub fn heads(&self) -> impl Iterator<Item = Leak> {
        self.iter().filter(|leak| leak.head == leak.address)
    }
}
