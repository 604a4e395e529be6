//! Where debug information lies makes no difference to what is found: compressed, split, shared, in a file elsewhere.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::report::{number, results};
use tests::{Session, root};

/// Runs a tool in a folder.
fn tool(folder: &Path, line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a tool");
    let output = Command::new(program).args(words).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The rows of a report without what says in which folder the program is, or was compiled.
fn rows(report: &Value, folder: &Path) -> Vec<Value> {
    let mut rows = results(report).to_vec();
    for row in &mut rows {
        let file = row["file"].as_str().and_then(|file| Path::new(file).strip_prefix(folder).ok());
        if let Some(file) = file.map(|file| file.display().to_string()) {
            row["file"] = file.into();
        }
        let module = row.as_object_mut().and_then(|row| row.remove("module"));
        assert!(module.is_none_or(|path| path.as_str().is_some_and(|path| path.ends_with("/program"))), "{report}");
    }
    rows
}

/// The five commands, with addresses of functions of the program.
fn commands(session: &mut Session) -> Vec<String> {
    let functions = session.json("mp-scan symbols . --kind function --limit 1000");
    let defined = results(&functions).iter().filter(|row| row["address"].is_string());
    let addresses: Vec<u64> = defined.map(|row| number(&row["address"])).collect();
    assert!(addresses.len() > 20, "{functions}");
    // Where functions begin, and some way into them.
    let places: String = addresses.iter().flat_map(|at| [*at, at + 9]).map(|at| format!(" {at:#x}")).collect();
    vec![
        "symbols ''".to_owned(),
        "types 'shapes::' --layout".to_owned(),
        format!("lookup{places}"),
        "lines 'symbols\\.cpp$'".to_owned(),
        "xrefs plain_c".to_owned(),
    ]
}

/// What the five commands find in a program of that folder, by any number of workers.
fn answers(session: &mut Session, folder: &Path) -> Vec<(String, Vec<Value>)> {
    session.ok(&format!("target create {}", folder.join("program").display()));
    let mut all = Vec::new();
    for command in commands(session) {
        let mut first = None;
        for workers in [0, 2] {
            let report = session.json(&format!("mp-scan {command} --limit 100000 --workers {workers}"));
            assert_eq!(report["skipped"], Value::Array(Vec::new()), "{command}");
            let rows = rows(&report, folder);
            assert_eq!(first.get_or_insert_with(|| rows.clone()), &rows, "{command} by {workers} workers");
        }
        all.push((command, first.expect("it has run")));
    }
    session.ok("target delete");
    all
}

#[track_caller]
fn assert_same(found: &[(String, Vec<Value>)], plain: &[(String, Vec<Value>)], what: &str) {
    for ((command, found), (_, plain)) in found.iter().zip(plain) {
        let only = |these: &[Value], those: &[Value]| -> Vec<String> {
            these.iter().filter(|row| !those.contains(row)).map(Value::to_string).take(5).collect()
        };
        let (more, less) = (only(found, plain), only(plain, found));
        assert!(found == plain, "{what}: {command:.30}: {more:#?}\nin place of {less:#?}");
    }
}

/// The kinds of sections that a program or a file beside it has to have, so that the test is of what it says.
fn sections(folder: &Path, file: &str) -> String {
    let output =
        Command::new("readelf").args(["-SW", file]).current_dir(folder).output().expect("readelf runs: binutils");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The .dwo files of a folder.
fn dwo_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "dwo")).collect()
}

