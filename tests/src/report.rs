//! What tests read in a report.

use crate::fixture::{Truth, needle};
use serde_json::Value;

/// `0x…` as a number.
#[track_caller]
pub fn number(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no hex string"));
    let digits = text.strip_prefix("0x").unwrap_or_else(|| panic!("{text} is no hex string"));
    u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{text} is no hex string"))
}

/// The rows of a report.
#[track_caller]
pub fn results(report: &Value) -> &[Value] {
    report["results"].as_array().unwrap_or_else(|| panic!("no results in {report}"))
}

/// The addresses of a report's results, in its order.
#[track_caller]
pub fn addresses(report: &Value) -> Vec<u64> {
    results(report).iter().map(|row| number(&row["address"])).collect()
}

/// What a report skipped.
#[track_caller]
pub fn skipped(report: &Value) -> Vec<(u64, u64)> {
    let skips = report["skipped"].as_array().unwrap_or_else(|| panic!("no skipped in {report}"));
    skips.iter().map(|skip| (number(&skip["start"]), number(&skip["end"]))).collect()
}

/// Fails the test unless a report has exactly what the truth says, in address order.
#[track_caller]
pub fn assert_finds(report: &Value, truth: &Truth, expected: &[u64]) {
    let found = addresses(report);
    let describe = |addresses: Vec<u64>| -> Vec<String> {
        let label = |address: u64| truth.label(address).unwrap_or("?").to_owned();
        addresses.into_iter().map(|address| format!("{address:#x} {}", label(address))).collect()
    };
    let missing: Vec<u64> = expected.iter().copied().filter(|address| !found.contains(address)).collect();
    let extra: Vec<u64> = found.iter().copied().filter(|address| !expected.contains(address)).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "not found: {:#?}\nfound, but not there: {:#?}\nskipped: {}\n{}",
        describe(missing),
        describe(extra),
        report["skipped"],
        report["stats"]
    );
    assert_eq!(found, expected, "each once, in address order");
    assert_eq!(report["total"], expected.len(), "total");
}

/// The command that finds all needles.
pub fn find_needles() -> String {
    let hex: String = needle().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("mp-scan find --bytes {hex} --limit 100000")
}

/// The report without what may differ between two runs of the same scan.
pub fn essence(report: &Value) -> Value {
    let mut report = report.clone();
    report["stats"] = Value::Null;
    report
}
