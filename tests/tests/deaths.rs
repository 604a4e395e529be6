//! Whatever happens to a worker costs one task: the answer is the same, the pool is full again, the debugger is well.

use nix::sys::signal::Signal;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tests::heap::{LEAKS, assert_leaks};
use tests::report::{addresses, assert_finds, find_needles, skipped};
use tests::{Process, Session, Truth, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// A search that takes two workers a second or more: this regex has no literal to look for.
const SLOW: &str = r"mp-scan find --regex '[a-m][n-z]{2}[0-9]' --limit 1000000 --workers 2";

fn session() -> (Session, Truth) {
    let mut session = Session::start();
    let truth = session.launch("memory.c", &["mapped=1024"]);
    (session, truth)
}

/// Waits for a worker that is in the midst of its work, and returns it.
fn busy(session: &mut Session) -> Process {
    busy_for(session, 10)
}

/// The same, for one that has worked for so many hundredths of a second.
fn busy_for(session: &mut Session, ticks: u64) -> Process {
    let before: Vec<(Process, u64)> = session.workers().into_iter().map(|worker| (worker, worker.ticks())).collect();
    until("a worker at work", PATIENCE, || {
        session.workers().into_iter().find(|worker| {
            let start = before.iter().find(|(known, _)| known == worker).map_or(0, |(_, ticks)| *ticks);
            worker.state() == Some('R') && worker.ticks() >= start + ticks
        })
    })
}

/// Runs the slow search twice, and `harm`s a busy worker in the second run. Both must give the same answer.
fn survives(harm: impl Fn(Process)) {
    let (mut session, _) = session();
    let undisturbed = session.json(SLOW);
    assert_eq!(undisturbed["stats"]["deaths"], 0);
    let workers = session.workers();
    assert_eq!(workers.len(), 2);
    let pending = session.send(&format!("{SLOW} --format json"));
    let victim = busy(&mut session);
    harm(victim);
    let answer = session.wait(pending);
    assert!(answer.ok, "{}", answer.error);
    let disturbed: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    assert!(disturbed["stats"]["deaths"].as_u64() > Some(0), "{}", disturbed["stats"]);
    assert!(disturbed["stats"]["retried"].as_u64() > Some(0), "{}", disturbed["stats"]);
    assert_eq!(addresses(&disturbed), addresses(&undisturbed));
    assert_eq!(disturbed["skipped"], undisturbed["skipped"]);
    assert_eq!(disturbed["truncated"], false);
    full_again(&mut session, 2);
    assert_eq!(victim.state(), None, "the dead worker is no zombie");
    // And it goes on working.
    assert_eq!(addresses(&session.json(SLOW)), addresses(&undisturbed));
}

/// Waits until the pool has `count` live workers and nothing else.
fn full_again(session: &mut Session, count: usize) {
    until("a full pool without zombies", PATIENCE, || {
        let workers = session.workers();
        (workers.len() == count && workers.iter().all(|worker| worker.is_alive())).then_some(())
    });
    let status = session.json("mp-scan pool status");
    assert_eq!(status["results"].as_array().map(Vec::len), Some(count), "{status}");
}

#[test]
fn a_worker_killed_by_sigkill() {
    survives(|worker| worker.signal(Signal::SIGKILL));
}

#[test]
fn a_worker_killed_by_sigsegv() {
    survives(|worker| worker.signal(Signal::SIGSEGV));
}

#[test]
fn workers_killed_by_their_memory_limit() {
    let (mut session, _) = session();
    // Matches by the hundred thousand, which take memory.
    let find = "mp-scan find --regex '[a-m][n-z]' --limit 300000 --workers 2";
    let undisturbed = session.json(find);
    // New ones, which have no memory to spare from a search before.
    session.ok("mp-scan pool restart");
    let workers = until("two workers", PATIENCE, || {
        session.json("mp-scan find --string nowhere-to-be-found --in stack --workers 2");
        Some(session.workers()).filter(|workers| workers.len() == 2)
    });
    for worker in &workers {
        // The limit that they have is lowered to nothing: no allocation that needs new pages succeeds any more.
        let status = Command::new("prlimit").args(["--pid", &worker.pid.to_string(), "--data=0:0"]).status();
        assert!(status.expect("prlimit runs").success());
    }
    let disturbed = session.json(find);
    assert!(disturbed["stats"]["deaths"].as_u64() > Some(0), "{}", disturbed["stats"]);
    assert!(disturbed["stats"]["retried"].as_u64() > Some(0), "{}", disturbed["stats"]);
    assert!(addresses(&disturbed) == addresses(&undisturbed), "another answer");
    assert_eq!(disturbed["skipped"], undisturbed["skipped"]);
    full_again(&mut session, 2);
}

#[test]
fn a_worker_stopped_by_sigstop() {
    let (mut session, _) = session();
    session.ok("mp-scan pool set task-timeout=1");
    let undisturbed = session.json(SLOW);
    let pending = session.send(&format!("{SLOW} --format json"));
    let victim = busy(&mut session);
    victim.signal(Signal::SIGSTOP);
    let answer = session.wait(pending);
    assert!(answer.ok, "{}", answer.error);
    let disturbed: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    assert!(disturbed["stats"]["retried"].as_u64() > Some(0), "{}", disturbed["stats"]);
    assert_eq!(addresses(&disturbed), addresses(&undisturbed));
    full_again(&mut session, 2);
    assert_eq!(victim.state(), None, "the stopped worker is gone");
}

#[test]
fn every_worker_killed_again_and_again() {
    let (mut session, _) = session();
    let undisturbed = session.json(SLOW);
    let pending = session.send(&format!("{SLOW} --format json"));
    for _ in 0..5 {
        let victim = busy(&mut session);
        victim.signal(Signal::SIGKILL);
        until("the worker's end", PATIENCE, || (!victim.is_alive()).then_some(()));
    }
    let answer = session.wait(pending);
    assert!(answer.ok, "{}", answer.error);
    let disturbed: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    // Whatever was hit once too often is in `skipped`; nothing else may be missing.
    let lost = skipped(&disturbed);
    let expected: Vec<u64> = addresses(&undisturbed)
        .into_iter()
        .filter(|address| !lost.iter().any(|(start, end)| start <= address && address < end))
        .collect();
    assert_eq!(addresses(&disturbed), expected);
    full_again(&mut session, 2);
}

#[test]
fn a_worker_killed_in_the_midst_of_a_search_for_leaks() {
    // Early, where chunks are walked over; later, where they are marked.
    for ticks in [2, 8, 16] {
        let mut session = Session::start();
        let truth = session.launch("heap_mix.cpp", &["chunks=4000"]);
        let pending = session.send(&format!("{LEAKS} --workers 2 --format json"));
        let victim = busy_for(&mut session, ticks);
        victim.signal(Signal::SIGKILL);
        let answer = session.wait(pending);
        assert!(answer.ok, "{}", answer.error);
        let report: Value = serde_json::from_str(&answer.output).expect("it is JSON");
        assert!(report["stats"]["deaths"].as_u64() > Some(0), "{}", report["stats"]);
        assert_leaks(&report, &truth);
        full_again(&mut session, 2);
    }
}

#[test]
fn a_worker_killed_between_two_commands() {
    let (mut session, truth) = session();
    session.json(&find_needles());
    for worker in session.workers() {
        worker.signal(Signal::SIGKILL);
    }
    let report = session.json(&find_needles());
    assert_finds(&report, &truth, &truth.addresses("needle"));
    full_again(&mut session, 2);
}

/// Needles around a page on which every worker that reads it hangs; `harm` is done to those that hang.
fn poisoned(harm: impl Fn(Process), settings: &[&str]) {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("left out: only root may have the kernel's reads wait for a userfaultfd handler");
        return;
    }
    let mut session = Session::with_environment([("MP_SCAN_READER", "vm")]);
    let truth = session.launch("poison.c", &[]);
    for setting in settings {
        session.ok(&format!("mp-scan pool set {setting}"));
    }
    let place = format!("{:#x}..{:#x}", truth.address("edge", "start"), truth.address("edge", "end"));
    let pending = session.send(&format!("{} --in {place} --workers 2 --format json", find_needles()));
    let mut hung = Vec::new();
    // A worker in uninterruptible sleep is one that hangs on the page.
    until("the answer, with a page that nobody can read", PATIENCE, || {
        for worker in session.workers() {
            if worker.state() == Some('D') && !hung.contains(&worker) {
                hung.push(worker);
                harm(worker);
            }
        }
        session.has_answered(&pending).then_some(())
    });
    let answer = session.wait(pending);
    assert!(answer.ok, "{}", answer.error);
    let report: Value = serde_json::from_str(&answer.output).expect("it is JSON");
    assert_finds(&report, &truth, &truth.addresses("needle"));
    let page = truth.address("edge", "page");
    let lost = skipped(&report);
    assert!(lost.iter().any(|(start, end)| *start <= page && page < *end), "{lost:x?} without {page:#x}");
    assert!(lost.iter().all(|(start, end)| end - start <= 512 << 10), "more than a block: {lost:x?}");
    assert!(report["stats"]["deaths"].as_u64() >= Some(2), "{}", report["stats"]);
    full_again(&mut session, 2);
    assert!(hung.iter().all(|worker| worker.state().is_none()), "no worker that hung is left");
}

#[test]
fn a_block_on_which_every_worker_dies_costs_itself_only() {
    poisoned(|worker| worker.signal(Signal::SIGKILL), &[]);
}

#[test]
fn a_block_on_which_every_worker_hangs_costs_itself_only() {
    poisoned(|_| (), &["task-timeout=0.5"]);
}
