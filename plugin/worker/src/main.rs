//! `mp-worker`: runs the tasks of mp-scan's analyses in a process of its own. Its pool starts it.
#![forbid(unsafe_code)]

mod scan;
mod symbols;

use analysis::{find::Find, remote};
use multiprocessing::{Registry, worker_main};
use scan::Scan;
use std::process::ExitCode;
use symbols::Symbols;

fn main() -> ExitCode {
    worker_main(Registry::new(remote::BUILD).function::<Scan<Find>>().function::<Symbols>())
}
