//! Types in damaged debug information: unit headers, abbreviations, entries that refer to one another.

#![no_main]

use analysis::files::FileAnalysis;
use analysis::types::{Item, Sort, Types, TypesOptions};
use analysis::{Analysis, Cut, Serial, run};
use libfuzzer_sys::fuzz_target;
use target::Access;
use target::modules::{FileSet, Files, Module, Search, survey};

fuzz_target!(|bytes: &[u8]| {
    let module = Module { path: "file".into(), image: Some(bytes.to_vec()), ..Module::default() };
    let set = FileSet::new(vec![survey(&module, &Search::default())]);
    let files = Files::new(set.clone(), Vec::new(), Access::Pread, None);
    let options = TypesOptions { regex: ".".into(), sort: Sort::Padding, layout: true, limit: 64, min_size: 0 };
    let types = Types::new(set, options);
    let cut = Cut { block: 64, task: 256, sparse: 256 };
    let mut sink: Vec<Item> = Vec::new();
    let mut outcome = run(&types, &mut Serial::new(&types, &files), &files, cut, &mut sink);
    while types.finish(&mut outcome.merge, &mut sink) {}
    assert!(sink.len() as u64 <= types.total(&outcome.merge));
    let mut scanner = types.scanner().expect("the regex compiles");
    let rows = types.describe(&mut scanner, &sink, &files, &|| false);
    assert_eq!(rows.count(), Some(sink.len()));
});
