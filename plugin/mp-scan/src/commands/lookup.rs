//! `mp-scan lookup`.

use super::Command;
use crate::cli::ScanOptions;
use crate::file_scan::{self, FilePlan};
use crate::modules::Modules;
use crate::session::Session;
use analysis::lookup::{Given, Lookup as LookupPlan, LookupOptions, ModuleNames, Spelling, address_in, in_module};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tell what is at addresses: module, symbol, inlined functions, source lines.
///
/// Any number of addresses is looked up in one pass over the modules' debug info. They are load addresses; of a target without a
/// process, file addresses of its executable. Of functions that are inlined at an address, the innermost comes first. Code that no
/// module has, such as a JIT's, has no names.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What is looked up",
    mut_arg("limit", |limit| limit.help("Show at most N results [default: all]")),
    after_help = "\
Examples:
  mp-scan lookup 0x7f12a0c01234 $pc main+4
  mp-scan lookup libfoo.so+0x12ab0
  mp-scan lookup --file /tmp/addresses.txt --format json --output /tmp/frames.json"
)]
pub struct Arguments {
    /// An address: a number, a register, a variable or a symbol, with an optional +offset; or MODULE+0xOFFSET.
    #[arg(value_name = "ADDR")]
    addresses: Vec<String>,

    /// Look up the address of each line of FILE, in hex: 0x1234, 1234, libfoo.so+0x1234, libfoo.so(+0x1234), or a line of a backtrace
    /// with one of these in it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Addresses are file addresses of this module, by file name or path.
    #[arg(long, value_name = "M")]
    module: Option<String>,

    /// Addresses are where calls return to: look up the calls, which end right before.
    #[arg(long)]
    return_addresses: bool,

    /// Show names as the linker knows them.
    #[arg(long)]
    mangled: bool,

    #[command(flatten)]
    scan: ScanOptions,
}

#[derive(Debug)]
pub struct Lookup;

impl Command for Lookup {
    const NAME: &'static str = "lookup";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        if arguments.addresses.is_empty() && arguments.file.is_none() {
            bail!("nothing to look up: name addresses, or a file that has one a line with --file");
        }
        let mut modules = Modules::of(session)?;
        let mut given = Vec::new();
        for word in &arguments.addresses {
            given.push(address(&modules, arguments.module.as_deref(), word)?);
        }
        if let Some(file) = &arguments.file {
            let (more, other) = of_lines(file, &|| session.interrupt.requested())?;
            given.extend(more);
            modules.warnings.extend(other);
        }
        let loaded = modules.modules.iter().any(|module| module.base.is_some());
        keep(&mut modules, &mut given, arguments.module.as_deref(), loaded)?;
        let options = LookupOptions {
            spelling: if arguments.mangled { Spelling::Mangled } else { Spelling::Demangled },
            returns: arguments.return_addresses,
            loaded,
            // Whoever names addresses wants to see them all.
            limit: arguments.scan.limit.unwrap_or(u64::MAX),
        };
        let analysis = Box::new(move |set| Ok(LookupPlan::new(set, &given, options)));
        file_scan::run(session, &arguments.scan, FilePlan { modules, inflates: file_scan::has_places, analysis })
    }
}

/// An address of the command line.
fn address(modules: &Modules, module: Option<&str>, word: &str) -> Result<Given> {
    let of_module = |given: &Given| matches!(given, Given::In(name, _) if names(modules).find(name).is_some());
    // Of what looks like a file the debugger knows no more than we do, and would read the symbols of all modules to find that out.
    if let Some(given) = in_module(word, false).filter(of_module) {
        return Ok(given);
    }
    let resolved = modules.address(word, module);
    match (resolved, in_module(word, true).filter(of_module)) {
        (Ok(address), _) => Ok(Given::Address(address)),
        (Err(_), Some(given)) => Ok(given),
        (Err(error), _) => Err(error),
    }
}

fn names(modules: &Modules) -> ModuleNames<'_> {
    ModuleNames::new(modules.modules.iter().map(|module| module.path.as_str()))
}

/// As many lines are read between two questions whether to stop.
const LINES: usize = 1 << 12;

/// The addresses of a file's lines, and what is said of lines that have none.
fn of_lines(path: &Path, stop: &dyn Fn() -> bool) -> Result<(Vec<Given>, Option<String>)> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let (mut given, mut other) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if number % LINES == LINES - 1 && stop() {
            bail!("interrupted before anything was looked up, at line {} of {}", number + 1, path.display());
        }
        match address_in(line) {
            Some(address) => given.push(address),
            None => other.push((number + 1, line.trim())),
        }
    }
    if given.is_empty() {
        bail!("no line of {} has an address such as 0x7f12a0c01234 or libfoo.so+0x123", path.display());
    }
    let note = other.first().map(|(number, line)| {
        let line: String = line.chars().take(60).collect();
        let path = path.display();
        match other.len() {
            1 => format!("line {number} of {path} has no address: {line}"),
            count => format!("{count} lines of {path} have no address, the first is line {number}: {line}"),
        }
    });
    Ok((given, note))
}

/// Leaves the modules that addresses may lie in, and says of file addresses of which module they are.
fn keep(modules: &mut Modules, given: &mut [Given], module: Option<&str>, loaded: bool) -> Result<()> {
    if module.is_some() || !loaded {
        let name: Arc<str> = match module {
            Some(name) => {
                let mut named = modules.modules.clone();
                std::mem::swap(&mut modules.modules, &mut named);
                modules.keep(Some(name))?;
                let path = modules.modules[0].path.as_str().into();
                modules.modules = named;
                path
            }
            None => modules.modules[0].path.as_str().into(),
        };
        for given in given.iter_mut() {
            if let Given::Address(address) = given {
                *given = Given::In(Arc::clone(&name), *address);
            }
        }
    }
    // The module whose beginning is the nearest below an address is the only one that it may lie in.
    let mut bases: Vec<(u64, usize)> =
        modules.modules.iter().enumerate().filter_map(|(index, module)| Some((module.base?, index))).collect();
    bases.sort_unstable();
    let names = names(modules);
    let mut named = names.finder();
    let mut wanted = vec![false; modules.modules.len()];
    for given in given.iter() {
        match given {
            Given::Address(address) => {
                let after = bases.partition_point(|(base, _)| base <= address);
                if let Some((_, index)) = after.checked_sub(1).and_then(|at| bases.get(at)) {
                    wanted[*index] = true;
                }
            }
            Given::In(name, _) => {
                if let Some(index) = named.find(name) {
                    wanted[index] = true;
                }
            }
        }
    }
    let mut wanted = wanted.into_iter();
    modules.modules.retain(|_| wanted.next().unwrap_or(false));
    Ok(())
}
