//! What is found in images is what they were made of.

use super::images::{BREAK, Fate, Image, MAIN, VERSIONS};
use super::layout::{bin, state};
use super::*;
use crate::Analysis;
use crate::heap::refs::Pointers;
use crate::heap::{Area, Index, Segments, View, table};
use crate::testing::Random;
use crate::{Cut, Executor, Next, Serial, Task, run};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use target::AddressRange;

fn chunks(index: &Index) -> Vec<(u64, u64, bool)> {
    let all = index.lookup().chunks(AddressRange::new(0, u64::MAX));
    all.map(|chunk| (chunk.range.start, chunk.range.len(), chunk.used)).collect()
}

fn sizes() -> impl Strategy<Value = Vec<(u64, Fate)>> {
    let fate =
        prop_oneof![3 => Just(Fate::Used), 1 => Just(Fate::Free), 1 => Just(Fate::Cached), 1 => Just(Fate::Fast)];
    let granules = prop_oneof![6 => 2..12u64, 2 => 2..70u64, 1 => 64..900u64];
    prop::collection::vec((granules, fate), 4..120)
}

fn image() -> impl Strategy<Value = Image> {
    let arenas = prop::collection::vec(sizes(), 1..4);
    let mapped = prop::collection::vec((32..64u64, (4..17u32).prop_map(|bits| 1u64 << bits)), 0..4);
    let more = prop::collection::vec(sizes(), 0..3);
    (0..VERSIONS.len(), arenas, more, mapped)
        .prop_map(|(version, arenas, more, mapped)| Image::with_heaps(VERSIONS[version], &arenas, &more, &mapped))
}

/// Runs tasks in any order, some of them twice, and stops some in the middle.
struct Shuffled<'a, A: Analysis<Input = View>> {
    analysis: &'a A,
    view: &'a View,
    random: Random,
    tasks: Vec<Task>,
}

impl<A: Analysis<Input = View, Scanner = ()>> Executor<A> for Shuffled<'_, A> {
    fn width(&self) -> usize {
        4
    }

    fn submit(&mut self, task: Task) {
        self.tasks.push(task);
    }

    fn next(&mut self, _patience: Duration) -> Next<A::Partial> {
        if self.tasks.is_empty() {
            return Next::Idle;
        }
        let task = self.tasks.swap_remove(self.random.below(self.tasks.len() as u64) as usize);
        let mut scanned = self.analysis.scan(&mut (), &task, self.view, &|| false);
        if self.random.one_in(3) {
            scanned = self.analysis.scan(&mut (), &task, self.view, &|| false);
        }
        Next::Ended(task, Ok(scanned))
    }

    fn cancel(&mut self) {
        self.tasks.clear();
    }
}

/// Walks again, cut in another way, and in another order.
fn walk_again(
    image: &Image,
    heap: &Heap,
    watched: Option<AddressRange>,
    seed: u64,
) -> (WalkMerge, Vec<(u64, u64, bool)>) {
    let segments = Arc::new(Segments::new(heap.located.segments.clone()));
    let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
    let view = View { memory: image.memory(), index, tables: Vec::new() };
    let walk = Walk::new(&heap.located, &image.space()).watching(watched);
    let mut random = Random::new(seed);
    let block = 16 + random.below(600);
    let cut = Cut { block, task: block + random.below(9000), sparse: block };
    let mut shuffled = Shuffled { analysis: &walk, view: &view, random, tasks: Vec::new() };
    let mut merge = run(&walk, &mut shuffled, &view, cut, &mut Vec::new()).merge;
    walk.finish(&mut merge, &view.index);
    let lists = FreeLists::new(&heap.located, &merge);
    run(&lists, &mut Serial::new(&lists, &view), &view, Cut::default(), &mut Vec::new());
    view.index.complete();
    (merge, chunks(&view.index))
}

