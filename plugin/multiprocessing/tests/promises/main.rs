//! Where others fail: what docs/multiprocessing.md promises and no other subject's tests show.

#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
#[path = "../common/leftovers.rs"]
mod leftovers;
#[path = "../worker/promises.rs"]
mod promises;

use basics::{IDENTITY, PATIENCE, program, signal};
use leftovers::{alone, children, descendants};
use multiprocessing::codec::Descriptor;
use multiprocessing::{ExitStatus, Pool, PoolConfig, Process, SharedMemory, TaskError};
use promises::{deaf, keep, visit};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn pool() -> Pool {
    let mut config = PoolConfig::new(program());
    config.workers = 2;
    Pool::start(config).expect("a pool")
}

/// A pipe whose writing end can be a part of an argument.
fn pipe() -> (PipeReader, Descriptor) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (reader, writer.into())
}

/// Waits until so many have said something.
fn hear(from: &mut PipeReader, count: usize) {
    from.read_exact(&mut vec![0; count]).expect("all say something");
}

#[test]
fn a_segment_outlives_whoever_only_visits_it() {
    let _alone = alone();
    let memory = SharedMemory::new(4096).expect("memory");
    memory.write(0, &[7]).expect("it is inside");
    let visitor = Process::builder(&program()).start(visit, &memory).expect("a process");
    assert_eq!(visitor.join_timeout(PATIENCE).expect("a wait"), Some(ExitStatus::Exited(0)));
    let (mut heard, said) = pipe();
    let argument = (memory, said, None);
    let killed = Process::builder(&program()).start(keep, &argument).expect("a process");
    hear(&mut heard, 1);
    signal(killed.pid(), libc::SIGKILL);
    assert_eq!(killed.join_timeout(PATIENCE).expect("a wait"), Some(ExitStatus::Signal(libc::SIGKILL)));
    let mut found = [0];
    argument.0.read(0, &mut found).expect("it is inside");
    assert_eq!(found, [8]);
}

#[test]
fn nothing_is_left_when_everything_is_killed() {
    let _alone = alone();
    let (mut heard, said) = pipe();
    let memory = SharedMemory::new(1 << 20).expect("memory");
    let argument = (memory, said, Some(program().path().to_owned()));
    let host = Process::builder(&program()).start(keep, &argument).expect("a process");
    hear(&mut heard, 2);
    // Its process dies with it. That no name is left, and no process, is what the end of each test looks for.
    signal(host.pid(), libc::SIGKILL);
    assert_eq!(host.join_timeout(PATIENCE).expect("a wait"), Some(ExitStatus::Signal(libc::SIGKILL)));
}

#[test]
fn a_start_leaves_the_memory_of_its_host_alone() {
    let _alone = alone();
    const PAGES: usize = 64 << 8;
    let mut memory = vec![1_u8; PAGES * 4096];
    // SAFETY: the range is the vector's, rounded to whole pages inside of it by the kernel's own check, and the advice changes no byte.
    unsafe {
        let start = memory.as_mut_ptr().map_addr(|address| address.next_multiple_of(4096));
        libc::madvise(start.cast(), memory.len() - 4096, libc::MADV_NOHUGEPAGE);
    }
    let mut touch = || memory.iter_mut().step_by(4096).for_each(|byte| *black_box(byte) += 1);
    touch();
    // A fork write-protects every page of its parent, which takes as long as there are pages, and each costs a fault after it.
    let memory = SharedMemory::new(4096).expect("shared memory");
    let process = Process::builder(&program()).start(visit, &memory).expect("a process");
    let before = faults();
    touch();
    let after = faults();
    assert_eq!(process.join_timeout(PATIENCE).expect("a wait"), Some(ExitStatus::Exited(0)));
    assert!(after - before < PAGES as i64 / 10, "{} faults after a start", after - before);
}

/// How many pages of this thread have had to be seen to.
fn faults() -> i64 {
    // SAFETY: all zeroes are a value of it, and the call fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage.ru_minflt
    }
}

