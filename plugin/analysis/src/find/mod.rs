//! `find`: patterns of all kinds, in one pass.

mod found;
mod literals;
mod merge;
mod needle;
mod pattern;
mod pointers;
mod probes;
pub(crate) mod regex;
mod scan;
#[cfg(test)]
mod tests;
mod uniform;

pub use found::Found;
pub(crate) use found::Out;
pub use merge::FindMerge;
pub use pattern::{Pattern, PatternError};
pub use regex::{Matches, matching};
pub use scan::{Chained, FindPartial, FindScanner};

use crate::driver::Sink;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::Stop;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{Layout, ReadMemory};

/// The longest `max_length` there may be, in bytes.
pub const MOST_LENGTH: u32 = 1 << 20;

/// As many patterns can be looked for at once.
pub const MOST_PATTERNS: usize = 1024;

/// As many of them can be regexes: each takes memory of every worker.
pub const MOST_REGEXES: usize = 32;

/// Together, these may take so many bytes when compiled.
const MOST_COMPILED: usize = 16 << 20;

/// A search for patterns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Find {
    /// Where, in address order.
    pub ranges: Vec<ScanRange>,
    pub patterns: Vec<Pattern>,
    pub layout: Layout,
    /// Whether ASCII letters in strings and regexes match either case.
    pub ignore_case: bool,
    /// Matches begin at multiples of this; `None` for each pattern's own alignment, the pointer size for pointers and
    /// 1 for all others.
    pub align: Option<u64>,
    /// Whether matches are only counted.
    pub count: bool,
    /// It ends when this many matches are certain; `u64::MAX` for all. It does not apply where they are only counted.
    pub limit: u64,
    /// The longest match of a regex, in bytes.
    pub max_length: u32,
    /// Whether pages in swap are read.
    pub swapped: bool,
    /// Bytes read at once.
    pub block: u32,
}

impl Default for Find {
    /// A search for nothing, nowhere; all else as the command's defaults are.
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            patterns: Vec::new(),
            layout: Layout::default(),
            ignore_case: false,
            align: None,
            count: false,
            limit: 256,
            max_length: 4096,
            swapped: true,
            block: 512 << 10,
        }
    }
}

impl Find {
    /// Checks it as a whole, once, before it is run.
    ///
    /// # Errors
    /// If there is no pattern, or too many; if one of them does not fit the target or does not compile; if `align` or
    /// `max_length` is out of bounds.
    pub fn check(&self) -> Result<(), PatternError> {
        let given = self.patterns.len();
        if given == 0 {
            return Err(PatternError::Empty);
        }
        if given > MOST_PATTERNS {
            return Err(PatternError::TooMany { given, most: MOST_PATTERNS });
        }
        if self.align == Some(0) {
            return Err(PatternError::Align);
        }
        if !(1..=MOST_LENGTH).contains(&self.max_length) {
            return Err(PatternError::MaxLength { given: self.max_length, most: MOST_LENGTH });
        }
        let given = self.regexes().count();
        if given > MOST_REGEXES {
            return Err(PatternError::TooManyRegexes { given, most: MOST_REGEXES });
        }
        let mut compiled = 0;
        for regex in self.regexes() {
            compiled += regex::check(regex, self.ignore_case)?;
            if compiled > MOST_COMPILED {
                return Err(PatternError::RegexesTooLarge { most: MOST_COMPILED >> 20 });
            }
        }
        self.patterns.iter().try_for_each(|pattern| pattern.check(self.layout))
    }

    fn regexes(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().filter_map(|pattern| match pattern {
            Pattern::Regex(regex) => Some(&regex[..]),
            _ => None,
        })
    }

    fn align_of(&self, pattern: &Pattern) -> u64 {
        self.align.unwrap_or_else(|| pattern.default_align(self.layout)).max(1)
    }
}

impl Analysis for Find {
    const NAME: &'static str = "find";
    type Input = dyn ReadMemory;
    type Partial = FindPartial;
    type Scanner = FindScanner;
    type Merge = FindMerge;
    type Item = Found;

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn reach(&self) -> u64 {
        let length = |pattern: &Pattern| match pattern {
            Pattern::String(bytes) => bytes.len() as u64,
            // Two bytes for each unit, of which a character of four bytes in UTF-8 takes two.
            Pattern::Utf16(text) => 2 * text.len() as u64,
            Pattern::Bytes { value, .. } => value.len() as u64,
            Pattern::Regex(_) => u64::from(self.max_length),
            Pattern::Int { .. } | Pattern::Float { .. } | Pattern::Pointer(_) | Pattern::PointerRange { .. } => 8,
        };
        let longest = self.patterns.iter().map(length).max().unwrap_or(0);
        longest + regex::LOOK as u64
    }

    fn reads_swapped(&self) -> bool {
        self.swapped
    }

    fn scanner(&self) -> Result<FindScanner, String> {
        FindScanner::new(self)
    }

    fn scan(
        &self,
        scanner: &mut FindScanner,
        task: &Task,
        memory: &dyn ReadMemory,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<FindPartial> {
        scanner.scan(self, task, memory, stop)
    }

    fn merge(&self) -> FindMerge {
        FindMerge::new(self.patterns.len())
    }

    fn absorb(
        &self,
        merge: &mut FindMerge,
        task: &Task,
        partial: FindPartial,
        memory: &dyn ReadMemory,
        sink: &mut dyn Sink<Found>,
    ) -> ControlFlow<Stop> {
        merge.absorb(self, task, partial, memory, sink)
    }

    fn weight(partial: &FindPartial) -> usize {
        let chained: usize = partial.chains.iter().map(|chained| chained.first.len()).sum();
        size_of::<FindPartial>() + (partial.matches.len() + chained) * size_of::<Found>()
    }
}
