//! `mp-scan xrefs`.

use super::Command;
use crate::cli::{EXPRESSION, ScanOptions};
use crate::file_scan::{self, FilePlan};
use crate::modules::Modules;
use crate::session::Session;
use analysis::symbols::{self, Symbols, SymbolsOptions};
use analysis::xrefs::{Kind, Kinds, NamedSymbol, SymbolText, Targets, Xrefs as Search, XrefsOptions};
use anyhow::{Result, bail};
use lldb::address::{self, Context};
use target::AddressRange;
use target::modules::FileSet;

/// Find what refers to a function, a variable or an address, in the code and the data of all modules.
///
/// Calls, jumps and mentions in x86-64 code, also through the PLT and the GOT of other modules, and pointers in data. What is
/// referred to is the beginning of a function, any byte of a variable, one address, or a range A..B. Code is read from the
/// modules' files, so breakpoints do not show in it.
#[derive(Debug, clap::Parser)]
#[command(
    next_help_heading = "What",
    after_help = "\
ADDR is a number, a register ($rip), a variable path (p->next) or --expr
EXPRESSION. Without a process it is an address of the executable's file, or of
that of --module. SYMBOL is a name, mangled or not, with or without its
parameters, what a template returns, and its arguments, and with an optional
+OFFSET; where there are several of that name, all are meant, but for those
that --module does not define.

Examples:
  mp-scan xrefs free_session --kind call
  mp-scan xrefs 'Session::close(int)'
  mp-scan xrefs 'std::vector<int>::push_back'
  mp-scan xrefs 0x401136..0x401200"
)]
pub struct Arguments {
    /// What is referred to: SYMBOL, ADDR or ADDR..ADDR.
    #[arg(value_name = "ADDR|SYMBOL", allow_hyphen_values = true)]
    what: String,

    /// Only references of one kind: call, jump, mention, pointer [default: any].
    #[arg(long, value_name = "KIND", value_parser = kinds)]
    kind: Option<Kinds>,

    /// Module M has what is referred to; references are looked for in all modules.
    #[arg(long, value_name = "M")]
    module: Option<String>,

    #[command(flatten)]
    scan: ScanOptions,
}

fn kinds(text: &str) -> Result<Kinds, String> {
    let all = [Kind::Call, Kind::Jump, Kind::Mention, Kind::Pointer];
    if text == "any" {
        return Ok(Kinds::ALL);
    }
    let kind = all.into_iter().find(|kind| kind.name() == text);
    kind.map(Kinds::only).ok_or_else(|| "the kinds are call, jump, mention, pointer and any".to_owned())
}

/// What is asked about.
enum What {
    Range(AddressRange),
    Symbol(SymbolText),
}

#[derive(Debug)]
pub struct Xrefs;

impl Command for Xrefs {
    const NAME: &'static str = "xrefs";
    type Arguments = Arguments;

    fn run(session: &mut Session, arguments: Arguments) -> Result<()> {
        let Arguments { what, kind, module, scan } = arguments;
        if what.trim().is_empty() {
            bail!("the address is empty");
        }
        let modules = Modules::of(session)?;
        if let Some(name) = &module {
            modules.named(name)?;
        }
        session.note_expressions([&what], scan.format);
        let kinds = kind.unwrap_or(Kinds::ALL);
        let limit = session.limit(&scan)?;
        let loaded = modules.modules.iter().any(|module| module.base.is_some());
        match understood(&what, &modules)? {
            What::Range(range) => {
                let analysis = move |set: FileSet| {
                    let Targets { targets, labels } = Targets::at(&set, range, loaded, module.as_deref())?;
                    Ok(Search::new(set, XrefsOptions { targets, labels, kinds, limit })?)
                };
                let plan = FilePlan { modules, inflates: |_| false, analysis: Box::new(analysis) };
                file_scan::run(session, &scan, plan)
            }
            What::Symbol(mut text) => {
                text.module = text.module.or(module);
                let options = SymbolsOptions {
                    regex: text.regex(),
                    mangled: text.is_mangled(),
                    limit: usize::MAX,
                    ..SymbolsOptions::default()
                };
                let first = FilePlan {
                    modules,
                    inflates: |_| false,
                    analysis: Box::new(move |set| Ok(Symbols::new(set, options)?)),
                };
                let then = move |set: FileSet, found: Vec<symbols::Found>| {
                    let found: Vec<NamedSymbol> = found.iter().filter_map(|found| named(&set, found, &text)).collect();
                    let Targets { targets, labels } = text.targets(&set, &found)?;
                    Ok(Search::new(set, XrefsOptions { targets, labels, kinds, limit })?)
                };
                file_scan::run_after(session, &scan, first, Box::new(then))
            }
        }
    }
}

/// A symbol, if its name is the one that was written.
pub fn named(set: &FileSet, found: &symbols::Found, text: &SymbolText) -> Option<NamedSymbol> {
    let name = String::from_utf8_lossy(&found.name);
    let module = found.module as usize;
    // One without a place may get it in any module, as in a file that is yet to be linked.
    let known = found.undefined || found.place.address.or(found.thread_local).is_some();
    (known && text.fits(&name)).then(|| NamedSymbol {
        name: name.clone().into_owned(),
        linkage: found.mangled.as_ref().unwrap_or(&found.name).clone(),
        module,
        address: found.place.address.map(|address| address.wrapping_sub(set.modules[module].bias.unwrap_or(0))),
        thread_local: found.thread_local,
        variable: if found.kind == symbols::Kind::Data { found.size } else { 0 },
    })
}

/// What the user means: a word is a symbol, anything else is looked up as an address.
fn understood(text: &str, modules: &Modules) -> Result<What> {
    let (expression, bare) = text.strip_prefix(EXPRESSION).map_or((false, text), |bare| (true, bare));
    let resolve = |text: &str| {
        let frame = modules.process.as_ref().and_then(|process| process.frame.as_ref());
        let context = Context { target: &modules.target, frame, module: None, expression };
        Ok::<_, anyhow::Error>(address::resolve(&context, text)?)
    };
    let one = |address: u64| What::Range(AddressRange::sized(address, 1));
    if let Some((start, end)) = bare.split_once("..") {
        let (start, end) = (resolve(start)?, resolve(end.strip_prefix(EXPRESSION).unwrap_or(end))?);
        if start >= end {
            bail!("the range {text} is empty or backwards: {start:#x} does not lie before {end:#x}");
        }
        return Ok(What::Range(AddressRange::new(start, end)));
    }
    if expression || is_path(bare) || address::number(bare.trim()).is_some() {
        return Ok(one(resolve(bare)?));
    }
    Ok(What::Symbol(SymbolText::parse(bare, address::number)))
}

/// Whether a text is a register or a variable path, and not a symbol, which may be an operator.
fn is_path(text: &str) -> bool {
    let member = text.contains("->") || text.contains('[') && !text.contains("[abi:");
    text.starts_with(['$', '&', '*']) || member && !text.contains("operator") && !text.contains('(')
}
