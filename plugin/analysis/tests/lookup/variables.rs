//! Where variables are declared, as nm of binutils and llvm-symbolizer tell it.

use crate::build::Build;
use crate::search::{run, surveyed};
use analysis::files::FileAnalysis;
use analysis::symbols::{Kind, Symbols, SymbolsOptions};
use analysis::{Analysis, Results, SymbolRow};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use target::Access;
use target::cache::Cache;
use target::modules::{FileSet, Files};

/// A file and a line.
type Place = String;

/// The rows of all of a program's data, what could not be read for them, and what an earlier scan has kept if there is a `cache`.
fn data(program: &Path, cache: Option<PathBuf>) -> (Vec<SymbolRow>, Vec<String>) {
    let set = FileSet::new(vec![surveyed(program)]);
    let cache = || cache.clone().map(|folder| Cache::open(folder, 1 << 30));
    let files = Files::new(set.clone(), Vec::new(), Access::Mapped, cache());
    let options =
        SymbolsOptions { regex: String::new(), kind: Some(Kind::Data), limit: usize::MAX, ..Default::default() };
    let plan = Symbols::new(set, options).unwrap();
    let (items, _) = run(&plan, &files, 1 << 20);
    let mut scanner = plan.scanner().unwrap();
    let Results::Symbols(rows) = plan.describe(&mut scanner, &items, &files, &|| false) else { unreachable!() };
    if cache().is_some() {
        plan.chore(plan.set().range(0, plan.set().modules[0].debug_info().unwrap()), &files, &|| false);
    }
    (rows, plan.unread(&mut scanner))
}

/// The places of those that have one, by name and address.
fn places(rows: &[SymbolRow]) -> BTreeMap<(String, u64), Place> {
    let place = |row: &SymbolRow| Some(format!("{}:{}", row.file.as_ref()?, row.line.unwrap_or(0)));
    rows.iter().filter_map(|row| Some(((row.name.clone(), row.address?), place(row)?))).collect()
}

/// The place of each address, as `nm` has it.
fn of_nm(program: &Path) -> BTreeMap<u64, Place> {
    let output = Command::new("nm").arg("-l").arg(program).output().expect("nm runs: binutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = |line: &str| {
        let (symbol, place) = line.split_once('\t')?;
        Some((u64::from_str_radix(symbol.get(..16)?, 16).ok()?, place.to_owned()))
    };
    text.lines().filter_map(place).collect()
}

/// The places of addresses, as llvm-symbolizer has them.
fn of_symbolizer(program: &Path, addresses: &[u64]) -> BTreeMap<u64, Place> {
    let queries = addresses.iter().map(|address| format!("DATA {} {address:#x}", program.display()));
    let output = Command::new("llvm-symbolizer-22").args(queries).output().expect("llvm-symbolizer-22 runs");
    let text = String::from_utf8(output.stdout).unwrap();
    let blocks: Vec<&str> = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()).collect();
    assert_eq!(blocks.len(), addresses.len());
    // Of what no debug information tells, it has the name of an object file, and no line.
    let known = |place: &&str| !place.starts_with('?') && !place.ends_with(":0");
    let place = |block: &str| block.lines().nth(2).filter(known).map(str::to_owned);
    addresses.iter().zip(blocks).filter_map(|(address, block)| Some((*address, place(block)?))).collect()
}

/// Checks all places of a program, and returns them.
fn checked(program: &Path) -> BTreeMap<(String, u64), Place> {
    let (rows, unread) = data(program, None);
    assert_eq!(unread, Vec::<String>::new(), "{}", program.display());
    let own = places(&rows);
    let sized = |row: &&SymbolRow| row.size > 0 && !row.undefined;
    let addresses: Vec<u64> = rows.iter().filter(sized).filter_map(|row| row.address).collect();
    let peers = [of_nm(program), of_symbolizer(program, &addresses)];
    for row in &rows {
        let Some(address) = row.address else { continue };
        let place = own.get(&(row.name.clone(), address));
        if !sized(&row) {
            assert_eq!(place, None, "{} is a label", row.name);
            continue;
        }
        // Neither knows all: the one not where entries have their addresses by numbers, the other not all of GCC's version 5.
        for expected in peers.iter().filter_map(|places| places.get(&address)) {
            assert_eq!(place, Some(expected), "{} in {}", row.name, program.display());
        }
    }
    own
}

/// The line of each variable of the fixture, which is that of its definition or, as clang has it, of its declaration.
fn lines(places: &BTreeMap<(String, u64), Place>, source: &str) -> BTreeMap<String, String> {
    let line = |((name, _), place): (&(String, u64), &Place)| {
        let (file, line) = place.rsplit_once(':')?;
        file.ends_with(source).then(|| (name.clone(), line.to_owned()))
    };
    places.iter().filter_map(line).collect()
}

