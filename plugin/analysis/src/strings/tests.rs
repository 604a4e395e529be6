//! `strings` against its naive twin.

use super::*;
use crate::testing::{Chaos, PAGE, Page, Random, TestMemory};
use crate::{Cut, Serial, run};
use proptest::prelude::*;

/// The length of the character at the start of `data`, told in the plainest way.
fn character(strings: &Strings, address: u64, data: &[u8]) -> usize {
    match strings.encoding {
        Encoding::Ascii => usize::from(data.first().is_some_and(|byte| matches!(byte, b' '..=b'~' | b'\t'))),
        Encoding::Utf16 => {
            let Some(unit) = data.get(..2).filter(|_| address.is_multiple_of(2)) else { return 0 };
            let char = char::from_u32(strings.layout.number(unit) as u32);
            let printable = char.is_some_and(|char| {
                matches!(char, '\t' | ' '..='~' | '\u{a0}'..='\u{24f}' | 'Ͱ'..='ԯ' | 'א'..='ת' | 'ؠ'..='ي')
                    || matches!(char, 'Ḁ'..='ỿ' | '‐'..='‧' | '‰'..='⁞' | '₠'..='₿' | 'ぁ'..='ヿ')
            });
            if printable { 2 } else { 0 }
        }
        Encoding::Utf8 => {
            let longest = (1..=4).filter_map(|length| Some((length, std::str::from_utf8(data.get(..length)?).ok()?)));
            let Some((length, text)) = longest.into_iter().next() else { return 0 };
            let char = text.chars().next().unwrap_or('\0');
            let printable = matches!(char, '\t' | ' '..='~' | '\u{a0}'..='\u{200a}' | '‐'..='‧')
                || matches!(char, '\u{202f}'..='\u{205f}' | '\u{2070}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}')
                || matches!(char, '\u{fdf0}'..='\u{fefe}' | '\u{ff00}'..='\u{ffef}' | '\u{10000}'..='\u{1fffd}')
                || matches!(char, '\u{20000}'..='\u{2fffd}' | '\u{30000}'..='\u{3fffd}');
            if printable { length } else { 0 }
        }
    }
}

fn naive(strings: &Strings, memory: &TestMemory) -> Vec<Found> {
    let mut matches = Vec::new();
    for (start, bytes) in memory.runs(strings.swapped) {
        let mut at = 0;
        while at < bytes.len() {
            let (begin, mut most, mut characters) = (at, at, 0);
            loop {
                let length = character(strings, start + at as u64, &bytes[at..]);
                at += length;
                if length == 0 {
                    break;
                }
                characters += 1;
                most = if at - begin <= MOST_STRING { at } else { most };
            }
            let address = start + begin as u64;
            let mut text = bytes[begin..most].to_vec();
            if strings.encoding == Encoding::Utf16 {
                let units: Vec<u16> = text.chunks(2).map(|unit| strings.layout.number(unit) as u16).collect();
                text = String::from_utf16_lossy(&units).into_bytes();
            }
            let passes = strings.regex.as_ref().is_none_or(|_| text.windows(2).any(|pair| pair == b"ab"));
            let within = strings.ranges.iter().any(|scan| scan.range.contains(address));
            if characters >= strings.min && passes && within {
                matches.push(Found { address, pattern: 0, length: (most - begin) as u32, cut: at > most });
            }
            at = at.max(begin + 1);
        }
    }
    matches
}