proptest! {
    #[test]
    fn a_heap_is_what_it_was_made_of(image in image(), seed: u64) {
        let (memory, space) = (image.memory(), image.space());
        let heap = survey(&memory, &space);
        prop_assert_eq!(&heap.located.problems, &[]);
        prop_assert_eq!(chunks(&heap.index), image.chunks.clone(), "{}", image.version.name);
        prop_assert_eq!(heap.located.arenas.len(), image.lists.len());
        prop_assert_eq!(heap.located.parameters.len(), 1);
        let listed = image.lists.iter().any(|[_, cached, fast]| !cached.is_empty() || !fast.is_empty());
        prop_assert_eq!(heap.free.protected, listed.then_some(image.version.protected));
        prop_assert_eq!(heap.check(&memory, &space), Findings::default());
        let (walked, again) = walk_again(&image, &heap, None, seed);
        prop_assert_eq!(again, image.chunks);
        prop_assert_eq!(walked, heap.walked);
    }

    #[test]
    fn heaps_of_threads_are_known_from_what_they_begin_with(image in image(), seed: u64) {
        let memory = image.memory();
        let mut random = Random::new(seed);
        for segment in survey(&memory, &image.space()).located.segments {
            let address = segment.range.start + random.below(segment.range.len());
            let is_of_thread = segment.kind == crate::heap::SegmentKind::Thread;
            prop_assert_eq!(any_in_heap(&*memory, [0x1000, address]), is_of_thread, "{:#x}", address);
        }
    }

    #[test]
    fn a_walk_comes_across_the_pointers_that_a_search_finds(
        image in image(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4u64, 0..600u64), 0..3),
        target in (any::<prop::sample::Index>(), 0..5_000u64, 1..100_000u64),
        seed: u64,
    ) {
        let mut image = image;
        for (chunk, word, value) in damage {
            let chunk = image.chunks[chunk.index(image.chunks.len())];
            image.memory.put(chunk.0 + 8 * word % chunk.1, value);
        }
        let heap = survey(&image.memory(), &image.space());
        let view = View { memory: image.memory(), index: heap.index.clone(), tables: Vec::new() };
        let (chunk, before, length) = target;
        let (start, ..) = image.chunks[chunk.index(image.chunks.len())];
        let target = AddressRange::sized(start - before, length);
        let area = Area::of(&[], heap.index.segments(), |_| false);
        let chains = area.ranges.iter().filter(|scan| !area.clone().beside_chains(heap.index.segments()).ranges.contains(scan));
        let area = Area { ranges: chains.copied().collect(), ..area.clone() };
        let search = Pointers { area, target, most: u64::MAX };
        let expected = run(&search, &mut Serial::new(&search, &view), &view, Cut::default(), &mut Vec::new()).merge;
        // More is watched than is asked for then.
        let watched = AddressRange::new(target.start - 50, target.end + 50);
        let (walked, _) = walk_again(&image, &heap, Some(watched), seed);
        let found = walked.sightings.of(target, &heap.index.lookup());
        prop_assert_eq!(found, Some(expected.pointers));
        prop_assert_eq!(walked.sightings.of(AddressRange::new(target.start, target.end + 51), &heap.index.lookup()), None);
    }

    #[test]
    fn damage_is_the_same_however_it_is_cut(
        image in image(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4u64, prop_oneof![any::<u64>(), 0..600u64]), 1..6),
        seed: u64,
    ) {
        let mut image = image;
        for (chunk, word, value) in damage {
            let chunk = image.chunks[chunk.index(image.chunks.len())];
            image.memory.put(chunk.0 + 8 * word % chunk.1, value);
        }
        let (memory, space) = (image.memory(), image.space());
        let heap = survey(&memory, &space);
        let (walked, again) = walk_again(&image, &heap, None, seed);
        prop_assert_eq!(&walked.breaks, &heap.walked.breaks);
        prop_assert_eq!(again, chunks(&heap.index));
        heap.check(&memory, &space);
    }
}

