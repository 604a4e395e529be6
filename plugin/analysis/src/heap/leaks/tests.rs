use super::*;
use crate::executor::{InProcess, Serial};
use crate::heap::SegmentKind;
use crate::heap::mark::{Mark, Marking};
use crate::heap::testing::{World, chunks};
use crate::report::Sum;
use crate::{Cut, Outcome, run};
use proptest::prelude::*;
use std::convert::Infallible;
use std::sync::Arc;

const CUT: Cut = Cut { block: 4096, task: 64 << 10, sparse: 64 << 10 };

/// Marks and finds leaks, with so many threads; with none, one task after the other.
fn leaks(world: &World, threads: usize) -> Leaks {
    let view = Arc::new(world.view());
    let marked = Marking::new(world.roots()).run(&view, |mark: &Mark| {
        Ok::<_, Infallible>(run(mark, &mut Serial::new(mark, &*view), &view, CUT, &mut Vec::new()))
    });
    assert!(marked.is_ok_and(|marked| !marked.incomplete));
    let edges = Arc::new(LeakEdges::new(&view, &world.roots()));
    let outcome: Outcome<LeakEdgesMerge> = if threads == 0 {
        run(&*edges, &mut Serial::new(&*edges, &*view), &view, CUT, &mut Vec::new())
    } else {
        let mut executor = InProcess::new(Arc::clone(&edges), Arc::clone(&view), threads);
        run(&*edges, &mut executor, &view, CUT, &mut Vec::new())
    };
    assert_eq!(outcome.skipped, []);
    assert_eq!(outcome.merge.skipped, []);
    Leaks::new(&view, outcome.merge, &|| false).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn leaks_are_what_cannot_be_reached_and_held_by_who_reaches_them(
        segments in chunks(),
        edges in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u64>()), 0..300),
        roots in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..4),
        mapped in any::<bool>(),
    ) {
        let mut world = World::new(&segments);
        world.memory().mapped = mapped;
        for (from, to, offset) in edges {
            world.point(from.index(world.chunks.len()), to.index(world.chunks.len()), offset);
        }
        for (to, offset) in roots {
            world.root(to.index(world.chunks.len()), offset);
        }
        let reachable = world.reachable();
        let is_leak = |index: &usize| {
            let chunk = world.chunks[*index];
            chunk.used && !reachable.contains(&chunk.granule)
        };
        let expected: Vec<usize> = (0..world.chunks.len()).filter(is_leak).collect();
        let found = leaks(&world, 0);
        let numbers: Vec<usize> = found.iter().map(|leak| leak.number as usize).collect();
        prop_assert_eq!(&numbers, &expected);
        for leak in found.iter() {
            let chunk = world.chunks[leak.number as usize];
            prop_assert_eq!((leak.address, leak.size), (chunk.address(), chunk.usable().len()));
            let referenced = world.edges.iter().any(|(from, to, _)| {
                *to == leak.number as usize && from.is_some_and(|from| from != *to && expected.contains(&from))
            });
            prop_assert_eq!(leak.unreferenced, !referenced);
            prop_assert!(!leak.unreferenced || leak.head == leak.address);
        }
        let held: u64 = found.heads().map(|head| 1 + head.holds.count).sum();
        prop_assert_eq!(held, found.len() as u64, "each is held once");
        let bytes: u64 = found.heads().map(|head| head.size + head.holds.bytes).sum();
        prop_assert_eq!(bytes, found.bytes());
        for threads in [1, 2, 7] {
            prop_assert!(leaks(&world, threads).iter().eq(found.iter()), "{} threads", threads);
        }
    }
}

#[test]
fn a_lost_tree_is_one_head() {
    const COUNT: usize = 50_000;
    let mut world = World::new(&vec![(SegmentKind::Main, vec![(4, true); COUNT + 2])]);
    // The root comes last.
    let node = |index: usize| COUNT - index;
    for child in 1..COUNT {
        let parent = (child - 1) / 2;
        let addresses = [parent, child].map(|index| world.chunks[node(index)].address());
        world.memory().write(addresses[0] + 8 * (child as u64 % 2), addresses[1]);
    }
    world.root(0, 0);
    let found = leaks(&world, 2);
    let size = world.chunks[5].usable().len();
    assert_eq!(found.len(), COUNT + 1);
    let heads: Vec<Leak> = found.heads().collect();
    let [tree, alone] = heads[..] else { panic!("{} heads", heads.len()) };
    assert_eq!(tree.address, world.chunks[COUNT].address());
    assert!(tree.unreferenced && alone.unreferenced);
    assert_eq!(tree.holds, Sum { count: COUNT as u64 - 1, bytes: (COUNT as u64 - 1) * size });
    assert_eq!((alone.address, alone.holds), (world.chunks[COUNT + 1].address(), Sum::default()));
}

#[test]
fn a_ring_is_stood_for_by_its_first() {
    let mut world = World::new(&vec![(SegmentKind::Main, vec![(4, true); 8])]);
    for (from, to, word) in [(5, 2, 0), (2, 7, 1), (7, 5, 2), (7, 0, 3)] {
        world.point(from, to, word << 32);
    }
    let found = leaks(&world, 0);
    let leak = |index: usize| found.at(index).unwrap();
    let size = leak(0).size;
    assert!(!leak(2).unreferenced && !leak(0).unreferenced && leak(1).unreferenced);
    assert_eq!([0, 5, 7].map(|index| leak(index).head), [leak(2).address; 3]);
    assert_eq!(leak(2).holds, Sum { count: 3, bytes: 3 * size });
}
