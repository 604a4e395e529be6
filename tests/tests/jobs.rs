//! Background jobs, and ends that come early: Ctrl-C, `jobs cancel`, timeouts.

use serde_json::Value;
use std::time::Duration;
use tests::report::{addresses, assert_finds, essence, find_needles, results};
use tests::{Session, Terminal, Truth, compile, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A search of the launched process that takes one worker seconds: this regex has no literal to look for.
const SLOW: &str = r"mp-scan find --regex '[a-m][n-z]{2}[0-9]' --limit 1000000 --workers 1";

/// Memory that `SLOW` takes seconds to search.
const LARGE: &[&str] = &["mapped=3072", "fill=41", "needles=no"];

/// The row of a job in `jobs list`.
fn row(session: &mut Session, job: u64) -> Value {
    let list = session.json("mp-scan jobs list");
    let row = results(&list).iter().find(|row| row["job"] == job);
    row.unwrap_or_else(|| panic!("no job {job} in {list}")).clone()
}

fn running(session: &mut Session, job: u64) -> bool {
    row(session, job)["state"] == "running"
}

#[test]
fn a_background_job_gives_the_prompt_back_and_keeps_its_report() {
    let mut session = Session::start();
    let truth = session.launch("needles.c", &["64"]);
    let output = session.ok(&format!("{} --background", find_needles()));
    assert!(output.contains("job 1"), "{output}");
    session.ok("mp-scan jobs wait 1");
    let report = session.json("mp-scan jobs show 1");
    assert_finds(&report, &truth, &truth.addresses("needle"));
    assert_eq!(report["target"]["ran"], false);
    // The same, once more, from the foreground.
    assert_eq!(essence(&report), essence(&session.json(&find_needles())));
    assert!(row(&mut session, 1)["state"].as_str().expect("a state").starts_with("finished"));
}

#[test]
fn a_report_can_be_paged_through_without_another_scan() {
    let mut session = Session::start();
    let truth = session.launch("needles.c", &["64"]);
    session.ok(&find_needles());
    let all = truth.addresses("needle");
    assert_eq!(addresses(&session.json("mp-scan jobs show 1 --from 100")), all[100..]);
    // It needs no process any more.
    session.ok("process kill");
    assert_eq!(addresses(&session.json("mp-scan jobs show 1")), all);
    session.fails(&format!("mp-scan jobs show 1 --from {}", all.len()));
}

#[test]
fn a_running_job_shows_its_progress_and_can_be_cancelled() {
    let mut session = Session::start();
    session.launch("memory.c", LARGE);
    session.ok(&format!("{SLOW} --background"));
    until("progress", PATIENCE, || {
        let row = row(&mut session, 1);
        assert_eq!(row["state"], "running", "{row}");
        (row["progress"].as_u64() > Some(0)).then_some(())
    });
    session.ok("mp-scan jobs cancel 1");
    until("the job's end", Duration::from_secs(2), || (!running(&mut session, 1)).then_some(()));
    let report = session.json("mp-scan jobs show 1");
    assert_eq!((&report["truncated"], &report["stopped"]), (&Value::Bool(true), &"cancelled".into()));
    // The pool works on.
    assert_eq!(session.json("mp-scan find --string nowhere-to-be-found --workers 1")["truncated"], false);
}

#[test]
fn other_commands_run_beside_a_background_job() {
    let mut session = Session::start();
    session.launch("memory.c", LARGE);
    session.ok(&format!("{SLOW} --background"));
    let start = session.json("mp-scan find --string nowhere-to-be-found --in stack --workers 1");
    assert_eq!(start["truncated"], false);
    assert!(running(&mut session, 1), "the second search had to wait for the first");
    session.ok("mp-scan jobs cancel 1");
}

#[test]
fn a_timeout_ends_a_search_with_what_it_has() {
    let mut session = Session::start();
    session.launch("memory.c", LARGE);
    for workers in [0, 1] {
        let report = session.json(&format!("{SLOW} --timeout 0.3 --workers {workers}").replace("--workers 1 ", ""));
        assert_eq!((&report["truncated"], &report["stopped"]), (&Value::Bool(true), &"timeout".into()));
    }
}

#[test]
fn an_interrupt_ends_a_command_in_the_foreground() {
    let mut session = Session::start();
    session.launch("memory.c", LARGE);
    session.ok("mp-scan find --string nowhere-to-be-found --in stack");
    let pending = session.send(SLOW);
    until("a worker at work", PATIENCE, || session.workers().into_iter().find(|worker| worker.state() == Some('R')));
    session.aside("debugger.RequestInterrupt()");
    let answer = session.wait(pending);
    session.python("debugger.CancelInterruptRequest()");
    assert!(!session.workers().is_empty());
    let report = session.json("mp-scan jobs show 2");
    assert_eq!((&report["truncated"], &report["stopped"]), (&Value::Bool(true), &"cancelled".into()), "{answer:?}");
}

#[test]
fn ctrl_c_gives_the_prompt_back() {
    let mut terminal = Terminal::start();
    let folder = tests::scratch();
    terminal.run(&format!("target create {}", compile("memory.c").display()));
    terminal.run("breakpoint set --name ready");
    terminal.type_line(&format!("process launch -- {}/truth {}", folder.path().display(), LARGE.join(" ")));
    terminal.expect("stop reason = breakpoint");
    terminal.expect("(lldb) ");
    terminal.type_line(SLOW);
    // The progress line shows that it is at work.
    terminal.expect("scanned");
    terminal.type_key('\x03');
    let printed = terminal.expect("interrupted");
    assert!(printed.contains("cut short"), "{printed}");
    terminal.expect("(lldb) ");
    // The next command is as ever.
    let printed = terminal.run("mp-scan find --string nowhere-to-be-found --in stack");
    assert!(printed.contains("no matches"), "{printed}");
    terminal.run("process kill");
    terminal.quit();
}

#[test]
fn matches_appear_while_the_search_goes_on_and_the_progress_line_goes_away() {
    let mut terminal = Terminal::start();
    let folder = tests::scratch();
    terminal.run(&format!("target create {}", compile("memory.c").display()));
    terminal.run("breakpoint set --name ready");
    terminal.type_line(&format!("process launch -- {}/truth mapped=2048 fill=41", folder.path().display()));
    terminal.expect("stop reason = breakpoint");
    terminal.expect("(lldb) ");
    let truth = Truth::read(&folder.path().join("truth"));
    // Needles by a slow regex: the first lies in the first block.
    terminal
        .type_line(r"mp-scan find --regex '(?-u)\x87\xa4\xc1\xde|[a-m][n-z]{2}[0-9]{3}' --in anonymous --workers 1");
    let mut between = Vec::new();
    for address in truth.addresses("needle") {
        between.push(terminal.expect(&format!("{address:#018x}")));
    }
    assert!(!between[0].contains("scanned"), "the first match waited: {between:?}");
    assert!(between[1].contains("scanned") && between[2].contains("scanned"), "no progress: {between:?}");
    let line = terminal.expect("3 matches");
    assert!(line.ends_with('\n') || line.ends_with('\r'), "the progress line is left: {line:?}");
    terminal.expect("(lldb) ");
    terminal.run("process kill");
    terminal.quit();
}
