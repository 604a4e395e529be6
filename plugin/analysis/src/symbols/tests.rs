use super::names::{Names, search_kept};
use super::pattern::Pattern;
use super::table::Table;
use super::{Demangler, Found, Symbols, SymbolsOptions};
use crate::files::FileAnalysis;
use crate::{Cut, Serial, run};
use proptest::prelude::*;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use target::Access;
use target::modules::{FileSet, Files, Module, Search, survey};

fn matching(regex: &str, names: &[&str]) -> Vec<usize> {
    let mut pattern = Pattern::new(regex, false).unwrap();
    let mut all = Names::default();
    all.clear();
    for name in names {
        all.push(|text| text.extend_from_slice(name.as_bytes()));
    }
    let mut found = Vec::new();
    assert!(all.search(&mut pattern, |index| found.push(index), &|| false).is_continue());
    let alone: Vec<usize> = (0..names.len()).filter(|index| pattern.matches(names[*index].as_bytes())).collect();
    assert_eq!(found, alone, "{regex:?} in {names:?}");
    found
}

#[test]
fn names_one_behind_another_match_as_each_alone() {
    let names = ["alpha", "", "beta", "alphabet", "x\ny", "beta"];
    for (regex, expected) in [
        ("", vec![0, 1, 2, 3, 4, 5]),
        ("a*", vec![0, 1, 2, 3, 4, 5]),
        ("$", vec![0, 1, 2, 3, 4, 5]),
        ("^", vec![0, 1, 2, 3, 4, 5]),
        ("alpha", vec![0, 3]),
        ("^alpha$", vec![0]),
        (r"\Aalpha\z", vec![0]),
        ("^$", vec![1]),
        ("bet", vec![2, 3, 5]),
        (r"\bbet", vec![2, 5]),
        ("(?s)a.*b", vec![3]),
        (r"[^q]{6}", vec![3]),
        (r"a\x00b", vec![]),
        (r"\W", vec![4]),
        ("x.y", vec![]),
        ("(?s)x.y", vec![4]),
        ("q", vec![]),
    ] {
        assert_eq!(matching(regex, &names), expected, "{regex}");
    }
}

#[test]
fn a_search_of_names_ends_when_it_is_told_to() {
    let mut names = Names::default();
    names.clear();
    for _ in 0..100 {
        names.push(|text| text.extend_from_slice(b"alpha"));
    }
    let (asked, mut found) = (std::cell::Cell::new(0), 0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 3
    };
    let mut pattern = Pattern::new("a", false).unwrap();
    assert_eq!(names.search(&mut pattern, |_| found += 1, &stop), ControlFlow::Break(()));
    assert!((1..100).contains(&found), "{found}");
}

#[test]
fn what_is_wrong_with_a_regex_is_said_in_one_line() {
    let message = |regex: &str| super::check(regex, false).unwrap_err().to_string();
    says(&message("a(b"), "regex 'a(b': unclosed group, at '(b'");
    says(&message("a["), "regex 'a[': unclosed character class, at '['");
    says(&message("*"), "regex '*': repetition operator missing expression, at '*'");
    says(&message("a\n("), "regex 'a (': unclosed group, at '('");
    assert!(message("(a{999}){999}").contains("too large"), "{}", message("(a{999}){999}"));
}

fn says(left: &str, right: &str) {
    assert_eq!(left, right);
}

proptest! {
    #[test]
    fn names_one_behind_another_match_as_each_alone_whatever_the_regex(
        names in prop::collection::vec("[ab:<>_ ]{0,6}", 0..12),
        parts in prop::collection::vec(
            prop::sample::select(vec!["a", "b", ":", ".", "*", "?", "+", "[^a]", "^", "$", r"\b", r"\B", "|", "a{2}", "(?s:.)", r"\w", r"\n", "()", " "]), 0..6),
    ) {
        let regex = parts.concat();
        if Pattern::new(&regex, false).is_ok() {
            matching(&regex, &names.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_kept_fact_that_is_damaged_is_none_or_is_searched_to_its_end(
        names in prop::collection::vec("[ab]{0,4}", 0..6), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut content = (names.len() as u32).to_le_bytes().to_vec();
        let text: Vec<u8> = names.iter().flat_map(|name| [name.as_bytes(), &[0]].concat()).collect();
        let mut end = 0u32;
        content.extend_from_slice(&end.to_le_bytes());
        for name in &names {
            end += name.len() as u32 + 1;
            content.extend_from_slice(&end.to_le_bytes());
        }
        content.extend_from_slice(&text);
        let mut pattern = Pattern::new("a", false).unwrap();
        let named = names.iter().filter(|name| !name.is_empty()).count() as u64;
        prop_assert_eq!(search_kept(&content, names.len(), &mut pattern, |_| (), &|| false), Some(ControlFlow::Continue(named)));
        let at = at.index(content.len());
        if cut { content.truncate(at) } else { content[at] = byte }
        let mut last = None;
        search_kept(&content, names.len(), &mut pattern, |index| {
            assert!(index < names.len() && last.is_none_or(|last| last < index));
            last = Some(index);
        }, &|| false);
    }
}

/// Names that are there: this test's own, and those of a library of C++; as they are in the table, and demangled.
fn real_names() -> &'static [(Vec<u8>, Vec<u8>)] {
    static NAMES: OnceLock<Vec<(Vec<u8>, Vec<u8>)>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let own = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        let cpp = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6".to_owned();
        let module = |path: String| survey(&Module { path, ..Module::default() }, &Search::default());
        let set = FileSet::new(vec![module(own), module(cpp)]);
        let files = Files::new(set, Vec::new(), Access::Mapped, None);
        let mut demangler = Demangler::new();
        let mut names = Vec::new();
        for module in 0..2 {
            for section in files.set().modules[module].symbol_tables() {
                let table = Table::open(&files, module, section).unwrap();
                for symbol in (0..table.len()).filter_map(|entry| table.symbol(entry).unwrap()) {
                    let mut name = Vec::new();
                    demangler.demangle(symbol.name, &mut name);
                    names.push((symbol.name.to_vec(), name));
                }
            }
        }
        assert!(names.len() > 10_000);
        names
    })
}

