//! The fixtures, built in all ways.

use crate::build::Build;
use crate::search::{look_up, text};
use crate::symbolizer::check;
use analysis::LookupRow;
use std::path::Path;

const TASK: u64 = 1 << 20;

/// All addresses of a program's code.
fn addresses(program: &Path) -> Vec<u64> {
    text(program).collect()
}

/// Looks up all addresses of a program's code, checks them, and that it is the same however the work is cut.
fn checked(program: &Path) -> Vec<LookupRow> {
    let addresses = addresses(program);
    let (rows, skipped) = look_up(program, &addresses, TASK);
    assert_eq!(skipped, []);
    assert!(check(program, &addresses, &rows) > 0, "{} has inlined calls", program.display());
    for size in [700, 64 << 10] {
        for (row, expected) in look_up(program, &addresses, size).0.iter().zip(&rows) {
            assert_eq!(row, expected, "{} in tasks of {size}", program.display());
        }
    }
    rows
}

/// The same but for the path of the program.
fn without_module(rows: &[LookupRow]) -> Vec<LookupRow> {
    rows.iter().map(|row| LookupRow { module: None, ..row.clone() }).collect()
}

const COMPILERS: [(&str, &str, &str); 3] =
    [("gcc", "lookup.c", "-O2"), ("g++", "lookup.cpp", "-O2"), ("clang++-22", "lookup.cpp", "-O2")];

#[test]
fn programs_have_the_frames_that_llvm_symbolizer_shows() {
    let build = Build::new();
    for (compiler, source, options) in COMPILERS {
        for version in ["-gdwarf-4", "-gdwarf-5"] {
            for more in
                ["", "-no-pie -fno-pie", "-static", "-fdebug-types-section", "-ffunction-sections -Wl,--gc-sections"]
            {
                checked(&build.compile(compiler, source, "program", &format!("{options} {version} {more}")));
            }
        }
    }
    checked(&build.compile("clang-22", "lookup.c", "program", "-O2 -g -gdwarf-aranges"));
    checked(&build.compile("clang++-22", "lookup.cpp", "program", "-O2 -gline-tables-only"));
    for version in [4, 5] {
        let options = format!("--edition 2024 -O -g -C codegen-units=4 -C dwarf-version={version}");
        checked(&build.compile("rustc", "lookup.rs", "program", &options));
    }
}

#[test]
fn code_elsewhere_is_found_by_skeletons() {
    let build = Build::new();
    for (compiler, source, options) in COMPILERS {
        for version in ["-gdwarf-4", "-gdwarf-5"] {
            let options = format!("{options} {version} -gsplit-dwarf");
            let program = build.compile(compiler, source, "program", &options);
            let whole = checked(&program);
            for compression in ["zlib", "zlib-gnu", "zstd"] {
                // Only older ones know the older kind, and only newer ones the newer.
                let unknown = if compiler.starts_with('g') { "zstd" } else { "zlib-gnu" };
                if compression == unknown {
                    continue;
                }
                build.compile(compiler, source, "program", &format!("{options} -gz={compression}"));
                let (compressed, skipped) = look_up(&program, &addresses(&program), TASK);
                assert_eq!(skipped, [], "{compiler} {version} {compression}");
                assert!(compressed == whole, "{compiler} {version} {compression}");
            }
            // dwp and llvm-dwp crash or never end at what GCC writes in version 5.
            if compiler.starts_with('g') && version == "-gdwarf-5" {
                continue;
            }
            // In one package. Of what GCC makes of version 5, binutils 2.40 and LLVM 22 make none.
            let tool = match (compiler, version) {
                ("clang++-22", _) => Some("llvm-dwp-22"),
                (_, "-gdwarf-4") => Some("dwp"),
                _ => None,
            };
            if let Some(tool) = tool {
                build.run(tool, "-e program -o program.dwp");
            }
            for entry in std::fs::read_dir(program.parent().unwrap()).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "dwo") {
                    std::fs::remove_file(path).unwrap();
                }
            }
            if tool.is_some() {
                let (packed, skipped) = look_up(&program, &addresses(&program), TASK);
                assert_eq!(skipped, [], "{compiler} {version}");
                assert!(packed == whole, "{compiler} {version}: the same from a package");
                std::fs::remove_file(build.path("program.dwp")).unwrap();
            }
            // Without either, the skeletons still have lines, and it is said what is missing.
            let (bare, skipped) = look_up(&program, &addresses(&program), TASK);
            assert!(
                skipped.iter().any(|skip| skip
                    .reason
                    .contains("its other part should be in a .dwo file, since no .dwp has it: ")),
                "{compiler} {version}: {skipped:?}"
            );
            let lines = |rows: &[LookupRow]| {
                rows.iter().filter(|row| row.frames.first().is_some_and(|frame| frame.line.is_some())).count()
            };
            assert_eq!(lines(&bare), lines(&whole), "{compiler} {version}");
        }
    }
}

#[test]
fn what_is_made_of_a_program_has_the_same_frames() {
    let build = Build::new();
    for (compiler, source, options) in COMPILERS {
        // dwz does not know all sections that clang makes of version 5.
        let version = if compiler.starts_with("clang") { 4 } else { 5 };
        let program = build.compile(compiler, source, "program", &format!("{options} -gdwarf-{version}"));
        let whole = without_module(&checked(&program));
        let same = |name: &str| {
            let (rows, skipped) = look_up(&build.path(name), &addresses(&program), TASK);
            assert_eq!(skipped, [], "{compiler} {name}");
            for (row, expected) in without_module(&rows).iter().zip(&whole) {
                assert_eq!(row, expected, "{compiler} {name}");
            }
        };
        for format in ["zlib", "zstd"] {
            build.run("llvm-objcopy-22", &format!("--compress-debug-sections={format} program {format}"));
            same(format);
        }
        build.run("objcopy", "--compress-debug-sections=zlib-gnu program old");
        same("old");
        build.run("dwz", "program -o dwz");
        same("dwz");
        // What two programs have in common, in a third file.
        build.run("cp", "program one");
        build.run("cp", "program two");
        build.run("dwz", "-m common one two");
        same("one");
        same("two");
        build.run("objcopy", "--only-keep-debug program linked.debug");
        build.run("objcopy", "--strip-all --add-gnu-debuglink=linked.debug program linked");
        same("linked");
    }
}

#[test]
fn one_address_more_or_less_changes_no_other() {
    let build = Build::new();
    let program = build.compile("g++", "lookup.cpp", "program", "-O2 -g");
    let all = addresses(&program);
    let (rows, _) = look_up(&program, &all, TASK);
    for step in [7, 97, 1009] {
        let some: Vec<u64> = all.iter().copied().step_by(step).collect();
        let (found, _) = look_up(&program, &some, TASK);
        assert!(found.iter().eq(rows.iter().step_by(step)), "each {step}th");
    }
    // In whatever order, and more than once.
    let mixed: Vec<u64> = all.iter().rev().step_by(3).chain(all.iter().step_by(5)).copied().collect();
    let (found, _) = look_up(&program, &mixed, TASK);
    for (address, row) in mixed.iter().zip(found) {
        assert_eq!(row, rows[(address - all[0]) as usize], "{address:#x}");
    }
}
