//! What a name has to hold to be part of a qualified name that is looked for.

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::Finder;

/// What stands between two parts of a qualified name.
const SEPARATOR: &[u8] = b"::";

/// Bytes that are in every qualified name that is looked for. Of the parts that such a name is made of, there is one that holds
/// all of them, or that begins within them, behind a separator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needle {
    pub(super) text: Vec<u8>,
    /// Where in `text` the last piece begins. It has neither colons nor parentheses, so that it is within one part.
    pub(super) piece: usize,
    /// Whether the qualified name begins with `text`.
    pub(super) starts: bool,
    /// Whether it ends with `text`, which then is the end of the type's own name.
    pub(super) ends: bool,
}

impl Needle {
    pub(super) fn piece(&self) -> &[u8] {
        &self.text[self.piece..]
    }

    /// Where in the text the part of the name with the piece may begin, if it does not hold all of the text.
    fn heads(&self) -> impl Iterator<Item = usize> {
        let head = |end: &usize| {
            let before = &self.text[..*end];
            before.ends_with(SEPARATOR) || before == &SEPARATOR[1..]
        };
        (1..=self.piece).filter(head)
    }

    /// Whether a part of a qualified name may be the one with the piece.
    fn fits(&self, part: &[u8]) -> bool {
        let all = match (self.starts, self.ends) {
            (true, true) => part == self.text,
            (true, false) => part.starts_with(&self.text),
            (false, true) => part.ends_with(&self.text),
            (false, false) => memchr::memmem::find(part, &self.text).is_some(),
        };
        all || self.heads().any(|head| match self.ends {
            true => part == &self.text[head..],
            false => part.starts_with(&self.text[head..]),
        })
    }

    /// The offsets in `string`, from `from` on, from which on it fits because of the piece at `at`. Returns up to where all fit.
    fn fitting(&self, string: &[u8], at: usize, from: usize, mut mark: impl FnMut(usize)) -> usize {
        if self.ends && at + self.piece().len() != string.len() {
            return from;
        }
        let before = &string[..at];
        for head in self.heads().filter(|head| before.ends_with(&self.text[*head..self.piece])) {
            mark(at - (self.piece - head));
        }
        if !before.ends_with(&self.text[..self.piece]) {
            return from;
        }
        let all = at - self.piece;
        if self.starts {
            mark(all);
            return from;
        }
        (from..=all).for_each(&mut mark);
        from.max(all + 1)
    }
}

/// Needles, of which any will do.
#[derive(Clone, Debug)]
pub(super) struct Literals {
    needles: Vec<Needle>,
    pieces: Pieces,
}

/// What looks for the pieces of all needles.
#[derive(Clone, Debug)]
enum Pieces {
    One(Box<Finder<'static>>),
    Any(AhoCorasick),
}

impl Literals {
    /// `None` if there are no needles, or too many.
    pub(super) fn new(needles: Vec<Needle>) -> Option<Self> {
        let pieces = match &needles[..] {
            [] => return None,
            [one] => Pieces::One(Box::new(Finder::new(one.piece()).into_owned())),
            all => {
                let pieces = all.iter().map(Needle::piece);
                Pieces::Any(AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(pieces).ok()?)
            }
        };
        Some(Self { needles, pieces })
    }

    /// Where the first piece of a needle begins in `bytes`.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        match &self.pieces {
            Pieces::One(finder) => finder.find(bytes),
            Pieces::Any(any) => any.find(bytes).map(|found| found.start()),
        }
    }

    /// Whether it is the type's own name, and none around it, that has one.
    pub(super) fn own(&self) -> bool {
        self.needles.iter().all(|needle| needle.ends)
    }

    /// Whether a part of a qualified name may be one that has to be there.
    pub(super) fn fit(&self, part: &[u8]) -> bool {
        self.needles.iter().any(|needle| needle.fits(part))
    }

    /// The offsets of a section of strings at which a string begins that fits; some may be given more than once. A string may
    /// begin within another.
    pub(super) fn each_fitting(&self, section: &[u8], mut mark: impl FnMut(usize)) {
        let mut done = 0;
        // The string that was found last, and up to where in it all offsets are marked.
        let (mut string, mut marked) = (0..0, 0);
        while let Some(found) = self.find(&section[done..]) {
            let at = done + found;
            if at >= string.end {
                let start = memchr::memrchr(0, &section[string.end..at]).map_or(string.end, |end| string.end + end + 1);
                // One that is cut off is none.
                let Some(length) = memchr::memchr(0, &section[at..]) else { return };
                (string, marked) = (start..at + length, 0);
            }
            let (text, start) = (&section[string.clone()], string.start);
            for needle in self.needles.iter().filter(|needle| section[at..].starts_with(needle.piece())) {
                marked = needle.fitting(text, at - start, marked, |offset| mark(start + offset));
            }
            done = at + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needle() -> impl Strategy<Value = Needle> {
        ("(a|b|:|::){0,5}", "(a|b|ab)", any::<bool>(), any::<bool>()).prop_map(|(before, piece, starts, ends)| {
            let text = [before.as_bytes(), piece.as_bytes()].concat();
            let piece = text.iter().rposition(|byte| *byte == b':').map_or(0, |colon| colon + 1);
            Needle { text, piece, starts, ends }
        })
    }

    proptest! {
        #[test]
        fn a_name_that_is_looked_for_has_a_part_that_fits(
            needle in needle(),
            parts in proptest::collection::vec("(a|b|:|::){1,4}", 1..4),
        ) {
            let name = parts.join("::");
            let (name, text) = (name.as_bytes(), &needle.text[..]);
            let looked_for = match (needle.starts, needle.ends) {
                (true, true) => name == text,
                (true, false) => name.starts_with(text),
                (false, true) => name.ends_with(text),
                (false, false) => memchr::memmem::find(name, text).is_some(),
            };
            let own = needle.ends;
            let literals = Literals::new(vec![needle]).unwrap();
            prop_assert_eq!(literals.own(), own);
            let last = literals.fit(parts.last().unwrap().as_bytes());
            let any = parts.iter().any(|part| literals.fit(part.as_bytes()));
            let found = if own { last } else { any };
            prop_assert!(found || !looked_for);
        }

        #[test]
        fn an_offset_fits_if_the_string_from_there_on_does(
            needles in proptest::collection::vec(needle(), 1..4),
            strings in proptest::collection::vec("(a|b|:|::){0,8}", 0..6),
            cut in any::<bool>(),
        ) {
            let mut section: Vec<u8> = strings.iter().flat_map(|string| [string.as_bytes(), &[0]].concat()).collect();
            if cut {
                section.pop();
            }
            let literals = Literals::new(needles).unwrap();
            let mut marked = vec![false; section.len()];
            literals.each_fitting(&section, |offset| marked[offset] = true);
            for (offset, marked) in marked.into_iter().enumerate() {
                let whole = memchr::memchr(0, &section[offset..]);
                let fits = whole.is_some_and(|end| literals.fit(&section[offset..offset + end]));
                prop_assert_eq!(marked, fits, "{} of {:?}", offset, String::from_utf8_lossy(&section));
            }
        }
    }
}