/// An image with a chunk of each fate in each of two arenas.
fn some(version: usize) -> Image {
    use Fate::{Cached, Fast, Free, Used};
    let chunks = [
        (4, Used),
        (6, Used),
        (9, Free),
        (5, Used),
        (4, Cached),
        (4, Cached),
        (3, Used),
        (5, Fast),
        (5, Fast),
        (7, Used),
        (80, Free),
        (20, Used),
        (12, Used),
        (4, Used),
        (8, Used),
        (9, Used),
        (10, Used),
        (11, Used),
        (4, Used),
        (4, Used),
    ];
    Image::new(VERSIONS[version], &[chunks.to_vec(), chunks.to_vec()], &[(40, 16), (50, 4096)])
}

/// The kinds of what is found, after this was done to the heap, and what is found at `address`.
fn found(version: usize, damage: impl Fn(&mut Image) -> u64, kind: FindingKind) -> (Heap, Finding) {
    let mut image = some(version);
    let before = image.chunks.clone();
    let address = damage(&mut image);
    let (memory, space) = (image.memory(), image.space());
    let heap = survey(&memory, &space);
    let findings = heap.check(&memory, &space);
    // Of a chunk, what malloc returned is told.
    let is_there = |finding: &&Finding| [address, address + 16].contains(&finding.address) && finding.kind == kind;
    let finding = findings.list.iter().find(is_there);
    let finding = finding.unwrap_or_else(|| panic!("{kind:?} at {address:#x} is not among {findings:#x?}")).clone();
    // The rest is still there.
    let after = chunks(&heap.index);
    let kept = before.iter().filter(|chunk| after.contains(chunk)).count();
    assert!(kept + 8 >= before.len(), "{kept} of {}", before.len());
    (heap, finding)
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    for version in 0..VERSIONS.len() {
        let found = |damage: &dyn Fn(&mut Image) -> u64, kind| found(version, damage, kind).1;
        for arena in 0..2 {
            // An overrun: the next chunk's size is not one.
            let finding = found(
                &|image| {
                    let (start, size) = image.used(arena, 8);
                    image.memory.put(start + 16, 0x7265_7469_7277);
                    image.memory.put(start + size + 8, 0x4141_4141_4141_4141);
                    start + size
                },
                FindingKind::Size,
            );
            // The one before, in its whole length, and what it was overwritten with.
            let writer = &finding.before[0];
            let written = 0x4141_4141_4141_4141u64.to_le_bytes();
            assert!(writer.used && writer.behind == written, "{writer:x?}");
            let shown = writer.size.min(48);
            assert_eq!(writer.bytes.len() as u64, shown);
            assert!(writer.size > 48 || writer.bytes.starts_with(b"writer"), "{writer:x?}");
            // A size that could be one.
            found(
                &|image| {
                    let (start, size) = image.used(arena, 8);
                    image.memory.put(start + 8, image.memory.word(start + 8) + 32);
                    assert!(size > 32);
                    start
                },
                FindingKind::Size,
            );
            // One byte too many.
            found(
                &|image| {
                    let (start, size) = image.used(arena, 8);
                    image.memory.put(start + size + 8, image.memory.word(start + size + 8) & !1);
                    start + size
                },
                FindingKind::Previous,
            );
            found(
                &|image| {
                    let free = image.lists[arena][0][0];
                    image.memory.put(free + 24, 0x6666);
                    free
                },
                FindingKind::Link,
            );
            found(
                &|image| {
                    let [_, cached, _] = &image.lists[arena];
                    let chunk = cached[1];
                    image.memory.put(chunk + 16, 0x4242_4242);
                    chunk
                },
                FindingKind::Link,
            );
            // What is freed twice is on its list twice.
            found(
                &|image| {
                    let [_, _, fast] = &image.lists[arena];
                    let (first, second) = (fast[0], fast[1]);
                    let link = if image.version.protected { (first + 16) >> 12 ^ second } else { second };
                    image.memory.put(first + 16, link);
                    second
                },
                FindingKind::Loop,
            );
        }
        found(
            &|image| {
                // A chunk of a fast bin is put into the cache as well.
                let [_, cached, _] = image.lists[0].clone();
                image.memory.put(MAIN + state::FAST_BINS + 8 * 2, cached[1]);
                cached[1]
            },
            FindingKind::DoubleFree,
        );
        found(
            &|image| {
                let free = image.lists[0][0][1];
                let unsorted = bin(MAIN, 1);
                image.memory.put(unsorted + 24, free);
                MAIN
            },
            FindingKind::Arena,
        );
        found(
            &|image| {
                let top = image.memory.word(MAIN + state::TOP);
                image.memory.put(top + 8, u64::MAX);
                top
            },
            FindingKind::Top,
        );
        found(
            &|image| {
                let arena = image.memory.word(MAIN + state::NEXT);
                image.memory.put(arena + state::TOP, 0x1230);
                arena
            },
            FindingKind::Heap,
        );
        found(
            &|image| {
                let arena = image.memory.word(MAIN + state::NEXT);
                (0..state::SIZE / 8).for_each(|word| image.memory.put(arena + 8 * word, 0));
                arena
            },
            FindingKind::Arena,
        );
        found(
            &|image| {
                (0..state::SIZE / 8).for_each(|word| image.memory.put(MAIN + 8 * word, 0));
                BREAK
            },
            FindingKind::Arena,
        );
    }
}

