//! Matches on their way from a worker to the merge.

use serde::{Deserialize, Serialize};

/// Where something lies. Ordered by address, then pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Found {
    pub address: u64,
    /// The index of its pattern.
    pub pattern: u16,
    /// Length in bytes.
    pub length: u32,
    /// Whether it goes on after that: a string that is longer than what one result holds.
    pub cut: bool,
}

impl Found {
    /// The address after its last byte.
    pub fn end(&self) -> u64 {
        self.address.saturating_add(u64::from(self.length))
    }
}

/// What a scan brings, while it runs: matches, or only how many there are.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) matches: Vec<Found>,
    /// For each pattern, if only that is asked for.
    pub(crate) counts: Option<Vec<u64>>,
    /// As many matches are enough.
    room: usize,
    /// As many of one matcher in one window.
    each: usize,
}

impl Out {
    /// A place for about `limit` matches, and not too few, so that a task gets somewhere, by so many matchers.
    pub(crate) fn matches(limit: u64, matchers: usize) -> Self {
        let room = limit.clamp(256, 1 << 16) as usize;
        Self { matches: Vec::new(), counts: None, room, each: (room / matchers.max(1)).max(64) }
    }

    /// A count for each of so many patterns.
    pub(crate) fn counts(patterns: usize) -> Self {
        Self { matches: Vec::new(), counts: Some(vec![0; patterns]), room: usize::MAX, each: usize::MAX }
    }

    pub(crate) fn push(&mut self, found: Found) {
        match &mut self.counts {
            None => self.matches.push(found),
            Some(counts) => counts[usize::from(found.pattern)] += 1,
        }
    }

    /// Adds to the count of a pattern, if matches are only counted.
    pub(crate) fn add(&mut self, pattern: u16, count: u64) {
        if let Some(sum) = self.counts.as_mut().and_then(|counts| counts.get_mut(usize::from(pattern))) {
            *sum += count;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.matches.len()
    }

    /// The length at which one that begins to search now is to stop: it may bring its part, however much others have
    /// brought, so that each gets somewhere.
    pub(crate) fn full_at(&self) -> usize {
        self.matches.len().saturating_add(self.each)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.matches.len() >= self.room
    }
}
