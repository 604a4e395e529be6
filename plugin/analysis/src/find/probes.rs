//! Looking for a needle of scattered bits: a few of its bytes, masked, are compared at many places at once.

use super::needle::Needle;

/// Places compared at once.
const PLACES: usize = 64;
/// Bytes of the needle compared at each.
const PROBES: usize = 4;
/// These lie within so many bytes of its start.
const SPAN: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    offset: usize,
    bits: u8,
    value: u8,
}

/// The bytes of a needle that say most.
#[derive(Debug)]
pub(super) struct Probes {
    probes: [Probe; PROBES],
    /// The largest of their offsets.
    last: usize,
}

impl Probes {
    pub(super) fn new(needle: &Needle) -> Self {
        let mut all: Vec<(i32, Probe)> = needle
            .value
            .iter()
            .enumerate()
            .take(SPAN)
            .map(|(offset, value)| (needle.rarity(offset), Probe { offset, bits: needle.bits(offset), value: *value }))
            .collect();
        all.sort_by_key(|(rarity, _)| -rarity);
        // Where there are fewer, the best is compared again.
        let probes = std::array::from_fn(|index| all.get(index).unwrap_or(&all[0]).1);
        let last = probes.iter().map(|probe| probe.offset).max().unwrap_or(0);
        Self { probes, last }
    }

    /// The first place at which all of them match. There the needle is likely to begin.
    pub(super) fn find(&self, data: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at + PLACES + self.last <= data.len() {
            let fits = |index: usize| -> [bool; PLACES] {
                let Probe { offset, bits, value } = self.probes[index];
                let mut fits = [false; PLACES];
                for (fits, byte) in fits.iter_mut().zip(&data[at + offset..at + offset + PLACES]) {
                    *fits = byte & bits == value;
                }
                fits
            };
            // Without a branch for each place, so that the compiler can use vectors.
            let all = [fits(0), fits(1), fits(2), fits(3)];
            let both: [bool; PLACES] =
                std::array::from_fn(|place| all[0][place] & all[1][place] & all[2][place] & all[3][place]);
            if both.iter().fold(false, |any, fits| any | fits) {
                return both.iter().position(|fits| *fits).map(|place| at + place);
            }
            at += PLACES;
        }
        let fits = |at: &usize| {
            let fits = |probe: &Probe| data.get(at + probe.offset).is_some_and(|byte| byte & probe.bits == probe.value);
            self.probes.iter().all(fits)
        };
        (at..data.len()).find(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn finds_the_first_place_where_the_needle_is() {
        let mut random = Random::new(3);
        for _ in 0..300 {
            let length = 1 + random.below(12) as usize;
            let value = (0..length).map(|_| random.next() as u8 & 0x33).collect();
            let mask = (0..length).map(|_| *random.of(&[0xff, 0xf0, 0x0f, 0x30, 0])).collect();
            let needle = Needle::masked(value, mask);
            let data: Vec<u8> = (0..random.below(700)).map(|_| random.next() as u8 & 0x33).collect();
            let naive = (0..data.len()).find(|at| needle.is_at(&data[*at..]));
            let probes = Probes::new(&needle);
            let mut at = 0;
            let found = loop {
                match probes.find(&data[at..]) {
                    Some(ahead) if needle.is_at(&data[at + ahead..]) => break Some(at + ahead),
                    Some(ahead) => at += ahead + 1,
                    None => break None,
                }
            };
            assert_eq!(found, naive);
        }
    }
}
