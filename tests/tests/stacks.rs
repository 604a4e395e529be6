//! `stacks` beside the debugger's own backtraces: processes and cores, whole stacks and broken ones.

use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::report::{number, results};
use tests::{Debuggee, Session, Terminal, compile, gcore, root, scratch, until};

/// How long the prompt may take to come back: not a measure of speed, only of life.
const LIFE: Duration = Duration::from_secs(20);

/// A call: where it is, whether it is inlined into the next, and its function's name.
type Call = (u64, bool, String);

/// The stacks of threads by their ids.
type Stacks = BTreeMap<u64, Vec<Call>>;

/// What LLDB says. A frame that it has made up for a tail call is not on the stack.
fn theirs(session: &mut Session) -> Stacks {
    let answer = session.python(
        "answer = {}\n\
         for thread in process:\n\
         \x20   frames = [frame for frame in thread if not frame.IsArtificial()]\n\
         \x20   answer[str(thread.GetThreadID())] = [\n\
         \x20       [frame.GetPC(), frame.IsInlined(), frame.GetFunctionName() or ''] for frame in frames]",
    );
    let call = |frame: &Value| {
        let name = frame[2].as_str().unwrap().to_owned();
        (frame[0].as_u64().unwrap(), frame[1] == true, name)
    };
    let stack = |frames: &Value| frames.as_array().unwrap().iter().map(call).collect();
    let threads = answer.as_object().unwrap().iter();
    threads.map(|(id, frames)| (id.parse().unwrap(), stack(frames))).collect()
}

fn calls(row: &Value) -> Vec<Call> {
    let call = |frame: &Value| {
        let name = frame["function"].as_str().unwrap_or_default().to_owned();
        (number(&frame["address"]), frame["inlined"] == true, name)
    };
    row["frames"].as_array().unwrap().iter().map(call).collect()
}

/// What the report says.
fn ours(report: &Value) -> Stacks {
    let rows = results(report).iter();
    let threads = rows.flat_map(|row| row["tids"].as_array().unwrap().iter().map(move |id| (id, row)));
    threads.map(|(id, row)| (id.as_u64().unwrap(), calls(row))).collect()
}

/// Where the calls are that are on the stack. Of a function into which others are inlined, LLDB says that it is where the inlined
/// code begins; that it is where the innermost of them is, its registers say.
fn pcs(calls: &[Call]) -> Vec<u64> {
    let is_last = |(_, inlined, _): &Call| !inlined;
    calls.split_inclusive(is_last).map(|functions| functions[0].0).collect()
}

fn shown(calls: &[Call]) -> String {
    let line = |(pc, inlined, name): &Call| format!("  {pc:#x} {name}{}\n", if *inlined { " (inlined)" } else { "" });
    calls.iter().map(line).collect()
}

/// A function's name without its parameters and the parameters of templates, of which one and the same is spelt in several ways.
/// Of names that libc has for one function, `__read`, `__GI___libc_read` and `read`, the debugger and we may choose different
/// ones. A lambda has no name. LLDB shows the
/// hash at the end of Rust's older symbols.
fn plain(name: &str) -> String {
    let name = name.split(['(', '<', '@']).next().unwrap_or_default();
    let is_hash = |part: &str| part.len() == 17 && part.starts_with('h');
    let mut parts = name.rsplit("::").skip_while(|part| is_hash(part));
    let name = parts.next().unwrap_or_default();
    name.trim_start_matches("__GI_").trim_start_matches('_').trim_start_matches("libc_").to_owned()
}

