//! `symbols`: the symbols of modules whose names match a regex.

use super::demangle::{Demangler, without_version};
use super::found::{Found, Place};
use super::known::{Identity, known};
use super::names::{Names, search_kept};
use super::pattern::{Pattern, PatternError, check};
use super::table::{Kind, Symbol, Table, Versions, entry_size};
use crate::driver::{Sink, push_skip};
use crate::files::{FileAnalysis, section_range};
use crate::lookup::Symbolizer;
use crate::lookup::places::{self, Places};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Results, Skip, Stop, SymbolRow};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use target::AddressRange;
use target::cache::Key;
use target::modules::{FileSet, Files};

/// The entries in each so many bytes of a file are looked at in one go, and kept as one fact.
const BLOCK: u64 = 64 << 10;

/// Fewer symbols are demangled faster than a fact about them is found.
const FEWEST_KEPT: usize = 256;

/// Of a module with less debug information than this, lines are found in no time.
const LEAST_KEPT: u64 = 1 << 20;

/// Whether to stop is asked once in so many entries.
const OFTEN: usize = 64;

/// So many matches are held before they are counted.
const MOST_MATCHES: usize = 32 << 10;

/// The names of a block that take more than this are searched, and forgotten, piece by piece.
const MOST_NAMES: usize = 8 << 20;

/// The word and the version that facts about names are kept under.
const FACTS: (&str, u32) = ("symbols", 1);

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolsOptions {
    /// Over the names as `nm -C` shows them. If there is an `@` in it, names have their versions, as `nm -D` shows them.
    pub regex: String,
    pub ignore_case: bool,
    /// Over the names as they are in the tables.
    pub mangled: bool,
    /// Of this kind only.
    pub kind: Option<Kind>,
    /// So many are shown.
    pub limit: usize,
}

/// A search in the symbol tables of modules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Symbols {
    options: SymbolsOptions,
    set: FileSet,
    ranges: Vec<ScanRange>,
    /// For each range, its module and section.
    tables: Vec<(u32, u32)>,
}

impl Symbols {
    /// # Errors
    /// If the regex does not parse.
    pub fn new(set: FileSet, options: SymbolsOptions) -> Result<Self, PatternError> {
        check(&options.regex, options.ignore_case)?;
        let sections = (0..set.modules.len())
            .flat_map(|module| set.modules[module].symbol_tables().map(move |section| (module as u32, section as u32)));
        let range = |(module, section): (u32, u32)| section_range(&set, module as usize, section as usize);
        let mut all: Vec<_> = sections.map(|table| (range(table), table)).collect();
        all.sort_by_key(|(range, _)| range.range.start);
        // In a damaged file one table may lie in another.
        let mut end = 0;
        all.retain(|(range, _)| {
            let apart = range.range.start >= end;
            end = end.max(range.range.end);
            apart
        });
        let (ranges, tables) = all.into_iter().unzip();
        Ok(Self { options, set, ranges, tables })
    }

    fn row(&self, found: &Found) -> SymbolRow {
        found.row(&self.set.modules[found.module as usize].path)
    }

    /// Whether names have their versions.
    fn versioned(&self) -> bool {
        self.options.regex.contains('@')
    }

    /// The tables of a module that come before this one: what is in them is not found again.
    fn before(&self, index: usize) -> Range<usize> {
        let module = self.tables[index].0;
        let first = self.tables[..index].partition_point(|table| table.0 < module);
        first..index
    }
}

/// What a task finds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SymbolsPartial {
    /// How many match, and those among them that may be shown.
    count: u64,
    found: Vec<Found>,
    /// How many symbols were looked at.
    looked_at: u64,
}

/// What a worker keeps from one task to the next.
#[derive(Debug)]
pub struct SymbolsScanner {
    pattern: Pattern,
    demangler: Demangler,
    names: Names,
    name: Vec<u8>,
    symbolizer: Symbolizer,
    /// By module, where symbols are in the source, as an earlier scan has found out.
    places: HashMap<usize, Option<Places>>,
}

