use super::*;
use crate::executor::{Executor, InProcess, Lost, Next, Serial};
use crate::heap::SegmentKind;
use crate::heap::roots::Roots;
use crate::heap::testing::{World, chunks};
use crate::testing::Random;
use crate::{Cut, run};
use proptest::prelude::*;
use std::cell::Cell;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const CUT: Cut = Cut { block: 4096, task: 64 << 10, sparse: 64 << 10 };

/// Marks with one task after the other, and returns the granules that are marked.
fn serially(world: &World) -> (Vec<u64>, Marked) {
    let view = world.view();
    let marking = Marking::new(world.roots());
    let marked = marking
        .run(&view, |mark| Ok::<_, Infallible>(run(mark, &mut Serial::new(mark, &view), &view, CUT, &mut Vec::new())));
    let Ok(marked) = marked;
    (found(&view), marked)
}

/// Marks with so many threads.
fn with_threads(world: &World, threads: usize) -> (Vec<u64>, Marked) {
    let view = Arc::new(world.view());
    let marked = Marking::new(world.roots()).run(&view, |mark| {
        let mut executor = InProcess::new(Arc::new(mark.clone()), Arc::clone(&view), threads);
        Ok::<_, Infallible>(run(mark, &mut executor, &view, CUT, &mut Vec::new()))
    });
    let Ok(marked) = marked;
    (found(&view), marked)
}

/// The chunks in use that are marked.
fn found(view: &View) -> Vec<u64> {
    let marks = Marks::new(view);
    let starts = marks.lookup.starts(0..u64::MAX >> 4);
    starts.filter(|granule| marks.lookup.is_used(*granule) && marks.is_marked(*granule)).collect()
}

/// An executor that ends tasks in any order, runs some twice, tells some to stop, and loses some before, after, and in the
/// middle of their work.
struct Rough<'a> {
    mark: &'a Mark,
    view: &'a View,
    world: &'a World,
    random: Random,
    tasks: Vec<Task>,
    /// So many more tasks may be lost or run twice, so that none is given up.
    mishaps: &'a Cell<u32>,
}

impl Executor<Mark> for Rough<'_> {
    fn width(&self) -> usize {
        3
    }

    fn submit(&mut self, task: Task) {
        self.tasks.push(task);
    }

    fn next(&mut self, _: Duration) -> Next<RoundPartial> {
        if self.tasks.is_empty() {
            return Next::Idle;
        }
        let task = self.tasks.swap_remove(self.random.below(self.tasks.len() as u64) as usize);
        let left = Cell::new(if self.random.one_in(5) { self.random.below(4) } else { u64::MAX });
        let stop = || {
            left.set(left.get().saturating_sub(1));
            left.get() == 0
        };
        let scan = |stop: &dyn Fn() -> bool| self.mark.scan(&mut Marker::default(), &task, self.view, stop);
        let fate = self.random.below(12);
        if fate < 4 && self.mishaps.get() > 0 {
            self.mishaps.set(self.mishaps.get() - 1);
            if fate == 3 {
                scan(&stop);
                return Next::Ended(task, Ok(scan(&|| false)));
            }
            if fate > 0 {
                self.world.memory.die_after(if fate == 1 { u64::MAX } else { self.random.below(6) });
                let _ = catch_unwind(AssertUnwindSafe(|| scan(&stop)));
                self.world.memory.live();
            }
            return Next::Ended(task, Err(Lost { reason: "its worker died".to_owned(), retry: true }));
        }
        let scanned = scan(&stop);
        // One that gets nowhere is lost, which is not what this is about.
        let scanned = if scanned.rest == Some(task.range) { scan(&|| false) } else { scanned };
        Next::Ended(task, Ok(scanned))
    }

    fn cancel(&mut self) {
        self.tasks.clear();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_marked_is_what_a_plain_search_reaches(
        segments in chunks(),
        edges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u64>()), 0..400),
        roots in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..6),
        mapped in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(&segments);
        world.memory().mapped = mapped;
        for (from, to, offset) in edges {
            world.point(from.index(world.chunks.len()), to.index(world.chunks.len()), offset);
        }
        for (to, offset) in roots {
            world.root(to.index(world.chunks.len()), offset);
        }
        let expected = world.reachable();
        prop_assert_eq!(&serially(&world).0, &expected);
        for threads in [1, 2, 7] {
            prop_assert_eq!(&with_threads(&world, threads).0, &expected, "{} threads", threads);
        }
        let view = world.view();
        let (mut random, mishaps) = (Random::new(seed), Cell::new(2));
        let marked = Marking::new(world.roots()).run(&view, |mark| {
            let random = Random::new(random.next());
            let mut executor = Rough { mark, view: &view, world: &world, random, tasks: Vec::new(), mishaps: &mishaps };
            Ok::<_, Infallible>(run(mark, &mut executor, &view, CUT, &mut Vec::new()))
        });
        prop_assert!(marked.is_ok_and(|marked| !marked.incomplete));
        prop_assert_eq!(&found(&view), &expected, "whatever happens to its tasks");
    }
}

