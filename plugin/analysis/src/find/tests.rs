//! `find` as a whole against its naive twin, which has all of a run before it at once.

use super::*;
use crate::testing::{Chaos, PAGE, Page, Random, TestMemory};
use crate::{Cut, Executor, InProcess, Outcome, Serial, run};
use proptest::prelude::*;
use regex_automata::{Anchored, Input};
use std::sync::Arc;
use target::{AddressRange, ByteOrder};

/// What `find` should find, and count.
fn naive(find: &Find, memory: &TestMemory) -> Vec<Found> {
    let mut matches = Vec::new();
    for (index, pattern) in find.patterns.iter().enumerate() {
        // Matches of a regex do not overlap, also where two ranges lie in one region.
        let mut position = 0;
        for scan in &find.ranges {
            for run in memory.runs(find.swapped) {
                naive_pattern(find, (pattern, index as u16), scan.range, run, &mut position, &mut matches);
            }
        }
    }
    matches.sort();
    matches
}

fn naive_pattern(
    find: &Find,
    (pattern, index): (&Pattern, u16),
    range: AddressRange,
    (start, bytes): (u64, &[u8]),
    position: &mut u64,
    matches: &mut Vec<Found>,
) {
    let align = find.align.unwrap_or_else(|| pattern.default_align(find.layout));
    let mut regex = match pattern {
        Pattern::Regex(regex) => {
            let hir = regex::parse(regex, find.ignore_case).expect("a regex that parses");
            let regex = regex::compile(&hir, 1).expect("a regex that compiles");
            let cache = regex.create_cache();
            Some((regex, cache))
        }
        _ => None,
    };
    for at in 0..bytes.len() {
        let address = start + at as u64;
        if !range.contains(address) || !address.is_multiple_of(align) || address < *position {
            continue;
        }
        let rest = &bytes[at..];
        let length = match (pattern, &mut regex) {
            (Pattern::Regex(_), Some((regex, cache))) => {
                let end = bytes.len().min(at + find.max_length as usize);
                let input = Input::new(bytes).span(at..end).anchored(Anchored::Yes);
                regex.search_with(cache, &input).map(|found| found.len())
            }
            (Pattern::PointerRange { start, end }, _) => {
                let size = usize::from(find.layout.pointer_size);
                rest.get(..size).filter(|p| (*start..*end).contains(&find.layout.number(p))).map(|_| size)
            }
            _ => naive_bytes(find, pattern, rest),
        };
        let Some(length) = length else { continue };
        if regex.is_some() {
            *position = address + length as u64;
        }
        matches.push(Found { address, length: length as u32, pattern: index, cut: false });
    }
}

fn naive_bytes(find: &Find, pattern: &Pattern, rest: &[u8]) -> Option<usize> {
    let layout = find.layout;
    let number = |value: u64, size: u8| layout.bytes(value, usize::from(size));
    let (value, mask) = match pattern {
        Pattern::String(text) => (text.clone(), None),
        Pattern::Utf16(text) => (text.encode_utf16().flat_map(|unit| number(unit.into(), 2)).collect(), None),
        Pattern::Bytes { value, mask } => (value.clone(), Some(mask.clone())),
        Pattern::Int { value, size } => (number(*value as u64, *size), None),
        Pattern::Float { value, size: 4 } => (number((*value as f32).to_bits().into(), 4), None),
        Pattern::Float { value, .. } => (number(value.to_bits(), 8), None),
        Pattern::Pointer(address) => (number(*address, layout.pointer_size), None),
        Pattern::Regex(_) | Pattern::PointerRange { .. } => return None,
    };
    let rest = rest.get(..value.len())?;
    let text = matches!(pattern, Pattern::String(_) | Pattern::Utf16(_));
    let same = rest.iter().zip(&value).enumerate().all(|(at, (byte, value))| match &mask {
        Some(mask) => byte & mask[at] == value & mask[at],
        None if text && find.ignore_case => byte.eq_ignore_ascii_case(value),
        None => byte == value,
    });
    same.then_some(value.len())
}

