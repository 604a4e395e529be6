//! `mp-scan heap`.

use super::Command;
use crate::cli::ScanOptions;
use crate::heap_scan::contents::{self, By};
use crate::heap_scan::{self, HeapPlan, check};
use crate::session::Session;
use analysis::{HeapRows, Results};
use anyhow::Result;

/// Show what fills the heap: allocations by type, size, arena or region; or what in it does not add up.
///
/// Covers glibc's malloc, found by its structures in memory: debug symbols are not needed. A type is what an object's vtable, or
/// the container that holds an allocation, says that it is; `?` where neither does. Bytes are those that may be used.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What",
    after_help = "\
Examples:
  mp-scan heap
  mp-scan heap --by size --top 50
  mp-scan heap --retained
  mp-scan heap --check"
)]
pub struct Arguments {
    /// What allocations are summed up by: size, type, arena, region.
    #[arg(long, value_name = "size|type|arena|region", default_value = "type")]
    by: By,

    /// Also how many bytes would be free without them: theirs, and those of all that only they reach.
    #[arg(long)]
    retained: bool,

    /// Show the N largest.
    #[arg(long, value_name = "N", default_value_t = 30)]
    top: u64,

    /// Check the heap instead: sizes, neighbours, free lists, tops; each finding with what lies before it.
    #[arg(long, conflicts_with_all = ["by", "retained", "top"])]
    check: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Heap;

impl Command for Heap {
    const NAME: &'static str = "heap";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let Arguments { by, retained, top, check, scan } = arguments;
        let inspected = session.inspect()?;
        let (course, none) = if check {
            (check::course(session.limit(&scan)?), Results::Findings(Vec::new()))
        } else {
            let registers = retained.then(|| inspected.registers());
            (contents::course(by, registers, scan.limit.unwrap_or(top)), Results::Heap(HeapRows::default()))
        };
        let plan = HeapPlan { command: Self::NAME, inspected, course, none };
        heap_scan::run(session, &scan, plan)
    }
}