/// Asserts that the report has the frames of every thread that LLDB has, and their functions' names, where `named` says of a name
/// that it is to be compared.
#[track_caller]
fn assert_same(session: &mut Session, what: &str, named: impl Fn(&str) -> bool) -> Value {
    let report = session.json("mp-scan stacks --limit 100000");
    let (ours, theirs) = (ours(&report), theirs(session));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{what}: the threads");
    let mut compared = 0;
    for (id, stack) in &theirs {
        let both = || format!("{what}, thread {id}: ours\n{}LLDB's\n{}", shown(&ours[id]), shown(stack));
        assert_eq!(pcs(&ours[id]), pcs(stack), "{}", both());
        let outer = |calls: &[Call]| -> Vec<String> {
            let outer = calls.iter().filter(|(_, inlined, _)| !inlined);
            outer.map(|(.., name)| name.clone()).collect()
        };
        for (our_name, their_name) in outer(&ours[id]).iter().zip(&outer(stack)) {
            if named(their_name) {
                assert_eq!(plain(our_name), plain(their_name), "{}", both());
                compared += 1;
            }
        }
    }
    assert!(compared >= theirs.len(), "{what}: {compared} names");
    report
}

/// Functions of the fixtures, which begin with no underscore, and that are no part of a library.
fn is_own(name: &str) -> bool {
    !name.starts_with('_')
        && name != "operator()"
        && !name.contains("std::")
        && !name.contains("lambda")
        && !name.contains(['$', '{'])
}

/// Compiles `fixtures/stacks.cpp` in a folder.
fn build(folder: &Path, options: &[&str]) -> PathBuf {
    let program = folder.join("stacks");
    let mut compiler = Command::new("c++");
    compiler.args(["-g", "-pthread", "-std=c++17"]).args(options).arg("-o").arg(&program);
    let status = compiler.arg(root().join("fixtures/stacks.cpp")).status();
    assert!(status.expect("c++ is installed").success());
    program
}

/// Compares the stacks of a process, and of its core.
fn compare(debuggee: &Debuggee, program: &Path, what: &str) {
    let core = gcore(debuggee.pid(), debuggee.folder());
    let mut session = Session::start();
    session.open_core(Some(program), &core);
    let report = assert_same(&mut session, &format!("{what}, core"), is_own);
    assert_eq!(report["target"]["kind"], "core");
    drop(session);
    let mut session = Session::start();
    session.attach(debuggee);
    let report = assert_same(&mut session, &format!("{what}, live"), is_own);
    assert_eq!(report["target"]["kind"], "live");
    let all = results(&report).iter().map(|row| row["count"].as_u64().unwrap()).sum::<u64>();
    assert!(results(&report).len() as u64 * 3 < all, "threads are grouped: {} of {all}", results(&report).len());
}

#[test]
fn two_thousand_threads_have_the_frames_that_the_debugger_shows() {
    for options in [&["-O0"][..], &["-O2"]] {
        let folder = scratch();
        let program = build(folder.path(), options);
        let debuggee = Debuggee::start_program(program.clone(), &["threads=2001"]);
        compare(&debuggee, &program, &options.join(" "));
    }
}

#[test]
fn threads_of_rust_have_the_frames_that_the_debugger_shows() {
    let debuggee = Debuggee::start("stacks.rs", &["66"]);
    compare(&debuggee, &debuggee.program, "Rust");
}

