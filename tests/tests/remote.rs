//! Workers on other machines: `mp-scan pool hosts`, and scans that they take part in.
//!
//! `env` runs the words after it as `ssh` does, but here.

use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::report::{addresses, assert_finds, find_needles, results};
use tests::{
    CoreFile, Debuggee, PlatformServer, Process, Product, Segment, Session, Sshd, Truth, gcore, needle, until,
};

/// A host that is this machine, as two workers see it from elsewhere.
fn add_here(session: &mut Session, slots: usize) {
    let worker = Product::built().worker.display().to_string();
    session.ok(&format!("mp-scan pool hosts add 'env SOMEWHERE=else' {slots} --worker {worker}"));
}

/// What a report says of a scan, whoever ran it.
fn essence(mut report: Value) -> Value {
    report["stats"] = Value::Null;
    report["notes"] = Value::Null;
    report
}

/// Has the pool started, and waits until so many of its workers are ready.
fn wait_for_workers(session: &mut Session, count: usize) {
    until("the workers", Duration::from_secs(60), || {
        // Something small, even where no stack is known.
        if !session.run("mp-scan find --string nowhere-to-be-found --in stack").ok {
            session.ok("mp-scan find --int 0 --limit 1");
        }
        let status = session.json("mp-scan pool status");
        (results(&status).iter().filter(|row| row["state"] == "idle").count() == count).then_some(())
    });
}

/// Runs commands in this process, and with workers elsewhere only; they must say the same.
fn same_everywhere(session: &mut Session, lines: &[String]) {
    session.ok("mp-scan pool set workers=0");
    wait_for_workers(session, 2);
    for line in lines {
        let here = session.json(&format!("{line} --workers 0"));
        let there = session.json(line);
        assert_eq!(there["stats"]["workers"], 2, "{line}");
        // How far others have got by the time that the limit is certain is a matter of chance.
        if here["truncated"] == false {
            assert_eq!(here["stats"]["bytes_scanned"], there["stats"]["bytes_scanned"], "{line}");
        }
        assert_eq!(essence(here), essence(there), "{line}");
    }
}

fn lines() -> Vec<String> {
    let regex = "mp-scan find --regex '[a-m][n-z]+[0-9]' --limit 5000";
    [&*find_needles(), regex, "mp-scan find --int 0 --count", "mp-scan strings --limit 3000", "mp-scan map --entropy"]
        .map(str::to_owned)
        .into()
}

fn launched(session: &mut Session) -> Truth {
    session.launch("needles.c", &[])
}

#[test]
fn hosts_are_added_listed_and_removed() {
    let mut session = Session::start();
    assert_eq!(results(&session.json("mp-scan pool hosts list")), [] as [Value; 0]);
    let added = session.ok("mp-scan pool hosts add 'ssh w1' 2 --worker bin/mp-worker");
    assert_eq!(added.trim(), "1  ssh w1, 2 workers, bin/mp-worker");
    session.ok("mp-scan pool hosts add \"docker exec -i 'a b'\"");
    let listed = session.json("mp-scan pool hosts list");
    let expected = serde_json::json!([
        {"host": 1, "command": "ssh w1", "slots": 2, "worker": "bin/mp-worker"},
        {"host": 2, "command": "docker exec -i 'a b'", "slots": 1, "worker": "mp-worker"},
    ]);
    assert_eq!(listed["results"], expected);
    assert_eq!(session.json("mp-scan pool status")["hosts"], expected);
    let written = std::fs::read_to_string(session.configuration()).expect("the settings are kept");
    assert!(written.contains("ssh w1") && written.contains("slots: 2"), "{written}");
    session.ok("mp-scan pool hosts remove 1");
    assert_eq!(results(&session.json("mp-scan pool hosts list")).len(), 1);
    assert_eq!(session.fails("mp-scan pool hosts remove 2"), "no host 2: see `mp-scan pool hosts list`");
    assert!(session.ok("mp-scan pool hosts").contains("docker exec -i 'a b'"));
}

