//! `mp-scan strings`.

use super::Command;
use crate::cli::ScanOptions;
use crate::places::Places;
use crate::plan::{self, Plan};
use crate::present::Matches;
use crate::session::Session;
use analysis::Columns;
use analysis::strings::{Encoding, Strings as StringsPlan};
use anyhow::{Result, bail};

/// Find printable strings in memory.
///
/// A string is a run of printable characters as long as it can be; one of more than 64 KiB is cut, and marked.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What and where",
    after_help = "\
Examples:
  mp-scan strings --in heap --min 12
  mp-scan strings --regex 'https?://' --in writable
  mp-scan strings --encoding utf16 --output /tmp/strings.txt --limit 100000"
)]
pub struct Arguments {
    /// The least characters of a string.
    #[arg(long, value_name = "N", default_value_t = 6)]
    min: u32,

    /// What the strings are encoded in: ascii, utf8 or utf16.
    #[arg(long, value_name = "ENCODING", default_value = "ascii", value_parser = encoding)]
    encoding: Encoding,

    /// Only strings that this regex matches anywhere.
    #[arg(long, value_name = "R", allow_hyphen_values = true)]
    regex: Option<String>,

    /// Where to look, repeatable: all (default), heap, stack, writable, executable, anonymous, file, module:NAME, A..B.
    #[arg(long = "in", value_name = "WHERE", allow_hyphen_values = true)]
    places: Vec<String>,

    #[command(flatten)]
    scan: ScanOptions,
}

fn encoding(text: &str) -> Result<Encoding, String> {
    match text {
        "ascii" => Ok(Encoding::Ascii),
        "utf8" | "utf-8" => Ok(Encoding::Utf8),
        "utf16" | "utf-16" => Ok(Encoding::Utf16),
        _ => Err("use ascii, utf8 or utf16".into()),
    }
}

#[derive(Debug)]
pub struct Strings;

impl Command for Strings {
    const NAME: &'static str = "strings";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        if arguments.min == 0 {
            bail!("--min is at least 1");
        }
        let places = Places::parse(&arguments.places)?;
        let mut plan = StringsPlan {
            min: arguments.min,
            encoding: arguments.encoding,
            regex: arguments.regex,
            limit: session.limit(&arguments.scan)?,
            ..StringsPlan::default()
        };
        plan.check()?;
        let inspected = session.inspect()?;
        session.note_expressions(&arguments.places, arguments.scan.format);
        let coverage = places.cover(&inspected, &inspected.addresses(), &|| session.interrupt.requested())?;
        plan.ranges = coverage.ranges;
        plan.layout = inspected.space.layout;
        let columns = Columns { size: true, pattern: false };
        let plan =
            Plan { analysis: plan, presenter: Matches, inspected, left_out: coverage.left_out, columns, context: 0 };
        plan::run(session, &arguments.scan, plan)
    }
}