/// What partials have come to.
#[derive(Debug, Default)]
pub struct SymbolsMerge {
    /// The module whose symbols these are, before all of them are there.
    module: u32,
    found: Vec<Found>,
    /// Those of which some are shown.
    modules: Vec<u32>,
    shown: usize,
    total: u64,
    looked_at: u64,
}

/// A table, and what is being found in it.
struct Search<'a> {
    analysis: &'a Symbols,
    files: &'a Files,
    index: usize,
    table: Table<'a>,
    versions: Option<Versions<'a>>,
    /// What matches, but that a table before this one may have it, too.
    matches: Vec<Place>,
    /// How many were no others', and those of them that may be shown.
    count: u64,
    own: Vec<Place>,
    looked_at: u64,
    skipped: Vec<Skip>,
}

impl<'a> Search<'a> {
    fn new(analysis: &'a Symbols, files: &'a Files, index: usize) -> Result<Self, String> {
        let (module, section) = analysis.tables[index];
        let (module, section) = (module as usize, section as usize);
        let table = Table::open(files, module, section).map_err(|error| error.to_string())?;
        let versions = (analysis.versioned() && table.dynamic).then(|| Versions::open(files, module, section));
        Ok(Self {
            analysis,
            files,
            index,
            versions: versions.transpose().map_err(|error| error.to_string())?,
            table,
            matches: Vec::new(),
            count: 0,
            own: Vec::new(),
            looked_at: 0,
            skipped: Vec::new(),
        })
    }

