//! `strings`.

use tests::report::{assert_finds, essence, results};
use tests::{Session, Truth};

fn place(truth: &Truth, name: &str) -> String {
    let edge = |end: &str| truth.address("edge", &format!("{name}-{end}"));
    format!("--in {:#x}..{:#x} --limit 100000", edge("start"), edge("end"))
}

#[test]
fn every_string_is_found_whole_by_any_number_of_workers() {
    let mut session = Session::start();
    let truth = session.launch("strings.c", &[]);
    let place = place(&truth, "strings");
    let ascii = truth.addresses("string");
    let with_utf8 = {
        let mut all = [ascii.clone(), truth.addresses("utf8")].concat();
        all.sort_unstable();
        all
    };
    let longer = truth.labelled("string", |label| label.len() > 20 || label == "long-61440");
    for (options, expected) in [
        ("", ascii),
        ("--encoding utf8", with_utf8),
        ("--encoding utf16", truth.addresses("utf16")),
        ("--min 21", longer),
        ("--regex '^across-a'", truth.labelled("string", |label| label.starts_with("across-a"))),
        ("--regex '\"user\":'", truth.labelled("string", |label| label.starts_with('{'))),
    ] {
        let mut first = None;
        for workers in [0, 1, 2, 7] {
            let report = session.json(&format!("mp-scan strings {options} {place} --workers {workers}"));
            assert_finds(&report, &truth, &expected);
            let first = first.get_or_insert_with(|| essence(&report));
            assert_eq!(first, &essence(&report), "{options} by {workers} workers");
        }
        for row in results(first.as_ref().expect("it ran")) {
            let label = truth.label(tests::report::number(&row["address"])).expect("it is in the truth");
            let text = row["text"].as_str().expect("a string has text");
            match label.strip_prefix("long-") {
                Some(length) => assert_eq!(text, "L".repeat(length.parse().expect("a length"))),
                None => assert_eq!(text, label),
            }
        }
    }
}

#[test]
fn a_string_of_more_than_64_kib_is_cut_and_marked() {
    let mut session = Session::start();
    let truth = session.launch("strings.c", &[]);
    let place = place(&truth, "long");
    let start = truth.address("long", "1536000");
    for workers in [0, 1, 2, 7] {
        let report = session.json(&format!("mp-scan strings {place} --workers {workers}"));
        let row = &results(&report)[0];
        assert_eq!(results(&report).len(), 1, "{report}");
        assert_eq!(row["address"], format!("{start:#x}"));
        assert_eq!(row["cut"], true);
        assert_eq!(row["text"].as_str().map(str::len), Some(64 << 10));
    }
}
