//! Types of chunks, in heaps of programs that know what is in them.

mod allocators;
#[path = "../common/build.rs"]
mod build;
mod debuggee;

use analysis::Cut;
use analysis::heap::allocators::Runtimes;
use analysis::heap::types::Languages;
use build::Build;
use debuggee::{Debuggee, Found, find};
use std::collections::BTreeMap;
use target::Opened;

const CPP: Languages = Languages { libstdcxx: true, rust: false };

/// What is found in a heap is what the program says, or nothing. Returns how many allocations of each kind have been found, of how many.
fn compare(found: &Found, truth: &BTreeMap<u64, String>) -> BTreeMap<String, (u32, u32)> {
    let mut counts: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let types = found.types();
    let mut wrong = Vec::new();
    for (address, own) in &types {
        let expected = truth.get(address).map(String::as_str).filter(|kind| *kind != "nothing");
        // What is doubtful may have a type, or none.
        let sure = expected.filter(|kind| !kind.ends_with('?'));
        let expected = expected.map(|kind| kind.trim_end_matches('?'));
        if let Some(expected) = sure {
            let count = counts.entry(expected.to_owned()).or_default();
            count.0 += u32::from(own.as_deref() == Some(expected));
            count.1 += 1;
        }
        if own.is_some() && own.as_deref() != expected {
            wrong.push(format!("{address:#x} is {expected:?}, not {own:?}"));
        }
    }
    let missing: Vec<_> = truth.keys().filter(|address| !types.contains_key(address)).collect();
    assert!(missing.is_empty(), "{} allocations are no chunks in use", missing.len());
    assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(12)]);
    counts
}

fn complete(counts: &BTreeMap<String, (u32, u32)>) {
    for (kind, (found, all)) in counts {
        eprintln!("{kind}: {found} of {all}");
    }
    for (kind, (found, all)) in counts {
        // What is left of pointers to dead vectors makes some of those that live doubtful.
        let doubtful =
            ["Vec", "std::vector", "BTreeMap", "heap_types::", "call_back("].iter().any(|own| kind.starts_with(own));
        let least = if doubtful { all - all / 8 } else { *all };
        assert!(*found >= least, "{kind}: {found} of {all}");
    }
}

fn same(found: &Found, expected: &Found, what: &str) {
    let (own, others) = (found.types(), expected.types());
    assert!(own.keys().eq(others.keys()), "{what}");
    let differences: Vec<_> = own.iter().zip(others.values()).filter(|((_, own), other)| own != other).collect();
    assert!(differences.is_empty(), "{what}: {differences:#x?}");
    assert_eq!(found.facts, expected.facts, "{what}");
}

/// The names of all types that match, and how many objects they have.
fn objects(found: &Found, name: &str, subclasses: bool) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let wanted = found.types.matching(|own| own == name, subclasses);
    for object in found.types.objects(&found.view.index, &wanted) {
        *counts.entry(found.types.list()[object.kind].name.clone()).or_default() += 1;
        assert!(object.chunk.used && object.chunk.usable().contains(object.address));
    }
    counts
}

