//! Files with nothing beside them.

use super::build::Build;
use std::fs;
use target::modules::{Content, FileSet, Files, Machine, Module, Role, Search, survey};
use target::{Access, Layout};

fn build_id(path: &str) -> Vec<u8> {
    let output = std::process::Command::new("readelf").args(["-n", path]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let id = text.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap();
    (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_program() {
    let build = Build::new();
    build.compile("order", "");
    let surveyed = survey(&Module { base: Some(0x5555_0000_0000), ..build.module("order") }, &build.search());
    assert_eq!(surveyed.problems, [""; 0]);
    assert_eq!(surveyed.build_id, build_id(&build.text("order")));
    assert_eq!((surveyed.machine, surveyed.layout), (Machine::X86_64, Layout::default()));
    assert_eq!(surveyed.bias, Some(0x5555_0000_0000));
    assert_eq!(surveyed.files.len(), 1);
    assert_eq!(surveyed.files[0].role, Role::Main);
    assert!(matches!(surveyed.files[0].content, Content::Path { pid: None, .. }));
    let content = fs::read(build.path("order")).unwrap();
    assert_eq!(surveyed.files[0].size, content.len() as u64);

    let text = &surveyed.sections[surveyed.section_named(None, ".text").unwrap()];
    assert!(text.alloc && text.execute && !text.write);
    assert_eq!(text.size, text.range.end - text.range.start);
    let bss = surveyed.sections.iter().find(|section| section.name == ".bss").unwrap();
    assert!(!bss.has_bytes() && bss.size > 0 && bss.write);

    let set = FileSet::new(vec![surveyed.clone(), surveyed.clone()]);
    for access in [Access::Mapped, Access::Pread] {
        let files = Files::new(set.clone(), Vec::new(), access, None);
        for (index, section) in surveyed.sections.iter().enumerate() {
            let range = section.range.start as usize..section.range.end as usize;
            assert_eq!(files.section(1, index).unwrap(), &content[range.clone()], "{}", section.name);
            let space = set.range(1, index);
            assert_eq!(space.len(), range.len() as u64);
            if !space.is_empty() {
                assert_eq!(set.locate(space.start), Some((1, index, 0)));
                assert_eq!(set.locate(space.end - 1), Some((1, index, space.len() - 1)));
            }
        }
        let strings = files.section_named(0, Some(Role::Main), ".debug_str").unwrap();
        let name = b"struct order";
        assert!(!strings.windows(name.len()).any(|window| window == name));
        assert!(strings.windows(5).any(|window| window == b"order"));
        assert_eq!(files.section_named(0, None, ".no_such").unwrap(), b"");
    }
}

#[test]
fn what_is_no_program_is_said() {
    let build = Build::new();
    let surveyed = survey(&build.module("none"), &Search::default());
    assert_eq!(surveyed.problems, [format!("{}: No such file or directory (os error 2)", build.text("none"))]);
    let surveyed = survey(&build.module("order.c"), &Search::default());
    assert_eq!(surveyed.problems, [format!("{}: not an ELF file", build.text("order.c"))]);
    assert!(surveyed.files.is_empty());
}
