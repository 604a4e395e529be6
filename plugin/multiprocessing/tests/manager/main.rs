//! Managers, in processes of their own and in this one, and what becomes of them and of their clients.

mod deaths;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod objects;
mod remote;
#[expect(dead_code, reason = "some of it is for the worker only")]
#[path = "../worker/manager.rs"]
mod worker;

use leftovers::alone;
use multiprocessing::connection::{Address, AuthKey};
use multiprocessing::{ExitStatus, Function, ManagedTypes, Manager, Process, Program};
use std::time::Duration;

/// Long enough for whatever is to happen on a busy machine. Nothing waits so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const WORKER: &str = env!("CARGO_BIN_EXE_multiprocessing-test-worker");

pub fn program() -> Program {
    Program::new(WORKER, "test build")
}

pub fn manager() -> Manager {
    Manager::start(&program()).expect("a manager")
}

pub fn anywhere() -> Address {
    "127.0.0.1:0".parse().expect("an address")
}

/// A manager in this process, which has the types that every one has and no more.
pub fn manager_here() -> Manager {
    Manager::serve(&Address::Abstract(Vec::new()), AuthKey::random().expect("randomness"), ManagedTypes::new())
        .expect("a manager")
}

pub fn start<F: Function<Setup = ()>>(function: F, argument: &F::Argument) -> Process {
    Process::builder(&program()).daemon(true).start(function, argument).expect("a process")
}

pub fn succeeds(process: &Process) {
    assert_eq!(process.join_timeout(PATIENCE).expect("a child"), Some(ExitStatus::Exited(0)));
}

/// Waits for something that is about to be so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: `kill` takes two numbers.
    unsafe { libc::kill(pid as i32, signal) };
}
