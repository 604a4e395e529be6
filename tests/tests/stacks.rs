//! `stacks`: broken stacks and such whose modules are missing, threads that come and go, and what is shown of them.

use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tests::backtrace::{Stacks, calls, pcs, reported, shown};
use tests::report::results;
use tests::{Debuggee, Session, Terminal, compile, gcore, root, scratch};

/// How long the prompt may take to come back: not a measure of speed, only of life.
const LIFE: Duration = Duration::from_secs(20);

/// The row of the thread that is at a place.
#[track_caller]
fn row_of<'a>(report: &'a Value, debuggee: &Debuggee, place: &str) -> &'a Value {
    let id = debuggee.truth.address("thread", place);
    let has = |row: &&Value| row["tids"].as_array().unwrap().contains(&id.into());
    results(report).iter().find(has).unwrap_or_else(|| panic!("{place} has a stack"))
}

fn functions(row: &Value) -> Vec<String> {
    calls(row).into_iter().map(|call| call.function).collect()
}

#[test]
fn a_broken_stack_is_known_up_to_where_it_breaks_and_others_are_whole() {
    let debuggee = Debuggee::start("stacks_broken.c", &[]);
    let core = gcore(debuggee.pid(), debuggee.folder());
    for live in [false, true] {
        let mut session = Session::start();
        match live {
            true => session.attach(&debuggee),
            false => session.open_core(Some(&debuggee.program), &core),
        }
        let report = session.json("mp-scan stacks");
        let ends = |place: &str| row_of(&report, &debuggee, place)["end"].as_str().unwrap_or_default().to_owned();
        for (place, function) in [("smashed", "smashed"), ("looping", "looping"), ("freed-code", "free_caller")] {
            let row = row_of(&report, &debuggee, place);
            let names = functions(row);
            assert!(names.iter().any(|name| name == function), "{place}: {names:?}");
            assert!(names.len() < 32, "{place}: {names:?}");
            assert!(!ends(place).is_empty() || row["by_debugger"] == true, "{place}: {row}");
        }
        let smashed = calls(row_of(&report, &debuggee, "smashed"));
        assert!(smashed.iter().all(|call| call.pc != 0x4141_4141_4141_4141), "{}", shown(&smashed));
        // The stack that is full is whole: the handler runs on another.
        let full = row_of(&report, &debuggee, "overflow");
        let names = functions(full);
        assert_eq!(ends("overflow"), "");
        assert!(names.iter().filter(|name| *name == "overflow").count() > 500, "{} calls", names.len());
        assert_eq!(names.iter().filter(|name| *name == "on_overflow").count(), 1);
        assert!(names.iter().any(|name| name == "overflowing") && names.iter().any(|name| name == "start"));
        // There is no call frame information for generated code: the debugger is asked, and if it knows more, that is said.
        let generated = row_of(&report, &debuggee, "generated-code");
        assert!(generated["by_debugger"] == true || !ends("generated-code").is_empty(), "{generated}");
        // Of code in a file that is no module it is said in which one, whether or not its caller is known.
        let mapped = row_of(&report, &debuggee, "mapped-code");
        let code = debuggee.truth.address("code", "mapped");
        let calls = calls(mapped);
        let in_file = calls.iter().find(|call| call.pc.wrapping_sub(code) < 4096);
        assert_eq!(in_file.map(|call| &*call.module), Some("truth.code"), "{}", shown(&calls));
        assert!(mapped["by_debugger"] == true || mapped["end"].is_string(), "{mapped}");
        assert!(session.ok("mp-scan stacks").contains("  truth.code\n"));
        // Both that are whole are one group.
        let whole = results(&report).iter().find(|row| functions(row).iter().any(|name| name == "whole")).unwrap();
        assert_eq!((&whole["count"], whole.get("end")), (&2.into(), None));
        assert_eq!(functions(whole).iter().filter(|name| *name == "start").count(), 1);
    }
}

/// The same program with all of it in a library, whose path is the second.
fn build_library(folder: &Path) -> (PathBuf, PathBuf) {
    let (program, library, main) = (folder.join("program"), folder.join("libplaces.so"), folder.join("main.cpp"));
    fs::write(
        &main,
        "int run_places(int, char **);\nint main(int count, char **words) { return run_places(count, words); }\n",
    )
    .unwrap();
    let mut compiler = Command::new("c++");
    compiler.args(["-g", "-O1", "-pthread", "-std=c++17", "-shared", "-fPIC", "-Dmain=run_places", "-o"]).arg(&library);
    let status = compiler.arg(root().join("fixtures/stacks.cpp")).status();
    assert!(status.expect("c++ is installed").success());
    let status = Command::new("c++").arg(&main).arg(&library).arg("-o").arg(&program).status();
    assert!(status.expect("c++ is installed").success());
    (program, library)
}

