//! The one way in which all analyses go through a task's memory: block by block, each with what lies around it.
//!
//! A *run* is readable memory without a gap: it ends where a page cannot be read, where a page is in swap and not to be
//! read, and where the region ends. For matching, the end of a run is the end of the world. Blocks and tasks are not:
//! each [`Window`] shows enough before and after the places where a match may begin.

use super::Buffer;
use crate::driver::push_skip;
use crate::report::Skip;
use std::ops::{ControlFlow, Range};
use target::{AddressRange, FaultReason, ReadMemory};

pub(super) const PAGE: u64 = 4096;

/// How to go through the memory of a task.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub memory: &'a dyn ReadMemory,
    /// Where matches may begin.
    pub range: AddressRange,
    /// How far they reach, and see.
    pub region: AddressRange,
    /// Whether pages that are neither present nor swapped are known to hold zeros.
    pub sparse: bool,
    /// Whether pages in swap are to be read.
    pub swapped: bool,
    /// Bytes that a window shows before the first place where a match may begin.
    pub before: usize,
    /// Bytes that a window shows from each such place on, at least 1.
    pub reach: usize,
    /// As `reach`, where only zeros follow; at most `reach`, at least 1.
    pub zero_reach: usize,
    /// Whether something may match in nothing but zeros. If not, pages known to hold zeros are left out, but for the
    /// `zero_reach` bytes next to others.
    pub zeros: bool,
    /// Bytes read at once.
    pub block: usize,
    /// Asked once a block.
    pub stop: &'a dyn Fn() -> bool,
}

/// Memory, and where in it matches may begin.
#[derive(Debug)]
pub(crate) struct Window<'a> {
    /// The address of the first byte of `data`.
    pub base: u64,
    pub data: &'a [u8],
    /// Indices into `data`.
    pub starts: Range<usize>,
    /// Whether the run ends where `data` does.
    pub closes: bool,
}

impl Window<'_> {
    pub(crate) fn address(&self, index: usize) -> u64 {
        self.base + index as u64
    }
}

/// What a walk ends with.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// What could not be read, within the walk's range.
    pub skipped: Vec<Skip>,
    /// Where it stopped, if before the end.
    pub rest: Option<u64>,
    /// Whether the process is gone.
    pub gone: bool,
}

impl Walked {
    /// Bytes of `range` that were looked at.
    pub(crate) fn bytes(&self, range: AddressRange) -> u64 {
        let skipped: u64 = self.skipped.iter().map(|skip| skip.range.len()).sum();
        (self.rest.unwrap_or(range.end) - range.start).saturating_sub(skipped)
    }
}

/// What is known of a part of the memory before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Zeros,
    Swapped,
}

/// Why no more could be added to a window.
enum End {
    /// The block is full, or the next stretch of zeros is left out.
    Full,
    /// All that the walk may see has been seen.
    Limit,
    Fault(FaultReason),
    Swapped(u64),
}

struct Walker<'a, 'b> {
    walk: &'b Walk<'a>,
    buffer: &'b mut Buffer,
    walked: Walked,
    /// What the walk may see.
    seen: AddressRange,
    pieces: Vec<(AddressRange, Kind)>,
    /// The first place that has not been in a window's `starts`.
    next: u64,
    /// Where the run begins, as far as it matters.
    run: u64,
    /// The buffer holds the bytes before this, from `base` on.
    position: u64,
    /// Where zeros begin that the buffer ends with and that go on for longer than matters; else `position`.
    zeros: Option<u64>,
}

