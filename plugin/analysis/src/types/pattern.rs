//! The regex that names are matched with, and what every name that it matches must contain.

use super::names::NAMELESS;
use super::strings::Literals;
use crate::find::{PatternError, regex};
use regex_automata::{Input, meta};
use regex_syntax::hir::{Hir, HirKind};
use rustc_hash::FxHashSet;

/// A regex over qualified names.
#[derive(Debug)]
pub(super) struct Pattern {
    names: Names,
    /// Bytes of which every name that it matches contains some, within the name of one namespace or type of those that the
    /// qualified name is made of. `None` if there are none.
    pub(super) literals: Option<Literals>,
}

impl Pattern {
    pub(super) fn new(regex: &str) -> Result<Self, PatternError> {
        let (regex, hir) = regex::filter_and_hir(regex)?;
        let literals = literal(&hir).and_then(|literal| Literals::new(&[literal]));
        let cache = regex.create_cache();
        Ok(Self { names: Names::Matched(Box::new((regex, cache))), literals })
    }

    /// Of these names, in full.
    pub(super) fn of_names(names: FxHashSet<Vec<u8>>) -> Self {
        let pieces = names.iter().map(|name| longest_piece(std::slice::from_ref(name)));
        let literals = pieces.collect::<Option<Vec<_>>>().and_then(|pieces| Literals::new(&pieces));
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

/// The longest bytes that are in every match, and in one part of a qualified name.
fn literal(hir: &Hir) -> Option<Vec<u8>> {
    let mut literals = Vec::new();
    required(hir, &mut literals);
    longest_piece(&literals)
}

/// The longest bytes of any of `literals` that are in one part of a qualified name.
fn longest_piece(literals: &[Vec<u8>]) -> Option<Vec<u8>> {
    let usable = |literal: &&[u8]| {
        // What a name without one is written as may hold it as well.
        literal.len() >= 2
            && !NAMELESS.iter().any(|nameless| memchr::memmem::find(nameless.as_bytes(), literal).is_some())
    };
    // What joins the parts of a name is in none of them.
    let pieces = literals.iter().flat_map(|literal| literal.split(|byte| b":()".contains(byte)));
    pieces.filter(usable).max_by_key(|piece| piece.len()).map(<[u8]>::to_vec)
}

/// Adds literals that are in every match.
fn required(hir: &Hir, literals: &mut Vec<Vec<u8>>) {
    match hir.kind() {
        HirKind::Literal(literal) => literals.push(literal.0.to_vec()),
        HirKind::Capture(capture) => required(&capture.sub, literals),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub, literals),
        HirKind::Concat(parts) => parts.iter().for_each(|part| required(part, literals)),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) | HirKind::Alternation(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_is_what_one_part_of_every_matching_name_holds() {
        let literal = |regex: &str| {
            let (_, hir) = regex::filter_and_hir(regex).unwrap();
            literal(&hir).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(literal("^std::vector<int>$").as_deref(), Some("vector<int>"));
        assert_eq!(literal("foo.*barrier").as_deref(), Some("barrier"));
        assert_eq!(literal("(mds)+x?").as_deref(), Some("mds"));
        assert_eq!(literal("a|bcd"), None);
        assert_eq!(literal("(?i)mds"), None);
        assert_eq!(literal(r"\(anonymous"), None);
        assert_eq!(literal("space"), None);
        assert_eq!(literal(r"main\(\)::"), Some("main".into()));
        assert_eq!(literal("."), None);
    }
}
