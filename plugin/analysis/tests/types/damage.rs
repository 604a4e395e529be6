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
        for name in [".debug_str", ".debug_line_str"] {
            let damage = damage(&whole, name, &expected);
            assert!(damage.silent > 50 && damage.lost <= 1, "{compiler} {name}: {damage:?}");
        }
        // The header of a line table has to fit together.
        let lines = damage(&whole, ".debug_line", &expected);
        assert!(lines.said > 50 && lines.lost == 0, "{compiler}: {lines:?}");
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

/// Where a number is written, or may be.
fn positions(bytes: &[u8], within: &Range<usize>, number: u32) -> Vec<usize> {
    let windows = bytes[within.clone()].windows(4).enumerate();
    windows.filter(|(_, window)| *window == number.to_le_bytes()).map(|(at, _)| within.start + at).collect()
}

/// Where a string begins in a section of strings.
fn string(bytes: &[u8], section: &Range<usize>, wanted: &[u8]) -> u32 {
    let at = bytes[section.clone()].windows(wanted.len()).position(|window| window == wanted);
    at.expect("it is there") as u32
}

#[test]
fn names_that_cannot_be_read_are_said_and_what_is_known_is_shown() {
    let build = Build::new();
    let whole = program(&build);
    let (info, strings) = (section(&whole, ".debug_info"), section(&whole, ".debug_str"));
    let size = |answer: &Answer, name: &str| answer.rows.iter().find(|row| row.name == name).map(|row| row.size);
    // The offset of a name beyond the section. Other numbers may be the same.
    let name = string(&whole, &strings, b"\0second\0") + 1;
    let damaged = positions(&whole, &info, name).into_iter().map(|at| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&0x7777_7777_u32.to_le_bytes());
        search_image(bytes, layouts("."))
    });
    let reason = "a name is at 0x77777777 of .debug_str, where none is, or it has no end";
    let said = |answer: &Answer| matches!(&answer.problems[..], [problem] if problem.ends_with(reason));
    let answer = damaged.into_iter().find(said).expect("that is said");
    assert!(answer.problems[0].starts_with("unit at 0x"), "{answer:?}");
    assert_eq!((size(&answer, "first"), size(&answer, "second")), (Some(Some(32)), None));
    assert_eq!(answer.rows.len(), search_image(whole.clone(), layouts(".")).rows.len());
    // The last name without an end.
    let mut bytes = whole.clone();
    bytes[strings.end - 1] = b'x';
    let answer = search_image(bytes, layouts("."));
    assert!(answer.problems.iter().all(|problem| problem.ends_with("or it has no end")), "{:?}", answer.problems);
    let last = strings.len() - whole[strings].rsplit(|byte| *byte == 0).nth(1).unwrap().len() - 1;
    let used = answer.problems.iter().any(|problem| problem.contains(&format!("0x{last:x} of .debug_str")));
    // It may be that of something whose name no type needs.
    assert!(used || answer.rows == search_image(whole, layouts(".")).rows, "{:?}", answer.problems);
}

#[test]
fn files_of_a_line_table_that_cannot_be_read_are_said() {
    let build = Build::new();
    let whole = program(&build);
    let lines = section(&whole, ".debug_line");
    // Its version, and the offset of the name of its first file in .debug_line_str.
    let mut bytes = whole.clone();
    bytes[lines.start + 4] = 77;
    let answer = search_image(bytes, layouts("first"));
    let row = answer.row("first");
    assert_eq!((row.size, &row.file, row.line), (Some(32), &None, None));
    let said = |answer: &Answer, what: &str| answer.problems.iter().any(|problem| problem.contains(what));
    assert!(said(&answer, " .debug_line: files of the unit at 0x0 are not known: "), "{answer:?}");
    let mut bytes = whole.clone();
    let name = string(&whole, &section(&whole, ".debug_line_str"), b"first.c\0");
    for at in positions(&whole, &lines, name) {
        bytes[at..at + 4].copy_from_slice(&0x7777_7777_u32.to_le_bytes());
    }
    let answer = search_image(bytes, layouts("first"));
    assert!(said(&answer, " .debug_line: files of the unit at 0x0 are not known: "), "{answer:?}");
    assert_eq!(answer.row("first").size, Some(32));
}

/// Damages a file beside the program, bytes of it and all of its end: what is found is counted as it is shown, most of what is not
/// is said, and with the file whole again all is as before.
fn damage_beside(build: &Build, program: &str, beside: &str) {
    let whole = std::fs::read(build.path(beside)).unwrap();
    let expected = build.search(program, layouts("."));
    assert!(expected.problems.is_empty() && expected.total >= 3, "{beside}: {expected:?}");
    let step = whole.len() / 3000 + 1;
    let mut said = 0;
    let mut search = |bytes: &[u8]| {
        std::fs::write(build.path(beside), bytes).unwrap();
        let answer = build.search(program, layouts("."));
        assert_eq!(answer.rows.len() as u64, answer.total, "{beside}");
        said += usize::from(!answer.problems.is_empty());
    };
    for at in (0..whole.len()).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at] ^= if at % 2 == 0 { 0xff } else { 0x01 };
        search(&bytes);
    }
    (0..whole.len()).step_by(7 * step).for_each(|length| search(&whole[..length]));
    assert!(said > 100, "{beside}: said of {said}");
    std::fs::write(build.path(beside), &whole).unwrap();
    assert_eq!(build.search(program, layouts(".")), expected);
}

#[test]
fn damage_to_files_beside_the_program_is_survived_and_said() {
    let build = Build::new();
    let source = "struct first { int a : 3; union { char c; long d[2]; }; struct first *next; }; struct first first; \
                  typedef struct { short s; } second; second other; enum kind { one, two } kind; \
                  int main(void) { return 0; }";
    std::fs::write(build.path("beside.c"), source).unwrap();
    for (compiler, version) in [("gcc", 4), ("clang-22", 5)] {
        build.run(&format!("{compiler} -g -gdwarf-{version} -gsplit-dwarf -c beside.c -o beside.o"));
        build.run(&format!("{compiler} beside.o -o split"));
        damage_beside(&build, "split", "beside.dwo");
    }
    build.run("llvm-dwp-22 -e split -o split.dwp");
    std::fs::remove_file(build.path("beside.dwo")).unwrap();
    damage_beside(&build, "split", "split.dwp");
    build.run("gcc -g -gdwarf-4 beside.c -o one");
    build.run("cp one two");
    build.run("dwz -m common one two");
    damage_beside(&build, "one", "common");
}
