//! The code of source files, as a walk over all rows of gimli's own finds it.

use crate::build::Build;
use crate::search::{run, surveyed};
use analysis::files::FileAnalysis;
use analysis::lines::Lines;
use object::{Object, ObjectSection};
use std::collections::BTreeSet;
use std::path::Path;
use target::Access;
use target::modules::{FileSet, Files};

type Row = (u64, u64, String, u64);

fn found(program: &Path, regex: &str, limit: u64, size: u64) -> (Vec<Row>, u64) {
    let set = FileSet::new(vec![surveyed(program)]);
    let files = Files::new(set.clone(), Vec::new(), Access::Mapped, None);
    let plan = Lines::new(set, regex.to_owned(), limit, false);
    let (rows, outcome) = run(&plan, &files, size);
    assert_eq!(outcome.skipped, []);
    assert_eq!(plan.notes(&outcome.merge), Vec::<String>::new());
    let total = plan.total(&outcome.merge);
    (rows.iter().map(|row| (row.range.start, row.range.end, row.file.to_string(), row.line)).collect(), total)
}

/// The naive twin: all rows, each tested by itself, then joined.
fn expected(program: &Path, matches: impl Fn(&str) -> bool) -> Vec<Row> {
    let bytes = std::fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let text = file.section_by_name(".text").unwrap();
    let lowest = file.sections().filter(|s| s.address() > 0).map(|s| s.address()).min().unwrap().min(text.address());
    let load = |id: gimli::SectionId| -> Result<_, gimli::Error> {
        let section = file.section_by_name(id.name());
        let data = section.map(|section| section.data().unwrap()).unwrap_or_default();
        Ok(gimli::EndianSlice::new(data, gimli::LittleEndian))
    };
    let dwarf = gimli::Dwarf::load(load).unwrap();
    let mut all = BTreeSet::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().unwrap() {
        let unit = dwarf.unit(header).unwrap();
        let Some(program) = unit.line_program.clone() else { continue };
        let mut rows = program.rows();
        let mut sequence: Vec<Row> = Vec::new();
        let mut last: Option<(u64, String, u64)> = None;
        while let Some((header, row)) = rows.next_row().unwrap() {
            if let Some((start, path, line)) = last.take()
                && start < row.address()
                && matches(&path)
                && start >= lowest
            {
                match sequence.last_mut() {
                    Some(open) if open.1 == start && open.2 == path && open.3 == line => open.1 = row.address(),
                    _ => sequence.push((start, row.address(), path, line)),
                }
            }
            if row.end_sequence() {
                all.extend(sequence.drain(..));
                continue;
            }
            let file = row.file(header).unwrap();
            let text = |value| String::from_utf8(dwarf.attr_string(&unit, value).unwrap().to_vec()).unwrap();
            let name = Path::new(&text(file.path_name())).to_owned();
            let directory = file.directory(header).map(text).unwrap_or_default();
            let own = unit.comp_dir.map(|own| String::from_utf8(own.to_vec()).unwrap()).unwrap_or_default();
            let path = Path::new(&own).join(directory).join(name);
            let line = row.line().map_or(0, |line| line.get());
            last = Some((row.address(), path.to_str().unwrap().to_owned(), line));
        }
    }
    all.into_iter().collect()
}

#[test]
fn the_code_of_a_file_is_what_its_rows_say() {
    let build = Build::new();
    for (compiler, source) in [("gcc", "lookup.c"), ("g++", "lookup.cpp"), ("clang++-22", "lookup.cpp")] {
        for version in ["-gdwarf-4", "-gdwarf-5", "-gdwarf-5 -gsplit-dwarf", "-gdwarf-5 -static"] {
            let program = build.compile(compiler, source, "program", &format!("-O2 {version}"));
            for (regex, part) in [("", ""), ("lookup", "lookup"), ("/stl_[a-z]", "/stl_"), ("no such file", "\0")] {
                let (rows, total) = found(&program, regex, u64::MAX, 1 << 20);
                let expected = expected(&program, |path| path.contains(part));
                assert_eq!(total, rows.len() as u64);
                assert_eq!(rows, expected, "{compiler} {version} {regex}");
                assert_eq!(rows.is_empty(), expected.is_empty());
                assert_eq!(found(&program, regex, u64::MAX, 500).0, rows, "in small tasks");
                let (first, same) = found(&program, regex, 3, 1 << 20);
                assert_eq!((&first[..], same), (&rows[..rows.len().min(3)], total), "with a limit");
            }
        }
    }
}

#[test]
fn compressed_and_shared_debug_information_has_the_same_lines() {
    let build = Build::new();
    let program = build.compile("g++", "lookup.cpp", "program", "-O2 -g");
    let whole = found(&program, "", u64::MAX, 1 << 20);
    assert!(whole.1 > 100);
    build.run("llvm-objcopy-22", "--compress-debug-sections=zstd program zstd");
    build.run("cp", "program one");
    build.run("cp", "program two");
    build.run("dwz", "-m common one two");
    build.run("objcopy", "--only-keep-debug program linked.debug");
    build.run("objcopy", "--strip-all --add-gnu-debuglink=linked.debug program linked");
    for name in ["zstd", "one", "linked"] {
        assert_eq!(found(&build.path(name), "", u64::MAX, 1 << 20), whole, "{name}");
    }
}