#[test]
fn a_host_that_cannot_work_is_not_added() {
    let mut session = Session::start();
    for (arguments, reason) in [
        ("''", "a host is a command"),
        ("'ssh w1' 0", "0 slots"),
        ("'ssh w1' 1000", "1000 slots"),
        ("'ssh'", "the name of a machine"),
        ("'ssh -t w1'", "a terminal"),
        ("\"ssh 'w1\"", "a quote is not closed"),
        ("'srun -u -n2'", "-n1"),
        ("'docker exec -it box'", "a terminal"),
        ("'ssh w1' --worker ' '", "path is empty"),
        ("ssh w1 2", "quotes"),
    ] {
        let error = session.fails(&format!("mp-scan pool hosts add {arguments}"));
        assert!(error.contains(reason), "{arguments}: {error}");
    }
    assert_eq!(results(&session.json("mp-scan pool hosts list")), [] as [Value; 0]);
    session.ok("mp-scan pool hosts add platform");
    assert!(session.fails("mp-scan pool hosts add platform 2").contains("there already"));
    std::fs::write(session.configuration(), "(hosts: [(command: \"srun -n1\", slots: 1)])").expect("a file");
    let error = session.fails("mp-scan pool hosts list");
    assert!(error.contains("config.ron") && error.contains("-u"), "{error}");
}

#[test]
fn what_would_make_an_engine_hang_is_mended() {
    let mut session = Session::start();
    for (given, mended) in [
        ("srun -n1 -p debug", "srun -u -n1 -p debug"),
        ("/usr/bin/srun -Q", "/usr/bin/srun -u -Q"),
        ("docker exec box", "docker exec -i box"),
        ("kubectl exec pod --", "kubectl exec -i pod --"),
    ] {
        let output = session.ok(&format!("mp-scan pool hosts add '{given}'"));
        assert!(output.contains("note: ") && output.contains(mended), "{output}");
    }
    for fine in ["srun --unbuffered", "srun -Qu -n1", "ssh -T w1", "docker exec --interactive box"] {
        let output = session.ok(&format!("mp-scan pool hosts add '{fine}'"));
        assert!(!output.contains("note: ") && output.contains(fine), "{output}");
    }
}

#[test]
fn a_live_process_is_sent_to_workers_elsewhere() {
    let mut session = Session::start();
    let truth = launched(&mut session);
    add_here(&mut session, 2);
    same_everywhere(&mut session, &lines());
    assert_finds(&session.json(&find_needles()), &truth, &truth.addresses("needle"));
    let status = session.json("mp-scan pool status");
    assert_eq!(results(&status).len(), 2, "{status}");
    assert!(
        results(&status).iter().all(|row| row["host"].as_str().is_some_and(|host| host.starts_with("env SOMEWHERE"))),
        "{status}"
    );
}

/// A core file in a folder of its own.
fn core_of_a_process(session: &mut Session) -> (PathBuf, Truth) {
    let debuggee = Debuggee::start("needles.c", &[]);
    let folder = tests::scratch();
    let core = gcore(debuggee.pid(), folder.path());
    session.open_core(Some(&debuggee.program), &core);
    session.keep(folder);
    (core, debuggee.truth.clone())
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

#[test]
fn a_core_file_that_is_there_too_is_read_there() {
    let mut session = Session::start();
    core_of_a_process(&mut session);
    add_here(&mut session, 2);
    same_everywhere(&mut session, &lines());
    let report = session.json(&find_needles());
    assert!(!notes(&report).contains("is sent"), "{report}");
}

/// A host that has an empty folder in place of this one.
fn add_without(session: &mut Session, folder: &Path) {
    let worker = Product::built().worker.display().to_string();
    // What comes after a shell's command are its arguments.
    let command = format!(r#"unshare --mount sh -c "mount -t tmpfs none {} && exec \"$@\"" sh"#, folder.display());
    std::fs::create_dir_all(session.configuration().parent().expect("a folder")).expect("a new folder can be made");
    let host = format!("(command: {command:?}, slots: 2, worker: Some({worker:?}))");
    std::fs::write(session.configuration(), format!("(hosts: [{host}])")).expect("a new file can be made");
}

#[test]
fn a_core_file_that_is_not_there_is_sent() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("left out: only root can have a folder hidden");
        return;
    }
    let mut session = Session::start();
    let (core, _) = core_of_a_process(&mut session);
    add_without(&mut session, core.parent().expect("a folder"));
    same_everywhere(&mut session, &lines());
    let report = session.json(&find_needles());
    assert!(addresses(&report).len() > 200, "{report}");
    assert!(
        notes(&report).contains("is sent the core file's memory") && notes(&report).contains("No such file"),
        "{report}"
    );
    // And with workers here, too.
    assert_eq!(addresses(&session.json(&format!("{} --workers 2", find_needles()))), addresses(&report));
}

