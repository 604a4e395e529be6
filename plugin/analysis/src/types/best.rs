//! The results that come first, of any number.

use super::item::{Item, Sort};
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
    /// By what was asked for, largest first; then by name, and definitions of one name in an order that is always the same.
    fn compare(&self, other: &Self, sort: Sort) -> Ordering {
        let ranked = match sort {
            Sort::Name => Ordering::Equal,
            Sort::Size => Reverse(self.size).cmp(&Reverse(other.size)),
            Sort::Padding => Reverse(self.padding).cmp(&Reverse(other.padding)),
        };
        let rest = |rank: &Self| (rank.kind, rank.digest);
        ranked.then_with(|| self.name.cmp(other.name)).then_with(|| rest(self).cmp(&rest(other)))
    }
}

/// The first `limit` of all that were added.
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
        self.items.truncate(self.limit);
        self.sorted = self.items.len();
    }

    /// Those that come first, in order.
    pub(super) fn finish(mut self) -> Vec<Item> {
        self.cut();
        self.items
    }
}
