//! `mp-scan leaks`.

use super::Command;
use crate::cli::ScanOptions;
use crate::heap_scan::leaks::{self, Grouping};
use crate::heap_scan::{self, HeapPlan};
use crate::session::Session;
use analysis::{LeakRows, Results};
use anyhow::Result;

/// Find leaked allocations: those that nothing in the process can reach any more.
///
/// An allocation is reached if a global, a register, a stack in use, a thread's own data, another mapping or a reached allocation has a
/// pointer to any byte of it. What only looks like a pointer counts as one, so what is shown is lost, and a little more may be. One lost
/// structure is one line: its head, to which nothing points, and what it holds.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What",
    after_help = "\
Examples:
  mp-scan leaks
  mp-scan leaks --group type
  mp-scan leaks --format json --limit 100000 --output leaks.json"
)]
pub struct Arguments {
    /// What is put in one line: heads of the same size, or of the same type [default: of the same of both].
    #[arg(long, value_name = "size|type")]
    group: Option<Grouping>,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Leaks;

impl Command for Leaks {
    const NAME: &'static str = "leaks";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let Arguments { group, scan } = arguments;
        let inspected = session.inspect()?;
        let limit = session.limit(&scan)?;
        let course = leaks::course(group.unwrap_or(Grouping::Both), inspected.registers(), limit);
        let none = Results::Leaks(LeakRows::default());
        heap_scan::run(session, &scan, HeapPlan { command: Self::NAME, inspected, course, none })
    }
}
