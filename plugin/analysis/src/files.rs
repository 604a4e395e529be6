//! Analyses of modules' files: their symbols, their debug info, their code.
//!
//! A file analysis is an [`Analysis`] whose ranges lie in *file space* ([`target::modules::FileSet`]): one for each section
//! that it reads. What it finds belongs to the task in whose range it begins. What is shown of a result, and takes more reading,
//! such as its source line, is added by [`describe`](FileAnalysis::describe), for those results alone that are shown.

use crate::driver::Sink;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Results, Skip};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::ops::Range;
use std::path::PathBuf;
use target::AddressRange;
use target::modules::{FileSet, Files, Module, Search};

/// An analysis of modules' files.
pub trait FileAnalysis: Analysis<Input = Files, Item: Clone + Send + Serialize + DeserializeOwned> {
    /// How many items are described at a time.
    const BATCH: usize = 64;

    /// Whether there is anything to add to items; if not, their rows are the [plain](Self::plain) ones.
    const DESCRIBES: bool = true;

    /// What the files are.
    fn set(&self) -> &FileSet;

    /// Gives `sink` what is certain only when all has been merged: what is ranked, the last module's. Returns whether there is
    /// more to give: then it is called again. After a run that ended early it is called once.
    fn finish(&self, merge: &mut Self::Merge, sink: &mut dyn Sink<Self::Item>) -> bool;

    /// How many results there are, whatever the limit.
    fn total(&self, merge: &Self::Merge) -> u64;

    /// What else the user should know, a line each.
    fn notes(&self, merge: &Self::Merge) -> Vec<String> {
        let _ = merge;
        Vec::new()
    }

    /// The rows for items, in their order, with all that is shown of them. It asks `stop` now and then, and if told so
    /// returns plain rows for the rest.
    fn describe(
        &self,
        scanner: &mut Self::Scanner,
        items: &[Self::Item],
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Results;

    /// What could not be read for rows that have been [described](Self::describe), and has not been told yet: the file, and why, a
    /// line each.
    fn unread(&self, scanner: &mut Self::Scanner) -> Vec<String> {
        let _ = scanner;
        Vec::new()
    }

    /// The rows for items without anything that takes reading.
    fn plain(&self, items: Vec<Self::Item>) -> Results;

    /// No rows, of the kind that it has.
    fn none() -> Results;

    /// Parts of file space of which it is worth [working something out](Self::chore) and keeping it, so that later scans are
    /// faster. Nothing that is found depends on it.
    fn chores(&self, merge: &Self::Merge) -> Vec<AddressRange> {
        let _ = merge;
        Vec::new()
    }

    /// Works out what is worth keeping of one of these parts, and keeps it in the cache. It asks `stop` at least once in a few
    /// milliseconds, and if told so keeps nothing.
    fn chore(&self, part: AddressRange, files: &Files, stop: &dyn Fn() -> bool) {
        let _ = (part, files, stop);
    }
}

/// What is asked of a worker in a job of a file analysis.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request<T> {
    Scan(Task),
    Describe(Vec<T>),
    Chore(AddressRange),
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<P> {
    Scanned(Scanned<P>),
    /// Rows, and what could not be read for them.
    Described(Results, Vec<String>),
    /// A chore is done, as far as it could be.
    Done,
}

/// What a worker is told once for a job. The descriptors of what has been inflated travel beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Setup<A: FileAnalysis> {
    pub analysis: A,
    /// The folder of the cache, and how many bytes it may have; `None` without one.
    pub cache: Option<(PathBuf, u64)>,
}

/// The worker's function that surveys modules.
pub const SURVEY: &str = "survey";

/// The worker's function that inflates a section.
pub const INFLATE: &str = "inflate";

/// What the first is asked: modules, and where their files are looked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SurveyRequest {
    pub modules: Vec<Module>,
    pub search: Search,
}

/// The number of a fact that is kept about a part of a module, by what it depends on.
pub(crate) fn part(numbers: impl Iterator<Item = u64>) -> u64 {
    // FNV-1a.
    numbers
        .flat_map(u64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The range of a section, as an analysis has it among its ranges.
pub fn section_range(set: &FileSet, module: usize, section: usize) -> ScanRange {
    let range = set.range(module, section);
    ScanRange::alone(range)
}

/// What a task brings whose range begins `offset` bytes into a section: its partial, what of the section could not be read and
/// why, and where in the section it stopped, if it did not come to its end.
pub(crate) fn scanned<P>(
    task: &Task,
    offset: u64,
    partial: P,
    unread: Vec<(Range<u64>, String)>,
    stopped: Option<u64>,
) -> Scanned<P> {
    let place = |at: u64| task.range.start + (at - offset);
    let skip = |(range, reason): (Range<u64>, String)| Skip {
        range: AddressRange::new(place(range.start), place(range.end)),
        reason,
    };
    let skipped: Vec<Skip> = unread.into_iter().map(skip).collect();
    let lost: u64 = skipped.iter().map(|skip| skip.range.len()).sum();
    let rest = stopped.map(|at| AddressRange::new(place(at), task.range.end));
    let done = task.range.len() - rest.map_or(0, AddressRange::len);
    Scanned { partial, bytes: done.saturating_sub(lost), skipped, rest, gone: false }
}

/// What was skipped, as the user knows it: at offsets in the file, whose name and section the reason gets.
pub fn in_files(set: &FileSet, skipped: Vec<Skip>) -> Vec<Skip> {
    let named = |skip: Skip| {
        let Some((module, section, offset)) = set.locate(skip.range.start) else { return skip };
        let section = &set.modules[module].sections[section];
        let path = &set.modules[module].files[section.file].path;
        let file = path.rsplit('/').next().unwrap_or(path);
        // Of a section that was inflated, the offset within it is what other tools show.
        let start = if section.inflated.is_some() { offset } else { section.range.start + offset };
        let reason = format!("{file} {}: {}", section.name, skip.reason);
        Skip { range: AddressRange::sized(start, skip.range.len()), reason }
    };
    skipped.into_iter().map(named).collect()
}

/// Whether a module's file is called so: its whole path, its file name, or its file name up to `.so`, a version or a dot.
pub fn is_named(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    let rest = file.strip_prefix(name);
    path == name || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_its_path_its_file_or_the_stem_of_it() {
        for name in ["/lib/libstdc++.so.6.0.30", "libstdc++.so.6.0.30", "libstdc++.so.6", "libstdc++"] {
            assert!(is_named("/lib/libstdc++.so.6.0.30", name), "{name}");
        }
        for name in ["libstdc", "stdc++", "/lib", ""] {
            assert!(!is_named("/lib/libstdc++.so.6.0.30", name), "{name}");
        }
    }
}