/// So many used chunks of three granules in one segment.
fn small(count: usize) -> World {
    World::new(&vec![(SegmentKind::Main, vec![(3, true); count])])
}

#[test]
fn pointers_count_from_the_first_byte_to_the_last() {
    let mut world = small(5);
    let chunk = world.chunks[2];
    for (address, alive) in [
        (chunk.address() - 1, false),
        (chunk.address(), true),
        (chunk.address() + 13, true),
        (chunk.range.end + 7, true),
        // One past the end is the size of the next one.
        (chunk.range.end + 8, false),
    ] {
        let roots = Roots { words: vec![address], ..Roots::default() };
        let view = world.view();
        let marking = Marking::new(roots).run(&view, |mark| {
            Ok::<_, Infallible>(run(mark, &mut Serial::new(mark, &view), &view, CUT, &mut Vec::new()))
        });
        assert_eq!(marking, Ok(Marked { rounds: u32::from(alive), ..Marked::default() }), "{address:#x}");
        assert_eq!(found(&view).contains(&chunk.granule), alive, "{address:#x}");
    }
    world.root(0, 0);
    assert_eq!(serially(&world).0, [world.chunks[0].granule]);
}

#[test]
fn rings_are_alive_with_any_of_them_and_dead_without() {
    let mut world = small(9);
    for (from, to) in [(0, 1), (1, 2), (2, 0), (3, 4), (4, 3), (5, 5)] {
        world.point(from, to, 0);
    }
    world.root(1, 8);
    assert_eq!(serially(&world).0, [0, 1, 2].map(|index: usize| world.chunks[index].granule));
}

#[test]
fn long_chains_take_few_rounds() {
    const COUNT: usize = 1_000_000;
    let mut random = Random::new(3);
    let mut shuffled: Vec<usize> = (0..COUNT).collect();
    for index in (1..COUNT).rev() {
        shuffled.swap(index, random.below(index as u64 + 1) as usize);
    }
    for (name, order) in [
        ("forward", (0..COUNT).collect::<Vec<_>>()),
        ("backward", (0..COUNT).rev().collect()),
        ("from both ends", (0..COUNT).map(|at| if at % 2 == 0 { at / 2 } else { COUNT - 1 - at / 2 }).collect()),
        ("anywhere", shuffled),
    ] {
        let mut world = small(COUNT);
        let addresses: Vec<u64> = order.iter().map(|index| world.chunks[*index].address()).collect();
        for pair in addresses.windows(2) {
            world.memory().write(pair[0] + 8, pair[1]);
        }
        world.root(order[0], 0);
        world.memory().mapped = name != "forward";
        let (found, marked) = serially(&world);
        assert_eq!(found.len(), COUNT, "{name}");
        assert!(marked.rounds < 12, "{name}: {} rounds", marked.rounds);
        assert!(!marked.incomplete);
    }
}