const NAMES: [&str; 10] = [
    "(anonymous namespace)::hidden",
    "Counter::limit",
    "Counter::shared",
    "Counter::total",
    "Held<int>::value",
    "announced",
    "counted()::calls",
    "deep::nested",
    "own",
    "zeros",
];

#[test]
fn variables_are_declared_where_nm_and_llvm_symbolizer_say() {
    let build = Build::new();
    for compiler in ["g++", "clang++-22"] {
        for version in ["-gdwarf-4", "-gdwarf-5"] {
            for more in ["", "-no-pie -fno-pie", "-gsplit-dwarf", "-fdebug-types-section", "-m32 -nostdlib -Wl,-e,main"]
            {
                let options = format!("-O0 {version} {more}");
                let program = build.compile(compiler, "variables.cpp", "program", &options);
                let found = lines(&checked(&program), "variables.cpp");
                assert!(found.keys().eq(NAMES), "{compiler} {options}: {found:?}");
            }
        }
    }
}

#[test]
fn what_is_made_of_a_program_has_the_same_variables() {
    let build = Build::new();
    for (compiler, version) in [("g++", 5), ("clang++-22", 4)] {
        let program = build.compile(compiler, "variables.cpp", "program", &format!("-O0 -gdwarf-{version}"));
        let whole = checked(&program);
        let same = |name: &str| {
            let (rows, unread) = data(&build.path(name), None);
            assert_eq!((places(&rows), unread), (whole.clone(), Vec::new()), "{compiler} {name}");
        };
        build.run("llvm-objcopy-22", "--compress-debug-sections=zstd program zstd");
        same("zstd");
        build.run("cp", "program one");
        build.run("cp", "program two");
        build.run("dwz", "-m common one two");
        same("one");
        build.run("objcopy", "--only-keep-debug program linked.debug");
        build.run("objcopy", "--strip-debug --add-gnu-debuglink=linked.debug program linked");
        same("linked");
    }
    let split = build.compile("clang++-22", "variables.cpp", "program", "-O0 -gdwarf-5 -gsplit-dwarf");
    let whole = checked(&split);
    build.run("llvm-dwp-22", "-e program -o program.dwp");
    for file in walk(split.parent().unwrap()) {
        if file.extension().is_some_and(|extension| extension == "dwo") {
            std::fs::remove_file(file).unwrap();
        }
    }
    assert_eq!(places(&data(&split, None).0), whole);
    // Without either it is said what is missing.
    std::fs::remove_file(build.path("program.dwp")).unwrap();
    let (rows, unread) = data(&split, None);
    assert!(lines(&places(&rows), "variables.cpp").is_empty());
    assert!(unread.len() == 1 && unread[0].contains(".dwo"), "{unread:?}");
}

#[test]
fn statics_of_rust_have_their_places() {
    let build = Build::new();
    for mangling in ["", " -C symbol-mangling-version=v0"] {
        let options = format!("--edition 2024 -g{mangling}");
        let program = build.compile("rustc", "variables.rs", "program", &options);
        let found = lines(&checked(&program), "variables.rs");
        let found: BTreeSet<(&str, &str)> =
            found.iter().map(|(name, line)| (name.rsplit("::").next().unwrap(), line.as_str())).collect();
        let expected = [("CALLS", "14"), ("COUNT", "4"), ("NESTED", "7"), ("PLAIN", "11")];
        assert_eq!(found, expected.into());
    }
}

#[test]
fn what_is_kept_of_variables_is_what_is_found_of_them() {
    let build = Build::new();
    let folder = tempfile::tempdir().unwrap();
    let program = build.compile("g++", "variables.cpp", "program", "-O0 -g -Wl,--build-id");
    let cache = || Some(folder.path().to_owned());
    let first = places(&data(&program, cache()).0);
    assert_eq!(lines(&first, "variables.cpp").len(), NAMES.len());
    assert_eq!(places(&data(&program, cache()).0), first);
    // The second answer is from a fact that has all of them.
    let facts: Vec<Vec<u8>> = walk(folder.path()).into_iter().map(|path| std::fs::read(path).unwrap()).collect();
    let has = |fact: &[u8], bytes: &[u8]| fact.windows(bytes.len()).any(|window| window == bytes);
    let whole = |fact: &&Vec<u8>| first.keys().all(|(_, address)| has(fact, &address.to_le_bytes()));
    assert_eq!(facts.iter().filter(whole).filter(|fact| has(fact, b"variables.cpp")).count(), 1);
}

/// The files below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
