//! What `symbols` shows.

use serde::{Deserialize, Serialize};

/// A symbol of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolRow {
    /// A load address where there is a process, else a file address; `None` for a symbol that the module only uses, and for one
    /// that each thread has its own of.
    pub address: Option<u64>,
    /// Demangled where it was mangled.
    pub name: String,
    /// As it is in the symbol table, where that is another name.
    pub mangled: Option<String>,
    /// `function` or `data`; `other` for what is neither.
    pub kind: String,
    /// Whether the module only uses it.
    pub undefined: bool,
    /// Bytes; 0 where the table does not say.
    pub size: u64,
    /// Path of the module.
    pub module: String,
    /// Where it is defined, where debug info says so.
    pub file: Option<String>,
    pub line: Option<u64>,
}
