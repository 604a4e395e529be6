//! The heap's commands on core files that lack a part of the memory: what is there is reported, and what is not is said.

use serde_json::Value;
use std::path::PathBuf;
use tests::heap::{LEAKS, allocations};
use tests::report::{addresses, number, results};
use tests::{Debuggee, Session, gcore, leave_out};

/// A core file of `heap.cpp`, with all of its memory.
fn dump(session: &Session) -> (Debuggee, PathBuf) {
    let debuggee = Debuggee::start("heap.cpp", &["count=2000"]);
    debuggee.dump_everything();
    let core = gcore(debuggee.pid(), session.folder());
    (debuggee, core)
}

/// What a core file lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lacks {
    /// A part of the heap, or what leads to it.
    Heap,
    /// What keeps parts of it alive.
    Roots,
}

#[track_caller]
fn assert_says_so(report: &Value) {
    let says = |field: &str| report[field].as_array().is_some_and(|list| !list.is_empty());
    assert!(says("notes") || says("skipped"), "nothing is said of what is missing: {report}");
}

/// Fails the test unless all commands work, each says what is missing to it, and all these leaks are found. Returns what `leaks` finds.
#[track_caller]
fn assert_the_rest_is_reported(
    session: &mut Session,
    debuggee: &Debuggee,
    lacks: Lacks,
    is_there: impl Fn(u64, u64) -> bool,
) -> Vec<u64> {
    let truth = &debuggee.truth;
    for command in ["heap", "heap --by region", "heap --retained"] {
        let report = session.json(&format!("mp-scan {command} --top 100000"));
        if lacks == Lacks::Heap {
            assert_says_so(&report);
        }
        assert!(!results(&report).is_empty(), "{command}: {report}");
    }
    let report = session.json("mp-scan objects .");
    if lacks == Lacks::Heap {
        assert_says_so(&report);
    }
    let report = session.json("mp-scan heap --check --limit 100000");
    assert_eq!(lacks == Lacks::Heap, report["total"].as_u64() > Some(0), "{report}");
    let (global, _) =
        allocations(truth, "kept").into_iter().find(|kept| kept.1.1 == "global").expect("a global keeps something");
    let report = session.json(&format!("mp-scan refs {global:#x}"));
    assert_says_so(&report);
    assert!(results(&report).iter().any(|row| row["symbol"].to_string().contains("by_global")), "{report}");
    let mut found = None;
    for workers in [0, 2] {
        let report = session.json(&format!("{LEAKS} --workers {workers}"));
        assert_says_so(&report);
        let leaks = addresses(&report);
        let expected = allocations(truth, "leak").into_iter().filter(|(leak, (size, _))| is_there(*leak, *size));
        let lost: Vec<u64> = expected.map(|leak| leak.0).filter(|leak| leaks.binary_search(leak).is_err()).collect();
        assert!(lost.is_empty(), "{} leaks are not found, {:x?} among them", lost.len(), lost[0]);
        let first = found.get_or_insert_with(|| leaks.clone());
        assert!(*first == leaks, "other leaks by {workers} workers");
    }
    found.expect("there were reports")
}

/// What is found beside the true leaks.
fn more(debuggee: &Debuggee, found: Vec<u64>) -> Vec<u64> {
    let leaks = debuggee.truth.addresses("leak");
    found.into_iter().filter(|found| leaks.binary_search(found).is_err()).collect()
}

#[test]
fn a_core_file_without_the_memory_of_brk() {
    let mut session = Session::start();
    let (debuggee, core) = dump(&session);
    let kept = allocations(&debuggee.truth, "kept");
    let (global, _) = kept.into_iter().find(|kept| kept.1.1 == "global").expect("a global keeps something");
    let missing = leave_out(&core, global);
    session.open_core(Some(&debuggee.program), &core);
    assert_the_rest_is_reported(&mut session, &debuggee, Lacks::Heap, |leak, _| !missing.contains(&leak));
}

#[test]
fn a_core_file_without_the_heap_of_a_thread() {
    let mut session = Session::start();
    let (debuggee, core) = dump(&session);
    let freed = debuggee.truth.labelled("freed", |label| label == "object-fast:0");
    let missing = leave_out(&core, freed[0]);
    session.open_core(Some(&debuggee.program), &core);
    let is_there = |leak, _| !missing.contains(&leak);
    let found = assert_the_rest_is_reported(&mut session, &debuggee, Lacks::Heap, is_there);
    assert_eq!(more(&debuggee, found), [0u64; 0]);
}

#[test]
fn a_core_file_without_the_main_arena() {
    let mut session = Session::start();
    let (debuggee, core) = dump(&session);
    session.attach(&debuggee);
    let report = session.json("mp-scan heap --by arena --top 100");
    let keys = results(&report).iter().filter_map(|row| row["key"].as_str());
    let address = keys.filter_map(|key| key.strip_prefix("main arena at ")).next().expect("there is a main arena");
    leave_out(&core, number(&Value::from(address)));
    session.ok("process detach");
    let mut session = Session::start();
    session.open_core(Some(&debuggee.program), &core);
    // Beside it lies how many chunks have mappings of their own; without that not each of them is known for one.
    assert_the_rest_is_reported(&mut session, &debuggee, Lacks::Heap, |_, size| size < 128 << 10);
}

#[test]
fn a_core_file_without_a_stack() {
    let mut session = Session::start();
    let (debuggee, core) = dump(&session);
    let maps = debuggee.process().maps();
    let stack = maps.lines().find(|line| line.ends_with("[stack]")).and_then(|line| line.split('-').next());
    let stack = u64::from_str_radix(stack.expect("there is a stack"), 16).expect("a number");
    leave_out(&core, stack);
    session.open_core(Some(&debuggee.program), &core);
    let found = assert_the_rest_is_reported(&mut session, &debuggee, Lacks::Roots, |_, _| true);
    let kept = debuggee.truth.labelled("kept", |label| label.starts_with("main-stack:"));
    assert_eq!(more(&debuggee, found), kept);
}

#[test]
fn a_core_file_that_was_cut() {
    for part in [30, 60, 90] {
        let mut session = Session::start();
        let (debuggee, core) = dump(&session);
        let file = std::fs::File::options().write(true).open(&core).expect("the core file can be written to");
        let size = file.metadata().expect("it is there").len();
        file.set_len(size / 100 * part).expect("the core file can be cut");
        session.open_core(Some(&debuggee.program), &core);
        for command in ["leaks", "heap", "heap --check", "objects .", "refs 0x1000"] {
            let answer = session.run(&format!("mp-scan {command} --format json"));
            assert!(answer.ok || !answer.error.is_empty(), "{command}");
            if answer.ok {
                let report: Value = serde_json::from_str(&answer.output).expect("it is JSON");
                let said =
                    ["notes", "skipped"].map(|field| report[field].as_array().is_some_and(|list| !list.is_empty()));
                assert!(said.contains(&true) || report["total"].as_u64() > Some(0), "{command}: {report}");
            }
        }
    }
}
