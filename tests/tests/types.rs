//! `types`.

use serde_json::{Value, json};
use tests::report::{essence, results};
use tests::{Session, compile};

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
