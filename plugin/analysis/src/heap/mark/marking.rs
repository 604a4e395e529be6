//! Which round of marking is next, until nothing is left to be looked into.

use super::marks::Marks;
use super::{Mark, Round, RoundMerge};
use crate::Outcome;
use crate::driver::push_skip;
use crate::heap::roots::Roots;
use crate::heap::{Area, View};
use crate::plan::ScanRange;
use crate::report::Skip;
use target::AddressRange;

/// After so many rounds in which workers were lost, what has been marked has to do.
const MOST_RESTARTS: u32 = 8;

/// Marking, round by round: [`next`](Self::next) and [`take`](Self::take) in turns, or [`run`](Self::run).
///
/// The tables of the view, those of [`Mark::tables`], stay the same from one round to the next. Those bits of the first one
/// that belong to chunks in use are what it comes to.
#[derive(Clone, Debug)]
pub struct Marking {
    roots: Roots,
    /// The round that is next or under way; `None` if there is none.
    round: Option<Round>,
    /// The ranges of the round that is under way.
    planned: Vec<AddressRange>,
    avoided: Vec<AddressRange>,
    /// How many pieces were claimed by tasks that ended well.
    claimed: u64,
    restarts: u32,
    marked: Marked,
}

/// What marking comes to, beside its bits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marked {
    /// What could not be read of chunks, in address order: what it points to is not known. What could not be read or done
    /// within the ranges of a round, the outcomes have.
    pub skipped: Vec<Skip>,
    /// How many rounds it took, which varies.
    pub rounds: u32,
    /// Whether it was given up, since workers died whatever was left out: then what is not marked may be reachable.
    pub incomplete: bool,
}

impl Marking {
    /// Marks what can be reached from `roots`.
    pub fn new(roots: Roots) -> Self {
        let (planned, avoided, marked) = (Vec::new(), Vec::new(), Marked::default());
        Self { roots, round: Some(Round::Roots), planned, avoided, claimed: 0, restarts: 0, marked }
    }

    /// Takes one round after the other; `stage` runs each.
    ///
    /// # Errors
    /// The first one of `stage`.
    pub fn run<E>(
        mut self,
        view: &View,
        mut stage: impl FnMut(&Mark) -> Result<Outcome<RoundMerge>, E>,
    ) -> Result<Marked, E> {
        while let Some(mark) = self.next(view) {
            let outcome = stage(&mark)?;
            self.take(view, outcome);
        }
        Ok(self.finish())
    }

    /// The next round; `None` if there is nothing left to be looked into.
    pub fn next(&mut self, view: &View) -> Option<Mark> {
        let marks = Marks::new(view);
        let segments = marks.lookup.segments().list();
        let mut ranges = Vec::new();
        if self.round == Some(Round::Roots) {
            for granule in self.roots.words.iter().filter_map(|word| marks.lookup.used_at(*word)) {
                marks.mark(granule);
            }
            ranges.clone_from(&self.roots.ranges);
            if ranges.is_empty() {
                self.round = Some(Round::Heap);
            }
        }
        match self.round? {
            Round::Roots => {}
            Round::Heap => {
                ranges.extend((0..segments.len()).filter_map(|segment| marks.pending(segment)).map(ScanRange::alone));
            }
            Round::Careful => ranges.extend(segments.iter().map(|segment| ScanRange::alone(segment.range))),
        }
        self.round = self.round.filter(|_| !ranges.is_empty());
        let round = self.round?;
        self.planned = ranges.iter().map(|range| range.range).collect();
        self.marked.rounds += 1;
        let area = Area { ranges, ..Area::default() };
        Some(Mark { round, area, dense: self.roots.dense.clone(), avoided: self.avoided.clone() })
    }

    /// Takes what the round has come to.
    pub fn take(&mut self, view: &View, outcome: Outcome<RoundMerge>) {
        let Outcome { merge, stopped, .. } = outcome;
        let Some(round) = self.round.replace(Round::Heap) else { return };
        self.marked.skipped.extend(merge.unread);
        match round {
            _ if stopped.is_some() => self.give_up(),
            Round::Roots => {}
            Round::Careful => {
                self.avoided.extend(uncovered(&self.planned, &merge.covered));
                self.avoided.sort_unstable();
                // It has only looked for these; what it could not read will be come across again.
                self.marked.skipped.clear();
            }
            Round::Heap => {
                let marks = Marks::new(view);
                let (pending, claimed) = marks.count();
                self.claimed += merge.claimed;
                let is_stuck = pending > 0 && merge.claimed == 0;
                if claimed == self.claimed && !is_stuck {
                    return;
                }
                // A worker that died, or was too slow, had claimed what it then did not look into.
                marks.forget_claims();
                self.claimed = 0;
                self.round = Some(Round::Careful);
                self.restarts += 1;
                if self.restarts > MOST_RESTARTS {
                    self.give_up();
                }
            }
        }
    }

    /// What it has come to.
    pub fn finish(mut self) -> Marked {
        let mut found = std::mem::take(&mut self.marked.skipped);
        found.sort_by(|a, b| (a.range, &a.reason).cmp(&(b.range, &b.reason)));
        found.dedup();
        found.into_iter().for_each(|skip| push_skip(&mut self.marked.skipped, skip));
        self.marked
    }

    fn give_up(&mut self) {
        self.round = None;
        self.marked.incomplete = true;
    }
}

/// What of `planned` is not in `covered`, both in address order.
fn uncovered(planned: &[AddressRange], covered: &[AddressRange]) -> Vec<AddressRange> {
    let mut left = Vec::new();
    for range in planned {
        let mut start = range.start;
        let from = covered.partition_point(|covered| covered.end <= range.start);
        for part in covered[from..].iter().map_while(|covered| covered.intersect(*range)) {
            left.push(AddressRange::new(start, part.start));
            start = part.end;
        }
        left.push(AddressRange::new(start, range.end));
    }
    left.retain(|range| !range.is_empty());
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_covered() {
        let range = AddressRange::new;
        let planned = [range(0x100, 0x200), range(0x200, 0x300), range(0x400, 0x500)];
        let covered = [range(0x100, 0x140), range(0x180, 0x300), range(0x410, 0x420)];
        let expected = [range(0x140, 0x180), range(0x400, 0x410), range(0x420, 0x500)];
        assert_eq!(uncovered(&planned, &covered), expected);
        assert_eq!(uncovered(&planned, &planned), []);
        assert_eq!(uncovered(&planned, &[]), planned);
    }
}
