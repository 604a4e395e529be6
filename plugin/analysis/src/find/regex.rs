//! Regular expressions.
//!
//! What they match is defined without blocks and tasks: in each run of readable memory, from a position on, the match is
//! at the first place at which the regex, anchored there, matches within `max_length` bytes; it ends where leftmost-first
//! matching ends it; and that end is the next position. Assertions such as `^` and `\b` see the bytes that are really
//! there, and the ends of the run as the ends of the text.

use super::Find;
use super::found::Found;
use super::pattern::PatternError;
use crate::memory::Window;
use regex_automata::{Anchored, Input, meta};
use regex_syntax::hir::{Hir, HirKind};

/// How many bytes an assertion looks at on either side: those of one character in UTF-8.
pub(super) const LOOK: usize = 4;

/// A compiled regex takes at most this; a worker has several.
const MOST_COMPILED: usize = 4 << 20;
/// What the lazily built automata of all may take, and of each at least and at most.
const CACHES: usize = 16 << 20;
const LEAST_CACHE: usize = 256 << 10;
const MOST_CACHE: usize = 2 << 20;

/// Checks that a regex compiles and matches something, and says how many bytes it takes.
pub(super) fn check(regex: &str, ignore_case: bool) -> Result<usize, PatternError> {
    if regex.is_empty() {
        return Err(PatternError::Empty);
    }
    let hir = parse(regex, ignore_case)?;
    if hir.properties().minimum_len() == Some(0) {
        return Err(PatternError::EmptyMatch(one_line(regex)));
    }
    compile(&hir, 1)
        .map(|regex| regex.memory_usage())
        .map_err(|reason| PatternError::Regex { regex: one_line(regex), reason })
}

/// A regex that text is only tested with: it may match the empty string.
pub(crate) fn filter(regex: &str) -> Result<meta::Regex, PatternError> {
    filter_and_hir(regex).map(|(regex, _)| regex)
}

/// What tells whether a name is one that is asked for.
pub type Matches = Box<dyn Fn(&str) -> bool + Send>;

/// Tells whether a regex matches a name.
///
/// # Errors
/// If it is none.
pub fn matching(regex: &str) -> Result<Matches, PatternError> {
    let (regex, _) = filter_and_hir(regex)?;
    Ok(Box::new(move |name| regex.is_match(name)))
}

/// Such a regex, and what it is made of.
pub(crate) fn filter_and_hir(regex: &str) -> Result<(meta::Regex, Hir), PatternError> {
    let hir = parse(regex, false)?;
    let compiled = compile(&hir, 1).map_err(|reason| PatternError::Regex { regex: one_line(regex), reason })?;
    Ok((compiled, hir))
}

pub(super) fn parse(regex: &str, ignore_case: bool) -> Result<Hir, PatternError> {
    let mut parser =
        regex_syntax::ParserBuilder::new().unicode(false).utf8(false).case_insensitive(ignore_case).build();
    parser.parse(regex).map_err(|error| {
        let reason = match &error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            other => other.to_string(),
        };
        PatternError::Regex { regex: one_line(regex), reason: one_line(&reason) }
    })
}

/// Compiles one of so many regexes.
pub(super) fn compile(hir: &Hir, regexes: usize) -> Result<meta::Regex, String> {
    let config = meta::Config::new()
        .utf8_empty(false)
        .which_captures(regex_automata::nfa::thompson::WhichCaptures::Implicit)
        .nfa_size_limit(Some(MOST_COMPILED))
        .hybrid_cache_capacity((CACHES / 2 / regexes.max(1)).clamp(LEAST_CACHE, MOST_CACHE));
    meta::Builder::new().configure(config).build_from_hir(hir).map_err(|error| refusal(&error))
}

/// Why a regex that parses does not compile.
pub(crate) fn refusal(error: &meta::BuildError) -> String {
    match error.size_limit() {
        Some(limit) => format!("it is too large: compiled, it would take more than {} MiB", limit >> 20),
        None => one_line(&error.to_string()),
    }
}

/// Text that is part of an error.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(|char: char| char.is_control(), " ")
}

/// A regex on its way through memory.
#[derive(Debug)]
pub(super) struct Chain {
    regex: meta::Regex,
    cache: meta::Cache,
    pub(super) pattern: u16,
    align: u64,
    max_length: usize,
    /// The longest match that there can be.
    longest: usize,
    matches_zeros: bool,
    /// Where the last match ended: the next may not begin before it.
    pub(super) position: u64,
    /// Whether to search a little at a time: a match was too long, and the next is likely to be.
    careful: bool,
}