impl<'a> Walk<'a> {
    /// Shows each place of `range` once, in order, to `visit`, which may break with the address that it wants to go on
    /// from later (a place of the window, not its first one).
    pub(crate) fn run(&self, buffer: &mut Buffer, mut visit: impl FnMut(&Window<'_>) -> ControlFlow<u64>) -> Walked {
        let start = self.range.start.saturating_sub(self.before as u64).max(self.region.start);
        let end = self.range.end.saturating_add(self.reach as u64).min(self.region.end);
        let seen = AddressRange::new(start.min(self.range.start), end.max(self.range.end));
        let pieces = self.pieces(seen);
        buffer.clear();
        buffer.keep(0);
        let walker = Walker {
            walk: self,
            buffer,
            walked: Walked::default(),
            seen,
            pieces,
            next: self.range.start,
            run: seen.start,
            position: seen.start,
            zeros: None,
        };
        walker.run(&mut visit)
    }

    /// What is known of `seen` beforehand, without gaps.
    fn pieces(&self, seen: AddressRange) -> Vec<(AddressRange, Kind)> {
        if !self.sparse {
            return vec![(seen, Kind::Data)];
        }
        let populated = self.memory.populated(seen, self.swapped);
        let data = populated.runs.into_iter().map(|range| (range, Kind::Data));
        let mut known: Vec<_> = data.chain(populated.skipped.into_iter().map(|range| (range, Kind::Swapped))).collect();
        known.sort_unstable_by_key(|(range, _)| range.start);
        let mut pieces = Vec::with_capacity(2 * known.len() + 1);
        let mut position = seen.start;
        for (range, kind) in known {
            let Some(range) = range.intersect(AddressRange::new(position, seen.end)) else { continue };
            if position < range.start {
                pieces.push((AddressRange::new(position, range.start), Kind::Zeros));
            }
            pieces.push((range, kind));
            position = range.end;
        }
        if position < seen.end {
            pieces.push((AddressRange::new(position, seen.end), Kind::Zeros));
        }
        pieces
    }
}

impl Walker<'_, '_> {
    fn run(mut self, visit: &mut dyn FnMut(&Window<'_>) -> ControlFlow<u64>) -> Walked {
        let end = self.walk.range.end;
        let mut faults = 0u32;
        while self.next < end {
            if faults.is_multiple_of(64) && (self.walk.stop)() {
                self.walked.rest = Some(self.next);
                break;
            }
            self.leave_out_zeros();
            if self.next >= end {
                break;
            }
            match self.view(visit) {
                ControlFlow::Continue(true) => {
                    faults = 0;
                    continue;
                }
                ControlFlow::Continue(false) => {}
                ControlFlow::Break(rest) => {
                    self.walked.rest = Some(rest);
                    break;
                }
            }
            let why = self.fill();
            let closes = !matches!(why, End::Full) && (!matches!(why, End::Limit) || self.at_region_end());
            if let ControlFlow::Break(rest) = self.show(closes, visit) {
                self.walked.rest = Some(rest);
                break;
            }
            match why {
                End::Full | End::Limit => {
                    faults = 0;
                    self.carry();
                }
                End::Swapped(after) => self.skip(after, "in swap"),
                End::Fault(FaultReason::Gone) => {
                    self.walked.gone = true;
                    self.skip(end, &FaultReason::Gone.to_string());
                }
                End::Fault(reason) => {
                    faults = faults.wrapping_add(1);
                    self.skip(self.walk.memory.after_fault(self.position), &reason.to_string());
                }
            }
        }
        self.walked.rest = self.walked.rest.filter(|rest| *rest < end);
        self.walked
    }

    fn at_region_end(&self) -> bool {
        self.position >= self.walk.region.end
    }

    /// The index of the piece that holds `address`.
    fn piece_at(&self, address: u64) -> usize {
        self.pieces.partition_point(|(range, _)| range.end <= address)
    }

    /// Moves `next` past places from which only zeros can be seen.
    fn leave_out_zeros(&mut self) {
        if self.walk.zeros {
            return;
        }
        let index = self.piece_at(self.next);
        let Some((zeros, Kind::Zeros)) = self.pieces.get(index).copied() else { return };
        let target = match self.pieces.get(index + 1) {
            Some((_, Kind::Data)) => self.next.max(zeros.end.saturating_sub(self.walk.zero_reach as u64)),
            // What follows cannot be read, or the region ends, or nothing that begins in the range reaches it.
            _ => zeros.end,
        };
        if target > self.next {
            self.next = target;
            self.carry();
        }
    }

    /// The first byte that the next window shows.
    fn from(&self) -> u64 {
        self.next.saturating_sub(self.walk.before as u64).max(self.run)
    }

    /// Drops what lies before the next window.
    fn carry(&mut self) {
        let from = self.from();
        if from >= self.position {
            self.buffer.keep(0);
            self.position = from;
        } else {
            self.buffer.keep((self.position - from) as usize);
        }
    }

    /// Shows the next block in place, if it is mapped here; says whether it was.
    fn view(&mut self, visit: &mut dyn FnMut(&Window<'_>) -> ControlFlow<u64>) -> ControlFlow<u64, bool> {
        let from = self.from();
        let walk = self.walk;
        let Some((piece, Kind::Data)) = self.pieces.get(self.piece_at(from)) else {
            return ControlFlow::Continue(false);
        };
        let most = (piece.end - from).min((walk.before + walk.block + walk.reach) as u64);
        let memory = walk.memory;
        let Some(data) = memory.view(from, most) else { return ControlFlow::Continue(false) };
        let data = &data[..data.len().min(most as usize)];
        let position = from + data.len() as u64;
        let closes = position >= walk.region.end;
        let complete = if closes { position } else { position.saturating_sub(walk.reach as u64) };
        let complete = complete.min(walk.range.end);
        if complete <= self.next {
            return ControlFlow::Continue(false);
        }
        let starts = (self.next - from) as usize..(complete - from) as usize;
        let window = Window { base: from, data, starts, closes };
        visit(&window)?;
        self.next = complete;
        self.buffer.keep(0);
        self.position = self.from();
        self.zeros = None;
        ControlFlow::Continue(true)
    }

    /// Reads on until there is a block to show, or no more.
    fn fill(&mut self) -> End {
        let walk = self.walk;
        self.zeros = None;
        let full = self.position.saturating_add(walk.block as u64);
        // Whole blocks of the address space, so that reads are aligned; but not one more read for a little rest.
        let rest = self.seen.end - self.position.min(self.seen.end);
        let full =
            if rest <= walk.block as u64 + walk.reach as u64 { self.seen.end } else { full - full % walk.block as u64 };
        loop {
            if self.position >= self.seen.end {
                return End::Limit;
            }
            if self.position >= full {
                return End::Full;
            }
            let Some(&(piece, kind)) = self.pieces.get(self.piece_at(self.position)) else { return End::Limit };
            let end = piece.end.min(full);
            match kind {
                Kind::Swapped => return End::Swapped(piece.end),
                Kind::Zeros if walk.zeros => self.append_zeros(end),
                Kind::Zeros => {
                    let enough = piece.start.saturating_add(walk.zero_reach as u64);
                    let worth = enough.saturating_add(walk.zero_reach as u64 + walk.before as u64 + PAGE);
                    if self.next >= piece.start || piece.end <= worth {
                        // The last zeros before other bytes, or few between two of them.
                        self.append_zeros(piece.end);
                    } else {
                        self.append_zeros(enough);
                        self.zeros = Some(piece.start);
                        return End::Full;
                    }
                }
                Kind::Data => {
                    let position = self.position;
                    let read = self.buffer.append((end - position) as usize, |room| walk.memory.read(position, room));
                    match read {
                        Ok(0) => return End::Fault(FaultReason::Unreadable),
                        Ok(count) => self.position += count as u64,
                        Err(fault) => return End::Fault(fault.reason),
                    }
                }
            }
        }
    }

    fn append_zeros(&mut self, to: u64) {
        if to > self.position {
            self.buffer.append_zeros((to - self.position) as usize);
            self.position = to;
        }
    }

    /// Shows what has been read, as far as enough can be seen.
    fn show(&mut self, closes: bool, visit: &mut dyn FnMut(&Window<'_>) -> ControlFlow<u64>) -> ControlFlow<u64> {
        let complete = match self.zeros {
            _ if closes => self.position,
            Some(zeros) => zeros,
            None => self.position.saturating_sub(self.walk.reach as u64),
        };
        let complete = complete.min(self.walk.range.end);
        if complete <= self.next {
            return ControlFlow::Continue(());
        }
        let data = self.buffer.data();
        let base = self.position - data.len() as u64;
        let starts = (self.next - base) as usize..(complete - base) as usize;
        visit(&Window { base, data, starts, closes })?;
        self.next = complete;
        ControlFlow::Continue(())
    }

    /// Ends the run and goes on at `to`.
    fn skip(&mut self, to: u64, reason: &str) {
        if let Some(range) = AddressRange::new(self.position, to).intersect(self.walk.range) {
            push_skip(&mut self.walked.skipped, Skip { range, reason: reason.to_owned() });
        }
        self.position = to;
        self.run = to;
        self.next = self.next.max(to);
        self.buffer.keep(0);
    }
}
