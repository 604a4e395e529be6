//! Bytes of one length that are looked for, some of whose bits may be anything.

/// A needle: a place matches if its bytes, masked, are `value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needle {
    /// Never empty; masked already.
    pub(super) value: Vec<u8>,
    /// The bits that count; `None` if all do.
    pub(super) mask: Option<Vec<u8>>,
}

/// A part of a needle that a fast searcher looks for: any of a few byte strings of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Where in the needle it lies.
    pub(super) offset: usize,
    pub(super) variants: Vec<Vec<u8>>,
}

/// Anchors lie within this many bytes of their needle's start.
const MOST_OFFSET: usize = 4096;

/// As many bytes of an anchor help a searcher; more are checked afterwards.
const ANCHOR: usize = 4;

/// An anchor of two bytes or more has at most this many variants.
const MOST_VARIANTS: usize = 8;

impl Needle {
    pub(super) fn exact(value: Vec<u8>) -> Self {
        Self { value, mask: None }
    }

    pub(super) fn masked(mut value: Vec<u8>, mask: Vec<u8>) -> Self {
        for (byte, bits) in value.iter_mut().zip(&mask) {
            *byte &= bits;
        }
        let mask = mask.iter().any(|bits| *bits != 0xff).then_some(mask);
        Self { value, mask }
    }

    /// Text in units of `unit` bytes, `low` of which is the lowest. With `ignore_case`, ASCII letters match either case.
    pub(super) fn text(value: Vec<u8>, ignore_case: bool, unit: usize, low: usize) -> Self {
        let mut mask = vec![0xff; value.len()];
        if ignore_case {
            for (units, masks) in value.chunks(unit).zip(mask.chunks_mut(unit)) {
                let ascii = units.iter().enumerate().all(|(at, byte)| at == low || *byte == 0);
                if ascii && units.get(low).is_some_and(u8::is_ascii_alphabetic) {
                    masks[low] = !0x20;
                }
            }
        }
        Self::masked(value, mask)
    }

    pub(super) fn len(&self) -> usize {
        self.value.len()
    }

    /// Whether zeros are one of its matches.
    pub(super) fn matches_zeros(&self) -> bool {
        self.value.iter().all(|byte| *byte == 0)
    }

    /// Whether `data` begins with a match.
    pub(super) fn is_at(&self, data: &[u8]) -> bool {
        let Some(data) = data.get(..self.value.len()) else { return false };
        match &self.mask {
            None => data == self.value,
            Some(mask) => data.iter().zip(mask).zip(&self.value).all(|((byte, bits), value)| byte & bits == *value),
        }
    }

    /// The bits of a byte that count.
    pub(super) fn bits(&self, at: usize) -> u8 {
        self.mask.as_ref().map_or(0xff, |mask| mask[at])
    }

    /// How rare a byte of it is.
    pub(super) fn rarity(&self, at: usize) -> i32 {
        rarity(self.value[at], self.bits(at))
    }

    /// The part of it that is likely to be rare and cheap to look for.
    pub(super) fn anchor(&self) -> Anchor {
        let mut best = (0..1, i32::MIN);
        for offset in 0..self.len().min(MOST_OFFSET) {
            let (mut variants, mut score) = (1usize, 0);
            for end in offset + 1..=self.len().min(offset + ANCHOR) {
                let bits = self.bits(end - 1);
                variants <<= bits.count_zeros();
                if variants > MOST_VARIANTS && end > offset + 1 {
                    break;
                }
                score += rarity(self.value[end - 1], bits);
                // Each variant costs a little; at equal rarity, an earlier anchor reports sooner.
                let total = score - 3 * variants as i32;
                if total > best.1 {
                    best = (offset..end, total);
                }
            }
        }
        let range = best.0;
        let mut variants = vec![Vec::new()];
        for at in range.clone() {
            let (value, bits) = (self.value[at], self.bits(at));
            let bytes: Vec<u8> = (0..=255u8).filter(|byte| byte & bits == value).collect();
            variants =
                variants.iter().flat_map(|head| bytes.iter().map(|byte| [&head[..], &[*byte]].concat())).collect();
        }
        Anchor { offset: range.start, variants }
    }

    /// The whole stretch of fixed bytes around an anchor that has but one variant.
    pub(super) fn fixed_around(&self, anchor: &Anchor) -> Anchor {
        let is_fixed = |at: &usize| self.bits(*at) == 0xff;
        let start = (0..anchor.offset).rev().take_while(is_fixed).last().unwrap_or(anchor.offset);
        let end = (start..self.len()).take_while(is_fixed).last().map_or(start, |last| last + 1);
        let start = start.max(anchor.offset.saturating_sub(MOST_OFFSET));
        Anchor { offset: start, variants: vec![self.value[start..end].to_vec()] }
    }
}

/// How rare a byte is in the memory of processes, in tenths of bits. Zeros are everywhere, then small numbers, all ones,
/// and text.
fn rarity(byte: u8, bits: u8) -> i32 {
    let whole = match byte {
        _ if bits.count_ones() == 0 => return 0,
        0 => 10,
        0xff => 45,
        1..=8 => 55,
        b' ' | b'a'..=b'z' if bits != 0xff => 45,
        b' ' | b'e' | b'a' | b't' | b'i' | b'n' | b'o' | b's' | b'r' => 55,
        0x7f => 60,
        _ => 75,
    };
    whole.min(10 * bits.count_ones() as i32)
}

/// The same for [`memchr::memmem`], which takes the bytes of lowest rank.
#[derive(Debug)]
pub(super) struct Ranker;

impl memchr::arch::all::packedpair::HeuristicFrequencyRank for Ranker {
    fn rank(&self, byte: u8) -> u8 {
        (250 - 3 * rarity(byte, 0xff)) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_avoid_what_is_common_or_open() {
        let anchor = Needle::exact(vec![0x2a, 0, 0, 0]).anchor();
        assert_eq!((anchor.offset, anchor.variants.len()), (0, 1));
        let masked = Needle::masked(vec![0, 0, 0xde, 0xad, 0, 0x40], vec![0, 0xff, 0xff, 0xff, 0, 0xf0]);
        let anchor = masked.anchor();
        assert!(anchor.variants == [vec![0xde, 0xad]] || anchor.variants == [vec![0, 0xde, 0xad]], "{anchor:?}");
        assert_eq!(masked.fixed_around(&anchor), Anchor { offset: 1, variants: vec![vec![0, 0xde, 0xad]] });
        let text = Needle::text(b"Pass42".to_vec(), true, 1, 0);
        assert!(text.anchor().variants.len() <= MOST_VARIANTS);
        assert!(text.is_at(b"pASS42 ") && !text.is_at(b"pASS4") && !text.is_at(b"0ass42"));
    }

    #[test]
    fn utf16_ignores_the_case_of_ascii_only() {
        let needle = Needle::text(vec![b'k', 0, 0x41, 0x01], true, 2, 0);
        assert!(needle.is_at(&[b'K', 0, 0x41, 1]));
        assert!(!needle.is_at(&[b'K', 0, 0x61, 1]));
        let big = Needle::text(vec![0, b'k'], true, 2, 1);
        assert!(big.is_at(&[0, b'K']) && !big.is_at(&[0x20, b'K']));
    }
}
