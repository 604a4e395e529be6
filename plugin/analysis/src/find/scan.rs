//! Running a task of `find`.

use super::Find;
use super::found::{Found, Out};
use super::literals::{self, Literals, Placed};
use super::pattern::Pattern;
use super::pointers::Pointers;
use super::regex::{Chain, LOOK};
use super::uniform::Uniform;
use crate::memory::{Buffer, Walk, Window};
use crate::plan::{ScanRange, Scanned, Task};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use target::{AddressRange, ReadMemory};

/// What a task of `find` brings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindPartial {
    /// In order; empty if matches are only counted.
    pub matches: Vec<Found>,
    /// For each pattern, if matches are only counted.
    pub counts: Vec<u64>,
    /// For each regex, if matches are only counted: what the merge needs where an earlier match reaches into the task.
    pub chains: Vec<Chained>,
}

/// How a regex that is only counted went through a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    pub pattern: u16,
    /// Its first matches: all, if they are as many as were counted.
    pub first: Vec<Found>,
    /// Where the last of all ended.
    pub end: u64,
}

/// As many matches of a regex that is only counted are kept: within so many, two ways through the same memory that began
/// at different places have almost always met.
///
/// Tests have little memory, and keep few.
const KEPT: usize = if cfg!(test) { 8 } else { 4096 };

/// Compiled patterns, and a buffer.
#[derive(Debug)]
pub struct FindScanner {
    literals: Vec<Literals>,
    /// Only where matches are counted.
    uniforms: Vec<Uniform>,
    pointers: Vec<Pointers>,
    chains: Vec<Chain>,
    buffer: Buffer,
    reach: usize,
    zeros: bool,
    /// Whether the matches in a window come out in order.
    ordered: bool,
}

impl FindScanner {
    pub(super) fn new(find: &Find) -> Result<Self, String> {
        let (mut needles, mut pointers, mut chains) = (Vec::new(), Vec::new(), Vec::new());
        let regexes = find.regexes().count();
        for (index, pattern) in find.patterns.iter().enumerate() {
            let align = find.align_of(pattern);
            let index = u16::try_from(index).map_err(|_| "too many patterns".to_owned())?;
            match pattern {
                Pattern::Regex(regex) => {
                    chains.push(Chain::new(regex, find, regexes, align, index)?);
                }
                Pattern::PointerRange { start, end } if start < end => {
                    pointers.push(Pointers::new(*start, *end, align, index, find.layout));
                }
                _ => {
                    let needle = pattern.needle(find.layout, find.ignore_case);
                    let needle = needle.filter(|needle| needle.len() > 0).ok_or("pattern is empty")?;
                    needles.push(Placed { needle, align, pattern: index });
                }
            }
        }
        let lengths = needles.iter().map(|placed| placed.needle.len()).chain(pointers.iter().map(Pointers::len));
        let reach = lengths.chain(chains.iter().map(Chain::reach)).max().unwrap_or(1);
        let zeros = needles.iter().any(|placed| placed.needle.matches_zeros())
            || pointers.iter().any(Pointers::matches_zeros)
            || chains.iter().any(Chain::matches_zeros);
        let mut uniforms = Vec::new();
        if find.count {
            needles.retain(|placed| {
                let uniform = Uniform::new(placed);
                let kept = uniform.is_none();
                uniforms.extend(uniform);
                kept
            });
        }
        let literals = literals::group(needles)?;
        let ordered = literals.len() + pointers.len() + chains.len() <= 1
            && literals.iter().all(Literals::is_ordered)
            && pointers.iter().all(Pointers::is_ordered);
        Ok(Self { literals, uniforms, pointers, chains, buffer: Buffer::default(), reach, zeros, ordered })
    }

    /// A scanner for one of the regexes alone.
    pub(super) fn only(find: &Find, pattern: u16) -> Result<Self, String> {
        let mut scanner = Self::new(&Find::default())?;
        if let Some(regex @ Pattern::Regex(text)) = find.patterns.get(usize::from(pattern)) {
            let align = find.align_of(regex);
            let chain = Chain::new(text, find, find.regexes().count(), align, pattern)?;
            (scanner.reach, scanner.zeros) = (chain.reach(), chain.matches_zeros());
            scanner.chains.push(chain);
        }
        Ok(scanner)
    }

