//! What a process that runs shows of itself, and how it ends. After CPython's test_process and its siblings.

use crate::common::*;
use multiprocessing::sync::{Lock, LockError};
use multiprocessing::{active_children, cpu_count, current, parent};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

fn start_sleeping(method: &StartMethod) -> Process {
    Process::builder(&program()).start_method(method.clone()).start(sleep, &PATIENCE).expect("a process")
}

#[test]
fn this_process_is_the_main_one() {
    let _alone = alone();
    assert_eq!((current().name(), current().pid(), current().daemon()), ("main", std::process::id(), false));
    assert!(parent().is_none());
    assert!((1..1024).contains(&cpu_count()));
}

#[test]
fn a_process_knows_who_it_is_and_who_started_it() {
    let _alone = alone();
    for method in methods() {
        for daemon in [false, true] {
            let found = facts_of(|builder| builder.name("Ada").daemon(daemon).start_method(method.clone()));
            assert_eq!((&*found.name, found.daemon), ("Ada", daemon));
            let this = std::process::id();
            assert_eq!((found.parent, found.system_parent, &*found.parent_name), (this, this, "main"));
            assert_eq!(found.thread, (found.pid, found.pid), "the main thread's number is the process's");
            assert_eq!(found.threads, 1 + usize::from(daemon));
        }
        let names = [facts_of(|builder| builder).name, facts_of(|builder| builder).name];
        assert!(names[0].starts_with("process-") && names[0] != names[1], "{names:?}");
    }
}

#[test]
fn a_process_is_alive_until_it_has_ended() {
    let _alone = alone();
    for method in methods() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let builder = Process::builder(&program()).name("Bob").start_method(method);
        let process = builder.start(until_closed, &reader.into()).expect("a process");
        assert_eq!((process.name(), process.daemon(), process.exit_status()), ("Bob", false, None));
        assert!(process.is_alive());
        assert_eq!(process.join_timeout(Duration::ZERO).expect("a wait"), None);
        assert_eq!(process.join_timeout(Duration::from_millis(5)).expect("a wait"), None);
        assert!(active_children().iter().any(|child| child.name == "Bob" && child.pid == process.pid()));
        drop(writer);
        assert_eq!(ended(&process), DONE);
        assert_eq!((process.is_alive(), process.exit_status()), (false, Some(DONE)));
        assert_eq!(process.join().expect("again"), DONE);
        assert_eq!(active_children(), []);
    }
}

#[test]
fn an_argument_of_any_size_arrives_with_its_handles() {
    let _alone = alone();
    for method in methods() {
        for count in [0, 5, 100_000, 1_000_000] {
            let (source, into) = std::io::pipe().expect("a pipe");
            let (reader, writer) = pipe();
            let numbers: Vec<u64> = (0..count).collect();
            let argument = (numbers, source.into(), writer);
            let process =
                Process::builder(&program()).start_method(method.clone()).start(sums, &argument).expect("a process");
            drop(argument);
            std::io::Write::write_all(&mut { into }, b"text").expect("somebody reads it");
            assert_eq!(read(reader), format!("text {}", count * count.saturating_sub(1) / 2));
            assert_eq!(ended(&process), DONE);
        }
    }
}

#[test]
fn the_status_says_how_it_ended() {
    let _alone = alone();
    for method in methods() {
        let start = || Process::builder(&program()).start_method(method.clone());
        for code in [0, 1, 7, 255] {
            assert_eq!(ended(&start().start(leave, &code).expect("a process")), ExitStatus::Exited(code));
        }
        assert_eq!(ended(&start().start(nothing, &()).expect("a process")), DONE);
        for number in [libc::SIGTERM, libc::SIGKILL, libc::SIGSEGV, libc::SIGBUS, libc::SIGINT] {
            let status = ended(&start().start(dies, &number).expect("a process"));
            assert_eq!((status, status.code()), (ExitStatus::Signal(number), Some(-number)));
        }
    }
}

#[test]
fn an_error_and_a_panic_are_told_on_standard_error() {
    let _alone = alone();
    for method in methods() {
        for (panic, text) in [(false, "what went wrong"), (true, "what went worse")] {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            let builder = Process::builder(&program()).name("Eve").start_method(method.clone()).stderr(writer);
            let process = if panic { builder.start(panics, &text.into()) } else { builder.start(refuse, &text.into()) }
                .expect("a process");
            let said = read(reader);
            assert!(said.contains(text), "{said}");
            assert_eq!(ended(&process), ExitStatus::Exited(1));
        }
    }
}

#[test]
fn an_error_that_nobody_reads_is_one_all_the_same() {
    let _alone = alone();
    for method in methods() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let builder = Process::builder(&program()).start_method(method).stderr(writer);
        let process = builder.start(refuse, &"what went wrong".into()).expect("a process");
        assert_eq!(ended(&process), ExitStatus::Exited(1));
    }
}

#[test]
fn a_function_of_other_types_is_not_called() {
    let _alone = alone();
    for method in methods() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let builder = Process::builder(&program()).start_method(method).stderr(writer);
        let process = builder.start(other::refuse, &7).expect("a process");
        let said = read(reader);
        assert!(said.contains("'refuse'") && said.contains("other types"), "{said}");
        assert_eq!(ended(&process), ExitStatus::Exited(1));
    }
}

