//! Symbols of modules: which names match, and which symbol an address lies in.

pub mod demangle;
mod found;
mod known;
mod names;
mod naming;
mod pattern;
mod required;
mod search;
pub(crate) mod table;
#[cfg(test)]
mod tests;
pub mod written;

pub(crate) use demangle::telling;
pub use demangle::{Demangler, demangled};
pub use found::{Found, Place};
pub use naming::{FUNCTION, HEAD, ModuleAddresses, Request, bss_at, by_module, look_up, look_up_in};
pub use pattern::{PatternError, check};
pub use search::{Symbols, SymbolsMerge, SymbolsOptions, SymbolsPartial, SymbolsScanner};
pub use table::Kind;
