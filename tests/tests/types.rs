//! `types`.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::report::{essence, results};
use tests::{Batch, Session, compile};

/// A debugger that looks at a program which does not run.
fn opened(source: &str) -> Session {
    let mut session = Session::start();
    session.ok(&format!("target create {}", compile(source).display()));
    session
}

fn names(report: &Value) -> Vec<&str> {
    results(report).iter().map(|row| row["name"].as_str().expect("a type has a name")).collect()
}

#[test]
fn types_are_the_same_by_any_number_of_workers_and_with_a_process_or_without() {
    let mut session = opened("types.c");
    let command = "mp-scan types . --layout";
    let first = session.json(&format!("{command} --workers 0"));
    assert_eq!(first["target"]["kind"], "static");
    let known = names(&first);
    for name in ["plain", "bits", "point", "color", "callback", "local_type()::local"] {
        assert!(known.contains(&name), "no {name} among {known:?}");
    }
    assert_eq!(first["skipped"], json!([]), "{first}");
    for workers in [1, 2, 7] {
        let report = session.json(&format!("{command} --workers {workers}"));
        assert_eq!(essence(&report), essence(&first), "by {workers} workers");
    }
    session.ok("breakpoint set --name main");
    session.ok("run");
    let live = session.json(&format!("{command} --workers 2 --module types"));
    assert_eq!(live["target"]["kind"], "live");
    assert_eq!(live["results"], first["results"]);
}

#[test]
fn a_type_has_its_place_its_members_and_its_holes() {
    let mut session = opened("types.c");
    let report = session.json("mp-scan types '^plain$' --layout");
    let row = results(&report).iter().find(|row| row["kind"] == "struct").expect("there is a struct plain");
    assert_eq!((&row["size"], &row["padding"]), (&json!(12), &json!(5)), "{row}");
    assert_eq!(row["holes"], json!([{"offset": 1, "size": 3}]));
    let member = |name: &str, offset: u64, size: u64| {
        let members = row["members"].as_array().expect("members were asked for");
        members.iter().any(|row| row["name"] == name && row["offset"] == offset && row["size"] == size)
    };
    assert!(member("letter", 0, 1) && member("number", 4, 4) && member("end", 8, 2), "{row}");
    assert!(row["file"].as_str().is_some_and(|file| file.ends_with("types.c")) && row["line"].is_number(), "{row}");
    let bits = session.json("mp-scan types '^bits$' --layout");
    let second = results(&bits)[0]["members"].as_array().expect("members were asked for").iter();
    let second = second.clone().find(|row| row["name"] == "second").expect("bits has a second");
    assert_eq!((&second["bit_offset"], &second["bit_size"]), (&json!(5), &json!(7)), "{second}");
    assert!(session.json("mp-scan types '^plain$'")["results"][0].get("members").is_none());
}

