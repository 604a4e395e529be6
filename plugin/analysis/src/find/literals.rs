//! Needles: every place where one of them lies, also where they overlap.
//!
//! Of each needle an anchor is taken, a few bytes that are likely to be rare. A fast searcher looks for all anchors at
//! once; where one lies, the needles that it belongs to are compared. After each such place the searcher goes on at the
//! next byte, so nothing that overlaps is missed. A needle of scattered bits has no such part, and is looked for by
//! [probes](super::probes).

use super::found::{Found, Out};
use super::needle::{Anchor, Needle, Ranker};
use super::probes::Probes;
use crate::memory::Window;
use aho_corasick::{AhoCorasick, packed};
use memchr::memmem;

/// A needle, where it may lie, and which pattern it stands for.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) needle: Needle,
    /// Addresses that are multiples of this; at least 1.
    pub(super) align: u64,
    pub(super) pattern: u16,
}

/// Needles that are looked for in one pass.
#[derive(Debug)]
pub(super) struct Literals {
    needles: Vec<Placed>,
    anchors: Vec<Known>,
    /// For each first byte, the anchors with it, as bits. Empty if the searcher itself tells what it has found.
    by_first: Vec<u64>,
    searcher: Searcher,
    /// How far an anchor may lie from its needle's start.
    most_offset: usize,
    longest_anchor: usize,
}

#[derive(Debug)]
struct Known {
    bytes: Vec<u8>,
    /// Indices of needles, and where in them it lies.
    uses: Vec<(usize, usize)>,
}

#[derive(Debug)]
enum Searcher {
    One(Box<memmem::Finder<'static>>),
    /// At most three single bytes.
    Bytes(Vec<u8>),
    Probes(Probes),
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
}

/// A packed searcher takes so many anchors.
const PACKED: usize = 64;
/// Beyond so many packed searchers, one automaton for all is faster.
const MOST_PACKED: usize = 16;

/// Groups needles so that each group can be searched at its best: a searcher is as selective as its shortest anchor, and
/// takes only so many.
///
/// # Errors
/// If no searcher can be built.
pub(super) fn group(needles: Vec<Placed>) -> Result<Vec<Literals>, String> {
    let mut literals = Vec::new();
    let mut by_length: [Vec<(Placed, Anchor)>; 2] = Default::default();
    for placed in needles {
        let anchor = placed.needle.anchor();
        match anchor.variants[0].len() {
            // More than a byte long, but for no two adjacent bytes is there enough to go by.
            1 if placed.needle.len() > 1 || anchor.variants.len() > 3 => literals.push(Literals::probing(placed)),
            // The likes of these find few needles in a block, so each can have its own pass.
            1 => literals.push(Literals::new(vec![(placed, anchor)])?),
            length => by_length[length.min(3) - 2].push((placed, anchor)),
        }
    }
    for group in by_length {
        let anchors: usize = group.iter().map(|(_, anchor)| anchor.variants.len()).sum();
        let most = if anchors > PACKED * MOST_PACKED { usize::MAX } else { PACKED };
        let mut part: Vec<(Placed, Anchor)> = Vec::new();
        for one in group {
            let taken: usize = part.iter().map(|(_, anchor)| anchor.variants.len()).sum();
            if taken + one.1.variants.len() > most {
                literals.push(Literals::new(std::mem::take(&mut part))?);
            }
            part.push(one);
        }
        if !part.is_empty() {
            literals.push(Literals::new(part)?);
        }
    }
    Ok(literals)
}

impl Literals {
    fn probing(placed: Placed) -> Self {
        let searcher = Searcher::Probes(Probes::new(&placed.needle));
        let anchors = vec![Known { bytes: Vec::new(), uses: vec![(0, 0)] }];
        let longest_anchor = placed.needle.len();
        Self { needles: vec![placed], anchors, by_first: Vec::new(), searcher, most_offset: 0, longest_anchor }
    }

    fn new(mut needles: Vec<(Placed, Anchor)>) -> Result<Self, String> {
        if let [(placed, anchor)] = &mut needles[..]
            && anchor.variants.len() == 1
        {
            *anchor = placed.needle.fixed_around(anchor);
        }
        let mut anchors: Vec<Known> = Vec::new();
        for (index, (_, anchor)) in needles.iter().enumerate() {
            for bytes in &anchor.variants {
                let known = anchors.iter_mut().find(|known| known.bytes == *bytes);
                match known {
                    Some(known) => known.uses.push((index, anchor.offset)),
                    None => anchors.push(Known { bytes: bytes.clone(), uses: vec![(index, anchor.offset)] }),
                }
            }
        }
        let searcher = Searcher::new(&anchors)?;
        let mut by_first = Vec::new();
        if !matches!(searcher, Searcher::Automaton(_)) {
            by_first.resize(256, 0);
            for (index, anchor) in anchors.iter().enumerate() {
                by_first[usize::from(anchor.bytes[0])] |= 1u64 << index;
            }
        }
        let most_offset = needles.iter().map(|(_, anchor)| anchor.offset).max().unwrap_or(0);
        let longest_anchor = anchors.iter().map(|anchor| anchor.bytes.len()).max().unwrap_or(0);
        let needles = needles.into_iter().map(|(placed, _)| placed).collect();
        Ok(Self { needles, anchors, by_first, searcher, most_offset, longest_anchor })
    }

