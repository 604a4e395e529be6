//! Files that belong to a module's own.

use super::build::Build;
use std::fs;
use std::os::unix::fs::symlink;
use target::Access;
use target::modules::{FileSet, Files, Module, Role, Surveyed, survey};

impl Build {
    /// A program, and beside it its debug information alone.
    fn split(&self, options: &str) {
        self.compile("order", options);
        self.run("objcopy", "--only-keep-debug order order.debug");
        fs::copy(self.path("order"), self.path("whole")).unwrap();
        self.run("strip", "-g order");
    }

    /// Moves a file to where it is looked for by the build id of `of`.
    fn file_by_build_id(&self, name: &str, of: &str) -> String {
        let id = survey(&self.module(of), &self.search()).build_id;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = format!("debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
        fs::create_dir_all(self.path(&path).parent().unwrap()).unwrap();
        fs::rename(self.path(name), self.path(&path)).unwrap();
        self.text(&path)
    }

    fn survey(&self, name: &str) -> Surveyed {
        survey(&self.module(name), &self.search())
    }
}

fn roles(surveyed: &Surveyed) -> Vec<Role> {
    surveyed.files.iter().map(|file| file.role).filter(|role| *role != Role::Inflated).collect()
}

/// The content of a section, as it is read of the module's files.
fn content(surveyed: &Surveyed, role: Option<Role>, name: &str) -> Vec<u8> {
    let set = FileSet::new(vec![surveyed.clone()]);
    let read = |access| {
        let files = Files::new(set.clone(), Vec::new(), access, None);
        files.section_named(0, role, name).unwrap().to_vec()
    };
    let content = read(Access::Mapped);
    assert_eq!(content, read(Access::Pread));
    content
}

#[test]
fn a_debug_file_by_build_id() {
    let build = Build::new();
    build.split("");
    let path = build.file_by_build_id("order.debug", "order");
    let surveyed = build.survey("order");
    assert_eq!(surveyed.problems, [""; 0]);
    assert_eq!(roles(&surveyed), [Role::Main, Role::Debug]);
    assert_eq!(surveyed.files[1].path, path);
    let whole = build.survey("whole");
    assert_eq!(roles(&whole), [Role::Main], "it needs none");
    for name in [".debug_info", ".debug_str", ".text"] {
        let found = content(&surveyed, None, name);
        assert!(!found.is_empty() && found == content(&whole, None, name), "{name}");
    }
    // What the debug file has no bytes of is not read from it.
    assert_eq!(surveyed.section_named(Some(Role::Debug), ".text"), None);
}

#[test]
fn a_debug_file_of_another_build_is_refused() {
    let build = Build::new();
    build.split("");
    build.compile("other", "-O2 -DLIBRARY -shared -fPIC");
    build.run("objcopy", "--only-keep-debug other other.debug");
    let path = build.file_by_build_id("other.debug", "order");
    let surveyed = build.survey("order");
    assert_eq!(roles(&surveyed), [Role::Main]);
    assert_eq!(surveyed.problems.len(), 1);
    let (program, problem) = (build.text("order"), &surveyed.problems[0]);
    assert!(
        problem.starts_with(&format!("{path} is the debug file of another build of {program} (build id ")),
        "{problem}"
    );
}

#[test]
fn a_debug_file_by_link() {
    for place in ["order.debug", ".debug/order.debug", "ABSOLUTE"] {
        for build_id in ["sha1", "none"] {
            let build = Build::new();
            build.split(&format!("-Wl,--build-id={build_id}"));
            build.run("objcopy", "--add-gnu-debuglink=order.debug order");
            let place = match place {
                "ABSOLUTE" => format!("debug{}/order.debug", build.folder.path().display()),
                place => place.to_owned(),
            };
            let path = build.path(&place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::rename(build.path("order.debug"), &path).unwrap_or_default();
            let surveyed = build.survey("order");
            assert_eq!(surveyed.problems, [""; 0]);
            assert_eq!(roles(&surveyed), [Role::Main, Role::Debug], "{place} {build_id}");
            assert_eq!(surveyed.files[1].path, path.to_str().unwrap());

            // The link is that of the real file's folder, too.
            fs::create_dir(build.path("links")).unwrap();
            symlink(build.path("order"), build.path("links/order")).unwrap();
            assert_eq!(roles(&build.survey("links/order")), [Role::Main, Role::Debug]);

            // Only what has no build id goes by the checksum.
            let mut changed = fs::read(&path).unwrap();
            *changed.last_mut().unwrap() ^= 1;
            fs::write(&path, changed).unwrap();
            let surveyed = build.survey("order");
            if build_id == "none" {
                let (path, program) = (path.display(), build.text("order"));
                assert_eq!(
                    surveyed.problems,
                    [format!("{path} is the debug file of another build of {program} (by its CRC)")]
                );
                assert_eq!(roles(&surveyed), [Role::Main]);
            } else {
                assert_eq!(surveyed.problems, [""; 0]);
            }
        }
    }
}

#[test]
fn what_elfutils_splits() {
    let build = Build::new();
    build.compile("whole", "");
    build.run("eu-strip", "-f order.debug -o order whole");
    let surveyed = build.survey("order");
    assert_eq!(surveyed.problems, [""; 0]);
    assert_eq!(roles(&surveyed), [Role::Main, Role::Debug]);
    let whole = build.survey("whole");
    assert_eq!(content(&surveyed, None, ".debug_info"), content(&whole, None, ".debug_info"));
}

#[test]
fn a_debug_file_that_is_the_file_itself() {
    let build = Build::new();
    build.compile("order", "");
    build.run("strip", "-g order");
    symlink(build.path("order"), build.path("link")).unwrap();
    build.file_by_build_id("link", "order");
    let surveyed = build.survey("order");
    assert_eq!((roles(&surveyed), surveyed.problems), (vec![Role::Main], vec![]));
}

#[test]
fn what_several_debug_files_share() {
    let build = Build::new();
    build.compile("first", "");
    build.compile("second", "-O2");
    build.run("dwz", "-m shared.debug first second");
    let surveyed = build.survey("first");
    assert_eq!(surveyed.problems, [""; 0]);
    assert_eq!(roles(&surveyed), [Role::Main, Role::Alternate]);
    assert!(!content(&surveyed, Some(Role::Alternate), ".debug_info").is_empty());
    assert_ne!(
        content(&surveyed, Some(Role::Alternate), ".debug_info"),
        content(&surveyed, Some(Role::Main), ".debug_info")
    );

    fs::rename(build.path("shared.debug"), build.path("moved")).unwrap();
    let surveyed = build.survey("first");
    assert_eq!(roles(&surveyed), [Role::Main]);
    let (program, problem) = (build.text("first"), &surveyed.problems[0]);
    assert!(
        problem.starts_with(&format!("{program}: its debug information goes on in shared.debug (build id ")),
        "{problem}"
    );
    assert!(problem.ends_with("), which is not there"), "{problem}");

    // Another in its place is not taken for it.
    fs::copy(build.path("second"), build.path("shared.debug")).unwrap();
    let surveyed = build.survey("first");
    assert_eq!(roles(&surveyed), [Role::Main]);
    let shared = build.text("shared.debug");
    assert_eq!(surveyed.problems[0], format!("{shared} is not what the debug information of {program} goes on in"));

    let path = build.file_by_build_id("moved", "moved");
    let surveyed = build.survey("first");
    assert_eq!(roles(&surveyed), [Role::Main, Role::Alternate]);
    assert_eq!(surveyed.files[1].path, path);

    // What has no debug information any more still has the link.
    build.run("strip", "-g first");
    build.run("rm", "-r debug shared.debug");
    let surveyed = build.survey("first");
    assert_eq!((roles(&surveyed), surveyed.problems), (vec![Role::Main], vec![]));
}

#[test]
fn what_several_debug_files_share_as_the_standard_has_it() {
    let build = Build::new();
    build.compile("first", "");
    build.compile("second", "-O2");
    build.run("dwz", "-5 -m shared.debug first second");
    let surveyed = build.survey("first");
    assert!(surveyed.section_named(None, ".debug_sup").is_some());
    assert_eq!(surveyed.problems, [""; 0]);
    assert_eq!(roles(&surveyed), [Role::Main, Role::Alternate]);
    fs::copy(build.path("second"), build.path("shared.debug")).unwrap();
    assert_eq!(roles(&build.survey("first")), [Role::Main]);
}

#[test]
fn a_debug_file_where_the_file_itself_is_gone() {
    let build = Build::new();
    for options in ["", "-no-pie"] {
        build.split(options);
        let module = Module { base: Some(0x10_0000), ..build.module("order") };
        let whole = survey(&module, &build.search());
        let path = build.file_by_build_id("order.debug", "order");
        fs::remove_file(build.path("order")).unwrap();
        let module = Module { build_id: whole.build_id.clone(), ..module };
        let surveyed = survey(&module, &build.search());
        assert_eq!(surveyed.problems, [format!("{}: No such file or directory (os error 2)", module.path)]);
        assert_eq!(roles(&surveyed), [Role::Debug]);
        assert_eq!(surveyed.files[0].path, path);
        assert_eq!((surveyed.bias, surveyed.build_id), (whole.bias, whole.build_id));
    }
}

#[test]
fn a_package_of_split_debug_information() {
    let build = Build::new();
    // The tool does not know version 5.
    build.compile("order", "-gdwarf-4 -gsplit-dwarf");
    assert_eq!(roles(&build.survey("order")), [Role::Main]);
    build.run("dwp", "-e order -o order.dwp");
    let surveyed = build.survey("order");
    assert_eq!(surveyed.problems, [""; 0]);
    assert_eq!(roles(&surveyed), [Role::Main, Role::Package]);
    assert!(!content(&surveyed, Some(Role::Package), ".debug_info.dwo").is_empty());
    fs::copy(build.path("order"), build.path("order.dwp")).unwrap();
    let surveyed = build.survey("order");
    assert_eq!(surveyed.problems, [format!("{}: not a package of split debug information", build.text("order.dwp"))]);
}

#[test]
fn symbols_in_compressed_form() {
    let build = Build::new();
    build.compile("whole", "");
    // As Fedora's find-debuginfo makes them: the functions' symbols that the dynamic table does not have.
    build.run("objcopy", "--only-keep-debug whole all");
    build.run("objcopy", "-S --remove-section=.gdb_index --remove-section=.comment --keep-symbol=hidden all mini");
    build.run("strip", "-s -o order whole");
    build.run("xz", "-k mini");
    build.run("objcopy", "--add-section=.gnu_debugdata=mini.xz order");
    let surveyed = build.survey("order");
    assert_eq!(surveyed.problems, [""; 0]);
    assert_eq!(roles(&surveyed), [Role::Main, Role::Mini]);
    let names = content(&surveyed, None, ".strtab");
    assert!(names.windows(6).any(|window| window == b"hidden"));
    let mini = fs::read(build.path("mini")).unwrap();
    assert_eq!(surveyed.files[1].size, mini.len() as u64);

    // They are not needed beside a whole table, and damaged ones are said to be.
    build.run("objcopy", "--add-section=.gnu_debugdata=mini.xz whole");
    assert_eq!(roles(&build.survey("whole")), [Role::Main]);
    let mut cut = fs::read(build.path("mini.xz")).unwrap();
    cut.truncate(cut.len() - 40);
    fs::write(build.path("cut"), cut).unwrap();
    build.run("objcopy", "--update-section=.gnu_debugdata=cut order");
    let surveyed = build.survey("order");
    assert_eq!(roles(&surveyed), [Role::Main]);
    assert!(surveyed.problems[0].starts_with(&format!("{} (.gnu_debugdata): ", build.text("order"))), "{surveyed:?}");
}

#[test]
fn compressed_sections() {
    let build = Build::new();
    build.compile("plain", "");
    let plain = build.survey("plain");
    for how in ["zlib", "zstd", "zlib-gnu"] {
        build.run("objcopy", &format!("--compress-debug-sections={how} plain {how}"));
        let mut surveyed = build.survey(how);
        assert_eq!(surveyed.problems, [""; 0]);
        let compressed: Vec<usize> = surveyed.compressed().collect();
        assert!(compressed.len() >= 2, "{how}: {surveyed:?}");
        for section in plain.sections.iter().filter(|section| section.name.starts_with(".debug_")) {
            let name = section.name.as_str();
            assert_eq!(content(&surveyed, None, name), content(&plain, None, name), "{how}: {name}");
        }
        // The space that the sections lie in is the same when they have been inflated before.
        let before = FileSet::new(vec![surveyed.clone()]);
        let mut descriptors = Vec::new();
        for section in &compressed {
            surveyed.share(*section, descriptors.len());
            descriptors.push(target::modules::inflate(&before.modules[0], *section).unwrap());
        }
        let after = FileSet::new(vec![surveyed.clone()]);
        let files = Files::new(after.clone(), descriptors, Access::Pread, None);
        for section in &compressed {
            assert_eq!(before.range(0, *section), after.range(0, *section));
            let (range, name) = (after.range(0, *section), surveyed.sections[*section].name.as_str());
            assert_eq!(after.locate(range.end - 1), Some((0, *section, range.len() - 1)));
            assert_eq!(files.section(0, *section).unwrap(), content(&plain, None, name), "{how}: {name}");
        }
    }
}
