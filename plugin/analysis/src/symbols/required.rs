//! What has to be in a mangled name so that a regex matches the name: it is looked for before the name is demangled, which
//! takes twenty times as long.
//!
//! A word of the regex has to be there letter by letter, if it is no part of what a demangler writes by itself (`vtable for`,
//! `unsigned int`, `std::basic_string`): manglings hold identifiers as they are, and refer back only to what they held before.

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::{self, Finder};
use regex_syntax::hir::{Hir, HirKind};
use std::cmp::Reverse;

/// Shorter words are in most names anyway.
const SHORTEST: usize = 3;

/// More alternatives are not looked for.
const MOST: usize = 32;

/// More words than these, all of which have to be there, are not looked for.
const MOST_CHOICES: usize = 3;

/// What demanglers write by themselves, and do not find in the name.
const WRITTEN: &[&str] = &[
    // Of C++: types, and what literals of them end with.
    "unsigned signed char bool double long float int short void wchar_t half auto __int128 __float128 ull ul",
    "decimal64 decimal128 decimal32 char32_t char16_t char8_t decltype nullptr",
    "bfloat16_t _Float16 _Float32 _Float64 _Float128 _Float32x _Float64x _Complex _Imaginary __vector",
    "restrict volatile const noexcept throw transaction_safe",
    // Special names.
    "std allocator basic_string string istream ostream iostream basic_istream basic_ostream basic_iostream char_traits",
    "vtable VTT typeinfo name fn for non virtual thunk to covariant return construction in guard variable TLS init function",
    "wrapper template parameter object reference temporary hidden alias transaction clone",
    "anonymous namespace lambda unnamed type default arg abi parm this string literal",
    // Operators.
    "operator alignof co_await const_cast delete dynamic_cast new reinterpret_cast sizeof static_cast typeid true false",
    // Of Rust: types, and what paths and constants are written with.
    "bool char str i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f16 f32 f64 f128",
    "dyn mut const for fn unsafe extern as impl closure shim where crate",
    "invalid syntax recursion limit reached size",
];

/// Words that have to be in a mangled name: one of each of these.
#[derive(Debug)]
pub(super) struct Required(Vec<Words>);

#[derive(Debug)]
enum Words {
    One(Box<Finder<'static>>),
    Many(AhoCorasick),
}

impl Required {
    /// What a regex needs, if it needs anything. It is one that takes case as it is written; with `ignore_case` words are looked
    /// for in any case.
    pub(super) fn of(regex: &Hir, ignore_case: bool) -> Option<Self> {
        let mut all = choices(regex, ignore_case);
        // The one that the fewest names have, as a rule, is looked for first.
        all.sort_by_key(|choice| (choice.len(), Reverse(least(choice))));
        all.truncate(MOST_CHOICES);
        let words = |choice: Vec<Vec<u8>>| match &choice[..] {
            [word] if !ignore_case => Some(Words::One(Box::new(Finder::new(word).into_owned()))),
            words => {
                let mut builder = AhoCorasick::builder();
                builder.ascii_case_insensitive(ignore_case).match_kind(MatchKind::Standard);
                builder.build(words).ok().map(Words::Many)
            }
        };
        let words: Vec<Words> = all.into_iter().filter_map(words).collect();
        (!words.is_empty()).then_some(Self(words))
    }

    /// Whether a name may match, as far as its mangled form tells.
    pub(super) fn may_match(&self, mangled: &[u8]) -> bool {
        let there = |words: &Words| match words {
            Words::One(finder) => finder.find(mangled).is_some(),
            Words::Many(automaton) => automaton.is_match(mangled),
        };
        self.0.iter().all(there) || holds_escapes(mangled)
    }
}

/// What is in all that a regex matches: of each of these, one word.
fn choices(regex: &Hir, ignore_case: bool) -> Vec<Vec<Vec<u8>>> {
    match regex.kind() {
        HirKind::Literal(literal) => words(&literal.0, ignore_case).map(|word| vec![word]).collect(),
        HirKind::Repetition(repetition) if repetition.min > 0 => choices(&repetition.sub, ignore_case),
        HirKind::Capture(capture) => choices(&capture.sub, ignore_case),
        HirKind::Concat(parts) => parts.iter().flat_map(|part| choices(part, ignore_case)).collect(),
        HirKind::Alternation(parts) => {
            let best = |part| choices(part, ignore_case).into_iter().max_by_key(|choice| least(choice));
            let all: Option<Vec<_>> = parts.iter().map(best).collect();
            all.map(|all| all.concat()).filter(|all| all.len() <= MOST).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The length of the shortest of some words.
fn least(words: &[Vec<u8>]) -> usize {
    words.iter().map(Vec::len).min().unwrap_or_default()
}

/// The words in text that are found in mangled names as they are.
fn words(text: &[u8], ignore_case: bool) -> impl Iterator<Item = Vec<u8>> {
    let words = text.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'));
    // A number may be written in another way, with a letter behind it.
    let begin = |word: &[u8]| word.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(word.len());
    let words = words.map(move |word| &word[begin(word)..]).filter(|word| word.len() >= SHORTEST);
    words.filter(move |word| !is_written(word, ignore_case)).map(<[u8]>::to_vec)
}

/// Whether a word may be part of what is not in the mangled name.
fn is_written(word: &[u8], ignore_case: bool) -> bool {
    let plain = word.to_ascii_lowercase();
    let digits = plain.strip_prefix(b"x").unwrap_or(&plain);
    let hexadecimal = digits.iter().all(u8::is_ascii_hexdigit);
    let contains = |text: &str| {
        if ignore_case {
            memmem::find(text.to_ascii_lowercase().as_bytes(), &plain).is_some()
        } else {
            memmem::find(text.as_bytes(), word).is_some()
        }
    };
    hexadecimal || WRITTEN.iter().any(|text| contains(text))
}

/// Whether a name of Rust holds letters or digits in another form: a string as a constant (v0: `Re68656c6c6f_`), or a
/// character in an escape (legacy: `$u61$`).
fn holds_escapes(mangled: &[u8]) -> bool {
    let start = mangled.iter().position(|byte| !matches!(byte, b'.' | b'$')).unwrap_or_default();
    match &mangled[start..] {
        [b'_', b'R', ..] => memchr::memchr_iter(b'e', mangled).any(|at| {
            let digits = &mangled[at + 1..];
            let length = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            at > 0 && matches!(mangled[at - 1], b'R' | b'Q' | b'K') && length > 0 && digits.get(length) == Some(&b'_')
        }),
        [b'_', b'Z', b'N', ..] => memchr::memchr_iter(b'$', mangled).any(|at| {
            let Some(rest) = mangled[at + 1..].strip_prefix(b"u") else { return false };
            let digits = rest.split(|byte| *byte == b'$').next().unwrap_or_default();
            let code = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
            code.and_then(char::from_u32).is_some_and(|char| char.is_ascii_alphanumeric() || char == '_')
        }),
        _ => false,
    }
}
