//! What names are matched with.

use super::required::Required;
use crate::find::regex::{one_line, refusal};
use regex_automata::{Input, meta, nfa::thompson};
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Look, Repetition};

/// A compiled regex takes at most this, and so do the automata that it is run with, in bytes.
const MOST_COMPILED: usize = 16 << 20;
const MOST_CACHE: usize = 8 << 20;

/// What ends a name among names that lie one after another. No name of a symbol has it.
pub(super) const END: u8 = 0;

/// A regex over names: over bytes, not Unicode. A match lies within one name, whose ends `^` and `$` are.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: meta::Regex,
    cache: meta::Cache,
    required: Option<Required>,
}

/// What is wrong with a regex.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("regex '{regex}': {reason}")]
pub struct PatternError {
    pub regex: String,
    pub reason: String,
}

impl Pattern {
    /// # Errors
    /// If it does not parse, or takes too much.
    pub(super) fn new(regex: &str, ignore_case: bool) -> Result<Self, PatternError> {
        let error = |reason: String| PatternError { regex: one_line(regex), reason };
        let exact = parse(regex, false).map_err(error)?;
        let hir = if ignore_case { parse(regex, true).map_err(error)? } else { exact.clone() };
        let config = meta::Config::new()
            .utf8_empty(false)
            .line_terminator(END)
            .which_captures(thompson::WhichCaptures::Implicit)
            .nfa_size_limit(Some(MOST_COMPILED))
            .hybrid_cache_capacity(MOST_CACHE);
        let built = meta::Builder::new().configure(config).build_from_hir(&within_a_name(&hir));
        let regex = built.map_err(|failure| error(refusal(&failure)))?;
        let cache = regex.create_cache();
        Ok(Self { regex, cache, required: Required::of(&exact, ignore_case) })
    }

    /// What has to be in the mangled form of a name that matches, where that is known.
    pub(super) fn required(&self) -> Option<&Required> {
        self.required.as_ref()
    }

    pub(super) fn matches(&mut self, name: &[u8]) -> bool {
        self.regex.search_half_with(&mut self.cache, &Input::new(name).earliest(true)).is_some()
    }

    /// Where the first match at or behind `from` ends, in names that lie one after another.
    pub(super) fn next_end(&mut self, names: &[u8], from: usize) -> Option<usize> {
        let input = Input::new(names).range(from..).earliest(true);
        self.regex.search_half_with(&mut self.cache, &input).map(|end| end.offset())
    }
}

/// Checks a regex.
///
/// # Errors
/// If it does not parse, or takes too much.
pub fn check(regex: &str, ignore_case: bool) -> Result<(), PatternError> {
    Pattern::new(regex, ignore_case).map(|_| ())
}

fn parse(regex: &str, ignore_case: bool) -> Result<Hir, String> {
    let mut parser =
        regex_syntax::ParserBuilder::new().unicode(false).utf8(false).case_insensitive(ignore_case).build();
    parser.parse(regex).map_err(|error| match &error {
        regex_syntax::Error::Parse(error) => at(regex, error.span().start.offset, &error.kind().to_string()),
        regex_syntax::Error::Translate(error) => at(regex, error.span().start.offset, &error.kind().to_string()),
        other => one_line(&other.to_string()),
    })
}

/// What is wrong, and where.
fn at(regex: &str, offset: usize, what: &str) -> String {
    let what = one_line(what);
    match regex.get(offset..).filter(|rest| !rest.is_empty()) {
        Some(rest) => format!("{what}, at '{}'", one_line(rest)),
        None => format!("{what}, at its end"),
    }
}

/// The same, but that it matches nothing with the end of a name in it, and takes the ends of names for those of the text.
fn within_a_name(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&END) => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0.clone()),
        HirKind::Class(Class::Bytes(class)) => {
            let mut class = class.clone();
            class.difference(&ClassBytes::new([ClassBytesRange::new(END, END)]));
            Hir::class(Class::Bytes(class))
        }
        // Unicode is off, but for what the pattern turns on itself.
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            let end = regex_syntax::hir::ClassUnicodeRange::new(char::from(END), char::from(END));
            class.difference(&regex_syntax::hir::ClassUnicode::new([end]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) => Hir::look(Look::EndLF),
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Repetition(repetition) => {
            let sub = Box::new(within_a_name(&repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition.clone() })
        }
        // Nothing asks for groups.
        HirKind::Capture(capture) => within_a_name(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(within_a_name).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(within_a_name).collect()),
    }
}
