//! How workers start, and what happens where they cannot.

use crate::common::*;
use multiprocessing::{ExitStatus, StartError};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

fn start_error(worker: impl Into<std::path::PathBuf>, arguments: &[&str]) -> StartError {
    let mut config = config(2);
    let program = Program::new(worker, IDENTITY);
    config.program = arguments.iter().fold(program, |program, argument| program.argument(argument));
    config.start_timeout = Duration::from_millis(300);
    Pool::start(config).expect_err("it cannot start")
}

#[test]
fn a_missing_worker_is_named() {
    let _alone = alone();
    let error = start_error("/nowhere/worker", &[]);
    assert!(matches!(error, StartError::Spawn { .. }));
    assert!(error.to_string().contains("/nowhere/worker: No such file"), "{error}");
    let error = start_error("/etc/passwd", &[]);
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

#[test]
fn another_build_and_another_protocol_are_named() {
    let _alone = alone();
    let error = start_error(worker(), &["identity", "other build"]).to_string();
    for part in [worker().to_str().expect("text"), IDENTITY, "other build"] {
        assert!(error.contains(part), "{error}");
    }
    let error = start_error(worker(), &["protocol"]);
    assert!(matches!(error, StartError::OtherProtocol { theirs: 0x63, .. }), "{error:?}");
}

#[test]
fn a_program_that_is_no_worker_is_given_up() {
    let _alone = alone();
    let error = start_error(worker(), &["abort"]);
    assert!(matches!(error, StartError::Died { status: ExitStatus::Signal(libc::SIGABRT), .. }), "{error:?}");
    let error = start_error("/bin/sh", &["-c", "echo what it says >&2; exit 5"]);
    assert!(matches!(error, StartError::Died { status: ExitStatus::Exited(5), .. }), "{error:?}");
    assert!(error.to_string().contains("what it says"), "{error}");
    for arguments in ["silent", "nonsense"] {
        let error = start_error(worker(), &[arguments]);
        assert!(matches!(error, StartError::Silent { .. }), "{error:?}");
    }
}

#[test]
fn a_worker_that_goes_missing_later_ends_the_tasks_with_the_reason() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("worker");
    std::fs::copy(worker(), &copy).expect("a copy");
    let mut config = config(2);
    config.program = Program::new(&copy, IDENTITY);
    let pool = Pool::start(config).expect("a pool");
    assert_whole(&pool, 2);
    std::fs::remove_file(&copy).expect("it is ours");
    let ended = run(&pool, (0..6).map(|id| if id < 2 { Act::Abort } else { Act::Square(id) }));
    for (id, result) in ended {
        match result {
            Err(TaskError::Signal { .. }) if id < 2 => {}
            // The last worker may have done some of them before it met its own.
            Ok(_) if id >= 2 => {}
            Err(TaskError::NoWorker(StartError::Spawn { path, .. })) if id >= 2 => assert_eq!(path, copy),
            other => panic!("task {id}: {other:?}"),
        }
    }
    assert!(matches!(run_one(&pool, Act::Pid), Err(TaskError::NoWorker(_))));
    assert!(pool.restart().is_err());
    // Once it is there again, the next job brings the pool back.
    std::fs::copy(worker(), &copy).expect("a copy");
    assert!(run_one(&pool, Act::Pid).is_ok());
    assert_whole(&pool, 2);
}

#[test]
fn a_worker_has_nothing_of_its_host() {
    let _alone = alone();
    // A descriptor that is not close-on-exec, as hosts have them.
    let file = tempfile::tempfile().expect("a file");
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("a descriptor");
    let number = std::os::fd::AsRawFd::as_raw_fd(&file.as_fd());
    let link = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("a link");
    let pool = pool(1);
    let Brought::Text(facts) = run_one(&pool, Act::Facts).expect("facts") else { panic!("no text") };
    for fact in ["leader true", "group true", "stdin /dev/null", "SigBlk:\t0000000000000000"] {
        assert!(facts.contains(fact), "no {fact}: {facts}");
    }
    let ignored = facts.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("a line");
    let ignored = u64::from_str_radix(ignored, 16).expect("a number");
    // Rust's own start ignores SIGPIPE, and the C library the two signals (32 and 33) that it keeps for itself.
    assert_eq!(ignored & !(3 << 31), 1 << (libc::SIGPIPE - 1), "{facts}");
    assert!(!facts.contains(&*link.to_string_lossy()), "{facts}");
}

#[test]
fn workers_die_with_a_host_that_is_killed() {
    let _alone = alone();
    let mut host = Command::new(worker()).arg("host").arg(worker()).stdout(Stdio::piped()).spawn().expect("a host");
    let mut line = String::new();
    BufReader::new(host.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let workers: Vec<u32> =
        line.trim().trim_matches(['[', ']']).split(", ").map(|pid| pid.parse().expect("a number")).collect();
    assert_eq!(workers.len(), 2);
    let alive = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z ") && stat.contains("multi"))
    };
    assert!(workers.iter().all(alive), "they are busy");
    host.kill().expect("it is ours");
    host.wait().expect("it is ours");
    until("the workers are gone", || !workers.iter().any(alive));
}

#[test]
fn a_host_that_takes_the_status_of_every_child() {
    let _alone = alone();
    let pool = pool(2);
    let job = acts(&pool);
    (0..20).for_each(|id| job.submit(id, &Act::Exit(1)).expect("encoded"));
    let mut ended = 0;
    loop {
        // What a debugger's own thread may do.
        while let Ok(status) = nix::sys::wait::waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)) {
            if status == nix::sys::wait::WaitStatus::StillAlive {
                break;
            }
        }
        match job.next_timeout(Duration::from_micros(50)) {
            Next::Ended(_, Err(TaskError::Exited { code: 1, .. } | TaskError::Unknown { .. })) => ended += 1,
            Next::Nothing => {}
            Next::Idle => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended, 20);
    assert_whole(&pool, 2);
}

#[test]
fn a_worker_started_by_hand_says_what_it_is() {
    let _alone = alone();
    let output = Command::new(worker()).stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by its pool"));
}