const REGEXES: &[&str] = &[
    "a+b",
    "(?s)a.{3,40}b",
    "ab|abab",
    "^a[ab]",
    "ba$",
    r"\ba+",
    r"[ab]+\b",
    r"(?m)^ab",
    r"(?m)a$",
    r"\x00{3}",
    r"[^c]{5,20}c?",
    "(?s)a.*b",
    "(?s)a.*?c",
    "aa",
    "(?s).{7}",
    r"\x00+a",
    r"a(?s:.*)\xff|ab",
    r"(?s)b.*\x00a|ba",
    r"\Bb[^b]+",
    r"(?-u:\xff)+",
    r"(?u:\wé)|c+",
    "(?i)AB",
    r"(?s)[a-c].{450}[a-c]",
    r"\x00{400}",
];

fn pattern(random: &mut Random, memory: &TestMemory) -> Pattern {
    // Mostly what is there, so that something is found.
    let most = if random.one_in(4) { 40 } else { 5 };
    let length = 1 + random.below(most) as usize;
    let at = random.below((memory.bytes.len() - length) as u64) as usize;
    let there = memory.bytes[at..at + length].to_vec();
    let number = |random: &mut Random, size: usize| -> u64 {
        let at = random.below((memory.bytes.len() - size) as u64) as usize & !7;
        target::Layout::default().number(&memory.bytes[at..at + size])
    };
    match random.below(10) {
        0..=2 => Pattern::String(there),
        3 => Pattern::Utf16("ab".to_owned()),
        4 | 5 => {
            let mut mask: Vec<u8> = there.iter().map(|_| *random.of(&[0xff, 0xff, 0xff, 0xf0, 0x0f, 0])).collect();
            if mask.iter().all(|bits| *bits == 0) {
                mask[0] = 0xf0;
            }
            Pattern::Bytes { value: there, mask }
        }
        6 => Pattern::Int { value: number(random, 4).into(), size: 4 },
        7 => Pattern::Float { value: if random.one_in(2) { 0.0 } else { -0.0 }, size: 8 },
        8 => Pattern::Pointer(number(random, 8)),
        _ => {
            let start = number(random, 8);
            Pattern::PointerRange { start, end: start.saturating_add(1 + random.below(1 << 20)) }
        }
    }
}

fn memory(random: &mut Random) -> TestMemory {
    let pages = 1 + random.below(6).min(4) as usize;
    let odd = random.below(4);
    let kinds: Vec<Page> = (0..pages)
        .map(|_| match (odd, random.below(5)) {
            (1 | 2, 0) => Page::Hole,
            (2 | 3, 1 | 2) => Page::Empty,
            (3, 3) => Page::Swapped,
            _ => Page::Normal,
        })
        .collect();
    // Few different bytes, in runs and at random, and words of some length that come again.
    let mut bytes = Vec::with_capacity(pages * PAGE as usize);
    let word: Vec<u8> = (0..40).map(|_| *random.of(b"abc\0\xff\n ")).collect();
    while bytes.len() < pages * PAGE as usize {
        match random.below(6) {
            0 => bytes.extend(std::iter::repeat_n(*random.of(b"a\0b"), random.below(600) as usize)),
            1 => bytes.extend(&word),
            2 => bytes.extend("aébA".bytes()),
            3 => bytes.extend((random.next() & 0x000f_fff0).to_le_bytes()),
            _ => bytes.extend((0..random.below(90)).map(|_| *random.of(b"abcA\0\xff\n "))),
        }
    }
    bytes.truncate(pages * PAGE as usize);
    let mut memory = TestMemory::new(0x7000_0000, bytes, kinds);
    if random.one_in(3) && !memory.sparse() {
        memory.cuts = Some((0..random.below(4)).map(|_| random.below(memory.bytes.len() as u64) as usize).collect());
    }
    memory
}

