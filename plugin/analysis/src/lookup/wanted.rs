//! The addresses that are looked up in one module, or in one of its units.

use std::ops::Range;

/// Addresses in ascending order, none of them twice.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    addresses: Vec<u64>,
    /// Which of the module's addresses each of them is.
    numbers: Vec<u32>,
}

impl Wanted {
    /// Those of `all`, the module's, that lie in any of `ranges`; without ranges all of them.
    pub fn within(all: &[u64], ranges: Option<&[Range<u64>]>) -> Self {
        let mut numbers: Vec<u32> = Vec::new();
        match ranges {
            None => numbers.extend(0..all.len() as u32),
            Some(ranges) => {
                for range in ranges {
                    let (first, last) = span(all, range);
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

    /// The positions of those in `range`.
    pub fn positions(&self, range: &Range<u64>) -> Range<usize> {
        let (first, last) = span(&self.addresses, range);
        first..last
    }
}

/// Where those of `addresses` that lie in `range` begin and end.
pub fn span(addresses: &[u64], range: &Range<u64>) -> (usize, usize) {
    let first = addresses.partition_point(|address| *address < range.start);
    // Most ranges have none or a few: the end is looked for near the beginning first.
    let (mut last, mut step) = (first, 1);
    while addresses.get(last + step - 1).is_some_and(|address| *address < range.end) {
        last += step;
        step *= 2;
    }
    let near = &addresses[last..addresses.len().min(last + step - 1)];
    (first, last + near.partition_point(|address| *address < range.end))
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
        }
    }
}
