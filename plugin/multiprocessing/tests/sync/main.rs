//! Locks and the like, between threads and between real processes, which are killed.

#[path = "../common/leftovers.rs"]
mod leftovers;
mod processes;
mod segments;
#[path = "../common/signals.rs"]
mod signals;
mod threads;
mod torture;
#[path = "../worker/sync.rs"]
#[expect(dead_code, reason = "some of it is for the worker only")]
mod work;

use multiprocessing::{Function, Process, Program};
use std::time::{Duration, Instant};

/// Long enough for whatever is to happen on a busy machine. Nothing waits so long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// The worker program.
fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_multiprocessing-test-worker"), "test build")
}

/// Runs a function of the worker program in a process of its own.
fn start<F: Function<Setup = ()>>(function: F, argument: &F::Argument) -> Process {
    Process::builder(&program()).start(function, argument).expect("a process")
}

/// Waits for processes that end well.
fn all_end_well(processes: &[Process]) {
    for process in processes {
        let status = process.join_timeout(PATIENCE).expect("a status");
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

/// Ends a process by force.
fn kill(process: &Process) {
    process.kill().expect("ours");
    process.join_timeout(PATIENCE).expect("a status").expect("it was killed");
}

/// Waits for something that is about to be so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
