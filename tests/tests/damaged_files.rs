//! Debug files that are damaged, or become so: the debugger lives, what could not be read is said, and the next command works.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::report::{number, results};
use tests::{Session, root};

/// A stripped program, and its debug file beside it.
struct Linked {
    folder: PathBuf,
    program: PathBuf,
    debug: PathBuf,
    whole: Vec<u8>,
}

fn tool(folder: &Path, line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a tool");
    let output = Command::new(program).args(words).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Linked {
    fn new(folder: &Path, options: &str) -> Self {
        let source = root().join("fixtures/symbols.cpp").display().to_string();
        // The debug file is told by its build id, so that a damaged one is not refused for its checksum.
        tool(folder, &format!("g++ -g -gdwarf-5 -O1 -pthread -Wl,--build-id {options} -o whole {source}"));
        tool(folder, "objcopy --only-keep-debug whole program.debug");
        tool(folder, "objcopy --strip-all --add-gnu-debuglink=program.debug whole program");
        let debug = folder.join("program.debug");
        let whole = fs::read(&debug).expect("it is there");
        Self { folder: folder.to_owned(), program: folder.join("program"), debug, whole }
    }

    /// Puts bytes in the place of the debug file, as a tool that writes into it does.
    fn write(&self, bytes: &[u8]) {
        fs::write(&self.debug, bytes).expect("the folder can be written to");
    }

    /// Where a section of the debug file lies in it.
    fn section(&self, name: &str) -> std::ops::Range<usize> {
        let output = Command::new("readelf").args(["-SW", "whole"]).current_dir(&self.folder).output();
        let whole = String::from_utf8_lossy(&output.expect("readelf runs: binutils").stdout).into_owned();
        assert!(whole.contains(name));
        let output = Command::new("readelf").arg("-SW").arg(&self.debug).output().expect("readelf runs: binutils");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.split_whitespace().any(|word| word == name)).expect("it has it");
        let words: Vec<&str> = line.split(']').nth(1).expect("a number").split_whitespace().collect();
        let number = |word: &str| usize::from_str_radix(word, 16).expect("a number");
        number(words[3])..number(words[3]) + number(words[4])
    }
}

/// The five commands.
fn commands(session: &mut Session) -> Vec<String> {
    let functions = session.json("mp-scan symbols '^(main|plain_c|shapes::.*)$' --kind function");
    let addresses: Vec<u64> = results(&functions).iter().map(|row| number(&row["address"])).collect();
    assert!(addresses.len() >= 3, "{functions}");
    let places: String = addresses.iter().map(|at| format!(" {at:#x}")).collect();
    vec![
        "symbols ''".to_owned(),
        "types .".to_owned(),
        format!("lookup{places}"),
        "lines .".to_owned(),
        format!("xrefs {:#x}..{:#x}", addresses[0], addresses[0] + 16),
    ]
}

/// Runs a command, which has to end well, and returns its rows and all that it says beside them.
fn run(session: &mut Session, command: &str, workers: usize) -> (Vec<Value>, String) {
    let report = session.json(&format!("mp-scan {command} --limit 100000 --workers {workers}"));
    (results(&report).to_vec(), format!("{} {}", report["notes"], report["skipped"]))
}

/// All that is to be found where nothing is damaged.
fn whole(session: &mut Session, commands: &[String]) -> Vec<Vec<Value>> {
    let answer = |command: &String| {
        let (rows, said) = run(session, command, 2);
        assert!(!said.contains("program.debug"), "{command}: {said}");
        rows
    };
    commands.iter().map(answer).collect()
}

#[test]
fn a_debug_file_that_is_cut_off_costs_what_was_in_it_and_is_named() {
    let mut session = Session::start();
    let linked = Linked::new(session.folder(), "");
    session.ok("settings set target.preload-symbols false");
    session.ok(&format!("target create {}", linked.program.display()));
    let commands = commands(&mut session);
    let expected = whole(&mut session, &commands);
    let length = linked.whole.len();
    // It is truncated between two commands of a session, which have been told that it is whole.
    for keep in [length - 1, length * 3 / 4, length / 2, length / 4, 300, 64, 20, 0] {
        linked.write(&linked.whole[..keep]);
        for (command, expected) in commands.iter().zip(&expected) {
            for workers in [0, 2] {
                let (rows, said) = run(&mut session, command, workers);
                assert!(said.contains("program.debug"), "{command} by {workers} workers, {keep} of {length}: {said}");
                assert!(rows.len() <= expected.len(), "{command} by {workers} workers, {keep} of {length}");
            }
        }
        linked.write(&linked.whole);
        assert_eq!(whole(&mut session, &commands), expected, "after {keep} of {length}");
    }
}

#[test]
fn a_debug_file_with_a_byte_changed_ends_no_debugger() {
    let mut session = Session::start();
    for options in ["", "-gz=zlib"] {
        let linked = Linked::new(session.folder(), options);
        session.ok(&format!("target create {}", linked.program.display()));
        let commands = commands(&mut session);
        let expected = whole(&mut session, &commands);
        let mut places: Vec<usize> = vec![0, 4, 16, 40, 58, linked.whole.len() - 30];
        for name in [".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".symtab"] {
            let section = linked.section(name);
            places.extend([section.start, section.start + 4, section.start + 24, (section.start + section.end) / 2]);
        }
        let mut said = 0;
        for (number, place) in places.iter().enumerate() {
            let mut bytes = linked.whole.clone();
            bytes[*place] ^= 0xff;
            linked.write(&bytes);
            for command in &commands {
                let (_, words) = run(&mut session, command, [0, 2][number % 2]);
                said += usize::from(words.contains("program.debug"));
            }
        }
        assert!(said > places.len(), "{said}");
        linked.write(&linked.whole);
        assert_eq!(whole(&mut session, &commands), expected);
        session.ok("target delete");
    }
}

#[test]
fn a_malformed_unit_is_said_by_each_command_that_shows_source_lines() {
    let folder = tests::scratch();
    let cache = folder.path().join("cache");
    let mut session = Session::with_environment([("MP_SCAN_CACHE", &cache)]);
    let linked = Linked::new(session.folder(), "");
    session.ok(&format!("target create {}", linked.program.display()));
    let commands = commands(&mut session);
    let expected = whole(&mut session, &commands);
    assert!(expected[0].iter().any(|row| row["line"].is_number()));
    // The version of the only unit.
    let mut bytes = linked.whole.clone();
    bytes[linked.section(".debug_info").start + 4] = 77;
    linked.write(&bytes);
    for workers in [0, 1, 2] {
        // What is kept of the first run hides nothing from the second.
        for _ in 0..2 {
            for command in &commands {
                let (rows, said) = run(&mut session, command, workers);
                let times = said.matches("program.debug .debug_info: ").count();
                assert_eq!(times, 1, "{command} by {workers} workers: {said}");
                assert!(rows.iter().all(|row| row["line"].is_null()), "{command}");
            }
        }
        let symbols = run(&mut session, &commands[0], workers).0;
        assert_eq!(symbols.len(), expected[0].len(), "all symbols are there");
    }
}
