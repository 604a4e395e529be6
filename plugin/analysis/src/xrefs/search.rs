//! The search through the files of all modules.

use super::boundaries::{Boundaries, Known, code_symbols};
use super::code::{Code, scan};
use super::elf::{Elf, Part};
use super::linkage::{Linkage, names};
use super::pointers::{holds_pointers, relocated, words};
use super::{Kind, Kinds, Name, Named, Reference, Target, Through, base};
use crate::driver::Sink;
use crate::files::{FileAnalysis, section_range};
use crate::lookup::Symbolizer;
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{Results, Stop, XrefRow};
use object::elf;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use target::AddressRange;
use target::modules::{Data, FileRef, FileSet, Files, Machine, Role, Section, Surveyed};

/// Of more symbols of one name it is only said how many there are.
const MOST_LISTED: usize = 8;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XrefsOptions {
    pub targets: Vec<Target>,
    /// What each target is called.
    pub labels: Vec<String>,
    pub kinds: Kinds,
    /// So many are shown.
    pub limit: u64,
}

/// A search for references.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Xrefs {
    options: XrefsOptions,
    set: FileSet,
    ranges: Vec<ScanRange>,
    places: Vec<Place>,
}

/// The section that a range is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    module: usize,
    section: usize,
    /// No reference in what comes after this section in its module has a lower address.
    after: u64,
}

/// A module's file holds code that cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("xrefs reads x86-64 code only; {file} is for {machine}")]
pub struct OtherMachine {
    pub file: String,
    pub machine: Machine,
}

