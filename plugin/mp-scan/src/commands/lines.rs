//! `mp-scan lines`.

use super::Command;
use crate::cli::ScanOptions;
use crate::file_scan::{self, FilePlan};
use crate::modules::Modules;
use crate::session::Session;
use analysis::lines::Lines as LinesPlan;
use anyhow::{Error, Result};

/// Find the code of source files, by a regex over their paths.
///
/// Each row of a line table whose file matches is a range of addresses; ranges that follow on each other and are of one line are
/// one. Paths are as the compiler wrote them, below the folder in which it ran where they are not absolute. Without a process,
/// addresses are file addresses.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What and where",
    after_help = "\
Examples:
  mp-scan lines 'server/session\\.cc$'
  mp-scan lines . --module libfoo.so --limit 100000 --output /tmp/lines.txt"
)]
pub struct Arguments {
    /// A regex that a source file's path matches anywhere, over bytes.
    #[arg(value_name = "REGEX", allow_hyphen_values = true)]
    regex: String,

    /// Only this module, by file name or path.
    #[arg(long, value_name = "M")]
    module: Option<String>,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Lines;

impl Command for Lines {
    const NAME: &'static str = "lines";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        LinesPlan::check(&arguments.regex).map_err(Error::msg)?;
        let mut modules = Modules::of(session)?;
        modules.keep(arguments.module.as_deref())?;
        let loaded = modules.modules.iter().any(|module| module.base.is_some());
        let limit = session.limit(&arguments.scan)?;
        let regex = arguments.regex;
        let analysis = Box::new(move |set| Ok(LinesPlan::new(set, regex, limit, loaded)));
        file_scan::run(session, &arguments.scan, FilePlan { modules, inflates, analysis })
    }
}

/// What is read of debug info.
fn inflates(section: &str) -> bool {
    let needed = [".debug_info", ".debug_abbrev", ".debug_str", ".debug_str_offsets", ".debug_addr"];
    needed.contains(&section) || section.starts_with(".debug_line")
}
