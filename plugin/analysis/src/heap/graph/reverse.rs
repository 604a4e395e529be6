//! Who is pointed to by whom, and how to get from there to a root.

use super::{Arrows, Graph, Roots, STEPS};

/// No root reaches this chunk.
const NOWHERE: u32 = u32::MAX;

/// For each chunk, the chunks that point to it, and the first step of a shortest way from it to a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReverseGraph {
    arrows: Arrows,
    /// For each chunk, one that points to it and is nearer to a root; itself, if a root points to it.
    towards: Vec<u32>,
    roots: Roots,
}

impl ReverseGraph {
    /// The reverse of a graph, which is not needed any more then. `None` if told to stop.
    pub fn of(graph: Graph, stop: &dyn Fn() -> bool) -> Option<Self> {
        let towards = towards_roots(&graph, stop)?;
        let arrows = graph.arrows.reversed(stop)?;
        Some(Self { arrows, towards, roots: graph.roots })
    }

    /// The graph that it is the reverse of. `None` if told to stop.
    pub fn forward(&self, stop: &dyn Fn() -> bool) -> Option<Graph> {
        Some(Graph { arrows: self.arrows.reversed(stop)?, roots: self.roots.clone() })
    }

    /// How many chunks there are, free ones among them.
    pub fn chunks(&self) -> u32 {
        self.arrows.count()
    }

    /// The chunks that point to this one, in order, free ones among them.
    pub fn sources(&self, chunk: u32) -> &[u32] {
        self.arrows.of(chunk)
    }

    /// What points into the heap from outside.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Where to go from a chunk in order to get to a root on a shortest way. `None` if no root reaches it.
    pub fn towards_root(&self, chunk: u32) -> Option<Step> {
        match *self.towards.get(chunk as usize)? {
            NOWHERE => None,
            next if next == chunk => Some(Step::Root),
            next => Some(Step::Chunk(next)),
        }
    }

    /// Bytes that it takes: 8 for each chunk, 4 for each pair of chunks of which one points to the other, 12 for each
    /// pointer from outside.
    pub fn memory(&self) -> u64 {
        self.arrows.memory() + 4 * self.towards.capacity() as u64 + self.roots.memory()
    }
}

/// A step on the way from a chunk to a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something outside of the heap points to the chunk.
    Root,
    /// This chunk points to it.
    Chunk(u32),
}

/// Goes through the graph from the roots on, breadth first. Where there are several shortest ways, the first one found
/// counts, from the roots' chunks in order, so that the answer is always the same.
fn towards_roots(graph: &Graph, stop: &dyn Fn() -> bool) -> Option<Vec<u32>> {
    let mut towards = vec![NOWHERE; graph.chunks() as usize];
    let mut level = graph.roots.chunks();
    for chunk in &level {
        if let Some(entry) = towards.get_mut(*chunk as usize) {
            *entry = *chunk;
        }
    }
    let mut next = Vec::new();
    while !level.is_empty() {
        for (step, chunk) in level.iter().enumerate() {
            if step.is_multiple_of(STEPS) && stop() {
                return None;
            }
            for target in graph.targets(*chunk) {
                let entry = &mut towards[*target as usize];
                if *entry == NOWHERE {
                    *entry = *chunk;
                    next.push(*target);
                }
            }
        }
        level.clear();
        std::mem::swap(&mut level, &mut next);
    }
    Some(towards)
}
