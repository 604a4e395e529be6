//! Which allocation would take which others with it.
//!
//! A chunk *dominates* another if every way from a root to the other leads through it. The nearest such chunk is the
//! other's *immediate dominator*; these make up a tree. It is found with the Semi-NCA algorithm (L. Georgiadis, Linear-Time
//! Algorithms for Dominators and Related Problems, 2005): Lengauer's and Tarjan's semidominators, then the nearest common
//! ancestors in the tree as far as it is known.
//!
//! What no root reaches counts as reached from beyond the roots: from the chunks of each strongly connected component that
//! nothing else points to, the first one. Such chunks do not keep alive what a root reaches.

use super::graph::{Arrows, Graph, STEPS};

/// Above all roots.
const TOP: u32 = 0;

/// The dominator tree of the chunks in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dominators {
    /// The chunks, in an order in which each comes after the one that dominates it. The first entry is none.
    order: Vec<u32>,
    /// For each of them, the place in `order` of its immediate dominator; 0 if nothing dominates it.
    above: Vec<u32>,
    /// How many of `order` the roots reach, which come first.
    reached: u32,
}

impl Dominators {
    /// Bytes that it takes.
    pub fn memory(&self) -> u64 {
        4 * (self.order.capacity() + self.above.capacity()) as u64
    }

    /// Finds the dominators of the chunks in use. `None` if told to stop.
    ///
    /// While it runs it takes up to 32 bytes for each chunk, and up to 4 for each pair of chunks of which one points to the
    /// other.
    pub fn of(graph: &Graph, used: impl Fn(u32) -> bool, stop: &dyn Fn() -> bool) -> Option<Self> {
        let mut search = Search::new(graph, &used, stop);
        let mut first = graph.roots().chunks();
        for root in &first {
            search.visit(*root, |_| {})?;
        }
        let reached = search.order.len() as u32 - 1;
        search.unreached(&mut first)?;
        let Search { number, order, parent, .. } = search;
        let mut least = parent.clone();
        let backward = backward(graph, &number, reached, &mut least, stop)?;
        for chunk in first {
            least[number[chunk as usize] as usize] = TOP;
        }
        drop(number);
        let mut semi = Semi::new(&parent, least);
        for number in (1..order.len() as u32).rev() {
            if (number as usize).is_multiple_of(STEPS) && stop() {
                return None;
            }
            semi.complete(number, backward.of(number));
        }
        drop(backward);
        let above = semi.immediate(parent, stop)?;
        Some(Self { order, above, reached })
    }

    /// Each chunk in use with its immediate dominator, `None` if it has none; a dominator comes before what it dominates.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Option<u32>)> {
        let chunk = |place: u32| (place != TOP).then(|| self.order[place as usize]);
        self.order.iter().zip(&self.above).skip(1).map(move |(each, above)| (*each, chunk(*above)))
    }

    /// How many chunks a root reaches, and how many none does.
    pub fn reached(&self) -> (u64, u64) {
        (self.reached.into(), (self.order.len() as u64).saturating_sub(1 + u64::from(self.reached)))
    }

    /// The chunks, from place 1 on, and the place of what dominates each.
    pub(super) fn places(&self) -> (&[u32], &[u32]) {
        (&self.order, &self.above)
    }
}

/// A search, depth first. Chunks get numbers from 1 on in the order in which they are seen.
struct Search<'a, U> {
    graph: &'a Graph,
    used: &'a U,
    stop: &'a dyn Fn() -> bool,
    /// Of each chunk; 0 if it has not been seen.
    number: Vec<u32>,
    /// The chunks by their numbers.
    order: Vec<u32>,
    /// By a chunk's number, that of the chunk from which it was seen first.
    parent: Vec<u32>,
    /// The numbers of the chunks on the way to where the search is, and the targets of each that have not been looked at.
    way: Vec<(u32, std::ops::Range<u32>)>,
}

impl<'a, U: Fn(u32) -> bool> Search<'a, U> {
    fn new(graph: &'a Graph, used: &'a U, stop: &'a dyn Fn() -> bool) -> Self {
        let number = vec![0; graph.chunks() as usize];
        let (order, parent) = (vec![u32::MAX], vec![TOP]);
        Self { graph, used, stop, number, order, parent, way: Vec::new() }
    }

    /// Goes from `start` to all that has not been seen. `left` is told each chunk that is done with, in that order. `None`
    /// if told to stop.
    fn visit(&mut self, start: u32, mut left: impl FnMut(u32)) -> Option<()> {
        if self.number.get(start as usize).is_none_or(|number| *number != 0) || !(self.used)(start) {
            return Some(());
        }
        self.enter(start, TOP);
        while let Some((number, targets)) = self.way.last_mut() {
            let number = *number;
            let Some(target) = targets.next() else {
                left(self.order[number as usize]);
                self.way.pop();
                continue;
            };
            let target = self.graph.arrows.ends[target as usize];
            if self.number[target as usize] == 0 {
                self.enter(target, number);
                if self.order.len().is_multiple_of(STEPS) && (self.stop)() {
                    return None;
                }
            }
        }
        Some(())
    }

