//! Modules whose files are not what they were when they were loaded: deleted, or built anew.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::report::{number, results};
use tests::{Debuggee, Session, gcore, scratch};

/// What the library is built from first, and what its file is built from after it was loaded.
const BEFORE: &str = "int in_every_library(int n) { return n + 1; }\nstruct before { char letter; long number; };\nstruct before of_before;\n\
                      int caller(int n) { return in_every_library(n) * 2; }\n";
const AFTER: &str = "int quite_another(int n) { return n * n; }\n\n\n\nint in_every_library(int n) { return quite_another(n) + 1; }\n\
                     struct after { char letter; };\nstruct after of_after;\n\
                     int other_caller(int n) { return in_every_library(n) * 3; }\n";

fn build(folder: &Path, source: &str, options: &[&str]) -> PathBuf {
    let (file, library) = (folder.join("library.c"), folder.join("0.so"));
    fs::write(&file, source).expect("the folder can be written to");
    // A linker that writes into the file which is loaded would change what runs.
    let _ = fs::remove_file(&library);
    let status =
        Command::new("cc").args(["-g", "-shared", "-fPIC"]).args(options).arg("-o").args([&library, &file]).status();
    assert!(status.expect("cc runs").success());
    library
}

/// What each command says of the library: its rows, and its notes.
fn answers(session: &mut Session, address: u64) -> Vec<(Value, Vec<String>)> {
    let commands = commands(address);
    commands.iter().map(|command| answer(session, command)).collect()
}

fn commands(address: u64) -> [String; 5] {
    [
        "symbols '(in_every_library|quite_another)$' --module 0.so".to_owned(),
        "types '^(before|after)$' --module 0.so".to_owned(),
        "lines library.c --module 0.so".to_owned(),
        format!("lookup {address:#x}"),
        format!("xrefs {address:#x} --kind call"),
    ]
}

fn answer(session: &mut Session, command: &str) -> (Value, Vec<String>) {
    let report = session.json(&format!("mp-scan {command}"));
    let notes = report["notes"].as_array().into_iter().flatten();
    let notes = notes.filter_map(|note| note.as_str().map(str::to_owned)).collect();
    (Value::Array(results(&report).to_vec()), notes)
}

/// A process that has loaded the library, and what each command said of it then.
struct Loaded {
    session: Session,
    debuggee: Debuggee,
    library: PathBuf,
    folder: tempfile::TempDir,
    address: u64,
    before: Vec<(Value, Vec<String>)>,
}

impl Loaded {
    fn start(options: &[&str]) -> Self {
        let folder = scratch();
        let library = build(folder.path(), BEFORE, options);
        let debuggee = Debuggee::start("modules.c", &[&folder.path().to_string_lossy(), "1"]);
        let address = debuggee.truth.address("symbol", "0.so");
        let mut session = Session::start();
        session.ok("settings set target.preload-symbols false");
        session.attach(&debuggee);
        let before = answers(&mut session, address);
        for (rows, notes) in &before {
            assert_eq!((rows.as_array().map(Vec::is_empty), notes.len()), (Some(false), 0), "{before:?}");
        }
        assert_eq!(number(&before[0].0[0]["address"]), address);
        assert_eq!(before[3].0[0]["frames"][0]["line"], 1);
        Self { session, debuggee, library, folder, address, before }
    }

    /// The kernel has what is loaded, and root may read it: all is as before, and it is said why. Others are told why it is not.
    #[track_caller]
    fn is_read_where_it_still_is(&mut self, why: &str) {
        let after = answers(&mut self.session, self.address);
        let root = nix::unistd::Uid::effective().is_root();
        for ((rows, notes), (before, _)) in after.iter().zip(&self.before) {
            let said: Vec<_> = notes.iter().filter(|note| note.contains("0.so") && note.contains(why)).collect();
            assert_eq!(said.len(), 1, "{notes:?}");
            assert_eq!(said[0].contains("what is loaded is read, which the kernel still has"), root, "{notes:?}");
            if root {
                assert_eq!((rows, notes.len()), (before, 1), "{notes:?}");
            }
        }
        if !root {
            assert!(after[..3].iter().all(|(rows, _)| rows.as_array().map(Vec::len) == Some(0)), "{after:?}");
        }
    }
}

#[test]
fn a_library_that_is_deleted_is_read_where_the_kernel_still_has_it() {
    let mut loaded = Loaded::start(&[]);
    fs::remove_file(&loaded.library).expect("a file can be removed");
    loaded.is_read_where_it_still_is("was deleted since it was loaded");
}

#[test]
fn a_library_that_is_rebuilt_is_not_mixed_up_with_what_is_loaded() {
    for options in [&[][..], &["-Wl,--build-id=none"]] {
        let mut loaded = Loaded::start(options);
        build(loaded.folder.path(), AFTER, options);
        loaded.is_read_where_it_still_is("was rebuilt since it was loaded");
    }
}

#[test]
fn a_core_file_does_not_take_a_rebuilt_library_for_its_own() {
    // Without a build id it is told by what the core file has of its beginning.
    for options in [&[][..], &["-Wl,--build-id=none"]] {
        let mut loaded = Loaded::start(options);
        loaded.session.ok("process detach");
        let core = gcore(loaded.debuggee.pid(), loaded.folder.path());
        let mut session = Session::start();
        session.ok("settings set target.preload-symbols false");
        session.open_core(Some(&loaded.debuggee.program), &core);
        build(loaded.folder.path(), AFTER, options);
        let commands = commands(loaded.address);
        for command in &commands[..4] {
            let (rows, notes) = answer(&mut session, command);
            let text = rows.to_string();
            let others = ["quite_another", "\"after\"", "library.c", "caller"];
            assert!(!others.iter().any(|other| text.contains(other)), "{text}");
            assert!(notes.iter().any(|note| note.contains("0.so was rebuilt since it was loaded")), "{notes:?}");
        }
        // Of what is not known to be code of any file, nobody knows who refers to it.
        let error = session.fails(&format!("mp-scan {}", commands[4]));
        assert!(error.contains("is in no section of the "), "{error}");
        assert!(error.contains("0.so was rebuilt since it was loaded"), "{error}");
        // In another session the library is there once more, and nothing that was kept is of the other.
        build(loaded.folder.path(), BEFORE, options);
        let mut session = Session::start();
        session.open_core(Some(&loaded.debuggee.program), &core);
        let rows = |answers: Vec<(Value, Vec<String>)>| answers.into_iter().map(|(rows, _)| rows).collect::<Vec<_>>();
        assert_eq!(rows(answers(&mut session, loaded.address)), rows(loaded.before.clone()));
    }
}