#[test]
fn terminate_and_kill_end_it() {
    let _alone = alone();
    for method in methods() {
        let process = start_sleeping(&method);
        process.terminate().expect("it is ours");
        assert_eq!(ended(&process), ExitStatus::Signal(libc::SIGTERM));
        // It is gone, and nobody else is meant.
        process.terminate().expect("it is ours");
        process.kill().expect("it is ours");
        let process = start_sleeping(&method);
        // Even while it is stopped.
        process.signal(libc::SIGSTOP).expect("it is ours");
        process.kill().expect("it is ours");
        assert_eq!(ended(&process), ExitStatus::Signal(libc::SIGKILL));
        assert!(start_sleeping(&method).signal(1000).is_err());
        for child in active_children() {
            signal(child.pid, libc::SIGKILL);
        }
        until("it is gone", || children().iter().all(|pid| !active_children().iter().any(|c| c.pid == *pid)));
    }
}

#[test]
fn the_sentinel_is_readable_once_it_has_ended() {
    let _alone = alone();
    for method in methods() {
        let process = start_sleeping(&method);
        let look =
            |time: PollTimeout| poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], time).expect("a poll");
        assert_eq!(look(PollTimeout::ZERO), 0);
        process.kill().expect("it is ours");
        assert_eq!(look(PollTimeout::NONE), 1);
        assert_eq!(look(PollTimeout::ZERO), 1);
        ended(&process);
    }
}

#[test]
fn closing_a_live_one_is_an_error_that_gives_it_back() {
    let _alone = alone();
    for method in methods() {
        let process = start_sleeping(&method);
        let error = process.close().expect_err("it runs");
        assert!(error.to_string().contains("still runs"), "{error}");
        let process = error.into_process();
        process.kill().expect("it is ours");
        ended(&process);
        assert_eq!(process.close().expect("it has ended"), ExitStatus::Signal(libc::SIGKILL));
    }
}

#[test]
fn a_process_that_is_dropped_goes_on_and_leaves_no_zombie() {
    let _alone = alone();
    for method in methods() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let process = Process::builder(&program()).start_method(method).start(until_closed, &reader.into());
        let pid = process.as_ref().expect("a process").pid();
        drop(process);
        std::thread::sleep(Duration::from_millis(20));
        assert!(runs(pid));
        assert!(active_children().iter().any(|child| child.pid == pid));
        drop(writer);
        until("it is gone, and no zombie", || !children().contains(&pid));
        assert_eq!(active_children(), []);
    }
}

#[test]
fn the_threads_that_a_process_waits_for_end_before_it() {
    let _alone = alone();
    for method in methods() {
        let (reader, writer) = pipe();
        let process = Process::builder(&program()).start_method(method).start(scoped, &writer).expect("a process");
        drop(writer);
        assert_eq!(ended(&process), DONE);
        assert_eq!(read(reader), "the thread's end");
    }
}

#[test]
fn a_lock_that_a_process_held_when_it_was_killed_is_the_next_ones() {
    let _alone = alone();
    for method in methods() {
        let lock = Lock::new().expect("memory");
        let (reader, writer) = pipe();
        let argument = (lock.clone(), writer);
        let process = Process::builder(&program()).start_method(method).start(holds_lock, &argument);
        let process = process.expect("a process");
        drop(argument);
        assert_eq!(read(reader), "held");
        process.kill().expect("it is ours");
        assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
        assert_eq!(ended(&process), ExitStatus::Signal(libc::SIGKILL));
    }
}

#[test]
fn processes_start_processes() {
    let _alone = alone();
    let (reader, writer) = pipe();
    let process = Process::builder(&program()).start(recurse, &(2, Vec::new(), writer)).expect("a process");
    assert_eq!(ended(&process), DONE);
    assert_eq!(read(reader).lines().collect::<Vec<_>>(), ["[0, 0]", "[0, 1]", "[0]", "[1, 0]", "[1, 1]", "[1]", "[]"]);
}

#[test]
fn a_wait_is_not_ended_by_a_signal() {
    let _alone = alone();
    extern "C" fn handler(_: i32) {}
    let action = nix::sys::signal::SigAction::new(
        nix::sys::signal::SigHandler::Handler(handler),
        nix::sys::signal::SaFlags::empty(),
        nix::sys::signal::SigSet::empty(),
    );
    // SAFETY: the handler does nothing at all.
    unsafe { nix::sys::signal::sigaction(nix::sys::signal::Signal::SIGUSR1, &action) }.expect("a handler");
    let argument = (std::process::id(), libc::SIGUSR1, 20);
    let process = Process::builder(&program()).start(interrupt, &argument).expect("a process");
    // Starts are interrupted, too.
    for method in methods() {
        for _ in 0..3 {
            let other = Process::builder(&program()).start_method(method.clone()).start(nothing, &());
            assert_eq!(ended(&other.expect("a process")), DONE);
        }
    }
    assert_eq!(ended(&process), DONE);
}
