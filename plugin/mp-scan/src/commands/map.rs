//! `mp-scan map`.

use super::Command;
use crate::cli::ScanOptions;
use crate::plan::{self, Plan};
use crate::present::Regions;
use crate::session::Session;
use analysis::Columns;
use analysis::ScanRange;
use analysis::entropy::Entropy;
use anyhow::Result;

/// Show what memory there is: regions by kind, with their size and what of them is resident or swapped.
///
/// A region is a run of contiguous mappings with the same permissions and backing.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What",
    after_help = "\
Examples:
  mp-scan map --summary
  mp-scan map --entropy --limit 1000"
)]
pub struct Arguments {
    /// Read the regions, and show how random they are: bits a byte, from 0 to 8 (compressed or encrypted).
    #[arg(long)]
    entropy: bool,

    /// One line for each kind of region, the largest first.
    #[arg(long)]
    summary: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Map;

impl Command for Map {
    const NAME: &'static str = "map";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let inspected = session.inspect()?;
        let read = inspected.space.regions.iter().filter(|region| arguments.entropy && region.is_readable());
        let ranges: Vec<ScanRange> = read.map(|region| ScanRange::within(region.range, region)).collect();
        let indices = ranges.iter().enumerate().map(|(index, part)| (part.range.start, index)).collect();
        let presenter = Regions { summary: arguments.summary, ranges: indices };
        let analysis = Entropy { ranges, ..Entropy::default() };
        let plan = Plan { analysis, presenter, inspected, left_out: (0, 0), columns: Columns::default(), context: 0 };
        plan::run(session, &arguments.scan, plan)
    }
}