fn memory(random: &mut Random, encoding: Encoding) -> TestMemory {
    let pages = 1 + random.below(5) + if random.one_in(4) { 40 } else { 0 };
    let odd = random.below(3);
    let kinds = (0..pages).map(|_| match (odd, random.below(12)) {
        (1 | 2, 0) => Page::Hole,
        (2, 1..=3) => Page::Empty,
        (2, 4) => Page::Swapped,
        _ => Page::Normal,
    });
    let kinds = kinds.collect();
    let size = (pages * PAGE) as usize;
    let mut bytes: Vec<u8> = Vec::new();
    let texts = ["ab", "\t ~", "é", "日本", "😀", "Ж", "x", "\u{200b}", "\u{e000}", "\u{85}", "\u{fffd}", "\u{5ffff}"];
    while bytes.len() < size {
        let long = random.one_in(60);
        let count = if long { random.below(90_000) } else { random.below(12) };
        let text = *random.of(&texts);
        match random.below(5) {
            0 => bytes.extend((0..count.min(12)).map(|_| random.next() as u8)),
            1 => bytes.extend((0..random.below(4)).map(|_| *random.of(b"\0\x7f\x80\xc3\xe2\xf0\xff"))),
            _ if encoding == Encoding::Utf16 => {
                bytes.extend(text.repeat(count as usize).encode_utf16().flat_map(u16::to_le_bytes));
            }
            _ => bytes.extend(text.repeat(count as usize).bytes()),
        }
    }
    TestMemory::new(0x50_0000, bytes, kinds)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_what_the_naive_twin_finds(seed: u64) {
        let mut random = Random::new(seed);
        let encoding = *random.of(&[Encoding::Ascii, Encoding::Utf8, Encoding::Utf16]);
        let mut memory = memory(&mut random, encoding);
        let region = memory.region();
        let start = region.start + if random.one_in(2) { random.below(region.len()) } else { 0 };
        let end = start + 1 + random.below(region.end - start);
        let range = AddressRange::new(start, if random.one_in(2) { end } else { region.end });
        let mut strings = Strings {
            ranges: vec![memory.scan(range)],
            encoding,
            min: *random.of(&[1, 2, 4, 6, 20, 70]),
            regex: random.one_in(3).then(|| "ab".to_owned()),
            limit: u64::MAX,
            swapped: random.one_in(2),
            block: *random.of(&[500, 4096, 70_000, 1 << 19]),
            ..Strings::default()
        };
        if random.one_in(4) {
            strings.layout.byte_order = ByteOrder::Big;
        }
        memory.may_swap = strings.swapped;
        prop_assert_eq!(strings.check(), Ok(()));
        let expected = naive(&strings, &memory);
        let block = *random.of(&[1000, 4096, 30_001]);
        let task = block * (1 + random.below(8));
        let cut = Cut { block, task, sparse: 2 * task };

        let mut matches = Vec::new();
        let outcome = run(&strings, &mut Serial::new(&strings, &memory as &dyn ReadMemory), &memory, cut, &mut matches);
        prop_assert_eq!(outcome.merge.total, expected.len() as u64);
        let first = matches.iter().zip(&expected).find(|(found, expected)| found != expected);
        prop_assert_eq!(first, None, "serial {:?}", strings);
        prop_assert_eq!(matches.len(), expected.len());

        strings.limit = 1 + random.below(400);
        let mut chaos = Chaos::new(&strings, &memory, random.clone());
        chaos.carried = random.one_in(2).then(|| 1 + random.below(3 * task));
        let mut matches = Vec::new();
        let outcome = run(&strings, &mut chaos, &memory, cut, &mut matches);
        let most = expected.len().min(strings.limit as usize);
        prop_assert!(matches == expected[..most], "chaos {:?}", strings);
        let reached = expected.len() as u64 >= strings.limit;
        prop_assert_eq!(outcome.stopped, reached.then_some(Stop::Limit));
        prop_assert_eq!(memory.touched.into_inner(), 0, "pages that hold nothing were read");
    }
}

#[test]
fn a_string_longer_than_a_result_is_cut_and_its_rest_is_none() {
    for length in [MOST_STRING - 1, MOST_STRING, MOST_STRING + 1, 5 * MOST_STRING] {
        let mut bytes = vec![0; 7];
        bytes.resize(7 + length, b'x');
        bytes.extend(b"\0after it\0");
        let memory = TestMemory::plain(0x1000, bytes);
        let strings = Strings { ranges: vec![memory.scan(memory.region())], block: 10_000, ..Strings::default() };
        let mut matches = Vec::new();
        run(
            &strings,
            &mut Serial::new(&strings, &memory as &dyn ReadMemory),
            &memory,
            Cut { block: 4096, task: 30_000, sparse: 30_000 },
            &mut matches,
        );
        let long =
            Found { address: 0x1007, pattern: 0, length: length.min(MOST_STRING) as u32, cut: length > MOST_STRING };
        let after = Found { address: 0x1008 + length as u64, pattern: 0, length: 8, cut: false };
        assert_eq!(matches, [long, after]);
    }
}

#[test]
fn refuses_what_cannot_be_looked_for() {
    let error = |strings: Strings| strings.check().map_err(|error| error.to_string());
    assert_eq!(error(Strings { min: 0, ..Strings::default() }), Err("--min is 0: give 1 to 4096".to_owned()));
    let regex = Some("[".to_owned());
    assert_eq!(error(Strings { regex, ..Strings::default() }), Err("regex '[': unclosed character class".to_owned()));
    assert_eq!(error(Strings { regex: Some("x*".to_owned()), ..Strings::default() }), Ok(()));
}
