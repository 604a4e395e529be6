//! Which symbols earlier tables have already: most of a dynamic table's are in the full one again.

use super::demangle::without_version;
use super::table::{Symbol, Table};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What two symbols that are the same have in common: the value, and a hash of the name without its version and of whether it is
/// defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity(u64, u64);

impl Identity {
    pub(super) fn of(symbol: &Symbol<'_>) -> Self {
        let mut hasher = DefaultHasher::new();
        (without_version(symbol.name), symbol.undefined).hash(&mut hasher);
        Self(symbol.value, hasher.finish())
    }
}

/// Those of the tables' symbols whose values are among `values`.
pub(super) fn known<'a>(values: &HashSet<u64>, tables: impl Iterator<Item = Table<'a>>) -> HashSet<Identity> {
    let mut known = HashSet::new();
    for table in tables {
        let same = (0..table.len()).filter(|entry| values.contains(&table.value(*entry)));
        known.extend(same.filter_map(|entry| table.symbol(entry).ok().flatten()).map(|symbol| Identity::of(&symbol)));
    }
    known
}
