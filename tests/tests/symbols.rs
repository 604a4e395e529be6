//! `symbols`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::report::{essence, number, results};
use tests::{Debuggee, Session, Truth, compile, gcore};

fn name(row: &Value) -> &str {
    row["name"].as_str().expect("a symbol has a name")
}

/// As the truth writes it, whose labels have no spaces.
fn label(row: &Value) -> String {
    name(row).replace(' ', "")
}

/// The rows that `symbols` gives for these words.
fn rows(session: &mut Session, words: &str) -> Vec<Value> {
    results(&session.json(&format!("mp-scan symbols {words} --limit 1000000"))).to_vec()
}

/// The one row of that name.
#[track_caller]
fn row<'a>(rows: &'a [Value], wanted: &str) -> &'a Value {
    let found: Vec<&Value> = rows.iter().filter(|row| label(row) == wanted).collect();
    assert_eq!(found.len(), 1, "{wanted}: {found:?}");
    found[0]
}

/// Every symbol that the debuggee told of is found once, where it said.
#[track_caller]
fn assert_truth(rows: &[Value], truth: &Truth) {
    for address in truth.addresses("symbol") {
        let at: Vec<String> = rows
            .iter()
            .filter(|row| !row["address"].is_null() && number(&row["address"]) == address)
            .map(label)
            .collect();
        // Two names of one function.
        let names = truth.labelled("symbol", |_| true).iter().filter(|other| **other == address).count();
        assert_eq!(at.len(), names, "{address:#x}: {at:?}");
        assert!(at.contains(&truth.label(address).expect("it has a label").to_owned()), "{address:#x}: {at:?}");
    }
}

fn tool(program: &str, words: &[&dyn AsRef<std::ffi::OsStr>]) {
    let status = Command::new(program).args(words.iter().map(|word| word.as_ref())).status();
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{program}");
}

/// A copy of a program in this folder.
fn copy(program: &Path, folder: &Path) -> PathBuf {
    let copy = folder.join(program.file_name().expect("a file"));
    std::fs::copy(program, &copy).expect("a program can be copied");
    copy
}

#[test]
fn every_symbol_is_where_the_debuggee_says_by_any_number_of_workers() {
    let mut session = Session::start();
    let truth = session.launch("symbols.cpp", &[]);
    let mut first = None;
    for workers in [0, 1, 2, 7] {
        let report = session.json(&format!("mp-scan symbols '' --module symbols --limit 100000 --workers {workers}"));
        assert_truth(results(&report), &truth);
        assert_eq!(report["total"], results(&report).len());
        let first = first.get_or_insert_with(|| essence(&report));
        assert_eq!(first, &essence(&report), "{workers} workers");
    }
    let rows = rows(&mut session, "'' --module symbols");
    let perimeter = row(&rows, "shapes::Polygon<int,3u>::perimeter()const");
    assert_eq!(perimeter["mangled"], "_ZNK6shapes7PolygonIiLj3EE9perimeterEv");
    assert_eq!(perimeter["kind"], "function");
    assert!(perimeter["size"].as_u64() > Some(8));
    assert!(perimeter["module"].as_str().expect("a path").ends_with("/symbols"));
    let plain = row(&rows, "plain_c");
    let source = std::fs::read_to_string(tests::root().join("fixtures/symbols.cpp")).expect("the fixture is there");
    let line = source.lines().position(|line| line.contains("int plain_c(int n) {")).expect("it is defined") + 1;
    assert!(plain["file"].as_str().expect("a file").ends_with("fixtures/symbols.cpp"), "{plain}");
    assert_eq!(plain["line"], line);
    let zeros = row(&rows, "zeros");
    assert_eq!((&zeros["kind"], &zeros["size"]), (&"data".into(), &256.into()));
    // Each thread has its own.
    assert_eq!(row(&rows, "of_each_thread")["address"], Value::Null);
    assert_eq!(row(&rows, "of_each_thread")["undefined"], Value::Null);
    let undefined = rows.iter().find(|row| name(row) == "fopen").expect("it is used");
    assert_eq!((&undefined["undefined"], &undefined["address"]), (&true.into(), &Value::Null));
    // What is in .symtab and .dynsym is there once.
    assert_eq!(rows.iter().filter(|row| name(row) == "_init").count(), 1);
    let addresses: Vec<_> =
        rows.iter().filter(|row| !row["address"].is_null()).map(|row| number(&row["address"])).collect();
    assert!(addresses.is_sorted(), "in address order");
}

