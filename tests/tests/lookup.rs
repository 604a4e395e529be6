//! `lookup` and `lines` in real debuggers: processes, core files, programs without a process.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::report::{number, results};
use tests::{Debuggee, Session, compile, gcore, root};

const WORKERS: [usize; 3] = [0, 1, 2];

fn address(value: &Value) -> u64 {
    number(value)
}

/// The file, line and function of a result's outermost frame.
fn outermost(row: &Value) -> (String, u64, String) {
    let frame = row["frames"].as_array().and_then(|frames| frames.last()).unwrap_or_else(|| panic!("no frame: {row}"));
    let text = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
    let file = text("file").rsplit('/').next().unwrap_or_default().to_owned();
    (file, frame["line"].as_u64().unwrap_or(0), text("function"))
}

/// Where the first byte of a file is mapped.
fn mapped(debuggee: &Debuggee, path: &str) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{}/maps", debuggee.pid())).unwrap();
    let line = maps.lines().find(|line| line.ends_with(path)).unwrap_or_else(|| panic!("{path} is mapped"));
    u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap()
}

fn line_of(source: &str, text: &str) -> u64 {
    let source = fs::read_to_string(tests::root().join("fixtures").join(source)).unwrap();
    source.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text} is there")) as u64 + 1
}

/// Its sections all begin at 0, and are laid one behind the other, as LLDB does it.
#[test]
fn an_object_file_is_looked_up_where_the_debugger_has_its_sections() {
    let mut session = Session::start();
    let object = session.folder().join("symbols.o");
    let source = root().join("fixtures/symbols.cpp");
    let options = ["-g", "-O1", "-ffunction-sections", "-c", "-o"];
    let status = Command::new("c++").args(options).arg(&object).arg(source).status();
    assert!(status.expect("c++ runs").success());
    session.ok(&format!("target create {}", object.display()));
    let wanted = "^(begin|ready|finish|main|shapes::operator|.*::perimeter|.*hidden_away)";
    let functions = session.json(&format!("mp-scan symbols '{wanted}' --kind function"));
    let mut places = BTreeSet::new();
    for function in results(&functions) {
        let start = address(&function["address"]);
        let inside = start + function["size"].as_u64().expect("a function has a size") / 2;
        places.insert(start);
        let name = function["mangled"].as_str().or(function["name"].as_str()).expect("a name");
        let expected = session.ok(&format!("image lookup -v -a {inside:#x}"));
        assert!(expected.contains(&format!("=\"{name}\"")), "{name}: {expected}");
        let report = session.json(&format!("mp-scan lookup {inside:#x} --mangled"));
        assert_eq!(results(&report)[0]["symbol"], name, "{report}");
    }
    assert_eq!(places.len(), 7, "{functions}");
    // Its code is not known to refer to anything before it is linked.
    let text = session.ok("mp-scan xrefs main");
    assert!(text.contains("symbols.o has yet to be linked, so its code does not say what it refers to"), "{text}");
    // Where there is no debug information, lines say so.
    let status = Command::new("strip").arg("--strip-debug").arg(&object).status();
    assert!(status.expect("strip runs").success());
    session.ok("target delete");
    session.ok(&format!("target create {}", object.display()));
    let text = session.ok("mp-scan lines cpp");
    assert!(text.contains("no debug information in 1 of 1 modules"), "{text}");
}

