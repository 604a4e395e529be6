//! What `xrefs` shows.

use serde::{Deserialize, Serialize};

/// A place that refers to an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XrefRow {
    /// Of the instruction, or of the pointer: a load address where there is a process, else a file address.
    pub address: u64,
    /// `call`, `jump`, `mention` or `pointer`.
    pub kind: String,
    /// What the reference goes through, if it is not direct: `plt`, `got`.
    pub through: Option<String>,
    /// The function, or the data symbol, that it lies in.
    pub function: Option<String>,
    /// Bytes from its beginning.
    pub offset: Option<u64>,
    /// Path of the module.
    pub module: String,
    pub file: Option<String>,
    pub line: Option<u64>,
    /// What it refers to, where several targets were asked for.
    pub target: Option<String>,
}
