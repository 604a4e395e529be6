//! What is found, on its way from a task to the report.

use super::demangle::shown;
use super::table::Kind;
use crate::report::SymbolRow;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A symbol whose name matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The number of its module.
    pub module: u32,
    pub place: Place,
    pub kind: Kind,
    pub undefined: bool,
    /// Of what each thread has of its own, where it is in the module's part of that.
    pub thread_local: Option<u64>,
    pub size: u64,
    /// As it was matched, demangled unless mangled names are.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// The name in the table, without its version, where that is another.
    #[serde(with = "serde_bytes")]
    pub mangled: Option<Vec<u8>>,
}

/// Where a symbol stands among those of its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub address: Option<u64>,
    /// The number of the table's section, and of the entry in it.
    pub section: u32,
    pub entry: u32,
}

/// By address; those without one are last.
impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |place: &Self| (place.address.is_none(), place.address, place.section, place.entry);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Found {
    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.mangled.as_ref().map_or(0, Vec::len)
    }

    /// Its row, in the module of that path.
    pub(super) fn row(&self, module: &str) -> SymbolRow {
        SymbolRow {
            address: self.place.address,
            name: shown(&self.name),
            mangled: self.mangled.as_deref().map(shown),
            kind: self.kind.name().to_owned(),
            undefined: self.undefined,
            size: self.size,
            module: module.to_owned(),
            file: None,
            line: None,
        }
    }
}
