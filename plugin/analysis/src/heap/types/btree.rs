//! `BTreeMap` and `BTreeSet` of Rust's standard library, by how their nodes hold each other.
//!
//! The layout is that of library/alloc/src/collections/btree/node.rs. A node begins with a pointer to the node above it; behind the keys and values that
//! are aligned to at least 4 bytes are its place in that node and how many elements it has, 2 bytes each. A node with others below it goes on with
//! pointers to these. How large keys and values are is not known, so it is tried what all nodes of a tree agree on.

use super::probe::{Holder, Probe, fits};
use super::shapes::Shape;
use crate::heap::{Chunk, GRANULE};

/// Elements of a node at most.
const CAPACITY: u64 = 11;

/// Where the first keys may be.
const KEYS: u64 = 8;

/// A node's place and its number of elements.
const COUNTS: u64 = 4;

/// What keys and values take that are aligned to 4 bytes grows by this.
const STEP: u64 = 4 * CAPACITY;

/// Bytes of the pointers to nodes below.
const EDGES: u64 = 8 * (CAPACITY + 1);

/// Larger nodes are not looked at.
const LARGEST: u64 = 64 << 10;

/// No tree that fits into memory is higher.
const HIGHEST: u64 = 24;

/// Where in a node what is.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Bytes of a node without others below it.
    leaf: u64,
    /// Where its place in the node above is.
    counts: u64,
}

/// A node that something leads to.
#[derive(Clone, Copy, Debug)]
struct Node {
    address: u64,
    parent: u64,
    place: u64,
    height: u64,
}

/// `{root, its height, number of elements}`, whose first word points to the beginning of `chunk`. Of a tree with a single node nothing points
/// back to another, so that is not told from other chunks.
pub(super) fn tree(probe: &mut Probe<'_>, holder: &Holder<'_>, chunk: u64) {
    let (Some(root), Some(height), Some(length)) = (holder.word(0), holder.word(1), holder.word(2)) else {
        return;
    };
    if !(1..=HIGHEST).contains(&height) || length < CAPACITY || length > CAPACITY.saturating_mul(probe.lookup.count()) {
        return;
    }
    let Some(found) = probe.lookup.chunk(chunk) else { return };
    if found.usable().len() > LARGEST || probe.words(root) != Some([0]) {
        return;
    }
    let top = Node { address: root, parent: 0, place: 0, height };
    for layout in layouts(probe, top, &found) {
        if probe.name(Shape::RustTreeNode, length, |probe, visit| whole(probe, layout, top, length, visit)) {
            break;
        }
    }
}

/// What a chunk was asked for, if that was a multiple of 8.
fn requests(chunk: &Chunk) -> impl Iterator<Item = u64> + use<> {
    let (chunk, usable) = (*chunk, chunk.usable().len());
    (0..=GRANULE / 4).filter_map(move |less| usable.checked_sub(8 * less)).filter(move |size| fits(&chunk, *size))
}

/// Where the counts may be in a node of so many bytes.
fn places(leaf: u64) -> impl Iterator<Item = u64> {
    (KEYS..(leaf + 1).saturating_sub(COUNTS)).step_by(STEP as usize)
}

/// A node's place in the one above, and its number of elements.
fn counts(probe: &mut Probe<'_>, address: u64) -> Option<(u64, u64)> {
    let [word] = probe.words(address - address % 8)?;
    let counts = word >> (address % 8 * 8);
    Some((counts & 0xffff, counts >> 16 & 0xffff))
}

/// The layouts that the node at the top and the first two below it agree on.
fn layouts(probe: &mut Probe<'_>, top: Node, chunk: &Chunk) -> Vec<Layout> {
    let mut layouts = Vec::new();
    for leaf in requests(chunk).filter_map(|size| size.checked_sub(EDGES)) {
        let Some(edges) = probe.words::<2>(top.address + leaf) else { continue };
        let below = [0, 1].map(|place| Node {
            address: edges[place],
            parent: top.address,
            place: place as u64,
            height: top.height - 1,
        });
        for counts in places(leaf) {
            if !probe.step() {
                return layouts;
            }
            let layout = Layout { leaf, counts };
            if layout.of(probe, top).is_some() && below.iter().all(|node| layout.of(probe, *node).is_some()) {
                layouts.push(layout);
            }
        }
    }
    layouts
}

impl Layout {
    /// The number of elements of a node, if it is one, and where it should be.
    fn of(self, probe: &mut Probe<'_>, node: Node) -> Option<u64> {
        let granule = probe.start(node.address)?;
        let chunk = probe.lookup.chunk(granule)?;
        let size = if node.height == 0 { self.leaf } else { self.leaf + EDGES };
        if !fits(&chunk, size) || probe.words(node.address)? != [node.parent] {
            return None;
        }
        let (place, length) = counts(probe, node.address + self.counts)?;
        // The node at the top has no place.
        ((node.parent == 0 || place == node.place) && (1..=CAPACITY).contains(&length)).then_some(length)
    }
}

/// Visits all nodes; says whether they are as they should be, and have so many elements.
fn whole(
    probe: &mut Probe<'_>,
    layout: Layout,
    top: Node,
    length: u64,
    visit: &mut dyn FnMut(&Probe<'_>, u64),
) -> bool {
    let mut left = length;
    let mut open = vec![top];
    while let Some(node) = open.pop() {
        let Some(own) = layout.of(probe, node) else { return false };
        if own > left || !probe.step() {
            return false;
        }
        left -= own;
        if let Some(granule) = probe.start(node.address) {
            visit(probe, granule);
        }
        if node.height > 0 {
            for place in 0..=own {
                let Some([address]) = probe.words(node.address + layout.leaf + 8 * place) else { return false };
                open.push(Node { address, parent: node.address, place, height: node.height - 1 });
            }
        }
    }
    left == 0
}