#[test]
fn a_program_without_a_process_is_looked_up_by_file_addresses() {
    let mut session = Session::start();
    let program = compile("needles.c");
    session.ok("settings set target.preload-symbols false");
    session.ok(&format!("target create {}", program.display()));
    let rows = session.json("mp-scan lines 'needles\\.c$' --limit 100000");
    let main = line_of("needles.c", "int main(");
    let row = results(&rows).iter().find(|row| row["line"] == main).expect("main has code");
    assert_eq!(row["module"], program.to_str().unwrap());
    assert_eq!(rows["target"]["kind"], "static");
    assert_eq!(rows["total"], results(&rows).len());
    let starts: Vec<u64> = results(&rows).iter().map(|row| address(&row["start"])).collect();
    assert!(starts.is_sorted());
    let start = address(&row["start"]);
    let report = session.json(&format!("mp-scan lookup {start:#x} needles+{start:#x} main+0 0x1"));
    let [by_number, by_module, by_name, nowhere] = results(&report) else { panic!("four results: {report}") };
    assert_eq!((by_number, by_number), (by_module, by_name));
    assert_eq!(outermost(by_number), ("needles.c".into(), main, "main".into()));
    assert_eq!((&by_number["symbol"], &by_number["offset"]), (&"main".into(), &0.into()));
    assert_eq!(nowhere["frames"], Value::Array(Vec::new()));
    assert_eq!(nowhere.get("module"), None);
}

#[test]
fn a_symbol_is_looked_up_without_the_debuggers_symbols() {
    let mut session = Session::start();
    let program = compile("symbols.cpp");
    session.ok("settings set target.preload-symbols false");
    session.ok(&format!("target create {}", program.display()));
    let symbols = |session: &mut Session, words: &str| {
        let report = session.json(&format!("mp-scan lookup {words}"));
        results(&report).iter().map(|row| (row["symbol"].clone(), row["offset"].clone())).collect::<Vec<_>>()
    };
    let perimeter = ("shapes::Polygon<int, 3u>::perimeter() const".into(), 0.into());
    let mangled = "_ZNK6shapes7PolygonIiLj3EE9perimeterEv";
    let words = format!("'shapes::Polygon<int, 3u>::perimeter' {mangled} main+1 plain_c --workers 1");
    let [one, other, main, plain] = &symbols(&mut session, &words)[..] else { panic!("four results") };
    assert_eq!((one, other), (&perimeter, &perimeter));
    assert_eq!(*main, ("main".into(), 1.into()));
    assert!(["plain_c", "weak_alias"].contains(&plain.0.as_str().unwrap()), "{plain:?}");
    // Reading its symbols would take the debugger seconds, of a large program: it has not read them.
    let statistics: Value = serde_json::from_str(&session.ok("statistics dump")).expect("statistics are JSON");
    let module = &statistics["modules"].as_array().expect("there are modules")[0];
    assert_eq!(module["path"].as_str(), program.to_str(), "{module}");
    for nothing in ["symbolTableSymbolCount", "symbolTableParseTime"] {
        assert_eq!(module[nothing].as_f64(), Some(0.0), "{module}");
    }
    session.ok("breakpoint set --name main");
    session.ok("run");
    let [live] = &symbols(&mut session, "main --module symbols")[..] else { panic!("one result") };
    assert_eq!(*live, ("main".into(), 0.into()));
    // A register and a variable come before symbols.
    let here = symbols(&mut session, "$pc rip");
    assert_eq!(here[0], here[1]);
    assert_eq!(here[0].0, "main");
    assert!(session.fails("mp-scan lookup main --module libc.so.6").contains("no symbol 'main'"));
}

