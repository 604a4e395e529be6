//! Ends and changes in mid-scan: of the debugger, of the process, of what is debugged.

use serde_json::{Value, json};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::report::{addresses, assert_finds, find_needles, results};
use tests::{Debuggee, Product, Session, Terminal, Truth, compile, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A search of the launched process that takes one worker seconds: this regex has no literal to look for.
const SLOW: &str = r"mp-scan find --regex '[a-m][n-z]{2}[0-9]' --workers 1";

/// Memory that `SLOW` takes seconds to search.
const LARGE: &[&str] = &["mapped=3072", "fill=41", "needles=no"];

/// A session with a background job that is at work on a large process.
fn at_work(session: &mut Session, then: &str) {
    session.launch("memory.c", &[LARGE, &[&format!("then={then}")]].concat());
    start_job(session);
}

/// Starts a background job and waits until it is at work.
fn start_job(session: &mut Session) {
    session.ok(&format!("{SLOW} --background"));
    until("the job's progress", PATIENCE, || {
        let list = session.json("mp-scan jobs list");
        (results(&list)[0]["progress"].as_u64() > Some(0)).then_some(())
    });
}

/// The report of the job that was at work, which must end within two seconds, or is cancelled after.
fn end_of_job(session: &mut Session) -> Value {
    session.ok("mp-scan jobs wait 1");
    session.json("mp-scan jobs show 1")
}

fn assert_cut_short(report: &Value) {
    assert_eq!((&report["truncated"], &report["stopped"]), (&json!(true), &json!("target gone")), "{report}");
}

#[test]
fn a_killed_debugger_takes_its_workers_with_it() {
    let mut session = Session::start();
    at_work(&mut session, "wait");
    assert_eq!(session.workers().len(), 1);
    // `kill` checks that within a second nothing is left.
    session.kill();
}

#[test]
fn a_killed_debugger_takes_idle_workers_with_it() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    session.json("mp-scan find --string x --workers 2");
    assert_eq!(session.workers().len(), 2);
    session.kill();
}

#[test]
fn a_host_that_quits_with_a_job_running_quits() {
    let mut session = Session::start();
    at_work(&mut session, "wait");
    session.quit();
}

#[test]
fn quit_at_the_prompt_with_a_job_running() {
    let mut terminal = Terminal::start();
    let folder = tests::scratch();
    terminal.run(&format!("target create {}", compile("memory.c").display()));
    terminal.run("breakpoint set --name ready");
    terminal.type_line(&format!("process launch -- {}/truth mapped=3072 fill=41", folder.path().display()));
    terminal.expect("stop reason = breakpoint");
    terminal.expect("(lldb) ");
    terminal.run("settings set auto-confirm true");
    let printed = terminal.run(&format!("{SLOW} --background"));
    assert!(printed.contains("job 1"), "{printed}");
    terminal.quit();
}

#[test]
fn a_debugger_is_destroyed_with_a_job_running() {
    let mut session = Session::start();
    at_work(&mut session, "wait");
    session.python("lldb.SBDebugger.Destroy(debuggers.pop()); new_debugger()");
    // The host lives, and so does the plugin in a debugger that comes after.
    session.ok(&Product::built().load());
    let truth = session.launch("needles.c", &["16"]);
    let report = session.json(&find_needles());
    assert_finds(&report, &truth, &truth.addresses("needle"));
}

#[test]
fn the_process_is_killed_during_a_job() {
    let mut session = Session::start();
    at_work(&mut session, "wait");
    session.ok("process kill");
    assert_cut_short(&end_of_job(&mut session));
}

#[test]
fn the_process_is_killed_during_a_relayed_job() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    at_work(&mut session, "wait");
    session.ok("process kill");
    assert_cut_short(&end_of_job(&mut session));
}

#[test]
fn the_process_exits_during_a_job() {
    let mut session = Session::start();
    at_work(&mut session, "exit");
    session.ok("process continue");
    assert_cut_short(&end_of_job(&mut session));
}

#[test]
fn the_process_is_continued_during_a_job() {
    let mut session = Session::start();
    at_work(&mut session, "run");
    session.python("debugger.SetAsync(True)");
    session.ok("process continue");
    let report = end_of_job(&mut session);
    assert_eq!(report["target"]["ran"], true);
    assert_eq!(report["truncated"], false);
}

#[test]
fn the_process_is_continued_during_a_relayed_job() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    at_work(&mut session, "run");
    session.python("debugger.SetAsync(True)");
    session.ok("process continue");
    // What cannot be read while it runs is not made up: it is skipped, or the job ends early.
    let report = end_of_job(&mut session);
    let lost = report["skipped"].as_array().is_some_and(|skipped| !skipped.is_empty());
    assert!(report["truncated"] == true || lost, "{}", report["stats"]);
}

#[test]
fn the_process_runs_another_program_during_a_job() {
    let mut session = Session::start();
    at_work(&mut session, "exec");
    session.ok("process continue");
    assert_cut_short(&end_of_job(&mut session));
    // The new program is searched as any other: it has a needle near its start.
    session.ok("breakpoint set --name ready");
    session.ok("process continue");
    session.look_at_process();
    assert_eq!(results(&session.json(&find_needles())).len(), 3);
}

