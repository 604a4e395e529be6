//! The fixture, built in all ways.

use crate::build::Build;
use crate::objdump::Disassembly;
use crate::search::{How, Image};
use ::analysis::xrefs::{Kind, Reference, Through};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn kinds(found: &BTreeSet<Reference>) -> BTreeSet<(u64, Kind)> {
    let code = found.iter().filter(|reference| reference.kind != Kind::Pointer);
    code.map(|reference| (reference.address, reference.kind)).collect()
}

fn pointers(found: &BTreeSet<Reference>) -> BTreeSet<u64> {
    let pointers = found.iter().filter(|reference| reference.kind == Kind::Pointer);
    pointers.map(|reference| reference.address).collect()
}

/// Names of the program, and of the library.
const OWN: [&str; 6] = ["step", "twice", "landing", "landing_table", "counter", "operations"];
const OUTSIDE: [&str; 3] = ["library_step", "library_run", "library_counter"];

/// Checks one build of the program with a library beside it, or without one, of which it has all.
fn check(program: &Path, library: Option<&Path>) {
    let image = Image::read(program);
    let text = Disassembly::of(program);
    let named = |name: &str| format!("{name} in {}", program.display());
    for name in OWN {
        let target = [image.target(0, name)];
        let found = image.references(0, &target, How::Sweep);
        assert_eq!(kinds(&found), text.references_to(&target[0], true), "{:x?} {}", target[0], named(name));
        assert!(!found.is_empty(), "{}", named(name));
        for size in [64, 1000, 1 << 20] {
            assert_eq!(image.references(0, &target, How::Scan(size)), found, "{} in tasks of {size}", named(name));
        }
    }
    let operations = image.address("operations");
    let step = image.references(0, &[image.target(0, "step")], How::Sweep);
    assert_eq!(pointers(&step), BTreeSet::from([operations + 8, image.address("pointer")]), "{}", program.display());
    let counter = image.references(0, &[image.target(0, "counter")], How::Sweep);
    assert_eq!(pointers(&counter), BTreeSet::from([image.address("where")]), "{}", program.display());
    let (others, number) = match library {
        Some(library) => (Image::read(library), 1),
        None => (Image::read(program), 0),
    };
    for name in OUTSIDE {
        let target = [others.target(number, name)];
        let found = image.references(0, &target, How::Sweep);
        // What was copied into the program is also used there as its own.
        let here = match library {
            Some(_) => image.symbol(name).filter(|(_, _, variable)| *variable),
            None => others.symbol(name),
        };
        let here =
            here.map(|(address, size, variable)| target::AddressRange::sized(address, if variable { size } else { 1 }));
        assert_eq!(kinds(&found), text.references(&[name], here), "{}", named(name));
        assert!(!found.is_empty(), "{}", named(name));
        for size in [64, 1000, 1 << 20] {
            assert_eq!(image.references(0, &target, How::Scan(size)), found, "{} in tasks of {size}", named(name));
        }
        if name == "library_step" {
            let mut expected = BTreeSet::from([operations + 40]);
            if library.is_none() {
                expected.extend(others.symbol("library_table").map(|(address, ..)| address));
            }
            assert_eq!(pointers(&found), expected, "{}", named(name));
        }
    }
}

/// Checks what the library refers to itself.
fn check_library(path: &Path) {
    let image = Image::read(path);
    let text = Disassembly::of(path);
    for name in ["library_step", "library_run", "library_hidden", "library_counter"] {
        let target = [image.target(0, name)];
        let found = image.references(0, &target, How::Sweep);
        let own = text.references(&[name], Some(target[0].target.range()));
        assert_eq!(kinds(&found), own, "{name} in {}", path.display());
        assert_eq!(image.references(0, &target, How::Scan(64)), found, "{name} in {}", path.display());
        let table = image.address("library_table");
        let place = match name {
            "library_step" => Some(table),
            "library_run" => Some(table + 8),
            "library_hidden" => Some(table + 16),
            _ => None,
        };
        assert_eq!(pointers(&found), place.into_iter().collect(), "{name} in {}", path.display());
    }
}

const COMPILERS: [&str; 2] = ["gcc", "clang-22"];

