//! The names of a run of symbols, demangled, one after another: what a regex is run over, and what is kept of a module on disk.

use super::pattern::{END, Pattern};
use std::ops::{ControlFlow, Range};
use target::cache::{Cache, Key};

/// Where it begins in a kept fact: how many names there are, and where each ends.
const COUNT: usize = 4;

/// So many bytes are searched between two questions whether to stop: in tests so few that names lie in many pieces.
const PIECE: usize = if cfg!(test) { 8 } else { 64 << 10 };

/// Names one behind another, each with its end. An entry that is no symbol has an empty one.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: Vec<u8>,
    /// Where each begins, and where the last ends.
    starts: Vec<u32>,
}

impl Names {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.starts.clear();
        self.starts.push(0);
    }

    /// Adds a name, which `write` writes.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.text);
        self.text.push(END);
        self.starts.push(self.text.len() as u32);
    }

    /// Bytes of the names.
    pub(super) fn size(&self) -> usize {
        self.text.len()
    }

    /// Gives the numbers of those that match to `found`, in ascending order. Returns how many are not empty; breaks if told to stop.
    pub(super) fn search(
        &self,
        pattern: &mut Pattern,
        found: impl FnMut(usize),
        stop: &dyn Fn() -> bool,
    ) -> ControlFlow<(), u64> {
        search(&self.text, self.starts.len() - 1, |index| self.starts[index], pattern, found, stop)?;
        ControlFlow::Continue(self.starts.windows(2).filter(|pair| pair[1] - pair[0] > 1).count() as u64)
    }

    pub(super) fn keep(&self, cache: &Cache, key: &Key<'_>) {
        let count = (self.starts.len() - 1) as u32;
        let mut content = Vec::with_capacity(COUNT + 4 * self.starts.len() + self.text.len());
        content.extend_from_slice(&count.to_le_bytes());
        for start in &self.starts {
            content.extend_from_slice(&start.to_le_bytes());
        }
        content.extend_from_slice(&self.text);
        cache.keep(key, &content);
    }
}

/// Gives the numbers of those of the names in a kept fact that match to `found`, in ascending order. Returns how many are not
/// empty; `None` if it is no fact about `count` names. Breaks if told to stop.
pub(super) fn search_kept(
    content: &[u8],
    count: usize,
    pattern: &mut Pattern,
    found: impl FnMut(usize),
    stop: &dyn Fn() -> bool,
) -> Option<ControlFlow<(), u64>> {
    let (head, rest) = content.split_at_checked(COUNT)?;
    let (starts, text) = rest.split_at_checked(4 * (count + 1))?;
    let start = |index: usize| {
        let bytes = starts[4 * index..4 * index + 4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    if head != (count as u32).to_le_bytes() || start(0) != 0 || start(count) as usize != text.len() {
        return None;
    }
    let mut named = 0;
    for index in 0..count {
        let (begin, end) = (start(index), start(index + 1));
        if begin >= end || text.get(end as usize - 1) != Some(&END) {
            return None;
        }
        named += u64::from(end - begin > 1);
    }
    Some(search(text, count, start, pattern, found, stop).map_continue(|()| named))
}

/// Breaks if told to stop.
fn search(
    text: &[u8],
    count: usize,
    start: impl Fn(usize) -> u32,
    pattern: &mut Pattern,
    mut found: impl FnMut(usize),
    stop: &dyn Fn() -> bool,
) -> ControlFlow<()> {
    let start = |index: usize| start(index) as usize;
    // The first name in `names` that begins behind `end`, or their end.
    let behind = |names: Range<usize>, end: usize| {
        let Range { start: mut low, end: mut high } = names;
        while low < high {
            let middle = low.midpoint(high);
            if start(middle) <= end {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    };
    let mut first = 0;
    while first < count {
        if stop() {
            return ControlFlow::Break(());
        }
        let last = behind(first + 1..count, start(first) + PIECE);
        let Some(piece) = text.get(..start(last)) else { break };
        let mut from = start(first);
        while from < piece.len()
            && let Some(end) = pattern.next_end(piece, from).filter(|end| *end < piece.len())
        {
            // A match may end where its name does, but never behind that: the name is the last that begins at or before its end.
            let next = behind(first..last, end);
            if next == first {
                break;
            }
            found(next - 1);
            from = start(next);
        }
        first = last;
    }
    ControlFlow::Continue(())
}