#[test]
fn what_is_asked_for_is_what_is_found() {
    let mut session = Session::start();
    session.launch("symbols.cpp", &[]);
    let names =
        |session: &mut Session, words: &str| -> Vec<String> { rows(session, words).iter().map(label).collect() };
    for (words, expected) in [
        ("'^shapes::Polygon<int, 3u>::perimeter'", vec!["shapes::Polygon<int,3u>::perimeter()const"]),
        ("'hidden_away'", vec!["(anonymousnamespace)::hidden_away(int)"]),
        ("'HIDDEN_away' -i", vec!["(anonymousnamespace)::hidden_away(int)"]),
        ("'^plain_c$'", vec!["plain_c"]),
        ("--mangled '^_ZN.*hidden_away'", vec!["_ZN12_GLOBAL__N_111hidden_awayEi"]),
        ("--mangled hidden_away\\(", vec![]),
        ("'^(shapes::count|static_data|plain_c|main)$' --kind data", vec!["static_data", "shapes::count"]),
        ("'^(shapes::count|static_data|plain_c)$' --kind function", vec!["plain_c"]),
        ("'^caf.*latin'", vec!["caf\\xe9_latin"]),
        (r"'^caf\xe9'", vec!["caf\\xe9_latin"]),
        ("'^vtable for shapes'", vec!["vtableforshapes::Polygon<int,3u>"]),
        ("'operator\\+\\(shapes'", vec!["shapes::operator+(shapes::Polygon<int,3u>const&,int)"]),
    ] {
        let mut found = names(&mut session, &format!("{words} --module symbols"));
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{words}");
    }
    // In all modules: those of the C library with their versions, where the regex says so.
    let memcpy = names(&mut session, "'^memcpy@' --module libc");
    assert_eq!(memcpy.len(), 2, "{memcpy:?}");
    assert!(memcpy.contains(&"memcpy@@GLIBC_2.14".to_owned()), "{memcpy:?}");
    let plain = rows(&mut session, "'^memcpy$' --module libc");
    assert!(plain.iter().all(|row| name(row) == "memcpy" && row["module"].as_str().expect("a path").contains("libc")));
}

#[test]
fn a_core_file_and_a_program_that_does_not_run() {
    let debuggee = Debuggee::start("symbols.cpp", &[]);
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let report = session.json("mp-scan symbols '' --module symbols --limit 100000");
    assert_eq!(report["target"]["kind"], "core");
    assert_truth(results(&report), &debuggee.truth);
    let loaded = rows(&mut session, "'^main$' --module symbols");

    let mut session = Session::start();
    session.ok(&format!("target create {}", debuggee.program.display()));
    let report = session.json("mp-scan symbols '^main$'");
    assert_eq!(report["target"]["kind"], "static");
    let file = results(&report).to_vec();
    assert_eq!(file.len(), 1);
    // The same place in the file, wherever it is loaded.
    let (file, loaded) = (number(&file[0]["address"]), number(&loaded[0]["address"]));
    assert!(file < 0x10_0000 && (loaded - file) % 4096 == 0, "{file:#x} {loaded:#x}");
}

