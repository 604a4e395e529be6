//! Damaged files, and files of other machines.

use super::build::Build;
use std::fs;
use target::modules::{FileSet, Files, Machine, Module, Search, Surveyed, inflate, survey};
use target::{Access, ByteOrder, Layout};

/// Surveys a file with these bytes and reads all that was found. That nothing panics or takes for ever is the test.
fn read_all(bytes: Vec<u8>) -> Surveyed {
    let module = Module { path: "file".into(), base: Some(0x10000), image: Some(bytes), ..Module::default() };
    let surveyed = survey(&module, &Search::default());
    let set = FileSet::new(vec![surveyed.clone()]);
    let files = Files::new(set, Vec::new(), Access::Pread, None);
    for section in 0..surveyed.sections.len() {
        let range = files.set().range(0, section);
        if let Ok(content) = files.section(0, section) {
            assert_eq!(content.len() as u64, range.len());
        }
        if !range.is_empty() {
            assert!(files.set().locate(range.start).is_some());
        }
        if surveyed.sections[section].compressed.is_some() {
            assert_eq!(inflate(&surveyed, section).is_ok(), files.section(0, section).is_ok());
        }
    }
    surveyed
}

/// A small file with all that a survey reads.
fn small(build: &Build) -> Vec<u8> {
    build.compile("order.o", "-c -fPIC -DLIBRARY");
    build.run("ld", "-shared --build-id -z noseparate-code order.o -o order");
    build.run("objcopy", "--compress-debug-sections=zlib --add-gnu-debuglink=order.o order");
    fs::write(build.path("alternate"), b"../shared.debug\0\x01\x02\x03").unwrap();
    build.run("objcopy", "--add-section=.gnu_debugaltlink=alternate order");
    fs::read(build.path("order")).unwrap()
}

#[test]
fn every_truncation_of_a_file() {
    let build = Build::new();
    let whole = small(&build);
    assert!(whole.len() < 16 << 10, "{}", whole.len());
    for length in 0..whole.len() {
        read_all(whole[..length].to_vec());
    }
}

#[test]
fn every_damaged_byte_of_the_headers() {
    let build = Build::new();
    let whole = small(&build);
    let number = |at: usize, size: usize| Layout::default().number(&whole[at..at + size]) as usize;
    let (segments, sections) = (number(32, 8)..number(32, 8) + 56 * number(56, 2), number(40, 8)..whole.len());
    let surveyed = read_all(whole.clone());
    let inside = |name: &str| {
        let range = &surveyed.sections.iter().find(|section| section.name == name).unwrap().range;
        range.start as usize..range.end as usize
    };
    let places = (0..64).chain(segments).chain(sections);
    let links = inside(".gnu_debuglink").chain(inside(".gnu_debugaltlink")).chain(inside(".note.gnu.build-id"));
    for at in places.chain(links).chain(inside(".debug_info")) {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            read_all(damaged);
        }
    }
}

#[test]
fn a_section_that_says_it_is_huge() {
    let build = Build::new();
    let mut bytes = small(&build);
    let surveyed = read_all(bytes.clone());
    let section = surveyed.sections.iter().find(|section| section.name == ".debug_info").unwrap();
    let size = section.range.start as usize + 8;
    for huge in [u64::MAX, 1 << 40, 1 << 33, section.size + 1, section.size - 1] {
        bytes[size..size + 8].copy_from_slice(&huge.to_le_bytes());
        let surveyed = read_all(bytes.clone());
        let section = surveyed.section_named(None, ".debug_info").unwrap();
        assert!(inflate(&surveyed, section).is_err(), "{huge:#x}");
    }
}

#[test]
fn other_machines() {
    let build = Build::new();
    build.compile("order.o", "-c");
    let whole = fs::read(build.path("order.o")).unwrap();
    fs::write(build.path("raw"), b"raw").unwrap();
    for (format, machine, pointer_size, byte_order) in [
        ("elf32-i386", Machine::X86, 4, ByteOrder::Little),
        ("elf64-big", Machine::Other(0), 8, ByteOrder::Big),
        ("elf32-big", Machine::Other(0), 4, ByteOrder::Big),
    ] {
        build.run("objcopy", &format!("-I binary -O {format} raw other"));
        let surveyed = read_all(fs::read(build.path("other")).unwrap());
        assert_eq!((surveyed.machine, surveyed.layout), (machine, Layout { pointer_size, byte_order }));
        let data = surveyed.section_named(None, ".data").unwrap();
        assert_eq!(surveyed.sections[data].size, 3);
    }
    assert_eq!(read_all(whole).machine, Machine::X86_64);
}

#[test]
fn an_object_file_is_relocated() {
    let build = Build::new();
    build.compile("order.o", "-c -gdwarf-5 -gz=zlib");
    // This resolves the relocations between debug sections.
    build.run("eu-strip", "--reloc-debug-sections -f relocated.o -o stripped.o order.o");
    let order = survey(&build.module("order.o"), &build.search());
    assert_eq!(order.problems, [""; 0]);
    assert_eq!(order.bias, None);
    // Sections that are loaded lie one behind the other.
    let loaded: Vec<_> = order.sections.iter().filter(|section| section.alloc).collect();
    assert!(loaded.windows(2).all(|pair| pair[0].address + pair[0].size <= pair[1].address), "{loaded:?}");
    let relocated = survey(&build.module("relocated.o"), &build.search());
    for access in [Access::Mapped, Access::Pread] {
        let files = Files::new(FileSet::new(vec![order.clone(), relocated.clone()]), Vec::new(), access, None);
        for name in [".debug_info", ".debug_line", ".debug_aranges", ".debug_line_str"] {
            let (ours, theirs) =
                (files.section_named(0, None, name).unwrap(), files.section_named(1, None, name).unwrap());
            assert!(!ours.is_empty() && ours == theirs, "{name}");
        }
    }
}