impl Chain {
    /// One of the `regexes` regexes of `find`.
    ///
    /// # Errors
    /// If it does not compile.
    pub(super) fn new(regex: &str, find: &Find, regexes: usize, align: u64, pattern: u16) -> Result<Self, String> {
        let max_length = find.max_length as usize;
        let hir = parse(regex, find.ignore_case).map_err(|error| error.to_string())?;
        let regex = compile(&hir, regexes)?;
        let longest = hir.properties().maximum_len().map_or(max_length, |most| most.min(max_length)).max(1);
        let matches_zeros = matches_zeros(&hir, longest);
        let cache = regex.create_cache();
        Ok(Self { regex, cache, pattern, align, max_length, longest, matches_zeros, position: 0, careful: false })
    }

    /// How far it must see from the place where a match begins.
    pub(super) fn reach(&self) -> usize {
        self.longest + LOOK
    }

    pub(super) fn matches_zeros(&self) -> bool {
        self.matches_zeros
    }

    /// Finds what begins in the window's `starts`, from the position on, until `take` says that it is enough. Returns
    /// the index before which that is everything.
    pub(super) fn search(&mut self, window: &Window<'_>, mut take: impl FnMut(Found) -> bool) -> usize {
        let starts = window.starts.clone();
        // What is shown beyond is for assertions only; where the run ends, there is nothing beyond.
        let limit = if window.closes { window.data.len() } else { window.data.len().saturating_sub(LOOK) };
        let begin = usize::try_from(self.position.saturating_sub(window.base)).unwrap_or(usize::MAX);
        let mut at = begin.max(starts.start);
        while at < starts.end {
            at = self.aligned(at, window);
            let end = if self.careful { limit.min(at.saturating_add(2 * self.longest)) } else { limit };
            if at >= starts.end || at >= end {
                break;
            }
            let found = self.regex.search_with(&mut self.cache, &Input::new(window.data).span(at..end));
            let Some(found) = found else {
                if end == limit {
                    break;
                }
                // Nothing begins where it could have been seen whole.
                at = (end - self.longest + 1).max(at + 1);
                self.careful = false;
                continue;
            };
            let start = found.start();
            if end < limit && start + self.longest > end {
                at = (end - self.longest + 1).max(at + 1);
                continue;
            }
            if start >= starts.end {
                break;
            }
            if self.aligned(start, window) != start {
                at = self.aligned(start, window);
                continue;
            }
            let mut length = found.len();
            if length > self.max_length {
                // Within the length allowed, another alternative may match, or none.
                let most = start + self.max_length;
                let input = Input::new(window.data).span(start..most.min(limit)).anchored(Anchored::Yes);
                length = self.regex.search_with(&mut self.cache, &input).map_or(0, |found| found.len());
                self.careful = true;
            }
            if length == 0 {
                at = start + 1;
                continue;
            }
            at = start + length;
            self.position = window.address(at);
            let found =
                Found { address: window.address(start), length: length as u32, pattern: self.pattern, cut: false };
            if !take(found) {
                return at.min(starts.end);
            }
        }
        starts.end
    }

    /// The first index from `at` on at which a match may begin.
    fn aligned(&self, at: usize, window: &Window<'_>) -> usize {
        if self.align == 1 {
            return at;
        }
        let over = window.address(at) % self.align;
        if over == 0 { at } else { at.saturating_add((self.align - over) as usize) }
    }
}

/// Whether a regex may match in nothing but zeros. It may say so where it does not: assertions are taken to hold.
fn matches_zeros(hir: &Hir, longest: usize) -> bool {
    let Ok(regex) = compile(&without_assertions(hir), 1) else { return true };
    regex.is_match(&vec![0u8; longest][..])
}

fn without_assertions(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Look(_) => Hir::empty(),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
        HirKind::Repetition(repetition) => {
            let sub = without_assertions(&repetition.sub);
            Hir::repetition(regex_syntax::hir::Repetition { sub: Box::new(sub), ..repetition.clone() })
        }
        HirKind::Capture(capture) => without_assertions(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_assertions).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(without_assertions).collect()),
    }
}