#[test]
fn load_addresses_of_a_process_and_of_its_core_file_are_looked_up() {
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let mut session = Session::start();
        let debuggee = Debuggee::start("needles.c", &["16"]);
        let core = gcore(debuggee.pid(), session.folder());
        session.attach(&debuggee);
        let base = mapped(&debuggee, &debuggee.program.to_string_lossy());
        seen.insert(base);
        let rows = session.json("mp-scan lines 'needles\\.c$' --limit 100000");
        let main = line_of("needles.c", "int main(");
        let row = results(&rows).iter().find(|row| row["line"] == main).expect("main has code").clone();
        let start = address(&row["start"]);
        assert!(start > base, "{start:#x} is a load address, as {base:#x}");
        let folder = session.folder().to_owned();
        let list = folder.join("addresses");
        let text =
            format!("{start:#x}\nnot an address\n\n{start:x}\nneedles(+{:#x}) [{start:#x}]\n{base:#x}\n", start - base);
        fs::write(&list, text).unwrap();
        let mut first: Option<Value> = None;
        for workers in WORKERS {
            let report = session.json(&format!("mp-scan lookup --file {} $pc --workers {workers}", list.display()));
            let [pc, one, two, three, header] = results(&report) else { panic!("five results: {report}") };
            assert_eq!((one, one), (two, three));
            assert_eq!(outermost(one), ("needles.c".into(), main, "main".into()));
            assert!(pc["module"].is_string() && pc["symbol"].is_string(), "{pc}");
            assert!(header["frames"].as_array().is_some_and(Vec::is_empty), "{header}");
            assert_eq!(report["notes"][0], format!("line 2 of {} has no address: not an address", list.display()));
            let expected = first.get_or_insert_with(|| report["results"].clone());
            assert_eq!(expected, &report["results"], "by {workers} workers");
        }
        // The call that returns to the address behind it.
        let report = session.json(&format!("mp-scan lookup --return-addresses {:#x}", start + 1));
        assert_eq!((&results(&report)[0]["symbol"], &results(&report)[0]["offset"]), (&"main".into(), &1.into()));
        session.ok("process detach");
        session.open_core(Some(&debuggee.program), &core);
        let report = session.json(&format!("mp-scan lookup {start:#x}"));
        assert_eq!(report["target"]["kind"], "core");
        assert_eq!(outermost(&results(&report)[0]), ("needles.c".into(), main, "main".into()));
        assert_eq!(session.json("mp-scan lines 'needles\\.c$' --limit 100000")["results"], rows["results"]);
    }
    assert_eq!(seen.len(), 2, "the program was at two places");
}

#[test]
fn the_kernels_own_module_has_symbols() {
    let mut session = Session::start();
    let debuggee = Debuggee::start("needles.c", &["16"]);
    session.attach(&debuggee);
    let start = mapped(&debuggee, "[vdso]");
    let words: String = (0..128).map(|step| format!(" {:#x}", start + step * 0x40)).collect();
    let report = session.json(&format!("mp-scan lookup{words}"));
    let symbols: Vec<&str> = results(&report).iter().filter_map(|row| row["symbol"].as_str()).collect();
    assert!(symbols.iter().any(|name| name.contains("vdso")), "{report}");
}

/// Runs a tool in a folder.
fn tool(folder: &Path, line: &str) {
    let mut words = line.split(' ');
    let program = words.next().expect("a tool");
    let status = Command::new(program).args(words).current_dir(folder).status();
    assert!(status.unwrap_or_else(|error| panic!("{program}: {error}")).success(), "{line}");
}

#[test]
fn a_program_at_fixed_addresses_has_the_same_ones_in_its_file_and_in_memory() {
    let mut session = Session::start();
    let folder = session.folder().to_owned();
    let source = root().join("fixtures/needles.c").display().to_string();
    tool(&folder, &format!("cc -g -pthread -no-pie -fno-pie -o fixed {source}"));
    let main = line_of("needles.c", "int main(");
    session.ok(&format!("target create {}", folder.join("fixed").display()));
    let report = session.json("mp-scan symbols ^main$");
    let start = address(&results(&report)[0]["address"]);
    let first = mapped_in_file(&folder.join("fixed"));
    assert!(first >= 0x1_0000 && start > first, "{first:#x} {start:#x}: the test's own ground");
    // The linker's address, and what is left of it when the beginning of the program is taken away.
    let words = format!("{start:#x} fixed+{start:#x} fixed+{:#x} $rip", start - first);
    let looked_up = |session: &mut Session, words: &str| {
        let report = session.json(&format!("mp-scan lookup {words}"));
        for row in &results(&report)[..3] {
            assert_eq!(outermost(row), ("needles.c".into(), main, "main".into()), "{report}");
            assert_eq!((address(&row["address"]), &row["offset"]), (start, &0.into()));
        }
        report
    };
    looked_up(&mut session, words.trim_end_matches(" $rip"));
    let debuggee = Debuggee::start_program(folder.join("fixed"), &["16"]);
    session.attach(&debuggee);
    let report = looked_up(&mut session, &words);
    assert_eq!(report["target"]["kind"], "live");
    assert!(results(&report)[3]["module"].as_str().is_some_and(|path| path.contains("libc")), "{report}");
}

