use super::*;
use crate::find::{Find, FindPartial, Found, Pattern};
use crate::testing::{Chaos, PAGE, Page, Random, TestMemory};
use crate::{InProcess, Lost, Scanned, Serial, Task};
use std::sync::Arc;
use target::{AddressRange, Fault, FaultReason, ReadMemory};

const START: u64 = 0x1_0000;
const BLOCK: u64 = 4096;

/// A byte of 1 in each eighth byte of so many pages, and a search for it.
fn eights(pages: usize) -> (TestMemory, Find) {
    let bytes = (0..pages * PAGE as usize).map(|at| u8::from(at % 8 == 0)).collect();
    let memory = TestMemory::plain(START, bytes);
    let patterns = vec![Pattern::Bytes { value: vec![1], mask: vec![0xff] }];
    let find = Find { ranges: vec![memory.scan(memory.region())], patterns, limit: u64::MAX, ..Find::default() };
    (memory, find)
}

fn cut(tasks: u64) -> Cut {
    Cut { block: BLOCK, task: BLOCK * tasks, sparse: 2 * BLOCK * tasks }
}

fn addresses(matches: &[Found]) -> Vec<u64> {
    matches.iter().map(|found| found.address).collect()
}

fn expected(memory: &TestMemory, skipped: &[Skip]) -> Vec<u64> {
    let all = (memory.region().start..memory.region().end).step_by(8);
    all.filter(|address| !skipped.iter().any(|skip| skip.range.contains(*address))).collect()
}

#[test]
fn a_poisonous_block_costs_itself_only() {
    let (memory, find) = eights(100);
    for seed in 0..20 {
        let mut chaos = Chaos::new(&find, &memory, Random::new(seed));
        chaos.poison = [START + 17 * BLOCK + 5, START + 40 * BLOCK, START + 41 * BLOCK - 1].into();
        let mut matches = Vec::new();
        let outcome = run(&find, &mut chaos, &memory, cut(16), &mut matches);
        let block = |index: u64| AddressRange::sized(START + index * BLOCK, BLOCK);
        let skip = |range| Skip { range, reason: "its worker died".to_owned() };
        assert_eq!(outcome.skipped, [skip(block(17)), skip(block(40))]);
        assert_eq!(outcome.stopped, None);
        assert_eq!(addresses(&matches), expected(&memory, &outcome.skipped));
        assert_eq!(outcome.stats.bytes_skipped, 2 * BLOCK);
        assert_eq!(outcome.stats.bytes_scanned, 98 * BLOCK);
        assert!(outcome.stats.retried >= 6);
        assert!(chaos.alone >= 2, "each of them had its last chance alone");
    }
}

#[test]
fn losses_by_chance_change_nothing() {
    let (memory, find) = eights(200);
    for seed in 0..20 {
        let mut chaos = Chaos::new(&find, &memory, Random::new(seed));
        chaos.losses = 20;
        chaos.width = 1 + seed as usize % 7;
        let mut matches = Vec::new();
        let outcome = run(&find, &mut chaos, &memory, cut(64), &mut matches);
        assert_eq!(addresses(&matches), expected(&memory, &outcome.skipped));
        assert!(chaos.most_under_way <= 32 * chaos.width);
    }
}

/// Says stop after so many matches.
struct Enough {
    matches: Vec<Found>,
    most: usize,
    last: (u64, u64),
}

impl Sink<Found> for Enough {
    fn found(&mut self, items: Vec<Found>) {
        assert!(!items.is_empty());
        self.matches.extend(items);
    }

    fn progress(&mut self, done: u64, total: u64) {
        assert!(self.last.0 <= done && done <= total);
        self.last = (done, total);
    }

    fn stop(&mut self) -> Option<Stop> {
        (self.matches.len() >= self.most).then_some(Stop::Cancelled)
    }
}

