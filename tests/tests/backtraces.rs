//! `stacks` beside the debugger's own backtraces: of every thread of processes and cores the frames, the functions that are inlined
//! there, their names, files and lines, and which threads have the same. What differs is explained here, one by one.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::backtrace::{Call, Stacks, debuggers, frames, functions, pcs, reported, shown};
use tests::report::results;
use tests::{Debuggee, Session, gcore, root, scratch, until};

/// Whether the debugger calls a function as we do, or why it has another name for the same one.
fn is_same_name(ours: &Call, theirs: &Call) -> bool {
    let (our_name, their_name) = (&*ours.function, &*theirs.function);
    if their_name.starts_with("___lldb_unnamed_symbol") {
        // Where there is no symbol, LLDB makes a name up; we have none.
        return our_name.is_empty();
    }
    if theirs.is_stub {
        // LLDB calls a stub of the procedure linkage table as the function that it leads to.
        return our_name.strip_suffix("@plt") == Some(their_name);
    }
    if our_name.is_empty() || their_name.is_empty() {
        return our_name == their_name;
    }
    // libc has several names for a function, of which LLDB and we choose different ones: __read, __GI___libc_read and read.
    let is_alias = |name: &str| theirs.aliases.iter().any(|alias| alias == name);
    // A part of a function that GCC has put elsewhere has a symbol of its own, which we show; LLDB shows the function's name.
    let whole = our_name.split([' ', '.']).next().unwrap_or_default();
    let is_part = (our_name.contains(" [clone .") || our_name.contains('.')) && own_name(their_name) == own_name(whole);
    our_name == their_name
        || is_alias(our_name) && is_alias(their_name)
        || is_part
        // LLDB does not read the names of Rust, whose escapes and hash it shows.
        || rust(their_name).is_some_and(|name| name == our_name)
        // LLDB calls a lambda's function by no more than its own name.
        || their_name == "operator()" && without_lambdas(our_name).contains("lambda::operator()")
        || own_name(our_name) == own_name(their_name)
}

/// The older names of Rust's symbols as they are meant: LLDB shows `_$LT$a..B$u20$as$u20$c..D$GT$::f::h0123456789abcdef`.
fn rust(name: &str) -> Option<String> {
    let (name, hash) = name.rsplit_once("::h")?;
    if hash.len() != 16 || !hash.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let parts =
        name.split("::").map(|part| part.strip_prefix('_').filter(|rest| rest.starts_with('$')).unwrap_or(part));
    let mut name = parts.collect::<Vec<_>>().join("::");
    let escapes = [
        ("$LT$", "<"),
        ("$GT$", ">"),
        ("$LP$", "("),
        ("$RP$", ")"),
        ("$RF$", "&"),
        ("$BP$", "*"),
        ("$C$", ","),
        ("$u20$", " "),
        ("$u7b$", "{"),
        ("$u7d$", "}"),
        ("..", "::"),
    ];
    escapes.iter().for_each(|(escape, meant)| name = name.replace(escape, meant));
    Some(name)
}

/// A C++ name in which lambdas are called so. They have no names, which is spelt `{lambda(int)#1}` and `<lambda(int)>`.
fn without_lambdas(name: &str) -> String {
    let mut name = name.to_owned();
    for (begin, end) in [("{lambda(", '}'), ("<lambda(", '>')] {
        while let Some(start) = name.find(begin) {
            let length = name[start + 1..].find(end).unwrap_or_else(|| panic!("{name} is cut off"));
            name.replace_range(start..start + length + 2, "lambda");
        }
    }
    name
}

/// A C++ name without what it returns and its parameters: LLDB takes those from the debug information, where they may be called by
/// other names and are in another order (`const void *` for `void const*`), and puts spaces elsewhere.
fn own_name(name: &str) -> String {
    let name =
        without_lambdas(name).replace("(anonymous namespace)", "anonymous").replace("operator()", "operator-call");
    let (mut depth, mut start, mut end) = (0_usize, 0, name.len());
    for (at, letter) in name.char_indices() {
        match letter {
            '<' | '(' if depth == 0 && letter == '(' => {
                end = at;
                break;
            }
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => start = at + 1,
            _ => {}
        }
    }
    name[start..end].replace(' ', "").trim_start_matches("::").to_owned()
}