/// Where a program that is not moved when it is loaded begins.
fn mapped_in_file(program: &Path) -> u64 {
    let output = Command::new("readelf").args(["-lW"]).arg(program).output().expect("readelf runs: binutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.trim_start().starts_with("LOAD")).expect("a program has segments");
    let address = line.split_whitespace().nth(2).and_then(|word| word.strip_prefix("0x")).expect("an address");
    u64::from_str_radix(address, 16).expect("an address")
}

#[test]
fn a_stripped_program_tells_what_is_left_and_its_debug_file_the_rest() {
    let mut session = Session::start();
    let folder = session.folder().to_owned();
    fs::copy(compile("symbols.cpp"), folder.join("whole")).expect("a program can be copied");
    tool(&folder, "objcopy --only-keep-debug whole linked.debug");
    tool(&folder, "objcopy --strip-all --add-gnu-debuglink=linked.debug whole linked");
    tool(&folder, "objcopy --strip-all whole stripped");
    session.ok(&format!("target create {}", folder.join("whole").display()));
    // A name that is no UTF-8 among them.
    let names = "^(plain_c|main|caf.*latin|shapes::Polygon.*perimeter.*)$";
    let symbols = session.json(&format!("mp-scan symbols '{names}'"));
    let addresses: Vec<String> =
        results(&symbols).iter().map(|row| format!("{:#x}", address(&row["address"]))).collect();
    assert_eq!(addresses.len(), 4, "{symbols}");
    let looked_up = |session: &mut Session, name: &str| {
        session.ok(&format!("target create {}", folder.join(name).display()));
        let report = session.json(&format!("mp-scan lookup {}", addresses.join(" ")));
        results(&report).iter().map(|row| (row["symbol"].clone(), row["frames"].clone())).collect::<Vec<_>>()
    };
    let whole = looked_up(&mut session, "whole");
    assert!(whole.iter().any(|(symbol, _)| symbol == "caf\\xe9_latin"), "{whole:?}");
    assert!(whole.iter().all(|(_, frames)| frames[0]["line"].is_u64()), "{whole:?}");
    assert_eq!(looked_up(&mut session, "linked"), whole);
    let stripped = looked_up(&mut session, "stripped");
    assert!(stripped.iter().all(|(_, frames)| *frames == Value::Array(Vec::new())), "{stripped:?}");
}

#[test]
fn what_cannot_be_looked_up_is_one_line() {
    let mut session = Session::start();
    assert!(session.fails("mp-scan lookup 0x1").starts_with("no target: "));
    let program = compile("needles.c");
    session.ok(&format!("target create {}", program.display()));
    assert!(session.fails("mp-scan lookup").starts_with("nothing to look up: "));
    let unknown = "no symbol 'nonsense' in the one module; see `mp-scan symbols` for what there is";
    assert!(session.fails("mp-scan lookup nonsense").contains(unknown));
    assert!(
        session.fails("mp-scan lookup __libc_start_main").contains("' is only used, not defined, in the one module")
    );
    assert!(session.fails("mp-scan lookup --file /no/such/file").starts_with("cannot read /no/such/file: "));
    assert!(session.fails("mp-scan lookup --file /dev/null").starts_with("no line of /dev/null has an address"));
    assert!(session.fails("mp-scan lookup 1 --module libnone.so").starts_with("no module 'libnone.so' among "));
    assert!(session.fails("mp-scan lines '('").starts_with("regex '(': "));
    assert!(session.ok("mp-scan lines 'no such file'").contains("no ranges; "));
    let text = session.ok("mp-scan lookup 0x1");
    assert!(text.contains("no module is at this address"), "{text}");
    let code = session.json("mp-scan lines 'needles\\.c$' --limit 1");
    assert_eq!((results(&code).len(), code["truncated"].clone()), (1, false.into()));
    assert!(code["total"].as_u64() > Some(100));
}
