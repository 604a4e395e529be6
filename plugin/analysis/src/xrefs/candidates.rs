//! Which bytes of code may be an address that is looked for: a filter at the speed of memory.

use target::AddressRange;

/// Bytes of an immediate operand that may follow a displacement: the address that the displacement counts from is after them.
const TRAIL: u32 = 4;

/// The width of a displacement, in bytes.
const FIELD: usize = 4;

/// Places are looked at in blocks of this many.
const BLOCK: usize = 256;

/// More ranges than this are widened into fewer.
const MOST: usize = 6;

/// A search for the places where four bytes, as they stand or counted from the instruction's end, are in one of some
/// ranges; all arithmetic is of 32 bits, so that other places are found, too.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// Start and length.
    relative: Vec<(u32, u32)>,
    absolute: Vec<(u32, u32)>,
}

impl Filter {
    /// For addresses in `ranges`, which are in ascending order, do not meet and are not empty. `absolute`: whether they may
    /// stand in code as they are.
    pub(crate) fn new(ranges: &[AddressRange], absolute: bool) -> Self {
        let ranges = widened(ranges);
        let length = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        let as_they_are = ranges.iter().map(|range| (range.start as u32, length(range.len())));
        let counted = ranges.iter().map(|range| {
            ((range.start as u32).wrapping_sub(TRAIL), length(range.len().saturating_add(u64::from(TRAIL))))
        });
        Self { absolute: if absolute { as_they_are.collect() } else { Vec::new() }, relative: counted.collect() }
    }

    /// And for fields that are one of so many numbers from a first one on, as they stand.
    pub(crate) fn with(mut self, fields: impl Iterator<Item = (u32, u64)>) -> Self {
        self.absolute.extend(fields.map(|(first, count)| (first, u32::try_from(count).unwrap_or(u32::MAX))));
        self
    }

    /// Calls `found` with the offset of each such place in `bytes`, which are at `address`, in ascending order.
    pub(crate) fn find(&self, bytes: &[u8], address: u64, mut found: impl FnMut(usize)) {
        let end = bytes.len().saturating_sub(FIELD - 1);
        let mut at = 0;
        while at < end {
            let block = bytes.get(at..at + BLOCK + FIELD - 1).and_then(|block| block.try_into().ok());
            let first = (address as u32).wrapping_add(at as u32).wrapping_add(FIELD as u32);
            let next = end.min(at + BLOCK);
            if block.is_none_or(|block| self.may_hold(block, first)) {
                for place in at..next {
                    let field = &bytes[place..place + FIELD];
                    let value = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
                    let counted = value.wrapping_add(first).wrapping_add((place - at) as u32);
                    let within = |value: u32| move |(start, length): &(u32, u32)| value.wrapping_sub(*start) < *length;
                    if self.relative.iter().any(within(counted)) || self.absolute.iter().any(within(value)) {
                        found(place);
                    }
                }
            }
            at = next;
        }
    }

    /// Whether there is any in a block, of which the first place counts from `first`.
    fn may_hold(&self, block: &[u8; BLOCK + FIELD - 1], first: u32) -> bool {
        let relative = self.relative.iter().any(|(start, length)| any::<1>(block, first.wrapping_sub(*start), *length));
        relative || self.absolute.iter().any(|(start, length)| any::<0>(block, start.wrapping_neg(), *length))
    }
}

/// Whether at any place of a block the number there, plus `add` and `STEP` times the place's offset, is below `length`.
///
/// The comparison is of signed numbers with their highest bits inverted, since SSE2 has no other.
fn any<const STEP: u32>(block: &[u8; BLOCK + FIELD - 1], add: u32, length: u32) -> bool {
    const SIGN: u32 = 1 << 31;
    let limit = (length ^ SIGN) as i32;
    let mut hit = 0_u32;
    for phase in 0..FIELD {
        let mut add = add.wrapping_add(SIGN).wrapping_add(STEP * phase as u32);
        for field in block[phase..phase + BLOCK].as_chunks::<FIELD>().0 {
            let value = u32::from_le_bytes(*field).wrapping_add(add) as i32;
            hit |= u32::from(value < limit);
            add = add.wrapping_add(STEP * FIELD as u32);
        }
    }
    hit != 0
}

