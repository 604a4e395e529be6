//! `map`.

use serde_json::Value;
use std::collections::BTreeMap;
use tests::report::{number, results};
use tests::{Debuggee, Session, gcore};

/// Start, end and permissions of each line of /proc/PID/maps.
fn mappings(maps: &str) -> Vec<(u64, u64, String)> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some((hex(start)?, hex(end)?, words.next()?.to_owned()))
    };
    maps.lines().map(|line| parse(line).expect("a line of maps")).collect()
}

fn row_at(report: &Value, address: u64) -> Value {
    let inside = |row: &&Value| number(&row["start"]) <= address && address < number(&row["end"]);
    results(report).iter().find(inside).unwrap_or_else(|| panic!("no region at {address:#x}")).clone()
}

#[test]
fn regions_are_those_of_the_process() {
    let mut session = Session::start();
    let truth = session.launch("needles.c", &["64"]);
    let report = session.json("mp-scan map");
    let maps = session.debuggee().maps();
    let mut covered = 0;
    for (start, end, permissions) in mappings(&maps) {
        // The kernel's own page at the top of the address space belongs to no process.
        if start >= 1 << 63 {
            continue;
        }
        let row = row_at(&report, start);
        assert_eq!(row["permissions"], permissions.as_str(), "{start:#x}");
        assert!(end <= number(&row["end"]), "{start:#x}");
        covered += end - start;
    }
    let user = results(&report).iter().filter(|row| number(&row["start"]) < 1 << 63);
    assert_eq!(user.map(|row| row["size"].as_u64().expect("a size")).sum::<u64>(), covered);
    for (label, kind) in [
        ("heap", "heap"),
        ("main-stack", "stack"),
        ("data", "data"),
        ("code", "code"),
        ("shared-memfd", "shared"),
        ("read-only", "anonymous"),
        ("untouched-file", "file"),
    ] {
        assert_eq!(row_at(&report, truth.address("needle", label))["kind"], kind, "{label}");
    }
}

#[test]
fn resident_memory_is_what_the_kernel_counts() {
    let mut session = Session::start();
    let truth = session.launch("memory.c", &["mapped=1024", "resident=16", "run=4"]);
    let row = row_at(&session.json("mp-scan map"), truth.address("edge", "start"));
    assert_eq!((row["size"].as_u64(), row["resident"].as_u64()), (Some(1 << 30), Some(16 << 20)));
    assert_eq!(row["swapped"].as_u64().unwrap_or(0), 0);
}

#[test]
fn kinds_add_up_in_the_summary() {
    let mut session = Session::start();
    session.launch("needles.c", &["64"]);
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in results(&session.json("mp-scan map")) {
        let entry = kinds.entry(row["kind"].as_str().expect("a kind").to_owned()).or_default();
        entry.0 += 1;
        entry.1 += row["size"].as_u64().expect("a size");
    }
    let summary = session.json("mp-scan map --summary");
    let summed = results(&summary).iter().map(|row| {
        let field = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("no {name} in {row}"));
        (row["kind"].as_str().expect("a kind").to_owned(), (field("count"), field("size")))
    });
    assert_eq!(summed.collect::<BTreeMap<_, _>>(), kinds);
}

#[test]
fn entropy_tells_random_from_constant_memory() {
    for (fill, range) in [("random", 7.99..=8.0), ("41", 0.0..=0.001)] {
        let mut session = Session::start();
        let truth = session.launch("memory.c", &["mapped=80", &format!("fill={fill}"), "needles=no"]);
        let mut first = None;
        for workers in [0, 1, 2, 7] {
            let report = session.json(&format!("mp-scan map --entropy --workers {workers}"));
            let row = row_at(&report, truth.address("edge", "start"));
            let entropy = row["entropy"].as_f64().expect("an entropy");
            assert!(range.contains(&entropy), "{fill}: {entropy}");
            let first = first.get_or_insert(report["results"].clone());
            assert_eq!(first, &report["results"], "by {workers} workers");
        }
    }
}

#[test]
fn a_core_files_regions_are_its_processs() {
    let mut session = Session::start();
    let debuggee = Debuggee::start("needles.c", &["16"]);
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let report = session.json("mp-scan map");
    assert_eq!(report["target"]["kind"], "core");
    for label in ["heap", "main-stack", "region-first", "shared-memfd"] {
        let address = debuggee.truth.address("needle", label);
        assert!(row_at(&report, address)["permissions"].as_str().expect("permissions").starts_with("rw"), "{label}");
    }
}
