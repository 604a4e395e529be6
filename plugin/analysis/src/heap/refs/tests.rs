use super::*;
use crate::heap::graph::ReverseGraph;
use crate::heap::graph::testing::TestHeap;
use crate::heap::{Area, Index, View};
use crate::testing::Random;
use crate::{Cut, InProcess, Serial, run};
use std::collections::BTreeSet;
use std::sync::Arc;

/// All pointers into a range, found in the plainest way, in address order.
fn naive(heap: &TestHeap, target: AddressRange) -> Vec<(u64, u64)> {
    let mut all = heap.root_words();
    heap.chunks.iter().for_each(|chunk| all.extend(heap.words_in(chunk)));
    all.retain(|(_, value)| target.contains(*value));
    all.sort_unstable();
    all
}

/// Something that one may ask for: an allocation, an address, a range.
fn some_target(heap: &TestHeap, random: &mut Random) -> AddressRange {
    let words = [heap.root_words(), naive(heap, AddressRange::new(0, u64::MAX))].concat();
    let value = random.of(&words).1;
    let chunk = random.of(&heap.chunks);
    match random.below(5) {
        0 => target(&heap.view.index.lookup(), chunk.address() + random.below(chunk.range.len())),
        1 => target(&heap.view.index.lookup(), value),
        2 => AddressRange::sized(value, 1),
        3 => AddressRange::sized(chunk.address() + random.below(8), 1 + random.below(40)),
        _ => AddressRange::sized(heap.memory.start + random.below(0x4000), random.below(0x3000)),
    }
}

fn reverse(heap: &TestHeap) -> ReverseGraph {
    ReverseGraph::of(heap.graph(), &|| false).unwrap()
}

#[test]
fn both_ways_find_the_pointers_that_a_plain_search_finds() {
    let mut by_graph = 0;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let heap = TestHeap::random(&mut random);
        let graph = reverse(&heap);
        let view = Arc::new(heap.view.clone());
        for _ in 0..8 {
            let target = some_target(&heap, &mut random);
            let most = *random.of(&[0, 1, 3, 1000]);
            let search = Arc::new(Pointers { area: heap.area.clone(), target, most });
            let block = 8 * (1 + random.below(400));
            let cut = Cut { block, task: block * (1 + random.below(6)), sparse: block };
            let found = match random.below(3) {
                0 => run(&*search, &mut Serial::new(&*search, &*view), &view, cut, &mut Vec::new()),
                threads => {
                    let threads = [2, 7][threads as usize - 1];
                    let mut executor = InProcess::new(Arc::clone(&search), Arc::clone(&view), threads);
                    run(&*search, &mut executor, &view, cut, &mut Vec::new())
                }
            };
            let mut pointers = naive(&heap, target);
            let total = pointers.len() as u64;
            pointers.truncate(most as usize);
            assert_eq!(found.merge, PointersMerge { pointers, total }, "seed {seed}, into {target}");
            for pointer in found.merge.pointers(&view.index.lookup()) {
                let Place::Memory { address, chunk } = pointer.place else { panic!("no register was looked at") };
                let holds = |chunk: &&Chunk| words_of(chunk, view.index.segments()).contains(address);
                assert_eq!(chunk.as_ref(), heap.chunks.iter().find(holds), "seed {seed}, at {address:#x}");
            }
            let stop = || false;
            let asked = Query::new(&graph, &heap.view, &heap.area, &stop).pointers(target, most);
            let whole = |chunk: &&Chunk| {
                let words = words_of(chunk, view.index.segments());
                chunk.used && words.contains(target.start) && target.end <= words.end
            };
            if heap.chunks.iter().any(|chunk| whole(&chunk)) {
                by_graph += 1;
                assert_eq!(asked.as_ref(), Some(&found.merge), "seed {seed}, into {target}");
            } else {
                assert_eq!(asked, None, "seed {seed}, into {target}");
            }
        }
    }
    assert!(by_graph > 200, "{by_graph}");
}