/// At most [`MOST`] ranges that cover all of `ranges`: the widest gaps stay.
fn widened(ranges: &[AddressRange]) -> Vec<AddressRange> {
    let mut gaps: Vec<usize> = (1..ranges.len()).collect();
    gaps.sort_by_key(|index| std::cmp::Reverse(ranges[*index].start - ranges[index - 1].end));
    gaps.truncate(MOST - 1);
    let mut wide: Vec<AddressRange> = Vec::new();
    for (index, range) in ranges.iter().enumerate() {
        match wide.last_mut().filter(|_| !gaps.contains(&index)) {
            Some(last) => last.end = range.end,
            None => wide.push(*range),
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    /// The places that a filter has to find.
    fn naive(bytes: &[u8], address: u64, ranges: &[AddressRange], absolute: bool) -> Vec<usize> {
        let fits = |place: &usize| {
            let value = u32::from_le_bytes(bytes[*place..*place + FIELD].try_into().unwrap());
            let end = (address + *place as u64 + FIELD as u64) as u32;
            let within =
                |value: u32| ranges.iter().any(|range| u64::from(value.wrapping_sub(range.start as u32)) < range.len());
            [0, 1, 2, 4].iter().any(|trail| within(value.wrapping_add(end).wrapping_add(*trail)))
                || absolute && within(value)
        };
        (0..bytes.len().saturating_sub(FIELD - 1)).filter(fits).collect()
    }

    #[test]
    fn every_place_that_may_hold_an_address_is_found() {
        let mut random = Random::new(11);
        for round in 0..400 {
            let address = 0x40_1000 + random.below(1 << 33);
            let mut bytes: Vec<u8> = (0..random.below(1500)).map(|_| random.next() as u8).collect();
            let mut ranges: Vec<AddressRange> = (0..1 + random.below(12))
                .map(|_| AddressRange::sized(address + random.below(1 << 20), 1 + random.below(40)))
                .collect();
            ranges.sort_unstable();
            ranges.dedup_by(|next, before| next.start < before.end);
            let absolute = random.one_in(2);
            // Some addresses, in both ways.
            for _ in 0..random.below(8) {
                let Some(last) = bytes.len().checked_sub(FIELD) else { continue };
                let place = random.below(last as u64 + 1) as usize;
                let wanted = random.of(&ranges).start + random.below(4);
                let trail = *random.of(&[0, 0, 1, 2, 4]);
                let relative = wanted.wrapping_sub(address + place as u64 + FIELD as u64 + trail);
                let value = if absolute && random.one_in(2) { wanted } else { relative };
                bytes[place..place + FIELD].copy_from_slice(&(value as u32).to_le_bytes());
            }
            let mut found = Vec::new();
            Filter::new(&ranges, absolute).find(&bytes, address, |place| found.push(place));
            let expected = naive(&bytes, address, &ranges, absolute);
            assert!(expected.iter().all(|place| found.binary_search(place).is_ok()), "round {round}");
            // Few that are none: those between ranges that were joined, and three bytes before one.
            assert!(found.len() <= 2 * expected.len() + bytes.len() / 50, "round {round}: {} places", found.len());
        }
    }

    #[test]
    fn ranges_are_joined_where_they_are_nearest() {
        let range = |start, end| AddressRange { start, end };
        let few: Vec<AddressRange> = (0..MOST as u64).map(|number| range(number * 10, number * 10 + 1)).collect();
        assert_eq!(widened(&few), few);
        let mut many = few.clone();
        many.push(range(1000, 1001));
        many.push(range(1002, 1003));
        let wide = widened(&many);
        assert!(wide.len() <= MOST);
        assert!(many.iter().all(|range| wide.iter().any(|wide| wide.start <= range.start && range.end <= wide.end)));
        assert!(wide.contains(&range(1000, 1003)));
    }
}
