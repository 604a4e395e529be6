//! Symbol tables, their versions, and mangled names. The first byte says what the rest is.

#![no_main]

use analysis::files::FileAnalysis;
use analysis::symbols::{Demangler, Symbols, SymbolsOptions};
use analysis::{Cut, Serial, run};
use libfuzzer_sys::fuzz_target;
use target::Access;
use target::modules::{FileSet, Files, Module, Search, survey};

fuzz_target!(|bytes: &[u8]| {
    let Some((what, rest)) = bytes.split_first() else { return };
    if what & 1 == 0 {
        let mut text = b"before".to_vec();
        let found = Demangler::new().demangle(rest, &mut text);
        assert!(text.starts_with(b"before") && (found || text.len() == 6));
        return;
    }
    let module = Module { path: "[image]".into(), image: Some(rest.to_vec()), ..Module::default() };
    let set = FileSet::new(vec![survey(&module, &Search::default())]);
    for (regex, mangled) in [("", false), ("@|a", false), ("core", false), ("a", true)] {
        let options = SymbolsOptions { regex: regex.into(), mangled, limit: 16, ..SymbolsOptions::default() };
        let analysis = Symbols::new(set.clone(), options).expect("it is a regex");
        let files = Files::new(set.clone(), Vec::new(), Access::Mapped, None);
        let mut found = Vec::new();
        let mut serial = Serial::new(&analysis, &files);
        let mut outcome = run(&analysis, &mut serial, &files, Cut::default(), &mut found);
        while analysis.finish(&mut outcome.merge, &mut found) {}
        assert!(found.len() as u64 <= analysis.total(&outcome.merge));
        assert!(found.is_sorted_by_key(|found| found.place));
    }
});
