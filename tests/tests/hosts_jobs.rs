//! Background jobs as their host sees them: how the user learns of their end, and what they leave behind.

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tests::report::{assert_finds, find_needles, number, results};
use tests::{Product, Session, Terminal, Truth, compile, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A search that takes one worker seconds: this regex has no literal to look for.
const SLOW: &str = r"mp-scan find --regex '[a-m][n-z]{2}[0-9]' --workers 1";

/// A search that is over at once.
const QUICK: &str = "mp-scan find --string nowhere-to-be-found --in stack --background";

/// Waits until a job has ended, without a word about it.
fn ended(session: &mut Session, job: u64) {
    until("the job's end", PATIENCE, || {
        let list = session.json("mp-scan jobs list");
        results(&list).iter().any(|row| row["job"] == job && row["state"] != "running").then_some(())
    });
}

#[test]
fn the_next_command_tells_first_which_jobs_have_ended() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    let commands = [
        "mp-scan find --string nowhere-to-be-found --in stack",
        "mp-scan strings --in stack --limit 1",
        "mp-scan map --summary",
        "mp-scan jobs list",
        "mp-scan pool status",
        "mp-scan pool set limit=200",
        "mp-scan version",
    ];
    for command in commands {
        let started = session.ok(QUICK);
        let words: Vec<&str> = started.lines().last().expect("it says its number").split(' ').collect();
        let job: u64 = words[1].parse().unwrap_or_else(|_| panic!("no number in: {started}"));
        ended(&mut session, job);
        // A document holds nothing else, and the news is not lost by it.
        session.json("mp-scan find --string nowhere-to-be-found --in stack");
        session.json("mp-scan pool status");
        session.json("mp-scan version");
        let line = QUICK.strip_prefix("mp-scan ").expect("it begins with that");
        let news = format!("job {job} ({line}) finished: mp-scan jobs show {job}");
        let told = session.ok(command);
        assert_eq!(told.lines().next(), Some(&*news), "{command}");
        // Once.
        let again = session.ok(command);
        assert!(!again.contains("finished: "), "{command}: {again}");
    }
}

#[test]
fn a_job_that_was_waited_for_is_no_news() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    session.ok(QUICK);
    session.json("mp-scan jobs wait 1");
    let answer = session.ok("mp-scan version");
    assert!(!answer.contains("job 1"), "{answer}");
}

/// At a prompt, with nothing typed.
#[test]
fn notify_tells_it_at_once() {
    let mut terminal = Terminal::start();
    let folder = tests::scratch();
    terminal.run(&format!("target create {}", compile("values.c").display()));
    terminal.run("breakpoint set --name ready");
    terminal.type_line(&format!("process launch -- {}/truth", folder.path().display()));
    terminal.expect("stop reason = breakpoint");
    terminal.expect("(lldb) ");
    let printed = terminal.run("mp-scan pool set notify=true");
    assert!(printed.contains("notify"), "{printed}");
    terminal.type_line(QUICK);
    terminal.expect("job 1 is under way");
    terminal.expect("job 1 has ended: mp-scan jobs show 1");
    terminal.run("process kill");
    terminal.quit();
}

/// What is relayed is read without LLDB's cache, and after that LLDB has its cache back.
#[test]
fn a_relayed_search_leaves_the_settings_as_they_were() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    let truth = session.launch("needles.c", &["16"]);
    let disabled = "answer = lldb.SBDebugger.GetInternalVariableValue('target.process.disable-memory-cache', \
                    debugger.GetInstanceName()).GetStringAtIndex(0)";
    for background in ["", " --background"] {
        for workers in [0, 1] {
            session.ok(&format!("{}{background} --workers {workers}", find_needles()));
            let job = number_of_last_job(&mut session);
            let report = session.json(&format!("mp-scan jobs wait {job}"));
            assert_finds(&report, &truth, &truth.addresses("needle"));
            until("the setting", PATIENCE, || (session.python(disabled) == "false").then_some(()));
        }
    }
}

