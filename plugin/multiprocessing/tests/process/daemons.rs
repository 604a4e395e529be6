//! Who dies with a parent, and who does not.

use crate::common::*;
use std::io::{BufRead, BufReader};

/// A process that has a daemon and another process, and their numbers and that of its zygote.
fn host_of(by_zygote: bool) -> (Process, [u32; 3], std::io::PipeWriter) {
    let (orders, order) = std::io::pipe().expect("a pipe");
    let (reader, writer) = pipe();
    let process = Process::builder(&program()).start(host, &(by_zygote, orders.into(), writer)).expect("a process");
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).expect("a line");
    let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().expect("a number")).collect();
    (process, pids.try_into().expect("three numbers"), order)
}

/// Waits until none of them runs; 0 is none.
fn until_gone(pids: &[u32]) {
    until("they are gone", || pids.iter().all(|pid| *pid == 0 || !runs(*pid)));
}

/// Ends the one that has gone on without its parent.
fn end_the_other(other: u32) {
    assert!(runs(other));
    signal(other, libc::SIGKILL);
    until_gone(&[other]);
}

#[test]
fn a_daemon_dies_with_a_parent_that_is_killed_and_others_go_on() {
    let _alone = alone();
    for by_zygote in [false, true] {
        let (process, [daemon, other, zygote], _order) = host_of(by_zygote);
        assert!(runs(daemon) && runs(other) && (zygote != 0) == by_zygote);
        process.kill().expect("it is ours");
        assert_eq!(ended(&process), ExitStatus::Signal(libc::SIGKILL));
        until_gone(&[daemon, zygote]);
        end_the_other(other);
    }
}

#[test]
fn a_daemon_dies_with_its_parent_even_while_it_is_stopped() {
    let _alone = alone();
    for by_zygote in [false, true] {
        let (process, [daemon, other, _], _order) = host_of(by_zygote);
        signal(daemon, libc::SIGSTOP);
        process.kill().expect("it is ours");
        ended(&process);
        until_gone(&[daemon]);
        end_the_other(other);
    }
}

#[test]
fn a_daemon_ends_when_its_parent_ends_in_order() {
    let _alone = alone();
    for by_zygote in [false, true] {
        let (process, [daemon, other, zygote], order) = host_of(by_zygote);
        drop(order);
        assert_eq!(ended(&process), DONE);
        until_gone(&[daemon, zygote]);
        end_the_other(other);
    }
}

#[test]
fn a_daemon_that_is_dropped_is_gone() {
    let _alone = alone();
    for method in methods() {
        let builder = Process::builder(&program()).daemon(true).start_method(method);
        let process = builder.start(sleep, &PATIENCE).expect("a process");
        let pid = process.pid();
        assert!(process.daemon() && process.is_alive());
        drop(process);
        assert!(!children().contains(&pid));
    }
}

#[test]
fn a_daemon_outlives_the_thread_that_started_it() {
    let _alone = alone();
    for method in methods() {
        let start = move || {
            Process::builder(&program()).daemon(true).start_method(method).start(sleep, &PATIENCE).expect("a process")
        };
        let process = std::thread::spawn(start).join().expect("a process");
        std::thread::sleep(Duration::from_millis(50));
        assert!(process.is_alive());
        process.terminate().expect("it is ours");
        assert_eq!(ended(&process), ExitStatus::Signal(libc::SIGTERM));
    }
}

#[test]
fn a_process_sees_its_parent_end() {
    let _alone = alone();
    let (reader, writer) = pipe();
    let process = Process::builder(&program()).start(leave_behind, &writer).expect("a process");
    drop(writer);
    assert_eq!(ended(&process), DONE);
    assert_eq!(read(reader), "true true false");
}