#[test]
fn stops_when_told_to() {
    let (memory, find) = eights(100);
    let mut chaos = Chaos::new(&find, &memory, Random::new(1));
    let mut sink = Enough { matches: Vec::new(), most: 1000, last: (0, 0) };
    let outcome = run(&find, &mut chaos, &memory, cut(4), &mut sink);
    assert_eq!(outcome.stopped, Some(Stop::Cancelled));
    assert!(chaos.cancelled);
    // What it has is the first part of all, without a gap.
    let all = expected(&memory, &[]);
    assert!(sink.matches.len() >= 1000 && sink.matches.len() < all.len());
    assert_eq!(addresses(&sink.matches), all[..sink.matches.len()]);
    assert_eq!(outcome.stats.bytes_scanned, sink.last.0.max(outcome.stats.bytes_scanned));

    let mut at_once = Enough { matches: Vec::new(), most: 0, last: (0, 0) };
    let mut serial = Serial::new(&find, &memory as &dyn ReadMemory);
    let outcome = run(&find, &mut serial, &memory, cut(4), &mut at_once);
    assert_eq!((outcome.stopped, outcome.stats.tasks), (Some(Stop::Cancelled), 0));
}

#[test]
fn progress_ends_at_the_total() {
    let (mut memory, find) = eights(50);
    memory.pages[3] = Page::Hole;
    let mut sink = Enough { matches: Vec::new(), most: usize::MAX, last: (0, 0) };
    let outcome = run(&find, &mut Serial::new(&find, &memory as &dyn ReadMemory), &memory, cut(4), &mut sink);
    assert_eq!(sink.last, (50 * PAGE, 50 * PAGE));
    assert_eq!(outcome.stats.bytes_scanned, 49 * PAGE);
    let hole = AddressRange::sized(START + 3 * PAGE, PAGE);
    assert_eq!(outcome.skipped, [Skip { range: hole, reason: "unreadable memory".to_owned() }]);
}

/// Fails in one way or another from an address on.
struct Failing {
    memory: TestMemory,
    from: u64,
    panics: bool,
}

impl ReadMemory for Failing {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let end = address + buffer.len() as u64;
        if self.panics {
            assert!(!(address..end).contains(&self.from), "a bug");
        } else if address >= self.from {
            return Err(Fault { address, reason: FaultReason::Gone });
        }
        let length = if self.panics { buffer.len() } else { buffer.len().min((self.from - address) as usize) };
        self.memory.read(address, &mut buffer[..length])
    }
}

#[test]
fn ends_when_the_process_is_gone() {
    let (memory, find) = eights(100);
    let from = START + 50 * PAGE;
    let failing = Failing { memory, from, panics: false };
    let mut matches = Vec::new();
    let outcome = run(&find, &mut Serial::new(&find, &failing as &dyn ReadMemory), &failing, cut(8), &mut matches);
    assert_eq!(outcome.stopped, Some(Stop::TargetGone));
    assert_eq!(addresses(&matches), (START..from).step_by(8).collect::<Vec<_>>());
    assert_eq!(
        outcome.skipped.last().map(|skip| (skip.range.start, &skip.reason[..])),
        Some((from, "the process has ended"))
    );
}

#[test]
fn a_panic_costs_its_block_only() {
    let (memory, mut find) = eights(100);
    find.block = BLOCK as u32;
    let find = Arc::new(find);
    let expected_memory = eights(100).0;
    let failing: Arc<dyn ReadMemory> = Arc::new(Failing { memory, from: START + 33 * BLOCK + 100, panics: true });
    let mut executor = InProcess::new(Arc::clone(&find), Arc::clone(&failing), 3);
    let mut matches = Vec::new();
    let outcome = run(&*find, &mut executor, &*failing, cut(8), &mut matches);
    let block = AddressRange::sized(START + 33 * BLOCK, BLOCK);
    assert_eq!(outcome.skipped, [Skip { range: block, reason: "the scan failed: a bug".to_owned() }]);
    assert_eq!(addresses(&matches), expected(&expected_memory, &outcome.skipped));
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_given_up() {
    let (memory, mut find) = eights(10);
    find.patterns = vec![Pattern::Regex("(".to_owned())];
    let mut matches = Vec::new();
    let outcome = run(&find, &mut Serial::new(&find, &memory as &dyn ReadMemory), &memory, cut(4), &mut matches);
    assert_eq!(outcome.skipped.len(), 1);
    assert_eq!(outcome.skipped[0].range, memory.region());
    assert_eq!(outcome.skipped[0].reason, "regex '(': unclosed group");
    assert_eq!(outcome.stats.retried, 0);
}

/// An executor that has forgotten its tasks, or answers nonsense.
struct Foreign<'a> {
    find: &'a Find,
    memory: &'a TestMemory,
    tasks: Vec<Task>,
    round: u64,
}