#[test]
fn a_wide_graph_takes_few_rounds_and_reads() {
    const COUNT: usize = 300_000;
    let mut world = small(COUNT);
    let mut random = Random::new(5);
    let mut order: Vec<usize> = (0..COUNT).collect();
    for index in (1..COUNT).rev() {
        order.swap(index, random.below(index as u64 + 1) as usize);
    }
    // A tree whose nodes lie anywhere.
    let addresses: Vec<u64> = order.iter().map(|index| world.chunks[*index].address()).collect();
    for child in 1..COUNT {
        let (parent, side) = ((child - 1) / 2, (child as u64 - 1) % 2);
        world.memory().write(addresses[parent] + 8 * side, addresses[child]);
    }
    world.root(order[0], 0);
    let (found, marked) = serially(&world);
    assert_eq!(found.len(), COUNT);
    assert!(marked.rounds < 20, "{} rounds", marked.rounds);
    // One for each chunk would be as many as there are chunks.
    let reads = world.memory.reads.load(std::sync::atomic::Ordering::Relaxed);
    assert!(reads < COUNT as u64 / 2, "{reads} reads");
}

#[test]
fn a_large_chunk_is_looked_into_piece_by_piece() {
    let large = 5 * 65536 + 1000;
    let mut world = World::new(&vec![
        (SegmentKind::Mapped, vec![(large, true)]),
        (SegmentKind::Main, vec![(3, true), (large, true), (3, true), (65536, true), (3, true), (3, false)]),
    ]);
    let address = |index: usize| world.chunks[index].usable();
    // From its first word, from the middle, and from its last one, which is the next chunk's first.
    let places =
        [(address(0).start, 2), (address(2).start + (3 << 20), 4), (address(2).end - 8, 1), (address(4).end - 8, 5)];
    let targets = [2, 4, 1, 5].map(|index: usize| world.chunks[index].address());
    for ((place, _), target) in places.iter().zip(targets) {
        world.memory().write(*place, target);
    }
    world.root(0, 0);
    let expected = [0, 1, 2, 4, 5].map(|index: usize| world.chunks[index].granule);
    for mapped in [false, true] {
        world.memory().mapped = mapped;
        assert_eq!(serially(&world).0, expected);
        assert_eq!(with_threads(&world, 3).0, expected);
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_marked() {
    let mut world = small(2000);
    for index in 0..1999 {
        world.point(index, index + 1, 0);
    }
    let hole = world.chunks[1000].range.start / 4096 * 4096;
    world.memory().holes.insert(hole);
    world.root(0, 0);
    for index in 900..1090 {
        world.root(index, 0);
    }
    let expected = world.reachable();
    let (found, marked) = serially(&world);
    assert_eq!(found, expected);
    assert_eq!(found.len(), 2000);
    // Of each chunk of 48 bytes, 40 may be used.
    let skipped: u64 = marked.skipped.iter().map(|skip| skip.range.len()).sum();
    assert!(marked.skipped.iter().all(|skip| hole <= skip.range.start && skip.range.end <= hole + 4096));
    assert!((3380..=3420).contains(&skipped), "{skipped}");
    assert_eq!(with_threads(&world, 3).1.skipped, marked.skipped);
}

#[test]
fn a_page_that_kills_workers_costs_itself() {
    let mut world = small(30_000);
    for index in 0..29_999 {
        // Every tenth leads on.
        world.point(index, index + 1, 0);
    }
    for index in 0..60 {
        world.root(index * 500, 0);
    }
    let poison = [7000, 20_000].map(|index: usize| world.chunks[index].range.start / 4096 * 4096);
    world.memory().poison.extend(poison);
    let expected = world.reachable();
    assert!(expected.len() > 28_000 && expected.len() < 30_000);
    for mapped in [false, true] {
        world.memory().mapped = mapped;
        let view = Arc::new(world.view());
        let mut given_up = Vec::new();
        let marked = Marking::new(world.roots()).run(&view, |mark| {
            let mut executor = InProcess::new(Arc::new(mark.clone()), Arc::clone(&view), 2);
            let outcome = run(mark, &mut executor, &view, CUT, &mut Vec::new());
            given_up.extend(outcome.skipped.iter().map(|skip| skip.range));
            Ok::<_, Infallible>(outcome)
        });
        let Ok(marked) = marked;
        assert!(!marked.incomplete);
        assert_eq!(found(&view), expected);
        assert!(poison.iter().all(|page| given_up.iter().any(|range| range.contains(*page))), "{given_up:x?}");
        assert!(given_up.iter().all(|range| range.len() <= 2 * 4096), "{given_up:x?}");
    }
}