/// A path as LLDB shows it: without the `.` and `..` of the compiler's folder and name, which we show as they are written.
fn lexical(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            (".", _) => {}
            ("..", Some(last)) if !["", ".."].contains(last) => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Asserts that a thread has the stack that LLDB shows. Returns how many names and lines were compared.
#[track_caller]
fn assert_same_stack(what: &str, ours: &[Call], theirs: &[Call]) -> (usize, usize) {
    let both = || format!("{what}: ours\n{}LLDB's\n{}", shown(ours), shown(theirs));
    assert_eq!(pcs(ours), pcs(theirs), "{}", both());
    let inlined = |calls: &[Call]| calls.iter().map(|call| call.inlined).collect::<Vec<_>>();
    assert_eq!(inlined(ours), inlined(theirs), "{}", both());
    let (mut names, mut lines) = (0, 0);
    for (our_call, their_call) in ours.iter().zip(theirs) {
        assert!(is_same_name(our_call, their_call), "{our_call} is not {their_call}\n{}", both());
        assert_eq!((lexical(&our_call.file), our_call.line), (their_call.file.clone(), their_call.line), "{}", both());
        assert_eq!(our_call.module, their_call.module, "{}", both());
        names += usize::from(!our_call.function.is_empty());
        lines += usize::from(our_call.line > 0);
    }
    (names, lines)
}

/// Which threads are together.
type Partition = BTreeSet<BTreeSet<u64>>;

fn partition<K: Ord>(stacks: &Stacks, key: impl Fn(&[Call]) -> K) -> Partition {
    let mut groups: BTreeMap<K, BTreeSet<u64>> = BTreeMap::new();
    for (id, calls) in stacks {
        groups.entry(key(calls)).or_default().insert(*id);
    }
    groups.into_values().collect()
}

/// Asserts that all threads have the stacks that LLDB shows, and that those with the same are together.
#[track_caller]
fn assert_same(session: &mut Session, what: &str) -> Value {
    let report = session.json("mp-scan stacks --limit 100000");
    let (ours, theirs) = (reported(&report), debuggers(session));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{what}: the threads");
    let (mut names, mut lines) = (0, 0);
    for (id, stack) in &theirs {
        let compared = assert_same_stack(&format!("{what}, thread {id}"), &ours[id], stack);
        (names, lines) = (names + compared.0, lines + compared.1);
    }
    assert!(names >= 2 * theirs.len(), "{what}: {names} names of {} threads", theirs.len());
    assert!(lines >= theirs.len(), "{what}: {lines} lines of {} threads", theirs.len());
    let ids = |row: &Value| row["tids"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    let groups: Partition = results(&report).iter().map(ids).collect();
    assert_eq!(groups, partition(&theirs, pcs), "{what}: who has the same stack");
    eprintln!("{what}: {} threads, {} stacks, {names} names, {lines} lines", theirs.len(), groups.len());
    report
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

/// A debugger that reads the debug information of the system's libraries, where it is installed, as we do.
fn start_session() -> Session {
    let mut session = Session::with_environment([("DEBUGINFOD_URLS", "")]);
    session.ok("settings set symbols.enable-external-lookup true");
    session
}

/// Compares the stacks of a process, and of its core.
fn compare(debuggee: &Debuggee, program: &Path, what: &str) {
    let core = gcore(debuggee.pid(), debuggee.folder());
    let mut session = start_session();
    session.open_core(Some(program), &core);
    let report = assert_same(&mut session, &format!("{what}, core"));
    assert_eq!(report["target"]["kind"], "core");
    drop(session);
    let mut session = start_session();
    session.attach(debuggee);
    let report = assert_same(&mut session, &format!("{what}, live"));
    assert_eq!(report["target"]["kind"], "live");
    let all = results(&report).iter().map(|row| row["count"].as_u64().unwrap()).sum::<u64>();
    assert!(results(&report).len() as u64 * 3 < all, "threads are grouped: {} of {all}", results(&report).len());
}

#[test]
fn two_thousand_threads_have_the_stacks_that_the_debugger_shows() {
    for options in [&["-O0"][..], &["-O2"]] {
        let folder = scratch();
        let program = build(folder.path(), options);
        let debuggee = Debuggee::start_program(program.clone(), &["threads=2001"]);
        compare(&debuggee, &program, &options.join(" "));
    }
}

#[test]
fn threads_of_rust_have_the_stacks_that_the_debugger_shows() {
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
fn a_stripped_server_has_the_stacks_that_the_debugger_shows() {
    let server = Server::start();
    let folder = scratch();
    let core = gcore(server.child.id() as i32, folder.path());
    let mut session = start_session();
    session.open_core(Some(Path::new("/usr/sbin/munged")), &core);
    assert_same(&mut session, "a stripped server, core");
    drop(session);
    let mut session = start_session();
    session.ok(&format!("process attach --pid {}", server.child.id()));
    session.look_at_process();
    assert_same(&mut session, "a stripped server, live");
}

/// What a thread of `fixtures/stacks_steps.c` has called, from the signal's handler on, up to what has started it.
fn interrupted(calls: &[Call]) -> Vec<&str> {
    let all = functions(calls);
    let handler = all.iter().position(|name| *name == "on_step");
    // Behind the handler is what it returns to.
    let calls = handler.map_or(&all[..], |handler| &all[handler + 2..]);
    calls.iter().copied().take_while(|name| *name != "start_thread").collect()
}

/// Where LLDB is wrong: behind a signal's handler it takes a frame for one that is set up, so that at the beginning and at the end of a
/// function the frame pointer is still a caller's, and callers are passed over. Returns whether it is so.
fn passes_over(ours: &[u64], theirs: &[u64], interrupted: usize) -> bool {
    let kept = ours.get(..=interrupted).is_some_and(|inner| theirs.starts_with(inner));
    kept && theirs.len() < ours.len() && ours.ends_with(&theirs[interrupted + 1..])
}

/// The functions that a call of `fixtures/stacks_steps.c` enters, the innermost first.
fn called_by(call: &str) -> &'static [&'static str] {
    match call {
        "leaf" => &["leaf", "call_leaf"],
        "with-rules" => &["with_rules_inner", "with_rules", "call_with_rules"],
        "without-rules" => &["without_rules", "call_without_rules"],
        "unbound" => &["call_unbound"],
        "bound" => &["gnu_get_libc_version", "call_bound"],
        "vdso" => &["__vdso_clock_gettime", "clock_gettime", "call_vdso"],
        other => panic!("what does {other} call?"),
    }
}

/// Compares the threads of `fixtures/stacks_steps.c`, each of which was interrupted after so many instructions of a call.
#[track_caller]
fn compare_steps(session: &mut Session, debuggee: &Debuggee, what: &str) {
    let report = session.json("mp-scan stacks --limit 100000");
    let (ours, theirs) = (reported(&report), debuggers(session));
    let by_debugger = |id: &u64| {
        let has = |row: &&Value| row["tids"].as_array().unwrap().contains(&(*id).into());
        results(&report).iter().find(has).is_some_and(|row| row["by_debugger"] == true)
    };
    let (mut passed_over, mut asked) = (0, 0);
    let (mut seen, mut stubs) = (BTreeMap::<&str, BTreeSet<String>>::new(), BTreeSet::new());
    for (label, id) in debuggee.truth.of_kind("thread") {
        let what = format!("{what}, {label}");
        let (stack, shown_by_lldb) = (&ours[&id], &theirs[&id]);
        let (call, steps) = label.rsplit_once('-').unwrap();
        let names = interrupted(stack);
        let own = || format!("{what}:\n{}", shown(stack));
        if steps == "over" {
            assert_same_stack(&what, stack, shown_by_lldb);
            assert_eq!(names[names.len() - 2..], ["wait_for_ever", "start"], "{}", own());
            continue;
        }
        if shown_by_lldb.iter().any(|call| call.is_stub) {
            stubs.insert(call);
        }
        seen.entry(call).or_default().insert(names[0].to_owned());
        // The truth: what has been called, from the innermost of it that has been entered on. In front of that is what has no such name:
        // stubs, the dynamic linker, and what is inlined there.
        let called = [called_by(call), &["step", "start"]].concat();
        let known: Vec<&str> = names.iter().copied().skip_while(|name| !called.contains(name)).collect();
        if by_debugger(&id) {
            // There are no rules for this code, so the debugger's word is taken, and said to be so, which may pass over a caller.
            assert!(known[0] == "without_rules" && known.ends_with(&["step", "start"]), "{}", own());
            asked += 1;
        } else {
            assert!(called.ends_with(&known) && known.len() >= 2, "{}", own());
        }
        let (our_pcs, their_pcs) = (pcs(stack), pcs(shown_by_lldb));
        if our_pcs == their_pcs {
            assert_same_stack(&what, stack, shown_by_lldb);
            continue;
        }
        let handler = frames(stack).iter().position(|frame| frame[0].function == "on_step").unwrap();
        assert!(
            passes_over(&our_pcs, &their_pcs, handler + 2),
            "{what}: ours\n{}LLDB's\n{}",
            shown(stack),
            shown(shown_by_lldb)
        );
        passed_over += 1;
    }
    eprintln!("{what}: LLDB passes over callers of {passed_over} threads, and was asked about {asked}; {seen:?}");
    assert!(passed_over > 0 && asked > 0, "{what}");
    // What each call led through.
    let leads_to = |call: &str, part: &str| seen[call].iter().any(|name| name.contains(part));
    for (call, part) in [
        ("leaf", "leaf"),
        ("with-rules", "with_rules_inner"),
        ("without-rules", "without_rules"),
        ("unbound", "_dl_runtime_resolve"),
        ("bound", "gnu_get_libc_version"),
        ("vdso", "__vdso_clock_gettime"),
    ] {
        assert!(leads_to(call, part), "{call} does not lead to {part}: {:?}", seen[call]);
    }
    assert_eq!(stubs, ["bound", "unbound", "vdso"].into());
}

#[test]
fn threads_that_are_interrupted_at_each_instruction_have_their_stacks() {
    let debuggee = Debuggee::start("stacks_steps.c", &[]);
    let core = gcore(debuggee.pid(), debuggee.folder());
    let mut session = start_session();
    session.open_core(Some(&debuggee.program), &core);
    compare_steps(&mut session, &debuggee, "core");
    drop(session);
    let mut session = start_session();
    session.attach(&debuggee);
    compare_steps(&mut session, &debuggee, "live");
}
