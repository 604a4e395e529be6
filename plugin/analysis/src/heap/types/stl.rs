//! Containers of libstdc++, by how they hold their memory.
//!
//! The layouts are those of its headers (bits/basic_string.h, stl_vector.h, stl_list.h, stl_tree.h, hashtable.h, stl_deque.h) since its
//! version 5. What a container has is followed from the container on, and all links are checked both ways, so what merely looks
//! similar is not taken for one: lists and hash tables are named if they have exactly as many nodes as they say.

use super::peek::Pages;
use super::probe::{Holder, Probe, Text, fits, same_size};
use super::shapes::Shape;
use crate::heap::Chunk;
use target::AddressRange;

/// A string of so many bytes is held within its holder.
const SHORT_STRING: u64 = 15;

/// Lengths are less than this.
const FARTHEST: u64 = 1 << 40;

/// Bytes at the beginning of a string that are looked at.
const LOOK: u64 = 64;

/// As many strings, or nodes of a tree, are read at once.
const BATCH: usize = 256;

/// Looks for all containers but [`vector`]s whose first pointer into the heap is this word, which points to the beginning of `chunk`.
pub(super) fn recognise(probe: &mut Probe<'_>, holder: &Holder<'_>, chunk: u64) {
    let Some(pointer) = holder.word(0) else { return };
    let Some(next) = holder.word(1) else { return };
    list(probe, holder, pointer, chunk);
    if next < FARTHEST {
        string(probe, holder, pointer, chunk);
        unordered(probe, holder, chunk);
        deque(probe, holder, pointer, chunk);
    }
    if holder.word(-1).is_some_and(|color| color as u32 == 0) {
        tree(probe, holder, pointer, chunk);
    }
}

/// `{begin, end, end of storage}`, which no pointer to the same chunk stands beside, as in the buffers of streams. Says whether it
/// looks like a vector, be it one that is no more.
pub(super) fn vector(probe: &mut Probe<'_>, holder: &Holder<'_>, chunk: u64) -> bool {
    let Some((begin, end, full)) = three(holder) else { return false };
    if !(begin <= end && end <= full && begin < full && full - begin < FARTHEST) {
        return false;
    }
    let beside = |index| holder.word(index).is_some_and(|word| (begin..=full).contains(&word));
    if beside(-1) || beside(3) {
        return false;
    }
    if probe.lookup.chunk(chunk).is_some_and(|found| fits(&found, full - begin)) {
        probe.mark(chunk, Shape::VectorStorage);
    }
    true
}

fn three(holder: &Holder<'_>) -> Option<(u64, u64, u64)> {
    Some((holder.word(0)?, holder.word(1)?, holder.word(2)?))
}

/// `{characters, length, capacity, ..}` with a NUL behind the characters, and none in them, where that was looked at.
fn string(probe: &mut Probe<'_>, holder: &Holder<'_>, pointer: u64, chunk: u64) {
    let Some((_, length, capacity)) = three(holder) else { return };
    if !(length > 0 && length <= capacity && capacity > SHORT_STRING && holder.has(4)) {
        return;
    }
    let Some(found) = probe.lookup.chunk(chunk) else { return };
    if !capacity.checked_add(1).is_some_and(|request| fits(&found, request)) {
        return;
    }
    probe.texts.push(Text { chunk, address: pointer, length });
    if probe.texts.len() >= BATCH {
        read_texts(probe);
    }
}

/// Looks at the characters of strings.
pub(super) fn read_texts(probe: &mut Probe<'_>) {
    let texts = std::mem::take(&mut probe.texts);
    let parts = |text: &Text| {
        let looked = text.length.min(LOOK);
        [AddressRange::sized(text.address, looked), AddressRange::sized(text.address.saturating_add(text.length), 1)]
    };
    let ranges: Vec<AddressRange> = texts.iter().flat_map(parts).collect();
    let mut free_of_nul = false;
    Pages::many(probe.memory, &ranges, |index, bytes| {
        let whole = bytes.len() as u64 == ranges[index].len();
        if index % 2 == 0 {
            free_of_nul = whole && !bytes.contains(&0);
        } else if free_of_nul && whole && bytes == [0] {
            probe.mark(texts[index / 2].chunk, Shape::StringCharacters);
        }
    });
}

/// `{next, previous, size}`, where the next node points back to this, and all nodes make a ring.
pub(super) fn list(probe: &mut Probe<'_>, holder: &Holder<'_>, pointer: u64, chunk: u64) {
    let Some((_, previous, size)) = three(holder) else { return };
    if size == 0 || size > probe.lookup.count() || (pointer == previous) != (size == 1) {
        return;
    }
    let Some(first) = probe.lookup.chunk(chunk) else { return };
    // A node of a list looks as its head does, but for where it is.
    if holder.chunk.is_some_and(|own| own.address() == holder.address && same_size(&own, &first)) {
        return;
    }
    if probe.alike(previous, &first).is_none() {
        return;
    }
    probe.name(Shape::ListNode, size, |probe, visit| {
        let (mut before, mut node) = (holder.address, pointer);
        for _ in 0..size {
            let Some(found) = probe.alike(node, &first) else { return false };
            let Some([next, back]) = probe.words(node) else { return false };
            if back != before || !probe.step() {
                return false;
            }
            visit(probe, found.granule);
            (before, node) = (node, next);
        }
        node == holder.address && before == previous
    });
}

