//! `mp-scan refs`.

use super::Command;
use crate::cli::ScanOptions;
use crate::heap_scan::{self, HeapPlan, refs};
use crate::session::Session;
use analysis::Results;
use anyhow::{Result, bail};

/// Find who points to an address, an allocation or a range.
///
/// An address in an allocation stands for the whole of it. Each pointer is shown with the allocation, the symbol or the stack that it lies in.
/// With --depth, then come the pointers to the allocations that those lie in; with --to-roots, the shortest way to each from a global, a stack
/// or a register.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What",
    after_help = "\
ADDR is a number, a register ($rip), a variable path (p->next), a symbol with an
optional +OFFSET, or --expr EXPRESSION.

Examples:
  mp-scan refs session
  mp-scan refs 0x55d0c8a012a0 --to-roots
  mp-scan refs buffer..buffer+4096 --depth 3"
)]
pub struct Arguments {
    /// What is pointed to: ADDR, or ADDR..ADDR.
    #[arg(value_name = "ADDR|A..B", allow_hyphen_values = true)]
    what: String,

    /// How many steps back: 1 for pointers to it, 2 for pointers to the allocations that those are in, too.
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: u32,

    /// The shortest chain of pointers to each, from a root.
    #[arg(long)]
    to_roots: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Refs;

impl Command for Refs {
    const NAME: &'static str = "refs";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let Arguments { what, depth, to_roots, scan } = arguments;
        if what.trim().is_empty() {
            bail!("the address is empty");
        }
        if depth == 0 {
            bail!("--depth is at least 1");
        }
        let inspected = session.inspect()?;
        let addresses = inspected.addresses();
        session.note_expressions([&what], scan.format);
        let target = if what.contains("..") {
            refs::Wanted::Range(addresses.range(&what)?)
        } else {
            refs::Wanted::Address(addresses.address(&what)?)
        };
        let limit = session.limit(&scan)?;
        let registers = inspected.registers();
        let course = refs::course(refs::Question { target, depth, to_roots, limit }, registers);
        let none = Results::Refs(Vec::new());
        heap_scan::run(session, &scan, HeapPlan { command: Self::NAME, inspected, course, none })
    }
}
