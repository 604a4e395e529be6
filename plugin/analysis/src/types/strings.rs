//! Which strings of .debug_str contain a literal.

use super::abbreviations::Text;
use super::unit::Unit;
use memchr::memmem::Finder;

/// The offsets of a section of strings at which a string begins that contains a literal.
#[derive(Debug)]
pub(super) struct Strings {
    finder: Finder<'static>,
    /// A bit for each offset.
    bits: Vec<u64>,
}

impl Strings {
    /// Looks for `literal`, which is not empty, in all strings of `section`. A string may begin within another.
    pub(super) fn new(section: &[u8], literal: &[u8]) -> Self {
        let finder = Finder::new(literal).into_owned();
        let mut bits = vec![0u64; section.len() / 64 + 1];
        // Offsets below this are done.
        let mut done = 0;
        for at in finder.find_iter(section) {
            let start = memchr::memrchr(0, &section[done..at]).map_or(done, |end| done + end + 1);
            for offset in start..=at {
                bits[offset / 64] |= 1 << (offset % 64);
            }
            done = at + 1;
        }
        Self { finder, bits }
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
            Text::Here(_) | Text::Line(_) | Text::Alternate(_) => return self.finder.find(unit.text(text)).is_some(),
        };
        self.bits.get(offset / 64).is_some_and(|bits| bits >> (offset % 64) & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_marked_if_the_string_from_there_on_has_the_literal() {
        let section = b"alpha\0xxalphabet alpha\0beta\0alph\0a\0\0alpha";
        let strings = Strings::new(section, b"alpha");
        for offset in 0..section.len() {
            let string = section[offset..].split(|byte| *byte == 0).next().unwrap();
            let marked = strings.bits[offset / 64] >> (offset % 64) & 1 != 0;
            assert_eq!(marked, memchr::memmem::find(string, b"alpha").is_some(), "at {offset}");
        }
    }
}
