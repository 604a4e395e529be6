//! Types that debug information defines, whose names match a regex: their sizes and their layouts.
//!
//! A task goes through the units that begin in its part of .debug_info or .debug_types. Of each entry it reads no more than
//! tells whether it is a type or may contain one, until a name matches. A definition that several units have counts once: its
//! key is the hash of its name and that of what is defined, so that tasks bring 16 bytes for each, and all that is shown of
//! those few which may come first.
//!
//! A member or a base that its unit only declares is looked up in all of its module, for layouts that are shown and, where types
//! are ranked by padding, for all of them; for layouts also in the other modules. What no module defines, or several define in
//! several ways, has no known size.

mod best;
mod describe;
mod digest;
mod elsewhere;
mod index;
mod item;
mod layout;
mod lines;
mod merge;
mod names;
mod needles;
mod nesting;
mod pattern;
mod program;
mod scan;
mod search;
mod sizes;
mod spelling;
mod strings;
mod unit;
mod variants;
mod walk;

use crate::driver::Sink;
use crate::dwarf::{ModuleSource, debug_role, without_debug_info};
use crate::files::{FileAnalysis, section_range};
use crate::find::PatternError;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Results, Skip, Stop};
use elsewhere::{Definitions, Known, Lacking, Places};
use index::{Builder, Index, LEAST, SHARD};
use merge::Collected;
use pattern::Pattern;
use program::Program;
use scan::{Scan, Wanted};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::ops::ControlFlow;
use target::AddressRange;
use target::modules::{FileSet, Files, InflatedSections, Role};

pub use item::{Item, Sort};
pub use merge::{TypesMerge, TypesPartial};
pub use scan::TypesScanner;

/// A search for types.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Types {
    set: FileSet,
    ranges: Vec<ScanRange>,
    options: TypesOptions,
}

/// What is looked for, and what is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypesOptions {
    /// Matched with qualified names.
    pub regex: String,
    /// Bytes; types without a size have 0.
    pub min_size: u64,
    pub sort: Sort,
    /// Whether members are shown.
    pub layout: bool,
    /// No more results are shown.
    pub limit: usize,
}

/// What is scanned of each module: in its own or debug file, and in its package.
const SECTIONS: [&str; 2] = [".debug_info", ".debug_types"];
const PACKAGE_SECTIONS: [&str; 2] = [".debug_info.dwo", ".debug_types.dwo"];

/// Whether a section is read, by its name.
pub fn reads(section: &str) -> bool {
    section.starts_with(".debug_info")
        || section.starts_with(".debug_types")
        || section.starts_with(".debug_abbrev")
        || section.starts_with(".debug_str")
        || section.starts_with(".debug_line")
}

impl TypesOptions {
    /// Checks that the regex compiles.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), PatternError> {
        Pattern::new(&self.regex).map(drop)
    }
}

impl Types {
    pub fn new(set: FileSet, options: TypesOptions) -> Self {
        let mut ranges = Vec::new();
        for (module, surveyed) in set.modules.iter().enumerate() {
            let own = SECTIONS.map(|name| (debug_role(surveyed), name));
            let package = PACKAGE_SECTIONS.map(|name| (Role::Package, name));
            for (role, name) in own.into_iter().chain(package) {
                if let Some(section) = surveyed.section_named(Some(role), name) {
                    ranges.push(section_range(&set, module, section));
                }
            }
        }
        ranges.retain(|range| !range.range.is_empty());
        ranges.sort_unstable_by_key(|range| range.range.start);
        Self { set, ranges, options }
    }

    /// What is kept of a shard of a section.
    fn kept(&self, files: &Files, module: usize, section: usize, shard: u64) -> Option<Index> {
        let surveyed = &self.set.modules[module];
        if surveyed.sections[section].size < LEAST {
            return None;
        }
        Index::new(files.cache()?.find(&index::key(surveyed, section, shard))?)
    }

    /// Where a module defines the classes whose names match; `None` if told to stop. What of it cannot be read, the search
    /// reports.
    fn defined(&self, files: &Files, module: usize, pattern: Pattern, stop: &dyn Fn() -> bool) -> Option<Places> {
        let source = ModuleSource::new(files, module);
        let inflated = InflatedSections::default();
        let Ok(program) = Program::new(&source, &inflated) else { return Some(Places::default()) };
        let (mut scanner, mut taker) = (TypesScanner::new(pattern), Definitions::default());
        let mut scan = Scan::new(&program, &mut scanner, module, &mut taker, stop);
        for range in &self.ranges {
            let Some((_, section, _)) = self.set.locate(range.range.start).filter(|place| place.0 == module) else {
                continue;
            };
            let surveyed = &self.set.modules[module].sections[section];
            let (name, all) = (surveyed.name.as_str(), 0..surveyed.size);
            let types = name.starts_with(".debug_types");
            let stopped = match PACKAGE_SECTIONS.contains(&name) {
                true => scan.package(types, all),
                false => scan.own(types, all, &|shard| self.kept(files, module, section, shard)),
            };
            if stopped.is_some() {
                return None;
            }
        }
        (!stop()).then(|| taker.finish())
    }

    fn wanted(&self) -> Wanted {
        Wanted { min_size: self.options.min_size, sort: self.options.sort, limit: self.options.limit }
    }
}

impl Analysis for Types {
    const NAME: &'static str = "types";
    type Input = Files;
    type Partial = TypesPartial;
    type Scanner = TypesScanner;
    type Merge = TypesMerge;
    type Item = Item;

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn scanner(&self) -> Result<TypesScanner, String> {
        let pattern = Pattern::new(&self.options.regex).map_err(|error| error.to_string())?;
        Ok(TypesScanner::new(pattern))
    }

