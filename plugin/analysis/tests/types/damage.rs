//! Debug information that is damaged: it costs the unit that it is in, and nothing else.

use crate::programs::{Build, layouts, search_image};
use object::{Object, ObjectSection};
use std::ops::Range;

/// A program of two units, small enough to damage each byte.
fn program(build: &Build) -> Vec<u8> {
    let first = "struct first { int a : 3; union { char c; long d[2]; }; struct first *next; }; struct first first;";
    let second =
        "typedef struct { short s; } second; second other; enum kind { one, two } kind; int main(void) { return 0; }";
    std::fs::write(build.path("first.c"), first).unwrap();
    std::fs::write(build.path("second.c"), second).unwrap();
    build.run("gcc -g -gdwarf-5 -O0 -nostartfiles -Wl,-e,main first.c second.c -o small");
    std::fs::read(build.path("small")).unwrap()
}

fn section(bytes: &[u8], name: &str) -> Range<usize> {
    let file = object::File::parse(bytes).unwrap();
    let (start, size) = file.section_by_name(name).unwrap().file_range().unwrap();
    start as usize..(start + size) as usize
}

#[test]
fn every_damaged_byte_is_survived() {
    let build = Build::new();
    let whole = program(&build);
    let expected = search_image(whole.clone(), layouts("."));
    assert!(expected.problems.is_empty() && expected.total >= 3, "{expected:?}");
    let mut said = 0;
    for name in [".debug_info", ".debug_abbrev", ".debug_str", ".debug_line"] {
        for at in section(&whole, name) {
            for damage in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= damage;
                let answer = search_image(bytes, layouts("."));
                said += usize::from(!answer.problems.is_empty());
                assert!(answer.rows.len() as u64 == answer.total);
            }
        }
    }
    assert!(said > 100, "{said}");
}

#[test]
fn a_section_that_is_cut_off_is_read_as_far_as_it_goes() {
    let build = Build::new();
    let whole = program(&build);
    let info = section(&whole, ".debug_info");
    for keep in 0..info.len() {
        // What is cut off has become zeros.
        let mut bytes = whole.clone();
        bytes[info.start + keep..info.end].fill(0);
        search_image(bytes, layouts("."));
    }
}

#[test]
fn a_malformed_unit_is_named_and_others_are_searched() {
    let build = Build::new();
    let mut bytes = program(&build);
    let info = section(&bytes, ".debug_info");
    // The root of the first unit, behind its header of 12 bytes, gets an abbreviation that there is none of.
    bytes[info.start + 12] = 0x7b;
    let answer = search_image(bytes, layouts("."));
    assert_eq!(answer.problems, ["unit at 0x0: it has no abbreviation 123"]);
    let names = answer.names();
    assert!(names.contains(&"second") && names.contains(&"kind") && !names.contains(&"first"), "{names:?}");
}

#[test]
fn a_damaged_compressed_section_costs_the_split_unit_that_it_is_in() {
    let build = Build::new();
    for (name, kind) in [("first", "int"), ("second", "long"), ("third", "short")] {
        let members: String = (0..200).map(|number| format!("{kind} member_{number};")).collect();
        let function = if name == "first" { "int main(void) { return 0; }" } else { "" };
        std::fs::write(build.path(&format!("{name}.c")), format!("struct {name} {{ {members} }} {name}; {function}"))
            .unwrap();
    }
    let dwo = "small-second.dwo";
    for (compiler, compression) in [("gcc", "zlib"), ("clang-22", "zstd")] {
        build.run(&format!("{compiler} -g -gsplit-dwarf -gz={compression} first.c second.c third.c -o small"));
        let whole = std::fs::read(build.path(dwo)).unwrap();
        let all = build.all("small");
        assert!(["first", "second", "third"].iter().all(|name| all.names().contains(name)), "{all:?}");
        let info = section(&whole, ".debug_info.dwo");
        // The kind of compression, the size of what is compressed in two ways, and the first byte of that.
        for (at, expected) in [(0, "compression type"), (8, ""), (12, "it says that it has "), (24, "")] {
            let mut bytes = whole.clone();
            bytes[info.start + at] ^= 0x55;
            std::fs::write(build.path(dwo), bytes).unwrap();
            let answer = build.search("small", layouts("."));
            let [problem] = &answer.problems[..] else { panic!("{compiler} {at}: {:?}", answer.problems) };
            let named = problem.contains(dwo) && problem.contains(".debug_info.dwo: ");
            assert!(named && problem.contains(expected), "{compiler} {at}: {problem}");
            let names = answer.names();
            assert!(names.contains(&"first") && names.contains(&"third") && !names.contains(&"second"), "{names:?}");
        }
    }
}