    /// The entry's symbol, if it is one that may be wanted.
    fn symbol(&mut self, entry: usize) -> Option<Symbol<'a>> {
        match self.table.symbol(entry) {
            Ok(symbol) => symbol,
            Err(()) => {
                let size = entry_size(self.analysis.set.modules[self.analysis.tables[self.index].0 as usize].layout);
                let start = self.analysis.ranges[self.index].range.start + entry as u64 * size;
                let reason = "a symbol's name lies outside of the names".to_owned();
                push_skip(&mut self.skipped, Skip { range: AddressRange::sized(start, size), reason });
                None
            }
        }
    }

    fn wanted(&self, symbol: &Symbol<'_>) -> bool {
        self.analysis.options.kind.is_none_or(|kind| kind == symbol.kind)
    }

    /// Notes that an entry matches.
    fn found(&mut self, entry: usize, symbol: &Symbol<'_>) {
        let section = self.analysis.tables[self.index].1;
        self.matches.push(Place { address: symbol.address, section, entry: entry as u32 });
        if self.matches.len() >= MOST_MATCHES {
            self.settle();
        }
    }

    /// Counts what matches, without what a table before this one has already, and leaves what may be shown.
    fn settle(&mut self) {
        let mut matches = std::mem::take(&mut self.matches);
        let before = &self.analysis.tables[self.analysis.before(self.index)];
        if !matches.is_empty() && !before.is_empty() {
            let values = matches.iter().map(|place| self.table.value(place.entry as usize)).collect();
            let open =
                |(module, section): &(u32, u32)| Table::open(self.files, *module as usize, *section as usize).ok();
            let known = known(&values, before.iter().filter_map(open));
            let symbol = |place: &Place| self.table.symbol(place.entry as usize).ok().flatten();
            matches.retain(|place| symbol(place).is_some_and(|symbol| !known.contains(&Identity::of(&symbol))));
        }
        self.count += matches.len() as u64;
        self.own.append(&mut matches);
        self.own.sort_unstable();
        self.own.truncate(self.analysis.options.limit);
    }

    /// Looks at some entries, one after another: those without what the regex requires are not demangled. Returns where it
    /// stopped, if it was told to.
    fn each(
        &mut self,
        entries: Range<usize>,
        scanner: &mut SymbolsScanner,
        stop: &dyn Fn() -> bool,
    ) -> ControlFlow<usize> {
        let SymbolsScanner { pattern, demangler, name, .. } = scanner;
        for entry in entries {
            if entry % OFTEN == 0 && stop() {
                return ControlFlow::Break(entry);
            }
            let Some(symbol) = self.symbol(entry) else { continue };
            self.looked_at += 1;
            if !self.wanted(&symbol) {
                continue;
            }
            if !self.analysis.options.mangled
                && !self.analysis.versioned()
                && pattern.required().is_some_and(|required| !required.may_match(symbol.name))
            {
                continue;
            }
            self.write(entry, &symbol, demangler, name);
            if pattern.matches(name) {
                self.found(entry, &symbol);
            }
        }
        ControlFlow::Continue(())
    }

    /// Writes a symbol's name as it is matched and shown.
    fn write(&self, entry: usize, symbol: &Symbol<'_>, demangler: &mut Demangler, name: &mut Vec<u8>) {
        name.clear();
        let plain = without_version(symbol.name);
        if self.analysis.options.mangled || !demangler.demangle(plain, name) {
            name.extend_from_slice(plain);
        }
        if self.analysis.versioned() {
            let own = &symbol.name[plain.len()..];
            let known = || self.versions.as_ref().map(|versions| versions.suffix(entry, symbol)).unwrap_or_default();
            if own.is_empty() { name.extend_from_slice(&known()) } else { name.extend_from_slice(own) }
        }
    }

    /// Looks at entries of which most have to be demangled: with the names kept of an earlier scan, if there are any; and keeps them,
    /// if these are all entries of a block. Returns where it stopped, if it was told to.
    fn all(
        &mut self,
        entries: Range<usize>,
        part: Option<u64>,
        scanner: &mut SymbolsScanner,
        stop: &dyn Fn() -> bool,
    ) -> ControlFlow<usize> {
        let module = &self.analysis.set.modules[self.analysis.tables[self.index].0 as usize];
        let (kind, version) = FACTS;
        let key = part.map(|part| Key { build_id: &module.build_id, kind, part, version });
        let cache = self.files.cache().filter(|_| entries.len() >= FEWEST_KEPT).zip(key);
        let mut hits = Vec::new();
        if let Some(kept) = cache.as_ref().and_then(|(cache, key)| cache.find(key)) {
            match search_kept(&kept, entries.len(), &mut scanner.pattern, |index| hits.push(index), stop) {
                Some(ControlFlow::Continue(named)) => {
                    self.looked_at += named;
                    self.hits(entries.start, &hits);
                    return ControlFlow::Continue(());
                }
                Some(ControlFlow::Break(())) => return ControlFlow::Break(entries.start),
                None => {}
            }
        }
        let damage = self.skipped.len();
        scanner.names.clear();
        let mut first = entries.start;
        for entry in entries.clone() {
            if entry % OFTEN == 0 && stop() {
                return ControlFlow::Break(first);
            }
            if scanner.names.size() > MOST_NAMES {
                self.search_names(first, scanner, stop)?;
                first = entry;
            }
            let symbol = self.symbol(entry);
            let demangler = &mut scanner.demangler;
            scanner.names.push(|text| {
                let Some(symbol) = symbol else { return };
                let plain = without_version(symbol.name);
                if !demangler.demangle(plain, text) {
                    text.extend_from_slice(plain);
                }
            });
        }
        // What is damaged is found out, and said, each time.
        if let Some((cache, key)) = cache.filter(|_| first == entries.start && damage == self.skipped.len()) {
            scanner.names.keep(cache, &key);
        }
        self.search_names(first, scanner, stop)
    }

    /// Searches the names of the entries from `first` on, and forgets them. Breaks with `first` if it was told to stop.
    fn search_names(
        &mut self,
        first: usize,
        scanner: &mut SymbolsScanner,
        stop: &dyn Fn() -> bool,
    ) -> ControlFlow<usize> {
        let mut hits = Vec::new();
        let searched = scanner.names.search(&mut scanner.pattern, |index| hits.push(index), stop);
        scanner.names.clear();
        self.looked_at += searched.map_break(|()| first)?;
        self.hits(first, &hits);
        ControlFlow::Continue(())
    }

    /// Takes what matches, counted from entry `first`.
    fn hits(&mut self, first: usize, hits: &[usize]) {
        for hit in hits {
            if let Some(symbol) = self.symbol(first + hit).filter(|symbol| self.wanted(symbol)) {
                self.found(first + hit, &symbol);
            }
        }
    }

    /// What is shown of those that match.
    fn finish(mut self, scanner: &mut SymbolsScanner) -> (SymbolsPartial, Vec<Skip>) {
        self.settle();
        let found = |place: &Place| {
            let symbol = self.table.symbol(place.entry as usize).ok().flatten()?;
            let mut name = Vec::new();
            self.write(place.entry as usize, &symbol, &mut scanner.demangler, &mut name);
            let plain = without_version(symbol.name);
            let mangled = !self.analysis.options.mangled && without_version(&name) != plain;
            Some(Found {
                module: self.analysis.tables[self.index].0,
                place: *place,
                kind: symbol.kind,
                undefined: symbol.undefined,
                thread_local: (symbol.thread_local && !symbol.undefined).then_some(symbol.value),
                size: symbol.size,
                name,
                mangled: mangled.then(|| plain.to_vec()),
            })
        };
        let found = self.own.iter().filter_map(found).collect();
        (SymbolsPartial { count: self.count, found, looked_at: self.looked_at }, self.skipped)
    }
}

