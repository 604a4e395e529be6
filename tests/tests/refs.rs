//! `refs`: who points to an allocation, and how a root reaches it.

use serde_json::Value;
use std::time::Duration;
use tests::heap::allocations;
use tests::report::{addresses, essence, number, results};
use tests::{Debuggee, Session, Truth, gcore, until};

const WORKERS: [usize; 4] = [0, 1, 2, 7];

fn launch(reader: &str) -> (Session, Truth) {
    let mut session = Session::with_environment([("MP_SCAN_READER", reader)]);
    let file = format!("file={}", session.folder().join("mapped").display());
    let truth = session.launch("heap.cpp", &[&file, "count=2000"]);
    (session, truth)
}

/// The one allocation that is kept in this way: its address and its size.
#[track_caller]
fn kept(truth: &Truth, by: &str) -> (u64, u64) {
    let all = allocations(truth, "kept");
    let (address, (size, _)) =
        all.iter().find(|kept| kept.1.1 == by).unwrap_or_else(|| panic!("nothing is kept by {by}"));
    (*address, *size)
}

/// Who points to it, the same by any number of workers.
#[track_caller]
fn refs(session: &mut Session, what: &str) -> Value {
    let mut first = None;
    for workers in WORKERS {
        let report = session.json(&format!("mp-scan refs {what} --limit 100000 --workers {workers}"));
        let first = first.get_or_insert_with(|| essence(&report));
        assert!(*first == essence(&report), "refs {what}: another report by {workers} workers");
    }
    first.expect("there were reports")
}

/// The rows of a report whose field has this in it.
fn rows_with<'a>(report: &'a Value, field: &str, text: &str) -> Vec<&'a Value> {
    results(report).iter().filter(|row| row[field].to_string().contains(text)).collect()
}

fn everything_that_is_kept_has_a_reference(reader: &str) {
    let (mut session, truth) = launch(reader);
    for (by, symbol) in
        [("global", "by_global"), ("interior", "by_interior"), ("last-byte", "by_last_byte"), ("chain", "by_chain")]
    {
        let (address, size) = kept(&truth, by);
        let report = refs(&mut session, &format!("{address:#x}"));
        let rows = rows_with(&report, "symbol", symbol);
        assert_eq!(rows.len(), 1, "{by}: {report}");
        assert!((address..address + size).contains(&number(&rows[0]["value"])), "{by}: {report}");
    }
    for by in ["main-stack", "thread-stack"] {
        let report = refs(&mut session, &format!("{:#x}", kept(&truth, by).0));
        assert!(results(&report).iter().any(|row| row["thread"].is_u64()), "{by}: {report}");
        let function = if by == "main-stack" { "main" } else { "hold_in_thread" };
        let in_frame = |row: &&Value| row["frame"]["function"].to_string().contains(function);
        let row = results(&report).iter().find(in_frame).unwrap_or_else(|| panic!("{by}: {report}"));
        // It is the debugger's frame of that number.
        let (thread, index) = (&row["thread"], &row["frame"]["index"]);
        let own = session.python(&format!(
            "answer = [t for t in process if t.GetIndexID() == {thread}][0].GetFrameAtIndex({index}).GetFunctionName()"
        ));
        assert!(own.to_string().contains(function), "{by}: {own}: {report}");
        let text = session.ok(&format!("mp-scan refs {:#x}", kept(&truth, by).0));
        assert!(text.contains(&format!("thread {thread}, frame {index} {function}")), "{by}: {text}");
    }
    for by in [
        "register",
        "specific",
        "main-tls",
        "thread-tls",
        "thread-arena",
        "anonymous-mapping",
        "shared-mapping",
        "file-mapping",
        "brk",
    ] {
        let report = refs(&mut session, &format!("{:#x}", kept(&truth, by).0));
        assert!(report["total"].as_u64() > Some(0), "{by}: {report}");
    }
    // What others have from brk between chunks is a root as globals are.
    let report = refs(&mut session, &format!("{:#x} --to-roots", kept(&truth, "brk").0));
    let [row] = results(&report) else { panic!("{report}") };
    assert_eq!(row["chain"], Value::Array(Vec::new()), "{report}");
    assert!(row["allocation"].is_null(), "{report}");
    let report = refs(&mut session, &format!("{:#x}", kept(&truth, "register").0));
    assert!(report.to_string().contains("r12"), "{report}");
    for (by, holder) in [("behind-chain", "chain"), ("behind-large", "large")] {
        let report = refs(&mut session, &format!("{:#x}", kept(&truth, by).0));
        assert_eq!(report["total"], 1, "{by}: {report}");
        let row = &results(&report)[0];
        assert_eq!(number(&row["allocation"]["start"]), kept(&truth, holder).0, "{by}: {report}");
        assert_eq!(row["allocation"]["used"], true, "{by}: {report}");
        assert_eq!(row["depth"], 1);
    }
}

