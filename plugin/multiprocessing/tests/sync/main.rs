//! Locks and the like, between threads and between real processes, which are killed.

#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
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

use basics::{PATIENCE, SOON, program, until};
use multiprocessing::{Function, Process};

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
