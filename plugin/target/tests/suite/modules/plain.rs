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
    build.run("mkfifo", "pipe");
    for (name, what) in
        [("pipe", "not a regular file"), (".", "not a regular file"), ("order.c/x", "Not a directory (os error 20)")]
    {
        let surveyed = survey(&build.module(name), &Search::default());
        assert_eq!(surveyed.problems, [format!("{}: {what}", build.text(name))]);
    }
}

#[test]
fn programs_at_other_addresses() {
    let build = Build::new();
    build.compile("fixed", "-no-pie");
    build.compile("moved", "-no-pie -Wl,-Ttext-segment=0x10000000");
    let bias = |name: &str, base: u64| survey(&Module { base: Some(base), ..build.module(name) }, &build.search()).bias;
    assert_eq!(bias("fixed", 0x40_0000), Some(0));
    assert_eq!(bias("moved", 0x1000_0000), Some(0));
    // Loaded lower than it was linked: addresses wrap around.
    assert_eq!(bias("moved", 0x40_0000), Some(0x40_0000_u64.wrapping_sub(0x1000_0000)));
    assert_eq!(survey(&build.module("fixed"), &build.search()).bias, None);
}

#[test]
fn no_descriptor_is_kept() {
    let build = Build::new();
    build.compile("order", "");
    let surveyed = survey(&build.module("order"), &build.search());
    for access in [Access::Mapped, Access::Pread] {
        let files = Files::new(FileSet::new(vec![surveyed.clone()]), Vec::new(), access, None);
        assert!(!files.section_named(0, None, ".text").unwrap().is_empty());
        let other = files.other(&build.text("order.c"), None).unwrap();
        assert_eq!(other, fs::read(build.path("order.c")).unwrap());
        assert_eq!(files.other(&build.text("order.c"), None).unwrap().as_ptr(), other.as_ptr(), "it is kept");
        assert!(files.other(&build.text("none"), None).is_err());
        let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let ours = open
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter(|path| path.starts_with(build.folder.path()));
        assert_eq!(ours.count(), 0);
    }
}

#[test]
fn a_module_without_a_file() {
    let build = Build::new();
    build.compile("order", "");
    let image = fs::read(build.path("order")).unwrap();
    let module = Module { path: "[vdso]".into(), base: Some(0x1000), image: Some(image.clone()), ..Module::default() };
    let surveyed = survey(&module, &build.search());
    assert_eq!(surveyed.build_id, build_id(&build.text("order")));
    assert_eq!(surveyed.files[0].content, Content::Bytes(image));
    let files = Files::new(FileSet::new(vec![surveyed]), Vec::new(), Access::Mapped, None);
    assert!(!files.section_named(0, None, ".dynsym").unwrap().is_empty());
}