#[test]
fn a_stripped_program_has_the_symbols_of_its_debug_file_and_of_its_mini_debug_info() {
    let program = compile("symbols.cpp");
    let mut session = Session::start();
    let folder = session.folder().to_owned();
    let essence_of = |session: &mut Session, program: &Path| -> Vec<(String, Value)> {
        session.ok(&format!("target create {}", program.display()));
        let rows = rows(session, "''");
        session.ok("target delete");
        rows.into_iter().map(|row| (label(&row), row["address"].clone())).collect()
    };
    let whole = essence_of(&mut session, &program);
    assert!(whole.iter().any(|(name, _)| name == "static_data"));

    let stripped = copy(&program, &folder);
    tool("strip", &[&stripped]);
    let dynamic = essence_of(&mut session, &stripped);
    assert!(!dynamic.is_empty() && dynamic.iter().all(|(name, _)| name != "static_data"));

    let debug = folder.join("symbols.debug");
    tool("objcopy", &[&"--only-keep-debug", &program, &debug]);
    let linked = folder.join("linked");
    tool("objcopy", &[&format!("--add-gnu-debuglink={}", debug.display()), &stripped, &linked]);
    assert_eq!(essence_of(&mut session, &linked), whole);

    // As Fedora makes it: the functions that are not in the dynamic table.
    let mini = folder.join("mini");
    tool(
        "objcopy",
        &[&"-S", &"--keep-symbol=_ZN12_GLOBAL__N_111hidden_awayEi", &"--keep-symbol=plain_c", &debug, &mini],
    );
    tool("xz", &[&"-k", &mini]);
    let with_mini = folder.join("with_mini");
    let section = format!(".gnu_debugdata={}", folder.join("mini.xz").display());
    tool("objcopy", &[&"--add-section", &section, &stripped, &with_mini]);
    let found = essence_of(&mut session, &with_mini);
    for name in ["plain_c", "(anonymousnamespace)::hidden_away(int)"] {
        assert!(found.iter().any(|(found, _)| found == name), "{name} is not in {found:?}");
        assert!(found.iter().all(|found| whole.contains(found)), "{found:?}");
    }
}

#[test]
fn the_vdso_has_symbols() {
    let mut session = Session::start();
    session.launch("symbols.cpp", &[]);
    let rows = rows(&mut session, "'^__vdso_clock_gettime$'");
    let vdso: Vec<_> = rows.iter().filter(|row| row["module"].as_str().expect("a path").contains("vdso")).collect();
    assert_eq!(vdso.len(), 1, "{rows:?}");
    let address = number(&vdso[0]["address"]);
    let maps = session.debuggee().maps();
    let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("a process has one");
    let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let range = u64::from_str_radix(start, 16).unwrap()..u64::from_str_radix(end, 16).unwrap();
    assert!(range.contains(&address), "{address:#x} is not in {line}");
}

#[test]
fn a_program_is_loaded_at_two_addresses() {
    let two: Vec<(u64, u64)> = (0..2)
        .map(|_| {
            let debuggee = Debuggee::start("symbols.cpp", &[]);
            let mut session = Session::start();
            session.attach(&debuggee);
            let rows = rows(&mut session, "'' --module symbols");
            assert_truth(&rows, &debuggee.truth);
            (debuggee.truth.address("symbol", "main"), number(&row(&rows, "main")["address"]))
        })
        .collect();
    assert!(two.iter().all(|(told, found)| told == found), "{two:x?}");
}

#[test]
fn what_matches_everything_is_bounded_and_counted() {
    let mut session = Session::start();
    session.launch("symbols.cpp", &[]);
    let all = session.json("mp-scan symbols '' --limit 10000000");
    let total = all["total"].as_u64().expect("a number");
    assert_eq!(results(&all).len() as u64, total);
    for (workers, regex) in [(0, "."), (2, "."), (2, "(?s).*"), (1, "^")] {
        let report = session.json(&format!("mp-scan symbols '{regex}' --limit 10 --workers {workers}"));
        assert_eq!(report["total"], total, "{regex}");
        assert_eq!(results(&report), &results(&all)[..10], "the first, of the first module");
    }
}