#[test]
fn all_commands_find_the_same_however_debug_information_is_packed() {
    let mut session = Session::start();
    let source = root().join("fixtures/symbols.cpp").display().to_string();
    for compiler in ["g++", "clang++-22"] {
        let folder = session.folder().join(compiler);
        let variant = |name: &str, options: &str| {
            let folder = folder.join(name);
            fs::create_dir_all(&folder).expect("a new folder can be made");
            tool(&folder, &format!("{compiler} -gdwarf-5 -O1 -pthread {options} -o program {source}"));
            folder
        };
        let folder_of_plain = variant("plain", "");
        let plain = answers(&mut session, &folder_of_plain);
        assert!(plain.iter().all(|(_, rows)| !rows.is_empty()), "{plain:?}");
        assert!(plain[2].1.iter().any(|row| row["frames"][0]["line"].is_number()));
        let same = |session: &mut Session, folder: &Path| {
            assert_same(&answers(session, folder), &plain, &format!("{compiler} {}", folder.display()));
        };

        for format in ["zlib", "zstd"] {
            let folder = variant(format, "");
            tool(&folder, &format!("objcopy --compress-debug-sections={format} program"));
            assert!(
                sections(&folder, "program").lines().any(|line| line.contains(".debug_info") && line.contains(" C "))
            );
            same(&mut session, &folder);
        }

        let folder = variant("type_units", "-fdebug-types-section");
        same(&mut session, &folder);

        // A pool of types that two files share. dwz knows no .debug_addr, which Clang makes.
        if compiler == "g++" {
            let folder = variant("dwz", "");
            tool(&folder, "cp program other");
            tool(&folder, "dwz -m common program other");
            assert!(sections(&folder, "program").contains(".gnu_debugaltlink"));
            same(&mut session, &folder);
        }

        for (name, options) in [("split", "-gsplit-dwarf"), ("split_types", "-gsplit-dwarf -fdebug-types-section")] {
            let folder = variant(name, options);
            assert_eq!(dwo_files(&folder).len(), 1);
            same(&mut session, &folder);
            // llvm-dwp does not know what GCC writes in version 5.
            if compiler == "clang++-22" {
                tool(&folder, "llvm-dwp-22 -e program -o program.dwp");
                dwo_files(&folder).iter().for_each(|file| fs::remove_file(file).expect("a file can be removed"));
                same(&mut session, &folder);
                tool(&folder, "llvm-objcopy-22 --compress-debug-sections=zstd program.dwp");
                same(&mut session, &folder);
                fs::remove_file(folder.join("program.dwp")).expect("a file can be removed");
            } else {
                dwo_files(&folder).iter().for_each(|file| fs::remove_file(file).expect("a file can be removed"));
            }
            // Without what the units are in, that is said, and symbols are as ever.
            session.ok(&format!("target create {}", folder.join("program").display()));
            let report = session.json("mp-scan types shapes:: --limit 100000");
            let said = format!("{} {}", report["notes"], report["skipped"]);
            assert!(results(&report).len() < plain[1].1.len() && said.contains(".dwo"), "{said}");
            assert_eq!(results(&session.json("mp-scan symbols '' --limit 100000")).len(), plain[0].1.len());
            session.ok("target delete");
        }
    }
}

#[test]
fn debug_files_are_found_in_the_debuggers_own_search_paths() {
    let mut session = Session::start();
    let source = root().join("fixtures/symbols.cpp").display().to_string();
    let folder = session.folder().to_owned();
    let (whole, linked, named) = (folder.join("whole"), folder.join("linked"), folder.join("named"));
    let (links, ids) = (folder.join("links"), folder.join("ids"));
    for folder in [&whole, &linked, &named, &links, &ids] {
        fs::create_dir(folder).expect("a new folder can be made");
    }
    let id = "0123456789abcdef0123456789abcdef01234567";
    tool(&whole, &format!("g++ -g -O1 -pthread -Wl,--build-id=0x{id} -o program {source}"));
    let whole_program = whole.join("program").display().to_string();
    tool(&links, &format!("objcopy --only-keep-debug {whole_program} program.debug"));
    let debug = links.join("program.debug").display().to_string();
    tool(&linked, &format!("objcopy --strip-all --add-gnu-debuglink={debug} {whole_program} program"));
    tool(&named, &format!("objcopy --strip-all {whole_program} program"));
    let by_id = ids.join(".build-id").join(&id[..2]);
    fs::create_dir_all(&by_id).expect("a new folder can be made");
    fs::copy(&debug, by_id.join(format!("{}.debug", &id[2..]))).expect("a file can be copied");

    let plain = answers(&mut session, &whole);
    for (program, paths) in [(&linked, &links), (&named, &ids)] {
        session.ok(&format!("target create {}", program.join("program").display()));
        let without = session.json("mp-scan types .");
        assert_eq!(without["total"], 0, "{without}");
        session.ok("target delete");
        // Of several folders the last has it.
        let nothing = whole.display();
        session.ok(&format!("settings set target.debug-file-search-paths {nothing} {}", paths.display()));
        let found = answers(&mut session, program);
        // What a stripped program has in its own table of symbols comes before what its debug file has.
        let sorted = |answers: &[(String, Vec<Value>)]| -> Vec<(String, Vec<Value>)> {
            let by_text = |rows: &Vec<Value>| {
                let mut rows = rows.clone();
                rows.sort_by_key(Value::to_string);
                rows
            };
            answers.iter().map(|(command, rows)| (command.clone(), by_text(rows))).collect()
        };
        assert_same(&sorted(&found), &sorted(&plain), &program.display().to_string());
        session.ok("settings clear target.debug-file-search-paths");
    }
}
