//! Which strings of .debug_str contain what all names that are looked for contain.

use super::abbreviations::Text;
use super::unit::Unit;
use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::Finder;

/// Bytes that are looked for, or several of which any will do.
#[derive(Clone, Debug)]
pub(super) enum Literals {
    One(Box<Finder<'static>>),
    Any(AhoCorasick),
}

impl Literals {
    /// `None` if there are none, or one is empty, or there are too many.
    pub(super) fn new(literals: &[Vec<u8>]) -> Option<Self> {
        match literals {
            [] => None,
            all if all.iter().any(Vec::is_empty) => None,
            [one] => Some(Self::One(Box::new(Finder::new(one).into_owned()))),
            all => AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(all).ok().map(Self::Any),
        }
    }

    /// Where the first of them begins in `bytes`.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::One(finder) => finder.find(bytes),
            Self::Any(any) => any.find(bytes).map(|found| found.start()),
        }
    }
}

/// The offsets of a section of strings at which a string begins that contains a literal.
#[derive(Debug)]
pub(super) struct Strings {
    literals: Literals,
    /// A bit for each offset.
    bits: Vec<u64>,
}

impl Strings {
    /// Looks for literals in all strings of `section`. A string may begin within another.
    pub(super) fn new(section: &[u8], literals: &Literals) -> Self {
        let mut bits = vec![0u64; section.len() / 64 + 1];
        // Offsets below this are done.
        let mut done = 0;
        while let Some(found) = literals.find(&section[done..]) {
            let at = done + found;
            let start = memchr::memrchr(0, &section[done..at]).map_or(done, |end| done + end + 1);
            for offset in start..=at {
                bits[offset / 64] |= 1 << (offset % 64);
            }
            done = at + 1;
        }
        Self { literals: literals.clone(), bits }
    }

    /// Whether the string contains the literal. Of a string of another section, it is looked at.
    pub(super) fn may_match(&self, unit: &Unit<'_>, text: Text) -> bool {
        let offset = match text {
            Text::None => return false,
            Text::Str(offset) => offset,
            Text::Index(index) => match unit.string_offset(index) {
                Some(offset) => offset,
                None => return false,
            },
            Text::Here(_) | Text::Line(_) | Text::Alternate(_) => return self.literals.find(unit.text(text)).is_some(),
        };
        self.bits.get(offset / 64).is_some_and(|bits| bits >> (offset % 64) & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_marked_if_the_string_from_there_on_has_the_literal() {
        let section = b"alpha\0xxalphabet alpha\0beta\0alph\0a\0\0alpha\0aaaa\0xbetalphabeta";
        for literals in [&["alpha"][..], &["aa"], &["alpha", "beta"], &["alphabet", "lp", "aa"], &["abc", "xyz"]] {
            let all: Vec<Vec<u8>> = literals.iter().map(|literal| literal.as_bytes().to_vec()).collect();
            let strings = Strings::new(section, &Literals::new(&all).unwrap());
            for offset in 0..section.len() {
                let string = section[offset..].split(|byte| *byte == 0).next().unwrap();
                let marked = strings.bits[offset / 64] >> (offset % 64) & 1 != 0;
                let has = all.iter().any(|literal| memchr::memmem::find(string, literal).is_some());
                assert_eq!(marked, has, "{literals:?} at {offset}");
            }
        }
        assert!(Literals::new(&[]).is_none() && Literals::new(&[vec![b'a'], Vec::new()]).is_none());
    }
}
