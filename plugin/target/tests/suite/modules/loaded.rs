//! Modules of a process, whose files are not what they were.

use super::build::Build;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use target::live::{self, Options};
use target::modules::{Module, Role, Search, Surveyed, loaded_build_id, loaded_head, survey};

/// A process that runs a program of the folder, with a library of it.
struct Running<'a> {
    build: &'a Build,
    child: Child,
}

impl<'a> Running<'a> {
    fn start(build: &'a Build, options: &str) -> Self {
        build.compile("order", options);
        build.compile("liborder.so", &format!("-DLIBRARY -shared -fPIC {options}"));
        let mut command = Command::new(build.path("order"));
        let command = command.env("LD_PRELOAD", build.path("liborder.so"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { build, child }
    }

    fn module(&self, name: &str) -> Module {
        let path = self.build.text(name);
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap();
        let line = maps.lines().find(|line| line.contains(&path)).unwrap();
        let base = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let memory = live::open(self.child.id(), &Options::default()).unwrap().memory().unwrap();
        Module { path, base: Some(base), build_id: loaded_build_id(&*memory, base), ..Module::default() }
    }

    /// The same, as where nobody can be asked which file it is.
    fn module_with_head(&self, name: &str) -> Module {
        let module = self.module(name);
        let memory = live::open(self.child.id(), &Options::default()).unwrap().memory().unwrap();
        Module { head: loaded_head(&*memory, module.base.unwrap()), ..module }
    }

    fn survey(&self, module: &Module) -> Surveyed {
        survey(module, &Search { pid: Some(self.child.id().into()), ..self.build.search() })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn the_build_id_is_that_of_the_file() {
    let build = Build::new();
    let running = Running::start(&build, "");
    for name in ["order", "liborder.so"] {
        let module = running.module(name);
        let surveyed = running.survey(&module);
        assert_eq!(surveyed.problems, [""; 0]);
        assert_eq!((&surveyed.build_id, surveyed.bias), (&module.build_id, module.base));
        assert_eq!(surveyed.files[0].path, build.text(name));
    }
}

#[test]
fn a_file_that_was_rebuilt_is_not_taken_for_what_is_loaded() {
    for options in ["", "-Wl,--build-id=none"] {
        let build = Build::new();
        let running = Running::start(&build, options);
        for name in ["order", "liborder.so"] {
            let module = running.module(name);
            assert_eq!(module.build_id.is_empty(), !options.is_empty());
            let before = running.survey(&module);
            fs::remove_file(build.path(name)).unwrap();
            build.compile(name, &format!("-O2 -DLIBRARY -shared -fPIC {options}"));
            let after = running.survey(&module);
            if name == "order" || is_root() {
                // The kernel still has what is loaded.
                let what = "was rebuilt since it was loaded: what is loaded is read, which the kernel still has";
                assert_eq!(after.problems, [format!("{} {what}", module.path)]);
                assert!(after.files[0].path.starts_with("/proc/"), "{after:?}");
                assert_eq!((after.files[0].size, after.sections), (before.files[0].size, before.sections));
            } else {
                assert!(after.files.is_empty());
            }

            // Where there is no process to ask, the file is refused.
            let alone = survey(&module, &build.search());
            if options.is_empty() {
                assert!(alone.files.is_empty() && alone.sections.is_empty());
                assert_eq!(alone.build_id, module.build_id);
                let start = format!("{} was rebuilt since it was loaded: the file's build id is ", module.path);
                assert!(alone.problems[0].starts_with(&start), "{alone:?}");
            }
        }
    }
}

#[test]
fn what_is_loaded_of_a_file_without_a_build_id_tells_it_from_another() {
    let build = Build::new();
    let running = Running::start(&build, "-Wl,--build-id=none");
    assert!(running.module_with_head("order").head.starts_with(b"\x7fELF"));
    for name in ["order", "liborder.so"] {
        let module = running.module_with_head(name);
        let alone = |module: &Module| survey(module, &build.search());
        let before = alone(&module);
        assert_eq!((before.problems.len(), before.files.len()), (0, 1), "{before:?}");
        // A stripped file is the same program; it has another inode, and section headers elsewhere.
        build.run("strip", &format!("-o stripped {name}"));
        fs::rename(build.path("stripped"), build.path(name)).unwrap();
        let stripped = alone(&module);
        assert_eq!((stripped.problems.len(), stripped.files.len()), (0, 1), "{stripped:?}");
        assert_ne!(stripped.sections, before.sections);
        fs::remove_file(build.path(name)).unwrap();
        fs::write(build.path("other.c"), "int quite_another(int n) { return n * n; }").unwrap();
        build.run("gcc", &format!("-g -shared -fPIC other.c -o {name} -Wl,--build-id=none"));
        let after = alone(&module);
        let what = "was rebuilt since it was loaded: neither has a build id, and what is loaded is not the file's";
        assert_eq!(after.problems, [format!("{} {what}", module.path)]);
        assert!(after.files.is_empty());
        // Where nothing is known of what is loaded, the file is believed.
        assert_eq!(alone(&Module { head: Vec::new(), ..module }).files.len(), 1);
    }
    // With a build id nothing else is needed.
    let build = Build::new();
    let running = Running::start(&build, "");
    assert!(running.module_with_head("order").head.is_empty());
}

#[test]
fn a_file_that_was_deleted_is_read_where_the_kernel_still_has_it() {
    let build = Build::new();
    let running = Running::start(&build, "");
    for name in ["order", "liborder.so"] {
        let module = running.module(name);
        let before = running.survey(&module);
        fs::remove_file(build.path(name)).unwrap();
        let after = running.survey(&module);
        if name == "order" || is_root() {
            let what = "was deleted since it was loaded: what is loaded is read, which the kernel still has";
            assert_eq!(after.problems, [format!("{} {what}", module.path)]);
            assert_eq!(after.sections, before.sections);
            assert_eq!(after.files[0].role, Role::Main);
        } else {
            let what = "was deleted since it was loaded, and only root may read it still";
            assert_eq!(after.problems, [format!("{} {what}", module.path)]);
        }
        let alone = survey(&module, &build.search());
        assert_eq!(alone.problems, [format!("{}: No such file or directory (os error 2)", module.path)]);
    }
}

#[test]
fn a_file_that_changes_after_the_survey_is_an_error() {
    use target::Access;
    use target::modules::{FileSet, Files};
    let build = Build::new();
    build.compile("order", "");
    let set = FileSet::new(vec![survey(&build.module("order"), &build.search())]);
    let mut content = fs::read(build.path("order")).unwrap();
    content.truncate(100);
    fs::write(build.path("order"), content).unwrap();
    for access in [Access::Mapped, Access::Pread] {
        let files = Files::new(set.clone(), Vec::new(), access, None);
        let error = files.section_named(0, None, ".text").unwrap_err().to_string();
        assert_eq!(error, format!("{}: it has changed since it was looked at", build.text("order")));
    }
}

#[test]
fn checksums_that_stand_for_build_ids_do_no_harm() {
    let build = Build::new();
    build.compile("none", "-Wl,--build-id=none");
    build.compile("some", "");
    let with = |name: &str, build_id: &[u8]| {
        survey(&Module { build_id: build_id.to_vec(), ..build.module(name) }, &build.search())
    };
    assert_eq!(with("none", &[1, 2, 3, 4]).files.len(), 1);
    let problem = |surveyed: Surveyed| surveyed.problems[0].clone();
    assert!(problem(with("some", &[1, 2, 3, 4])).contains("was rebuilt since it was loaded"));
    assert!(problem(with("none", &[7; 20])).ends_with("was rebuilt since it was loaded: now it has no build id"));
    // One that a debugger has cut.
    let whole = with("some", &[]).build_id;
    assert_eq!(with("some", &whole[..16]).build_id, whole);
}
