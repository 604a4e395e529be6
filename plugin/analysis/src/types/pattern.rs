//! The regex that names are matched with, and what every name that it matches must contain.

use super::names::NAMELESS;
use super::needles::{Literals, Needle};
use crate::find::{PatternError, regex};
use regex_automata::{Input, meta};
use regex_syntax::hir::{Hir, HirKind, Look};
use rustc_hash::FxHashSet;

/// A regex over qualified names.
#[derive(Debug)]
pub(super) struct Pattern {
    names: Names,
    /// Of these every name that it matches has one, within the name of one namespace, type or function of those that the
    /// qualified name is made of. `None` if there are none.
    pub(super) literals: Option<Literals>,
}

impl Pattern {
    pub(super) fn new(regex: &str) -> Result<Self, PatternError> {
        let (regex, hir) = regex::filter_and_hir(regex)?;
        let literals = needle(&hir).and_then(|needle| Literals::new(vec![needle]));
        let cache = regex.create_cache();
        Ok(Self { names: Names::Matched(Box::new((regex, cache))), literals })
    }

    /// Of these names, in full.
    pub(super) fn of_names(names: FxHashSet<Vec<u8>>) -> Self {
        let needles = names.iter().map(|name| best([Literal { text: name.clone(), starts: true, ends: true }]));
        let literals = needles.collect::<Option<Vec<_>>>().and_then(Literals::new);
        Self { literals, names: Names::Exact(names) }
    }

    pub(super) fn is_match(&mut self, name: &[u8]) -> bool {
        match &mut self.names {
            Names::Exact(names) => names.contains(name),
            Names::Matched(matched) => {
                let (regex, cache) = &mut **matched;
                regex.search_half_with(cache, &Input::new(name).earliest(true)).is_some()
            }
        }
    }
}

/// Which names match.
#[derive(Debug)]
enum Names {
    Exact(FxHashSet<Vec<u8>>),
    Matched(Box<(meta::Regex, meta::Cache)>),
}

/// Bytes that are in every match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Literal {
    text: Vec<u8>,
    /// Whether the name begins with them.
    starts: bool,
    /// Whether it ends with them.
    ends: bool,
}

/// What the name of something has to be like for a name that the regex matches.
fn needle(hir: &Hir) -> Option<Needle> {
    let mut parts = Vec::new();
    flatten(hir, &mut parts);
    let mut literals = Vec::new();
    let mut before = None;
    for (number, part) in parts.iter().enumerate() {
        if let Part::Literal(text) = part {
            let ends = parts.get(number + 1) == Some(&Part::Edge(Look::End));
            literals.push(Literal { text: text.clone(), starts: before == Some(&Part::Edge(Look::Start)), ends });
        }
        before = Some(part);
    }
    best(literals)
}

/// The needle that rules out the most: one that says how the type's own name ends, else one with the longest piece.
fn best(literals: impl IntoIterator<Item = Literal>) -> Option<Needle> {
    let needles = literals.into_iter().flat_map(|literal| needles(&literal));
    needles.max_by_key(|needle| (needle.ends, needle.piece().len()))
}

/// A needle for each piece of a literal that is in one part of a qualified name.
fn needles(literal: &Literal) -> Vec<Needle> {
    let text = &literal.text;
    let mut needles = Vec::new();
    let mut piece = 0;
    for end in 0..=text.len() {
        if text.get(end).is_none_or(|byte| b":()".contains(byte)) {
            if is_usable(&text[piece..end]) {
                // The name of a function is followed by parentheses, which are not its own.
                let from = text[..piece].iter().rposition(|byte| b"()".contains(byte)).map_or(0, |paren| paren + 1);
                needles.push(Needle {
                    text: text[from..end].to_vec(),
                    piece: piece - from,
                    starts: literal.starts && from == 0,
                    ends: literal.ends && end == text.len(),
                });
            }
            piece = end + 1;
        }
    }
    needles
}

/// Whether a piece is looked for: what something without a name is written as may hold it as well.
fn is_usable(piece: &[u8]) -> bool {
    piece.len() >= 2 && !NAMELESS.iter().any(|nameless| memchr::memmem::find(nameless.as_bytes(), piece).is_some())
}

/// What a match is made of, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Edge(Look),
    /// Anything else.
    Gap,
}

/// Adds what every match is made of.
fn flatten(hir: &Hir, parts: &mut Vec<Part>) {
    match hir.kind() {
        HirKind::Literal(literal) => match parts.last_mut() {
            Some(Part::Literal(before)) => before.extend_from_slice(&literal.0),
            _ => parts.push(Part::Literal(literal.0.to_vec())),
        },
        HirKind::Look(look) => parts.push(Part::Edge(*look)),
        HirKind::Capture(capture) => flatten(&capture.sub, parts),
        HirKind::Concat(all) => all.iter().for_each(|part| flatten(part, parts)),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            parts.push(Part::Gap);
            flatten(&repetition.sub, parts);
            parts.push(Part::Gap);
        }
        HirKind::Empty => {}
        HirKind::Class(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => parts.push(Part::Gap),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_needle_is_what_one_part_of_every_matching_name_holds() {
        let needle = |regex: &str| {
            let (_, hir) = regex::filter_and_hir(regex).unwrap();
            needle(&hir).map(|needle| {
                let edge = |is: bool, edge: &'static str| if is { edge } else { "" };
                let text = String::from_utf8(needle.text.clone()).unwrap();
                let piece = String::from_utf8(needle.piece().to_vec()).unwrap();
                let text = format!("{}{text}{}", edge(needle.starts, "^"), edge(needle.ends, "$"));
                (text, piece)
            })
        };
        let some = |text: &str, piece: &str| Some((text.to_owned(), piece.to_owned()));
        assert_eq!(needle("^std::vector<int>$"), some("^std::vector<int>$", "vector<int>"));
        assert_eq!(needle("hir_ty::lower::Ctx"), some("hir_ty", "hir_ty"));
        assert_eq!(needle("hir_ty::lower::Context"), some("hir_ty::lower::Context", "Context"));
        assert_eq!(needle("foo.*barrier"), some("barrier", "barrier"));
        assert_eq!(needle("^long_one.*x::(ba)r$"), some("x::bar$", "bar"));
        assert_eq!(needle("(mds)+x?"), some("mds", "mds"));
        assert_eq!(needle("^(mds)+$"), some("mds", "mds"));
        assert_eq!(needle("(?m)^mds$"), some("mds", "mds"));
        assert_eq!(needle("^mds|x"), None);
        assert_eq!(needle("a|bcd"), None);
        assert_eq!(needle("(?i)mds"), None);
        assert_eq!(needle(r"\(anonymous"), None);
        assert_eq!(needle("space"), None);
        assert_eq!(needle(r"main\(\)::"), some("main", "main"));
        assert_eq!(needle(r"^main\(\)::Local$"), some("::Local$", "Local"));
        assert_eq!(needle("::Own::$"), some("::Own", "Own"));
        assert_eq!(needle("."), None);
    }
}