/// The lower half of a node's first word.
const RED: u32 = 0;
const BLACK: u32 = 1;

/// Where the head of a list may be that a chunk is a node of: the first place on the ring that is no node.
pub(super) fn head_of_list(probe: &mut Probe<'_>, chunk: &Chunk) -> Option<u64> {
    let first = chunk.address();
    let mut node = first;
    while probe.step() {
        let [next] = probe.words(node)?;
        let [_, back] = probe.words(next)?;
        if back != node || next == first {
            return None;
        }
        if probe.alike(next, chunk).is_none() {
            return Some(next);
        }
        node = next;
    }
    None
}

/// What a tree says of itself: how many nodes it has, and its root, which they are all like.
#[derive(Clone, Copy)]
struct Tree {
    count: u64,
    root: Chunk,
}

impl Tree {
    /// `{red, root, leftmost, rightmost, count}`, from the root on, which points back to this.
    fn at(probe: &mut Probe<'_>, holder: &Holder<'_>, pointer: u64, chunk: u64) -> Option<Self> {
        let (_, leftmost, rightmost) = three(holder)?;
        let count = holder.word(3)?;
        let single = leftmost == pointer && rightmost == pointer;
        if count == 0 || count > probe.lookup.count() || (count == 1) != single {
            return None;
        }
        let root = probe.lookup.chunk(chunk)?;
        probe.alike(leftmost, &root)?;
        probe.alike(rightmost, &root)?;
        let [color, parent] = probe.words(pointer)?;
        let left_end = |words: Option<[u64; 4]>| words.is_some_and(|[_, _, left, _]| left == 0);
        let right_end = |words: Option<[u64; 4]>| words.is_some_and(|[_, _, _, right]| right == 0);
        let sound = parent == holder.address - 8
            && color as u32 == BLACK
            && left_end(probe.words(leftmost))
            && right_end(probe.words(rightmost));
        sound.then_some(Self { count, root })
    }
}

/// No tree that fits into memory is higher.
const HIGHEST: usize = 128;

/// Nodes of a tree from one up to the root, with their colours, and where the pointer to the root is.
pub(super) struct Ascent {
    nodes: Vec<(u64, u32)>,
    pub(super) root: u64,
    pub(super) holder: u64,
}

/// From a chunk that may be a node of a tree up to the tree's header, which the root points to as if it was above.
pub(super) fn ascend(probe: &mut Probe<'_>, chunk: &Chunk) -> Option<Ascent> {
    let mut node = chunk.address();
    let mut words: [u64; 4] = probe.words(node)?;
    let mut nodes = Vec::new();
    while nodes.len() < HIGHEST && probe.step() {
        let [color, parent, ..] = words;
        nodes.push((node, color as u32));
        words = probe.words(parent)?;
        let [_, above, left, right] = words;
        if above == node {
            return Some(Ascent { nodes, root: node, holder: parent.checked_add(8)? });
        }
        if left != node && right != node {
            return None;
        }
        node = parent;
    }
    None
}

/// Marks the chunk that an ascent began at, if what it ended at is a tree's header and all nodes on the way are as [`tree`] wants them.
pub(super) fn descend(probe: &mut Probe<'_>, holder: &Holder<'_>, ascent: &Ascent) {
    let Some(chunk) = probe.start(ascent.root) else { return };
    if holder.word(-1).is_none_or(|color| color as u32 != RED) {
        return;
    }
    let Some(Tree { root, .. }) = Tree::at(probe, holder, ascent.root, chunk) else { return };
    let mut above = RED;
    let mut last = None;
    for (node, color) in ascent.nodes.iter().rev() {
        let fits = *color == BLACK || (*color == RED && above == BLACK);
        last = probe.alike(*node, &root).filter(|_| fits);
        if last.is_none() {
            return;
        }
        above = *color;
    }
    if let Some(node) = last {
        probe.mark(node.granule, Shape::MapNode);
    }
}

