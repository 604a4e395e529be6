//! Programs that do not allocate with glibc's malloc: they are told so, and not that they have no heap.

use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{Debuggee, Session, compile, gcore, root, scratch};

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

/// Builds `memory.c` with an option of gcc's.
fn memory_with(option: &str, program: &Path) {
    let source = root().join("fixtures/memory.c");
    let mut gcc = Command::new("gcc");
    gcc.args(option.split(' ')).args(["-g", "-pthread", "-o"]).arg(program).arg(source);
    let built = gcc.output().unwrap_or_else(|error| panic!("gcc: {error}"));
    assert!(built.status.success(), "{option}: {}", String::from_utf8_lossy(&built.stderr));
}

#[test]
fn the_allocators_of_sanitizers_are_named() {
    let options = [
        ("ThreadSanitizer", "-fsanitize=thread"),
        ("LeakSanitizer", "-fsanitize=leak"),
        ("AddressSanitizer", "-fsanitize=address"),
        ("AddressSanitizer", "-fsanitize=address -static-libasan"),
    ];
    for (name, option) in options {
        let folder = scratch();
        let program = folder.path().join("memory");
        memory_with(option, &program);
        let mut session = Session::start();
        // It looks for leaks at the end, and fails where it is debugged.
        session.ok("settings set target.env-vars ASAN_OPTIONS=detect_leaks=0 LSAN_OPTIONS=detect_leaks=0");
        session.ok(&format!("target create {}", program.display()));
        session.ok("breakpoint set --name ready");
        session.ok(&format!("process launch -- {} mapped=1", folder.path().join("truth").display()));
        session.look_at_process();
        refuses_by_name(&mut session, name);
    }
}

#[test]
fn a_malloc_of_the_programs_own_is_named_by_the_program() {
    let name = format!("the malloc of {}", compile("own_malloc.c").display());
    let mut session = Session::start();
    session.launch("own_malloc.c", &[]);
    refuses_by_name(&mut session, &name);
    let debuggee = Debuggee::start("own_malloc.c", &[]);
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    refuses_by_name(&mut session, &name);
}

#[test]
fn what_a_malloc_passes_on_to_glibc_is_covered() {
    let folder = scratch();
    let library = folder.path().join("libpassing.so");
    let source = root().join("fixtures/passing_malloc.c");
    let built = Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).output();
    assert!(built.unwrap_or_else(|error| panic!("gcc: {error}")).status.success());
    let mut session = Session::start();
    session.ok(&format!("settings set target.env-vars LD_PRELOAD={}", library.display()));
    session.launch("memory.c", &["mapped=1"]);
    let report = session.json("mp-scan heap --by size");
    assert!(report["totals"]["used"]["count"].as_u64() > Some(0), "{report}");
    let note = format!(
        "what the malloc of {} has allocated is covered only where it comes from glibc's malloc",
        library.display()
    );
    assert!(report["notes"].as_array().is_some_and(|notes| notes.iter().any(|own| *own == note)), "{report}");
}

#[test]
fn a_process_that_has_allocated_nothing_is_told_so() {
    let mut session = Session::start();
    session.ok(&format!("target create {}", compile("memory.c").display()));
    session.ok("breakpoint set --name main");
    session.ok("process launch");
    let text = session.ok("mp-scan leaks");
    assert!(text.contains("no allocations") && !text.contains("no leaks"), "{text}");
    assert!(text.contains("nothing was ever allocated with glibc's malloc"), "{text}");
}