/// What targets are called, as far as there is room for it.
fn listed(labels: &[String]) -> String {
    let shown = labels[..labels.len().min(MOST_LISTED)].join(", ");
    match labels.len() - labels.len().min(MOST_LISTED) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

impl Xrefs {
    /// A search in the files of `set`, of which the targets are modules.
    ///
    /// # Errors
    /// If only references in code are wanted, and none of the modules has any that can be searched.
    pub fn new(set: FileSet, options: XrefsOptions) -> Result<Self, OtherMachine> {
        let known = |module: &Surveyed| module.machine == Machine::X86_64 && module.layout.pointer_size == 8;
        if !options.kinds.has(Kind::Pointer)
            && !set.modules.iter().any(known)
            && let Some(module) = set.modules.first()
        {
            return Err(OtherMachine { file: base(&module.path).to_owned(), machine: module.machine });
        }
        let mut all: Vec<(ScanRange, Place)> = Vec::new();
        for (module, surveyed) in set.modules.iter().enumerate().filter(|(_, module)| !module.is_unlinked()) {
            for (number, section) in surveyed.sections.iter().enumerate() {
                if surveyed.files[section.file].role == Role::Main
                    && holds_any(surveyed, section, options.kinds, known(surveyed))
                {
                    let place = Place { module, section: number, after: 0 };
                    all.push((section_range(&set, module, number), place));
                }
            }
        }
        all.sort_by_key(|(range, _)| range.range.start);
        // In a damaged file sections may overlap.
        let mut end = 0;
        all.retain(|(range, _)| {
            let apart = range.range.start >= end;
            end = end.max(range.range.end);
            apart
        });
        let mut after = (usize::MAX, u64::MAX);
        for (_, place) in all.iter_mut().rev() {
            if after.0 != place.module {
                after = (place.module, u64::MAX);
            }
            place.after = after.1;
            let section = &set.modules[place.module].sections[place.section];
            // A relocation may be of any place.
            let least = if is_relocations(section) { 0 } else { section.address };
            after.1 = after.1.min(least);
        }
        let (ranges, places) = all.into_iter().unzip();
        Ok(Self { options, set, ranges, places })
    }

    fn module(&self, task: &Task) -> &Surveyed {
        &self.set.modules[self.places[task.index].module]
    }

    /// What is known of a module once its tables have been read.
    fn linkage(&self, scanner: &mut XrefsScanner, files: &Files, file: &Elf<Data<'_>>, module: usize) {
        let targets = &self.options.targets;
        let named = scanner.named.get_or_insert_with(|| targets.iter().map(|target| named(files, target)).collect());
        scanner.modules.entry(module).or_insert_with(|| match Linkage::new(file, module, named) {
            Ok(linkage) => Facts { linkage, known: Known::default(), problem: None },
            Err(problem) => {
                let linkage = Linkage::direct(file, module, named);
                Facts { linkage, known: Known::default(), problem: Some(problem) }
            }
        });
    }

    /// Runs a task: what it finds, up to which offset in its section, and what is wrong.
    fn find(
        &self,
        scanner: &mut XrefsScanner,
        task: &Task,
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Result<(XrefsPartial, u64), String> {
        let Place { module, section, .. } = self.places[task.index];
        let section = &self.set.modules[module].sections[section];
        let data = files.data(module, section.file).map_err(|error| error.reason)?;
        let file = Elf::parse(data)?;
        let part = file.parts.get(section.index).filter(|part| is_same(part, section));
        let part = part.ok_or("its section table is another than it was")?;
        self.linkage(scanner, files, &file, module);
        let (Some(named), Some(facts)) = (&scanner.named, scanner.modules.get(&module)) else {
            return Ok((XrefsPartial::default(), task.range.end));
        };
        let start = self.ranges[task.index].range.start;
        let range = task.range.start - start..task.range.end - start;
        let problem = facts.problem.clone();
        let partial = |references| XrefsPartial { references, problem: problem.clone() };
        if facts.linkage.is_empty() {
            return Ok((partial(Vec::new()), task.range.end));
        }
        if part.is_code() {
            let within = AddressRange::new(part.address + range.start, part.address + range.end);
            let (references, reached) = self.in_code(&file, part, within, facts, files, module, stop)?;
            return Ok((partial(references), task.range.start + (reached - within.start)));
        }
        let references = if file.entry_size(part).is_some() {
            relocated(&file, part, range, &facts.linkage, named)?
        } else if file.fixed {
            words(&file, part, range, &facts.linkage)?
        } else {
            Vec::new()
        };
        Ok((partial(references), task.range.end))
    }

    #[expect(clippy::too_many_arguments, reason = "all that a section of code is looked at with")]
    fn in_code(
        &self,
        file: &Elf<Data<'_>>,
        part: &Part,
        within: AddressRange,
        facts: &Facts,
        files: &Files,
        module: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Vec<Reference>, u64), String> {
        let section = part.address..part.address.saturating_add(part.size);
        let symbols = || code_symbols(symbol_files(files, module));
        let boundaries = Boundaries::new(file, symbols, &facts.known);
        let Range { start, end } = Code::needed(within, &section, &boundaries);
        let bytes = file.bytes_in(part, start - part.address, end - part.address)?;
        let code = Code { bytes, address: start, section };
        Ok(scan(&code, within, &facts.linkage, &boundaries, self.options.kinds, stop))
    }
}

/// What a task finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct XrefsPartial {
    references: Vec<Reference>,
    /// Why it is not known what goes through the module's tables.
    problem: Option<String>,
}

/// What a worker keeps from one task to the next.
#[derive(Debug, Default)]
pub struct XrefsScanner {
    named: Option<Vec<Named>>,
    modules: HashMap<usize, Facts>,
    symbolizer: Symbolizer,
}

#[derive(Debug)]
struct Facts {
    linkage: Linkage,
    known: Known,
    problem: Option<String>,
}

/// A reference in one of the modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Found {
    pub module: u32,
    pub reference: Reference,
}

/// What partials have come to.
#[derive(Debug, Default)]
pub struct XrefsMerge {
    /// Of the module that is being merged; those that come after them are not known yet.
    waiting: Vec<Found>,
    module: usize,
    shown: u64,
    total: u64,
    /// Modules of which not everything is known, and why.
    problems: Vec<(usize, String)>,
}

impl XrefsMerge {
    /// Gives what lies before `end`.
    fn settle(&mut self, end: u64, limit: u64, sink: &mut dyn Sink<Found>) {
        self.waiting.sort_unstable();
        // A word that a relocation writes is found once.
        self.waiting.dedup_by_key(|found| found.reference.address);
        let count = self.waiting.partition_point(|found| found.reference.address < end);
        let mut certain: Vec<Found> = self.waiting.drain(..count).collect();
        self.total += certain.len() as u64;
        certain.truncate(usize::try_from(limit - self.shown).unwrap_or(usize::MAX));
        self.shown += certain.len() as u64;
        if !certain.is_empty() {
            sink.found(certain);
        }
    }
}

impl Analysis for Xrefs {
    const NAME: &'static str = "xrefs";
    type Input = Files;
    type Partial = XrefsPartial;
    type Scanner = XrefsScanner;
    type Merge = XrefsMerge;
    type Item = Found;