    fn walk<'a>(
        &self,
        find: &Find,
        scan: &ScanRange,
        range: AddressRange,
        memory: &'a dyn ReadMemory,
        stop: &'a dyn Fn() -> bool,
    ) -> Walk<'a> {
        Walk {
            memory,
            range,
            region: scan.region,
            sparse: scan.sparse,
            swapped: find.swapped,
            before: if self.chains.is_empty() { 0 } else { LOOK },
            reach: self.reach,
            zero_reach: self.reach,
            zeros: self.zeros,
            block: find.block.max(1) as usize,
            stop,
        }
    }

    pub(super) fn scan(
        &mut self,
        find: &Find,
        task: &Task,
        memory: &dyn ReadMemory,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<FindPartial> {
        let Some(scan) = find.ranges.get(task.index) else {
            let bytes = task.range.len();
            return Scanned { partial: FindPartial::default(), bytes, skipped: Vec::new(), rest: None, gone: false };
        };
        let walk = self.walk(find, scan, task.range, memory, stop);
        let matchers = self.literals.len() + self.pointers.len() + self.chains.len();
        let mut out = if find.count { Out::counts(find.patterns.len()) } else { Out::matches(find.limit, matchers) };
        let mut chained: Vec<Chained> = Vec::new();
        for chain in &mut self.chains {
            chain.position = task.range.start;
            if find.count {
                chained.push(Chained { pattern: chain.pattern, first: Vec::new(), end: task.range.start });
            }
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let walked = walk.run(&mut buffer, |window| self.window(window, &mut out, &mut chained));
        self.buffer = buffer;
        Scanned {
            bytes: walked.bytes(task.range),
            partial: FindPartial { matches: out.matches, counts: out.counts.unwrap_or_default(), chains: chained },
            skipped: walked.skipped,
            rest: walked.rest.map(|rest| AddressRange::new(rest, task.range.end)),
            gone: walked.gone,
        }
    }

    /// Has all matchers look at a window while it is in the processor's cache.
    fn window(&mut self, window: &Window<'_>, out: &mut Out, chained: &mut [Chained]) -> ControlFlow<u64> {
        let before = out.matches.len();
        let mut cut = window.starts.end;
        for literals in &self.literals {
            cut = cut.min(literals.search(window, out));
        }
        for uniform in &self.uniforms {
            uniform.count(window, out);
        }
        for pointers in &self.pointers {
            cut = cut.min(pointers.search(window, out));
        }
        for (index, chain) in self.chains.iter_mut().enumerate() {
            let full = out.full_at();
            let found = chain.search(window, |found| {
                out.push(found);
                if let Some(chained) = chained.get_mut(index) {
                    chained.end = found.end();
                    if chained.first.len() < KEPT {
                        chained.first.push(found);
                    }
                }
                out.len() < full
            });
            cut = cut.min(found);
        }
        if cut < window.starts.end {
            let rest = window.address(cut);
            let mut index = 0;
            out.matches.retain(|found| {
                index += 1;
                index <= before || found.address < rest
            });
        }
        if !self.ordered {
            out.matches[before..].sort_unstable();
        }
        if cut < window.starts.end || out.is_full() {
            return ControlFlow::Break(window.address(cut));
        }
        ControlFlow::Continue(())
    }

    /// Goes on with a single regex from `position` and brings its matches that begin in `range`.
    pub(super) fn follow(
        &mut self,
        find: &Find,
        scan: &ScanRange,
        range: AddressRange,
        position: u64,
        memory: &dyn ReadMemory,
    ) -> Vec<Found> {
        let walk = self.walk(find, scan, range, memory, &|| false);
        let mut matches = Vec::new();
        let mut buffer = std::mem::take(&mut self.buffer);
        for chain in &mut self.chains {
            chain.position = position;
        }
        walk.run(&mut buffer, |window| {
            for chain in &mut self.chains {
                chain.search(window, |found| {
                    matches.push(found);
                    true
                });
            }
            ControlFlow::Continue(())
        });
        self.buffer = buffer;
        matches
    }
}
