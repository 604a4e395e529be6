//! What is peculiar to a zygote.

use crate::common::*;
use std::sync::Arc;

fn by(zygote: &Arc<Zygote>) -> multiprocessing::Builder {
    Process::builder(&program()).start_method(StartMethod::Zygote(zygote.clone()))
}

#[test]
fn a_zygote_preloads_once_and_makes_children_of_this_process() {
    let _alone = alone();
    let zygote = Zygote::new(&program());
    assert_eq!((zygote.pid(), zygote.program()), (None, &program()));
    zygote.start().expect("a zygote");
    let pid = zygote.pid().expect("it runs");
    for _ in 0..5 {
        let found = facts_of(|builder| builder.start_method(StartMethod::Zygote(zygote.clone())));
        assert_eq!((found.preloaded, found.system_parent), (1, std::process::id()));
        assert_ne!(found.pid, pid);
    }
    assert_eq!(zygote.pid(), Some(pid));
    assert_eq!(facts_of(|builder| builder).preloaded, 0);
}

#[test]
fn a_zygote_that_was_killed_is_started_anew() {
    let _alone = alone();
    let zygote = Zygote::new(&program());
    let sleeping = by(&zygote).start(sleep, &PATIENCE).expect("a process");
    for _ in 0..5 {
        let pid = zygote.pid().expect("it runs");
        signal(pid, libc::SIGKILL);
        assert_eq!(ended(&by(&zygote).start(nothing, &()).expect("a process")), DONE);
        assert_ne!(zygote.pid(), Some(pid));
    }
    // What it had made goes on.
    assert!(sleeping.is_alive());
    sleeping.kill().expect("it is ours");
    assert_eq!(ended(&sleeping), ExitStatus::Signal(libc::SIGKILL));
}

#[test]
fn a_zygote_does_not_hear_the_terminal_and_its_processes_do() {
    let _alone = alone();
    let zygote = Zygote::new(&program());
    let process = by(&zygote).start(sleep, &PATIENCE).expect("a process");
    let pid = zygote.pid().expect("it runs");
    signal(pid, libc::SIGINT);
    signal(pid, libc::SIGQUIT);
    assert_eq!(ended(&by(&zygote).start(nothing, &()).expect("a process")), DONE);
    assert_eq!(zygote.pid(), Some(pid));
    process.signal(libc::SIGINT).expect("it is ours");
    assert_eq!(ended(&process), ExitStatus::Signal(libc::SIGINT));
}

#[test]
fn what_a_zygote_made_goes_on_without_it() {
    let _alone = alone();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let zygote = Zygote::new(&program());
    let process = by(&zygote).start(until_closed, &reader.into()).expect("a process");
    drop(zygote);
    // The kernel's list leaves out one now and then while another ends.
    until("what the zygote made is the only child", || children() == [process.pid()]);
    drop(writer);
    assert_eq!(ended(&process), DONE);
}

#[test]
fn a_zygote_with_threads_makes_no_process_and_says_why() {
    let _alone = alone();
    let program = program().argument("preload-threads");
    let zygote = StartMethod::Zygote(Zygote::new(&program));
    for _ in 0..2 {
        let error = Process::builder(&program).start_method(zygote.clone()).start(nothing, &());
        let error = error.expect_err("it has threads").to_string();
        assert!(error.contains("2 threads"), "{error}");
    }
}

#[test]
fn a_zygote_that_has_received_much_makes_processes() {
    let _alone = alone();
    let program = program().argument("preload-pipe");
    let zygote = StartMethod::Zygote(Zygote::new(&program));
    let process = Process::builder(&program).start_method(zygote).start(nothing, &()).expect("it has one thread");
    assert_eq!(ended(&process), DONE);
}

#[test]
fn a_zygote_that_cannot_start_says_so() {
    let _alone = alone();
    let error = |program: &Program| {
        let zygote = StartMethod::Zygote(Zygote::new(program));
        Process::builder(program).start_method(zygote).start(nothing, &()).expect_err("it cannot start")
    };
    assert!(matches!(error(&Program::new("/nowhere/worker", "build")), StartError::Spawn { .. }));
    let silent = Program::new("/bin/sh", "build").argument("-c").argument("exit 5");
    assert!(matches!(error(&silent), StartError::Died { status: ExitStatus::Exited(5), .. }));
    let other = error(&Program::new(worker(), "other build"));
    assert!(matches!(other, StartError::Died { status: ExitStatus::Exited(3), .. }), "{other:?}");
    let zygote = StartMethod::Zygote(Zygote::new(&program().argument("abort")));
    let error = Process::builder(&program()).start_method(zygote).start(nothing, &()).expect_err("another program");
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn a_zygote_that_is_killed_at_any_moment_makes_each_process_once() {
    let _alone = alone();
    let zygote = Zygote::new(&program());
    let (mut reader, writer) = pipe();
    let ended_all = std::sync::atomic::AtomicBool::new(false);
    const COUNT: usize = 100;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pause = 0;
            while !ended_all.load(std::sync::atomic::Ordering::Relaxed) {
                if let Some(pid) = zygote.pid() {
                    // Asking for it waits for a start to end; this ends in another one.
                    pause = (pause + 37) % 700;
                    std::thread::sleep(Duration::from_micros(pause));
                    signal(pid, libc::SIGKILL);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for _ in 0..COUNT {
            // It may be killed more often than anybody tries.
            let process = loop {
                match by(&zygote).start(says_once, &writer) {
                    Ok(process) => break process,
                    Err(StartError::Died { status: ExitStatus::Signal(libc::SIGKILL), .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!(ended(&process), DONE);
        }
        ended_all.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    drop(writer);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut reader, &mut said).expect("text");
    assert_eq!(said.len(), COUNT, "as many as were started, and no other");
}