/// Runs a search, cut in some way, on some threads.
fn inverted(heap: &TestHeap, targets: Vec<AddressRange>, most: u64, random: &mut Random) -> Option<Inverted> {
    let search = Arc::new(Invert::new(heap.area.clone(), targets, most).unwrap());
    let view = Arc::new(heap.view.clone());
    let block = 8 * (1 + random.below(400));
    let cut = Cut { block, task: block * (1 + random.below(6)), sparse: block };
    let mut executor = InProcess::new(Arc::clone(&search), Arc::clone(&view), 1 + random.below(3) as usize);
    let merge = run(&*search, &mut executor, &view, cut, &mut Vec::new()).merge;
    drop(executor);
    Arc::try_unwrap(search).unwrap().finish(merge, &|| false)
}

#[test]
fn sorted_pointers_are_those_that_a_plain_search_finds() {
    let mut told = 0;
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let heap = TestHeap::random(&mut random);
        // What is mapped need not be all that is pointed to, or begin and end with it.
        let start = heap.memory.start / 4096 * 4096;
        let mut spans: Vec<AddressRange> = Vec::new();
        let mut end = start - 4096 * random.below(2);
        for _ in 0..1 + random.below(4) {
            let span = AddressRange::sized(end + 4096 * random.below(2), 4096 * (1 + random.below(5)));
            end = span.end;
            spans.push(span);
        }
        let within = |address: u64| spans.iter().any(|span| span.contains(address));
        let sorted = inverted(&heap, spans.clone(), 1 << 20, &mut random).unwrap();
        let lookup = heap.view.index.lookup();
        for _ in 0..12 {
            let target = some_target(&heap, &mut random);
            let most = *random.of(&[0, 1, 3, 1000]);
            let found = sorted.pointers(target, most, &lookup, &|| false);
            if !(target.start..target.end).all(within) {
                assert_eq!(found, None, "seed {seed}, into {target}");
                continue;
            }
            told += 1;
            let mut pointers = naive(&heap, target);
            let total = pointers.len() as u64;
            pointers.truncate(most as usize);
            assert_eq!(found, Some(PointersMerge { pointers, total }), "seed {seed}, into {target}");
        }
    }
    assert!(told > 800, "{told}");
}

#[test]
fn pointers_are_not_sorted_where_there_are_too_many_or_too_much_of_what_they_point_to() {
    let mut random = Random::new(1);
    let heap = TestHeap::random(&mut random);
    let all = AddressRange::sized(heap.memory.start, 1 << 20);
    let count =
        inverted(&heap, vec![all], u64::MAX, &mut random)
            .unwrap()
            .pointers(all, 0, &heap.view.index.lookup(), &|| false);
    assert!(count.unwrap().total > 0);
    assert_eq!(inverted(&heap, vec![all], 0, &mut random), None);
    // Of regions that are huge no page is kept; of others, each is.
    let huge = AddressRange::sized(1 << 40, 1 << 44);
    let sorted = inverted(&heap, vec![huge, all], u64::MAX, &mut random).unwrap();
    assert_eq!(sorted.pointers(AddressRange::sized(huge.start, 1), 1, &heap.view.index.lookup(), &|| false), None);
    assert!(sorted.pointers(all, 1, &heap.view.index.lookup(), &|| false).is_some());
    assert_eq!(sorted.pointers(all, 1, &heap.view.index.lookup(), &|| true), None, "it was told to stop");
    assert!(sorted.memory() < 1 << 20);
}

#[test]
fn what_is_near_an_address_is_in_its_segment() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let heap = TestHeap::random(&mut random);
        let lookup = heap.view.index.lookup();
        for _ in 0..20 {
            let address = heap.memory.start + random.below(0x8000);
            let (around, target) = (around(lookup.segments(), address), target(&lookup, address));
            assert!(around.start <= target.start && target.end <= around.end, "{address:#x}, seed {seed}");
        }
    }
}

