//! `objects`: the live objects of a type, and of those that derive from it.

use serde_json::Value;
use tests::report::{addresses, essence, number, results};
use tests::{Debuggee, Session, Truth, gcore};

const WORKERS: [usize; 4] = [0, 1, 2, 7];

/// The types of which there are objects.
const TYPES: [&str; 4] = ["Circle", "Square", "RoundedSquare", "Badge"];

/// Where the objects of these types are, those that `std::make_shared` made among them.
fn true_objects(truth: &Truth, types: &[&str]) -> Vec<u64> {
    let wanted = |label: &str| label.split(':').next().is_some_and(|name| types.contains(&name));
    let mut all = truth.labelled("object", wanted);
    all.extend(truth.labelled("shared", wanted));
    all.sort_unstable();
    all
}

#[track_caller]
fn assert_objects(report: &Value, truth: &Truth, types: &[&str]) {
    let expected = true_objects(truth, types);
    assert!(!expected.is_empty());
    assert_eq!(addresses(report), expected, "objects of {types:?}");
    assert_eq!(report["total"], expected.len());
    for row in results(report) {
        assert_eq!(row["allocation"]["used"], true, "{row}");
        let start = number(&row["allocation"]["start"]);
        let size = row["allocation"]["size"].as_u64().unwrap_or_else(|| panic!("no size in {row}"));
        assert!((start..start + size).contains(&number(&row["address"])), "{row}");
        assert!(types.contains(&row["type"].as_str().unwrap_or_default()), "{row}");
    }
}

fn finds_all_objects(session: &mut Session, truth: &Truth) {
    let all = TYPES;
    for (options, types) in [
        ("^Circle$", &all[..1]),
        ("^Square$", &all[1..2]),
        ("^Square$ --subclasses", &all[1..3]),
        ("^Badge$", &all[3..]),
        ("^Shape$ --subclasses", &all[..]),
    ] {
        let mut first = None;
        for workers in WORKERS {
            let report = session.json(&format!("mp-scan objects {options} --limit 100000 --workers {workers}"));
            assert_objects(&report, truth, types);
            let first = first.get_or_insert_with(|| essence(&report));
            assert!(*first == essence(&report), "{options}: another report by {workers} workers");
        }
    }
    // Of the type itself there is none.
    assert_eq!(session.json("mp-scan objects ^Shape$")["total"], 0);
}

#[test]
fn finds_all_objects_of_a_type_in_a_process() {
    for reader in ["vm", "mem"] {
        let mut session = Session::with_environment([("MP_SCAN_READER", reader)]);
        let truth = session.launch("heap.cpp", &["count=2000"]);
        finds_all_objects(&mut session, &truth);
    }
}

#[test]
fn finds_all_objects_of_a_type_through_the_debugger() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    let truth = session.launch("heap.cpp", &["count=100"]);
    let report = session.json("mp-scan objects ^Shape$ --subclasses --limit 100000");
    assert_objects(&report, &truth, &TYPES);
}

#[test]
fn finds_all_objects_of_a_type_in_a_core_file() {
    let debuggee = Debuggee::start("heap.cpp", &["count=2000"]);
    debuggee.dump_everything();
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    finds_all_objects(&mut session, &debuggee.truth);
}

/// None of the objects that were freed, in a cache, on a fast bin, in other bins, or merged with what lies around them.
#[track_caller]
fn finds_no_freed_object(session: &mut Session, truth: &Truth) {
    let freed = truth.addresses("freed");
    for way in ["cached", "fast", "unsorted", "merged", "top"] {
        assert!(!truth.labelled("freed", |label| label == format!("object-{way}:0")).is_empty(), "none by {way}");
    }
    for types in ["."].into_iter().chain(TYPES) {
        let found = addresses(&session.json(&format!("mp-scan objects {types} --limit 1000000")));
        assert!(!found.is_empty());
        let wrong: Vec<_> = freed.iter().filter(|freed| found.binary_search(freed).is_ok()).collect();
        assert!(wrong.is_empty(), "objects {types}: {wrong:x?} were freed");
    }
    // Nor is one counted.
    let report = session.json("mp-scan heap --top 100000");
    for name in TYPES {
        let rows = results(&report).iter().filter(|row| row["key"] == name);
        let counted: u64 = rows.filter_map(|row| row["count"].as_u64()).sum();
        assert_eq!(counted, true_objects(truth, &[name]).len() as u64, "{name}: {report}");
    }
}

#[test]
fn what_was_freed_is_no_object_live_and_in_a_core_file() {
    let debuggee = Debuggee::start("heap.cpp", &["count=2000"]);
    debuggee.dump_everything();
    let mut session = Session::start();
    session.attach(&debuggee);
    finds_no_freed_object(&mut session, &debuggee.truth);
    session.ok("process detach");
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    finds_no_freed_object(&mut session, &debuggee.truth);
}

#[test]
fn an_object_is_shown_with_who_holds_it() {
    let mut session = Session::start();
    let truth = session.launch("heap.cpp", &["count=100"]);
    let shared = truth.labelled("shared", |label| label.starts_with("Circle:"));
    let lost = truth.labelled("leak", |label| label.starts_with("circle:"));
    for workers in [0, 2] {
        let report = session.json(&format!("mp-scan objects ^Circle$ --limit 100000 --workers {workers}"));
        assert_objects(&report, &truth, &["Circle"]);
        for row in results(&report) {
            let address = number(&row["address"]);
            if lost.binary_search(&address).is_ok() {
                assert!(row["owner"].is_null(), "nobody holds what has leaked: {row}");
                continue;
            }
            let (holder, offset) = match shared.binary_search(&address) {
                Ok(_) => ("std::list node", 16),
                Err(_) => ("std::vector storage", 0),
            };
            let owner = &row["owner"];
            assert_eq!(owner["allocation"]["type"], holder, "{row}");
            // A node points to the object, and to the counters before it.
            let value = number(&owner["value"]);
            assert!(value == address || value == address - offset, "{row}");
        }
    }
    let text = session.ok("mp-scan objects ^Circle$");
    assert!(text.contains("held by 0x") && text.contains("std::list node"), "{text}");
}

#[test]
fn a_value_behind_a_trait_has_its_type_and_its_owner() {
    let debuggee = Debuggee::start("heap.rs", &[]);
    let kept = debuggee.truth.addresses("kept");
    let look = |session: &mut Session| {
        let report = session.json("mp-scan objects keep_in_static");
        let [row] = results(&report) else { panic!("{report}") };
        let name = row["type"].as_str().unwrap_or_default();
        assert!(name.starts_with("heap::keep_in_static::{"), "{row}");
        assert!(kept.binary_search(&number(&row["address"])).is_ok(), "{row}");
        assert_eq!(row["allocation"]["size"], 24, "{row}");
        assert!(row["owner"]["symbol"].as_str().is_some_and(|name| name.contains("EVERYTHING")), "{row}");
        let report = session.json("mp-scan objects '^BTreeMap/BTreeSet node$'");
        // Of 300 elements, 11 in a node at most.
        assert!(report["total"].as_u64() >= Some(28), "{report}");
        assert!(addresses(&report).iter().all(|node| kept.binary_search(node).is_ok()), "{report}");
    };
    let mut session = Session::start();
    session.attach(&debuggee);
    look(&mut session);
    session.ok("process detach");
    debuggee.dump_everything();
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    look(&mut session);
}
