use super::blocks::{PAGE, Walk, Walked};
use super::*;
use std::ops::ControlFlow;
use target::{AddressRange, Fault, FaultReason, ReadMemory};

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