/// What leads to `target`, level by level: where it lies, what it points to, and over how many pointers.
fn naive_levels(heap: &TestHeap, target: AddressRange, depth: u32) -> Vec<(Option<u64>, u64, u32)> {
    let lookup = heap.view.index.lookup();
    let number = |chunk: &Chunk| heap.chunks.iter().position(|other| other == chunk).unwrap() as u32;
    let mut answer = Vec::new();
    let touches = |chunk: &&Chunk| chunk.used && words_of(chunk, lookup.segments()).intersect(target).is_some();
    let mut seen: BTreeSet<u32> = heap.chunks.iter().filter(touches).map(number).collect();
    let mut level: Option<BTreeSet<u32>> = None;
    for depth in 1..=depth {
        let leads = |value: u64| match &level {
            None => target.contains(value),
            Some(level) => heap.target(value).is_some_and(|target| level.contains(&target)),
        };
        let found = naive(heap, AddressRange::new(0, u64::MAX)).into_iter().filter(|(_, value)| leads(*value));
        let found: Vec<(u64, u64)> = found.collect();
        answer.extend(found.iter().map(|(address, value)| (Some(*address), *value, depth)));
        let mut registers: Vec<&Register> = heap.registers.iter().filter(|register| leads(register.value)).collect();
        if depth > 1 {
            registers.sort_by_key(|register| heap.target(register.value));
        }
        answer.extend(registers.iter().map(|register| (None, register.value, depth)));
        let holders = found.iter().filter_map(|(address, _)| heap.target(*address));
        let next: BTreeSet<u32> = holders.filter(|holder| !seen.contains(holder)).collect();
        seen.extend(&next);
        level = Some(next);
    }
    answer
}

#[test]
fn every_level_has_what_points_to_the_allocations_of_the_one_before() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let heap = TestHeap::random(&mut random);
        let graph = reverse(&heap);
        let stop = || false;
        for _ in 0..4 {
            let target = some_target(&heap, &mut random);
            let depth = 1 + random.below(5) as u32;
            let lookup = heap.view.index.lookup();
            let direct = naive(&heap, target).into_iter().map(|(address, value)| Pointer::at(address, value, &lookup));
            let direct: Vec<Pointer> = direct.chain(in_registers(&heap.registers, target)).collect();
            let total = direct.len() as u64;
            let most = *random.of(&[2, 10_000]);
            let mut query = Query::new(&graph, &heap.view, &heap.area, &stop);
            let answer = query.deeper(target, direct, total, depth, most);
            let mut levels = naive_levels(&heap, target, depth);
            assert_eq!(answer.total, levels.len() as u64, "seed {seed}");
            levels.truncate(most);
            let plain = |reference: &Reference| {
                let address = match reference.pointer.place {
                    Place::Memory { address, .. } => Some(address),
                    Place::Register { .. } => None,
                };
                (address, reference.pointer.value, reference.depth)
            };
            assert_eq!(answer.references.iter().map(plain).collect::<Vec<_>>(), levels, "seed {seed}");
            assert!(!answer.stopped);
        }
    }
}

/// For each chunk, over how many chunks a root leads to it: 0 if it points to it.
fn naive_distances(heap: &TestHeap) -> Vec<Option<usize>> {
    let targets = heap.targets();
    let roots = heap.root_words().into_iter().map(|(_, value)| value);
    let roots = roots.chain(heap.registers.iter().map(|register| register.value));
    let mut level: BTreeSet<u32> = roots.filter_map(|value| heap.target(value)).collect();
    let mut distances = vec![None; heap.chunks.len()];
    for distance in 0.. {
        level.retain(|chunk| distances[*chunk as usize].is_none());
        if level.is_empty() {
            break;
        }
        level.iter().for_each(|chunk| distances[*chunk as usize] = Some(distance));
        level = level.iter().flat_map(|chunk| &targets[*chunk as usize]).copied().collect();
    }
    distances
}