#[test]
fn a_large_core_file_is_sent_piece_by_piece() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("left out: only root can have a folder hidden");
        return;
    }
    let mut session = Session::start();
    let folder = tests::scratch();
    let mut bytes: Vec<u8> = (0..40_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let places = [0, (4 << 20) - 8, 9 << 20, (40 << 20) - 16];
    for place in places {
        bytes[place..place + 16].copy_from_slice(&needle());
    }
    let core = CoreFile::x86_64(vec![Segment::new(0x100_0000, bytes)]).write(folder.path());
    session.open_core(None, &core);
    add_without(&mut session, folder.path());
    same_everywhere(&mut session, &[find_needles(), "mp-scan find --regex 'a[b-y]{3}z' --count".into()]);
    let report = session.json(&find_needles());
    assert_eq!(addresses(&report), places.map(|place| 0x100_0000 + place as u64));
    session.keep(folder);
}

/// The same as [`same_everywhere`], where the debugger reads for the workers: at its speed all of it would take minutes.
fn same_where_it_is_quick(session: &mut Session, truth: &Truth) {
    let place = "--in stack --in heap --in module:needles";
    let lines: Vec<String> = lines().iter().map(|line| format!("{line} {place}")).collect();
    same_everywhere(session, &lines[..4]);
    let found = addresses(&session.json(&format!("{} {place}", find_needles())));
    let expected =
        truth.labelled("needle", |label| label == "code" || label.contains("heap") || label.contains("stack"));
    assert!(expected.len() > 3 && expected.iter().all(|address| found.contains(address)), "{expected:x?} {found:x?}");
}

#[test]
fn what_only_the_debugger_can_read_is_sent() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    let truth = launched(&mut session);
    add_here(&mut session, 2);
    same_where_it_is_quick(&mut session, &truth);
    let report = session.json(&format!("{} --in stack", find_needles()));
    assert_eq!(report["target"]["kind"], "relayed");
}

#[test]
fn a_host_that_is_down_holds_nothing_up_and_is_named() {
    let mut session = Session::start();
    let truth = launched(&mut session);
    session.ok("mp-scan pool hosts add \"sh -c 'echo no route to it >&2; exit 7' sh\" 2");
    session.ok("mp-scan pool set workers=2");
    let report = until("a report that names it", Duration::from_secs(30), || {
        let report = session.json(&find_needles());
        assert_finds(&report, &truth, &truth.addresses("needle"));
        notes(&report).contains("no route to it").then_some(report)
    });
    assert_eq!(report["stats"]["workers"], 2, "{report}");
    assert_eq!(report["notes"].as_array().map(Vec::len), Some(1), "{report}");
    let text = session.ok(&find_needles());
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("no route to it")).collect();
    assert!(matches!(&lines[..], [line] if line.starts_with("note: ")), "{text}");
    let status = session.json("mp-scan pool status");
    let down: Vec<&Value> = results(&status).iter().filter(|row| row["host"].is_string()).collect();
    assert_eq!(down.len(), 2, "{status}");
    for row in down {
        assert!(row["reason"].as_str().is_some_and(|reason| reason.contains("no route to it")), "{status}");
    }
    assert!(session.ok("mp-scan pool status").contains("no route to it (exited with code 7)"));
    // Without another worker there is no scan.
    session.ok("mp-scan pool set workers=0");
    assert!(session.fails(&find_needles()).contains("no route to it"));
}

/// Its tasks are done by others, long before it is given up.
#[test]
fn a_host_whose_line_gets_stuck_holds_nothing_up() {
    let mut session = Session::start();
    let truth = session.launch("memory.c", &["mapped=256"]);
    let worker = Product::built().worker.display();
    // Its workers are ready and do what is small; of this memory nothing reaches them.
    let stuck = r#"sh -c '(dd bs=1 count=200000 2>/dev/null; sleep 600) | "$@"' sh"#;
    std::fs::create_dir_all(session.configuration().parent().expect("a folder")).expect("a new folder can be made");
    let host = format!("(command: {stuck:?}, slots: 2, worker: Some(\"{worker}\"))");
    std::fs::write(session.configuration(), format!("(workers: Some(2), hosts: [{host}])")).expect("a file");
    wait_for_workers(&mut session, 4);
    let report = session.json(&find_needles());
    assert_finds(&report, &truth, &truth.addresses("needle"));
    assert_eq!((&report["stats"]["workers"], &report["stats"]["deaths"]), (&4.into(), &0.into()), "{report}");
    let status = session.json("mp-scan pool status");
    let stuck = |row: &Value| row["host"].is_string() && row["state"] == "busy";
    assert!(results(&status).iter().any(stuck), "{status}");
}