/// All of the only list of the first thread's cache is lost, not the cache.
#[test]
fn a_cache_with_nothing_but_an_overwritten_list_is_still_one() {
    use Fate::{Cached, Used};
    for version in VERSIONS {
        for (head, said) in [(0x4141_4141_4141_4141, true), (0, false)] {
            let mut image =
                Image::new(version, &[vec![(4, Used), (5, Cached), (5, Cached), (5, Cached), (4, Used)]], &[]);
            let entry = BREAK + 16 + version.cache.entries() + 8 * version.cache.bin(5 * 16).expect("a bin");
            assert_ne!(image.memory.word(entry), 0);
            image.memory.put(entry, head);
            let heap = survey(&image.memory(), &image.space());
            // Where what is left is counted, none and an empty list are the same.
            let is_known = said || version.cache.counts;
            assert_eq!(heap.free.caches, if is_known { vec![BREAK] } else { vec![] }, "{}", version.name);
            let findings = heap.check(&image.memory(), &image.space());
            let found = findings.list.iter().filter(|finding| finding.address == entry);
            let kinds: Vec<_> = found.map(|finding| finding.kind).collect();
            let expected = if said { vec![FindingKind::Link] } else { vec![FindingKind::Count] };
            assert_eq!(kinds, if is_known { expected } else { vec![] }, "{}: {findings:#x?}", version.name);
        }
    }
}

/// An image without what malloc counts, or with damage to that.
fn without_parameters(mut image: Image) -> Image {
    image.memory.0.get_mut(&super::images::DATA).expect("it has data")[0x300..0x400].fill(0);
    image
}

fn mapped(heap: &Heap) -> Vec<AddressRange> {
    let segments = heap.located.segments.iter();
    segments.filter(|segment| segment.kind == crate::heap::SegmentKind::Mapped).map(|segment| segment.range).collect()
}

#[test]
fn chunks_with_mappings_of_their_own_are_found_without_what_malloc_counts() {
    for version in 0..VERSIONS.len() {
        let image = some(version);
        let expected = mapped(&survey(&image.memory(), &image.space()));
        assert_eq!(expected.len(), 2);
        let mut image = without_parameters(image);
        // Behind something else.
        let mapping = image.memory.0.remove(&super::images::MAPPED).expect("mappings");
        image.memory.0.insert(super::images::MAPPED - 0x3000, [vec![0x5a; 0x3000], mapping].concat());
        let heap = survey(&image.memory(), &image.space());
        assert_eq!(mapped(&heap), expected);
        let problems = &heap.located.problems;
        assert!(matches!(&problems[..], [problem] if problem.kind == FindingKind::Count), "{problems:?}");
        // Without the main arena there are no counts either.
        (0..state::SIZE / 8).for_each(|word| image.memory.put(MAIN + 8 * word, 0));
        assert_eq!(mapped(&survey(&image.memory(), &image.space())), expected);
    }
}

