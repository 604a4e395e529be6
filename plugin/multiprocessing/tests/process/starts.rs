//! How processes start, what they start with, and what happens where they cannot.

use crate::common::*;
use multiprocessing::codec::Descriptor;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn the_environment_the_folder_and_the_streams_are_those_that_were_wanted() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let before = std::env::current_dir().expect("a folder");
    for method in methods() {
        assert_eq!(facts_of(|builder| builder.start_method(method.clone())).variable, None);
        std::env::set_current_dir(&folder).expect("a folder");
        let found = facts_of(|builder| {
            builder
                .env("MULTIPROCESSING_TEST", "one")
                .env("MULTIPROCESSING_TEST", "two")
                .stdin(Stdio::Null)
                .stdout(std::fs::File::open("/dev/zero").expect("a file"))
                .start_method(method.clone())
        });
        std::env::set_current_dir(&before).expect("a folder");
        assert_eq!(found.variable.as_deref(), Some("two"));
        assert_eq!(found.folder, folder.path().canonicalize().expect("a folder").to_string_lossy());
        assert_eq!(found.descriptors[..2], ["/dev/null", "/dev/zero"]);
        assert_eq!(found.blocked_signals, "0000000000000000");
        let ignored = u64::from_str_radix(&found.ignored_signals, 16).expect("a number");
        // Rust's own start ignores SIGPIPE, and the C library keeps two signals (32 and 33) for itself.
        assert_eq!(ignored & !(3 << 31), 1 << (libc::SIGPIPE - 1), "{found:?}");
    }
}

#[test]
fn a_process_has_no_descriptor_of_its_parent() {
    let _alone = alone();
    // Descriptors that are not close-on-exec, as hosts have them.
    let files: Vec<_> = (0..20).map(|_| tempfile::tempfile().expect("a file")).collect();
    for file in &files {
        nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("a descriptor");
    }
    for method in methods() {
        let found = facts_of(|builder| builder.start_method(method.clone()));
        // What this process prints may go to a file as well, but to one that has a name.
        assert!(!found.descriptors.iter().any(|link| link.ends_with(" (deleted)")), "{found:?}");
        assert!(found.descriptors.len() < 12, "{found:?}");
    }
}

#[test]
fn many_processes_at_a_time_have_as_many_descriptors_each() {
    let _alone = alone();
    for method in methods() {
        let started: Vec<_> = (0..10)
            .map(|_| {
                let (reader, writer) = pipe();
                let process = Process::builder(&program()).start_method(method.clone()).start(facts, &writer);
                (process.expect("a process"), reader)
            })
            .collect();
        let count = |(process, reader): (Process, _)| {
            let found = read_facts(&read(reader));
            assert_eq!(ended(&process), DONE);
            found.descriptors.len()
        };
        let counts: Vec<usize> = started.into_iter().map(count).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    }
}

#[test]
fn many_processes_end_as_they_are_told() {
    let _alone = alone();
    for method in methods() {
        let start =
            |_| Process::builder(&program()).start_method(method.clone()).start(sleep, &PATIENCE).expect("a process");
        let sleeping: Vec<_> = (0..20).map(start).collect();
        for process in &sleeping {
            process.terminate().expect("it is ours");
        }
        assert!(sleeping.iter().all(|process| ended(process) == ExitStatus::Signal(libc::SIGTERM)));
    }
}

#[test]
fn starts_do_not_care_what_the_other_threads_of_the_parent_do() {
    let _alone = alone();
    let wanted = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for thread in 0..64_usize {
            let wanted = &wanted;
            scope.spawn(move || {
                // Each holds the allocator's locks, and the environment's, at any moment.
                while wanted.load(Ordering::Relaxed) {
                    std::hint::black_box(vec![0_u8; 16 + 37 * thread]);
                    std::hint::black_box(std::env::var_os("PATH"));
                    std::thread::yield_now();
                }
            });
        }
        let all = std::panic::catch_unwind(|| {
            for method in methods() {
                for _ in 0..40 {
                    let process = Process::builder(&program()).start_method(method.clone()).start(nothing, &());
                    assert_eq!(ended(&process.expect("a process")), DONE);
                }
            }
        });
        wanted.store(false, Ordering::Relaxed);
        all.expect("all of them");
    });
}

#[test]
fn processes_are_started_by_many_threads_at_a_time() {
    let _alone = alone();
    for method in methods() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for daemon in [false, true, false, true] {
                        let found = facts_of(|builder| builder.daemon(daemon).start_method(method.clone()));
                        assert_eq!(found.daemon, daemon);
                    }
                });
            }
        });
    }
}

#[test]
fn what_cannot_start_says_so() {
    let _alone = alone();
    let start = |program: &Program| Process::builder(program).start(nothing, &());
    let error = start(&Program::new("/nowhere/worker", "build")).expect_err("it is not there");
    assert!(error.to_string().contains("/nowhere/worker: No such file"), "{error}");
    let error = start(&Program::new("/etc/passwd", "build")).expect_err("it is no program");
    assert!(error.to_string().contains("Permission denied"), "{error}");
    // One that is no worker program ends as it likes.
    let process = start(&Program::new("/bin/sh", "build").argument("-c").argument("exit 5")).expect("a process");
    assert_eq!(ended(&process), ExitStatus::Exited(5));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let other = Program::new(worker(), "other build");
    let process = Process::builder(&other).stderr(writer).start(nothing, &()).expect("a process");
    assert_eq!(ended(&process), ExitStatus::Exited(3));
    let said = read(reader);
    assert!(said.contains("other build") && said.contains("test build"), "{said}");
}

#[test]
fn too_many_handles_are_an_error_and_no_process() {
    let _alone = alone();
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let handle = |_| Descriptor::from(reader.as_fd().try_clone_to_owned().expect("a descriptor"));
    let many: Vec<_> = (0..260).map(handle).collect();
    let error = Process::builder(&program()).start(holds, &many).expect_err("they find no room");
    assert!(error.to_string().contains("too many"), "{error}");
    let process = Process::builder(&program()).start(holds, &many.into_iter().take(250).collect()).expect("a process");
    assert_eq!(ended(&process), DONE);
}

#[test]
fn a_program_that_never_comes_to_its_registry_starts_no_other() {
    let _alone = alone();
    // It starts itself, with a main that does not begin as it should.
    let output = std::process::Command::new(worker()).arg("bomb").output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("let main begin with"), "{said}");
    assert_eq!(said.matches("let main begin with").count(), 1, "{said}");
}