fn number_of_last_job(session: &mut Session) -> u64 {
    let list = session.json("mp-scan jobs list");
    results(&list).last().and_then(|row| row["job"].as_u64()).expect("there is a job")
}

#[test]
fn a_host_quits_with_a_relayed_job_running() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    session.launch("memory.c", &["mapped=600", "fill=41"]);
    session.ok(&format!("{SLOW} --background"));
    under_way(&mut session, 1);
    session.quit();
}

/// Waits until a job has done a part of its work.
fn under_way(session: &mut Session, job: u64) {
    until("the job's progress", PATIENCE, || {
        let list = session.json("mp-scan jobs list");
        let row = results(&list).iter().find(|row| row["job"] == job).expect("the job is kept").clone();
        assert_eq!(row["state"], "running", "the test's own ground");
        (row["progress"].as_u64() > Some(0)).then_some(())
    });
}

/// Another debugger in the session's host, with a debuggee of its own.
fn second_debugger(session: &mut Session, folder: &Path, arguments: &str) -> Truth {
    session.python("new_debugger()");
    let truth = folder.join("truth");
    for line in [
        Product::built().load(),
        format!("target create {}", compile("memory.c").display()),
        "breakpoint set --name ready".to_owned(),
        format!("process launch -- {} {arguments}", truth.display()),
    ] {
        in_second(session, &line);
    }
    Truth::read(&truth)
}

#[track_caller]
fn in_second(session: &mut Session, line: &str) -> String {
    let pending = session.send_to(1, line);
    let answer = session.wait(pending);
    assert!(answer.ok, "{line}: {}{}", answer.output, answer.error);
    answer.output
}

/// Two debuggers in one host: jobs in both at the same time, and the end of one of them in the midst of its job.
fn one_of_two_debuggers_ends(reader: &str, mapped: &str) {
    let mut session = Session::with_environment([("MP_SCAN_READER", reader)]);
    let first = session.launch("needles.c", &["16"]);
    let folder = tests::scratch();
    let second = second_debugger(&mut session, folder.path(), &format!("{mapped} fill=41"));
    // Each its own.
    assert_finds(&session.json(&find_needles()), &first, &first.addresses("needle"));
    let last = second.addresses("needle")[2];
    let near = format!("{} --in {:#x}..{:#x} --format json", find_needles(), last - 4096, last + 16);
    let report: Value = serde_json::from_str(&in_second(&mut session, &near)).expect("it is JSON");
    assert_eq!(results(&report).iter().map(|row| number(&row["address"])).collect::<Vec<_>>(), [last]);

    let job = number_of_last_job(&mut session) + 1;
    in_second(&mut session, &format!("{SLOW} --background"));
    under_way(&mut session, job);
    assert_finds(&session.json(&find_needles()), &first, &first.addresses("needle"));
    session.ok(&format!("{} --background", find_needles()));
    session.python("lldb.SBDebugger.Destroy(debuggers.pop())");
    let report = session.json(&format!("mp-scan jobs wait {}", job + 2));
    assert_finds(&report, &first, &first.addresses("needle"));
    // Its process is gone, and the job knows.
    let report = session.json(&format!("mp-scan jobs wait {job}"));
    assert_eq!((&report["truncated"], &report["stopped"]), (&json!(true), &json!("target gone")), "{report}");
    assert_finds(&session.json(&find_needles()), &first, &first.addresses("needle"));
    assert!(!session.workers().is_empty(), "the test's own ground");
    // That no worker is left is checked as the session ends.
    session.quit();
}

#[test]
fn one_of_two_debuggers_ends_during_its_live_job() {
    one_of_two_debuggers_ends("", "mapped=3072");
}

#[test]
fn one_of_two_debuggers_ends_during_its_relayed_job() {
    one_of_two_debuggers_ends("relay", "mapped=600");
}