#[test]
fn a_module_without_a_file_is_unwound_by_what_is_in_memory() {
    let folder = scratch();
    let (program, library) = build_library(folder.path());
    let debuggee = Debuggee::start_program(program.clone(), &["threads=20", "running=0"]);
    let part = folder.path().join("part");
    fs::rename(gcore(debuggee.pid(), folder.path()), &part).unwrap();
    debuggee.dump_everything();
    let whole = gcore(debuggee.pid(), debuggee.folder());
    let stacks = |core: &Path| {
        let mut session = Session::start();
        session.open_core(Some(&program), core);
        session.json("mp-scan stacks --limit 1000")
    };
    let pcs_of =
        |stacks: &Stacks| -> BTreeMap<u64, Vec<u64>> { stacks.iter().map(|(id, calls)| (*id, pcs(calls))).collect() };
    let known = pcs_of(&reported(&stacks(&whole)));
    assert!(known.values().any(|pcs| pcs.len() > 8));
    fs::remove_file(&library).unwrap();
    // All of memory: its call frame information is in the core.
    let report = stacks(&whole);
    assert_eq!(pcs_of(&reported(&report)), known);
    assert!(results(&report).iter().all(|row| row.get("end").is_none() && row["by_debugger"] != true), "{report}");
    // Only what a core holds otherwise: it is not, and the stacks that get to it end there, and say so.
    let report = stacks(&part);
    let found = reported(&report);
    assert_eq!(found.len(), known.len());
    // Which file it was that they end in is known.
    let last = |row: &Value| calls(row).last().map(|call| call.module.clone());
    let ends: Vec<_> = results(&report).iter().filter(|row| row["end"].is_string()).map(last).collect();
    assert!(ends.iter().any(|module| module.as_deref() == Some("libplaces.so")), "{ends:?}");
    for row in results(&report) {
        let calls = calls(row);
        let id = row["tids"][0].as_u64().unwrap();
        let whole = pcs(&calls) == known[&id];
        assert!(whole || row["end"].is_string() || row["by_debugger"] == true, "{row}");
        assert_eq!(calls[0].pc, known[&id][0]);
    }
}

