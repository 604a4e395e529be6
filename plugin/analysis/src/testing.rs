//! What this crate's tests share: memory with all the oddities that real memory has, and an executor that does everything
//! an executor may do.

use crate::remote::Carried;
use crate::{Analysis, Executor, Lost, Next, ScanRange, Task};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use target::{AddressRange, Fault, FaultReason, Populated, ReadMemory};

pub(crate) const PAGE: u64 = 4096;

/// A small generator of random numbers (xorshift): what a test does follows from its seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number in `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub(crate) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Normal,
    /// Cannot be read.
    Hole,
    /// Never touched: holds zeros, and must not be read.
    Empty,
    /// In swap; holds its bytes.
    Swapped,
}

/// A region.
#[derive(Debug)]
pub(crate) struct TestMemory {
    pub(crate) start: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) pages: Vec<Page>,
    /// Whether it can be seen in place, in stretches that end at these offsets.
    pub(crate) cuts: Option<BTreeSet<usize>>,
    /// Bytes read of pages that were never touched, or of pages in swap that should not be read.
    pub(crate) touched: AtomicU64,
    pub(crate) may_swap: bool,
}

impl TestMemory {
    pub(crate) fn new(start: u64, mut bytes: Vec<u8>, pages: Vec<Page>) -> Self {
        bytes.resize(pages.len() * PAGE as usize, 0);
        for (page, bytes) in pages.iter().zip(bytes.chunks_mut(PAGE as usize)) {
            if matches!(page, Page::Empty) {
                bytes.fill(0);
            }
        }
        Self { start, bytes, pages, cuts: None, touched: AtomicU64::new(0), may_swap: true }
    }

    /// Memory without oddities.
    pub(crate) fn plain(start: u64, bytes: Vec<u8>) -> Self {
        let pages = bytes.len().div_ceil(PAGE as usize);
        Self::new(start, bytes, vec![Page::Normal; pages])
    }

    pub(crate) fn region(&self) -> AddressRange {
        AddressRange::sized(self.start, self.bytes.len() as u64)
    }

    pub(crate) fn sparse(&self) -> bool {
        self.pages.iter().any(|page| matches!(page, Page::Empty | Page::Swapped))
    }

    pub(crate) fn scan(&self, range: AddressRange) -> ScanRange {
        ScanRange { range, region: self.region(), sparse: self.sparse() }
    }

    pub(crate) fn page(&self, address: u64) -> Option<Page> {
        let index = address.checked_sub(self.start)? / PAGE;
        self.pages.get(index as usize).copied()
    }

    fn is_readable(&self, address: u64) -> bool {
        self.page(address).is_some_and(|page| page != Page::Hole)
    }

    /// The runs of memory that can be read and may be, with their bytes.
    pub(crate) fn runs(&self, swapped: bool) -> Vec<(u64, &[u8])> {
        let mut runs = Vec::new();
        let mut first = None;
        for index in 0..=self.pages.len() {
            let page = self.pages.get(index);
            let readable = page.is_some_and(|page| match page {
                Page::Hole => false,
                Page::Swapped => swapped,
                _ => true,
            });
            match (first, readable) {
                (None, true) => first = Some(index),
                (Some(from), false) => {
                    let bytes = &self.bytes[from * PAGE as usize..index * PAGE as usize];
                    runs.push((self.start + from as u64 * PAGE, bytes));
                    first = None;
                }
                _ => {}
            }
        }
        runs
    }
}

impl ReadMemory for TestMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let end = address + buffer.len() as u64;
        let mut at = address;
        while at < end && self.is_readable(at) {
            let untouched = match self.page(at) {
                Some(Page::Empty) => true,
                Some(Page::Swapped) => !self.may_swap,
                _ => false,
            };
            let next = (at - at % PAGE + PAGE).min(end);
            if untouched {
                self.touched.fetch_add(next - at, Ordering::Relaxed);
            }
            at = next;
        }
        if at == address && !buffer.is_empty() {
            return Err(Fault { address, reason: FaultReason::Unreadable });
        }
        let count = (at - address) as usize;
        let from = (address - self.start) as usize;
        buffer[..count].copy_from_slice(&self.bytes[from..from + count]);
        Ok(count)
    }

    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        let cuts = self.cuts.as_ref()?;
        if !self.is_readable(address) {
            return None;
        }
        let from = (address - self.start) as usize;
        let cut = cuts.range(from + 1..).next().copied().unwrap_or(self.bytes.len());
        let hole = (from..self.bytes.len()).step_by(1).find(|at| !self.is_readable(self.start + *at as u64));
        let end = cut.min(hole.unwrap_or(usize::MAX)).min(from + length as usize).min(self.bytes.len());
        Some(&self.bytes[from..end])
    }

    fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
        let mut populated = Populated::default();
        let mut page = range.start - range.start % PAGE;
        while page < range.end {
            let list = match self.page(page) {
                Some(Page::Normal | Page::Hole) => Some(&mut populated.runs),
                Some(Page::Swapped) if swapped => Some(&mut populated.runs),
                Some(Page::Swapped) => Some(&mut populated.skipped),
                _ => None,
            };
            if let (Some(list), Some(part)) = (list, AddressRange::sized(page, PAGE).intersect(range)) {
                match list.last_mut() {
                    Some(last) if last.end == part.start => last.end = part.end,
                    _ => list.push(part),
                }
            }
            page += PAGE;
        }
        populated
    }
}

