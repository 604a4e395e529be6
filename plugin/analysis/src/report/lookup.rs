//! What `lookup` and `lines` show.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use target::AddressRange;

/// What an address belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupRow {
    pub address: u64,
    /// Path of the module; `None` for an address in none.
    pub module: Option<Arc<str>>,
    pub symbol: Option<Arc<str>>,
    /// Bytes from the symbol's beginning.
    pub offset: Option<u64>,
    /// Functions that are inlined there, the innermost first, and the one that they are inlined into, the last.
    pub frames: Vec<FrameRow>,
}

/// A function at a line of source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRow {
    pub function: Option<Arc<str>>,
    pub file: Option<Arc<str>>,
    pub line: Option<u64>,
    pub column: Option<u64>,
    /// Whether it is inlined into the next one.
    pub inlined: bool,
}

/// Code that belongs to one line of a source file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRow {
    /// Load addresses where there is a process, else file addresses.
    pub range: AddressRange,
    pub file: Arc<str>,
    /// 0 for code that belongs to no line.
    pub line: u64,
    /// Path of the module.
    pub module: Arc<str>,
}
