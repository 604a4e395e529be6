//! One task of a round over the heap.

use super::contents::{Part, Unread};
use super::marks::{Marks, is_sparse};
use super::{Mark, Marker, Round, RoundPartial};
use crate::heap::View;
use crate::heap::area::WORD;
use crate::plan::{Scanned, Task};
use std::ops::Range;
use target::AddressRange;

/// As many pieces are looked into at once.
const BATCH: usize = 1024;

/// Once the pieces that are looked into at once have so many bytes, no other is added.
const BATCH_BYTES: u64 = 1 << 20;

/// Once a task has followed so many bytes, the rest is for all.
const FOLLOWED: u64 = 32 << 20;

/// Everywhere.
const ALL: AddressRange = AddressRange::new(0, u64::MAX);

/// A task under way.
pub(super) struct Run<'a> {
    mark: &'a Mark,
    marks: Marks<'a>,
    view: &'a View,
    marker: &'a mut Marker,
    follows: Follows,
    /// The bytes of the parts that wait to be looked at.
    waiting: u64,
    /// Bytes looked at.
    bytes: u64,
    claimed: u64,
    unread: Unread,
}

/// Which pieces are to be followed.
struct Follows {
    /// What the sweep will come to by itself.
    ahead: Range<u64>,
    /// As many at the most.
    most: usize,
    /// Whether there were more, so that all are left to the next round.
    left: bool,
}

impl Follows {
    fn push(&mut self, stack: &mut Vec<u64>, granule: u64) {
        if self.ahead.contains(&granule) || self.left {
            return;
        }
        if stack.len() < self.most { stack.push(granule) } else { self.left = true }
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(mark: &'a Mark, view: &'a View, marker: &'a mut Marker) -> Self {
        let marks = Marks::new(view);
        // If this many are pending, there is one in every few pages, and it is better to go through all.
        let granules = usize::try_from(marks.lookup.segments().granules()).unwrap_or(usize::MAX);
        let most = if mark.round == Round::Careful { 0 } else { (granules >> 13).clamp(1 << 6, 1 << 17) };
        let follows = Follows { ahead: 0..0, most, left: false };
        let (waiting, bytes, claimed, unread) = (0, 0, 0, Unread::default());
        marker.stack.clear();
        marker.parts.clear();
        Self { mark, marks, view, marker, follows, waiting, bytes, claimed, unread }
    }

    pub(super) fn scan(mut self, task: &Task, stop: &dyn Fn() -> bool) -> Scanned<RoundPartial> {
        let rest = self.sweep(task.range, stop);
        if rest.is_none() {
            self.follow(stop);
        }
        let end = rest.unwrap_or(task.range.end);
        Scanned {
            partial: RoundPartial { claimed: self.claimed, unread: self.unread.skipped },
            bytes: end - task.range.start,
            skipped: Vec::new(),
            rest: rest.map(|rest| AddressRange::new(rest, task.range.end)),
            gone: self.unread.gone,
        }
    }

    /// Goes through the pieces of a range in address order. Returns where it stopped, if before the end.
    fn sweep(&mut self, range: AddressRange, stop: &dyn Fn() -> bool) -> Option<u64> {
        let careful = self.mark.round == Round::Careful;
        let granules = self.marks.granules(range);
        let mut next = granules.start;
        self.follows.ahead = granules.clone();
        if careful
            && let Some(first) = self.marks.piece_at(range.start)
            && first < next
            && self.marks.is_marked(first)
        {
            self.add(first, words(range));
        }
        loop {
            while self.has_room()
                && let Some(granule) = self.marks.next(next..granules.end, careful)
            {
                next = granule + 1;
                self.follows.ahead.start = next;
                if careful {
                    self.add(granule, words(range));
                } else {
                    self.claim(granule);
                }
            }
            if self.marker.parts.is_empty() || self.unread.gone {
                return None;
            }
            // This may mark more that is ahead.
            self.look();
            if next < granules.end && stop() {
                return self.marks.lookup.segments().place(next).map(|(_, address)| address);
            }
        }
    }

    /// Follows what has been marked, one level after the other.
    fn follow(&mut self, stop: &dyn Fn() -> bool) {
        self.follows.ahead = 0..0;
        let budget = self.bytes + FOLLOWED;
        let mut level = Vec::new();
        while !self.follows.left && !self.marker.stack.is_empty() {
            std::mem::swap(&mut level, &mut self.marker.stack);
            level.sort_unstable();
            let mut pieces = level.drain(..).peekable();
            while pieces.peek().is_some() && !self.follows.left {
                if self.bytes >= budget || self.unread.gone || stop() {
                    self.follows.left = true;
                }
                while self.has_room()
                    && !self.follows.left
                    && let Some(granule) = pieces.next()
                {
                    self.claim(granule);
                }
                self.look();
            }
        }
        self.marker.stack.clear();
    }

    fn has_room(&self) -> bool {
        self.marker.parts.len() < BATCH && self.waiting < BATCH_BYTES
    }

    /// Has a piece looked into, unless somebody else does.
    fn claim(&mut self, granule: u64) {
        if self.marks.claim(granule) {
            self.claimed += 1;
            self.add(granule, ALL);
        }
    }

    /// Has what is `within` looked at of a piece. If a large chunk begins with it, what follows is marked.
    fn add(&mut self, granule: u64, within: AddressRange) {
        let Some(piece) = self.marks.piece(granule) else { return };
        if piece.opens {
            for further in self.marks.further(granule) {
                if self.marks.mark(further) {
                    self.follows.push(&mut self.marker.stack, further);
                }
            }
        }
        let sparse = is_sparse(&self.mark.dense, piece.range);
        let mut rest = piece.range.intersect(within).unwrap_or_default();
        for avoided in &self.mark.avoided {
            let avoided = words(*avoided);
            if avoided.intersect(rest).is_some() {
                self.push(Part { range: AddressRange::new(rest.start, avoided.start), owner: granule, sparse });
                rest = AddressRange::new(avoided.end.min(rest.end), rest.end);
            }
        }
        self.push(Part { range: rest, owner: granule, sparse });
    }

    fn push(&mut self, part: Part) {
        if !part.range.is_empty() {
            self.waiting += part.range.len();
            self.marker.parts.push(part);
        }
    }

    /// Looks at the parts that wait, and marks what they point to.
    fn look(&mut self) {
        let Self { marks, follows, unread, .. } = self;
        let Marker { contents, parts, stack, .. } = &mut *self.marker;
        contents.show(&*self.view.memory, parts, unread, &mut |_, words| {
            marks.targets(words, |granule| {
                if marks.mark(granule) {
                    follows.push(stack, granule);
                }
            });
        });
        parts.clear();
        self.bytes += std::mem::take(&mut self.waiting);
    }
}

/// The words that begin in a range.
fn words(range: AddressRange) -> AddressRange {
    AddressRange::new(range.start.next_multiple_of(WORD), range.end.next_multiple_of(WORD))
}