fn plan(random: &mut Random, memory: &TestMemory) -> Find {
    let region = memory.region();
    let mut ranges = vec![memory.scan(region)];
    if random.one_in(3) {
        let start = region.start + random.below(region.len());
        let end = start + random.below(region.end - start) + 1;
        ranges = vec![memory.scan(AddressRange::new(start, end))];
        if end < region.end && random.one_in(2) {
            let start = end + random.below(region.end - end);
            ranges.push(memory.scan(AddressRange::new(start, region.end)));
        }
    }
    let mut patterns: Vec<Pattern> = Vec::new();
    let kinds = random.below(3);
    if kinds != 1 {
        patterns.extend((0..=random.below(5)).map(|_| pattern(random, memory)));
    }
    if kinds != 0 {
        patterns.extend((0..=random.below(2)).map(|_| Pattern::Regex((*random.of(REGEXES)).to_owned())));
    }
    let align = *random.of(&[None, None, None, Some(1), Some(2), Some(3), Some(4), Some(8), Some(16)]);
    let mut layout = Layout::default();
    if random.one_in(4) {
        layout.byte_order = ByteOrder::Big;
    }
    if random.one_in(4) {
        layout.pointer_size = 4;
        let small = |pattern: &Pattern| pattern.check(layout).is_ok();
        patterns.retain(small);
        patterns.push(Pattern::String(b"ab".to_vec()));
    }
    let max_length = *random.of(&[1, 2, 7, 64, 64, 300, 300, 500]);
    // Windows of a few bytes that show thousands take too long.
    let blocks: &[u32] =
        if max_length > 64 { &[200, 777, 4096, 10_000, 1 << 19] } else { &[1, 3, 64, 100, 1000, 4096, 1 << 19] };
    Find {
        ranges,
        patterns,
        layout,
        ignore_case: random.one_in(4),
        align,
        limit: u64::MAX,
        max_length,
        swapped: !random.one_in(2),
        block: *random.of(blocks),
        ..Find::default()
    }
}

fn cut(random: &mut Random) -> Cut {
    let block = *random.of(&[50, 256, 1000, 4096]);
    let tasks = block * (1 + random.below(8));
    Cut { block, task: tasks, sparse: tasks * (1 + random.below(3)) }
}

fn with<E: Executor<Find>>(
    find: &Find,
    mut executor: E,
    memory: &TestMemory,
    cut: Cut,
) -> (Vec<Found>, Outcome<FindMerge>) {
    let mut matches = Vec::new();
    let outcome = run(find, &mut executor, memory, cut, &mut matches);
    (matches, outcome)
}