/// An executor that ends its tasks in any order, loses some, and always loses those with a poisoned address.
pub(crate) struct Chaos<'a, A: Analysis> {
    analysis: &'a A,
    memory: &'a (dyn ReadMemory + 'static),
    random: Random,
    pub(crate) width: usize,
    /// One of so many tasks is lost; 0 for none.
    pub(crate) losses: u64,
    pub(crate) poison: BTreeSet<u64>,
    /// Tasks run on memory that travels with them, of which so many bytes do at once.
    pub(crate) carried: Option<u64>,
    tasks: Vec<Task>,
    scanner: Option<A::Scanner>,
    pub(crate) submitted: u64,
    pub(crate) most_under_way: usize,
    pub(crate) cancelled: bool,
    /// The poisoned tasks that were the only ones under way when they ended.
    pub(crate) alone: u64,
}

impl<'a, A: Analysis> Chaos<'a, A> {
    pub(crate) fn new(analysis: &'a A, memory: &'a (dyn ReadMemory + 'static), random: Random) -> Self {
        Self {
            analysis,
            memory,
            random,
            width: 3,
            losses: 0,
            poison: BTreeSet::new(),
            carried: None,
            tasks: Vec::new(),
            scanner: None,
            submitted: 0,
            most_under_way: 0,
            cancelled: false,
            alone: 0,
        }
    }
}

impl<A: Analysis<Input = dyn ReadMemory>> Executor<A> for Chaos<'_, A> {
    fn width(&self) -> usize {
        self.width
    }

    fn submit(&mut self, task: Task) {
        self.submitted += 1;
        self.tasks.push(task);
        self.most_under_way = self.most_under_way.max(self.tasks.len());
    }

    fn next(&mut self, _patience: Duration) -> Next<A::Partial> {
        if self.tasks.is_empty() {
            return Next::Idle;
        }
        if self.random.one_in(8) {
            return Next::Nothing;
        }
        let task = self.tasks.swap_remove(self.random.below(self.tasks.len() as u64) as usize);
        let poisoned = self.poison.range(task.range.start..task.range.end).next().is_some();
        if poisoned && self.tasks.is_empty() {
            self.alone += 1;
        }
        if poisoned || (self.losses > 0 && self.random.one_in(self.losses)) {
            return Next::Ended(task, Err(Lost { reason: "its worker died".to_owned(), retry: true }));
        }
        let mut scanner = self.scanner.take().unwrap_or_else(|| self.analysis.scanner().expect("a plan that runs"));
        // Some are told to stop in the middle.
        let mut patience = if self.random.one_in(6) { self.random.below(6) } else { u64::MAX };
        let stopping = std::cell::RefCell::new(&mut patience);
        let stop = || {
            let mut left = stopping.borrow_mut();
            **left = left.saturating_sub(1);
            **left == 0
        };
        let mut scan = |stop: &dyn Fn() -> bool| match self.carried {
            None => self.analysis.scan(&mut scanner, &task, self.memory, stop),
            Some(most) => {
                let carried = Carried::read(self.analysis, &task, self.memory, most);
                let bytes = postcard::to_stdvec(&carried).expect("plain data");
                let carried: Carried = postcard::from_bytes(&bytes).expect("what was sent");
                carried.scan(self.analysis, &mut scanner, &task, stop).expect("what was read")
            }
        };
        let mut scanned = scan(&stop);
        if scanned.rest == Some(task.range) {
            // One that got nowhere counts as lost; that is not what this is about.
            scanned = scan(&|| false);
        }
        self.scanner = Some(scanner);
        Next::Ended(task, Ok(scanned))
    }

    fn cancel(&mut self) {
        self.cancelled = true;
        self.tasks.clear();
    }
}