#[test]
fn the_process_is_detached_from_during_a_job() {
    let debuggee = Debuggee::start("memory.c", LARGE);
    let mut session = Session::start();
    session.attach(&debuggee);
    start_job(&mut session);
    session.ok("process detach");
    // Its end may be noticed or not, but not that it was left to run: nobody may take the report for one of a stop.
    let report = end_of_job(&mut session);
    assert!(report["stopped"] == "target gone" || report["target"]["ran"] == true, "{}", report["target"]);
    assert!(debuggee.process().is_alive());
}

#[test]
fn the_selected_target_is_the_one_that_is_searched() {
    let mut session = Session::start();
    let first = session.launch("needles.c", &["16"]);
    let second = session.launch("memory.c", &["mapped=16"]);
    assert_finds(&session.json(&find_needles()), &second, &second.addresses("needle"));
    session.ok("target select 0");
    assert_finds(&session.json(&find_needles()), &first, &first.addresses("needle"));
    session.ok("target select 1");
    assert_finds(&session.json(&find_needles()), &second, &second.addresses("needle"));
}

#[test]
fn two_debuggers_in_one_host() {
    let mut session = Session::start();
    let first = session.launch("needles.c", &["16"]);
    session.python("new_debugger()");
    let folder = tests::scratch();
    let truth = folder.path().join("truth");
    for line in [
        Product::built().load(),
        format!("target create {}", compile("memory.c").display()),
        "breakpoint set --name ready".to_owned(),
        format!("process launch -- {} mapped=16", truth.display()),
    ] {
        let pending = session.send_to(1, &line);
        let answer = session.wait(pending);
        assert!(answer.ok, "{line}: {}", answer.error);
    }
    let second = Truth::read(&truth);
    for _ in 0..2 {
        assert_finds(&session.json(&find_needles()), &first, &first.addresses("needle"));
        let pending = session.send_to(1, &format!("{} --format json", find_needles()));
        let answer = session.wait(pending);
        let report = serde_json::from_str(&answer.output).expect("it is JSON");
        assert_finds(&report, &second, &second.addresses("needle"));
    }
    // The second is gone before the first.
    session.python("lldb.SBDebugger.Destroy(debuggers.pop())");
    assert_finds(&session.json(&find_needles()), &first, &first.addresses("needle"));
}

#[test]
fn loading_twice_is_harmless() {
    let mut session = Session::start();
    session.run(&Product::built().load());
    let truth = session.launch("values.c", &[]);
    let report = session.json("mp-scan find --bytes dead??ef --in anonymous");
    assert_eq!(addresses(&report), [truth.address("value", "masked"), truth.address("value", "masked-too")]);
}

/// A server for remote debugging on this machine, with a process that it has launched. It ends with this value.
struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// `command` is what the server's command line is appended to.
    fn start(mut command: Command, arguments: &[&str]) -> Self {
        let folder = tests::scratch();
        let port = free_port();
        let child = command
            .args(["lldb-server-22", "gdbserver", &format!("127.0.0.1:{port}"), "--"])
            .arg(compile("memory.c"))
            .arg(folder.path().join("truth"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a server can be started");
        Self { child, port, folder }
    }

    /// Connects the session to it, and goes on to where the process's memory is as it says.
    fn connect(&self, session: &mut Session) -> Truth {
        session.ok(&format!("target create {}", compile("memory.c").display()));
        session.ok("breakpoint set --name ready");
        until("a connection to the server", PATIENCE, || {
            session.run(&format!("gdb-remote 127.0.0.1:{}", self.port)).ok.then_some(())
        });
        session.ok("process continue");
        Truth::read(&self.folder.path().join("truth"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

#[test]
fn a_process_behind_a_server_is_searched() {
    let server = Server::start(Command::new("env"), &["mapped=16"]);
    let mut session = Session::start();
    let truth = server.connect(&mut session);
    let report = session.json(&find_needles());
    assert_finds(&report, &truth, &truth.addresses("needle"));
    session.ok("process kill");
}

#[test]
fn a_process_elsewhere_is_not_taken_for_one_here_with_its_pid() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("left out: only root may choose the pids of a namespace");
        return;
    }
    let decoy = Debuggee::start_at_fixed_addresses("memory.c", &["mapped=16", "fill=62"]);
    // In a namespace of its own the process can have the decoy's pid: as if it ran on another machine.
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    command.arg(format!("echo {} > /proc/sys/kernel/ns_last_pid; exec \"$@\"", decoy.pid() - 1)).arg("sh");
    let server = Server::start(command, &["mapped=16", "fill=61"]);
    let mut session = Session::start();
    let truth = server.connect(&mut session);
    assert_eq!(session.python("answer = process.GetProcessID()"), decoy.pid(), "the test's own ground");
    assert_eq!(truth.address("edge", "start"), decoy.truth.address("edge", "start"), "the test's own ground");
    let range = format!("{:#x}..{:#x}", truth.address("edge", "start"), truth.address("edge", "end"));
    let report = session.json(&format!("mp-scan find --string aaaaaaaa --in {range} --limit 3"));
    assert_eq!(report["target"]["kind"], "relayed");
    assert_eq!(results(&report).len(), 3);
    let report = session.json(&format!("mp-scan find --string bbbbbbbb --in {range}"));
    assert_eq!(report["total"], 0);
    session.ok("process kill");
}
