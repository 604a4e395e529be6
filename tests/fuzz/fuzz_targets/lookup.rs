//! Addresses and lines in damaged debug information: line programs, lists of ranges, entries of functions.

#![no_main]

use analysis::files::FileAnalysis;
use analysis::lines::Lines;
use analysis::lookup::{Given, Lookup, LookupOptions, Spelling};
use analysis::{Analysis, Cut, LineRow, LookupRow, Serial, run};
use libfuzzer_sys::fuzz_target;
use target::Access;
use target::modules::{FileSet, Files, Module, Search, survey};

const CUT: Cut = Cut { block: 64, task: 256, sparse: 256 };

fuzz_target!(|bytes: &[u8]| {
    let module = Module { path: "file".into(), image: Some(bytes.to_vec()), ..Module::default() };
    let set = FileSet::new(vec![survey(&module, &Search::default())]);
    let files = Files::new(set.clone(), Vec::new(), Access::Pread, None);
    let code = set.modules[0].code();
    let addresses = code.into_iter().flat_map(|range| range.step_by(3).take(256));
    let given: Vec<Given> = addresses.map(|address| Given::In("file".into(), address)).collect();
    let options = LookupOptions { spelling: Spelling::Demangled, returns: false, loaded: false, limit: u64::MAX };
    let lookup = Lookup::new(set.clone(), &given, options);
    // What a header says of a section's size is cut into as many tasks as that takes; here it is what they read that matters.
    let planned: u64 = lookup.ranges().iter().map(|range| range.range.len()).sum();
    if planned > 1 << 20 {
        return;
    }
    let mut rows: Vec<LookupRow> = Vec::new();
    let mut outcome = run(&lookup, &mut Serial::new(&lookup, &files), &files, CUT, &mut rows);
    while lookup.finish(&mut outcome.merge, &mut rows) {}
    assert_eq!(rows.len(), given.len());
    let lines = Lines::new(set, ".".into(), 64, false);
    let mut rows: Vec<LineRow> = Vec::new();
    let mut outcome = run(&lines, &mut Serial::new(&lines, &files), &files, CUT, &mut rows);
    while lines.finish(&mut outcome.merge, &mut rows) {}
    assert!(rows.len() as u64 <= lines.total(&outcome.merge));
    assert!(rows.iter().all(|row| row.range.start < row.range.end));
});
