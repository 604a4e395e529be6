//! What the tests of processes share.

pub use crate::basics::{PATIENCE, program, signal, until, worker};
pub use crate::leave::leave;
pub use crate::leftovers::{alone, children};
pub use crate::process::*;
use multiprocessing::codec::Descriptor;
pub use multiprocessing::{ExitStatus, Process, Program, StartError, StartMethod, Stdio, Zygote};
use std::fs::File;
use std::io::PipeReader;
pub use std::time::Duration;

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

/// Whether a process runs, whoever's child it is.
pub fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X ") && stat.contains("multi"))
}
