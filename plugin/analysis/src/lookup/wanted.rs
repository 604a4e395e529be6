//! The addresses that are looked up in one module, or in one of its units.

use std::ops::{Deref, Range};

/// Addresses in ascending order, none of them twice.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    addresses: Vec<u64>,
    /// Which of the module's addresses each of them is.
    numbers: Vec<u32>,
}

impl Wanted {
    /// Those of `all`, the module's, that lie in any of `ranges`; without ranges all of them.
    pub fn within(all: &Spans<impl Deref<Target = [u64]>>, ranges: Option<&[Range<u64>]>) -> Self {
        let (spans, all) = (all, &*all.addresses);
        let mut numbers: Vec<u32> = Vec::new();
        match ranges {
            None => numbers.extend(0..all.len() as u32),
            Some(ranges) => {
                for range in ranges {
                    let (first, last) = spans.span(range);
                    numbers.extend(first as u32..last as u32);
                    // Ranges that lie over one another come from damage.
                    if numbers.len() > 2 * all.len() {
                        numbers.sort_unstable();
                        numbers.dedup();
                    }
                }
                numbers.sort_unstable();
                numbers.dedup();
            }
        }
        let addresses = numbers.iter().map(|number| all[*number as usize]).collect();
        Self { addresses, numbers }
    }

    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    pub fn addresses(&self) -> &[u64] {
        &self.addresses
    }

    /// The module's number of the address at `position`.
    pub fn number(&self, position: usize) -> u32 {
        self.numbers[position]
    }

    /// The positions, among those `within`, of addresses in `range`.
    pub fn positions(&self, range: &Range<u64>, within: &Range<usize>) -> Range<usize> {
        let (first, last) = span(&self.addresses[within.clone()], range);
        within.start + first..within.start + last
    }
}

/// Finds those of very many addresses that lie in one of very many ranges.
#[derive(Clone, Debug)]
pub struct Spans<A> {
    /// In ascending order.
    addresses: A,
    /// What is left of an address, behind the first one, without so many bits is its bucket.
    shift: u32,
    /// Where each bucket begins, and where the last one ends.
    buckets: Vec<u32>,
}

impl<A: Deref<Target = [u64]>> Spans<A> {
    /// Of addresses in ascending order.
    pub fn new(addresses: A) -> Self {
        let reach = addresses.last().map_or(0, |last| last - addresses[0]);
        // About as many buckets as addresses.
        let bits = u64::BITS - reach.leading_zeros();
        let shift = bits.saturating_sub(addresses.len().max(1).ilog2());
        let mut buckets = vec![0; (reach >> shift) as usize + 2];
        let mut next = 0;
        for (number, address) in (0..).zip(&*addresses) {
            let bucket = ((address - addresses[0]) >> shift) as usize;
            while next <= bucket {
                buckets[next] = number;
                next += 1;
            }
        }
        buckets[next..].fill(addresses.len() as u32);
        Self { addresses, shift, buckets }
    }

    /// Where those that lie in `range` begin and end.
    pub fn span(&self, range: &Range<u64>) -> (usize, usize) {
        let Some(distance) = self.addresses.first().and_then(|first| range.start.checked_sub(*first)) else {
            return span(&self.addresses, range);
        };
        let bucket = (distance >> self.shift) as usize;
        let [start, end] = match self.buckets.get(bucket..).and_then(|buckets| buckets.first_chunk()) {
            Some(edges) => edges.map(|edge| edge as usize),
            None => [self.addresses.len(); 2],
        };
        let first = start + self.addresses[start..end].partition_point(|address| *address < range.start);
        (first, behind(&self.addresses, first, range.end))
    }
}

/// Where those of `addresses` that lie in `range` begin and end.
pub fn span(addresses: &[u64], range: &Range<u64>) -> (usize, usize) {
    let first = addresses.partition_point(|address| *address < range.start);
    (first, behind(addresses, first, range.end))
}

/// The first of `addresses` from `first` on that is not below `end`.
fn behind(addresses: &[u64], first: usize, end: u64) -> usize {
    // Most ranges have none or a few: it is looked for near the beginning first.
    let (mut last, mut step) = (first, 1);
    while addresses.get(last + step - 1).is_some_and(|address| *address < end) {
        last += step;
        step *= 2;
    }
    let near = &addresses[last..addresses.len().min(last + step - 1)];
    last + near.partition_point(|address| *address < end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_span_has_all_addresses_of_its_range_and_no_others(
            mut addresses in proptest::collection::vec(0u64..200, 0..60),
            (start, end) in (0u64..220, 0u64..220),
        ) {
            addresses.sort_unstable();
            addresses.dedup();
            let (first, last) = span(&addresses, &(start..end));
            let expected: Vec<u64> = addresses.iter().copied().filter(|address| (start..end).contains(address)).collect();
            prop_assert_eq!(&addresses[first..last], expected);
            prop_assert_eq!(Spans::new(&*addresses).span(&(start..end)), (first, last));
        }

        #[test]
        fn spans_of_addresses_far_apart_are_the_same(
            mut addresses in proptest::collection::vec(prop_oneof![any::<u64>(), 0u64..9, Just(u64::MAX)], 0..60),
            start in prop_oneof![any::<u64>(), 0u64..9],
            size in prop_oneof![any::<u64>(), 0u64..9],
        ) {
            addresses.sort_unstable();
            addresses.dedup();
            let range = start..start.saturating_add(size);
            prop_assert_eq!(Spans::new(&*addresses).span(&range), span(&addresses, &range));
        }
    }
}
