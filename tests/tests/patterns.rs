//! Every kind of pattern, over values that a debuggee has put where it says.

use serde_json::{Value, json};
use tests::report::{addresses, assert_finds, essence, results};
use tests::{Session, Truth};

/// A stopped process with values in one page, and the `--in` that names this page.
fn values() -> (Session, Truth, String) {
    let mut session = Session::start();
    let truth = session.launch("values.c", &[]);
    let page = range(&truth, "start", "end");
    (session, truth, page)
}

fn range(truth: &Truth, start: &str, end: &str) -> String {
    format!("--in {:#x}..{:#x}", truth.address("edge", start), truth.address("edge", end))
}

#[test]
fn every_kind_of_pattern_finds_what_is_there() {
    let (mut session, truth, page) = values();
    let pointed_at = truth.address("edge", "pointed_at");
    let start = truth.address("edge", "start");
    let inside = format!("{start:#x}..{:#x}", start + 0x1000);
    let cases: &[(String, &[&str])] = &[
        ("--int -42:1".into(), &["int8"]),
        ("--int 54321:2".into(), &["uint16"]),
        ("--int -123456789".into(), &["int32", "int32-unaligned"]),
        ("--int -123456789 --align 4".into(), &["int32"]),
        ("--int 12345678901234567890:8".into(), &["uint64"]),
        ("--int 0xab54a98ceb1f0ad2:8".into(), &["uint64"]),
        ("--float 1234.5:4".into(), &["float"]),
        ("--float 3.14159265358979".into(), &["double"]),
        (format!("--pointer {pointed_at:#x}"), &["pointer"]),
        ("--pointer &pointed_at".into(), &["pointer"]),
        (format!("--pointer {pointed_at:#x} --align 1"), &["pointer", "pointer-unaligned"]),
        (format!("--pointer-range {inside}"), &["pointer-inside"]),
        ("--string 'Find Me'".into(), &["text"]),
        ("--bytes 'de ad ?? ef 1?'".into(), &["masked", "masked-too"]),
        ("--bytes de ad ?? ef 1?".into(), &["masked", "masked-too"]),
        ("--bytes dead??ef12".into(), &["masked"]),
        (r"--bytes '\xde\xad\x01\xef'".into(), &["masked"]),
        ("--utf16 wide".into(), &["utf16"]),
        ("--utf16 WIDE -i".into(), &["utf16"]),
        (r"--regex 'id=\d+;'".into(), &["digits"]),
        (r"--regex 'ID=[0-9]{7};' -i".into(), &["digits"]),
        (r"--regex '(?i)ID=\d+'".into(), &["digits"]),
        ("--string nowhere-to-be-found".into(), &[]),
    ];
    for (options, labels) in cases {
        for workers in [0, 2] {
            let report = session.json(&format!("mp-scan find {options} {page} --workers {workers}"));
            let mut expected: Vec<u64> = labels.iter().map(|label| truth.address("value", label)).collect();
            expected.sort_unstable();
            assert_eq!(addresses(&report), expected, "{options}");
        }
    }
}

#[test]
fn ignoring_case_finds_both_spellings() {
    let (mut session, truth, page) = values();
    let text = truth.address("value", "text");
    let find =
        |session: &mut Session, options: &str| addresses(&session.json(&format!("mp-scan find {options} {page}")));
    assert_eq!(find(&mut session, "--string 'find me'"), [text + 9]);
    assert_eq!(find(&mut session, "--string 'find me' -i"), [text, text + 9]);
    assert_eq!(find(&mut session, "--regex 'FIND ME' -i"), [text, text + 9]);
}

#[test]
fn a_match_says_what_was_found_where() {
    let (mut session, truth, page) = values();
    let row = |session: &mut Session, options: &str| -> Value {
        let report = session.json(&format!("mp-scan find {options} {page}"));
        assert_eq!(results(&report).len(), 1, "{options}");
        results(&report)[0].clone()
    };
    let found = row(&mut session, "--int -42:1");
    assert_eq!((&found["value"], &found["size"], &found["pattern"]), (&json!(-42), &json!(1), &json!(0)));
    let found = row(&mut session, "--int 12345678901234567890:8");
    assert_eq!((&found["value"], &found["size"]), (&json!(12345678901234567890u64), &json!(8)));
    assert_eq!(row(&mut session, "--float 1234.5:4")["value"], 1234.5);
    let start = truth.address("edge", "start");
    let found = row(&mut session, &format!("--pointer-range {start:#x}..{:#x}", start + 0x1000));
    assert_eq!(found["value"], format!("{:#x}", start + 0x800));
    let found = row(&mut session, "--bytes dead??ef12");
    assert_eq!((&found["bytes"], &found["size"]), (&json!("dead01ef12"), &json!(5)));
    let found = row(&mut session, r"--regex 'id=\d+;'");
    assert_eq!(found["size"], 11);
    let found = row(&mut session, "--bytes dead01ef12 --context 8");
    let address = truth.address("value", "masked");
    assert_eq!(found["context"]["start"].as_str(), Some(format!("{:#x}", address - 8)).as_deref());
    assert_eq!(found["context"]["bytes"], "eeeeeeeeeeeeeeeedead01ef12eeeeeeeeeeeeeeee");
}

