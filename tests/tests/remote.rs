//! Workers on other machines: `mp-scan pool hosts`, and scans that they take part in.
//!
//! `env` runs the words after it as `ssh` does, but here.

use serde_json::Value;
use tests::report::{assert_finds, find_needles, results};
use tests::{Product, Session, Truth};

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

/// Runs commands in this process, and with workers elsewhere only; they must say the same.
fn same_everywhere(session: &mut Session, lines: &[String]) {
    session.ok("mp-scan pool set workers=0");
    for line in lines {
        let here = session.json(&format!("{line} --workers 0"));
        let there = session.json(line);
        assert_eq!(there["stats"]["workers"], 2, "{line}");
        assert_eq!(here["stats"]["bytes_scanned"], there["stats"]["bytes_scanned"], "{line}");
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
