//! Which leaks point to which others.

use crate::driver::Sink;
use crate::heap::mark::{Contents, Marks, Part, Unread, is_sparse};
use crate::heap::roots::Roots;
use crate::heap::{Segments, View};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Skip, Stop};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::AddressRange;

/// As many parts are looked at together.
const BATCH: usize = 1024;

/// Once parts that are looked at together have so many bytes, no other is added.
const BATCH_BYTES: u64 = 1 << 20;

/// A task that has found so many ends.
const MOST: usize = 1 << 21;

/// Looks into all chunks in use that are not marked, for pointers to others of them. Its tables are those of
/// [`Mark`](crate::heap::mark::Mark), as marking has left them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakEdges {
    ranges: Vec<ScanRange>,
    /// Memory of the heap in which a page that is not present may hold something; in address order.
    dense: Vec<AddressRange>,
}

impl LeakEdges {
    /// For a heap of which this was marked from these roots. Segments without leaks are left out.
    pub fn new(view: &View, roots: &Roots) -> Self {
        let marks = Marks::new(view);
        let segments: &Segments = marks.lookup.segments();
        let leaks = |segment: &usize| marks.unmarked(segments.granules_of(*segment)).next().is_some();
        let ranges = (0..segments.list().len()).filter(leaks).map(|segment| segments.list()[segment].range);
        let ranges = ranges.map(ScanRange::alone).collect();
        Self { ranges, dense: roots.dense.clone() }
    }
}

/// Which leaks of a task's range point to which others, by the numbers of their chunks; sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakEdgesPartial {
    pairs: Vec<(u32, u32)>,
    /// What could not be read.
    unread: Vec<Skip>,
}

/// Which leaks point to which others.
#[derive(Clone, Debug, Default)]
pub struct LeakEdgesMerge {
    /// By the numbers of their chunks, in the order of the first one.
    pub(super) pairs: Vec<(u32, u32)>,
    /// What could not be read, in address order.
    pub skipped: Vec<Skip>,
}

/// What is kept from one task to the next.
#[derive(Debug, Default)]
pub struct LeakScanner {
    contents: Contents,
    parts: Vec<Part>,
    fresh: Vec<(u32, u32)>,
}

impl Analysis for LeakEdges {
    const NAME: &'static str = "heap-leaks";
    type Input = View;
    type Partial = LeakEdgesPartial;
    type Scanner = LeakScanner;
    type Merge = LeakEdgesMerge;
    type Item = ();

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn reads_swapped(&self) -> bool {
        true
    }

    fn scanner(&self) -> Result<LeakScanner, String> {
        Ok(LeakScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut LeakScanner,
        task: &Task,
        view: &View,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<LeakEdgesPartial> {
        let marks = Marks::new(view);
        let LeakScanner { contents, parts, fresh } = scanner;
        parts.clear();
        let (mut pairs, mut unread) = (Vec::new(), Unread::default());
        let mut pieces = marks.unmarked_pieces(task.range).peekable();
        let mut rest = None;
        while pieces.peek().is_some() && !unread.gone {
            let mut waiting = 0;
            while parts.len() < BATCH
                && waiting < BATCH_BYTES
                && let Some((chunk, piece)) = pieces.next()
            {
                let Some(range) = marks.piece(piece).map(|piece| piece.range) else { continue };
                waiting += range.len();
                parts.push(Part { range, owner: chunk, sparse: is_sparse(&self.dense, range) });
            }
            contents.show(&*view.memory, parts, &mut unread, &mut |chunk, words| {
                // There are no more chunks than these numbers have room for.
                let source = marks.lookup.number(chunk) as u32;
                marks.targets(words, |target| {
                    if target != chunk && !marks.is_marked(target) {
                        fresh.push((source, marks.lookup.number(target) as u32));
                    }
                });
            });
            parts.clear();
            fresh.sort_unstable();
            fresh.dedup();
            pairs.append(fresh);
            if pairs.len() > MOST || stop() {
                let next = pieces.peek().and_then(|(_, piece)| marks.lookup.segments().place(*piece));
                rest = next.map(|(_, address)| address);
                break;
            }
        }
        Scanned {
            partial: LeakEdgesPartial { pairs, unread: unread.skipped },
            bytes: rest.unwrap_or(task.range.end) - task.range.start,
            skipped: Vec::new(),
            rest: rest.map(|rest| AddressRange::new(rest, task.range.end)),
            gone: unread.gone,
        }
    }

    fn merge(&self) -> LeakEdgesMerge {
        LeakEdgesMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut LeakEdgesMerge,
        _task: &Task,
        partial: LeakEdgesPartial,
        _view: &View,
        _sink: &mut dyn Sink<()>,
    ) -> ControlFlow<Stop> {
        merge.pairs.extend(partial.pairs);
        merge.skipped.extend(partial.unread);
        ControlFlow::Continue(())
    }

    fn weight(partial: &LeakEdgesPartial) -> usize {
        size_of_val(&partial.pairs[..]) + size_of_val(&partial.unread[..])
    }
}
