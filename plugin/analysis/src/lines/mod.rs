//! `lines`: the code of source files, as line tables tell it.

mod merge;
mod scan;

use crate::driver::Sink;
use crate::dwarf::{DebugInfo, ModuleSource, without_debug_info};
use crate::files::{FileAnalysis, scanned, section_range};
use crate::find::regex;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{LineRow, Results, Stop};
use scan::{Kept, Search};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use target::modules::{FileSet, Files};

pub use merge::LinesMerge;
pub use scan::{LinesPart, Row};

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    set: FileSet,
    /// What paths of source files have to match, anywhere in them.
    regex: String,
    limit: u64,
    /// Whether rows are at load addresses.
    loaded: bool,
    ranges: Vec<ScanRange>,
}

/// What is kept of modules from one task to the next.
#[derive(Debug)]
pub struct LinesScanner {
    search: Search,
    modules: HashMap<usize, (Kept, Vec<Range<u64>>)>,
}

impl Lines {
    /// # Errors
    /// If the regex does not compile: one line.
    pub fn check(regex: &str) -> Result<(), String> {
        regex::filter(regex).map(drop).map_err(|error| error.to_string())
    }

    pub fn new(set: FileSet, regex: String, limit: u64, loaded: bool) -> Self {
        let sections = set.modules.iter().enumerate().filter_map(|(module, surveyed)| {
            if loaded && surveyed.bias.is_none() {
                return None;
            }
            Some(section_range(&set, module, surveyed.debug_info()?))
        });
        let mut ranges: Vec<ScanRange> = sections.collect();
        ranges.sort_by_key(|range| range.range.start);
        Self { regex, limit, loaded, ranges, set }
    }
}

impl Analysis for Lines {
    const NAME: &'static str = "lines";
    type Input = Files;
    /// The module, and what was found in it.
    type Partial = Option<(usize, LinesPart)>;
    type Scanner = LinesScanner;
    type Merge = LinesMerge;
    type Item = LineRow;

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn scanner(&self) -> Result<LinesScanner, String> {
        let regex = regex::filter(&self.regex).map_err(|error| error.to_string())?;
        Ok(LinesScanner { search: Search::new(regex), modules: HashMap::new() })
    }

    fn scan(
        &self,
        scanner: &mut LinesScanner,
        task: &Task,
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<Self::Partial> {
        let Some((module, _, offset)) = self.set.locate(task.range.start) else {
            return Scanned { partial: None, bytes: task.range.len(), skipped: Vec::new(), rest: None, gone: false };
        };
        let part = offset..offset + task.range.len();
        let source = ModuleSource::new(files, module);
        let found = match DebugInfo::load(&source) {
            Err(error) => scan::Found { unread: vec![(part, error.to_string())], ..scan::Found::default() },
            Ok(debug) => {
                let code = || self.set.modules[module].code();
                let kept = scanner.modules.entry(module).or_insert_with(|| (Kept::new(&debug.dwarf), code()));
                scanner.search.scan(&debug, &mut kept.0, part, &kept.1, stop)
            }
        };
        scanned(task, offset, Some((module, found.part)), found.unread, found.stopped)
    }

    fn merge(&self) -> LinesMerge {
        LinesMerge::new(self.limit)
    }

    fn absorb(
        &self,
        merge: &mut LinesMerge,
        _: &Task,
        partial: Self::Partial,
        _: &Files,
        sink: &mut dyn Sink<LineRow>,
    ) -> ControlFlow<Stop> {
        if let Some((module, part)) = partial {
            merge.absorb(self, module, part, sink);
        }
        ControlFlow::Continue(())
    }

    fn weight(partial: &Self::Partial) -> usize {
        partial.as_ref().map_or(0, |(_, part)| part.rows.len() * size_of::<Row>())
    }
}

impl FileAnalysis for Lines {
    const DESCRIBES: bool = false;

    fn set(&self) -> &FileSet {
        &self.set
    }

    fn finish(&self, merge: &mut LinesMerge, sink: &mut dyn Sink<LineRow>) -> bool {
        merge.end_module(self, sink);
        false
    }

    fn total(&self, merge: &LinesMerge) -> u64 {
        merge.total()
    }

    fn notes(&self, merge: &LinesMerge) -> Vec<String> {
        without_debug_info(&self.set).into_iter().chain(merge.note()).collect()
    }

    fn describe(&self, _: &mut LinesScanner, items: &[LineRow], _: &Files, _: &dyn Fn() -> bool) -> Results {
        self.plain(items.to_vec())
    }

    fn plain(&self, items: Vec<LineRow>) -> Results {
        Results::Lines(items)
    }

    fn none() -> Results {
        Results::Lines(Vec::new())
    }
}
