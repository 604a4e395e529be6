//! What the debuggees with a known heap say of it, against what a report says.

use crate::fixture::Truth;
use crate::report::{number, results};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The command that finds all leaks, and shows each.
pub const LEAKS: &str = "mp-scan leaks --limit 1000000";

/// An allocation by address: its usable size and what the debuggee calls it. The size is the number after the colon.
pub fn allocations<'a>(truth: &'a Truth, kind: &str) -> BTreeMap<u64, (u64, &'a str)> {
    let parse = |(label, address): (&'a str, u64)| {
        let (name, size) = label.rsplit_once(':').unwrap_or_else(|| panic!("'{label}' has no size"));
        (address, (size.parse().unwrap_or_else(|_| panic!("'{label}' has no size")), name))
    };
    truth.of_kind(kind).into_iter().map(parse).collect()
}

/// Fails the test unless a report of `leaks` has exactly the true leaks, of their true sizes, each once, in address order.
#[track_caller]
pub fn assert_leaks(report: &Value, truth: &Truth) {
    let expected = allocations(truth, "leak");
    let found: Vec<(u64, u64)> = results(report)
        .iter()
        .map(|row| (number(&row["address"]), row["size"].as_u64().unwrap_or_else(|| panic!("no size in {row}"))))
        .collect();
    let addresses: BTreeSet<u64> = found.iter().map(|leak| leak.0).collect();
    let describe = |address: u64| {
        let kinds = ["leak", "kept", "freed"].map(|kind| (kind, truth.of_kind(kind)));
        let is_it =
            |labels: &[(&str, u64)]| labels.iter().find(|label| label.1 == address).map(|label| label.0.to_owned());
        let known = kinds.iter().find_map(|(kind, labels)| Some(format!("{kind} {}", is_it(labels)?)));
        format!("{address:#x} {}", known.unwrap_or_else(|| "of which the debuggee says nothing".to_owned()))
    };
    let missing: Vec<u64> = expected.keys().copied().filter(|address| !addresses.contains(address)).collect();
    let extra: Vec<u64> = addresses.iter().copied().filter(|address| !expected.contains_key(address)).collect();
    let some = |list: &[u64]| list.iter().take(20).map(|address| describe(*address)).collect::<Vec<_>>();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{} not found: {:#?}\n{} found, but no leaks: {:#?}\nskipped: {}\nnotes: {}\n{}",
        missing.len(),
        some(&missing),
        extra.len(),
        some(&extra),
        report["skipped"],
        report["notes"],
        report["stats"]
    );
    let expected: Vec<(u64, u64)> = expected.into_iter().map(|(address, (size, _))| (address, size)).collect();
    assert!(found == expected, "other sizes, or in another order");
    assert_eq!(report["total"], expected.len(), "total");
}

/// Fails the test unless a report of `leaks` says which leaks nothing points to, and what those hold, as it is.
#[track_caller]
pub fn assert_heads(report: &Value, truth: &Truth) {
    let held = |label: &str| -> u64 {
        label.rsplit_once('/').and_then(|label| label.1.parse().ok()).unwrap_or_else(|| panic!("'{label}' holds what?"))
    };
    let heads = allocations(truth, "head");
    let mut rings = Vec::new();
    for row in results(report) {
        let address = number(&row["address"]);
        let holds = row["holds"]["count"].as_u64();
        match heads.get(&address) {
            Some((_, label)) => {
                assert_eq!(row["unreferenced"], true, "{label}: {row}");
                assert_eq!(holds.unwrap_or(0), held(label), "{label}: {row}");
            }
            None => {
                assert_eq!(row["unreferenced"], false, "it is held by another: {row}");
                rings.extend(holds.filter(|count| *count > 0));
            }
        }
    }
    // Any one of a ring stands for it.
    let mut expected: Vec<u64> =
        truth.of_kind("ring").iter().map(|ring| held(ring.0.split(':').next().unwrap_or_default())).collect();
    expected.sort_unstable();
    rings.sort_unstable();
    assert_eq!(rings, expected, "what rings hold");
}

/// Fails the test unless none of these is in a report.
#[track_caller]
pub fn assert_none(report: &Value, unwanted: &[u64]) {
    let unwanted: BTreeSet<u64> = unwanted.iter().copied().collect();
    for row in results(report) {
        assert!(!unwanted.contains(&number(&row["address"])), "{row}");
    }
}