/// The mapping of a chunk of 20 pages that was to be aligned to 8 moves, and is made longer, or shorter: only where the chunk is in it stays.
#[test]
fn mappings_that_were_moved_keep_what_lies_in_them() {
    for pages in [30, 12] {
        let mut image = Image::new(VERSIONS[2], &[vec![(4, Fate::Used)]], &[(40, 16), (20, 8 * 4096), (40, 16)]);
        let bytes = image.memory.0.remove(&super::images::MAPPED).expect("mappings");
        let (first, rest) = bytes.split_at(40 * 4096);
        let (second, third) = rest.split_at(20 * 4096);
        let mut moved = second.to_vec();
        moved.resize(pages * 4096, 0);
        let at = moved[16..].chunks(8).position(|word| word[0] & 7 == 2).expect("its header") * 8 + 8;
        let size = (moved.len() - at) as u64;
        assert!(at % 4096 == 4096 - 16, "{at:#x}");
        moved[at + 8..at + 16].copy_from_slice(&(size | 2).to_le_bytes());
        // One page off from where it was.
        let start = super::images::MAPPED - 4096;
        image.memory.0.insert(start, [first, &moved, third].concat());
        let place = (super::images::PARAMETERS + VERSIONS[2].parameters.1, (100 - 20 + pages as u64) * 4096);
        image.memory.put(place.0, place.1);
        image.memory.put(place.0 + 8, place.1);
        let heap = survey(&image.memory(), &image.space());
        assert_eq!(heap.located.problems, [], "{pages} pages");
        let chunk = AddressRange::sized(start + 40 * 4096 + at as u64, size);
        let expected = [AddressRange::sized(start, 40 * 4096), chunk, AddressRange::sized(chunk.end, 40 * 4096)];
        assert_eq!(mapped(&heap), expected, "{pages} pages");
    }
}

#[test]
fn where_the_size_of_a_mapped_chunk_was_overwritten_is_told() {
    for broken in 0..3 {
        let mut image = Image::new(VERSIONS[2], &[vec![(4, Fate::Used)]], &[(40, 16), (50, 16), (60, 16)]);
        let expected = mapped(&survey(&image.memory(), &image.space()));
        let chunk = expected[broken];
        image.memory.put(chunk.start + 8, 0x4141_4141);
        let heap = survey(&image.memory(), &image.space());
        assert_eq!(mapped(&heap), expected);
        let findings = heap.check(&image.memory(), &image.space());
        let [finding] = &findings.list[..] else { panic!("{findings:x?}") };
        assert_eq!((finding.address, finding.kind), (chunk.start + 16, FindingKind::Size));
        let before = finding.before.first().map(|before| (before.address, before.behind.clone()));
        let writer =
            broken.checked_sub(1).map(|before| (expected[before].start + 16, 0x4141_4141u64.to_le_bytes().to_vec()));
        assert_eq!(before, writer, "what lies before it may have overwritten it");
    }
}

/// The second of two blocks gets a size that there could be, so no chunk begins behind it: who wrote that lies before it.
#[test]
fn who_has_overwritten_a_size_that_could_be_one_is_shown_too() {
    let chunks = vec![(7, Fate::Used); 20];
    let mut image = Image::new(VERSIONS[2], &[chunks], &[]);
    let (writer, size) = image.used(0, 4);
    let victim = writer + size;
    for word in (victim + 0x10..victim + size).step_by(8) {
        image.memory.put(word, 0x6c6c_6c6c_6c6c_6c6c);
    }
    image.memory.put(victim + 8, 0x41);
    let heap = survey(&image.memory(), &image.space());
    let findings = heap.check(&image.memory(), &image.space());
    let [finding] = &findings.list[..] else { panic!("{findings:x?}") };
    assert_eq!(finding.before.iter().map(|before| before.address).collect::<Vec<_>>(), [victim + 16, writer + 16]);
    assert_eq!(finding.before[1].behind, 0x41u64.to_le_bytes());
    for address in [victim + 16, victim + 16 + 0x40, victim + size + 16] {
        assert!(finding.text.contains(&format!("{address:#x}")), "{address:#x} is not in '{}'", finding.text);
    }
}

