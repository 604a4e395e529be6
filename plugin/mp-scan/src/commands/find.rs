//! `mp-scan find`.

use super::Command;
use crate::cli::{PatternArguments, PatternKind, PatternText, ScanOptions};
use crate::places::Places;
use crate::plan::{self, Plan};
use crate::present::Matches;
use crate::session::Session;
use analysis::Columns;
use analysis::find::{Find as FindPlan, Pattern};
use anyhow::{Result, bail};

/// Find bytes, strings, numbers, pointers and regex matches in memory.
///
/// Every occurrence of a pattern is found, overlapping ones too. Regexes match leftmost-first and do not overlap. What
/// is found is shown in address order; a scan stops when its first N matches are certain (--limit N).
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "Where and how",
    after_help = "\
Examples:
  mp-scan find --string 'session-4711'
  mp-scan find --bytes 'de ad ?? ef' --int 4711:8 --in heap
  mp-scan find --pointer-range buffer..buffer+4096 --in stack --in module:libcache.so
  mp-scan find --regex 'token=[0-9a-f]{32}' --context 32
  mp-scan find --string error --count"
)]
pub struct Arguments {
    #[command(flatten)]
    patterns: PatternArguments,

    /// Ignore the case of ASCII letters, in strings and regexes.
    #[arg(short, long)]
    ignore_case: bool,

    /// Where to look, repeatable: all (default), heap, stack, writable, executable, anonymous, file, module:NAME, A..B.
    #[arg(long = "in", value_name = "WHERE", allow_hyphen_values = true)]
    places: Vec<String>,

    /// Only at addresses that are multiples of N [default: 1; for pointers, their size].
    #[arg(long, value_name = "N")]
    align: Option<u64>,

    /// Count all matches, and show none.
    #[arg(long)]
    count: bool,

    /// Show N bytes before and after each match.
    #[arg(long, value_name = "N", default_value_t = 0)]
    context: u64,

    /// The most bytes that a regex may match.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_length: u32,

    /// Leave out pages that are in swap.
    #[arg(long)]
    no_swap: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Find;

impl Command for Find {
    const NAME: &'static str = "find";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        if arguments.patterns.0.is_empty() {
            bail!(
                "nothing to find: give a pattern, such as --string S, --bytes HEX, --regex R, --int N or --pointer ADDR"
            );
        }
        if arguments.align == Some(0) {
            bail!("--align is at least 1");
        }
        // What is wrong with a pattern is said before what is wrong with the target, but for those that need it.
        let plain =
            arguments.patterns.0.iter().map(|text| plain(text, arguments.ignore_case)).collect::<Result<Vec<_>>>()?;
        let places = Places::parse(&arguments.places)?;
        let inspected = session.inspect()?;
        let addresses = inspected.addresses();
        let written = arguments.patterns.0.iter().map(|pattern| &pattern.text).chain(&arguments.places);
        session.note_expressions(written, arguments.scan.format);
        let patterns = plain
            .into_iter()
            .zip(&arguments.patterns.0)
            .map(|(pattern, text)| match (pattern, text.kind) {
                (Some(pattern), _) => Ok(pattern),
                (None, PatternKind::PointerRange) => {
                    let range = addresses.range(&text.text)?;
                    Ok(Pattern::pointer_range(range.start, range.end)?)
                }
                (None, _) => Ok(Pattern::Pointer(addresses.address(&text.text)?)),
            })
            .collect::<Result<Vec<_>>>()?;
        let coverage = places.cover(&inspected, &addresses, &|| session.interrupt.requested())?;
        let columns = Columns {
            size: patterns.iter().any(|pattern| matches!(pattern, Pattern::Regex(_))),
            pattern: patterns.len() > 1,
        };
        let plan = FindPlan {
            ranges: coverage.ranges,
            patterns,
            layout: inspected.space.layout,
            ignore_case: arguments.ignore_case,
            align: arguments.align,
            count: arguments.count,
            limit: session.limit(&arguments.scan)?,
            max_length: arguments.max_length,
            swapped: !arguments.no_swap,
            ..FindPlan::default()
        };
        plan.check()?;
        let plan = Plan {
            analysis: plan,
            presenter: Matches,
            inspected,
            left_out: coverage.left_out,
            columns,
            context: arguments.context,
        };
        plan::run(session, &arguments.scan, plan)
    }
}

/// A pattern that means the same for every target; `None` for one with addresses in it.
fn plain(pattern: &PatternText, ignore_case: bool) -> Result<Option<Pattern>> {
    let text = pattern.text.as_str();
    Ok(Some(match pattern.kind {
        PatternKind::String => Pattern::string(text)?,
        PatternKind::Utf16 => Pattern::utf16(text)?,
        PatternKind::Bytes => Pattern::bytes(text)?,
        PatternKind::Regex => Pattern::regex(text, ignore_case)?,
        PatternKind::Int => Pattern::int(text)?,
        PatternKind::Float => Pattern::float(text)?,
        PatternKind::Pointer | PatternKind::PointerRange if text.is_empty() => bail!("pattern is empty"),
        PatternKind::Pointer | PatternKind::PointerRange => return Ok(None),
    }))
}
