//! Managers, in processes of their own and in this one, and what becomes of them and of their clients.

#[path = "../common/basics.rs"]
#[expect(dead_code, reason = "some of it is for the tests of other subjects")]
mod basics;
mod deaths;
#[path = "../common/leftovers.rs"]
mod leftovers;
mod objects;
mod remote;
#[expect(dead_code, reason = "some of it is for the worker only")]
#[path = "../worker/manager.rs"]
mod worker;

use basics::{IDENTITY, PATIENCE, program, signal, until, worker};
use leftovers::alone;
use multiprocessing::connection::{Address, AuthKey};
use multiprocessing::{ExitStatus, Function, ManagedTypes, Manager, Process};

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
