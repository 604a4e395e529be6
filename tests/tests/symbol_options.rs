//! What all commands that look at modules' files have in common: options, formats, and that LLDB loads nothing for them.

use serde_json::Value;
use std::time::Duration;
use tests::report::{number, results};
use tests::{Session, compile, until};

/// The five commands, about a program that is the target.
fn commands(session: &mut Session) -> Vec<String> {
    let main = session.json("mp-scan symbols '^main$'");
    let main = number(&results(&main)[0]["address"]);
    vec![
        "symbols ''".to_owned(),
        "types . --layout".to_owned(),
        format!("lookup {main:#x} {:#x}", main + 9),
        "lines .".to_owned(),
        format!("xrefs {main:#x}"),
    ]
}

fn opened(program: &str) -> Session {
    let mut session = Session::start();
    session.ok("settings set target.preload-symbols false");
    session.ok(&format!("target create {program}"));
    session
}

#[test]
fn a_timeout_ends_each_command_with_what_it_has() {
    let mut session = opened(&compile("symbols.cpp").display().to_string());
    for command in commands(&mut session) {
        for workers in [0, 2] {
            let report = session.json(&format!("mp-scan {command} --timeout 0.000001 --workers {workers}"));
            assert_eq!((&report["truncated"], &report["stopped"]), (&true.into(), &"timeout".into()), "{command}");
            // The next command is whole.
            let report = session.json(&format!("mp-scan {command} --timeout 100 --workers {workers}"));
            assert_eq!((&report["truncated"], &report["stopped"]), (&false.into(), &Value::Null), "{command}");
            assert!(!results(&report).is_empty(), "{command}: {report}");
        }
    }
}

#[test]
fn each_command_runs_in_the_background_and_its_report_is_the_same_in_all_formats() {
    let mut session = opened(&compile("symbols.cpp").display().to_string());
    for command in commands(&mut session) {
        let report = session.json(&format!("mp-scan {command}"));
        assert!(!results(&report).is_empty(), "{command}: {report}");
        let printed = session.ok(&format!("mp-scan {command} --background"));
        let job: String =
            printed.split("job ").nth(1).into_iter().flat_map(str::chars).take_while(char::is_ascii_digit).collect();
        assert!(!job.is_empty(), "{command}: {printed}");
        session.ok(&format!("mp-scan jobs wait {job}"));
        let shown = session.json(&format!("mp-scan jobs show {job}"));
        assert_eq!(
            (&shown["results"], &shown["total"], &shown["notes"]),
            (&report["results"], &report["total"], &report["notes"]),
            "{command}"
        );
        let ron = session.ok(&format!("mp-scan jobs show {job} --format ron"));
        let ron: ron::Value = ron::from_str(&ron).unwrap_or_else(|error| panic!("{command}: {error} in:\n{ron}"));
        let ron = serde_json::to_value(&ron).expect("keys are strings");
        assert_eq!((&ron["results"], &ron["total"]), (&report["results"], &report["total"]), "{command}");
        let direct = session.ok(&format!("mp-scan {command} --format ron"));
        let direct: ron::Value = ron::from_str(&direct).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(serde_json::to_value(&direct).expect("keys are strings")["results"], report["results"], "{command}");
    }
}

#[test]
fn the_debugger_loads_no_symbols_for_any_of_them() {
    let program = compile("symbols.cpp");
    let mut session = opened(&program.display().to_string());
    session.ok("target modules add /usr/lib/x86_64-linux-gnu/libLLVM.so.22.1");
    for command in commands(&mut session) {
        for workers in [0, 2] {
            let report = session.json(&format!("mp-scan {command} --workers {workers} --limit 10"));
            assert!(!results(&report).is_empty(), "{command}: {report}");
        }
    }
    let loaded = |session: &mut Session| -> Vec<u64> {
        let statistics = session.ok("statistics dump --summary");
        let statistics: Value = serde_json::from_str(&statistics).expect("JSON");
        let count = |name: &str| statistics[name].as_u64().unwrap_or_else(|| panic!("{name} in {statistics}"));
        vec![
            count("totalSymbolTablesLoaded"),
            count("totalSymbolTableSymbolCount"),
            count("totalModuleCountHasDebugInfo"),
        ]
    };
    assert_eq!(loaded(&mut session), [0, 0, 0]);
    // Whoever asks LLDB itself makes it load them.
    session.ok("image lookup --name main");
    until("symbols that LLDB has loaded", Duration::from_secs(60), || {
        loaded(&mut session).iter().any(|count| *count > 0).then_some(())
    });
}