#[test]
fn a_layout_is_shown_as_c_declares_it() {
    let mut session = opened("types.c");
    let text = session.ok("mp-scan types '^(large|bits|list)$' --layout");
    for part in [
        "struct large {",
        "char middle[70];",
        "/* hole: 24 bytes */",
        "/* --- cache line 1, at 64, 8 bytes ago --- */",
        "/* --- cache line 2, at 128 --- */",
        "/* size: 192, cache lines: 3, members: 5 */",
        "/* taken by no member: 85 bytes */",
        "second:7;",
        "/* hole: 2 bits */",
        "int (*compare)(const struct list *, const struct list *, ...);",
        "3 types",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn lines_of_the_cache_are_counted_in_the_order_of_places() {
    let mut session = opened("types.rs");
    let text = session.ok("mp-scan types '^types::(Wide|Signed)$' --layout");
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{text}"));
    let wide = place("struct types::Wide {");
    let lines = ["/* --- cache line 1, at 64", "/* --- cache line 2, at 128"].map(place);
    assert!(wide < lines[0] && lines[0] < lines[1], "{text}");
    assert!(place("variant -3") < place("variant 253"), "{text}");
    let text = session.ok("mp-scan types '^types::Signed::Below$' --layout");
    assert!(text.contains("what all variants of its enumeration leave"), "{text}");
}

#[test]
fn types_are_ranked_and_what_is_wrong_is_said_in_one_line() {
    let mut session = opened("types.c");
    let sizes = session.json("mp-scan types . --sort size --limit 3");
    assert_eq!((results(&sizes).len(), names(&sizes)[0]), (3, "large"), "{sizes}");
    assert!(sizes["total"].as_u64() > Some(20));
    let padded = session.json("mp-scan types . --padding --limit 1");
    assert_eq!(names(&padded), ["large"]);
    let large = session.json("mp-scan types . --min-size 100");
    assert!(names(&large).contains(&"arrays") && !names(&large).contains(&"plain"), "{large}");
    assert!(session.ok("mp-scan types nosuchtype").contains("no types"));
    for (command, part) in [
        ("mp-scan types '('", "unclosed group"),
        ("mp-scan types . --sort colour", "use name, size or padding"),
        ("mp-scan types . --module nosuch", "no module 'nosuch'"),
    ] {
        let error = session.fails(command);
        assert!(error.contains(part) && error.trim_end().lines().count() == 1, "{command}: {error}");
    }
}

#[test]
fn of_a_name_that_is_defined_in_several_ways_each_is_ranked_and_said_to_be_one_of_them() {
    let mut session = Session::start();
    let folder = session.folder().to_owned();
    let text = |members: &str, rest: &str| format!("struct shared {{ {members} }};\nstruct shared object_{rest}\n");
    for (name, text) in [
        ("one", text("char first; long second;", "one; int main(void) { return 0; }")),
        ("two", text("char first; long second; char third; long fourth;", "two;")),
        ("three", text("char first; long second;", "three;")),
    ] {
        std::fs::write(folder.join(name).with_extension("c"), text).expect("a file can be written");
    }
    let mut compile = Command::new("gcc");
    compile.current_dir(&folder).args(["-g", "one.c", "two.c", "three.c", "-o", "several"]);
    assert!(compile.status().expect("gcc is needed").success());
    session.ok(&format!("target create {}", folder.join("several").display()));
    for options in ["--padding", "--sort size", "--padding --layout"] {
        let report = session.json(&format!("mp-scan types '^shared$' {options}"));
        let row = |row: &Value| [&row["size"], &row["padding"], &row["definitions"]].map(Value::as_u64);
        let rows: Vec<_> = results(&report).iter().map(row).collect();
        assert_eq!(rows, [[Some(32), Some(14), Some(2)], [Some(16), Some(7), Some(2)]], "{options}: {report}");
        let text = session.ok(&format!("mp-scan types '^shared$' {options}"));
        assert_eq!(text.matches("(one of 2 definitions)").count(), 2, "{options}: {text}");
        assert!(text.contains("1 name has several definitions"), "{options}: {text}");
    }
}

/// A program with so much debug information that workers keep what they have made of it.
fn large(folder: &Path) -> PathBuf {
    let mut text = "int main(void) { return 0; }".to_owned();
    for number in 0..24_000 {
        let _ = write!(text, "typedef struct type_{number} {{ char c; long l[{}]; }} alias_{number};", number % 9);
        let _ = write!(text, "alias_{number} object_{number};");
    }
    let (source, program) = (folder.join("large.c"), folder.join("large"));
    std::fs::write(&source, text).expect("a file can be written");
    let compiled = Command::new("gcc").args(["-g", "-Wl,--build-id", "-o"]).args([&program, &source]).status();
    assert!(compiled.expect("gcc is needed").success());
    program
}

/// The files of facts in a folder, once there are `count` of that kind.
fn facts(folder: &Path, kind: &str, count: usize) -> Vec<PathBuf> {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("an entry").path());
        let is_kept = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with('.') && name.contains(&format!("-{kind}-"))
        };
        let found: Vec<PathBuf> = entries.filter(is_kept).collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < until, "nothing of {kind} is kept: {found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn workers_keep_what_makes_the_next_session_fast_and_no_difference_to_it() {
    let folder = tests::scratch();
    let cache = folder.path().join("cache");
    let program = large(folder.path());
    let commands =
        ["types . --sort size --limit 50", "types '^type_77$' --layout", "types '_9' --min-size 20", "symbols main"];
    let opened = |cache: &Path| {
        let mut session = Session::with_environment([("MP_SCAN_CACHE", cache)]);
        session.ok(&format!("target create {}", program.display()));
        session
    };
    let all = |session: &mut Session| commands.map(|command| essence(&session.json(&format!("mp-scan {command}"))));
    let mut without = opened(Path::new(""));
    let expected = all(&mut without);
    assert!(expected[0]["total"].as_u64().is_some_and(|total| total >= 48_000), "{}", expected[0]["total"]);
    let mut first = opened(&cache);
    assert_eq!(all(&mut first), expected);
    // A command interrupts what workers do for later, and does not end it.
    assert_eq!(facts(&cache, "places", 1).len(), 1);
    assert_eq!(facts(&cache, "types", 1).len(), 1);
    let mut second = opened(&cache);
    assert_eq!(all(&mut second), expected);
    for workers in [0, 1, 7] {
        let report = second.json(&format!("mp-scan {} --workers {workers}", commands[0]));
        assert_eq!(essence(&report), expected[0], "by {workers} workers");
    }
}

#[test]
fn a_session_of_two_commands_leaves_what_it_worked_out_to_the_next() {
    let folder = tests::scratch();
    let cache = folder.path().join("cache");
    let program = large(folder.path());
    let session = Batch::default().environment("MP_SCAN_CACHE", cache.to_str().expect("a UTF-8 path"));
    let create = format!("target create {}", program.display());
    let ended = session.commands([create.as_str(), "mp-scan types '_9$'", "mp-scan types '^type_77$'"]).run();
    assert!(ended.success, "{ended:?}");
    let kept = std::fs::read_dir(&cache).expect("something is kept").map(|entry| entry.expect("an entry").file_name());
    let kept: Vec<_> = kept.collect();
    assert!(kept.iter().any(|name| name.to_string_lossy().contains("-types-")), "{kept:?}");
}

#[test]
fn what_matches_everything_takes_no_more_memory_than_is_shown() {
    const LIMIT: u64 = 64 << 20;
    let folder = tests::scratch();
    let program = large(folder.path());
    let mut session = Session::with_environment([("MP_SCAN_CACHE", "")]);
    session.ok("settings set target.preload-symbols false");
    session.ok(&format!("target create {}", program.display()));
    // The pool, and whatever else is made once, is there before memory is measured.
    session.ok("mp-scan symbols ^no_such_name$ --workers 2");
    let before = session.host().memory("RssAnon").expect("the host has memory");
    for workers in [0, 2] {
        let report = session.json(&format!("mp-scan types . --limit 1000 --workers {workers}"));
        assert_eq!(results(&report).len(), 1000);
        assert!(report["total"].as_u64() >= Some(48_000), "{}", report["total"]);
        for worker in session.workers() {
            let own = worker.memory("RssAnon").expect("the worker has memory");
            assert!(own <= LIMIT, "a worker holds {own} bytes");
        }
        let grown = session.host().memory("RssAnon").expect("the host has memory").saturating_sub(before);
        assert!(grown <= LIMIT, "by {workers} workers the debugger grew by {grown} bytes");
    }
}
