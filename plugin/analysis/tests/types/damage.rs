//! Debug information that is damaged: it costs the unit that it is in, and nothing else.

use crate::programs::{Answer, Build, layouts, search_image};
use object::{Object, ObjectSection};
use std::ops::Range;

/// A program of two units, small enough to damage each byte.
fn program(build: &Build) -> Vec<u8> {
    program_by(build, "gcc")
}

/// The same by another compiler: GCC has no table of offsets of strings, and Clang's second unit has a list of ranges.
fn program_by(build: &Build, compiler: &str) -> Vec<u8> {
    let first = "struct first { int a : 3; union { char c; long d[2]; }; struct first *next; }; struct first first;";
    let second = "typedef struct { short s; } second; second other; enum kind { one, two } kind; \
                  int more(void) { return 1; } int main(void) { return 0; }";
    std::fs::write(build.path("first.c"), first).unwrap();
    std::fs::write(build.path("second.c"), second).unwrap();
    let options = "-g -gdwarf-5 -O0 -ffunction-sections -nostartfiles -Wl,-e,main -Wl,-z,noseparate-code";
    build.run(&format!("{compiler} {options} first.c second.c -o small"));
    std::fs::read(build.path("small")).unwrap()
}

fn section(bytes: &[u8], name: &str) -> Range<usize> {
    let file = object::File::parse(bytes).unwrap();
    let (start, size) = file.section_by_name(name).unwrap().file_range().unwrap();
    start as usize..(start + size) as usize
}

/// What three kinds of damage to each byte of a section have come to.
#[derive(Debug, Default)]
struct Damage {
    /// Of so many it was said that something could not be read.
    said: usize,
    /// So many others have changed what was found.
    silent: usize,
    /// At the worst, so many types were not found any more, and nothing was said.
    lost: usize,
}

fn damage(whole: &[u8], name: &str, expected: &Answer) -> Damage {
    let mut damage = Damage::default();
    for at in section(whole, name) {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[at] ^= change;
            let answer = search_image(bytes, layouts("."));
            assert!(answer.rows.len() as u64 == answer.total);
            if !answer.problems.is_empty() {
                damage.said += 1;
            } else if answer.rows != expected.rows {
                damage.silent += 1;
                damage.lost = damage.lost.max(expected.rows.len().saturating_sub(answer.rows.len()));
            }
        }
    }
    damage
}

#[test]
fn every_damaged_byte_is_survived_and_what_cannot_be_read_is_said() {
    let build = Build::new();
    for compiler in ["gcc", "clang-22"] {
        let whole = program_by(&build, compiler);
        let expected = search_image(whole.clone(), layouts("."));
        assert!(expected.problems.is_empty() && expected.total >= 3, "{expected:?}");
        // Entries have numbers and references, of which most others are valid as well. Abbreviations have to fit together.
        for (name, least) in [(".debug_info", 100), (".debug_abbrev", 500)] {
            let damage = damage(&whole, name, &expected);
            assert!(damage.said > least, "{compiler} {name}: {damage:?}");
        }
        // Another name is a name, and another file a file. A name may begin with the byte that is damaged, and end there.
        for name in [".debug_str", ".debug_line_str", ".debug_line"] {
            let damage = damage(&whole, name, &expected);
            assert!(damage.silent > 50 && damage.lost <= 1, "{compiler} {name}: {damage:?}");
        }
        // Where code is makes no difference to types.
        let mut unread = vec![".debug_rnglists"];
        if compiler == "clang-22" {
            unread.push(".debug_addr");
            damage(&whole, ".debug_str_offsets", &expected);
        }
        for name in unread {
            let damage = damage(&whole, name, &expected);
            assert!((damage.said, damage.silent) == (0, 0), "{compiler} {name}: {damage:?}");
        }
    }
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_whole_or_said_to_be_cut_off() {
    let build = Build::new();
    let whole = program(&build);
    let expected = search_image(whole.clone(), layouts("."));
    for length in 0..whole.len() {
        let answer = search_image(whole[..length].to_vec(), layouts("."));
        let silent = answer.problems.is_empty() && answer.notes.is_empty();
        assert!(!silent || answer.rows == expected.rows, "{length} of {}: {answer:?}", whole.len());
    }
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