#[test]
fn everything_that_is_kept_has_a_reference_with_process_vm_readv() {
    everything_that_is_kept_has_a_reference("vm");
}

#[test]
fn everything_that_is_kept_has_a_reference_through_proc_pid_mem() {
    everything_that_is_kept_has_a_reference("mem");
}

#[test]
fn what_leaked_has_references_only_from_leaks_and_freed_memory() {
    let (mut session, truth) = launch("vm");
    let leaks = allocations(&truth, "leak");
    for label in ["ring", "chain", "single", "mapped"] {
        let (address, _) = leaks.iter().find(|leak| leak.1.1 == label).expect("there is such a leak");
        for row in results(&refs(&mut session, &format!("{address:#x}"))) {
            let allocation = &row["allocation"];
            let leaked = allocation["start"].is_string() && leaks.contains_key(&number(&allocation["start"]));
            assert!(leaked || allocation["used"] == false, "{label}: {row}");
        }
    }
}

#[test]
fn a_range_is_what_points_into_it() {
    let (mut session, truth) = launch("vm");
    let (address, _) = kept(&truth, "interior");
    let at = address + 2504;
    for (range, expected) in [(at..at + 1, 1), (at - 100..at, 0), (at + 1..at + 100, 0), (at - 8..at + 8, 1)] {
        let report = refs(&mut session, &format!("{:#x}..{:#x}", range.start, range.end));
        assert_eq!(report["total"], expected, "{report}");
    }
}

#[test]
fn the_way_from_a_root_is_shown_live_and_in_a_core_file() {
    let debuggee = Debuggee::start("heap.cpp", &["count=2000"]);
    debuggee.dump_everything();
    let truth = &debuggee.truth;
    let mut session = Session::start();
    session.attach(&debuggee);
    let question = format!("{:#x} --to-roots", kept(truth, "behind-chain").0);
    let live = refs(&mut session, &question);
    let chain = results(&live)[0]["chain"].as_array().unwrap_or_else(|| panic!("no chain in {live}"));
    assert!(chain[0]["symbol"].to_string().contains("by_chain"), "{live}");
    let deep = refs(&mut session, &format!("{:#x} --depth 2", kept(truth, "behind-chain").0));
    assert_eq!(
        rows_with(&deep, "symbol", "by_chain").iter().map(|row| &row["depth"]).collect::<Vec<_>>(),
        [2],
        "{deep}"
    );
    session.ok("process detach");
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let dead = refs(&mut session, &question);
    assert_eq!(addresses(&live), addresses(&dead));
    assert_eq!(live["results"][0]["chain"], dead["results"][0]["chain"]);
}

#[test]
fn the_second_question_has_the_same_answer_as_the_first_of_another_session() {
    let (mut session, truth) = launch("vm");
    let questions: Vec<String> =
        allocations(&truth, "kept").keys().map(|address| format!("{address:#x}")).take(40).collect();
    let fresh = |session: &mut Session, what: &str| {
        essence(&session.json(&format!("mp-scan refs {what} --limit 100000")))["results"].clone()
    };
    let first: Vec<Value> = questions.iter().map(|what| fresh(&mut session, what)).collect();
    // By now whatever is made behind the prompt is there, and stays until the process runs.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let second: Vec<Value> = questions.iter().map(|what| fresh(&mut session, what)).collect();
    assert!(first == second);
}

/// Asks before all pointers are sorted and after that.
fn the_answers_stay_the_same(questions: impl Fn(&Truth) -> Vec<String>) {
    let (mut session, truth) = launch("");
    let questions = questions(&truth);
    let ask = |session: &mut Session, what: &str| session.json(&format!("mp-scan refs {what} --limit 100000"));
    let before: Vec<Value> = questions.iter().map(|what| ask(&mut session, what)).collect();
    // That is done while nobody asks, or once somebody asks often.
    until("all pointers are sorted", Duration::from_secs(60), || {
        (ask(&mut session, "main")["stats"]["bytes_scanned"] == 0).then_some(())
    });
    assert!(before[0]["stats"]["bytes_scanned"].as_u64() > Some(0), "{}", before[0]);
    for (what, before) in questions.iter().zip(&before) {
        let after = ask(&mut session, what);
        assert_eq!(after["stats"]["bytes_scanned"], 0, "{what}: {after}");
        assert!(essence(before) == essence(&after), "{what}: {before} and then {after}");
    }
}

#[test]
fn once_all_pointers_are_sorted_the_answers_are_the_same_and_nothing_is_read() {
    the_answers_stay_the_same(|truth| {
        let (interior, size) = kept(truth, "interior");
        let range = format!("{:#x}..{:#x}", interior - 2000, interior + size);
        vec![format!("{interior:#x}"), range, format!("{:#x}", truth.addresses("freed")[0])]
    });
    the_answers_stay_the_same(|truth| {
        vec![format!("{:#x}", truth.address("edge", "file-mapping")), "by_global".to_owned(), "main".to_owned()]
    });
}