impl Executor<Find> for Foreign<'_> {
    fn width(&self) -> usize {
        2
    }

    fn submit(&mut self, task: Task) {
        self.tasks.push(task);
    }

    fn next(&mut self, _patience: Duration) -> Next<FindPartial> {
        self.round += 1;
        if self.round == 5 {
            self.tasks.clear();
        }
        let Some(task) = self.tasks.pop() else { return Next::Idle };
        let mut scanner = self.find.scanner().expect("a plan that runs");
        let mut scanned = self.find.scan(&mut scanner, &task, self.memory, &|| false);
        match self.round {
            1 => return Next::Ended(Task { id: 77, ..task }, Ok(scanned)),
            2 => scanned.rest = Some(AddressRange::new(0, 1)),
            3 => scanned.rest = Some(task.range),
            4 => {
                let outside = AddressRange::new(0, START);
                scanned.skipped.push(Skip { range: outside, reason: "nonsense".to_owned() });
                scanned.bytes = u64::MAX;
            }
            6 => return Next::Ended(task, Err(Lost { reason: "by chance".to_owned(), retry: true })),
            _ => {}
        }
        Next::Ended(task, Ok(Scanned { partial: scanned.partial.clone(), ..scanned }))
    }

    fn cancel(&mut self) {
        self.tasks.clear();
    }
}

#[test]
fn nonsense_from_an_executor_is_refused() {
    let (memory, find) = eights(60);
    let mut foreign = Foreign { find: &find, memory: &memory, tasks: Vec::new(), round: 0 };
    let mut matches = Vec::new();
    let outcome = run(&find, &mut foreign, &memory, cut(4), &mut matches);
    assert_eq!(addresses(&matches), expected(&memory, &[]));
    assert_eq!(outcome.skipped, []);
    assert_eq!(outcome.stats.bytes_scanned, 60 * PAGE);
}

#[test]
fn the_first_tasks_are_small() {
    let ranges = [(0, 1 << 40), (1 << 41, (1 << 41) + 100)].map(|(start, end)| crate::ScanRange {
        range: AddressRange::new(start, end),
        region: AddressRange::new(start, end),
        sparse: false,
    });
    let mut queue: Queue<()> = Queue::new(&ranges, Cut::default(), 2);
    let mut sizes = Vec::new();
    let mut bytes = 0;
    while let Some(task) = queue.next() {
        sizes.push(task.range.len() >> 10);
        bytes += task.range.len();
        let scanned = Scanned { partial: (), bytes: task.range.len(), skipped: Vec::new(), rest: None, gone: false };
        queue.ended(&task, Ok(scanned), |()| 0);
        while queue.front().is_some() {}
    }
    assert_eq!(sizes[..8], [512, 1024, 2048, 4096, 8192, 16384, 32768, 32768]);
    assert!(sizes.iter().all(|size| *size <= 32 << 10) && sizes[sizes.len() - 2] <= 2048);
    assert_eq!(bytes, (1 << 40) + 100);
    assert!(queue.is_finished());
}

#[test]
fn skipped_ranges_that_meet_are_joined() {
    let mut skipped = Vec::new();
    for (start, end, reason) in [(0, 1, "a"), (1, 2, "a"), (2, 3, "b"), (4, 5, "b")] {
        push_skip(&mut skipped, Skip { range: AddressRange::new(start, end), reason: reason.to_owned() });
    }
    let ranges: Vec<_> = skipped.iter().map(|skip| (skip.range.start, skip.range.end, &skip.reason[..])).collect();
    assert_eq!(ranges, [(0, 2, "a"), (2, 3, "b"), (4, 5, "b")]);
}
