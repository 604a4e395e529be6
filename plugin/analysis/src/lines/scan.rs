//! The rows of a unit's line table that are of files whose paths match.

use crate::dwarf::{Abbreviations, DebugInfo, Dwarf, DwarfError, Slice, Unit, UnitTable, file_path};
use crate::lookup::{Patience, place};
use regex_automata::{Input, meta};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

/// Code that belongs to one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Row {
    /// In the file's own terms.
    pub start: u64,
    pub end: u64,
    /// Index into the texts.
    pub file: u32,
    pub line: u32,
}

/// What the line tables of some units tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesPart {
    /// Paths, none of them twice.
    pub files: Vec<String>,
    pub rows: Vec<Row>,
}

/// Finds rows, and keeps what it has learnt of a module.
#[derive(Debug)]
pub struct Search {
    regex: meta::Regex,
    cache: meta::Cache,
}

/// A module, as it is kept from one task to the next.
#[derive(Debug, Default)]
pub struct Kept {
    pub table: UnitTable,
    abbreviations: Abbreviations,
    /// Whether a file matches, by where its three names are in the module's sections.
    known: HashMap<[usize; 4], bool>,
}

impl Kept {
    pub fn new(dwarf: &Dwarf<'_>) -> Self {
        Self { table: UnitTable::new(dwarf), ..Self::default() }
    }
}

/// What was found, and what could not be.
#[derive(Debug, Default)]
pub struct Found {
    pub part: LinesPart,
    /// Ranges of .debug_info, and why their lines could not be read, as fragments.
    pub unread: Vec<(Range<u64>, String)>,
    /// Where it stopped, if it was told to.
    pub stopped: Option<u64>,
}

impl Search {
    pub fn new(regex: meta::Regex) -> Self {
        let cache = regex.create_cache();
        Self { regex, cache }
    }

    /// Finds the rows of units that begin in `part` of .debug_info. `code` is where the module has code, in ascending order:
    /// what a line table says of functions that the linker has left out is elsewhere.
    pub fn scan<'a>(
        &mut self,
        debug: &DebugInfo<'a>,
        kept: &mut Kept,
        part: Range<u64>,
        code: &[Range<u64>],
        stop: &dyn Fn() -> bool,
    ) -> Found {
        let Kept { table, abbreviations, known } = kept;
        let mut found = Found::default();
        let mut paths = HashMap::new();
        for at in table.overlapping(part.clone()).iter().filter(|unit| unit.start >= part.start) {
            if at.start > part.start && stop() {
                found.stopped = Some(at.start);
                return found;
            }
            let rows = abbreviations
                .unit(&debug.dwarf, at.start)
                .and_then(|unit| self.unit(&debug.dwarf, &unit, known, code, (&mut found.part, &mut paths), stop));
            match rows {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => {
                    found.stopped = Some(at.start.max(part.start + 1));
                    return found;
                }
                Err(error) => {
                    let range = at.start..at.end.min(part.end);
                    let reason = format!("the lines of the unit at {:#x} are malformed: {error}", at.start);
                    found.unread.push((range, reason));
                }
            }
        }
        if let Some(rest) = &table.rest
            && part.contains(&rest.range.start)
        {
            found.unread.push((rest.range.start..part.end, rest.reason.clone()));
        }
        found
    }

    fn unit<'a>(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &Unit<'a>,
        known: &mut HashMap<[usize; 4], bool>,
        code: &[Range<u64>],
        (part, paths): (&mut LinesPart, &mut HashMap<Vec<u8>, u32>),
        stop: &dyn Fn() -> bool,
    ) -> Result<ControlFlow<()>, DwarfError> {
        let done = Ok(ControlFlow::Continue(()));
        let Some(program) = unit.line_program.clone() else { return done };
        if is_partial(unit)? {
            return done;
        }
        // Files are counted from 0 in version 5, from 1 before.
        let first = u64::from(program.header().version() < 5);
        let count = program.header().file_names().len() as u64;
        let mut files: Vec<Option<u32>> = vec![None; (first + count) as usize];
        for file in first..first + count {
            if self.matches(dwarf, unit, program.header(), file, known) {
                let Some(path) = file_path(dwarf, unit, program.header(), file) else { continue };
                let text = *paths.entry(path).or_insert_with_key(|path| {
                    part.files.push(crate::describe::text_of(path));
                    (part.files.len() - 1) as u32
                });
                files[file as usize] = Some(text);
            }
        }
        if files.iter().all(Option::is_none) {
            return done;
        }
        let mut rows = program.rows();
        let mut patience = Patience::new(stop);
        // The row that goes on until the next one, of a sequence that is of code.
        let mut last: Option<Row> = None;
        let mut is_code = None;
        while let Some((_, row)) = rows.next_row()? {
            if patience.is_over() {
                return Ok(ControlFlow::Break(()));
            }
            let address = row.address();
            let of_code = *is_code.get_or_insert_with(|| holds(code, address));
            if let Some(open) = last.take()
                && open.start < address
            {
                push(&mut part.rows, Row { end: address, ..open });
            }
            if row.end_sequence() {
                is_code = None;
                continue;
            }
            let place = place(row);
            let file = files.get(place.file as usize).copied().flatten();
            last = file.filter(|_| of_code).map(|file| Row { start: address, end: address, file, line: place.line });
        }
        done
    }

    fn matches<'a>(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &Unit<'a>,
        header: &gimli::LineProgramHeader<Slice<'a>>,
        file: u64,
        known: &mut HashMap<[usize; 4], bool>,
    ) -> bool {
        let Some(entry) = header.file(file) else { return false };
        let at = |text: Option<Slice<'a>>| text.map_or(0, |text| text.slice().as_ptr() as usize);
        let text = |value| dwarf.attr_string(unit, value).ok();
        let directory = entry.directory(header).and_then(text);
        // Two texts that begin at the same place are the same; the directory's number tells whether it counts.
        let numbered = usize::from(entry.directory_index() != 0);
        let key = [at(text(entry.path_name())), at(directory), at(unit.comp_dir), numbered];
        *known.entry(key).or_insert_with(|| {
            let Some(path) = file_path(dwarf, unit, header, file) else { return false };
            self.regex.search_half_with(&mut self.cache, &Input::new(&path).earliest(true)).is_some()
        })
    }
}

/// Whether a unit is one of those that hold what others have in common, and refers to another's line table.
fn is_partial(unit: &Unit<'_>) -> Result<bool, DwarfError> {
    let root = unit.entries_raw(None)?.read_abbreviation()?.map(gimli::Abbreviation::tag);
    Ok(!matches!(root, Some(gimli::DW_TAG_compile_unit | gimli::DW_TAG_skeleton_unit)))
}

fn holds(ranges: &[Range<u64>], address: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= address);
    after.checked_sub(1).is_some_and(|at| ranges[at].contains(&address))
}

/// Adds a row; rows that follow on each other and are of one line are one.
fn push(rows: &mut Vec<Row>, row: Row) {
    match rows.last_mut() {
        Some(last) if (last.end, last.file, last.line) == (row.start, row.file, row.line) => last.end = row.end,
        _ => rows.push(row),
    }
}
