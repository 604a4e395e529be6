use super::testing::TestHeap;
use super::*;
use crate::Cut;
use crate::testing::Random;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};

fn cuts(random: &mut Random) -> Cut {
    let block = 8 * (1 + random.below(400));
    Cut { block, task: block * (1 + random.below(6)), sparse: block }
}

#[test]
fn finds_the_pointers_that_a_plain_search_finds_however_it_is_cut() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let heap = TestHeap::random(&mut random);
        let cut = cuts(&mut random);
        let outcome = heap.edges(cut, *random.of(&[0, 1, 2, 7]));
        let graph = outcome.merge.graph(&heap.registers, heap.view.index.lookup()).unwrap();
        assert_eq!(graph.chunks() as usize, heap.chunks.len());
        for (number, targets) in heap.targets().into_iter().enumerate() {
            let targets: Vec<u32> = targets.into_iter().collect();
            assert_eq!(graph.targets(number as u32), targets, "seed {seed}, chunk {number}");
        }
        let roots = heap.root_words();
        let mut all = BTreeSet::new();
        for chunk in 0..graph.chunks() {
            let naive = roots.iter().filter(|(_, value)| heap.target(*value) == Some(chunk));
            let naive: Vec<u64> = naive.map(|(address, _)| *address).collect();
            assert_eq!(graph.roots().addresses(chunk), naive, "seed {seed}");
            let naive = heap.registers.iter().filter(|register| heap.target(register.value) == Some(chunk));
            let naive: Vec<&Register> = naive.collect();
            assert_eq!(graph.roots().registers(chunk).collect::<Vec<_>>(), naive, "seed {seed}");
            if !graph.roots().addresses(chunk).is_empty() || !naive.is_empty() {
                all.insert(chunk);
            }
        }
        assert_eq!(graph.roots().chunks(), all.into_iter().collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(graph, heap.graph(), "seed {seed}");
        assert!(outcome.stats.bytes_scanned > 0 || !outcome.skipped.is_empty());
    }
}

#[test]
fn a_step_towards_a_root_is_on_a_shortest_way() {
    for seed in 0..100 {
        let heap = TestHeap::random(&mut Random::new(seed));
        let graph = heap.graph();
        let reverse = ReverseGraph::of(graph.clone(), &|| false).unwrap();
        let mut distance = vec![None; graph.chunks() as usize];
        let mut queue: VecDeque<u32> = graph.roots().chunks().into();
        queue.iter().for_each(|chunk| distance[*chunk as usize] = Some(0));
        while let Some(chunk) = queue.pop_front() {
            for target in graph.targets(chunk) {
                if distance[*target as usize].is_none() {
                    distance[*target as usize] = distance[chunk as usize].map(|steps| steps + 1);
                    queue.push_back(*target);
                }
            }
        }
        for chunk in 0..graph.chunks() {
            let sources: Vec<u32> = (0..graph.chunks()).filter(|from| graph.targets(*from).contains(&chunk)).collect();
            assert_eq!(reverse.sources(chunk), sources);
            match (reverse.towards_root(chunk), distance[chunk as usize]) {
                (None, None) | (Some(Step::Root), Some(0)) => {}
                (Some(Step::Chunk(next)), Some(steps)) => {
                    assert!(sources.contains(&next));
                    assert_eq!(distance[next as usize], Some(steps - 1));
                }
                other => panic!("seed {seed}, chunk {chunk}: {other:?}"),
            }
        }
        assert_eq!(reverse.forward(&|| false), Some(graph));
        assert_eq!(ReverseGraph::of(heap.graph(), &|| true), None, "told to stop");
    }
}

#[test]
fn a_graph_that_would_be_too_large_is_refused() {
    let mut heaps = (0..).map(|seed| TestHeap::random(&mut Random::new(seed)));
    let heap = heaps.find(|heap| heap.graph().edges() > 2).unwrap();
    let chunks = heap.chunks.len() as u64;
    let edges = Edges::new(heap.area.clone(), chunks, 4 * (chunks + 2)).unwrap();
    let mut executor = crate::Serial::new(&edges, &heap.view);
    let outcome = crate::run(&edges, &mut executor, &heap.view, Cut::default(), &mut Vec::new());
    assert_eq!(outcome.stopped, Some(crate::Stop::Limit));
    let graph = outcome.merge.graph(&[], heap.view.index.lookup());
    assert_eq!(graph, Err(GraphError::Pointers(2)));
    assert_eq!(Edges::new(heap.area.clone(), 1 << 32, u64::MAX), Err(GraphError::Chunks(1 << 32)));
}

#[test]
fn a_partial_that_cannot_be_is_no_danger() {
    use crate::Analysis;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let heap = TestHeap::random(&mut random);
        let edges = Edges::new(heap.area.clone(), heap.chunks.len() as u64, u64::MAX).unwrap();
        let mut merge = edges.merge();
        for _ in 0..3 {
            let words = (0..random.below(40)).map(|_| random.below(heap.chunks.len() as u64 + 3) as u32);
            let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
            bytes.truncate(bytes.len().saturating_sub(random.below(5) as usize));
            // What it consists of is bytes, however they are sent.
            let sent = postcard::to_stdvec(&(&bytes[..], &bytes[..])).unwrap();
            let partial: EdgesPartial = postcard::from_bytes(&sent).unwrap();
            let task = crate::Task { id: 1, index: 0, range: heap.area.ranges[0].range };
            let _ = edges.absorb(&mut merge, &task, partial, &heap.view, &mut Vec::new());
        }
        let graph = merge.graph(&[], heap.view.index.lookup()).unwrap();
        let reverse = ReverseGraph::of(graph, &|| false).unwrap();
        assert_eq!(reverse.chunks() as usize, heap.chunks.len());
    }
}

proptest! {
    #[test]
    fn turned_round_twice_is_as_before(lists in prop::collection::vec(prop::collection::btree_set(0..40u32, 0..8), 40)) {
        let mut arrows = Arrows { first: vec![0], ends: Vec::new() };
        for list in &lists {
            arrows.ends.extend(list);
            arrows.first.push(arrows.ends.len() as u32);
        }
        let back = arrows.reversed(&|| false).unwrap();
        for to in 0..40 {
            let naive: Vec<u32> = (0..40).filter(|from| lists[*from as usize].contains(&to)).collect();
            prop_assert_eq!(back.of(to), &naive[..]);
        }
        prop_assert_eq!(back.reversed(&|| false), Some(arrows));
    }
}

#[test]
fn nothing_turned_round_is_nothing() {
    assert_eq!(Arrows::default().reversed(&|| false).map(|arrows| arrows.count()), Some(0));
    let one = Arrows { first: vec![0, 0], ends: Vec::new() };
    assert_eq!(one.reversed(&|| false), Some(one.clone()));
    assert_eq!(one.reversed(&|| true), None, "told to stop");
}
