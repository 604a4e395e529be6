//! What the tests of processes share.

use crate::acts::IDENTITY;
pub use crate::leftovers::{alone, children};
pub use crate::process::*;
use multiprocessing::codec::Descriptor;
pub use multiprocessing::{ExitStatus, Process, Program, StartError, StartMethod, Stdio, Zygote};
use std::fs::File;
use std::io::PipeReader;
use std::path::Path;
pub use std::time::{Duration, Instant};

/// Long enough for whatever is to happen on a busy machine. Nothing waits so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn worker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_multiprocessing-test-worker"))
}

pub fn program() -> Program {
    Program::new(worker(), IDENTITY)
}

/// Each way to start a process of the tests' program.
pub fn methods() -> [StartMethod; 2] {
    [StartMethod::Spawn, StartMethod::Zygote(Zygote::new(&program()))]
}

/// A pipe whose writing end can be a part of an argument.
pub fn pipe() -> (PipeReader, Descriptor) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (reader, writer.into())
}

pub fn read(reader: PipeReader) -> String {
    std::io::read_to_string(File::from(std::os::fd::OwnedFd::from(reader))).expect("text")
}

/// Its status, once it has ended.
pub fn ended(process: &Process) -> ExitStatus {
    process.join_timeout(PATIENCE).expect("it can be waited for").expect("it ends")
}

pub const DONE: ExitStatus = ExitStatus::Exited(0);

/// Runs `facts` in a process that `describe` has described.
pub fn facts_of(describe: impl FnOnce(multiprocessing::Builder) -> multiprocessing::Builder) -> Facts {
    let (reader, writer) = pipe();
    let process = describe(Process::builder(&program())).start(facts, &writer).expect("a process");
    drop(writer);
    let found = read(reader);
    assert_eq!(ended(&process), DONE);
    let found = read_facts(&found);
    assert_eq!(found.pid, process.pid());
    found
}

/// Waits for something that is about to be so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process runs, whoever's child it is.
pub fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X ") && stat.contains("multi"))
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: `kill` takes two numbers.
    unsafe { libc::kill(pid as i32, signal) };
}
