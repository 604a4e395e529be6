//! `lookup`: what is at an address: module, symbol, the functions that are inlined there, the place in the source.
//!
//! All addresses of a module are looked up in one walk over its debug information, each unit by one task; of a large unit,
//! tasks share the functions. Symbol tables are parts of the same scan.

mod functions;
mod merge;
mod part;
pub(crate) mod places;
mod plan;
mod rows;
mod symbolizer;
mod symbols;
mod variables;
mod wanted;
mod words;

use crate::driver::Sink;
use crate::dwarf::{DebugInfo, ModuleSource};
use crate::files::{FileAnalysis, scanned};
use crate::plan::{Analysis, ScanRange, Scanned, Task};
use crate::report::{LookupRow, Results, Stop};
use crate::symbols::table::entry_size;
use crate::xrefs::Elf;
use object::elf;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use target::modules::{FileSet, Files};

pub use merge::LookupMerge;
pub use part::{Kept, Part, Question, Spelling, look_up};
pub use plan::{Given, Lookup, LookupOptions, ModuleFinder, ModuleNames};
pub(crate) use rows::Patience;
pub use rows::place;
pub use symbolizer::{SourcePlace, Symbolizer, symbols_in};
pub use symbols::SymbolPart;
pub use words::{address_in, in_module};

/// What a task finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LookupPartial {
    Nothing,
    /// In .debug_info of this module.
    Debug(usize, Part),
    /// In a symbol table of this module.
    Symbols(usize, SymbolPart),
}

/// What is kept of modules from one task to the next.
#[derive(Debug, Default)]
pub struct LookupScanner {
    modules: HashMap<usize, Kept>,
}

impl Analysis for Lookup {
    const NAME: &'static str = "lookup";
    type Input = Files;
    type Partial = LookupPartial;
    type Scanner = LookupScanner;
    type Merge = LookupMerge;
    type Item = LookupRow;

    fn ranges(&self) -> &[ScanRange] {
        self.ranges()
    }

    fn scanner(&self) -> Result<LookupScanner, String> {
        Ok(LookupScanner::default())
    }

    fn scan(
        &self,
        scanner: &mut LookupScanner,
        task: &Task,
        files: &Files,
        stop: &dyn Fn() -> bool,
    ) -> Scanned<LookupPartial> {
        let whole =
            |partial| Scanned { partial, bytes: task.range.len(), skipped: Vec::new(), rest: None, gone: false };
        let found = self.set.locate(task.range.start);
        let wanted =
            found.and_then(|(module, section, offset)| Some((module, section, offset, self.wanted.get(&module)?)));
        let Some((module, section, offset, wanted)) = wanted else { return whole(LookupPartial::Nothing) };
        let part = offset..offset + task.range.len();
        let found = match self.set.modules[module].debug_info() == Some(section) {
            true => self.in_debug_info(scanner, module, files, wanted, part.clone(), stop),
            false => self.in_symbols(module, section, files, wanted, part.clone()),
        };
        let (partial, unread, stopped) = match found {
            Ok(found) => found,
            Err(reason) => (LookupPartial::Nothing, vec![(part, reason)], None),
        };
        scanned(task, offset, partial, unread, stopped)
    }

    fn merge(&self) -> LookupMerge {
        LookupMerge::new(self)
    }

    fn absorb(
        &self,
        merge: &mut LookupMerge,
        _: &Task,
        partial: LookupPartial,
        _: &Files,
        sink: &mut dyn Sink<LookupRow>,
    ) -> ControlFlow<Stop> {
        let (LookupPartial::Debug(module, _) | LookupPartial::Symbols(module, _)) = partial else {
            return ControlFlow::Continue(());
        };
        // Tasks come in the order of the modules.
        let _ = self.show(merge, module, sink);
        match partial {
            LookupPartial::Nothing => {}
            LookupPartial::Debug(module, part) => merge.absorb(module, part),
            LookupPartial::Symbols(module, part) => merge.absorb_symbols(module, part),
        }
        ControlFlow::Continue(())
    }

    fn weight(partial: &LookupPartial) -> usize {
        let texts = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        match partial {
            LookupPartial::Nothing => 0,
            LookupPartial::Debug(_, part) => {
                texts(&part.texts) + 32 * (part.frames.len() + part.innermost.len() + part.places.len())
            }
            LookupPartial::Symbols(_, part) => texts(&part.texts) + 32 * part.found.len(),
        }
    }
}

type Found = (LookupPartial, Vec<(Range<u64>, String)>, Option<u64>);

impl Lookup {
    /// Shows the rows that are next, a batch of them, as far as they are of modules before `from`. Returns whether there were any.
    fn show(&self, merge: &mut LookupMerge, from: usize, sink: &mut dyn Sink<LookupRow>) -> bool {
        let rows = merge.take_before(self, from);
        let any = !rows.is_empty();
        if any {
            sink.found(rows);
        }
        any
    }

    fn in_debug_info(
        &self,
        scanner: &mut LookupScanner,
        module: usize,
        files: &Files,
        addresses: &[u64],
        part: Range<u64>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Found, String> {
        let source = ModuleSource::new(files, module);
        let debug = DebugInfo::load(&source).map_err(|error| error.to_string())?;
        let kept = scanner.modules.entry(module).or_insert_with(|| Kept::new(&debug, addresses));
        let question = Question { part, spelling: self.options.spelling, functions: true };
        let found = look_up(&debug, &source, kept, &question, stop);
        Ok((LookupPartial::Debug(module, found.part), found.unread, found.stopped))
    }

    fn in_symbols(
        &self,
        module: usize,
        section: usize,
        files: &Files,
        addresses: &[u64],
        part: Range<u64>,
    ) -> Result<Found, String> {
        let table = &self.set.modules[module].sections[section];
        let size = entry_size(self.set.modules[module].layout);
        let entries = part.start.div_ceil(size) as usize..part.end.div_ceil(size) as usize;
        let dynamic = elf::SectionType(table.kind) == elf::SHT_DYNSYM;
        let spelling = self.options.spelling;
        let data = files.data(module, table.file).map_err(|error| error.to_string())?;
        let file = object::File::parse(data).map_err(|error| error.to_string())?;
        let sections = self.set.modules[module].bases(table.file);
        let mut found = symbols::look_up(&file, dynamic, entries, &sections, addresses, spelling);
        let mut unread = Vec::new();
        // What the dynamic symbols' stubs are of goes with the first of them.
        if dynamic && part.start == 0 {
            let stubs = Elf::parse(data).and_then(|file| symbols::add_stubs(&mut found, &file, addresses, spelling));
            unread.extend(stubs.err().map(|reason| (part, format!("stubs of the PLT are not named: {reason}"))));
        }
        Ok((LookupPartial::Symbols(module, found), unread, None))
    }
}

impl FileAnalysis for Lookup {
    const DESCRIBES: bool = false;

    fn set(&self) -> &FileSet {
        &self.set
    }

    fn finish(&self, merge: &mut LookupMerge, sink: &mut dyn Sink<LookupRow>) -> bool {
        self.show(merge, usize::MAX, sink)
    }

    fn total(&self, _: &LookupMerge) -> u64 {
        self.given.len() as u64
    }

    fn describe(&self, _: &mut LookupScanner, items: &[LookupRow], _: &Files, _: &dyn Fn() -> bool) -> Results {
        self.plain(items.to_vec())
    }

    fn plain(&self, items: Vec<LookupRow>) -> Results {
        Results::Lookups(items)
    }

    fn none() -> Results {
        Results::Lookups(Vec::new())
    }
}
