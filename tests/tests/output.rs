//! What a user sees, and what a script gets.

use serde_json::Value;
use std::fmt::Write as _;
use tests::report::{addresses, assert_finds};
use tests::{Batch, Session, check, compile};

/// All that there are.
const COMMANDS: [&str; 17] = [
    "find",
    "strings",
    "map",
    "refs",
    "heap",
    "leaks",
    "objects",
    "stacks",
    "deadlocks",
    "symbols",
    "types",
    "xrefs",
    "lookup",
    "lines",
    "jobs",
    "pool",
    "version",
];

#[test]
fn text_of_every_command() {
    let mut session = Session::start();
    let truth = session.launch("values.c", &[]);
    let page = format!("--in {:#x}..{:#x}", truth.address("edge", "start"), truth.address("edge", "end"));
    let mut text = String::new();
    for line in [
        "mp-scan find --bytes 'de ad ?? ef'",
        "mp-scan find --string 'Find Me' --context 16",
        r"mp-scan find --regex 'id=\d+;'",
        "mp-scan find --int -123456789 --float 3.14159265358979 --pointer pointed_at",
        "mp-scan find --string nowhere-to-be-found",
        "mp-scan find --bytes ee --limit 2",
        "mp-scan find --bytes ee --count",
        "mp-scan strings",
        "mp-scan strings --limit 1",
        "mp-scan find --string 'Find Me' --workers 0",
        "mp-scan find --string 'Find Me' --format ron",
    ] {
        let _ = writeln!(text, "(lldb) {line}\n{}", session.ok(&format!("{line} {page}")));
    }
    check("text", &text);
}

#[test]
fn help_is_the_same_however_it_is_asked_for() {
    let mut session = Session::start();
    for command in COMMANDS {
        let help = session.ok(&format!("help mp-scan {command}"));
        let option = session.ok(&format!("mp-scan {command} --help"));
        // LLDB puts a line of its own before what a command says of itself.
        assert!(help.contains(option.trim()), "{command}:\n{help}\n---\n{option}");
        check(&format!("help-{command}"), &option);
    }
}

#[test]
fn only_commands_that_work_are_there() {
    let mut session = Session::start();
    let help = session.ok("help mp-scan");
    for command in COMMANDS {
        assert!(help.contains(command), "{command} is not in:\n{help}");
    }
    assert!(!help.contains(" scan "), "what is no command is in:\n{help}");
    session.fails("mp-scan scan");
}

#[test]
fn every_json_document_has_its_fields() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    for line in ["mp-scan find --string 'Find Me'", "mp-scan strings", "mp-scan map", "mp-scan map --summary"] {
        let report = session.json(line);
        assert_eq!(report["schema"], 1);
        assert_eq!(report["command"], line.split(' ').nth(1).expect("a command"));
        assert_eq!(report["target"]["kind"], "live");
        assert_eq!(report["target"]["pid"], session.debuggee().pid);
        assert!(report["target"]["executable"].as_str().expect("an executable").ends_with("/values"));
        assert!(report["target"]["stop_id"].is_u64());
        for field in
            ["bytes_scanned", "bytes_skipped", "seconds", "scan_seconds", "workers", "tasks", "retried", "deaths"]
        {
            assert!(report["stats"][field].is_number(), "{line}: {field}");
        }
        assert!(report["total"].is_u64() && report["truncated"].is_boolean());
        assert!(report["skipped"].is_array() && report["results"].is_array());
    }
    for line in ["mp-scan jobs list", "mp-scan pool status"] {
        assert!(session.json(line)["results"].is_array(), "{line}");
    }
}