/// A server of Debian's, in a folder of its own. It ends with this value.
struct Server {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = scratch();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("key"), [7; 64]).unwrap();
        let status = Command::new("chmod").arg("600").arg(at("key")).status();
        assert!(status.is_ok_and(|status| status.success()));
        let option = |name: &str, file: &str| format!("--{name}={}", at(file).display());
        let child = Command::new("/usr/sbin/munged")
            .args(["--foreground", "--force", "--num-threads=8"])
            .args([option("key-file", "key"), option("log-file", "log"), option("socket", "socket")])
            .args([option("pid-file", "pid"), option("seed-file", "seed")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("munge is installed");
        let mut server = Self { child, _folder: folder };
        let tasks = format!("/proc/{}/task", server.child.id());
        until("the server's threads", Duration::from_secs(60), || {
            assert!(server.child.try_wait().unwrap().is_none(), "the server has ended");
            (fs::read_dir(&tasks).map_or(0, Iterator::count) >= 9).then_some(())
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stripped_server_has_the_frames_that_the_debugger_shows() {
    let server = Server::start();
    let folder = scratch();
    let core = gcore(server.child.id() as i32, folder.path());
    // Where there are no symbols, the debugger makes names up.
    let named = |name: &str| !name.is_empty() && !name.starts_with("___lldb");
    let mut session = Session::start();
    session.open_core(Some(Path::new("/usr/sbin/munged")), &core);
    assert_same(&mut session, "core", named);
    drop(session);
    let mut session = Session::start();
    session.ok(&format!("process attach --pid {}", server.child.id()));
    session.look_at_process();
    assert_same(&mut session, "live", named);
}

/// The row of the thread that is at a place.
#[track_caller]
fn row_of<'a>(report: &'a Value, debuggee: &Debuggee, place: &str) -> &'a Value {
    let id = debuggee.truth.address("thread", place);
    let has = |row: &&Value| row["tids"].as_array().unwrap().contains(&id.into());
    results(report).iter().find(has).unwrap_or_else(|| panic!("{place} has a stack"))
}

fn functions(row: &Value) -> Vec<String> {
    calls(row).into_iter().map(|(.., name)| name).collect()
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
        assert!(smashed.iter().all(|(pc, ..)| *pc != 0x4141_4141_4141_4141), "{}", shown(&smashed));
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
    let known = pcs_of(&ours(&stacks(&whole)));
    assert!(known.values().any(|pcs| pcs.len() > 8));
    fs::remove_file(&library).unwrap();
    // All of memory: its call frame information is in the core.
    let report = stacks(&whole);
    assert_eq!(pcs_of(&ours(&report)), known);
    assert!(results(&report).iter().all(|row| row.get("end").is_none() && row["by_debugger"] != true), "{report}");
    // Only what a core holds otherwise: it is not, and the stacks that get to it end there, and say so.
    let report = stacks(&part);
    let found = ours(&report);
    assert_eq!(found.len(), known.len());
    for row in results(&report) {
        let calls = calls(row);
        let id = row["tids"][0].as_u64().unwrap();
        let whole = pcs(&calls) == known[&id];
        assert!(whole || row["end"].is_string() || row["by_debugger"] == true, "{row}");
        assert_eq!(calls[0].0, known[&id][0]);
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
    let known = ours(&session.json("mp-scan stacks --limit 1000"));
    drop(session);
    for file in [&program, &library] {
        fs::remove_file(file).unwrap();
    }
    let mut session = Session::start();
    session.open_core(None, &core);
    let report = session.json("mp-scan stacks --limit 1000");
    let found = ours(&report);
    // All threads are there, each where it is; their calls are known as far as there are files.
    assert_eq!(found.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
    for (id, calls) in &found {
        assert_eq!(calls.first().map(|call| call.0), known[id].first().map(|call| call.0), "thread {id}");
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
        let stacks = ours(&report);
        assert_eq!(stacks.len() as u64, count);
        let spawners = stacks.values().filter(|calls| calls.iter().any(|(.., name)| name.starts_with("spawn(")));
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
        let stacks = ours(&report);
        assert_eq!(stacks.len() as u64, count);
        let spawners = stacks.values().filter(|calls| calls.iter().any(|(.., name)| name.starts_with("spawn(")));
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
    let whole = terminal.run("mp-scan stacks --workers 2");
    assert!(whole.contains("wait_read"), "{whole}");
    let workers = terminal.workers();
    assert_eq!(workers.len(), 2);
    workers.iter().for_each(|worker| worker.signal(Signal::SIGSTOP));
    terminal.type_line("mp-scan stacks --workers 2");
    // That it has begun is not seen from here; the key counts whenever it is pressed.
    std::thread::sleep(Duration::from_millis(500));
    terminal.interrupt("stacks", LIFE);
    let again = terminal.run("mp-scan stacks --workers 2");
    assert!(again.contains("wait_read"), "{again}");
    workers.iter().for_each(|worker| worker.signal(Signal::SIGCONT));
    terminal.run("process detach");
    terminal.quit();
}
