//! Heaps of any bytes: what is found in them does not depend on who looks, and nobody gets lost in them.

use super::*;
use crate::heap::{Segment, SegmentKind, table};
use crate::testing::{PAGE, Page, Random, TestMemory};
use crate::{Cut, InProcess, Serial, run};
use std::collections::BTreeMap;
use std::sync::Arc;
use target::{Backing, Layout, Permissions, Region};

const START: u64 = 0x10_0000;
const HEAP: u64 = 6 * PAGE;
const MODULE: u64 = 2 * PAGE;
const ROOTS: u64 = PAGE;

fn region(start: u64, length: u64, backing: Backing, permissions: Permissions) -> Region {
    Region { range: AddressRange::sized(start, length), permissions, backing, shared: false, userfault: false }
}

/// A heap, a module of which the first page is code, and memory with roots, one behind the other; of words that are likely to
/// mean something.
fn world(random: &mut Random) -> (AddressSpace, Index, TestMemory) {
    let segments = Arc::new(Segments::new(vec![Segment {
        range: AddressRange::sized(START, HEAP),
        kind: SegmentKind::Main,
        arena: Some(0),
    }]));
    let index = Index::new(Arc::clone(&segments), table(Index::words(&segments)));
    let mut chunks = Vec::new();
    let mut granule = 0;
    while granule < segments.granules_of(0).end {
        chunks.push((granule, !random.one_in(6)));
        granule += 2 + random.below(4);
    }
    index.add(chunks.iter().copied());
    index.complete();
    let pages = (HEAP + MODULE + ROOTS) / PAGE;
    let module = START + HEAP;
    let words: Vec<u64> = (0..pages * PAGE / 8)
        .map(|_| match random.below(8) {
            0..3 => START + 16 * chunks[random.below(chunks.len() as u64) as usize].0 + HEADER,
            3 => module + random.below(MODULE / 8) * 8,
            4 => 1,
            5 => random.below(40),
            6 => u64::from(1.0f32.to_bits()),
            _ => 0,
        })
        .collect();
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let name = b"N10__cxxabiv120__si_class_type_infoE\0";
    bytes[HEAP as usize + 64..][..name.len()].copy_from_slice(name);
    let file = |offset| Backing::File { path: "/lib/some.so".into(), offset, deleted: false };
    let read = Permissions::READ;
    let regions = vec![
        region(START, HEAP, Backing::Heap, read | Permissions::WRITE),
        region(module, PAGE, file(0), read | Permissions::EXECUTE),
        region(module + PAGE, MODULE - PAGE, file(PAGE), read),
        region(module + MODULE, ROOTS, Backing::Unknown, read | Permissions::WRITE),
    ];
    let kinds = (0..pages).map(|_| *random.of(&[Page::Normal, Page::Normal, Page::Normal, Page::Hole])).collect();
    let memory = TestMemory::new(START, bytes, kinds);
    (AddressSpace { layout: Layout::default(), regions }, index, memory)
}

#[test]
fn what_is_found_does_not_depend_on_who_looks() {
    let (mut found, mut glanced) = (0, 0);
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let (space, index, memory) = world(&mut random);
        let memory: Arc<dyn target::ReadMemory> = Arc::new(memory);
        let roots = space.regions[3].range;
        let roots = [ScanRange { range: roots, region: roots, sparse: false }];
        let languages = Languages { libstdcxx: true, rust: true };
        let mut plan = HeapTypes::new(&space, index.segments(), &roots, languages);
        plan.block = 512 + random.below(9000) as u32;
        let view = || {
            let tables = HeapTypes::tables(&index).into_iter().map(table).collect();
            View { memory: Arc::clone(&memory), index: index.clone(), tables }
        };
        let codes = |view: &View| -> Vec<Code> {
            let codes = Codes(view.tables[0].words());
            (0..index.count()).map(|chunk| codes.of(chunk)).collect()
        };
        let pointed = |view: &View| -> Vec<u64> {
            let words = view.tables[1..].iter().flat_map(|table| table.words());
            words.map(|word| word.load(std::sync::atomic::Ordering::Relaxed)).collect()
        };
        let one = view();
        let whole = run(&plan, &mut Serial::new(&plan, &one), &one, Cut::default(), &mut Vec::new());
        let many = Arc::new(view());
        let shared = Arc::new(plan.clone());
        let cut = Cut { block: 16 + random.below(4000), task: 3000, sparse: 3000 };
        for _twice in 0..2 {
            let mut executor = InProcess::new(Arc::clone(&shared), Arc::clone(&many), 3);
            let parts = run(&plan, &mut executor, &many, cut, &mut Vec::new());
            assert_eq!(codes(&many), codes(&one));
            assert_eq!(pointed(&many), pointed(&one));
            assert_eq!((parts.merge, parts.skipped), (whole.merge.clone(), whole.skipped.clone()));
        }
        let types = Types::new(&plan, &whole.merge, &BTreeMap::new(), &one);
        glanced += glance(&plan, &one);
        found += types.totals().iter().map(|total| total.count).sum::<u64>();
        let used = index.lookup().chunks(AddressRange::new(0, u64::MAX)).filter(|chunk| chunk.used).count() as u64;
        assert_eq!(types.totals().iter().chain([&types.unknown()]).map(|total| total.count).sum::<u64>(), used);
    }
    assert!(found > 0, "something looks like something in {found} places");
    assert!(glanced > 0, "and something says so itself");
}

/// Looks at each chunk by itself. What it tells, all that was looked at has told as well; and what begins with a pointer to a vtable, or
/// is a node of a list or a tree, it tells. Returns how many that are.
fn glance(plan: &HeapTypes, whole: &View) -> usize {
    let lookup = whole.index.lookup();
    let used: Vec<Chunk> = lookup.chunks(AddressRange::new(0, u64::MAX)).filter(|chunk| chunk.used).collect();
    let tables = Glance::tables(&whole.index).into_iter().map(table).collect();
    let view = View { tables, ..whole.clone() };
    let few = Glance::new(plan.clone(), used.iter().map(Chunk::address).collect());
    let merge = run(&few, &mut Serial::new(&few, &view), &view, Cut::default(), &mut Vec::new()).merge;
    let names = few.names(&merge, &BTreeMap::new(), &view);
    assert_eq!(names.len(), used.len());
    let [all, own] = [whole, &view].map(|view| Codes(view.tables[0].words()));
    let mut told = 0;
    for chunk in &used {
        let number = lookup.number(chunk.granule);
        let (own, all) = (own.of(number), all.of(number));
        let tells_itself =
            |code| matches!(code, Code::Vtable(_) | Code::Class(_) | Code::Shape(Shape::MapNode | Shape::ListNode));
        if own != Code::Nothing {
            assert!(tells_itself(own) && (own == all || !tells_itself(all)), "{own:?} and {all:?}");
            told += 1;
        }
        assert!(own == all || !tells_itself(all), "{own:?} and {all:?}");
    }
    told
}
