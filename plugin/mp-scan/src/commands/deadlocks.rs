//! `mp-scan deadlocks`.

use super::Command;
use crate::cli::ScanOptions;
use crate::session::Session;
use crate::stack_scan::{self, deadlocks};
use analysis::Results;
use anyhow::Result;

/// Show which threads wait for whom: deadlocks, queues behind a thread, and other waits.
///
/// Cycles of threads that wait for each other come first, then queues behind locks and who has these, then threads that wait for
/// something to happen, the longest first. Mutexes and read-write locks of glibc tell their owners. Those of Rust, and locks that
/// readers share, do not: who has them is told by whose stacks or registers lead to them, and it is said that it is so.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What",
    after_help = "\
Examples:
  mp-scan deadlocks
  mp-scan deadlocks --format json --output deadlocks.json"
)]
pub struct Arguments {
    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Deadlocks;

impl Command for Deadlocks {
    const NAME: &'static str = "deadlocks";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let limit = session.limit(&arguments.scan)?;
        let none = Results::Deadlocks(Vec::new());
        stack_scan::run(session, &arguments.scan, Self::NAME, none, deadlocks::telling(limit))
    }
}
