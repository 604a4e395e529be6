//! `xrefs`.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::report::{addresses, essence, number, results};
use tests::{Session, gcore, root, until};

/// Builds `fixtures/xrefs.c` and its library in the session's folder.
fn build(session: &Session, options: &[&str]) -> PathBuf {
    let folder = session.folder();
    let compile = |source: &str, output: &str, options: &[&str]| {
        let source = root().join("fixtures").join(source);
        let status = Command::new("cc")
            .args(["-g", "-O1"])
            .arg(source)
            .arg("-o")
            .arg(folder.join(output))
            .arg("-L")
            .arg(folder)
            .arg(format!("-Wl,-rpath,{}", folder.display()))
            .args(options)
            .status();
        assert!(status.expect("cc runs").success(), "{output}");
        folder.join(output)
    };
    compile("xrefs_library.c", "liblibrary.so", &["-fPIC", "-shared"]);
    compile("xrefs.c", "program", &[options, &["-llibrary"]].concat())
}

/// The address of a symbol in a file.
fn address_in(file: &Path, name: &str) -> u64 {
    let output = Command::new("nm").arg(file).output().expect("nm runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.split(' ').next_back() == Some(name)).expect("it is in the table");
    u64::from_str_radix(line.split(' ').next().unwrap_or_default(), 16).expect("an address")
}

/// Kind, function, line and file of each row, in its order.
fn rows(report: &Value) -> Vec<(String, String, Option<u64>, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    let row = |row: &Value| (text(&row["kind"]), text(&row["function"]), row["line"].as_u64(), text(&row["module"]));
    results(report).iter().map(row).collect()
}

fn row(kind: &str, function: &str, line: Option<u64>, module: &str) -> (String, String, Option<u64>, String) {
    (kind.to_owned(), function.to_owned(), line, module.to_owned())
}

/// What refers to `library_step`, without what the C library has.
fn to_library_step() -> Vec<(String, String, Option<u64>, String)> {
    vec![
        row("call", "tail_outside", Some(14), "program"),
        row("call", "outside", Some(15), "program"),
        row("mention", "chosen", Some(17), "program"),
        row("pointer", "operations", None, "program"),
        row("call", "library_run", Some(14), "liblibrary.so"),
        row("call", "library_run", Some(14), "liblibrary.so"),
        row("pointer", "library_table", None, "liblibrary.so"),
    ]
}

#[test]
fn a_program_that_does_not_run_is_searched_at_the_addresses_of_its_files() {
    let mut session = Session::start();
    let program = build(&session, &["-pie", "-fPIE"]);
    session.ok(&format!("target create {}", program.display()));
    let mut first = None;
    for workers in [0, 1, 2, 7] {
        let report = session.json(&format!("mp-scan xrefs library_step --workers {workers}"));
        assert_eq!(rows(&report), to_library_step(), "{workers} workers");
        assert_eq!((&report["target"]["kind"], &report["total"]), (&"static".into(), &7.into()));
        let through = |row: &Value| row["through"].as_str().unwrap_or_default().to_owned();
        let through: Vec<String> = results(&report).iter().map(through).collect();
        assert_eq!(through, ["plt", "plt", "got", "", "plt", "plt", ""]);
        let first = first.get_or_insert_with(|| essence(&report));
        assert_eq!(first, &essence(&report), "{workers} workers");
    }
    // An address is one of the executable's file, or of the module's that is named.
    let step = session.json("mp-scan xrefs step");
    let own = number(&step["results"][0]["address"]);
    assert!(own < 0x10_0000, "{own:#x} is no address of a file");
    let address = address_in(&program, "step");
    let by_address = session.json(&format!("mp-scan xrefs {address:#x}"));
    assert_eq!(rows(&by_address), rows(&step));
    let outside = address_in(&session.folder().join("liblibrary.so"), "library_run");
    let outside = session.json(&format!("mp-scan xrefs {outside:#x} --module liblibrary"));
    let library_run =
        [row("call", "main", Some(42), "program"), row("pointer", "library_table", None, "liblibrary.so")];
    assert_eq!(rows(&outside), library_run);
}

#[test]
fn a_process_and_its_core_file_are_searched_where_they_are_loaded() {
    for options in [&["-pie", "-fPIE"][..], &["-no-pie", "-fno-pie"]] {
        let mut session = Session::start();
        let program = build(&session, options);
        session.ok(&format!("target create {}", program.display()));
        // The breakpoint's own instruction lies in the code that is searched.
        session.ok("breakpoint set --name stores");
        session.ok("process launch --stdin /dev/null --stdout /dev/null");
        session.look_at_process();
        session.ok("breakpoint set --name tail_outside");
        let report = session.json("mp-scan xrefs library_step");
        assert_eq!(rows(&report), to_library_step(), "{options:?}");
        assert_eq!(report["target"]["kind"], "live");
        // Its addresses are those of instructions and pointers in the process.
        let found = addresses(&report);
        let names = format!("[target.ResolveLoadAddress(address).GetSymbol().GetName() for address in {found:?}]");
        let names = session.python(&format!("answer = {names}"));
        let functions: Vec<&Value> = results(&report).iter().map(|row| &row["function"]).collect();
        assert_eq!(names.as_array().expect("a list").iter().collect::<Vec<_>>(), functions, "{options:?}");
        // By register, and by range.
        let stores = [row("call", "main", Some(42), "program")];
        let here = session.json("mp-scan xrefs $pc");
        assert_eq!(rows(&here), stores);
        let here = session.python("answer = process.GetSelectedThread().GetFrameAtIndex(0).GetPC()").as_u64();
        let here = here.expect("an address");
        let within = session.json(&format!("mp-scan xrefs {here:#x}..{:#x}", here + 4));
        assert_eq!(rows(&within), stores);
        let by_name = session.json("mp-scan xrefs stores --kind call");
        assert_eq!(rows(&by_name), stores);
        session.ok("process kill");
        let mut other = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it runs");
        // It waits for a character.
        let waits =
            || std::fs::read_to_string(format!("/proc/{}/wchan", other.id())).is_ok_and(|text| text.contains("pipe"));
        until("the program to wait", Duration::from_secs(60), || waits().then_some(()));
        let core = gcore(other.id() as i32, session.folder());
        other.kill().expect("a child can be killed");
        other.wait().expect("a child can be waited for");
        let mut dead = Session::start();
        dead.open_core(Some(&program), &core);
        let from_core = dead.json("mp-scan xrefs library_step");
        assert_eq!(from_core["target"]["kind"], "core");
        assert_eq!(rows(&from_core), to_library_step(), "{options:?}");
    }
}

#[test]
fn a_kind_is_asked_for_alone() {
    let mut session = Session::start();
    let program = build(&session, &["-pie", "-fPIE"]);
    session.ok(&format!("target create {}", program.display()));
    for kind in ["call", "jump", "mention", "pointer"] {
        let report = session.json(&format!("mp-scan xrefs library_step --kind {kind}"));
        let mut expected = to_library_step();
        expected.retain(|row| row.0 == kind);
        assert_eq!(rows(&report), expected, "{kind}");
    }
    let jumps = session.json("mp-scan xrefs landing --kind jump");
    assert!(results(&jumps).len() >= 9, "{jumps}");
}

#[test]
fn a_variable_is_all_of_it_and_a_name_all_of_that_name() {
    let mut session = Session::start();
    let program = build(&session, &["-no-pie", "-fno-pie"]);
    session.ok(&format!("target create {}", program.display()));
    let all = session.json("mp-scan xrefs counter");
    let kinds: Vec<String> = rows(&all).into_iter().map(|row| format!("{} {}", row.0, row.1)).collect();
    assert_eq!(kinds, ["mention step", "mention stores", "mention stores", "mention stores", "pointer where"]);
    let one = session.json("mp-scan xrefs counter+12");
    assert_eq!(rows(&one).len(), 1, "{one}");
    // The program has a copy of the library's variable, which the library uses, too.
    let copied = session.json("mp-scan xrefs library_counter");
    let functions: Vec<String> = rows(&copied).into_iter().map(|row| row.1).collect();
    assert_eq!(functions, ["outside", "outside", "library_step", "library_hidden"]);
    assert!(copied["results"][0]["target"].as_str().expect("one of two").contains("library_counter at 0x"), "{copied}");
    let text = session.ok("mp-scan xrefs library_counter");
    assert!(text.contains("there are 2 of that name"), "{text}");
    let module = session.json("mp-scan xrefs 'liblibrary.so`library_counter'");
    assert!(module["results"][0]["target"].is_null(), "{module}");
}

/// Builds a library of `fixtures/xrefs_names.cpp`, which uses functions of nobody's.
fn build_names(session: &Session) -> PathBuf {
    let library = session.folder().join("libnames.so");
    let source = root().join("fixtures/xrefs_names.cpp");
    let options = ["-g", "-O1", "-fPIC", "-shared", "-o"];
    let status = Command::new("c++").args(options).arg(&library).arg(source).status();
    assert!(status.expect("c++ runs").success());
    library
}

#[test]
fn a_name_needs_no_more_than_a_user_writes() {
    let mut session = Session::start();
    let library = build_names(&session);
    session.ok(&format!("target create {}", library.display()));
    let mut callers = |name: &str| {
        let report = session.json(&format!("mp-scan xrefs '{name}' --kind call"));
        rows(&report).into_iter().map(|row| row.1).collect::<Vec<_>>()
    };
    for name in
        ["twice<int>", "int twice<int>(int)", "Box<int>::as<long>", "Box::as", "long Box<int>::as<long>() const"]
    {
        assert_eq!(callers(name), ["templates"], "{name}");
    }
    assert_eq!(callers("twice"), ["templates", "templates"]);
    for name in ["name_of", "name_of(int)", "name_of[abi:cxx11]", "_Z7name_ofB5cxx11i"] {
        assert_eq!(callers(name), ["tagged"], "{name}");
    }
    // What no module defines is in the tables by the names that linkers know.
    for name in ["outside::step(int)", "_ZN7outside4stepEi", "outside::step(double)", "_ZN7outside4stepEd"] {
        assert_eq!(callers(name), ["imports"], "{name}");
    }
    let both = session.json("mp-scan xrefs outside::step --kind call");
    let mut targets: Vec<&str> = results(&both).iter().filter_map(|row| row["target"].as_str()).collect();
    targets.sort_unstable();
    let expected = ["outside::step(double), which no module defines", "outside::step(int), which no module defines"];
    assert_eq!(targets, expected, "{both}");
    let error = session.fails("mp-scan xrefs 'twice<long>'");
    assert!(error.contains("no symbol 'twice<long>' in the "), "{error}");
    let error = session.fails("mp-scan xrefs 'outside::step(int)+4'");
    assert!(error.contains("is only used, not defined"), "{error}");
}

#[test]
fn a_variable_of_each_thread_is_found_where_its_offset_is_used() {
    let mut session = Session::start();
    let folder = session.folder().to_owned();
    let compile = |source: &str, output: &str, options: &[&str]| {
        let source = root().join("fixtures").join(source);
        let mut command = Command::new("cc");
        command.args(["-g", "-O1"]).arg(source).arg("-o").arg(folder.join(output)).arg("-L").arg(&folder);
        let run_path = format!("-Wl,-rpath,{}", folder.display());
        assert!(command.arg(run_path).args(options).status().expect("cc runs").success(), "{output}");
    };
    compile("xrefs_thread_library.c", "liblibrary.so", &["-fPIC", "-shared"]);
    compile("xrefs_thread.c", "program", &["-pie", "-fPIE", "-llibrary"]);
    session.ok(&format!("target create {}", folder.join("program").display()));
    let counter = session.json("mp-scan xrefs counter");
    let users: Vec<(String, Option<u64>)> = rows(&counter).into_iter().map(|row| (row.1, row.2)).collect();
    assert_eq!(users, [("next".to_owned(), Some(10)), ("next".to_owned(), Some(10))], "{counter}");
    let shared = session.json("mp-scan xrefs library_counter");
    let users: Vec<(String, String)> = rows(&shared).into_iter().map(|row| (row.1, row.3)).collect();
    let expected = [("outside", "program"), ("library_next", "liblibrary.so")];
    assert_eq!(users, expected.map(|(user, module)| (user.to_owned(), module.to_owned())), "{shared}");
    let text = session.ok("mp-scan xrefs library_own");
    assert!(text.contains("and then adds an offset, is not found"), "{text}");
}

/// Builds a program of two files in C++, each with a `helper` of its own and an overload of `shared`.
fn build_overloads(session: &Session) -> PathBuf {
    let folder = session.folder();
    let text = |own: &str, calls: &str| {
        format!(
            "namespace n {{ int shared(int); int shared(double); }} int other(int);\n\
             __attribute__((noinline, noclone)) static int helper(int number) {{ return number * 3 + 1; }}\n\
             {own}\n{calls}\n"
        )
    };
    let parts = [
        text(
            "__attribute__((noinline)) int n::shared(int number) { return helper(number) - 7; }",
            "int main(int count, char **) { return n::shared(count) + n::shared(count * 1.5) + other(count); }",
        ),
        text(
            "__attribute__((noinline)) int n::shared(double number) { return number > 3; }",
            "int other(int number) { return helper(number) + n::shared(number); }",
        ),
    ];
    let sources: Vec<PathBuf> = (0..).map(|number| folder.join(format!("overloads_{number}.cpp"))).take(2).collect();
    for (source, text) in sources.iter().zip(&parts) {
        std::fs::write(source, text).expect("a file can be written");
    }
    let program = folder.join("overloads");
    let status = Command::new("c++").args(["-g", "-O1", "-o"]).arg(&program).args(&sources).status();
    assert!(status.expect("c++ runs").success());
    program
}

#[test]
fn of_a_name_that_several_functions_have_all_are_meant_and_each_is_told_from_the_others() {
    let mut session = Session::start();
    let program = build_overloads(&session);
    session.ok(&format!("target create {}", program.display()));
    // Functions of one file each.
    let own = session.json("mp-scan xrefs helper --kind call");
    let callers: Vec<String> = rows(&own).into_iter().map(|row| row.1).collect();
    assert_eq!(callers, ["n::shared(int)", "other(int)"], "{own}");
    let targets: Vec<&str> = results(&own).iter().map(|row| row["target"].as_str().expect("one of two")).collect();
    assert!(targets.iter().all(|target| target.starts_with("helper(int) at 0x")), "{targets:?}");
    assert_ne!(targets[0], targets[1]);
    // Overloads: by their parameters as well.
    let both = session.json("mp-scan xrefs n::shared --kind call");
    let named = |row: &Value| {
        let target = row["target"].as_str().expect("one of two").split(" at ").next().unwrap_or_default().to_owned();
        (row["function"].as_str().unwrap_or_default().to_owned(), target)
    };
    let mut pairs: Vec<(String, String)> = results(&both).iter().map(named).collect();
    pairs.sort_unstable();
    let expected = [("main", "n::shared(double)"), ("main", "n::shared(int)"), ("other(int)", "n::shared(int)")];
    assert_eq!(pairs, expected.map(|(caller, target)| (caller.to_owned(), target.to_owned())), "{both}");
    let text = session.ok("mp-scan xrefs n::shared");
    assert!(text.contains("there are 2 of that name: n::shared("), "{text}");
    let one = session.json("mp-scan xrefs 'n::shared(double)' --kind call");
    assert_eq!(results(&one).len(), 1, "{one}");
    assert!(one["results"][0]["target"].is_null(), "{one}");
}

#[test]
fn what_a_limit_leaves_out_is_counted() {
    let mut session = Session::start();
    let program = build(&session, &["-pie", "-fPIE"]);
    session.ok(&format!("target create {}", program.display()));
    let report = session.json("mp-scan xrefs library_step --limit 2");
    assert_eq!((results(&report).len(), &report["total"]), (2, &7.into()));
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let mut session = Session::start();
    let program = build(&session, &["-pie", "-fPIE"]);
    let error = session.fails("mp-scan xrefs main");
    assert!(error.contains("no target: open a program"), "{error}");
    session.ok(&format!("target create {}", program.display()));
    let object = session.folder().join("arm.so");
    for (words, expected) in [
        ("nosuch", "no symbol 'nosuch' in the "),
        ("0x7", "0x7..0x8 is in no section of the one module"),
        ("main --kind near", "the kinds are call, jump, mention, pointer and any"),
        ("main --module nosuch", "no module 'nosuch' among the target's "),
        (
            "library_run --module program",
            "program only uses 'library_run', which liblibrary.so defines: name that module",
        ),
        ("0x20..0x10", "the range 0x20..0x10 is empty or backwards"),
        ("''", "the address is empty"),
    ] {
        let error = session.fails(&format!("mp-scan xrefs {words}"));
        assert!(error.contains(expected), "{words}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{words}: {error}");
    }
    // Another machine's code is not read, but its data is.
    other_machine(&object);
    session.ok(&format!("target create {}", object.display()));
    let error = session.fails("mp-scan xrefs step --kind call");
    assert!(error.contains("xrefs reads x86-64 code only; arm.so is for aarch64"), "{error}");
    let report = session.json("mp-scan xrefs step");
    assert_eq!(rows(&report), [row("pointer", "pointer", None, "arm.so")]);
}

/// A library for aarch64 with a pointer to a function.
fn other_machine(path: &Path) {
    let source = path.with_extension("s");
    let text = ".text\n.globl step\n.type step, %function\nstep: ret\n.size step, 4\n\
                .data\n.globl pointer\n.type pointer, %object\npointer: .quad step\n.size pointer, 8\n";
    std::fs::write(&source, text).expect("the folder can be written to");
    let words = ["--target=aarch64-linux-gnu", "-fuse-ld=lld-22", "-nostdlib", "-shared", "-o"];
    let status = Command::new("clang-22").args(words).args([path, &source]).status();
    assert!(status.expect("clang-22 is needed: scripts/setup --tests").success());
}

#[test]
fn a_search_ends_when_its_time_is_up() {
    let mut session = Session::start();
    session.ok("target create /usr/lib/x86_64-linux-gnu/libLLVM.so.22.1");
    // To so much that all of the code has to be decoded.
    let report = session.json("mp-scan xrefs 0x2000000..0x8000000 --timeout 0.05 --limit 1");
    assert_eq!((&report["truncated"], &report["stopped"]), (&true.into(), &"timeout".into()), "{}", report["stats"]);
}