#[test]
fn a_smashed_top_is_one_finding() {
    for arena in 0..2 {
        let mut image = some(2);
        let state = if arena == 0 { MAIN } else { image.memory.word(MAIN + state::NEXT) };
        let top = image.memory.word(state + state::TOP);
        image.memory.put(top + 8, u64::MAX);
        let heap = survey(&image.memory(), &image.space());
        let findings = heap.check(&image.memory(), &image.space());
        let kinds: Vec<_> = findings.list.iter().map(|finding| (finding.address, finding.kind)).collect();
        assert_eq!(kinds, [(top + 16, FindingKind::Top)], "{findings:x?}");
    }
}

#[test]
fn bins_that_lead_nowhere_are_known_without_a_check() {
    let mut image = some(2);
    image.memory.put(bin(MAIN, 1) + 16, BREAK + 0x20);
    let heap = survey(&image.memory(), &image.space());
    assert!(matches!(heap.free.wrong[..], [Wrong { kind: WrongKind::First { arena: MAIN, bin: 1, .. }, .. }]));
    // And told once.
    let findings = heap.check(&image.memory(), &image.space());
    assert_eq!(findings.list.iter().filter(|finding| finding.kind == FindingKind::Arena).count(), 1, "{findings:x?}");
}

/// Pieces of a page and more where brk has failed, in memory that others have as well.
#[test]
fn short_pieces_where_brk_has_failed_are_found() {
    let image = Image::new(VERSIONS[2], &[vec![(4, Fate::Used); 10]], &[(40, 16)]);
    let mut broken = image.clone();
    let main = |heap: &Heap| {
        let segments = heap.located.segments.iter();
        let main = segments.filter(|segment| segment.kind == crate::heap::SegmentKind::Main);
        main.map(|segment| segment.range).collect::<Vec<_>>()
    };
    let [brk] = main(&survey(&image.memory(), &image.space()))[..] else { panic!("one piece") };
    // The top chunk of brk's memory is free, and behind it is the fence.
    let top = image.memory.word(MAIN + state::TOP);
    let mark = brk.end - 32;
    broken.memory.put(top + 8, (mark - top) | 1);
    broken.memory.put(top + 16, bin(MAIN, 1));
    broken.memory.put(top + 24, bin(MAIN, 1));
    broken.memory.put(bin(MAIN, 1) + 16, top);
    broken.memory.put(bin(MAIN, 1) + 24, top);
    broken.memory.put(mark, mark - top);
    broken.memory.put(mark + 8, 0x10);
    broken.memory.put(mark + 24, 0x11);
    // Two pieces with a page of somebody else's between them, and the last one with the top chunk.
    const PIECES: u64 = 0x7c00_0000_0000;
    let mut bytes = vec![0u8; 0x6000];
    let mut put = |at: usize, word: u64| bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    for (start, end) in [(0, 0x1000), (0x2000, 0x5000)] {
        for chunk in (start..end - 0x20).step_by(0x20) {
            put(chunk + 8, 0x21);
        }
        put(end - 0x20 + 8, 0x11);
        put(end - 0x10 + 8, 0x11);
    }
    put(0x5000 + 8, 0x1001);
    broken.memory.0.insert(PIECES, bytes);
    broken.memory.put(MAIN + state::TOP, PIECES + 0x5000);
    broken.memory.put(MAIN, 2 << 32);
    let system = brk.len() + 0x1000 + 0x3000 + 0x1000;
    broken.memory.put(MAIN + state::SYSTEM, system);
    broken.memory.put(MAIN + state::MOST_SYSTEM, system);
    let heap = survey(&broken.memory(), &broken.space());
    let piece = |start: u64, end: u64| AddressRange::new(PIECES + start, PIECES + end);
    let expected = [brk, piece(0, 0x1000), piece(0x2000, 0x5000), piece(0x5000, 0x6000)];
    assert_eq!(main(&heap), expected);
    assert_eq!(heap.check(&broken.memory(), &broken.space()), Findings::default());
}