#[test]
fn objects_of_a_class_and_of_those_that_derive_from_it() {
    let build = Build::new();
    let program = build.compile("g++", "heap_types.cpp", "program", "-O1 -std=c++17 -s");
    let debuggee = Debuggee::start(&program, &["100"]);
    let found = find(&debuggee.open(), CPP, 2, Cut::default());
    let count = |kinds: &[&str]| debuggee.truth.values().filter(|kind| kinds.contains(&kind.as_str())).count();
    let all = [
        ("(anonymous namespace)::Hidden", count(&["(anonymous namespace)::Hidden"])),
        ("Circle", count(&["Circle", "Circle (shared)"])),
        ("Disc", count(&["Disc"])),
        ("Label", count(&["Label"])),
        ("inner::Box<int>", count(&["inner::Box<int>"])),
    ];
    let expected = |names: &[&str]| -> BTreeMap<String, usize> {
        let chosen = all.iter().filter(|(name, _)| names.contains(name));
        chosen.map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    assert_eq!(objects(&found, "Circle", false), expected(&["Circle"]));
    let circles = ["Circle", "inner::Box<int>", "(anonymous namespace)::Hidden"];
    assert_eq!(objects(&found, "Circle", true), expected(&circles));
    assert_eq!(objects(&found, "Named", true), expected(&["Label"]), "through the first of two bases");
    assert_eq!(objects(&found, "Round", true), expected(&["Disc"]));
    assert_eq!(objects(&found, "Shape", true), expected(&all.map(|(name, _)| name)), "through virtual bases as well");
    assert_eq!(objects(&found, "Shape", false), BTreeMap::new());
    assert_eq!(objects(&found, "std::exception", true), BTreeMap::from([("std::runtime_error".to_owned(), 1)]));
    // An object that shares its chunk with its reference counts begins behind those.
    let wanted = found.types.matching(|name| name == "Plain", false);
    let plain: Vec<_> = found.types.objects(&found.view.index, &wanted).collect();
    assert_eq!(plain.len(), count(&["Plain (shared)"]));
    assert!(plain.iter().all(|object| object.address == object.chunk.address() + 16));
    // Every chunk in use is counted once.
    let totals = found.types.totals().iter().chain([&found.types.unknown()]).map(|total| total.count).sum::<u64>();
    assert_eq!(totals, found.types().len() as u64);
}

#[test]
fn objects_in_a_row_are_found_each() {
    let build = Build::new();
    let source = build.path("arrays.cpp");
    std::fs::write(
        &source,
        "#include <cstdio>\n#include <cstring>\n#include <vector>\n\
         struct Base { virtual ~Base() {} long own = 1; };\nstruct Mid : Base { char more[20] = {}; };\nstruct Bare { virtual ~Bare() {} };\n\
         struct Number { long count = 3; Mid first; Base second; };\n\
         static void tell(const void *at, const char *kind) { printf(\"%p %s\\n\", at, kind); }\n\
         template <class T> static void many(T *first, long count, const char *kind) { char *block = (char *)first - 8;\n\
         tell(*(long *)block == count ? block : (char *)first, kind); }\n\
         static std::vector<Mid> vectors[3]; static void *kept[8];\n\
         int main() { setvbuf(stdin, 0, _IONBF, 0);\n\
         Mid *mids = new Mid[25]; kept[0] = mids; many(mids, 25, \"Mid[]\"); Bare *bares = new Bare[4]; kept[1] = bares; many(bares, 4, \"Bare[]\");\n\
         Base *bases = new Base[30000]; kept[2] = bases; many(bases, 30000, \"Base[]\");\n\
         vectors[0].resize(37); vectors[1].resize(1); vectors[2].reserve(40); vectors[2].resize(9);\n\
         tell(vectors[0].data(), \"Mid[]\"); tell(vectors[1].data(), \"Mid\"); tell(vectors[2].data(), \"Mid[]\");\n\
         kept[3] = new Mid; tell(kept[3], \"Mid\"); kept[4] = new Number; tell(kept[4], \"nothing\");\n\
         puts(\"ready\"); fflush(stdout); getchar(); }",
    )
    .unwrap();
    build.run("g++", "-O1 -o arrays arrays.cpp");
    let debuggee = Debuggee::start(&build.path("arrays"), &[]);
    let found = find(&debuggee.open(), CPP, 2, Cut::default());
    compare(&found, &debuggee.truth);
    let expected = |names: &[(&str, usize)]| names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    assert_eq!(objects(&found, "Mid", false), expected(&[("Mid", 25 + 37 + 1 + 9 + 1)]));
    assert_eq!(objects(&found, "Bare", false), expected(&[("Bare", 4)]));
    assert_eq!(objects(&found, "Base", true), expected(&[("Mid", 73), ("Base", 30_000)]));
    let wanted = found.types.matching(|name| name == "Mid", false);
    let sizes =
        found.types.objects(&found.view.index, &wanted).filter(|object| object.address != object.chunk.address());
    assert!(sizes.map(|object| object.size).all(|size| size == 40));
    let names: Vec<_> = (0..found.view.index.count()).filter_map(|number| found.types.name_of(number)).collect();
    for name in ["Mid[25]", "Mid[37]", "Mid[9]", "Bare[4]", "Base[30000]"] {
        assert_eq!(names.iter().filter(|own| *own == name).count(), 1, "{name} in {names:?}");
    }
    for cut in [Cut { block: 64, task: 4096, sparse: 4096 }, Cut { block: 4096, task: 1 << 16, sparse: 1 << 16 }] {
        same(&find(&debuggee.open(), CPP, 2, cut), &found, "cut in another way");
    }
}

#[test]
fn classes_without_type_information_are_named_by_symbols() {
    let build = Build::new();
    let source = build.path("untyped.cpp");
    std::fs::write(
        &source,
        "#include <cstdio>\nstruct First { virtual ~First() {} long own = 1; };\nstruct Second : First { long more = 2; };\n\
         static const void *const table[] = {0, 0, (const void *)puts, (const void *)puts};\n\
         static void *kept[30];\n\
         int main() { setvbuf(stdin, 0, _IONBF, 0); for (int at = 0; at < 30; at++) switch (at % 3) { case 0: kept[at] = new First; break; case 1: kept[at] = new Second; break;\n\
         case 2: kept[at] = new const void *const *[3]{table + 2}; }\n\
         for (int at = 0; at < 30; at++) printf(\"%p %s\\n\", kept[at], at % 3 == 0 ? \"First\" : at % 3 == 1 ? \"Second\" : \"nothing\");\n\
         puts(\"ready\"); fflush(stdout); getchar(); }",
    )
    .unwrap();
    build.run("g++", "-O1 -fno-rtti -o untyped untyped.cpp");
    let debuggee = Debuggee::start(&build.path("untyped"), &[]);
    let target = debuggee.open();
    let mut found = find(&target, CPP, 1, Cut::default());
    assert_eq!(found.types.list(), []);
    assert_eq!(found.facts.unnamed().count(), 3);
    found.name(&target);
    let counts = compare(&found, &debuggee.truth);
    assert_eq!(counts, BTreeMap::from([("First".to_owned(), (10, 10)), ("Second".to_owned(), (10, 10))]));
}

#[test]
fn a_program_of_rust() {
    let build = Build::new();
    for (name, options) in [
        ("plain", "--edition 2024 -C debuginfo=0"),
        ("optimized", "--edition 2024 -O"),
        ("newer", "--edition 2024 -O -C symbol-mangling-version=v0"),
        ("stripped", "--edition 2024 -O -C strip=symbols"),
    ] {
        let program = build.compile("rustc", "heap_types.rs", name, options);
        let mut debuggee = Debuggee::start(&program, &["300"]);
        let languages = Languages { libstdcxx: false, rust: true };
        let target = debuggee.open();
        assert_eq!(allocators::recognise(&target), Runtimes { allocators: vec![], languages }, "{name}");
        if name == "stripped" {
            // Nothing says what its types are called.
            let types = debuggee.truth.values_mut().filter(|kind| kind.starts_with("heap_types::"));
            types.for_each(|kind| *kind = "nothing".to_owned());
        }
        let look = |languages| {
            let mut found = find(&target, languages, 2, Cut::default());
            found.name(&target);
            compare(&found, &debuggee.truth)
        };
        complete(&look(languages));
        // Nor is anything in it taken for something of C++.
        look(Languages { libstdcxx: true, rust: true });
    }
}

#[test]
fn a_program_of_cpp() {
    let build = Build::new();
    for (name, options) in [
        ("plain", "-O1 -std=c++17"),
        ("stripped", "-O2 -std=c++17 -s -no-pie"),
        ("static", "-O2 -std=c++17 -static -s"),
    ] {
        let program = build.compile("g++", "heap_types.cpp", name, options);
        let mut debuggee = Debuggee::start(&program, &["300"]);
        let target = debuggee.open();
        assert_eq!(allocators::recognise(&target), Runtimes { allocators: vec![], languages: CPP }, "{name}");
        if name != "plain" {
            // Nothing says what its callables are called.
            let calls = debuggee.truth.values_mut().filter(|kind| kind.starts_with("call_back("));
            calls.for_each(|kind| *kind = "nothing".to_owned());
        }
        let look = |target: &Opened, threads, cut| {
            let mut found = find(target, CPP, threads, cut);
            found.name(target);
            found
        };
        let live = look(&target, 2, Cut::default());
        complete(&compare(&live, &debuggee.truth));
        let small = Cut { block: 4 << 10, task: 20_000, sparse: 70_000 };
        let other = look(&target, 7, small);
        same(&other, &live, &format!("{name}, small tasks"));
        let core = debuggee.core(build.path("").as_path());
        let core = target::core::open(&core, &Default::default()).unwrap();
        let dead = look(&core, 2, Cut::default());
        same(&dead, &live, &format!("{name}, core"));
    }
}
