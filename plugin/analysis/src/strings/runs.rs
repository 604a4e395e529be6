//! Runs of ones in masks of 64 bits.

use std::ops::ControlFlow;

/// Packs 64 flags, each 0 or 1, into bits, the first the lowest.
pub(super) fn pack(flags: &[u8; 64]) -> u64 {
    let (words, _) = flags.as_chunks::<8>();
    let mut bits = 0;
    for (index, word) in words.iter().enumerate() {
        // Each product moves one of the eight flags into the highest byte; none meets another.
        let byte = u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits |= byte << (8 * index);
    }
    bits
}

/// Finds the runs of at least `min` elements that begin before `to`, of `length` in all; `mask` tells which of the 64
/// from an index on are elements of a run, and shows zeros beyond `length`. A run ends at `length` at the latest. `found`
/// is given the start and the end of each, and may end the search.
pub(super) fn runs<B>(
    length: usize,
    to: usize,
    min: usize,
    mask: impl Fn(usize) -> u64,
    mut found: impl FnMut(usize, usize) -> ControlFlow<B>,
) -> ControlFlow<B> {
    // A longer minimum is checked when the end is known.
    let short = min.clamp(1, 64);
    let mask = |at: usize| if at < length { mask(at) } else { 0 };
    // The masks at `at`, a multiple of 64, and after it; and how many elements at `at` are done with.
    let (mut at, mut low, mut done) = (0, mask(0), 0);
    while at < to {
        let high = mask(at + 64);
        let bits = u128::from(low) | u128::from(high) << 64;
        let after = loop {
            let bits = bits & u128::MAX << done;
            // Each bit left begins `short` ones.
            let mut begins = bits;
            let mut ones = 1;
            while ones < short {
                let step = ones.min(short - ones);
                begins &= begins >> step;
                ones += step;
            }
            let begins = begins as u64;
            if begins == 0 {
                break at + 64;
            }
            let offset = begins.trailing_zeros() as usize;
            let start = at + offset;
            if start >= to {
                return ControlFlow::Continue(());
            }
            let mut end = start + (bits >> offset).trailing_ones() as usize;
            if end == at + 128 {
                loop {
                    let ones = mask(end).trailing_ones() as usize;
                    end += ones;
                    if ones < 64 {
                        break;
                    }
                }
            }
            if end - start >= min {
                found(start, end)?;
            }
            // The element at `end` is not part of a run.
            if end >= at + 63 {
                break end + 1;
            }
            done = end + 1 - at;
        };
        let next = after - after % 64;
        (low, done) = (if next == at + 64 { high } else { mask(next) }, after - next);
        at = next;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn packs_in_order() {
        let mut random = Random::new(1);
        for _ in 0..100 {
            let bits = random.next();
            let flags = std::array::from_fn(|at| (bits >> at & 1) as u8);
            assert_eq!(pack(&flags), bits);
        }
    }

    #[test]
    fn finds_the_runs_that_a_loop_finds() {
        let mut random = Random::new(2);
        for _ in 0..2000 {
            let length = random.below(400) as usize;
            let dense = random.below(30) + 1;
            let ones: Vec<bool> = (0..length).map(|_| !random.one_in(dense)).collect();
            let min = 1 + random.below(90) as usize;
            let to = random.below(length as u64 + 1) as usize;
            let mut naive = Vec::new();
            let mut at = 0;
            while at < length {
                let end = at + ones[at..].iter().take_while(|one| **one).count();
                if end - at >= min && at < to {
                    naive.push((at, end));
                }
                at = end + 1;
            }
            let mask =
                |from: usize| (0..64).fold(0, |bits, at| bits | u64::from(ones.get(from + at) == Some(&true)) << at);
            let mut found = Vec::new();
            let end = runs::<()>(length, to, min, mask, |start, end| {
                found.push((start, end));
                ControlFlow::Continue(())
            });
            assert_eq!((found, end), (naive, ControlFlow::Continue(())));
        }
    }
}
