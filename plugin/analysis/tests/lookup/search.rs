//! Looks up addresses as a command does, in files on disk.

use analysis::files::FileAnalysis;
use analysis::lookup::{Given, Lookup, LookupOptions, Spelling};
use analysis::{Cut, LookupRow, Outcome, Serial, Skip};
use object::{Object, ObjectSection};
use std::ops::Range;
use std::path::Path;
use target::Access;
use target::modules::{FileSet, Files, Module, Search, Surveyed, survey};

/// As the debugger's modules are surveyed, with debug files in the folder of the program too.
pub fn surveyed(program: &Path) -> Surveyed {
    let path = program.to_str().unwrap().to_owned();
    let folder = program.parent().unwrap().to_owned();
    survey(&Module { path, ..Module::default() }, &Search { pid: None, debug_folders: vec![folder] })
}

/// How tasks are cut: the first is so large, and none is larger.
pub fn cut(size: u64) -> Cut {
    Cut { block: size, task: size, sparse: size }
}

/// Runs a plan to its end, task by task.
pub fn run<A: FileAnalysis>(plan: &A, files: &Files, size: u64) -> (Vec<A::Item>, Outcome<A::Merge>) {
    let mut items = Vec::new();
    let mut executor = Serial::new(plan, files);
    let mut outcome = analysis::run(plan, &mut executor, files, cut(size), &mut items);
    while plan.finish(&mut outcome.merge, &mut items) {}
    (items, outcome)
}

/// What is at file addresses of a program, with names as the linker knows them.
pub fn look_up(program: &Path, addresses: &[u64], size: u64) -> (Vec<LookupRow>, Vec<Skip>) {
    search_for(program, addresses, Spelling::Mangled, size)
}

/// The same, with names that are spelled so.
pub fn search_for(program: &Path, addresses: &[u64], spelling: Spelling, size: u64) -> (Vec<LookupRow>, Vec<Skip>) {
    let surveyed = surveyed(program);
    assert_eq!(surveyed.problems, Vec::<String>::new());
    let set = FileSet::new(vec![surveyed]);
    let files = Files::new(set.clone(), Vec::new(), Access::Mapped, None);
    let path = program.to_str().unwrap();
    let given: Vec<Given> = addresses.iter().map(|address| Given::In(path.into(), *address)).collect();
    let options = LookupOptions { spelling, returns: false, loaded: false, limit: u64::MAX };
    let plan = Lookup::new(set, &given, options);
    let (rows, outcome) = run(&plan, &files, size);
    assert_eq!(rows.len(), addresses.len());
    assert_eq!(plan.total(&outcome.merge), addresses.len() as u64);
    (rows, outcome.skipped)
}

/// Where a program has its code.
pub fn text(program: &Path) -> Range<u64> {
    let bytes = std::fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let text = file.section_by_name(".text").expect("a program has code");
    text.address()..text.address() + text.size()
}
