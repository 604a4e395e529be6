//! `mp-scan symbols`: the symbols of the target's modules whose names match a regex.

use super::Command;
use crate::cli::ScanOptions;
use crate::file_scan::{self, FilePlan};
use crate::modules::Modules;
use crate::session::Session;
use analysis::symbols::{self, Kind, SymbolsOptions};
use anyhow::Result;

/// Find functions and variables by their names, in all modules.
///
/// Names are matched as `nm -C` shows them: C++ and Rust demangled, others as they are. A regex with an `@` in it sees them with their
/// versions (`memcpy@@GLIBC_2.14`). Symbols come from .symtab, .dynsym, .gnu_debugdata and separate debug files; what a module only
/// uses is shown as undefined. No process is needed: addresses are then those of the file.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What and where",
    after_help = "\
Examples:
  mp-scan symbols 'parse_.*header'
  mp-scan symbols --kind data '^g_' --module server
  mp-scan symbols --mangled '^_ZN4llvm.*E$' --limit 10"
)]
pub struct Arguments {
    /// What the names have somewhere in them: over bytes, not Unicode; ^ and $ are a name's ends.
    #[arg(value_name = "REGEX", allow_hyphen_values = true)]
    regex: String,

    /// Symbols of this kind: function, data or any (default).
    #[arg(long, value_name = "KIND", default_value = "any", hide_default_value = true, value_parser = kind)]
    kind: Wanted,

    /// Match names as they are in the symbol tables, mangled.
    #[arg(long)]
    mangled: bool,

    /// Only this module, by its file name or path.
    #[arg(long, value_name = "M")]
    module: Option<String>,

    /// Ignore case.
    #[arg(short = 'i', long)]
    ignore_case: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

/// One kind, or any.
#[derive(Clone, Copy, Debug)]
struct Wanted(Option<Kind>);

fn kind(text: &str) -> Result<Wanted, String> {
    match text {
        "any" => Ok(Wanted(None)),
        "function" => Ok(Wanted(Some(Kind::Function))),
        "data" => Ok(Wanted(Some(Kind::Data))),
        _ => Err("use function, data or any".into()),
    }
}

#[derive(Debug)]
pub struct Symbols;

impl Command for Symbols {
    const NAME: &'static str = "symbols";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        symbols::check(&arguments.regex, arguments.ignore_case)?;
        let limit = usize::try_from(session.limit(&arguments.scan)?).unwrap_or(usize::MAX);
        let mut modules = Modules::of(session)?;
        modules.keep(arguments.module.as_deref())?;
        let options = SymbolsOptions {
            regex: arguments.regex,
            ignore_case: arguments.ignore_case,
            mangled: arguments.mangled,
            kind: arguments.kind.0,
            limit,
        };
        let plan = FilePlan {
            modules,
            inflates: |_| false,
            analysis: Box::new(move |set| Ok(symbols::Symbols::new(set, options)?)),
        };
        file_scan::run(session, &arguments.scan, plan)
    }
}