/// A regex that some name matches: a piece of it, or several with something between them.
fn regex_of(name: &[u8]) -> impl Strategy<Value = String> + use<> {
    let name = String::from_utf8_lossy(name).into_owned();
    let piece = move |(at, length): (prop::sample::Index, usize)| {
        let chars: Vec<char> = name.chars().collect();
        let at = at.index(chars.len().max(1)).min(chars.len());
        regex_syntax::escape(&chars[at..(at + length).min(chars.len())].iter().collect::<String>())
    };
    let pieces = prop::collection::vec((any::<prop::sample::Index>(), 1..24usize).prop_map(piece), 1..4);
    (pieces, prop::sample::select(vec![".*", "|", "+", "(", "?"])).prop_map(|(pieces, between)| match between {
        "+" => format!("({})+", pieces.concat()),
        "(" => format!("({}|x+)({})", pieces[0], pieces.concat()),
        "?" => format!("({})?{}", pieces.concat(), pieces[0]),
        between => pieces.join(between),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// No name that matches is passed over before it is demangled.
    #[test]
    fn what_is_required_is_in_every_name_that_matches(
        regex in any::<prop::sample::Index>().prop_flat_map(|index| {
            let names = real_names();
            let (mangled, name) = &names[index.index(names.len())];
            regex_of(if name.is_empty() { mangled } else { name })
        }),
        ignore_case in any::<bool>(),
    ) {
        let mut pattern = Pattern::new(&regex, ignore_case).unwrap();
        for (mangled, name) in real_names() {
            let shown = if name.is_empty() { mangled } else { name };
            if pattern.required().is_some_and(|required| !required.may_match(mangled)) {
                prop_assert!(!pattern.matches(shown), "{regex:?}: {}", String::from_utf8_lossy(shown));
            }
        }
    }
}

#[test]
fn words_that_demanglers_write_are_not_required() {
    let required = |regex: &str| Pattern::new(regex, false).unwrap().required().is_some();
    for regex in [
        "vtable for",
        "basic_string",
        "nsigned",
        "^operator new",
        "lambda",
        "0x12ab",
        "dead",
        "st",
        "foo|x*",
        "a.c",
        "12ul",
        "@",
    ] {
        assert!(!required(regex), "{regex}");
    }
    for regex in ["hir_ty::lower", "vtable for Shape", "(foo|bar)baz", "foo|bar", "x*foo", "(foo)+", "std::vector<Foo"]
    {
        assert!(required(regex), "{regex}");
    }
    let passes =
        |regex: &str, mangled: &[u8]| Pattern::new(regex, false).unwrap().required().unwrap().may_match(mangled);
    assert!(passes("hello", b"_RINvC1a1fKRe68656c6c6f_E"), "a constant");
    assert!(passes("hello", b"_ZN1a10h$u65$llo17h0123456789abcdefE"), "an escape");
    assert!(!passes("hello", b"_RINvC1a1fKRe68656c6c6fE"));
    assert!(!passes("hello", b"_ZN1a10h$u20$llo17h0123456789abcdefE"));
    for text in super::demangle::written_by_cpp() {
        for word in text.split(|byte: char| !(byte.is_ascii_alphanumeric() || byte == '_')) {
            assert!(!required(word), "{word}");
        }
    }
}

/// What is found in an image of a file.
fn found_in(image: Vec<u8>, regex: &str) -> Vec<Found> {
    let module = Module { path: "[image]".into(), image: Some(image), ..Module::default() };
    let set = FileSet::new(vec![survey(&module, &Search::default())]);
    let options = SymbolsOptions { regex: regex.into(), limit: 100, ..SymbolsOptions::default() };
    let analysis = Symbols::new(set.clone(), options).unwrap();
    let files = Files::new(set, Vec::new(), Access::Mapped, None);
    let mut found = Vec::new();
    let mut outcome = run(&analysis, &mut Serial::new(&analysis, &files), &files, Cut::default(), &mut found);
    while analysis.finish(&mut outcome.merge, &mut found) {}
    assert!(found.len() as u64 <= analysis.total(&outcome.merge));
    found
}

#[test]
fn a_file_may_be_cut_off_anywhere_and_any_byte_may_be_wrong() {
    let image = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/corpus/symbols/library")).unwrap();
    let image = &image[1..];
    let names = |found: &[Found]| found.iter().map(|found| String::from_utf8_lossy(&found.name).into_owned()).collect();
    let whole: Vec<String> = names(&found_in(image.to_vec(), "@|"));
    for name in ["f@@V1", "p@@V2", "g", "V1"] {
        assert!(whole.contains(&name.to_owned()), "{name} is not in {whole:?}");
    }
    for end in (0..image.len()).step_by(7) {
        found_in(image[..end].to_vec(), "@|");
    }
    for at in 0..image.len() {
        let mut damaged = image.to_vec();
        damaged[at] ^= 0xff;
        found_in(damaged, if at % 2 == 0 { "@|" } else { "" });
    }
}