    fn ranges(&self) -> &[ScanRange] {
        &self.ranges
    }

    fn scanner(&self) -> Result<XrefsScanner, String> {
        Ok(XrefsScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut XrefsScanner,
        task: &Task,
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<XrefsPartial> {
        match self.find(scanner, task, files, stop) {
            Ok((partial, end)) => {
                let rest = (end < task.range.end).then(|| AddressRange::new(end, task.range.end));
                Scanned { partial, bytes: end - task.range.start, skipped: Vec::new(), rest, gone: false }
            }
            Err(reason) => Scanned::unread(task, reason),
        }
    }

    fn merge(&self) -> XrefsMerge {
        XrefsMerge::default()
    }

    fn absorb(
        &self,
        merge: &mut XrefsMerge,
        task: &Task,
        partial: XrefsPartial,
        _: &Files,
        sink: &mut dyn Sink<Found>,
    ) -> ControlFlow<Stop> {
        let place = self.places[task.index];
        if merge.module != place.module {
            merge.settle(u64::MAX, self.options.limit, sink);
            merge.module = place.module;
        }
        if let Some(problem) = partial.problem
            && merge.problems.last().is_none_or(|(module, _)| *module != place.module)
        {
            merge.problems.push((place.module, problem));
        }
        let found = |reference| Found { module: place.module as u32, reference };
        merge.waiting.extend(partial.references.into_iter().map(found));
        // The next task begins where this one ends, in its section or behind it.
        let section = &self.module(task).sections[place.section];
        let next = match is_relocations(section) {
            true => 0,
            false => section.address.saturating_add(task.range.end - self.ranges[task.index].range.start),
        };
        merge.settle(next.min(place.after), self.options.limit, sink);
        ControlFlow::Continue(())
    }

    fn weight(partial: &XrefsPartial) -> usize {
        size_of_val(partial) + size_of_val(partial.references.as_slice())
    }
}

impl FileAnalysis for Xrefs {
    fn set(&self) -> &FileSet {
        &self.set
    }

    fn finish(&self, merge: &mut XrefsMerge, sink: &mut dyn Sink<Found>) -> bool {
        merge.settle(u64::MAX, self.options.limit, sink);
        false
    }

    fn total(&self, merge: &XrefsMerge) -> u64 {
        merge.total
    }

    fn notes(&self, merge: &XrefsMerge) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        let others = self.set.modules.iter().filter(|module| !module.files.is_empty());
        let mut others = others.filter(|module| module.machine != Machine::X86_64);
        if let Some(module) = others.next().filter(|_| self.options.kinds.has_code()) {
            notes.push(OtherMachine { file: base(&module.path).to_owned(), machine: module.machine }.to_string());
        }
        if let Some(module) = self.set.modules.iter().find(|module| module.is_unlinked()) {
            notes.push(format!(
                "{} has yet to be linked, so its code does not say what it refers to",
                base(&module.path)
            ));
        }
        if let labels @ [_, _, ..] = &self.options.labels[..] {
            notes.push(format!("there are {} of that name: {}", labels.len(), listed(labels)));
        }
        for (module, problem) in &merge.problems {
            let file = base(&self.set.modules[*module].path);
            notes.push(format!("{file}: what goes through its PLT and GOT is not known: {problem}"));
        }
        if self.options.targets.iter().any(|target| matches!(target, Target::ThreadLocal { .. })) {
            notes.push(
                "code that first works out where a thread's own variables are, and then adds an offset, is not found"
                    .to_owned(),
            );
        }
        let count = self.set.modules.iter().filter(|module| !module.is_unlinked()).count();
        if merge.total == 0 && count > 0 {
            let modules = if count == 1 { "the one module".to_owned() } else { format!("the {count} modules") };
            notes.push(format!("nothing in {modules} refers to {}", listed(&self.options.labels)));
        }
        notes
    }

    fn describe(&self, scanner: &mut XrefsScanner, items: &[Found], files: &Files, stop: &dyn Fn() -> bool) -> Results {
        let mut rows: Vec<XrefRow> = items.iter().map(|found| self.row(found)).collect();
        let mut first = 0;
        for batch in items.chunk_by(|a, b| a.module == b.module) {
            let rows = &mut rows[first..first + batch.len()];
            first += batch.len();
            if stop() {
                break;
            }
            let module = batch[0].module as usize;
            let addresses: Vec<u64> = batch.iter().map(|found| found.reference.address).collect();
            for (row, symbol) in rows.iter_mut().zip(scanner.symbolizer.symbols(files, module, &addresses)) {
                row.offset = symbol.as_ref().map(|symbol| symbol.offset);
                row.function = symbol.map(|symbol| symbol.name);
            }
            if stop() {
                break;
            }
            let places = scanner.symbolizer.places(files, module, &addresses, stop);
            for ((row, place), found) in rows.iter_mut().zip(places).zip(batch) {
                // Data has no lines.
                if let Some(place) = place.filter(|_| found.reference.kind != Kind::Pointer) {
                    row.line = Some(place.line).filter(|line| *line > 0);
                    row.file = Some(place.file);
                }
            }
        }
        Results::Xrefs(rows)
    }

    fn unread(&self, scanner: &mut XrefsScanner) -> Vec<String> {
        scanner.symbolizer.unread()
    }

    fn plain(&self, items: Vec<Found>) -> Results {
        Results::Xrefs(items.iter().map(|found| self.row(found)).collect())
    }

    fn none() -> Results {
        Results::Xrefs(Vec::new())
    }
}

impl Xrefs {
    fn row(&self, found: &Found) -> XrefRow {
        let module = &self.set.modules[found.module as usize];
        let Reference { address, kind, through, target } = found.reference;
        let several = self.options.labels.len() > 1;
        XrefRow {
            address: address.wrapping_add(module.bias.unwrap_or(0)),
            kind: kind.name().to_owned(),
            through: match through {
                Through::Direct => None,
                Through::Plt => Some("plt".to_owned()),
                Through::Got => Some("got".to_owned()),
            },
            module: module.path.clone(),
            target: self.options.labels.get(target as usize).filter(|_| several).cloned(),
            ..XrefRow::default()
        }
    }
}

/// A target with its names; without them if its file cannot be read.
fn named(files: &Files, target: &Target) -> Named {
    let names = match target {
        Target::Place { module, .. } | Target::ThreadLocal { module, .. } => {
            main_file(files, *module).and_then(|file| names(&file, target).ok())
        }
        Target::Outside(name) => Some(vec![Name { name: name.clone(), version: None, address: 0 }]),
    };
    Named { target: target.clone(), names: names.unwrap_or_default() }
}

fn main_file(files: &Files, module: usize) -> Option<Elf<Data<'_>>> {
    let number = files.set().modules[module].file(Role::Main)?;
    Elf::parse(files.data(module, number).ok()?).ok()
}