#[test]
fn a_core_file_without_its_files_tells_what_is_left() {
    let folder = scratch();
    let (program, library) = build_library(folder.path());
    let debuggee = Debuggee::start_program(program.clone(), &["threads=20", "running=0"]);
    let core = gcore(debuggee.pid(), folder.path());
    let mut session = Session::start();
    session.open_core(Some(&program), &core);
    let known = reported(&session.json("mp-scan stacks --limit 1000"));
    drop(session);
    for file in [&program, &library] {
        fs::remove_file(file).unwrap();
    }
    let mut session = Session::start();
    session.open_core(None, &core);
    let report = session.json("mp-scan stacks --limit 1000");
    let found = reported(&report);
    // All threads are there, each where it is; their calls are known as far as there are files.
    assert_eq!(found.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
    for (id, calls) in &found {
        assert_eq!(calls.first().map(|call| call.pc), known[id].first().map(|call| call.pc), "thread {id}");
    }
    let cut = results(&report).iter().filter(|row| row["end"].is_string() || row["by_debugger"] == true);
    assert!(cut.count() > 0, "{report}");
    assert!(session.json("mp-scan deadlocks")["results"].is_array());
}

#[test]
fn threads_come_and_go_while_it_is_attached() {
    let debuggee = Debuggee::start("stacks.cpp", &["threads=10", "spawners=4"]);
    let mut session = Session::start();
    session.attach_patiently(&debuggee);
    for _ in 0..5 {
        // It runs for a moment, in which threads end and others begin.
        session.python(
            "import os, signal, threading\n\
             stop = lambda: os.kill(process.GetProcessID(), signal.SIGSTOP)\n\
             threading.Timer(0.05, stop).start()\n\
             process.Continue()",
        );
        let report = session.json("mp-scan stacks --limit 1000");
        let count = session.python("answer = process.GetNumThreads()").as_u64().unwrap();
        let stacks = reported(&report);
        assert_eq!(stacks.len() as u64, count);
        let spawners = stacks.values().filter(|calls| calls.iter().any(|call| call.function.starts_with("spawn(")));
        assert_eq!(spawners.count(), 4);
        assert!(session.json("mp-scan deadlocks")["results"].is_array());
    }
}

#[test]
fn threads_that_come_and_go_are_no_trouble() {
    let debuggee = Debuggee::start("stacks.cpp", &["threads=10", "spawners=4"]);
    for _ in 0..5 {
        let mut session = Session::start();
        session.attach_patiently(&debuggee);
        let report = session.json("mp-scan stacks --limit 1000");
        let count = session.python("answer = process.GetNumThreads()").as_u64().unwrap();
        let stacks = reported(&report);
        assert_eq!(stacks.len() as u64, count);
        let spawners = stacks.values().filter(|calls| calls.iter().any(|call| call.function.starts_with("spawn(")));
        assert_eq!(spawners.count(), 4);
        session.ok("process detach");
    }
}

#[test]
fn what_is_shown_is_what_is_asked_for() {
    let debuggee = Debuggee::start("stacks.cpp", &["threads=92"]);
    let mut session = Session::start();
    session.attach(&debuggee);
    let all = session.json("mp-scan stacks --limit 1000");
    // By a function that stacks pass through.
    let matching = session.json("mp-scan stacks --match '^wait_(mutex|read)' --limit 1000");
    let through =
        |row: &&Value| functions(row).iter().any(|name| ["wait_mutex(int)", "wait_read(int)"].contains(&&**name));
    let expected: Vec<&Value> = results(&all).iter().filter(through).collect();
    assert_eq!(results(&matching).iter().collect::<Vec<_>>(), expected);
    assert_eq!(matching["total"], expected.len());
    // In which system call.
    let read = expected.iter().find(|row| functions(row).contains(&"wait_read(int)".to_owned())).unwrap();
    assert_eq!(read["states"], serde_json::json!({"read": 4}));
    let text = session.ok("mp-scan stacks --state --match wait_read");
    assert!(text.lines().next().unwrap().ends_with("read"), "{text}");
    // Deep stacks are cut in text, unless all is asked for.
    let deep = session.ok("mp-scan stacks --match wait_deep --limit 1");
    let every = session.ok("mp-scan stacks --match wait_deep --limit 1 --all-frames");
    assert!(every.lines().count() >= deep.lines().count(), "{deep}\n{every}");
    // The largest group is first; each thread is in one.
    let counts: Vec<u64> = results(&all).iter().map(|row| row["count"].as_u64().unwrap()).collect();
    assert!(counts.is_sorted_by(|left, right| left >= right));
    assert_eq!(counts.iter().sum::<u64>(), 94);
    // One tree: what starts threads is common to all but the first.
    let tree = session.json("mp-scan stacks --tree --limit 100000");
    let starts = |row: &&Value| row["function"] == "start(void*)" && row["count"] == 92;
    assert_eq!(results(&tree).iter().filter(starts).count(), 1, "{tree}");
    let ended: usize = results(&tree).iter().map(|row| row["threads"].as_array().unwrap().len()).sum();
    assert_eq!(ended, 94);
    assert!(session.ok("mp-scan stacks --tree").contains("start(void*)"));
    assert!(session.fails("mp-scan stacks --match '('").contains("--match"));
    // Whatever runs the tasks, the report is the same.
    for workers in [0, 1, 3] {
        let report = session.json(&format!("mp-scan stacks --limit 1000 --workers {workers}"));
        assert_eq!(report["results"], all["results"], "{workers} workers");
    }
    let program = compile("stacks.cpp");
    assert!(results(&all).iter().any(|row| row["frames"].as_array().unwrap().iter().any(|frame| {
        frame["module"] == program.to_str().unwrap() && frame["line"].is_u64() && frame["file"].is_string()
    })));
}

#[test]
fn ctrl_c_gives_the_prompt_back_while_no_worker_answers() {
    let debuggee = Debuggee::start("stacks.cpp", &["threads=46", "running=0"]);
    let mut terminal = Terminal::start();
    terminal.run(&format!("process attach --pid {}", debuggee.pid()));
    for (command, part) in [("stacks", "wait_read"), ("deadlocks", " threads wait for ")] {
        let line = format!("mp-scan {command} --workers 2");
        let whole = terminal.run(&line);
        assert!(whole.contains(part), "{whole}");
        let workers = terminal.workers();
        assert_eq!(workers.len(), 2);
        workers.iter().for_each(|worker| worker.signal(Signal::SIGSTOP));
        terminal.type_line(&line);
        // That it has begun is not seen from here; the key counts whenever it is pressed.
        std::thread::sleep(Duration::from_millis(500));
        terminal.interrupt(command, LIFE);
        let again = terminal.run(&line);
        assert!(again.contains(part), "{again}");
        workers.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    }
    terminal.run("process detach");
    terminal.quit();
}
