//! What has to be in a mangled name so that a regex matches the name: it is looked for before the name is demangled, which
//! takes twenty times as long.
//!
//! A word of the regex has to be there letter by letter, if it is no part of what a demangler writes by itself (`vtable for`,
//! `unsigned int`, `std::basic_string`): manglings hold identifiers as they are, and refer back only to what they held before.

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::{self, Finder};
use regex_syntax::hir::{Hir, HirKind};

/// Shorter words are in most names anyway.
const SHORTEST: usize = 3;

/// More alternatives are not looked for.
const MOST: usize = 32;

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

/// Words of which one has to be in a mangled name.
#[derive(Debug)]
pub(super) struct Required {
    words: Words,
}

#[derive(Debug)]
enum Words {
    One(Finder<'static>),
    Many(AhoCorasick),
}

impl Required {
    /// What a regex needs, if it needs anything. It is one that takes case as it is written; with `ignore_case` words are looked
    /// for in any case.
    pub(super) fn of(regex: &Hir, ignore_case: bool) -> Option<Self> {
        let words = words(regex, ignore_case)?;
        let words = match &words[..] {
            [word] if !ignore_case => Words::One(Finder::new(word).into_owned()),
            words => {
                let mut builder = AhoCorasick::builder();
                builder.ascii_case_insensitive(ignore_case).match_kind(MatchKind::Standard);
                Words::Many(builder.build(words).ok()?)
            }
        };
        Some(Self { words })
    }

    /// Whether a name may match, as far as its mangled form tells.
    pub(super) fn may_match(&self, mangled: &[u8]) -> bool {
        let there = match &self.words {
            Words::One(finder) => finder.find(mangled).is_some(),
            Words::Many(automaton) => automaton.is_match(mangled),
        };
        there || holds_escapes(mangled)
    }
}

/// The words of which one is in all that a regex matches. The longer the shortest of them, the better.
fn words(regex: &Hir, ignore_case: bool) -> Option<Vec<Vec<u8>>> {
    match regex.kind() {
        HirKind::Literal(literal) => word(&literal.0, ignore_case).map(|word| vec![word]),
        HirKind::Repetition(repetition) if repetition.min > 0 => words(&repetition.sub, ignore_case),
        HirKind::Capture(capture) => words(&capture.sub, ignore_case),
        HirKind::Concat(parts) => {
            let least = |words: &Vec<Vec<u8>>| words.iter().map(Vec::len).min();
            parts.iter().filter_map(|part| words(part, ignore_case)).max_by_key(least)
        }
        HirKind::Alternation(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(|part| words(part, ignore_case)).collect();
            all.map(|all| all.concat()).filter(|all| all.len() <= MOST)
        }
        _ => None,
    }
}

/// The longest word in text that is found in mangled names as it is.
fn word(text: &[u8], ignore_case: bool) -> Option<Vec<u8>> {
    let words = text.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'));
    // A number may be written in another way, with a letter behind it.
    let begin = |word: &[u8]| word.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(word.len());
    let words = words.map(|word| &word[begin(word)..]).filter(|word| word.len() >= SHORTEST);
    words.filter(|word| !is_written(word, ignore_case)).max_by_key(|word| word.len()).map(<[u8]>::to_vec)
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
        [b'_', b'Z', b'N', ..] => memmem::find_iter(mangled, b"$u").any(|at| {
            let digits = mangled[at + 2..].split(|byte| *byte == b'$').next().unwrap_or_default();
            let code = std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
            code.and_then(char::from_u32).is_some_and(|char| char.is_ascii_alphanumeric() || char == '_')
        }),
        _ => false,
    }
}