/// Marks the nodes of a tree, from the root on.
fn tree(probe: &mut Probe<'_>, holder: &Holder<'_>, pointer: u64, chunk: u64) {
    let Some(Tree { count, root: first }) = Tree::at(probe, holder, pointer, chunk) else { return };
    let header = holder.address - 8;
    let mut left = count;
    let mut open = vec![(pointer, header, RED)];
    while !open.is_empty() {
        let mut batch = open.split_off(open.len().saturating_sub(BATCH));
        batch.retain(|(node, ..)| probe.alike(*node, &first).is_some());
        let ranges: Vec<AddressRange> = batch.iter().map(|(node, ..)| AddressRange::sized(*node, 32)).collect();
        let mut nodes = vec![None; batch.len()];
        Pages::many(probe.memory, &ranges, |index, bytes| nodes[index] = words(bytes));
        for ((node, expected, above), words) in batch.into_iter().zip(nodes) {
            let Some([color, parent, lower, higher]) = words else { continue };
            let color = color as u32;
            // A tree that goes on for longer than it says, or that never ends, has been looked at for long enough.
            if left == 0 || !probe.step() {
                return;
            }
            if parent == expected && (color == BLACK || (color == RED && above == BLACK)) {
                left -= 1;
                if let Some(granule) = probe.start(node) {
                    probe.mark(granule, Shape::MapNode);
                }
                open.extend([higher, lower].into_iter().filter(|child| *child != 0).map(|child| (child, node, color)));
            }
        }
    }
}

fn words(bytes: &[u8]) -> Option<[u64; 4]> {
    let words = bytes.as_chunks::<8>().0;
    Some([0, 1, 2, 3].map(|index| words.get(index).map_or(0, |word| u64::from_le_bytes(*word))))
        .filter(|_| words.len() == 4)
}

/// `{buckets, their count, first node, count of nodes, greatest load, ..}`.
fn unordered(probe: &mut Probe<'_>, holder: &Holder<'_>, chunk: u64) {
    let Some((_, buckets, first)) = three(holder) else { return };
    if buckets < 2 {
        return;
    }
    let (Some(count), Some(load)) = (holder.word(3), holder.word(4)) else { return };
    let load = f32::from_bits(load as u32);
    if !(holder.has(7)
        && count <= probe.lookup.count()
        && (count == 0) == (first == 0)
        && (0.01..=1000.0).contains(&load))
    {
        return;
    }
    let Some(found) = probe.lookup.chunk(chunk) else { return };
    if !buckets.checked_mul(8).is_some_and(|request| fits(&found, request)) {
        return;
    }
    if count == 0 {
        // Nothing confirms it but that it is as those of nearly all programs are.
        if load == 1.0 {
            probe.mark(chunk, Shape::UnorderedBuckets);
        }
        return;
    }
    let like = probe.start(first).and_then(|first| probe.lookup.chunk(first));
    let Some(like) = like else { return };
    let sound = probe.name(Shape::UnorderedNode, count, |probe, visit| {
        let mut node = first;
        for _ in 0..count {
            let Some(found) = probe.alike(node, &like) else { return false };
            let Some([next]) = probe.words(node) else { return false };
            if !probe.step() {
                return false;
            }
            visit(probe, found.granule);
            node = next;
        }
        node == 0
    });
    if sound {
        probe.mark(chunk, Shape::UnorderedBuckets);
    }
}

/// `{map, its size, {current, first, last, place in the map} of the beginning, the same of the end}`.
fn deque(probe: &mut Probe<'_>, holder: &Holder<'_>, pointer: u64, chunk: u64) {
    let mut words = [0; 9];
    for (word, index) in words.iter_mut().zip(1..) {
        let Some(found) = holder.word(index) else { return };
        *word = found;
    }
    let [size, start, first, last, place, end, end_first, end_last, end_place] = words;
    let length = last.wrapping_sub(first);
    let in_order = first <= start && start <= last && end_first <= end && end <= end_last;
    if !in_order || end_last - end_first != length || !(pointer <= place && place <= end_place) {
        return;
    }
    let Some(map) = probe.lookup.chunk(chunk) else { return };
    let inside = end_place.checked_sub(pointer).is_some_and(|offset| offset.is_multiple_of(8) && offset / 8 < size);
    if !inside
        || !(place - pointer).is_multiple_of(8)
        || !size.checked_mul(8).is_some_and(|request| fits(&map, request))
    {
        return;
    }
    let block = probe.start(first).and_then(|block| probe.lookup.chunk(block));
    let Some(block) = block.filter(|block| fits(block, length)) else { return };
    if probe.words(place) != Some([first]) || probe.words(end_place) != Some([end_first]) {
        return;
    }
    probe.mark(chunk, Shape::DequeMap);
    let mut place = place;
    while place <= end_place && probe.step() {
        if let Some(found) = self::block(probe, place, &block) {
            probe.mark(found.granule, Shape::DequeBlock);
        }
        place += 8;
    }
}

/// The block that a word of a deque's map points to.
fn block(probe: &mut Probe<'_>, place: u64, like: &Chunk) -> Option<Chunk> {
    let [address] = probe.words(place)?;
    probe.alike(address, like)
}