impl Analysis for Symbols {
    const NAME: &'static str = "symbols";
    type Input = Files;
    type Partial = SymbolsPartial;
    type Scanner = SymbolsScanner;
    type Merge = SymbolsMerge;
    type Item = Found;

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn scanner(&self) -> Result<SymbolsScanner, String> {
        let pattern = Pattern::new(&self.options.regex, self.options.ignore_case).map_err(|error| error.to_string())?;
        Ok(SymbolsScanner {
            pattern,
            demangler: Demangler::new(),
            names: Names::default(),
            name: Vec::new(),
            symbolizer: Symbolizer::default(),
            places: HashMap::new(),
        })
    }

    fn scan(
        &self,
        scanner: &mut SymbolsScanner,
        task: &Task,
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<SymbolsPartial> {
        let mut search = match Search::new(self, files, task.index) {
            Ok(search) => search,
            Err(reason) => return Scanned::unread(task, reason),
        };
        let whole = self.ranges[task.index].range;
        let size = entry_size(self.set.modules[self.tables[task.index].0 as usize].layout);
        let count = search.table.len();
        // Of the entries, those that begin in a range.
        let entries = |range: AddressRange| {
            let first = |address: u64| ((address - whole.start).div_ceil(size) as usize).min(count);
            first(range.start)..first(range.end)
        };
        let one_by_one = self.options.mangled || self.versioned() || scanner.pattern.required().is_some();
        let mut at = task.range.start;
        let mut rest = None;
        while at < task.range.end {
            let block = AddressRange::new(at / BLOCK * BLOCK, (at / BLOCK + 1) * BLOCK);
            let covered = AddressRange::new(at, block.end.min(task.range.end));
            let entries = entries(covered);
            let done = if one_by_one {
                search.each(entries, scanner, stop)
            } else {
                let all = covered.start <= block.start.max(whole.start) && covered.end >= block.end.min(whole.end);
                let part = all.then(|| part(&self.set, self.tables[task.index], block, whole));
                search.all(entries, part, scanner, stop)
            };
            if let ControlFlow::Break(entry) = done {
                let start = (whole.start + entry as u64 * size).max(at);
                rest = Some(AddressRange::new(start, task.range.end));
                break;
            }
            at = covered.end;
        }
        let end = rest.map_or(task.range.end, |rest| rest.start);
        let (partial, skipped) = search.finish(scanner);
        let lost: u64 = skipped.iter().map(|skip| skip.range.len()).sum();
        Scanned { partial, bytes: (end - task.range.start).saturating_sub(lost), skipped, rest, gone: false }
    }

    fn merge(&self) -> SymbolsMerge {
        SymbolsMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut SymbolsMerge,
        task: &Task,
        partial: SymbolsPartial,
        _: &Files,
        sink: &mut dyn Sink<Found>,
    ) -> ControlFlow<Stop> {
        let module = self.tables[task.index].0;
        if merge.module != module {
            merge.show(self.options.limit, sink);
            merge.module = module;
        }
        merge.total += partial.count;
        merge.looked_at += partial.looked_at;
        merge.found.extend(partial.found);
        if merge.found.len() > self.options.limit.max(1024).saturating_mul(4) {
            merge.found.sort_unstable_by_key(|found| found.place);
            merge.found.truncate(self.options.limit - merge.shown);
        }
        ControlFlow::Continue(())
    }

    fn weight(partial: &SymbolsPartial) -> usize {
        partial.found.iter().map(Found::weight).sum()
    }
}

impl SymbolsMerge {
    /// Shows those of a module, all of which are there.
    fn show(&mut self, limit: usize, sink: &mut dyn Sink<Found>) {
        self.found.sort_unstable_by_key(|found| found.place);
        self.found.truncate(limit - self.shown);
        self.shown += self.found.len();
        if !self.found.is_empty() {
            self.modules.push(self.module);
            sink.found(std::mem::take(&mut self.found));
        }
    }
}

/// The number of the fact about a block of a table. Files of one build id may differ: one is stripped, the other has debug info.
fn part(set: &FileSet, (module, section): (u32, u32), block: AddressRange, whole: AddressRange) -> u64 {
    let module = &set.modules[module as usize];
    let table = &module.sections[section as usize];
    let names = |other: &&target::modules::Section| other.file == table.file && other.name.ends_with("str");
    let sizes = module.sections.iter().filter(names).flat_map(|names| [names.range.start, names.range.end]);
    let numbers =
        [table.range.start, table.range.end, block.start.saturating_sub(whole.start), block.end - whole.start];
    crate::files::part(numbers.into_iter().chain(sizes))
}

/// Where the functions of a module begin, and its variables; `None` if `stop` says so.
fn placed(files: &Files, module: usize, stop: &dyn Fn() -> bool) -> Option<places::Symbols> {
    let surveyed = &files.set().modules[module];
    let bias = surveyed.bias.unwrap_or(0);
    let mut all = places::Symbols::default();
    for table in surveyed.symbol_tables().filter_map(|section| Table::open(files, module, section).ok()) {
        for entry in 0..table.len() {
            if entry % OFTEN == 0 && stop() {
                return None;
            }
            let Some(symbol) = table.symbol(entry).ok().flatten() else { continue };
            let Some(address) = symbol.address.map(|address| address.wrapping_sub(bias)) else { continue };
            match symbol.kind {
                Kind::Function => all.functions.push(address),
                Kind::Data => all.variables.push(address),
                Kind::Other => {}
            }
        }
    }
    for addresses in [&mut all.functions, &mut all.variables] {
        addresses.sort_unstable();
        addresses.dedup();
    }
    Some(all)
}

/// Puts the place of a symbol into its row.
fn put(row: &mut SymbolRow, place: Option<(String, u64)>) {
    if let Some((file, line)) = place {
        row.file = Some(file);
        row.line = Some(line).filter(|line| *line > 0);
    }
}

impl FileAnalysis for Symbols {
    fn set(&self) -> &FileSet {
        &self.set
    }