#[test]
fn a_pool_whose_idle_workers_are_killed_is_terminated_as_any_other() {
    let _alone = alone();
    let pool = pool();
    let (mut heard, said) = pipe();
    for worker in pool.status().expect("it answers") {
        signal(worker.pid, libc::SIGKILL);
    }
    // They were in no task, so nobody has to hear of it.
    let other = Descriptor::from(said.as_fd().try_clone_to_owned().expect("one more"));
    let tasks = pool.map_async(deaf, [said, other]);
    hear(&mut heard, 2);
    pool.terminate();
    assert_eq!(children(), Vec::<u32>::new());
    assert!(tasks.get().iter().all(|task| matches!(task, Err(TaskError::Closed))));
}

#[test]
fn a_process_that_is_left_behind_is_seen() {
    let _alone = alone();
    let mut shell =
        Command::new("sh").args(["-c", "sleep 60 & echo $!"]).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut line = String::new();
    BufReader::new(shell.stdout.take().expect("it is piped")).read_line(&mut line).expect("a number");
    shell.wait().expect("it ends");
    let left = line.trim();
    assert_eq!(children(), Vec::<u32>::new());
    // It may still be about to become that program.
    let end = std::time::Instant::now() + PATIENCE;
    while descendants() != [format!("{left} sleep 60 ")] {
        assert!(std::time::Instant::now() < end, "{:?}", descendants());
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(left.parse().expect("a number"), libc::SIGKILL);
}

#[test]
fn a_name_that_is_left_behind_is_seen_and_one_of_another_program_is_not() {
    let alone = alone();
    let path = |kind: &str| format!("/dev/shm/{kind}-of-{}", std::process::id());
    let (left, other) = (path("left"), path("other"));
    let file = std::fs::File::create(&other).expect("a file");
    // It is in the environment that what a test has started is told from what it has not.
    let mut program = Command::new("sleep").arg("60").env_clear().stdin(file).spawn().expect("a process");
    assert_eq!(alone.new_names(PATIENCE), BTreeSet::new());
    std::fs::write(&left, "").expect("a file");
    assert_eq!(alone.new_names(Duration::ZERO), BTreeSet::from([left.clone()]));
    std::fs::remove_file(left).expect("it is there");
    program.kill().expect("it lives");
    program.wait().expect("its status");
    assert_eq!(alone.new_names(Duration::ZERO), BTreeSet::from([other.clone()]));
    std::fs::remove_file(other).expect("it is there");
}

#[test]
fn every_test_looks_for_what_is_left_of_it() {
    let _alone = alone();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut count = 0;
    for subject in std::fs::read_dir(folder).expect("the tests").flatten() {
        for file in std::fs::read_dir(subject.path()).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            for test in text.split("\n#[test]\n").skip(1) {
                let body = test.split("\n}\n").next().expect("a function");
                let name = body.lines().find(|line| line.starts_with("fn ")).expect("a function");
                assert!(
                    body.contains("alone = alone();"),
                    "{}: {name} must begin with `let _alone = alone();`",
                    path.display()
                );
                count += 1;
            }
        }
    }
    assert!(count > 100, "only {count} tests were found");
}

#[test]
fn what_the_documentation_names_is_there() {
    let _alone = alone();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(folder.join("../../docs/multiprocessing.md")).expect("the page");
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let [_, seen, _, tests] = cells[..] else { panic!("four columns: {row}") };
        for script in quoted(seen).filter(|text| text.ends_with(".py")) {
            assert!(folder.join("tests/cpython").join(script).exists(), "{script}");
        }
        // A subject and its tests, and maybe another subject.
        for part in tests.trim_end_matches(" |").split("; ") {
            let mut words = quoted(part);
            let (Some(subject), true) = (words.next(), !part.contains("scripts/bench")) else { continue };
            for test in words.filter(|word| !word.contains('/')) {
                let (file, function) = test.rsplit_once("::").unwrap_or(("main", test));
                let text = std::fs::read_to_string(folder.join(format!("tests/{subject}/{file}.rs"))).expect(test);
                assert!(text.contains(&format!("\n#[test]\nfn {function}() {{\n")), "{subject}: {test}");
                named += 1;
            }
        }
    }
    assert!(named > 15, "only {named} tests are named");
}

/// What is in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
