//! `mp-scan lookup`.

use super::Command;
use super::xrefs::named;
use crate::cli::ScanOptions;
use crate::file_scan::{self, FilePlan};
use crate::modules::Modules;
use crate::session::Session;
use analysis::lookup::{Given, Lookup as LookupPlan, LookupOptions, ModuleNames, Spelling, address_in, in_module};
use analysis::symbols::{self, Symbols, SymbolsOptions};
use analysis::xrefs::{NamedSymbol, SymbolText};
use anyhow::{Context as _, Result, bail};
use lldb::address::number;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use target::modules::FileSet;

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
A symbol is a name, mangled or not, with or without its parameters; where there
are several of that name, all are looked up, but for those outside of --module.

Examples:
  mp-scan lookup 0x7f12a0c01234 $pc main+4
  mp-scan lookup libfoo.so+0x12ab0
  mp-scan lookup --file /tmp/addresses.txt --format json --output /tmp/frames.json"
)]
pub struct Arguments {
    /// An address: a number, a register, a variable or a symbol, with an optional +offset; or MODULE+0xOFFSET.
    #[arg(value_name = "ADDR")]
    addresses: Vec<String>,

    /// Look up the address of each line of FILE, in hex: 0x1234, 1234, libfoo.so+0x1234, libfoo.so(+0x1234), or a line with one of
    /// these in it, as gdb, LLDB, perf script, backtrace(), sanitizers and the kernel write them.
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
        let mut words = Vec::new();
        for word in &arguments.addresses {
            words.push(meant(&modules, arguments.module.as_deref(), word)?);
        }
        if let Some(file) = &arguments.file {
            let (more, other) = of_lines(file, &|| session.interrupt.requested())?;
            words.extend(more.into_iter().map(Word::Address));
            modules.warnings.extend(other);
        }
        let loaded = modules.modules.iter().any(|module| module.base.is_some());
        place(&modules, &mut words, arguments.module.as_deref(), loaded)?;
        let options = LookupOptions {
            spelling: if arguments.mangled { Spelling::Mangled } else { Spelling::Demangled },
            returns: arguments.return_addresses,
            loaded,
            // Whoever names addresses wants to see them all.
            limit: arguments.scan.limit.unwrap_or(u64::MAX),
        };
        let inflates = file_scan::has_places;
        let symbols: Vec<&SymbolText> = words.iter().filter_map(Word::symbol).collect();
        if symbols.is_empty() {
            let given: Vec<Given> = words.into_iter().filter_map(Word::address).collect();
            keep(&mut modules, &given);
            let analysis = Box::new(move |set| Ok(LookupPlan::new(set, &given, options)));
            return file_scan::run(session, &arguments.scan, FilePlan { modules, inflates, analysis });
        }
        let names: Vec<String> = symbols.into_iter().map(|text| format!("(?:{})", text.regex())).collect();
        let search = SymbolsOptions { regex: names.join("|"), limit: usize::MAX, ..SymbolsOptions::default() };
        let analysis = Box::new(move |set| Ok(Symbols::new(set, search)?));
        let first = FilePlan { modules, inflates, analysis };
        let then = move |set: FileSet, found: Vec<symbols::Found>| {
            let mut given = Vec::new();
            for word in words {
                word.resolve(&set, &found, &mut given)?;
            }
            Ok(LookupPlan::new(set, &given, options))
        };
        file_scan::run_after(session, &arguments.scan, first, Box::new(then))
    }
}

/// What a word of the command line means.
#[derive(Debug)]
enum Word {
    Address(Given),
    /// A symbol or, if there is none of that name, an offset in a module.
    Symbol(SymbolText, Option<Given>),
}

impl Word {
    fn symbol(&self) -> Option<&SymbolText> {
        match self {
            Self::Symbol(text, _) => Some(text),
            Self::Address(_) => None,
        }
    }

    fn address(self) -> Option<Given> {
        match self {
            Self::Address(given) => Some(given),
            Self::Symbol(..) => None,
        }
    }

    /// Adds the addresses that are meant, of symbols those that have been `found`.
    fn resolve(self, set: &FileSet, found: &[symbols::Found], given: &mut Vec<Given>) -> Result<()> {
        match self {
            Self::Address(address) => given.push(address),
            Self::Symbol(text, other) => {
                let found: Vec<NamedSymbol> = found.iter().filter_map(|found| named(set, found, &text)).collect();
                match (text.addresses(set, &found), other) {
                    (Ok(addresses), _) => given.extend(
                        addresses
                            .into_iter()
                            .map(|(module, address)| Given::In(set.modules[module].path.as_str().into(), address)),
                    ),
                    (Err(_), Some(other)) => given.push(other),
                    (Err(error), None) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// What a word of the command line means. Nothing of it is asked of the debugger that would make it read symbols.
fn meant(modules: &Modules, module: Option<&str>, word: &str) -> Result<Word> {
    let of_module = |given: &Given| matches!(given, Given::In(name, _) if names(modules).find(name).is_some());
    if let Some(given) = in_module(word, false).filter(of_module) {
        return Ok(Word::Address(given));
    }
    if let Some(address) = modules.address(word)? {
        return Ok(Word::Address(Given::Address(address)));
    }
    let mut text = SymbolText::parse(word, number);
    text.module = text.module.or_else(|| module.map(str::to_owned));
    // Names are searched as they are demangled.
    if text.is_mangled() {
        text.name = symbols::demangled(&text.name);
    }
    Ok(Word::Symbol(text, in_module(word, true).filter(of_module)))
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

/// Says of file addresses of which module they are.
fn place(modules: &Modules, words: &mut [Word], module: Option<&str>, loaded: bool) -> Result<()> {
    let module = match module {
        Some(name) => modules.named(name)?,
        None if loaded => return Ok(()),
        None => &modules.modules[0],
    };
    let name: Arc<str> = module.path.as_str().into();
    for word in words {
        if let Word::Address(given) = word
            && let Given::Address(address) = *given
        {
            *given = Given::In(Arc::clone(&name), address);
        }
    }
    Ok(())
}

/// Leaves the modules that addresses may lie in.
fn keep(modules: &mut Modules, given: &[Given]) {
    // The module whose beginning is the nearest below an address is the only one that it may lie in.
    let mut bases: Vec<(u64, usize)> =
        modules.modules.iter().enumerate().filter_map(|(index, module)| Some((module.base?, index))).collect();
    bases.sort_unstable();
    let names = names(modules);
    let mut named = names.finder();
    let mut wanted = vec![false; modules.modules.len()];
    for given in given {
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
}