/// It waits for an answer that never comes, and does not look at its standard input.
#[test]
fn a_host_that_never_answers_ends_with_the_debugger() {
    let mut session = Session::start();
    let truth = launched(&mut session);
    session.ok("mp-scan pool hosts add \"sh -c 'exec sleep 600' sh\"");
    let report = session.json(&format!("{} --workers 1", find_needles()));
    assert_finds(&report, &truth, &truth.addresses("needle"));
    // It has taken no part.
    assert_eq!(report["stats"]["workers"], 1, "{report}");
    let host = session.host();
    let hung = until("the command", Duration::from_secs(10), || {
        let is_it = |child: &Process| child.executable().is_some_and(|program| program.ends_with("sleep"));
        Process::all_children(host.pid).into_iter().find(is_it)
    });
    session.kill();
    until("its end", Duration::from_secs(10), || (!hung.is_alive()).then_some(()));
}

#[test]
fn another_build_over_there_is_named() {
    let mut session = Session::start();
    launched(&mut session);
    let worker = std::fs::read(&Product::built().worker).expect("the worker is there");
    let version = std::process::Command::new(&Product::built().worker).arg("--version").output().expect("it runs");
    let ours = String::from_utf8(version.stdout).expect("text").trim().to_owned();
    let theirs: String = ours.chars().rev().collect();
    let other = session.folder().join("other-worker");
    let mut bytes = worker;
    let at: Vec<usize> = bytes
        .windows(ours.len())
        .enumerate()
        .filter(|(_, window)| *window == ours.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!at.is_empty());
    for at in at {
        bytes[at..at + ours.len()].copy_from_slice(theirs.as_bytes());
    }
    std::fs::write(&other, bytes).expect("a new file can be made");
    std::fs::set_permissions(&other, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    session.ok(&format!("mp-scan pool hosts add 'env SOMEWHERE=else' --worker {}", other.display()));
    session.ok("mp-scan pool set workers=0");
    let error = session.fails(&find_needles());
    for part in [&ours, &theirs, "env SOMEWHERE=else"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

/// The processes of a host's workers, the one that passes tasks on and the one that runs them.
fn there(session: &mut Session) -> Vec<Process> {
    let mut agents = session.workers();
    agents.extend(agents.clone().iter().flat_map(|agent| Process::children(agent.pid, "mp-worker")));
    agents
}

/// A search that takes a while, in the midst of which a worker elsewhere is harmed: it is the same answer.
fn survives(choose: impl Fn(Vec<Process>) -> Process) {
    const SLOW: &str = r"mp-scan find --regex '[a-m][n-z]{2}[0-9]' --limit 1000000";
    let mut session = Session::start();
    session.launch("memory.c", &["mapped=256"]);
    add_here(&mut session, 2);
    session.ok("mp-scan pool set workers=0");
    let undisturbed = session.json(SLOW);
    let pending = session.send(&format!("{SLOW} --format json"));
    let before: Vec<(Process, u64)> =
        there(&mut session).into_iter().map(|process| (process, process.ticks())).collect();
    until("workers at work", Duration::from_secs(60), || {
        let worked = |(process, ticks): &&(Process, u64)| process.ticks() > ticks + 5;
        (before.iter().filter(worked).count() >= 2).then_some(())
    });
    let victim = choose(there(&mut session));
    victim.signal(Signal::SIGKILL);
    let answer = session.wait(pending);
    assert!(answer.ok, "{}", answer.error);
    let disturbed: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    // One that waited for its next task when it was killed takes none with it.
    assert!(disturbed["stats"]["deaths"].as_u64() > Some(0), "{}", disturbed["stats"]);
    assert_eq!(addresses(&disturbed), addresses(&undisturbed));
    assert_eq!(disturbed["skipped"], undisturbed["skipped"]);
    assert_eq!(addresses(&session.json(SLOW)), addresses(&undisturbed));
}

#[test]
fn a_worker_elsewhere_that_is_killed_costs_a_task() {
    survives(|all| *all.last().expect("workers"));
}

#[test]
fn a_connection_elsewhere_that_is_lost_costs_a_task() {
    survives(|all| all[0]);
}

#[test]
fn hosts_can_be_added_and_removed_between_scans() {
    let mut session = Session::start();
    let truth = launched(&mut session);
    session.ok("mp-scan pool set workers=1");
    let find = find_needles();
    for (command, workers) in [("", 1), ("add", 3), ("", 3), ("mp-scan pool hosts remove 1", 1)] {
        match command {
            "add" => add_here(&mut session, 2),
            "" => {}
            command => drop(session.ok(command)),
        }
        wait_for_workers(&mut session, workers);
        let report = session.json(&find);
        assert_finds(&report, &truth, &truth.addresses("needle"));
        assert_eq!(report["stats"]["workers"], workers);
        assert_eq!(results(&session.json("mp-scan pool status")).len(), workers);
    }
}

#[test]
fn a_real_ssh_server() {
    let Some(mut server) = Sshd::start() else { return };
    let mut session = Session::start();
    let truth = launched(&mut session);
    let worker = Product::built().worker.display();
    session.ok(&format!("mp-scan pool hosts add '{}' 2 --worker {worker}", server.command()));
    same_everywhere(&mut session, &lines());
    assert_finds(&session.json(&find_needles()), &truth, &truth.addresses("needle"));
    // Its name over there does not run: the shell of the other machine says so.
    session.ok("mp-scan pool hosts remove 1");
    session.ok(&format!("mp-scan pool hosts add '{}' --worker /nowhere/mp-worker", server.command()));
    let error = session.fails(&find_needles());
    assert!(error.contains("/nowhere/mp-worker: No such file") && error.contains("w1"), "{error}");
    let advice = format!("; try in a shell: {} /nowhere/mp-worker --version", server.command());
    assert!(error.ends_with(&advice), "{error}");
    // Nor does the server.
    server.stop();
    session.ok("mp-scan pool set workers=1");
    until("the reason", Duration::from_secs(30), || {
        session.json(&find_needles());
        session.ok("mp-scan pool status").contains("onnection refused").then_some(())
    });
}

/// A debugger that is connected to an lldb-server, whose machine has two workers.
fn connected(server: &PlatformServer) -> Session {
    let mut session = Session::start();
    for command in server.connect() {
        session.ok(&command);
    }
    session.ok("mp-scan pool hosts add platform 2");
    session
}

/// What is left when the debugger has ended: no worker, and no file.
fn nothing_left(server: &PlatformServer, workers: &[Process]) {
    until("the end of the workers", Duration::from_secs(5), || {
        workers.iter().all(|worker| !worker.is_alive()).then_some(())
    });
    let files: Vec<_> = std::fs::read_dir(server.folder()).expect("a folder").flatten().collect();
    assert!(files.iter().all(|file| !file.file_name().to_string_lossy().contains("mp-worker")), "{files:?}");
}

#[test]
fn an_lldb_servers_machine_has_workers_for_a_core_file() {
    let server = PlatformServer::start();
    let mut session = connected(&server);
    core_of_a_process(&mut session);
    same_everywhere(&mut session, &lines());
    let status = session.json("mp-scan pool status");
    assert_eq!(results(&status).len(), 2, "{status}");
    assert!(results(&status).iter().all(|row| row["host"].as_str().is_some_and(|host| host.starts_with("platform"))));
    let workers = server.workers();
    assert_eq!(workers.len(), 4, "two that pass tasks on, and two that run them: {workers:?}");
    nothing_left(&server, &[]);
    // One that is killed is started anew by a later command.
    workers[0].signal(Signal::SIGKILL);
    until("another one", Duration::from_secs(60), || {
        session.json(&find_needles());
        let status = session.json("mp-scan pool status");
        let works = |row: &&Value| row["state"] == "idle";
        (results(&status).iter().filter(works).count() == 2).then_some(())
    });
    let workers = [workers, server.workers()].concat();
    session.quit();
    nothing_left(&server, &workers);
}

#[test]
fn an_lldb_servers_machine_has_workers_for_a_live_process() {
    let server = PlatformServer::start();
    let mut session = connected(&server);
    let debuggee = Debuggee::start("needles.c", &[]);
    session.attach(&debuggee);
    same_where_it_is_quick(&mut session, &debuggee.truth);
    let workers = server.workers();
    session.quit();
    nothing_left(&server, &workers);
}

#[test]
fn an_lldb_server_that_is_not_there_is_named() {
    let mut session = Session::start();
    let truth = launched(&mut session);
    session.ok("mp-scan pool hosts add platform");
    session.ok("mp-scan pool set workers=2");
    let report = until("the reason", Duration::from_secs(10), || {
        let report = session.json(&find_needles());
        assert_finds(&report, &truth, &truth.addresses("needle"));
        notes(&report).contains("connected to no lldb-server").then_some(report)
    });
    assert_eq!(report["stats"]["workers"], 2);
    let status = session.ok("mp-scan pool status");
    assert!(status.contains("platform connect"), "{status}");
}