/// The files of a module that may have symbols.
fn with_symbols(module: &Surveyed) -> impl Iterator<Item = (usize, &FileRef)> {
    let files = module.files.iter().enumerate();
    files.filter(|(_, file)| matches!(file.role, Role::Main | Role::Debug | Role::Mini))
}

fn symbol_files(files: &Files, module: usize) -> Vec<Elf<Data<'_>>> {
    let with_symbols = with_symbols(&files.set().modules[module]);
    with_symbols.filter_map(|(number, _)| Elf::parse(files.data(module, number).ok()?).ok()).collect()
}

/// Whether a section may hold references of these kinds; those in code only where it is `code` that can be decoded.
fn holds_any(module: &Surveyed, section: &Section, kinds: Kinds, code: bool) -> bool {
    let part = part_of(section);
    if !section.alloc || !section.has_bytes() || section.compressed.is_some() {
        return false;
    }
    if part.is_code() {
        return code && kinds.has_code() && !part.is_plt();
    }
    kinds.has(Kind::Pointer) && (is_relocations(section) || module.fixed && holds_pointers(&part))
}

fn is_relocations(section: &Section) -> bool {
    [elf::SHT_RELA, elf::SHT_REL, elf::SHT_RELR].contains(&elf::SectionType(section.kind))
}

/// A section as a file's headers have it, as far as a survey tells.
fn part_of(section: &Section) -> Part {
    let flag = |set: bool, flag: elf::SectionFlags| if set { flag.0 } else { 0 };
    Part {
        name: section.name.clone(),
        kind: elf::SectionType(section.kind),
        flags: flag(section.alloc, elf::SHF_ALLOC) | flag(section.execute, elf::SHF_EXECINSTR),
        address: section.address,
        offset: section.range.start,
        size: section.size,
        link: 0,
    }
}

fn is_same(part: &Part, section: &Section) -> bool {
    part.offset == section.range.start && part.size == section.range.end - section.range.start
}
