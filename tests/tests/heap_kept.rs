//! What is known of heaps between commands, and what that takes.

use serde_json::Value;
use tests::report::essence;
use tests::{Debuggee, Session, gcore};

fn scanned(report: &Value) -> u64 {
    report["stats"]["bytes_scanned"].as_u64().unwrap_or_else(|| panic!("no bytes_scanned in {report}"))
}

#[test]
fn what_is_known_of_a_core_is_kept_while_another_one_is_looked_at() {
    let debuggees = [Debuggee::start("heap.cpp", &["count=500"]), Debuggee::start("heap.cpp", &["count=900"])];
    let cores = debuggees.each_ref().map(|debuggee| gcore(debuggee.pid(), debuggee.folder()));
    let mut session = Session::start();
    let mut first = Vec::new();
    for (debuggee, core) in debuggees.iter().zip(&cores) {
        session.open_core(Some(&debuggee.program), core);
        let report = session.json("mp-scan heap --by size --top 1000");
        assert!(scanned(&report) > 0, "{report}");
        first.push(report);
    }
    assert_ne!(first[0]["totals"], first[1]["totals"]);
    for target in [0, 1, 0] {
        session.ok(&format!("target select {target}"));
        let report = session.json("mp-scan heap --by size --top 1000");
        assert_eq!(scanned(&report), 0, "{}", report["stats"]);
        assert_eq!(essence(&report), essence(&first[target]));
    }
}

#[test]
fn what_is_known_of_a_process_is_not_told_of_another() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    session.launch("heap.cpp", &["count=500"]);
    let first = session.json("mp-scan heap");
    session.launch("heap.cpp", &["count=900"]);
    let second = session.json("mp-scan heap");
    assert_ne!(first["totals"], second["totals"]);
    session.ok("target select 0");
    assert_eq!(session.json("mp-scan heap")["totals"], first["totals"]);
}

/// What the tables and graphs take is said, and more of them take more.
#[test]
fn a_report_says_what_its_tables_take() {
    let mut session = Session::start();
    session.launch("heap.cpp", &["count=2000"]);
    let mut memory = |command: &str| {
        let report = session.json(&format!("mp-scan {command}"));
        let memory = report["stats"]["memory"].as_u64().unwrap_or_else(|| panic!("{}", report["stats"]));
        let text = session.ok(&format!("mp-scan {command}"));
        assert!(text.contains(" of tables"), "{text}");
        memory
    };
    let index = memory("heap --by size");
    assert!(index > 0);
    for command in ["heap --by type", "leaks", "heap --retained"] {
        let more = memory(command);
        assert!(more > index, "{command}: {more} bytes, and {index} for the index alone");
    }
}