#[test]
fn a_report_goes_into_a_file() {
    let mut session = Session::start();
    let truth = session.launch("values.c", &[]);
    let expected = [truth.address("value", "masked"), truth.address("value", "masked-too")];
    let file = session.folder().join("report");
    let place = format!("{:#x}..{:#x}", truth.address("edge", "start"), truth.address("edge", "end"));
    let write = |session: &mut Session, format: &str| -> (String, String) {
        let line = format!("mp-scan find --bytes dead??ef --in {place} --format {format} --output {}", file.display());
        (session.ok(&line), std::fs::read_to_string(&file).expect("the report is there"))
    };
    let (printed, written) = write(&mut session, "json");
    assert_eq!(printed.trim_end().lines().count(), 1, "{printed}");
    let report: Value = serde_json::from_str(&written).expect("it is JSON");
    assert_finds(&report, &truth, &expected);
    // A second one replaces the first, whole.
    let (printed, written) = write(&mut session, "text");
    assert_eq!(printed.trim_end().lines().count(), 1, "{printed}");
    assert!(written.contains(&format!("{:#018x}", expected[0])) && !written.contains("schema"), "{written}");
    let (_, written) = write(&mut session, "ron");
    assert!(written.contains("schema: 1"), "{written}");
}

#[test]
fn what_a_batch_prints() {
    let folder = tests::scratch();
    let transcript = Batch::default()
        .commands([
            format!("target create {}", compile("values.c").display()),
            "breakpoint set --name ready".to_owned(),
            format!("process launch -- {}/truth", folder.path().display()),
            "mp-scan find --string 'Find Me' --in anonymous".to_owned(),
            "process kill".to_owned(),
        ])
        .run();
    assert!(transcript.success, "{}", transcript.stderr);
    let (_, printed) = transcript.stdout.split_once("mp-scan find").expect("the command is echoed");
    let (printed, _) = printed.split_once("(lldb)").expect("the next command is echoed");
    // Each line once: not both as it was found and when the command ended.
    check("batch", printed);
}

#[test]
fn nothing_is_printed_twice_and_nothing_beside_the_return_object() {
    let mut session = Session::start();
    let truth = session.launch("values.c", &[]);
    let before = session.screen();
    let output = session.ok("mp-scan find --string 'Find Me' --in anonymous");
    assert_eq!(session.screen(), before);
    assert_eq!(output.matches("Find Me").count(), 1, "{output}");
    let report = session.json("mp-scan find --string 'Find Me' --in anonymous");
    assert_eq!(addresses(&report), [truth.address("value", "text")]);
}

#[test]
fn settings_are_kept_and_checked() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    session.ok("mp-scan pool set workers=3 limit=1");
    let written = std::fs::read_to_string(session.configuration()).expect("the settings are kept");
    assert!(written.contains("workers") && written.contains('3'), "{written}");
    let report = session.json("mp-scan find --bytes ee");
    assert_eq!((&report["stats"]["workers"], &report["total"]), (&Value::from(3), &Value::from(1)));
    assert_eq!(session.json("mp-scan pool status")["settings"]["workers"], "3");
    session.fails("mp-scan pool set workers=2 limit=none");
    assert_eq!(session.json("mp-scan pool status")["settings"]["workers"], "3", "all or nothing is set");
}

#[test]
fn a_pool_can_be_looked_at_and_restarted() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    assert_eq!(session.json("mp-scan pool status")["results"], Value::Array(vec![]), "no worker before it is needed");
    assert!(session.workers().is_empty());
    session.json("mp-scan find --string x --workers 2");
    let before = session.workers();
    let status = session.json("mp-scan pool status");
    let pids: Vec<i64> =
        tests::report::results(&status).iter().map(|row| row["pid"].as_i64().expect("a pid")).collect();
    assert_eq!(pids, before.iter().map(|worker| i64::from(worker.pid)).collect::<Vec<_>>());
    session.ok("mp-scan pool restart");
    session.json("mp-scan find --string x --workers 2");
    let after = session.workers();
    assert!(after.iter().all(|worker| !before.contains(worker)), "{before:?} {after:?}");
    assert!(before.iter().all(|worker| worker.state().is_none()), "the old workers are reaped");
}