#[test]
fn programs_and_libraries_have_the_references_that_objdump_shows() {
    let options = [
        "-no-pie",
        "-no-pie -fno-pie",
        "-pie -fPIE",
        "-pie -fPIE -fno-plt",
        "-no-pie -fno-pie -fno-plt",
        "-pie -fPIE -fcf-protection -Wl,-z,ibtplt",
        "-no-pie -fno-pie -mcmodel=large",
        "-pie -fPIC -mcmodel=medium",
        "-pie -fPIE -Wl,-z,now -Wl,-z,pack-relative-relocs -Wl,-z,norelro",
    ];
    for compiler in COMPILERS {
        let build = Build::new();
        for optimized in ["-O0", "-O2"] {
            for option in options {
                // ld of binutils 2.40 knows packed relocations, but the C library is too old for it; lld knows no ibtplt.
                let linker = if option.contains("pack-relative") { "-fuse-ld=lld-22" } else { "" };
                let linker = if compiler == "gcc" && !linker.is_empty() { continue } else { linker };
                let options = format!("-shared {optimized} -fPIC {linker}");
                let library = build.compile(compiler, "xrefs_library.c", "liblibrary.so", &options);
                check_library(&library);
                let options = format!("{optimized} {option} {linker} -L. -llibrary -Wl,-rpath,.");
                let program = build.compile(compiler, "xrefs.c", "program", &options);
                check(&program, Some(&library));
            }
        }
    }
}

#[test]
fn programs_of_one_piece_have_the_references_that_objdump_shows() {
    for compiler in COMPILERS {
        let build = Build::new();
        for option in [
            "-static",
            "-static -fno-pie",
            "-static-pie -fPIE",
            "-static -fuse-ld=gold",
            "-static -ffunction-sections -Wl,--gc-sections",
        ] {
            let program = build.compile(compiler, "xrefs.c xrefs_library.c", "program", &format!("-O2 {option}"));
            check(&program, None);
        }
    }
}

#[test]
fn a_stripped_program_has_the_same_references() {
    let build = Build::new();
    for option in ["-no-pie", "-pie -fPIE"] {
        let library = build.compile("gcc", "xrefs_library.c", "liblibrary.so", "-O2 -fPIC -shared");
        let program = build.compile("gcc", "xrefs.c", "program", &format!("-O2 {option} -L. -llibrary"));
        let whole = Image::read(&program);
        let [step, outside] = [whole.target(0, "step"), Image::read(&library).target(1, "library_step")];
        let with = whole.references(0, &[step.clone(), outside.clone()], How::Sweep);
        let status = Command::new("strip").arg(&program).status().unwrap();
        assert!(status.success());
        let stripped = Image::read(&program);
        assert_eq!(stripped.references(0, &[step.clone(), outside.clone()], How::Sweep), with);
        assert_eq!(stripped.references(0, &[step, outside], How::Scan(100)), with);
    }
}

#[test]
fn virtual_functions_are_in_the_tables_of_their_classes() {
    for compiler in ["g++", "clang++-22"] {
        for option in ["-no-pie", "-pie -fPIE"] {
            let build = Build::new();
            let program = build.compile(compiler, "xrefs.cpp", "program", &format!("-O2 {option}"));
            let image = Image::read(&program);
            let found = image.references(0, &[image.target(0, "_ZNK6Square4areaEv")], How::Scan(1 << 20));
            // Behind the offset to the top, the type and two destructors.
            let expected = ["_ZTV6Square", "_ZTV4Cube"].map(|table| image.address(table) + 32);
            assert_eq!(pointers(&found), BTreeSet::from(expected), "{compiler} {option}");
        }
    }
}

#[test]
fn a_reference_says_what_it_goes_through() {
    let build = Build::new();
    let library = Image::read(&build.compile("gcc", "xrefs_library.c", "liblibrary.so", "-O2 -fPIC -shared"));
    let target = [library.target(1, "library_run")];
    for (option, through) in [("-fplt", Through::Plt), ("-fno-plt", Through::Got)] {
        let options = format!("-O2 -pie -fPIE {option} -L. -llibrary");
        let program = Image::read(&build.compile("gcc", "xrefs.c", "program", &options));
        let found = program.references(0, &target, How::Scan(1 << 20));
        let found: Vec<(Kind, Through)> = found.iter().map(|reference| (reference.kind, reference.through)).collect();
        assert_eq!(found, [(Kind::Call, through)], "{option}");
    }
}

#[test]
fn a_symbol_of_another_version_is_another() {
    let build = Build::new();
    std::fs::write(build.path("versions"), "FIRST { };\nSECOND { } FIRST;\n").unwrap();
    let options = "-O2 -fPIC -shared -DVERSIONED -Wl,--version-script=versions";
    let library = Image::read(&build.compile("gcc", "xrefs_library.c", "liblibrary.so", options));
    let program = build.compile("gcc", "xrefs.c", "program", "-O2 -pie -fPIE -L. -llibrary");
    let program = Image::read(&program);
    let new = program.references(0, &[library.target(1, "library_step_new")], How::Scan(1 << 20));
    assert!(!new.is_empty());
    let old = program.references(0, &[library.target(1, "library_step_old")], How::Scan(1 << 20));
    assert_eq!(old, BTreeSet::new());
}
