//! Putting the partials of `find` together.
//!
//! A task looks for a regex as if no match reached into it. Where the last match before it ends within one of its own,
//! its list is wrong up to the first place where the true way through the memory comes by a gap between two listed
//! matches: from there on both are the same. Up to there the memory is searched again.

use super::Find;
use super::found::Found;
use super::scan::{FindPartial, FindScanner};
use crate::driver::Sink;
use crate::plan::{ScanRange, Task};
use crate::report::Stop;
use std::collections::{BTreeMap, btree_map::Entry};
use std::ops::ControlFlow;
use target::{AddressRange, ReadMemory};

/// What `find` has come to so far.
#[derive(Debug)]
pub struct FindMerge {
    /// Matches given to the sink, or counted.
    total: u64,
    /// For each pattern.
    counts: Vec<u64>,
    /// For each regex that has matched, where its last match ended.
    ends: BTreeMap<u16, u64>,
    /// For regexes that had to be searched again.
    scanners: BTreeMap<u16, FindScanner>,
}

/// Memory that is searched again is searched in pieces, from this size up to the next, so that matches stream on and
/// the sink can say stop. Tests have little memory, and search small ones.
const FIRST_PIECE: u64 = if cfg!(test) { 16 } else { 16 << 10 };
const LAST_PIECE: u64 = if cfg!(test) { 256 } else { 256 << 10 };

/// The true way of one regex through a task that an earlier match of it reaches into.
struct Way<'a> {
    pattern: u16,
    /// The next match does not begin before it.
    position: u64,
    /// What the task found.
    listed: &'a [Found],
    /// Whether these are all.
    complete: bool,
    /// The first of `listed` that ends after `position`.
    index: usize,
    /// Whether from here on `listed` is right.
    met: bool,
}

impl FindMerge {
    pub(super) fn new(patterns: usize) -> Self {
        Self { total: 0, counts: vec![0; patterns], ends: BTreeMap::new(), scanners: BTreeMap::new() }
    }

