//! Addresses as users write them.

use crate::symbol::Symbol;
use crate::{Error, Frame, Target};

/// Where an address is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub target: &'a Target,
    /// The selected frame, if there is a process that is stopped.
    pub frame: Option<&'a Frame>,
    /// The module that file addresses and symbols are of; without it, the executable, for what is in several.
    pub module: Option<&'a str>,
    /// Whether the text may be any expression.
    pub expression: bool,
}

/// Why a text is no address. Each is one line for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the address is empty")]
    Empty,
    #[error("'{text}' is not a number, a register, a variable or a symbol{}", reason(.why))]
    Unknown { text: String, why: Option<Error> },
    #[error("'{text}' is of type {type_name}, which is not an address")]
    NotAddress { text: String, type_name: String },
    #[error("'{text}' is in several modules: {}; write 'MODULE`{text}'", modules.join(", "))]
    Ambiguous { text: String, modules: Vec<String> },
    #[error("'{text}' is several places in {module}: {}; write the address of one", hex(addresses))]
    Several { text: String, module: String, addresses: Vec<u64> },
    #[error("cannot evaluate '{text}': {why}")]
    Expression { text: String, why: Error },
    #[error("'{text}' goes beyond the last address")]
    Overflow { text: String },
}

fn reason(why: &Option<Error>) -> String {
    why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
}

fn hex(addresses: &[u64]) -> String {
    addresses.iter().map(|address| format!("{address:#x}")).collect::<Vec<_>>().join(", ")
}

/// The address that `text` means: a number, a register, a variable path in the selected frame, or a symbol, tried in
/// this order; registers and symbols with an optional `+offset`, symbols with a `module` and a backtick before them.
/// Without a process, symbols are at their file addresses.
///
/// # Errors
/// Why it means none.
pub fn resolve(context: &Context, text: &str) -> Result<u64, AddressError> {
    let why = match without_symbols(context, text)? {
        Meaning::Address(address) => return Ok(address),
        Meaning::Unknown(why) => why,
    };
    let text = text.trim();
    let (base, offset) = split(text);
    match symbol(context, base)? {
        Some(address) => plus(text, address, offset),
        None => Err(AddressError::Unknown { text: text.to_owned(), why }),
    }
}

/// What a text means but for symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    Address(u64),
    /// No number, no register and no variable: why it is not the last, where there is a frame.
    Unknown(Option<Error>),
}

/// As [`resolve`], but for symbols, so that the debugger reads none.
///
/// # Errors
/// If it means something that is no address.
pub fn without_symbols(context: &Context, text: &str) -> Result<Meaning, AddressError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if context.expression {
        return expression(context, text).map(Meaning::Address);
    }
    if let Some(number) = number(text) {
        return Ok(Meaning::Address(number));
    }
    let (base, offset) = split(text);
    if let Some(address) = register(context, base) {
        return plus(text, address, offset).map(Meaning::Address);
    }
    match context.frame.map(|frame| frame.variable(text)) {
        Some(Ok(value)) => {
            let type_name = || AddressError::NotAddress { text: text.to_owned(), type_name: value.type_name() };
            value.address().map(Meaning::Address).ok_or_else(type_name)
        }
        Some(Err(why)) => Ok(Meaning::Unknown(Some(why))),
        None => Ok(Meaning::Unknown(None)),
    }
}

/// What stands before an offset, and the offset.
fn split(text: &str) -> (&str, u64) {
    match text.rsplit_once('+').map(|(base, offset)| (base.trim(), number(offset.trim()))) {
        Some((base, Some(offset))) => (base, offset),
        _ => (text, 0),
    }
}

fn plus(text: &str, address: u64, offset: u64) -> Result<u64, AddressError> {
    address.checked_add(offset).ok_or_else(|| AddressError::Overflow { text: text.to_owned() })
}

/// A number in decimal, or in hex after `0x`, with `_` between digits where one likes.
pub fn number(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u64::from_str_radix(hex, 16).ok(),
        None if !digits.starts_with('+') => digits.parse().ok(),
        _ => None,
    }
}

fn register(context: &Context, text: &str) -> Option<u64> {
    context.frame?.register(text.strip_prefix('$').unwrap_or(text))?.unsigned()
}

fn symbol(context: &Context, text: &str) -> Result<Option<u64>, AddressError> {
    let (module, name) = match text.split_once('`') {
        Some((module, name)) => (Some(module), name),
        None => (context.module, text),
    };
    let executable = context.target.executable();
    let executable = executable.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    let loaded = context.target.process().is_some();
    let mut found: Vec<Symbol> = context.target.symbols(name);
    // What is not loaded is nowhere in the process.
    found.retain(|symbol| !loaded || symbol.load_address.is_some());
    match module {
        Some(module) => found.retain(|symbol| symbol.module == module),
        None if found.iter().any(|symbol| Some(&*symbol.module) == executable.as_deref()) => {
            found.retain(|symbol| Some(&*symbol.module) == executable.as_deref());
        }
        None => {}
    }
    let mut modules: Vec<String> = found.iter().map(|symbol| symbol.module.clone()).collect();
    modules.dedup();
    let mut addresses: Vec<u64> =
        found.iter().map(|symbol| symbol.load_address.unwrap_or(symbol.file_address)).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let text = name.to_owned();
    match (&modules[..], &addresses[..]) {
        (_, &[]) => Ok(None),
        (_, &[address]) => Ok(Some(address)),
        ([module], _) => Err(AddressError::Several { text, module: module.clone(), addresses }),
        _ => Err(AddressError::Ambiguous { text, modules }),
    }
}

fn expression(context: &Context, text: &str) -> Result<u64, AddressError> {
    let value = match context.frame {
        Some(frame) => frame.evaluate(text),
        None => context.target.evaluate(text),
    };
    let value = value.map_err(|why| AddressError::Expression { text: text.to_owned(), why })?;
    value.address().ok_or_else(|| AddressError::NotAddress { text: text.to_owned(), type_name: value.type_name() })
}