#[test]
fn what_matches_everything_takes_no_more_memory_than_is_shown() {
    // The ranges of a module are put in order together: all lines of this plugin take some 80 MiB while that is done.
    const LIMIT: u64 = 160 << 20;
    let mut session = Session::start();
    session.ok("settings set target.preload-symbols false");
    // A hundred megabytes of names, and all lines of this plugin.
    let library = "/usr/lib/x86_64-linux-gnu/libLLVM.so.22.1";
    session.ok(&format!("target create {library}"));
    session.ok(&format!("target modules add {}", tests::Product::built().plugin.display()));
    // The pool, and whatever else is made once, is there before memory is measured.
    session.ok("mp-scan symbols ^no_such_name$ --workers 2");
    let before = session.host().memory("RssAnon").expect("the host has memory");
    for (command, least) in [("symbols ''", 50_000), ("lines .", 50_000)] {
        for workers in [0, 2] {
            let report = session.json(&format!("mp-scan {command} --limit 1000 --workers {workers}"));
            assert_eq!(results(&report).len(), 1000, "{command}");
            assert!(report["total"].as_u64() > Some(least), "{command}: {}", report["total"]);
            for worker in session.workers() {
                let own = worker.memory("RssAnon").expect("the worker has memory");
                assert!(own <= LIMIT, "{command}: a worker holds {own} bytes");
            }
            let grown = session.host().memory("RssAnon").expect("the host has memory").saturating_sub(before);
            assert!(grown <= LIMIT, "{command} by {workers} workers: the debugger grew by {grown} bytes");
        }
    }
}

#[test]
fn names_that_are_kept_are_found_again_and_damage_to_them_changes_nothing() {
    let folder = tests::scratch();
    let cache = folder.path().join("cache");
    let mut session = Session::with_environment([("MP_SCAN_CACHE", &cache)]);
    session.launch("symbols.cpp", &[]);
    let line = "mp-scan symbols 'o[a-z]*r' --limit 100000";
    let first = essence(&session.json(line));
    let facts: Vec<PathBuf> =
        std::fs::read_dir(&cache).expect("facts are kept").map(|entry| entry.expect("an entry").path()).collect();
    assert!(!facts.is_empty());
    assert_eq!(essence(&session.json(line)), first, "with what was kept");
    for fact in &facts {
        let mut bytes = std::fs::read(fact).expect("a fact");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(fact, &bytes[..bytes.len() - middle % 2]).expect("a fact can be damaged");
    }
    assert_eq!(essence(&session.json(line)), first, "with what was damaged");
    let mut without = Session::with_environment([("MP_SCAN_CACHE", "")]);
    without.launch("symbols.cpp", &[]);
    let rows = |report: &Value| -> Vec<String> { results(report).iter().map(label).collect() };
    assert_eq!(rows(&without.json(line)), rows(&first), "without any");
}

/// Copies of one library, each with a build id of its own.
fn libraries(folder: &Path, count: u32) {
    let source = folder.join("library.c");
    std::fs::write(&source, "int in_every_library(int n) { return n + 1; }").expect("a file can be written");
    let library = folder.join("library.so");
    let id = "0123456789abcdef0123456789abcdef01234567";
    let option = format!("-Wl,--build-id=0x{id}");
    tool("cc", &[&"-shared", &"-fPIC", &"-nostdlib", &option, &"-o", &library, &source]);
    let mut bytes = std::fs::read(&library).expect("a library");
    let begin = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    let at = bytes.windows(8).position(|window| window == begin).expect("it has its build id");
    for number in 0..count {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        std::fs::write(folder.join(format!("{number}.so")), &bytes).expect("a library can be copied");
    }
}