    /// How many matches there are: those found so far, or all that were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The same for each pattern.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    pub(super) fn absorb(
        &mut self,
        find: &Find,
        task: &Task,
        partial: FindPartial,
        memory: &dyn ReadMemory,
        sink: &mut dyn Sink<Found>,
    ) -> ControlFlow<Stop> {
        let FindPartial { matches, counts, chains } = partial;
        let Some(scan) = find.ranges.get(task.index) else { return ControlFlow::Continue(()) };
        if find.count {
            for (pattern, count) in counts.iter().enumerate().take(self.counts.len()) {
                let Some(chained) = chains.iter().find(|chained| usize::from(chained.pattern) == pattern) else {
                    self.add(pattern, *count);
                    continue;
                };
                let position = self.ends.get(&chained.pattern).copied().unwrap_or(0);
                if position <= task.range.start {
                    self.add(pattern, *count);
                    if *count > 0 {
                        self.ends.insert(chained.pattern, chained.end);
                    }
                    continue;
                }
                let complete = *count <= chained.first.len() as u64;
                let mut way = Way::new(chained.pattern, position, &chained.first, complete);
                let again = self.again(find, scan, task, memory, sink, &mut way)?;
                self.add(pattern, again);
                if way.met {
                    self.add(pattern, count.saturating_sub(way.index as u64));
                    if *count > way.index as u64 {
                        way.position = chained.end;
                    }
                }
                self.ends.insert(way.pattern, way.position);
            }
            return ControlFlow::Continue(());
        }
        let late: Vec<(u16, u64)> = self
            .ends
            .iter()
            .map(|(pattern, end)| (*pattern, *end))
            .filter(|(_, end)| *end > task.range.start)
            .collect();
        if !late.is_empty() {
            return self.absorb_late(find, scan, task, matches, &late, memory, sink);
        }
        self.note_ends(find, &matches);
        self.give(find, matches, sink)
    }

    /// Takes a task into which matches of some regexes reach, `late`: their patterns and ends.
    #[expect(clippy::too_many_arguments, reason = "what a merge has, and one more")]
    fn absorb_late(
        &mut self,
        find: &Find,
        scan: &ScanRange,
        task: &Task,
        matches: Vec<Found>,
        late: &[(u16, u64)],
        memory: &dyn ReadMemory,
        sink: &mut dyn Sink<Found>,
    ) -> ControlFlow<Stop> {
        let is_late = |found: &Found| late.iter().any(|(pattern, _)| *pattern == found.pattern);
        let (listed, matches): (Vec<Found>, Vec<Found>) = matches.into_iter().partition(is_late);
        self.note_ends(find, &matches);
        let lists: Vec<Vec<Found>> = late
            .iter()
            .map(|(pattern, _)| listed.iter().copied().filter(|found| found.pattern == *pattern).collect())
            .collect();
        let ways = late.iter().zip(&lists);
        let mut ways: Vec<Way<'_>> =
            ways.map(|((pattern, position), listed)| Way::new(*pattern, *position, listed, true)).collect();
        let (mut rest, mut start, mut size) = (&matches[..], task.range.start, FIRST_PIECE);
        while start < task.range.end {
            // Once all ways have met what was listed, the rest of the task is one piece.
            let met = ways.iter().all(|way| way.met);
            let end = if met { task.range.end } else { start.saturating_add(size).min(task.range.end) };
            let piece = AddressRange::new(start, end);
            let (now, later) = rest.split_at(rest.partition_point(|found| found.address < end));
            let mut certain = now.to_vec();
            for way in &mut ways {
                self.step(find, scan, piece, memory, way, &mut |found| certain.push(found));
            }
            certain.sort_unstable();
            self.give(find, certain, sink)?;
            if let Some(stop) = sink.stop() {
                return ControlFlow::Break(stop);
            }
            (rest, start, size) = (later, end, (size * 2).min(LAST_PIECE));
        }
        self.ends.extend(ways.iter().map(|way| (way.pattern, way.position)));
        ControlFlow::Continue(())
    }

    /// Follows a way until it meets what was listed, at most to the end of the task, and says how many matches it has up
    /// to there.
    fn again(
        &mut self,
        find: &Find,
        scan: &ScanRange,
        task: &Task,
        memory: &dyn ReadMemory,
        sink: &mut dyn Sink<Found>,
        way: &mut Way<'_>,
    ) -> ControlFlow<Stop, u64> {
        let (mut start, mut size, mut count) = (task.range.start, FIRST_PIECE, 0);
        while start < task.range.end && !way.meets() {
            let end = start.saturating_add(size).min(task.range.end);
            for found in self.search_again(find, scan, AddressRange::new(start, end), memory, way) {
                if way.meets() {
                    break;
                }
                way.position = found.end();
                count += 1;
            }
            if !way.meets() {
                way.position = way.position.max(end);
            }
            if let Some(stop) = sink.stop() {
                return ControlFlow::Break(stop);
            }
            (start, size) = (end, (size * 2).min(LAST_PIECE));
        }
        way.meets();
        ControlFlow::Continue(count)
    }

    /// Follows a way through a piece of memory.
    fn step(
        &mut self,
        find: &Find,
        scan: &ScanRange,
        piece: AddressRange,
        memory: &dyn ReadMemory,
        way: &mut Way<'_>,
        take: &mut dyn FnMut(Found),
    ) {
        if !way.meets() {
            for found in self.search_again(find, scan, piece, memory, way) {
                if way.meets() {
                    break;
                }
                way.position = found.end();
                take(found);
            }
        }
        if way.meets() {
            while let Some(found) = way.listed.get(way.index).filter(|found| found.address < piece.end) {
                take(*found);
                way.position = found.end();
                way.index += 1;
            }
        }
        // Nothing else begins in the piece.
        way.position = way.position.max(piece.end);
    }

    fn search_again(
        &mut self,
        find: &Find,
        scan: &ScanRange,
        piece: AddressRange,
        memory: &dyn ReadMemory,
        way: &Way<'_>,
    ) -> Vec<Found> {
        let piece = AddressRange::new(piece.start.max(way.position), piece.end);
        let scanner = match self.scanners.entry(way.pattern) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match FindScanner::only(find, way.pattern) {
                Ok(scanner) => new.insert(scanner),
                // The plan has been checked: its regexes compile.
                Err(_) => return Vec::new(),
            },
        };
        if piece.is_empty() { Vec::new() } else { scanner.follow(find, scan, piece, way.position, memory) }
    }

    /// Remembers where the last match of each regex ends.
    fn note_ends(&mut self, find: &Find, matches: &[Found]) {
        let mut missing = find.patterns.iter().filter(|pattern| matches!(pattern, super::Pattern::Regex(_))).count();
        let mut seen = Vec::new();
        for found in matches.iter().rev() {
            if missing == 0 {
                break;
            }
            let is_regex = matches!(find.patterns.get(usize::from(found.pattern)), Some(super::Pattern::Regex(_)));
            if is_regex && !seen.contains(&found.pattern) {
                seen.push(found.pattern);
                self.ends.insert(found.pattern, found.end());
                missing -= 1;
            }
        }
    }

    /// Gives matches to the sink, up to the limit.
    fn give(&mut self, find: &Find, mut matches: Vec<Found>, sink: &mut dyn Sink<Found>) -> ControlFlow<Stop> {
        let left = find.limit - self.total.min(find.limit);
        matches.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        for found in &matches {
            self.add(usize::from(found.pattern), 1);
        }
        if !matches.is_empty() {
            sink.found(matches);
        }
        if self.total >= find.limit { ControlFlow::Break(Stop::Limit) } else { ControlFlow::Continue(()) }
    }

    fn add(&mut self, pattern: usize, count: u64) {
        if let Some(sum) = self.counts.get_mut(pattern) {
            *sum = sum.saturating_add(count);
            self.total = self.total.saturating_add(count);
        }
    }
}

impl<'a> Way<'a> {
    fn new(pattern: u16, position: u64, listed: &'a [Found], complete: bool) -> Self {
        Self { pattern, position, listed, complete, index: 0, met: false }
    }

    /// Whether the position lies in a gap between two listed matches, or did so before.
    fn meets(&mut self) -> bool {
        if self.met {
            return true;
        }
        let ahead = &self.listed[self.index..];
        self.index += ahead.iter().take_while(|found| found.end() <= self.position).count();
        self.met = match self.listed.get(self.index) {
            Some(found) => self.position <= found.address,
            None => self.complete,
        };
        self.met
    }
}