    fn scan(
        &self,
        scanner: &mut TypesScanner,
        task: &Task,
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<TypesPartial> {
        let Some((module, section, offset)) = self.set.locate(task.range.start) else {
            return Scanned::unread(task, "it is in no section".to_owned());
        };
        let source = ModuleSource::new(files, module);
        let inflated = InflatedSections::default();
        let program = match Program::new(&source, &inflated) {
            Ok(program) => program,
            Err(error) => return Scanned::unread(task, error.to_string()),
        };
        let name = self.set.modules[module].sections[section].name.as_str();
        let part = offset..offset + task.range.len();
        let mut taker = Collected::new(module, self.wanted());
        let mut scan = Scan::new(&program, scanner, module, &mut taker, stop);
        let lookup = |known: &mut Known, lacking: &Lacking| self.learn(files, module, known, lacking, stop);
        if self.options.sort == Sort::Padding {
            scan.looks_up(&lookup);
        }
        let types = name.starts_with(".debug_types");
        let missing = RefCell::new(Vec::new());
        let kept = |shard: u64| {
            let kept = self.kept(files, module, section, shard);
            if kept.is_none() {
                missing.borrow_mut().push(task.range.start - offset + shard * SHARD);
            }
            kept
        };
        let stopped = match PACKAGE_SECTIONS.contains(&name) {
            true => scan.package(types, part),
            false => scan.own(types, part, &kept),
        };
        let start = task.range.start - offset;
        let rest = stopped.map(|at| AddressRange::new(start + at, task.range.end));
        let rest = rest.filter(|rest| rest.start > task.range.start && rest.start < rest.end);
        let done = AddressRange::new(task.range.start, rest.map_or(task.range.end, |rest| rest.start));
        let clip = |(range, reason): scan::Unread| {
            let range = AddressRange::new(start + range.start, start + range.end).intersect(done)?;
            Some(Skip { range, reason })
        };
        let skipped: Vec<Skip> = scan.unread.into_iter().filter_map(clip).collect();
        let lost: u64 = skipped.iter().map(|skip| skip.range.len()).sum();
        let bytes = done.len().saturating_sub(lost);
        Scanned { partial: taker.finish(missing.into_inner()), bytes, skipped, rest, gone: false }
    }

    fn merge(&self) -> TypesMerge {
        TypesMerge::new(self.options.sort, self.options.limit)
    }

    fn absorb(
        &self,
        merge: &mut TypesMerge,
        _: &Task,
        partial: TypesPartial,
        _: &Files,
        _: &mut dyn Sink<Item>,
    ) -> ControlFlow<Stop> {
        merge.absorb(partial);
        ControlFlow::Continue(())
    }

    fn weight(partial: &TypesPartial) -> usize {
        partial.weight()
    }
}

impl FileAnalysis for Types {
    fn set(&self) -> &FileSet {
        &self.set
    }

    fn finish(&self, merge: &mut TypesMerge, sink: &mut dyn Sink<Item>) -> bool {
        sink.found(merge.finish(self.options.sort));
        false
    }

    fn total(&self, merge: &TypesMerge) -> u64 {
        merge.total()
    }

    fn notes(&self, merge: &TypesMerge) -> Vec<String> {
        let mut notes: Vec<String> = without_debug_info(&self.set).into_iter().collect();
        match merge.ambiguous() {
            0 => {}
            1 => notes.push("1 name has several definitions".to_owned()),
            count => notes.push(format!("{count} names have several definitions")),
        }
        match merge.shared() {
            0 => {}
            1 => notes.push("1 name stands for several types, as that of an alias template does".to_owned()),
            count => notes.push(format!("{count} names stand for several types, as that of an alias template does")),
        }
        notes
    }

    fn describe(&self, scanner: &mut TypesScanner, items: &[Item], files: &Files, stop: &dyn Fn() -> bool) -> Results {
        Results::Types(describe::rows(self, scanner, items, files, stop))
    }

    fn unread(&self, scanner: &mut TypesScanner) -> Vec<String> {
        std::mem::take(&mut scanner.unread).into_iter().collect()
    }

    fn plain(&self, items: Vec<Item>) -> Results {
        Results::Types(items.iter().map(|item| describe::plain(&self.set, item)).collect())
    }

    fn none() -> Results {
        Results::Types(Vec::new())
    }

    fn chores(&self, merge: &TypesMerge) -> Vec<AddressRange> {
        let shard = |start: u64| {
            let (module, section, _) = self.set.locate(start)?;
            let surveyed = &self.set.modules[module];
            let worth = surveyed.sections[section].size >= LEAST && !surveyed.build_id.is_empty();
            worth.then(|| AddressRange::sized(start, SHARD).intersect(self.set.range(module, section))).flatten()
        };
        merge.missing().filter_map(shard).collect()
    }

    fn chore(&self, part: AddressRange, files: &Files, stop: &dyn Fn() -> bool) {
        let (Some(cache), Some((module, section, offset))) = (files.cache(), self.set.locate(part.start)) else {
            return;
        };
        let surveyed = &self.set.modules[module];
        let key = index::key(surveyed, section, offset / SHARD);
        if cache.find(&key).is_some() {
            return;
        }
        let source = ModuleSource::new(files, module);
        let inflated = InflatedSections::default();
        let (Ok(program), Ok(pattern)) = (Program::new(&source, &inflated), Pattern::new("")) else { return };
        let (mut scanner, mut taker) = (TypesScanner::new(pattern), Builder::default());
        let mut scan = Scan::new(&program, &mut scanner, module, &mut taker, stop);
        let types = surveyed.sections[section].name.starts_with(".debug_types");
        if scan.index(types, offset..offset + part.len()).is_some() {
            return;
        }
        if let Some(content) = taker.finish().filter(|_| !stop()) {
            cache.keep(&key, &content);
        }
    }
}