#[test]
fn a_match_in_a_module_says_its_symbol() {
    let mut session = Session::start();
    let truth = session.launch("needles.c", &["16"]);
    let bytes = tests::report::find_needles();
    let report = session.json(&format!("{bytes} --in module:needles"));
    let row = |label: &str| -> Value {
        let address = format!("{:#x}", truth.address("needle", label));
        let row = results(&report).iter().find(|row| row["address"] == address.as_str());
        row.unwrap_or_else(|| panic!("{label} in {report}")).clone()
    };
    assert_eq!((&row("data")["symbol"], &row("data")["offset"]), (&json!("in_data"), &json!(9)));
    assert_eq!((&row("code")["symbol"], &row("code")["offset"]), (&json!("code_with_needle"), &json!(3)));
    assert!(row("data")["region"].as_str().expect("a region").ends_with("/needles"));
}

#[test]
fn patterns_of_one_search_are_told_apart_by_their_order() {
    let (mut session, truth, page) = values();
    let report = session.json(&format!(
        "mp-scan find --string 'find me' --int -123456789 --bytes 'de ad ?? ef' --regex 'id=' --align 1 {page}"
    ));
    let found: Vec<(u64, u64)> = results(&report)
        .iter()
        .map(|row| (tests::report::number(&row["address"]), row["pattern"].as_u64().expect("an index")))
        .collect();
    let at = |label: &str| truth.address("value", label);
    let mut expected = vec![
        (at("text") + 9, 0),
        (at("int32"), 1),
        (at("int32-unaligned"), 1),
        (at("masked"), 2),
        (at("masked-too"), 2),
        (at("digits"), 3),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_regex_sees_beyond_blocks_and_tasks() {
    let mut session = Session::start();
    let truth = session.launch("strings.c", &[]);
    let place = range(&truth, "runs-start", "runs-end");
    let shorter = |limit: usize| truth.labelled("run", move |label| label.parse::<usize>().expect("a length") <= limit);
    for (options, expected) in [
        ("--regex '<x+>'", shorter(4096)),
        ("--regex '<x+>' --max-length 1000000", shorter(1_000_000)),
        ("--regex '<x+>' --max-length 199", shorter(199)),
        // One run begins with the region, none begins after a line's start elsewhere.
        ("--regex '^<x'", vec![truth.address("edge", "runs-start")]),
        ("--regex 'x>$'", vec![truth.address("edge", "runs-end") - 2]),
    ] {
        let mut first = None;
        for workers in [0, 1, 2, 7] {
            let report = session.json(&format!("mp-scan find {options} {place} --workers {workers}"));
            assert_finds(&report, &truth, &expected);
            let first = first.get_or_insert_with(|| essence(&report));
            assert_eq!(first, &essence(&report), "{options} by {workers} workers");
        }
    }
}

#[test]
fn matches_of_a_regex_do_not_depend_on_who_finds_them() {
    let mut session = Session::start();
    let truth = session.launch("strings.c", &[]);
    let place = range(&truth, "runs-start", "runs-end");
    // Matches that follow one another without a gap, so that each begins where the one before ends: 70 MiB of them.
    for regex in ["y{1000}", "[xy]{777}", "y{1,1500}"] {
        let mut first = None;
        for workers in [0, 1, 2, 7] {
            let report =
                session.json(&format!("mp-scan find --regex '{regex}' {place} --workers {workers} --limit 100000"));
            assert!(results(&report).len() > 10_000, "{regex}");
            let first = first.get_or_insert_with(|| essence(&report));
            assert!(first == &essence(&report), "{regex} by {workers} workers");
        }
    }
}

#[test]
fn a_hundred_million_matches_stay_bounded() {
    let mut session = Session::start();
    let truth = session.launch("memory.c", &["mapped=128", "fill=61", "needles=no"]);
    let start = truth.address("edge", "start");
    let place = range(&truth, "start", "end");
    let matches = 128 * 1024 * 1024 - 1;
    // The pool, and whatever else is made once, is there before memory is measured.
    session.ok(&format!("mp-scan find --string aa --limit 1 {place}"));
    let before = session.host().memory("RssAnon").expect("the host has memory");
    for workers in [0, 2] {
        let report = session.json(&format!("mp-scan find --string aa --limit 1000 {place} --workers {workers}"));
        let expected: Vec<u64> = (start..start + 1000).collect();
        assert_eq!(addresses(&report), expected);
        assert_eq!(report["truncated"], true);
        let report = session.json(&format!("mp-scan find --string aa --count {place} --workers {workers}"));
        assert_eq!(report["total"], matches);
        assert_eq!(report["truncated"], false);
    }
    for worker in session.workers() {
        let own = worker.memory("RssAnon").expect("the worker has memory");
        assert!(own <= 64 << 20, "a worker holds {own} bytes");
    }
    let grown = session.host().memory("RssAnon").expect("the host has memory").saturating_sub(before);
    assert!(grown <= 64 << 20, "the debugger grew by {grown} bytes");
}
