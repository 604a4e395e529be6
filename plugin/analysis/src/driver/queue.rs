//! The order of a job's tasks: which is next, which are under way, and which partial is next to be merged.

use crate::executor::Lost;
use crate::plan::{ScanRange, Scanned, Task};
use crate::report::Skip;
use std::collections::{BTreeMap, BTreeSet};
use target::AddressRange;

/// How many times a block may be lost before it is given up. Before the last time nothing else runs, so that what
/// happens then is its own doing.
const CHANCES: u32 = 3;

/// Partials may wait for those before them until they take about this much.
const MOST_WAITING: usize = 64 << 20;

/// How a job is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The smallest task that a lost one is split into, in bytes.
    pub block: u64,
    /// The largest task, in bytes.
    pub task: u64,
    /// The largest task in sparse memory, in bytes: most of it is known to hold zeros, and is not read. A task that would
    /// read more than another gives back the rest.
    pub sparse: u64,
}

impl Default for Cut {
    fn default() -> Self {
        Self { block: 512 << 10, task: 32 << 20, sparse: 256 << 20 }
    }
}

/// The tasks of a job, in address order: those between the merge's front and what has not been cut yet.
pub(crate) struct Queue<P> {
    ranges: Vec<ScanRange>,
    cut: Cut,
    width: usize,
    /// Where the next fresh task begins: an index into `ranges`, and how far into that range.
    fresh: (usize, u64),
    /// Bytes not cut into tasks yet.
    uncut: u64,
    /// The size of the next fresh task.
    ramp: u64,
    last_id: u64,
    /// By the address at which the task begins.
    entries: BTreeMap<u64, Entry<P>>,
    /// Those of `entries` that wait to be run.
    waiting: BTreeSet<u64>,
    running: usize,
    running_bytes: u64,
    /// What the finished partials among `entries` take.
    held: usize,
    /// Whether the task under way has to be the only one.
    alone: bool,
    pub(crate) retried: u64,
}

struct Entry<P> {
    task: Task,
    losses: u32,
    state: State<P>,
}

enum State<P> {
    Waiting,
    Running,
    Scanned(Scanned<P>, usize),
    GivenUp(String),
}

/// The next thing to be merged.
pub(crate) enum Front<P> {
    Scanned(Task, Scanned<P>),
    GivenUp(Skip),
}

impl<P> Queue<P> {
    pub(crate) fn new(ranges: &[ScanRange], cut: Cut, width: usize) -> Self {
        let least = cut.block.max(1);
        let cut = Cut { block: least, task: cut.task.max(least), sparse: cut.sparse.max(least) };
        let uncut = ranges.iter().map(|range| range.range.len()).sum();
        let (entries, waiting) = (BTreeMap::new(), BTreeSet::new());
        let (last_id, running, running_bytes, held, alone, retried) = (0, 0, 0, 0, false, 0);
        let (fresh, ramp, width) = ((0, 0), cut.block, width.max(1));
        Self {
            ranges: ranges.to_vec(),
            cut,
            width,
            fresh,
            uncut,
            ramp,
            last_id,
            entries,
            waiting,
            running,
            running_bytes,
            held,
            alone,
            retried,
        }
    }

    /// The next task to be run, unless enough are under way.
    pub(crate) fn next(&mut self) -> Option<Task> {
        // Small tasks are over before an answer to them is back: of these, more have to be under way.
        let few = self.running < 3 * self.width;
        let small = self.running < 32 * self.width && self.running_bytes < 8 * self.cut.block * self.width as u64;
        if self.alone || !(few || small) {
            return None;
        }
        let task = if let Some(&start) = self.waiting.first() {
            let entry = self.entries.get_mut(&start)?;
            if entry.losses + 1 >= CHANCES {
                if self.running > 0 {
                    return None;
                }
                self.alone = true;
            }
            self.waiting.remove(&start);
            entry.state = State::Running;
            entry.task
        } else {
            if self.entries.len() >= 64 * self.width || self.held >= MOST_WAITING {
                return None;
            }
            let (index, range) = self.cut_fresh()?;
            let task = self.task(index, range);
            self.entries.insert(range.start, Entry { task, losses: 0, state: State::Running });
            task
        };
        self.running += 1;
        self.running_bytes += task.range.len();
        Some(task)
    }

    fn cut_fresh(&mut self) -> Option<(usize, AddressRange)> {
        let (mut index, mut done) = self.fresh;
        let (range, sparse) = loop {
            let ScanRange { range, sparse, .. } = *self.ranges.get(index)?;
            if done < range.len() {
                break (AddressRange::new(range.start + done, range.end), sparse);
            }
            (index, done) = (index + 1, 0);
        };
        // Towards the end tasks get smaller, so that no worker is left alone with a large one.
        let largest = if sparse { self.cut.sparse } else { self.cut.task };
        let most = (self.uncut / 8).max(4 * self.cut.block).min(largest);
        let size = self.ramp.min(most);
        let mut end = range.start.saturating_add(size).min(range.end);
        if end < range.end {
            // Borders between blocks, so that reads are aligned.
            let aligned = end - end % self.cut.block;
            end = if aligned > range.start { aligned } else { end };
        }
        self.ramp = self.ramp.saturating_mul(2).min(largest);
        let range = AddressRange::new(range.start, end);
        self.uncut -= range.len();
        self.fresh = (index, done + range.len());
        Some((index, range))
    }