#[test]
fn two_thousand_modules() {
    const COUNT: u32 = 2000;
    let folder = tests::scratch();
    libraries(folder.path(), COUNT);
    let path = folder.path().to_string_lossy().into_owned();
    let debuggee = Debuggee::start("modules.c", &[&path, &COUNT.to_string()]);
    let mut session = Session::start();
    session.ok("settings set target.preload-symbols false");
    session.attach(&debuggee);
    let mut first = None;
    for workers in [0, 2] {
        let report = session.json(&format!("mp-scan symbols '^in_every' --limit 10000 --workers {workers}"));
        assert_eq!(report["total"], COUNT);
        for row in results(&report) {
            let file = row["module"].as_str().and_then(|path| path.rsplit('/').next()).expect("a path");
            assert_eq!(number(&row["address"]), debuggee.truth.address("symbol", file), "{file}");
        }
        let first = first.get_or_insert_with(|| essence(&report));
        assert_eq!(first, &essence(&report), "{workers} workers");
    }
    let nothing = session.json("mp-scan symbols no_such_name_anywhere");
    assert_eq!((nothing["total"].as_u64(), results(&nothing).len()), (Some(0), 0));
    let places: Vec<u64> = [0, 7, COUNT - 1].map(|file| debuggee.truth.address("symbol", &format!("{file}.so"))).into();
    let words: String = places.iter().map(|address| format!(" {address:#x}")).collect();
    let report = session.json(&format!("mp-scan lookup{words} 1998.so+0x0"));
    let files = |report: &Value| -> Vec<String> {
        let file = |row: &Value| row["module"].as_str().and_then(|path| Some(path.rsplit('/').next()?.to_owned()));
        results(report).iter().map(|row| file(row).unwrap_or_default()).collect()
    };
    assert_eq!(files(&report)[..3], ["0.so", "7.so", "1999.so"]);
    assert!(results(&report)[..3].iter().all(|row| row["symbol"] == "in_every_library"), "{report}");
    let references = session.json("mp-scan xrefs '7.so`in_every_library' --kind call");
    assert_eq!((references["total"].as_u64(), references["skipped"].as_array().map(Vec::len)), (Some(0), Some(0)));
    let one = session.json("mp-scan symbols '^in_every' --module 1999.so");
    assert_eq!((one["total"].as_u64(), results(&one).len()), (Some(1), 1));
}

#[test]
fn a_search_that_is_stopped_says_so() {
    let mut session = Session::start();
    session.launch("symbols.cpp", &[]);
    for workers in [0, 2] {
        let report = session.json(&format!("mp-scan symbols '.*[a-f].*' --timeout 0.000001 --workers {workers}"));
        assert_eq!(report["truncated"], true);
        let report = session.json("mp-scan symbols '^plain_c$'");
        assert_eq!((report["truncated"].as_bool(), results(&report).len()), (Some(false), 1), "and the next one runs");
    }
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let mut session = Session::start();
    assert!(session.fails("mp-scan symbols main").starts_with("no target: "));
    session.ok(&format!("target create {}", compile("symbols.cpp").display()));
    assert_eq!(session.fails("mp-scan symbols 'a(b'"), "regex 'a(b': unclosed group, at '(b'");
    assert!(session.fails("mp-scan symbols '(a{999}){999}'").contains("too large"));
    assert!(
        session.fails("mp-scan symbols main --module nowhere").starts_with("no module 'nowhere' among the target's")
    );
    assert!(session.fails("mp-scan symbols main --kind class").contains("use function, data or any"));
    let text = session.ok("mp-scan symbols no_such_name_anywhere") + &session.screen();
    assert!(text.contains("symbols in 1 module match"), "{text}");
    assert!(text.contains("no symbols"), "{text}");
}

#[test]
fn text_is_a_line_a_symbol() {
    let mut session = Session::start();
    session.ok(&format!("target create {}", compile("symbols.cpp").display()));
    let before = session.screen().len();
    let output = session.ok("mp-scan symbols '^(plain_c|main|of_each_thread|fopen)$'");
    let text = output + &session.screen()[before..];
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(lines[0].starts_with("0x0000") && lines[0].contains("function  plain_c  symbols at "), "{text}");
    assert!(lines[0].contains("symbols.cpp:"), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("undefined ") && line.contains("fopen")), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("thread-local ") && line.contains("of_each_thread")), "{text}");
    assert!(lines[4].starts_with("4 symbols; "), "{text}");
}
