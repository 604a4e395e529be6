//! `mp-scan types`.

use super::Command;
use crate::cli::ScanOptions;
use crate::file_scan::{self, FilePlan};
use crate::modules::Modules;
use crate::session::Session;
use analysis::types::{Sort, Types as Search, TypesOptions, reads};
use anyhow::Result;

/// Find types by their names, with their sizes and layouts.
///
/// Structs, classes, unions, enumerations and typedefs that debug information defines, under their qualified names. What many
/// units define alike is one result; different definitions of one name are shown one after another, each with its place. Names
/// that one unit has for several types, as those of alias templates, are not counted as such. Types of functions are named after
/// them: main()::local. What a value of an enumeration of Rust has in it is a variant, and unused bytes are the enumeration's. No
/// process is needed.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What and how",
    after_help = "\
Examples:
  mp-scan types '^Session$' --layout
  mp-scan types . --sort size --limit 20
  mp-scan types '^app::' --padding --min-size 64"
)]
pub struct Arguments {
    /// What the qualified names have somewhere in them: over bytes, not Unicode; ^ and $ are a name's ends.
    #[arg(value_name = "REGEX", allow_hyphen_values = true)]
    regex: String,

    /// Only types of at least N bytes.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_size: u64,

    /// The order: name (default), size or padding, the largest first.
    #[arg(long, value_name = "ORDER", value_parser = sort)]
    sort: Option<Sort>,

    /// Show members with their offsets and sizes, holes, and lines of the cache (64 bytes).
    #[arg(long)]
    layout: bool,

    /// Those first in which most bytes are taken by no member; the same as --sort padding.
    #[arg(long, conflicts_with = "sort")]
    padding: bool,

    /// Only this module, by its file name or path.
    #[arg(long, value_name = "M")]
    module: Option<String>,

    #[command(flatten)]
    scan: ScanOptions,
}

fn sort(text: &str) -> Result<Sort, String> {
    match text {
        "name" => Ok(Sort::Name),
        "size" => Ok(Sort::Size),
        "padding" => Ok(Sort::Padding),
        _ => Err("use name, size or padding".into()),
    }
}

#[derive(Debug)]
pub struct Types;

impl Command for Types {
    const NAME: &'static str = "types";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let options = TypesOptions {
            regex: arguments.regex,
            min_size: arguments.min_size,
            sort: if arguments.padding { Sort::Padding } else { arguments.sort.unwrap_or_default() },
            layout: arguments.layout,
            limit: usize::try_from(session.limit(&arguments.scan)?).unwrap_or(usize::MAX),
        };
        options.check()?;
        let mut modules = Modules::of(session)?;
        modules.keep(arguments.module.as_deref())?;
        let analysis = Box::new(move |set| Ok(Search::new(set, options)));
        file_scan::run(session, &arguments.scan, FilePlan { modules, inflates: reads, analysis })
    }
}