    fn task(&mut self, index: usize, range: AddressRange) -> Task {
        self.last_id += 1;
        Task { id: self.last_id, index, range }
    }

    /// Takes the end of a task. An answer to a task that is not under way changes nothing.
    pub(crate) fn ended(&mut self, task: &Task, result: Result<Scanned<P>, Lost>, weight: impl Fn(&P) -> usize) {
        let Some(entry) = self.entries.get_mut(&task.range.start) else { return };
        if entry.task != *task || !matches!(entry.state, State::Running) {
            return;
        }
        self.running -= 1;
        self.running_bytes -= task.range.len();
        self.alone = false;
        let result = result.and_then(|scanned| checked(task, scanned));
        match result {
            Ok(scanned) => {
                let weight = weight(&scanned.partial);
                self.held += weight;
                let rest = scanned.rest;
                if let Some(rest) = rest {
                    entry.task.range.end = rest.start;
                }
                entry.state = State::Scanned(scanned, weight);
                if let Some(rest) = rest {
                    self.wait(task.index, rest, 0);
                }
            }
            Err(lost) if !lost.retry => entry.state = State::GivenUp(lost.reason),
            Err(lost) if task.range.len() > self.cut.block => {
                let _ = lost;
                self.retried += 1;
                let (first, second) = self.halves(task.range);
                self.wait(task.index, first, 0);
                self.wait(task.index, second, 0);
            }
            Err(lost) => {
                let losses = entry.losses + 1;
                if losses >= CHANCES {
                    entry.state = State::GivenUp(lost.reason);
                } else {
                    self.retried += 1;
                    self.wait(task.index, task.range, losses);
                }
            }
        }
    }

    /// All that is under way is lost: whoever ran it is gone.
    pub(crate) fn all_lost(&mut self, weight: impl Fn(&P) -> usize + Copy) {
        let running = self.entries.values().filter(|entry| matches!(entry.state, State::Running));
        for task in running.map(|entry| entry.task).collect::<Vec<_>>() {
            let lost = Lost { reason: "its worker is gone".to_owned(), retry: true };
            self.ended(&task, Err(lost), weight);
        }
    }

    fn wait(&mut self, index: usize, range: AddressRange, losses: u32) {
        let task = self.task(index, range);
        self.entries.insert(range.start, Entry { task, losses, state: State::Waiting });
        self.waiting.insert(range.start);
    }

    /// Both halves of `range`, which is larger than a block; they meet between two blocks where they can.
    fn halves(&self, range: AddressRange) -> (AddressRange, AddressRange) {
        let middle = range.start + range.len() / 2;
        let up = middle.next_multiple_of(self.cut.block);
        let down = middle - middle % self.cut.block;
        let within = |at: &u64| range.start < *at && *at < range.end;
        let middle = [up, down].into_iter().find(within).unwrap_or(middle);
        (AddressRange::new(range.start, middle), AddressRange::new(middle, range.end))
    }

    /// Takes what is next in address order, if it has ended.
    pub(crate) fn front(&mut self) -> Option<Front<P>> {
        let first = self.entries.first_entry()?;
        if !matches!(first.get().state, State::Scanned(..) | State::GivenUp(_)) {
            return None;
        }
        let Entry { task, state, .. } = first.remove();
        match state {
            State::Scanned(scanned, weight) => {
                self.held -= weight;
                Some(Front::Scanned(task, scanned))
            }
            State::GivenUp(reason) => Some(Front::GivenUp(Skip { range: task.range, reason })),
            State::Waiting | State::Running => None,
        }
    }

    /// Whether everything has been cut, run and taken.
    pub(crate) fn is_finished(&self) -> bool {
        self.entries.is_empty() && self.uncut == 0
    }
}

/// Refuses an answer that cannot be one to `task`. It comes from a worker, which may have been led astray by what it read.
fn checked<P>(task: &Task, mut scanned: Scanned<P>) -> Result<Scanned<P>, Lost> {
    if let Some(rest) = scanned.rest
        && (rest.start <= task.range.start || rest.start >= task.range.end || rest.end != task.range.end)
    {
        return Err(Lost { reason: "its worker did not get on with it".to_owned(), retry: true });
    }
    scanned.skipped.retain_mut(|skip| {
        let within = skip.range.intersect(task.range);
        skip.range = within.unwrap_or_default();
        within.is_some()
    });
    scanned.bytes = scanned.bytes.min(task.range.len());
    Ok(scanned)
}
