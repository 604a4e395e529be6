//! What tasks bring, and how it comes together: each definition counts once, whichever units it is in.

use super::best::{Best, Rank};
use super::item::{Candidate, Item, Key, Kind, Padding, Sort};
use super::scan::Wanted;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a task has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypesPartial {
    /// All definitions: their keys, 8 bytes for each of both parts, least significant first.
    #[serde(with = "serde_bytes")]
    keys: Vec<u8>,
    /// Those of them that may be shown.
    items: Vec<Item>,
    /// Names that a unit has for several types.
    plural: Vec<u64>,
    /// Where in file space shards begin of which nothing is kept.
    missing: Vec<u64>,
}

impl TypesPartial {
    /// Bytes that it takes.
    pub(super) fn weight(&self) -> usize {
        self.keys.len()
            + 8 * self.plural.len()
            + self.items.iter().map(|item| size_of::<Item>() + item.name.len()).sum::<usize>()
    }
}

/// What becomes of the definitions that a search comes upon.
pub(super) trait Taker {
    /// Whether those of this size are looked for.
    fn wants(&self, size: Option<u64>) -> bool;

    /// Takes one that is wanted. `padding` works out how many of its bytes no member takes.
    fn take(&mut self, candidate: &Candidate<'_>, padding: impl FnOnce() -> Padding);
}

/// The definitions of one task.
#[derive(Debug)]
pub(super) struct Collected {
    module: usize,
    wanted: Wanted,
    known: FxHashSet<Key>,
    /// Those of them of which no unit has said yet how large they are: it may only declare what a typedef is of.
    unmeasured: FxHashSet<Key>,
    plural: FxHashSet<u64>,
    best: Best,
}

impl Collected {
    pub(super) fn new(module: usize, wanted: Wanted) -> Self {
        let (known, unmeasured, plural) = Default::default();
        Self { module, wanted, known, unmeasured, plural, best: Best::new(wanted.sort, wanted.limit) }
    }

    pub(super) fn finish(self, missing: Vec<u64>) -> TypesPartial {
        let keys = self.known.iter().flat_map(|key| [key.name.to_le_bytes(), key.digest.to_le_bytes()]);
        let plural = self.plural.into_iter().collect();
        TypesPartial { keys: keys.flatten().collect(), items: self.best.finish(), plural, missing }
    }
}

impl Taker for Collected {
    fn wants(&self, size: Option<u64>) -> bool {
        size.unwrap_or(0) >= self.wanted.min_size
    }

    fn take(&mut self, candidate: &Candidate<'_>, padding: impl FnOnce() -> Padding) {
        let Candidate { name, kind, size, key, place, plural } = *candidate;
        if plural {
            self.plural.insert(key.name);
        }
        let is_new = self.known.insert(key);
        match size {
            None if is_new => drop(self.unmeasured.insert(key)),
            Some(_) if self.unmeasured.remove(&key) => {}
            _ if is_new => {}
            _ => return,
        }
        let padding = if self.wanted.sort == Sort::Padding { padding().bytes } else { None };
        if self.best.takes(&Rank { name, size, padding, kind: kind as u8, digest: key.digest }) {
            let (name, module) = (name.to_vec(), self.module);
            self.best.add(Item { name, kind, size, padding, key, module, place, definitions: 1 });
        }
    }
}

/// All definitions so far.
#[derive(Debug)]
pub struct TypesMerge {
    /// One for each name.
    first: FxHashMap<u64, u64>,
    /// Further ones of the same name.
    more: FxHashMap<u64, Vec<u64>>,
    /// Names that a unit has for several types: those are no definitions of one, but things that share a name, as instances of
    /// an alias template do.
    plural: FxHashSet<u64>,
    total: u64,
    best: Best,
    missing: BTreeSet<u64>,
}

impl TypesMerge {
    pub(super) fn new(sort: Sort, limit: usize) -> Self {
        let (first, more, plural, total, missing) = Default::default();
        Self { first, more, plural, total, best: Best::new(sort, limit), missing }
    }

    /// How many definitions there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// How many names have several definitions.
    pub(super) fn ambiguous(&self) -> usize {
        self.more.keys().filter(|name| !self.plural.contains(name)).count()
    }

    /// How many names stand for several types.
    pub(super) fn shared(&self) -> usize {
        self.more.keys().filter(|name| self.plural.contains(name)).count()
    }

    /// Where in file space shards begin of which nothing is kept.
    pub(super) fn missing(&self) -> impl Iterator<Item = u64> {
        self.missing.iter().copied()
    }

    pub(super) fn absorb(&mut self, partial: TypesPartial) {
        self.missing.extend(partial.missing);
        self.plural.extend(partial.plural);
        for item in partial.items {
            // The task that knew it may not have known its size.
            let may_complete = item.kind == Kind::Typedef && item.size.is_some();
            if (may_complete || !self.knows(item.key)) && self.best.takes(&item.rank()) {
                self.best.add(item);
            }
        }
        for key in partial.keys.chunks_exact(16) {
            let number = |part: usize| {
                let bytes = key[part..part + 8].try_into().unwrap_or_default();
                u64::from_le_bytes(bytes)
            };
            self.note(Key { name: number(0), digest: number(8) });
        }
    }

    fn knows(&self, key: Key) -> bool {
        match self.first.get(&key.name) {
            None => false,
            Some(first) if *first == key.digest => true,
            Some(_) => self.more.get(&key.name).is_some_and(|more| more.contains(&key.digest)),
        }
    }

    fn note(&mut self, key: Key) {
        let first = *self.first.entry(key.name).or_insert_with(|| {
            self.total += 1;
            key.digest
        });
        if first != key.digest {
            let more = self.more.entry(key.name).or_default();
            if !more.contains(&key.digest) {
                more.push(key.digest);
                self.total += 1;
            }
        }
    }

    /// Those that are shown, in order.
    pub(super) fn finish(&mut self, sort: Sort) -> Vec<Item> {
        let mut items = std::mem::replace(&mut self.best, Best::new(sort, 0)).finish();
        for item in &mut items {
            let more = self.more.get(&item.key.name).filter(|_| !self.plural.contains(&item.key.name));
            item.definitions = 1 + more.map_or(0, |more| more.len() as u64);
        }
        items
    }
}
