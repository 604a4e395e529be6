use super::blocks::{PAGE, Walk, Walked};
use super::*;
use std::ops::ControlFlow;
use target::{AddressRange, Fault, FaultReason, Populated, ReadMemory};

const START: u64 = 0x1_0000;

/// Memory that ends in the middle of a page, as a core file's segment may, and goes on two pages later.
struct Ragged;

impl ReadMemory for Ragged {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let at = address - START;
        let end = if at < 5000 { 5000 } else { 4 * PAGE };
        if (5000..3 * PAGE).contains(&at) || at >= end {
            return Err(Fault { address, reason: FaultReason::NotInCore });
        }
        let count = buffer.len().min((end - at) as usize);
        buffer[..count].iter_mut().zip(address..).for_each(|(byte, address)| *byte = address as u8);
        Ok(count)
    }
}

/// What a walk shows of each place, and what it ends with.
fn walk(range: (u64, u64), block: usize, stop: &dyn Fn() -> bool) -> (Vec<(u64, u64, u64, bool)>, Walked) {
    let region = AddressRange::sized(START, 4 * PAGE);
    let range = AddressRange::new(START + range.0, START + range.1);
    let (sparse, swapped, zeros) = (false, true, false);
    let (before, reach, zero_reach) = (3, 10, 10);
    let walk = Walk { memory: &Ragged, range, region, sparse, swapped, before, reach, zero_reach, zeros, block, stop };
    let mut seen = Vec::new();
    let walked = walk.run(&mut Buffer::default(), |window| {
        assert!(window.data.iter().zip(window.base..).all(|(byte, address)| *byte == address as u8));
        for index in window.starts.clone() {
            let (first, last) = (window.base, window.address(window.data.len()));
            seen.push((window.address(index) - START, first - START, last - START, window.closes));
        }
        ControlFlow::Continue(())
    });
    (seen, walked)
}

#[test]
fn shows_each_place_once_with_what_is_around_it() {
    for block in [1, 7, 100, 4096, 1 << 19] {
        for range in [(0, 4 * PAGE), (4990, 3 * PAGE + 5), (4999, 5001), (5000, 3 * PAGE), (1, 2)] {
            let (seen, walked) = walk(range, block, &|| false);
            let readable = |at: &u64| *at < 5000 || *at >= 3 * PAGE;
            let expected: Vec<u64> = (range.0..range.1).filter(readable).collect();
            assert_eq!(seen.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), expected);
            for (at, first, last, closes) in seen {
                let run = if at < 5000 { (0, 5000) } else { (3 * PAGE, 4 * PAGE) };
                assert!(first <= at.saturating_sub(3).max(run.0) && first >= run.0);
                // Whether the run ends there need not be known if enough can be seen.
                assert!(if closes { last == run.1 } else { at + 10 <= last && last <= run.1 });
            }
            let hole = AddressRange::new(START + 5000, START + 3 * PAGE);
            let hole = hole.intersect(AddressRange::new(START + range.0, START + range.1));
            let skipped: Vec<AddressRange> = walked.skipped.iter().map(|skip| skip.range).collect();
            assert_eq!(skipped, hole.into_iter().collect::<Vec<_>>());
            assert_eq!((walked.rest, walked.gone), (None, false));
        }
    }
}

#[test]
fn stops_between_blocks() {
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() == 4
    };
    let (seen, walked) = walk((0, 4 * PAGE), 256, &stop);
    let rest = walked.rest.map(|rest| rest - START);
    assert_eq!(rest, Some(seen.len() as u64));
    assert!((256..1024).contains(&seen.len()));
}

/// Memory of which every second page holds something.
struct Striped;

impl ReadMemory for Striped {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        assert!((address / PAGE).is_multiple_of(2), "a page that holds nothing is read");
        let length = buffer.len().min((PAGE - address % PAGE) as usize);
        buffer[..length].fill(1);
        Ok(length)
    }

    fn populated(&self, range: AddressRange, _: bool) -> Populated {
        let pages = (range.start / PAGE..range.end.div_ceil(PAGE)).filter(|page| page.is_multiple_of(2));
        let runs = pages.filter_map(|page| AddressRange::sized(page * PAGE, PAGE).intersect(range));
        Populated { runs: runs.collect(), skipped: Vec::new() }
    }
}

#[test]
fn a_long_sparse_range_is_read_in_parts_that_make_up_the_whole() {
    let whole = AddressRange::sized(START, 1000 * PAGE);
    let mut left = whole;
    let (mut parts, mut nonzero) = (0, 0);
    loop {
        let walk = Walk {
            memory: &Striped,
            range: left,
            region: whole,
            sparse: true,
            swapped: true,
            before: 4,
            reach: 16,
            zero_reach: 16,
            zeros: false,
            block: PAGE as usize,
            stop: &|| false,
        };
        let mut read = 0;
        let walked = walk.run(&mut Buffer::default(), |window| {
            read += window.data[window.starts.clone()].iter().filter(|byte| **byte == 1).count() as u64;
            ControlFlow::Continue(())
        });
        assert!(read <= 64 * PAGE, "{read}");
        parts += 1;
        nonzero += read;
        let Some(rest) = walked.rest else { break };
        assert!(left.start < rest && rest < left.end);
        left.start = rest;
    }
    assert_eq!((parts, nonzero), (8, 500 * PAGE));
}