    fn enter(&mut self, chunk: u32, parent: u32) {
        let number = self.order.len() as u32;
        self.number[chunk as usize] = number;
        self.order.push(chunk);
        self.parent.push(parent);
        let targets = self.graph.arrows.range(chunk);
        self.way.push((number, targets.start as u32..targets.end as u32));
    }

    /// Goes through what has not been seen, from chunks on that nothing points to, or only what they reach themselves. It
    /// adds these to `first`.
    fn unreached(&mut self, first: &mut Vec<u32>) -> Option<()> {
        let seen = self.order.len();
        // The chunk that is done with last is such a chunk; of what it does not reach, the last one again; and so on.
        let mut done = Vec::new();
        for chunk in 0..self.graph.chunks() {
            self.visit(chunk, |left| done.push(left))?;
        }
        for chunk in self.order.drain(seen..) {
            self.number[chunk as usize] = 0;
        }
        self.parent.truncate(seen);
        for chunk in done.into_iter().rev() {
            if self.number[chunk as usize] == 0 {
                first.push(chunk);
                self.visit(chunk, |_| {})?;
            }
        }
        Some(())
    }
}

/// For each chunk, by its number, the higher numbers of those that point to it. Of the lower ones, only the lowest matters:
/// it goes to `least`. What no root reaches does not count for what one does.
fn backward(graph: &Graph, number: &[u32], reached: u32, least: &mut [u32], stop: &dyn Fn() -> bool) -> Option<Arrows> {
    let mut first = vec![0u32; least.len() + 1];
    let each = |forward: &mut dyn FnMut(u32, u32), backward: &mut dyn FnMut(u32, u32)| {
        for (chunk, &from) in number.iter().enumerate() {
            if chunk.is_multiple_of(STEPS) && stop() {
                return None;
            }
            // What is free has no number, and keeps nothing alive.
            let targets = if from == 0 { &[] } else { graph.targets(chunk as u32) };
            for target in targets {
                let to = number[*target as usize];
                if to > from {
                    forward(from, to);
                } else if to > reached || (to != 0 && from <= reached) {
                    backward(from, to);
                }
            }
        }
        Some(())
    };
    each(&mut |from, to| least[to as usize] = from.min(least[to as usize]), &mut |_, to| first[to as usize] += 1)?;
    let mut sum = 0u32;
    for entry in &mut first {
        let many = std::mem::replace(entry, sum);
        sum += many;
    }
    let mut ends = vec![0u32; sum as usize];
    each(&mut |_, _| {}, &mut |from, to| {
        let place = &mut first[to as usize];
        ends[*place as usize] = from;
        *place += 1;
    })?;
    Some(Arrows::counted(first, ends))
}

/// A chunk, in the forest of those that are dealt with.
#[derive(Clone, Copy)]
struct Link {
    /// Some chunk above it in the search's tree.
    ancestor: u32,
    /// The least semidominator on the way there, without the end.
    least: u32,
}

/// Semidominators, found from the highest number to the lowest.
struct Semi {
    /// Of chunks that are not dealt with, the least one known.
    semi: Vec<u32>,
    links: Vec<Link>,
    /// The way from a chunk to the highest one above it that is dealt with.
    way: Vec<u32>,
}

impl Semi {
    fn new(parent: &[u32], semi: Vec<u32>) -> Self {
        let own = |(number, ancestor): (usize, &u32)| Link { ancestor: *ancestor, least: number as u32 };
        Self { semi, links: parent.iter().enumerate().map(own).collect(), way: Vec::new() }
    }

    /// Deals with a chunk, given those with higher numbers that point to it.
    fn complete(&mut self, number: u32, backward: &[u32]) {
        let mut least = self.semi[number as usize];
        for from in backward {
            least = least.min(self.evaluate(*from, number));
        }
        self.semi[number as usize] = least;
        self.links[number as usize].least = least;
    }

    /// The least semidominator of `from` and those above it that have been dealt with, all of them higher than `last`. It
    /// shortens the ways that it goes.
    fn evaluate(&mut self, from: u32, last: u32) -> u32 {
        let mut at = from;
        while self.links[at as usize].ancestor > last {
            self.way.push(at);
            at = self.links[at as usize].ancestor;
        }
        let mut above = self.links[at as usize];
        while let Some(below) = self.way.pop() {
            let link = &mut self.links[below as usize];
            link.ancestor = above.ancestor;
            link.least = link.least.min(above.least);
            above = *link;
        }
        above.least
    }

    /// The immediate dominators: what is above each chunk in the search's tree, and not below its semidominator.
    fn immediate(self, parent: Vec<u32>, stop: &dyn Fn() -> bool) -> Option<Vec<u32>> {
        let mut above = parent;
        for number in 1..above.len() {
            if number.is_multiple_of(STEPS) && stop() {
                return None;
            }
            let mut candidate = above[number];
            while candidate > self.semi[number] {
                candidate = above[candidate as usize];
            }
            above[number] = candidate;
        }
        Some(above)
    }
}

#[cfg(test)]
mod tests;