#[test]
fn a_chain_is_a_shortest_way_from_a_root() {
    let mut longest = 0;
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let heap = TestHeap::random(&mut random);
        let graph = reverse(&heap);
        let lookup = heap.view.index.lookup();
        let distances = naive_distances(&heap);
        let stop = || false;
        let mut query = Query::new(&graph, &heap.view, &heap.area, &stop);
        for (address, value) in naive(&heap, AddressRange::new(0, u64::MAX)) {
            let pointer = Pointer::at(address, value, &lookup);
            let chain = query.chain(&pointer, 1000);
            let Place::Memory { chunk, .. } = pointer.place else { unreachable!() };
            let Some(mut holder) = chunk else {
                assert_eq!(chain, Some(Chain::default()), "a root itself");
                continue;
            };
            let distance = heap.target(address).and_then(|number| distances[number as usize]);
            assert_eq!(chain.as_ref().map(|chain| chain.links.len()), distance.map(|links| links + 1), "seed {seed}");
            let Some(chain) = chain else { continue };
            assert!(!chain.cut);
            longest = longest.max(chain.links.len());
            for (index, link) in chain.links.iter().enumerate() {
                assert!(words_of(&holder, lookup.segments()).contains(link.value), "seed {seed}");
                match &link.place {
                    Place::Memory { address, chunk } => {
                        assert!(heap.words(AddressRange::sized(*address, 8)).contains(&(*address, link.value)));
                        assert_eq!(chunk.is_none(), index + 1 == chain.links.len());
                        if let Some(chunk) = chunk {
                            holder = *chunk;
                        }
                    }
                    Place::Register { name, .. } => {
                        let is = |register: &Register| register.name == *name && register.value == link.value;
                        assert!(heap.registers.iter().any(is));
                        assert_eq!(index + 1, chain.links.len());
                    }
                }
            }
            let most = random.below(4) as usize;
            let cut = query.chain(&pointer, most).unwrap();
            assert_eq!(cut.cut, most < chain.links.len());
            assert_eq!(cut.links, chain.links[..most.min(chain.links.len())]);
        }
    }
    assert!(longest > 3, "{longest}");
}

#[test]
fn where_no_allocator_is_known_all_words_count() {
    for seed in 0..50 {
        let heap = TestHeap::random(&mut Random::new(seed));
        let view = View { index: Index::default(), ..heap.view.clone() };
        let target = AddressRange::new(heap.memory.start, heap.memory.start + 0x2000);
        let ranges = heap.area.ranges.clone();
        let search = Pointers { area: Area { ranges, ..Area::default() }, target, most: 1 << 20 };
        let found = run(&search, &mut Serial::new(&search, &view), &view, Cut::default(), &mut Vec::new());
        let words = heap.area.ranges.iter().flat_map(|scan| heap.words(scan.range));
        let words: Vec<(u64, u64)> = words.filter(|(_, value)| target.contains(*value)).collect();
        assert_eq!(found.merge.pointers, words);
        let lookup = view.index.lookup();
        assert!(found.merge.pointers(&lookup).iter().all(|pointer| pointer.place.is_root()));
    }
}

#[test]
fn a_query_that_is_told_to_stop_has_no_answer() {
    let mut heaps = (0..).map(|seed| TestHeap::random(&mut Random::new(seed)));
    let heap = heaps.find(|heap| heap.graph().edges() > 2).unwrap();
    let graph = reverse(&heap);
    let target = (0..graph.chunks()).find(|chunk| !graph.sources(*chunk).is_empty()).unwrap();
    let chunk = heap.chunks[target as usize];
    let stop = || true;
    let mut query = Query::new(&graph, &heap.view, &heap.area, &stop);
    assert_eq!(query.pointers(AddressRange::sized(chunk.address(), 1), 10), None);
    let pointer = Pointer::at(chunk.address(), chunk.address(), &heap.view.index.lookup());
    let answer = query.deeper(AddressRange::sized(1, 1), vec![pointer.clone()], 1, 2, 10);
    assert_eq!((answer.stopped, answer.total), (true, 1), "what was known already");
    let mut references = answer.references;
    assert!(!query.chains(&mut references, 10));
    assert_eq!(references, [Reference { pointer, depth: 1, chain: None }]);
}