#[test]
fn nothing_was_allocated_yet() {
    let mut image = Image::new(VERSIONS[2], &[Vec::new()], &[]);
    image.memory.0.retain(|start, _| *start == super::images::DATA);
    let data = image.memory.0.values_mut().next().expect("the data");
    data.fill(0);
    image.memory.put(MAIN + state::NEXT, MAIN);
    image.memory.put(MAIN + state::ATTACHED, 1);
    let heap = survey(&image.memory(), &image.space());
    assert!(heap.located.is_unused());
    assert_eq!(heap.located.problems, []);
    assert_eq!(heap.index.count(), 0);
}

#[test]
fn an_arena_that_is_locked_is_said_to_be() {
    let mut image = some(2);
    image.memory.put(MAIN, 1);
    let heap = survey(&image.memory(), &image.space());
    assert!(heap.located.arenas[0].locked && !heap.located.arenas[1].locked);
}

/// Writes seeds for the fuzzer: an image of each version, page by page.
#[test]
#[ignore = "a tool"]
fn seeds() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus/heap");
    std::fs::create_dir_all(&folder).unwrap();
    for (number, version) in VERSIONS.iter().enumerate() {
        let image = some(number);
        let mut seed = Vec::new();
        let parts = [super::images::DATA, BREAK, super::images::HEAPS + version.heap, 0, super::images::MAPPED];
        for (part, start) in parts.iter().enumerate().filter(|(_, start)| **start != 0) {
            for (page, bytes) in image.memory.0[start].chunks(4096).enumerate() {
                let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                if length > 0 {
                    seed.extend([part as u8, page as u8]);
                    seed.extend((length as u16).to_le_bytes());
                    seed.extend(&bytes[..length]);
                }
            }
        }
        std::fs::write(folder.join(version.name), seed).unwrap();
    }
}

/// Memory that counts how often it is read.
struct Counting(super::images::Pieces, std::sync::atomic::AtomicU64);

impl target::ReadMemory for Counting {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, target::Fault> {
        self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.read(address, buffer)
    }
}

#[test]
fn memory_whose_every_page_may_be_where_the_heap_begins_takes_no_more_than_a_few_passes() {
    const PAGES: u64 = 4096;
    let mut image = Image::new(VERSIONS[0], &[vec![(4, Fate::Used), (4, Fate::Used)]], &[]);
    let mut pages = vec![0u8; (PAGES * 4096) as usize];
    for page in pages.chunks_mut(4096) {
        // A chunk as long as the page, behind one in use.
        page[8..16].copy_from_slice(&(4096u64 | 1).to_le_bytes());
    }
    image.memory.0.insert(BREAK, pages);
    // The chunks lead past the top one, and where the first is nothing tells.
    let top = BREAK + PAGES * 4096 - 64;
    image.memory.put(top + 8, 64 | 1);
    image.memory.put(MAIN + state::TOP, top);
    image.memory.put(MAIN + state::SYSTEM, PAGES * 4096);
    image.memory.put(MAIN + state::MOST_SYSTEM, PAGES * 4096);
    image.memory.0.get_mut(&super::images::DATA).expect("it has data")[0x300..0x400].fill(0);
    let space = image.space();
    let memory = Arc::new(Counting(image.memory, Default::default()));
    let dynamic: Arc<dyn target::ReadMemory> = Arc::clone(&memory) as _;
    let heap = survey(&dynamic, &space);
    let main = heap.located.arenas.iter().find(|arena| arena.main).expect("the main arena");
    assert_eq!((main.address, main.top, heap.located.parameters.len()), (MAIN, Some(top), 0));
    let blocks = PAGES * 4096 / (64 << 10);
    let reads = memory.1.load(std::sync::atomic::Ordering::Relaxed);
    assert!(reads < 500 * blocks, "{reads} reads of {blocks} blocks");
}
