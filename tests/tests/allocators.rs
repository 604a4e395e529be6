//! Programs that do not allocate with glibc's malloc: they are told so, and not that they have no heap.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{Debuggee, Session, root, scratch};

/// The name of each, and the library that has it take malloc's place.
const PRELOADED: [(&str, &str); 3] =
    [("jemalloc", "libjemalloc.so.2"), ("tcmalloc", "libtcmalloc_minimal.so.4"), ("mimalloc", "libmimalloc.so.2")];

#[track_caller]
fn refuses_by_name(session: &mut Session, name: &str) {
    for command in ["heap", "heap --by size", "heap --retained", "heap --check", "leaks", "objects ."] {
        let error = session.fails(&format!("mp-scan {command}"));
        let wanted = [format!("it allocates with {name}"), "which is not covered".to_owned()];
        assert!(wanted.iter().all(|part| error.contains(part)), "{name}: mp-scan {command}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    }
}

/// Who points to something is found without knowing what it lies in, and that is said.
#[track_caller]
fn finds_pointers(session: &mut Session, name: &str, truth: &tests::Truth) {
    let needle = truth.address("needle", "first");
    let found = session.json(&format!("mp-scan refs {needle:#x}"));
    let notes = found["notes"].to_string();
    assert!(notes.contains(&format!("what {name} has allocated is not covered")), "{found}");
    let pointer = truth.address("pointer", "first");
    let rows = tests::report::results(&found);
    assert!(rows.iter().any(|row| tests::report::number(&row["address"]) == pointer), "{pointer:#x}: {found}");
}

#[test]
fn an_allocator_in_the_place_of_malloc_is_named() {
    for (name, library) in PRELOADED {
        let path = Path::new("/usr/lib/x86_64-linux-gnu").join(library);
        assert!(path.exists(), "{} is missing: scripts/setup --tests installs it", path.display());
        let mut session = Session::start();
        session.ok(&format!("settings set target.env-vars LD_PRELOAD={}", path.display()));
        let truth = session.launch("memory.c", &["mapped=1"]);
        refuses_by_name(&mut session, name);
        finds_pointers(&mut session, name, &truth);
    }
}

#[test]
fn the_allocator_of_another_c_library_is_named() {
    let folder = scratch();
    let program: PathBuf = folder.path().join("memory");
    let source = root().join("fixtures/memory.c");
    let built = Command::new("musl-gcc").args(["-static", "-g", "-pthread", "-o"]).arg(&program).arg(source).output();
    let built = built.unwrap_or_else(|error| panic!("musl-gcc: {error}: scripts/setup --tests installs it"));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let debuggee = Debuggee::start_program(program, &["mapped=1"]);
    let mut session = Session::start();
    session.attach(&debuggee);
    refuses_by_name(&mut session, "musl");
    finds_pointers(&mut session, "musl", &debuggee.truth);
}
