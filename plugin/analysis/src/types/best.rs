//! The results that come first, of any number.

use super::item::{Item, Sort};
use super::names::is_nameless;
use rustc_hash::FxHashSet;
use std::cmp::{Ordering, Reverse};

/// Fewer are not worth sorting.
const LEAST: usize = 512;

/// What a result is ranked by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rank<'a> {
    pub(super) name: &'a [u8],
    pub(super) size: Option<u64>,
    pub(super) padding: Option<u64>,
    pub(super) kind: u8,
    pub(super) digest: u64,
}

impl Rank<'_> {
    /// By what was asked for, largest first; then by name, those without one of their own last, as nobody looks for them by it; and
    /// definitions of one name in an order that is always the same, what is known of one before what is not.
    fn compare(&self, other: &Self, sort: Sort) -> Ordering {
        let ranked = match sort {
            Sort::Name => Ordering::Equal,
            Sort::Size => Reverse(self.size).cmp(&Reverse(other.size)),
            Sort::Padding => Reverse(self.padding).cmp(&Reverse(other.padding)),
        };
        let rest = |rank: &Self| (rank.kind, rank.digest, rank.size.is_none());
        let named = || (is_nameless(self.name), self.name).cmp(&(is_nameless(other.name), other.name));
        ranked.then_with(named).then_with(|| rest(self).cmp(&rest(other)))
    }
}

/// The first `limit` of all that were added, each definition once: as it ranks first.
#[derive(Debug)]
pub(super) struct Best {
    sort: Sort,
    limit: usize,
    items: Vec<Item>,
    /// How many of the items are in order, and come before all that were dropped.
    sorted: usize,
}

impl Best {
    pub(super) fn new(sort: Sort, limit: usize) -> Self {
        Self { sort, limit, items: Vec::new(), sorted: 0 }
    }

    /// Whether one with this rank may be among the first.
    pub(super) fn takes(&self, rank: &Rank<'_>) -> bool {
        let last = self.sorted.checked_sub(1).filter(|_| self.sorted == self.limit).map(|last| &self.items[last]);
        self.limit > 0 && last.is_none_or(|last| rank.compare(&last.rank(), self.sort).is_lt())
    }

    pub(super) fn add(&mut self, item: Item) {
        self.items.push(item);
        if self.items.len() >= self.limit.saturating_mul(2).max(LEAST) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let sort = self.sort;
        self.items.sort_by(|first, second| first.rank().compare(&second.rank(), sort));
        let mut known = FxHashSet::default();
        self.items.retain(|item| known.insert(item.key));
        self.items.truncate(self.limit);
        self.sorted = self.items.len();
    }

    /// Those that come first, in order.
    pub(super) fn finish(mut self) -> Vec<Item> {
        self.cut();
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_without_a_name_come_last_by_name() {
        let rank =
            |name: &'static str| Rank { name: name.as_bytes(), size: Some(1), padding: None, kind: 0, digest: 0 };
        let sorted = ["(anonymous namespace)::a", "a::b", "z", "(anonymous struct)", "a::(anonymous union)"];
        for sort in [Sort::Name, Sort::Size, Sort::Padding] {
            let mut ranks = [4, 3, 2, 1, 0].map(|index: usize| rank(sorted[index]));
            ranks.sort_by(|one, other| one.compare(other, sort));
            assert_eq!(ranks.map(|rank| rank.name), sorted.map(str::as_bytes));
        }
        let larger = Rank { size: Some(2), ..rank("(anonymous struct)") };
        assert!(larger.compare(&rank("a"), Sort::Size).is_lt());
    }
}