    /// Whether what it finds at one window comes out in order of address and pattern.
    pub(super) fn is_ordered(&self) -> bool {
        self.needles.len() == 1
    }

    /// Finds what begins in the window's `starts`. Returns the index before which that is everything: the end of
    /// `starts`, or less if `out` is full.
    pub(super) fn search(&self, window: &Window<'_>, out: &mut Out) -> usize {
        let starts = &window.starts;
        // Anchors that belong to what begins in `starts`.
        let end = window.data.len().min(starts.end + self.most_offset + self.longest_anchor - 1);
        let data = &window.data[..end];
        let room = out.full_at();
        if let Searcher::Automaton(automaton) = &self.searcher {
            let input = aho_corasick::Input::new(data).span(starts.start..end);
            for found in automaton.find_overlapping_iter(input) {
                self.compare(found.pattern().as_usize(), found.start(), window, out);
                // Others may end here that begin earlier.
                let certain = (found.end() + 1).saturating_sub(self.longest_anchor + self.most_offset);
                if out.len() >= room && certain > starts.start {
                    return certain.min(starts.end);
                }
            }
            return starts.end;
        }
        let mut at = starts.start;
        while let Some(found) = self.searcher.find(data, at) {
            at = found;
            // Where one matches, the next byte is likely to match as well: runs of equal bytes.
            while self.at(at, data, window, out) {
                at += 1;
                if out.len() >= room && at > starts.start + self.most_offset {
                    return (at - self.most_offset).min(starts.end);
                }
                if at >= end {
                    break;
                }
            }
            at += 1;
        }
        starts.end
    }

    /// Compares all needles that have an anchor at `at`; says whether one of them matches.
    fn at(&self, at: usize, data: &[u8], window: &Window<'_>, out: &mut Out) -> bool {
        let Some(mut bits) = self.by_first.get(usize::from(data[at])).copied() else {
            return self.compare(0, at, window, out);
        };
        let mut any = false;
        while bits != 0 {
            let index = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            if data[at..].starts_with(&self.anchors[index].bytes) {
                any |= self.compare(index, at, window, out);
            }
        }
        any
    }

    fn compare(&self, anchor: usize, at: usize, window: &Window<'_>, out: &mut Out) -> bool {
        let mut any = false;
        for &(index, offset) in &self.anchors[anchor].uses {
            let Placed { needle, align, pattern } = &self.needles[index];
            let Some(start) = at.checked_sub(offset).filter(|start| window.starts.contains(start)) else { continue };
            if needle.is_at(&window.data[start..]) {
                any = true;
                let address = window.address(start);
                if *align == 1 || address.is_multiple_of(*align) {
                    out.push(Found { address, length: needle.len() as u32, pattern: *pattern, cut: false });
                }
            }
        }
        any
    }
}

impl Searcher {
    /// A searcher for anchors, of which either all have one byte or none has.
    fn new(anchors: &[Known]) -> Result<Self, String> {
        if anchors.iter().all(|anchor| anchor.bytes.len() == 1) {
            return Ok(Self::Bytes(anchors.iter().map(|anchor| anchor.bytes[0]).collect()));
        }
        let bytes = || anchors.iter().map(|anchor| &anchor.bytes[..]);
        if let [anchor] = anchors {
            let finder = memmem::FinderBuilder::new().build_forward_with_ranker(Ranker, &anchor.bytes);
            return Ok(Self::One(Box::new(finder.into_owned())));
        }
        let packed =
            if anchors.len() <= PACKED { packed::Config::new().builder().extend(bytes()).build() } else { None };
        match packed {
            Some(searcher) => Ok(Self::Packed(searcher)),
            None => AhoCorasick::new(bytes()).map(Self::Automaton).map_err(|error| error.to_string()),
        }
    }

    /// Where the first anchor at or after `at` lies.
    fn find(&self, data: &[u8], at: usize) -> Option<usize> {
        let rest = data.get(at..)?;
        let found = match self {
            Self::One(finder) => finder.find(rest),
            Self::Bytes(bytes) => match bytes[..] {
                [first] => memchr::memchr(first, rest),
                [first, second] => memchr::memchr2(first, second, rest),
                [first, second, third] => memchr::memchr3(first, second, third, rest),
                _ => None,
            },
            Self::Probes(probes) => probes.find(rest),
            Self::Packed(searcher) => {
                return searcher.find_in(data, aho_corasick::Span { start: at, end: data.len() }).map(|m| m.start());
            }
            Self::Automaton(automaton) => automaton.find(rest).map(|m| m.start()),
        };
        found.map(|ahead| at + ahead)
    }
}
