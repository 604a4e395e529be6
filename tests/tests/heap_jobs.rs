//! Commands of the heap as jobs: progress, the background, and timeouts.

use serde_json::Value;
use std::time::Duration;
use tests::report::{essence, results};
use tests::{Debuggee, Session, until};

const PATIENCE: Duration = Duration::from_secs(120);

/// All of them, on a heap that they take a while for.
fn commands(debuggee: &Debuggee) -> Vec<String> {
    let leak = debuggee.truth.labelled("leak", |label| label.starts_with("held"))[0];
    let commands = ["leaks", "heap", "heap --retained", "heap --check", "objects ^Listener$"].map(str::to_owned);
    commands.into_iter().chain([format!("refs {leak:#x}"), format!("refs {leak:#x} --to-roots")]).collect()
}

fn row(session: &mut Session, job: u64) -> Value {
    let list = session.json("mp-scan jobs list");
    results(&list).iter().find(|row| row["job"] == job).unwrap_or_else(|| panic!("no job {job} in {list}")).clone()
}

#[test]
fn a_command_of_the_heap_goes_on_in_the_background_with_progress_and_the_same_report() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=200"]);
    let mut session = Session::start();
    session.attach(&debuggee);
    for command in commands(&debuggee) {
        // So that nothing is known yet.
        session.ok("expression (int)getpid()");
        let output = session.ok(&format!("mp-scan {command} --workers 1 --background"));
        let number = output.split_once("job ").and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
        let job: u64 = number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{output}"));
        let mut last = (0, 0);
        until("its end", PATIENCE, || {
            let row = row(&mut session, job);
            let now = ["progress", "total"].map(|field| row[field].as_u64().unwrap_or_else(|| panic!("{row}")));
            assert!(now[0] >= last.0 && now[0] <= now[1], "{command}: {row}, and before {last:?}");
            last = (now[0], now[1]);
            (row["state"] != "running").then_some(())
        });
        // All of the heap has been gone through at least once, and in the end nothing was left of what was to be done but what was
        // known by then.
        assert!(last.0 > 20 << 20 && last.0 * 2 > last.1, "{command}: {last:?}");
        let report = session.json(&format!("mp-scan jobs show {job}"));
        assert_eq!(report["stopped"], Value::Null, "{command}");
        session.ok("expression (int)getpid()");
        let limits = |report: &Value| [report["total"].clone(), essence(report)["results"].clone()];
        assert_eq!(limits(&session.json(&format!("mp-scan {command}"))), limits(&report), "{command}");
    }
}

#[test]
fn a_command_of_the_heap_that_runs_out_of_time_says_so_and_claims_nothing() {
    let debuggee = Debuggee::start("heap_mix.cpp", &["chunks=400"]);
    let mut session = Session::start();
    session.attach(&debuggee);
    for command in commands(&debuggee) {
        for workers in [0, 1] {
            session.ok("expression (int)getpid()");
            let line = format!("mp-scan {command} --timeout 0.001 --workers {workers}");
            let report = session.json(&line);
            assert_eq!((&report["truncated"], &report["stopped"]), (&Value::Bool(true), &"timeout".into()), "{line}");
            assert_eq!(report["total"], 0, "{line}: {report}");
            session.ok("expression (int)getpid()");
            let text = session.ok(&line);
            assert!(text.contains("no answer, cut short: its time was up"), "{line}: {text}");
            for claim in ["no leaks", "nothing is wrong", "nothing points", "no objects"] {
                assert!(!text.contains(claim), "{line}: {text}");
            }
        }
    }
}