/// Where two lists first differ.
fn difference(found: &[Found], expected: &[Found]) -> Option<String> {
    if found == expected {
        return None;
    }
    let at = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    Some(format!("{} for {}, at {at}: {:?} for {:?}", found.len(), expected.len(), found.get(at), expected.get(at)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_what_the_naive_twin_finds(seed: u64) {
        let mut random = Random::new(seed);
        let mut memory = memory(&mut random);
        let mut find = plan(&mut random, &memory);
        memory.may_swap = find.swapped;
        prop_assert_eq!(find.check(), Ok(()));
        let expected = naive(&find, &memory);
        let cut = cut(&mut random);

        let (matches, serial) = with(&find, Serial::new(&find, &memory as &dyn ReadMemory), &memory, cut);
        prop_assert_eq!(difference(&matches, &expected), None, "serial {:?}", find);
        prop_assert_eq!(serial.merge.total(), expected.len() as u64);
        let holes: u64 = serial.skipped.iter().map(|skip| skip.range.len()).sum();
        prop_assert_eq!(serial.stats.bytes_skipped, holes);
        let total: u64 = find.ranges.iter().map(|scan| scan.range.len()).sum();
        prop_assert_eq!(serial.stats.bytes_scanned + serial.stats.bytes_skipped, total);

        let mut chaos = Chaos::new(&find, &memory, random.clone());
        chaos.losses = 5;
        let (matches, outcome) = with(&find, chaos, &memory, Cut { task: cut.task * 2, ..cut });
        // Blocks that were lost three times by chance are skipped; what begins there is not found.
        let died = |skip: &&crate::Skip| skip.reason.contains("worker");
        let lost = |address: u64| outcome.skipped.iter().filter(died).any(|skip| skip.range.contains(address));
        if !outcome.skipped.iter().any(|skip| died(&skip)) {
            prop_assert_eq!(difference(&matches, &expected), None, "chaos {:?}", find);
            prop_assert_eq!(&outcome.skipped, &serial.skipped);
        } else if !find.patterns.iter().any(|pattern| matches!(pattern, Pattern::Regex(_))) {
            let left: Vec<Found> = expected.iter().copied().filter(|found| !lost(found.address)).collect();
            prop_assert_eq!(difference(&matches, &left), None, "losses {:?}", find);
        }

        let mut chaos = Chaos::new(&find, &memory, random.clone());
        chaos.carried = Some(1 + random.below(3 * cut.task));
        let (matches, outcome) = with(&find, chaos, &memory, cut);
        prop_assert_eq!(difference(&matches, &expected), None, "carried {:?}", find);
        prop_assert_eq!(&outcome.skipped, &serial.skipped);
        prop_assert_eq!(outcome.stats.bytes_scanned, serial.stats.bytes_scanned);

        find.count = true;
        let mut chaos = Chaos::new(&find, &memory, random.clone());
        chaos.width = 7;
        let (matches, outcome) = with(&find, chaos, &memory, cut);
        prop_assert!(matches.is_empty());
        let counts: Vec<u64> = (0..find.patterns.len())
            .map(|index| expected.iter().filter(|found| usize::from(found.pattern) == index).count() as u64)
            .collect();
        prop_assert_eq!(outcome.merge.counts(), &counts[..], "{:?} {:?}", find, outcome.skipped);

        find.count = false;
        find.limit = 1 + random.below(40);
        let chaos = Chaos::new(&find, &memory, random.clone());
        let (matches, outcome) = with(&find, chaos, &memory, cut);
        let first = &expected[..expected.len().min(find.limit as usize)];
        prop_assert_eq!(difference(&matches, first), None, "limit {:?}", find);
        let reached = expected.len() as u64 >= find.limit;
        prop_assert_eq!(outcome.stopped, reached.then_some(Stop::Limit));

        prop_assert_eq!(memory.touched.into_inner(), 0, "pages that hold nothing were read");
    }

    #[test]
    fn threads_find_the_same(seed: u64) {
        let mut random = Random::new(seed);
        let memory = Arc::new(memory(&mut random));
        let find = Arc::new(plan(&mut random, &memory));
        let expected = naive(&find, &memory);
        let cut = cut(&mut random);
        let threads = *random.of(&[1, 2, 7]);
        let executor = InProcess::new(Arc::clone(&find), Arc::clone(&memory) as Arc<dyn ReadMemory>, threads);
        let (matches, _) = with(&find, executor, &memory, cut);
        prop_assert_eq!(difference(&matches, &expected), None, "{:?}", find);
    }
}

#[test]
fn refuses_what_cannot_be_run() {
    let error = |find: Find| find.check().map_err(|error| error.to_string());
    let one = || vec![Pattern::String(b"a".to_vec())];
    let regexes = |regex: &str, count| vec![Pattern::Regex(regex.to_owned()); count];
    assert_eq!(error(Find::default()), Err("pattern is empty".to_owned()));
    assert_eq!(error(Find { patterns: one(), ..Find::default() }), Ok(()));
    let align = Find { patterns: one(), align: Some(0), ..Find::default() };
    assert_eq!(error(align), Err("--align is 0: give at least 1".to_owned()));
    let length = Find { patterns: one(), max_length: 0, ..Find::default() };
    assert_eq!(error(length), Err("--max-length is 0: give 1 to 1048576".to_owned()));
    let many = Find { patterns: vec![Pattern::String(b"a".to_vec()); 1025], ..Find::default() };
    assert_eq!(error(many), Err("1025 patterns are too many: give at most 1024".to_owned()));
    let many = Find { patterns: regexes("a+", 33), ..Find::default() };
    assert_eq!(error(many), Err("33 regexes are too many: give at most 32, or join them with |".to_owned()));
    let large = Find { patterns: regexes("[ab]{30000}c", 30), ..Find::default() };
    let reason = "the regexes are too large together: compiled, they would take more than 16 MiB";
    assert_eq!(error(large), Err(reason.to_owned()));
    let backwards = Find { patterns: vec![Pattern::PointerRange { start: 2, end: 1 }], ..Find::default() };
    assert_eq!(error(backwards), Err("range 0x2..0x1 is empty or backwards".to_owned()));
}