    fn finish(&self, merge: &mut SymbolsMerge, sink: &mut dyn Sink<Found>) -> bool {
        merge.show(self.options.limit, sink);
        false
    }

    fn total(&self, merge: &SymbolsMerge) -> u64 {
        merge.total
    }

    fn notes(&self, merge: &SymbolsMerge) -> Vec<String> {
        if merge.total > 0 {
            return Vec::new();
        }
        let SymbolsOptions { regex, mangled, .. } = &self.options;
        let count = self.set.modules.len();
        let modules = if count == 1 { "1 module".to_owned() } else { format!("{count} modules") };
        let mut notes = vec![format!("none of {} symbols in {modules} matches", merge.looked_at)];
        if !mangled && (regex.contains("_Z") || regex.contains("_R")) {
            notes.push(
                "names are matched as they are demangled; --mangled matches them as they are in the tables".into(),
            );
        }
        notes
    }

    fn describe(
        &self,
        scanner: &mut SymbolsScanner,
        items: &[Found],
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Results {
        let mut rows: Vec<SymbolRow> = items.iter().map(|found| self.row(found)).collect();
        let mut done = 0;
        for of_module in items.chunk_by(|one, other| one.module == other.module) {
            let rows = &mut rows[done..done + of_module.len()];
            done += of_module.len();
            if stop() {
                break;
            }
            let module = of_module[0].module as usize;
            let bias = self.set.modules[module].bias.unwrap_or(0);
            let known = scanner.places.entry(module).or_insert_with(|| Places::find(files, module));
            let mut unknown = [(Kind::Function, Vec::new(), Vec::new()), (Kind::Data, Vec::new(), Vec::new())];
            for (found, row) in of_module.iter().zip(rows) {
                let Some(address) = found.place.address.map(|address| address.wrapping_sub(bias)) else { continue };
                // What takes no room is a label, such as where the linker has data end, at whichever variable.
                let kind = unknown.iter_mut().find(|kind| kind.0 == found.kind);
                let kind = kind.filter(|kind| kind.0 == Kind::Function || found.size > 0);
                let Some(kind) = kind else { continue };
                match known.as_ref().and_then(|known| known.place(address)) {
                    Some(place) => put(row, place.map(|(file, line)| (file.to_owned(), line.into()))),
                    None => {
                        kind.1.push(address);
                        kind.2.push(row);
                    }
                }
            }
            let [(_, functions, code), (_, variables, data)] = unknown;
            let symbolizer = &mut scanner.symbolizer;
            let places = symbolizer.places(files, module, &functions, stop);
            let declared = symbolizer.variables(files, module, &variables, stop);
            for (row, place) in code.into_iter().chain(data).zip(places.into_iter().chain(declared)) {
                put(row, place.map(|place| (place.file, place.line)));
            }
        }
        Results::Symbols(rows)
    }

    fn unread(&self, scanner: &mut SymbolsScanner) -> Vec<String> {
        scanner.symbolizer.unread()
    }

    fn plain(&self, items: Vec<Found>) -> Results {
        Results::Symbols(items.iter().map(|found| self.row(found)).collect())
    }

    fn none() -> Results {
        Results::Symbols(Vec::new())
    }

    fn chores(&self, merge: &SymbolsMerge) -> Vec<AddressRange> {
        let large = |module: &u32| {
            let surveyed = &self.set.modules[*module as usize];
            let section = surveyed.debug_info().filter(|section| surveyed.sections[*section].size >= LEAST_KEPT)?;
            (!surveyed.build_id.is_empty()).then(|| self.set.range(*module as usize, section))
        };
        merge.modules.iter().filter_map(large).collect()
    }

    fn chore(&self, part: AddressRange, files: &Files, stop: &dyn Fn() -> bool) {
        let Some((module, ..)) = self.set.locate(part.start) else { return };
        Places::keep(files, module, || placed(files, module, stop), stop);
    }
}
