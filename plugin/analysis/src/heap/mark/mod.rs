//! Which chunks in use can be reached: conservative marking, by many workers at the same time.
//!
//! Whatever word points into what a chunk's user may use of it keeps the chunk alive. [`Mark`] is one *round* of it: in the
//! first one, roots are looked at, and what they point to is marked. In each further one, tasks go through the heap in
//! address order, look into what is marked and was not looked into yet (*pending*), and mark what that points to. What is
//! marked behind them or elsewhere they then follow, a whole level at a time, as long as it is little; if it is much, it is left
//! to the next round, for in address order pages are read once for all chunks in them. [`Marking`] decides what is next.
//!
//! Which pieces are marked, and which have been looked into, are bits in shared tables. Marking twice is as good as once, so
//! tasks may run twice. A task that dies may have claimed what it did not look into. That is seen by the count of claims, and
//! then all that is marked is looked into again.

mod contents;
mod marking;
mod marks;
mod run;
#[cfg(test)]
mod tests;

pub use marking::{Marked, Marking};

use super::{Area, Segments, View};
use crate::driver::Sink;
use crate::memory::Buffer;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Skip, Stop};
pub(super) use contents::{Contents, Part, Unread};
pub(super) use marks::{Marks, is_sparse};
use run::Run;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressRange;

/// What a round is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Round {
    /// What roots point to is marked.
    Roots,
    /// What is pending is looked into, and followed.
    Heap,
    /// What is marked is looked into, and nothing is claimed or followed: a task looks at its own range alone, so that the
    /// part of the heap that a worker cannot stand is found.
    Careful,
}

/// A round of marking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    round: Round,
    area: Area,
    /// Memory of the heap in which a page that is not present may hold something; in address order.
    dense: Vec<AddressRange>,
    /// Memory of the heap that is not to be looked at, since workers died of it; in address order.
    avoided: Vec<AddressRange>,
}

impl Mark {
    /// How many words each of its tables has: what is marked, and what is claimed.
    pub fn tables(segments: &Segments) -> Vec<u64> {
        vec![segments.granules().div_ceil(64); 2]
    }
}

/// What a task of a round comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundPartial {
    /// How many pieces it has claimed and looked into.
    claimed: u64,
    /// What it could not read of them.
    unread: Vec<Skip>,
}

/// What the tasks of a round come to.
#[derive(Clone, Debug, Default)]
pub struct RoundMerge {
    claimed: u64,
    unread: Vec<Skip>,
    /// The ranges of the tasks that ended well, in address order.
    covered: Vec<AddressRange>,
}

/// What is kept from one task to the next.
#[derive(Debug, Default)]
pub struct Marker {
    buffer: Buffer,
    contents: Contents,
    parts: Vec<Part>,
    /// Pieces that are to be followed.
    stack: Vec<u64>,
}

impl Analysis for Mark {
    const NAME: &'static str = "heap-mark";
    type Input = View;
    type Partial = RoundPartial;
    type Scanner = Marker;
    type Merge = RoundMerge;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.area.ranges
    }

    fn reads_swapped(&self) -> bool {
        true
    }

    fn scanner(&self) -> Result<Marker, String> {
        Ok(Marker::default())
    }

    fn scan(&self, marker: &mut Marker, task: &Task, view: &View, stop: &dyn Fn() -> bool) -> Scanned<RoundPartial> {
        if self.round != Round::Roots {
            return Run::new(self, view, marker).scan(task, stop);
        }
        let marks = Marks::new(view);
        let scanned = self.area.scan(task, &*view.memory, &mut marker.buffer, stop, |_, words| {
            marks.targets(words, |granule| {
                marks.mark(granule);
            });
            ControlFlow::Continue(())
        });
        Scanned {
            partial: RoundPartial::default(),
            bytes: scanned.bytes,
            skipped: scanned.skipped,
            rest: scanned.rest,
            gone: scanned.gone,
        }
    }

    fn merge(&self) -> RoundMerge {
        RoundMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut RoundMerge,
        task: &Task,
        partial: RoundPartial,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        merge.claimed += partial.claimed;
        merge.unread.extend(partial.unread);
        match merge.covered.last_mut() {
            Some(last) if last.end == task.range.start => last.end = task.range.end,
            _ => merge.covered.push(task.range),
        }
        ControlFlow::Continue(())
    }

    fn weight(partial: &RoundPartial) -> usize {
        size_of_val(&partial.unread[..])
    }
}
