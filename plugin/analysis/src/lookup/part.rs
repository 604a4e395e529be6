//! What a part of a module tells of the addresses that are looked up in it.

use super::functions::{self, End, Functions};
use super::rows::{self, Place};
use super::symbols::Spelled;
use super::wanted::{Spans, Wanted};
use crate::describe::text_of;
use crate::dwarf::{Abbreviations, DebugInfo, DwarfError, Names, Source, Unit, UnitRanges, UnitTable, file_path};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::ops::{ControlFlow, Range};
use target::modules::InflatedSections;

/// A place in the source. Line and column are 0 where they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Index into the part's texts.
    pub file: Option<u32>,
    pub line: u32,
    pub column: u32,
}

/// A function, or a call that was inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Index into the part's texts.
    pub function: Option<u32>,
    /// The frame that it was inlined into, by its index, and where it was called.
    pub caller: Option<(u32, Location)>,
}

/// What units tell of some addresses of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Names and paths, none of them twice.
    pub texts: Vec<String>,
    pub frames: Vec<Frame>,
    /// The number of the address, the offset of the unit, the innermost frame.
    pub innermost: Vec<(u32, u64, u32)>,
    /// The number of the address, the offset of the unit, where the line table says that it is.
    pub places: Vec<(u32, u64, Location)>,
}

/// How names are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spelling {
    #[default]
    Demangled,
    /// As the linker knows them.
    Mangled,
}

/// What is looked up in a module, and what of its units that takes; it is kept from one part to the next.
#[derive(Debug)]
pub struct Kept {
    table: UnitTable,
    ranges: UnitRanges,
    /// Addresses in the file's own terms, in ascending order, none of them twice.
    spans: Spans<Box<[u64]>>,
    abbreviations: Abbreviations,
}

impl Kept {
    /// Of a module in which `addresses`, in ascending order, are looked up.
    pub fn new(debug: &DebugInfo<'_>, addresses: &[u64]) -> Self {
        let table = UnitTable::new(&debug.dwarf);
        let ranges = UnitRanges::new(&debug.dwarf, &table);
        Self { table, ranges, spans: Spans::new(addresses.into()), abbreviations: Abbreviations::default() }
    }

    /// The same module, for other addresses.
    pub fn turn_to(&mut self, addresses: &[u64]) {
        self.spans = Spans::new(addresses.into());
    }

    /// Where the last unit ends in .debug_info.
    pub fn end(&self) -> u64 {
        self.table.all().last().map_or(0, |unit| unit.end)
    }
}

/// What is asked of a part.
#[derive(Clone, Debug)]
pub struct Question {
    /// What of .debug_info is looked into: the units, and of large ones the functions, that begin there.
    pub part: Range<u64>,
    pub spelling: Spelling,
    /// Whether functions are asked for, and not the places alone.
    pub functions: bool,
}

/// What was found, and what could not be.
#[derive(Debug, Default)]
pub struct Found {
    pub part: Part,
    /// Ranges of .debug_info, and why they could not be read, as fragments.
    pub unread: Vec<(Range<u64>, String)>,
    /// Where it stopped, if it was told to.
    pub stopped: Option<u64>,
}

/// Looks up addresses in a part of a module's debug information.
pub fn look_up<'a>(
    debug: &DebugInfo<'a>,
    source: &dyn Source<'a>,
    kept: &mut Kept,
    question: &Question,
    stop: &dyn Fn() -> bool,
) -> Found {
    let Kept { table, ranges, spans, abbreviations } = kept;
    let part = &question.part;
    let mut search = Search {
        debug,
        source,
        question,
        part: Part::default(),
        names: Spelled::default(),
        paths: FxHashMap::default(),
        table,
        ranges,
        spans,
        stop,
    };
    let (mut unread, mut stopped) = (Vec::new(), None);
    for unit in table.overlapping(part.clone()) {
        if unit.start > part.start && stop() {
            stopped = Some(unit.start);
            break;
        }
        match search.unit(abbreviations, unit) {
            Ok(End::Done) => {}
            Ok(End::Stopped(at)) => {
                stopped = Some(unit.start + at as u64);
                break;
            }
            Err(error) => {
                let what = if matches!(error, DwarfError::Unread(_)) { "cannot be read" } else { "is malformed" };
                unread.push((
                    unit.start.max(part.start)..unit.end.min(part.end),
                    format!("the unit at {:#x} {what}: {error}", unit.start),
                ));
            }
        }
    }
    if let Some(rest) = &table.rest
        && part.contains(&rest.range.start)
        && stopped.is_none()
    {
        unread.push((rest.range.start..part.end, rest.reason.clone()));
    }
    Found { part: search.part, unread, stopped }
}

struct Search<'a, 'd> {
    debug: &'d DebugInfo<'a>,
    source: &'d dyn Source<'a>,
    question: &'d Question,
    part: Part,
    names: Spelled,
    /// Which of the part's texts a path has become.
    paths: FxHashMap<Vec<u8>, u32>,
    table: &'d UnitTable,
    ranges: &'d UnitRanges,
    spans: &'d Spans<Box<[u64]>>,
    stop: &'d dyn Fn() -> bool,
}

impl<'a> Search<'a, '_> {
    fn unit(&mut self, abbreviations: &mut Abbreviations, at: &Range<u64>) -> Result<End, DwarfError> {
        let dwarf = &self.debug.dwarf;
        let Question { part, functions, .. } = self.question;
        let is_wanted = |range: &Range<u64>| {
            let (first, last) = self.spans.span(range);
            first < last
        };
        let listed = self.ranges.listed(dwarf, at.start, is_wanted);
        if listed.as_ref().is_some_and(Vec::is_empty) {
            return Ok(End::Done);
        }
        let unit = abbreviations.unit(dwarf, at.start)?;
        let of_unit = match listed {
            Some(listed) => Some(listed),
            None => UnitRanges::own(dwarf, &unit)?,
        };
        let wanted = Wanted::within(self.spans, of_unit.as_deref());
        if wanted.is_empty() {
            return Ok(End::Done);
        }
        let begins = part.contains(&at.start);
        if begins && self.places(&unit, at.start, &wanted)?.is_break() {
            return Ok(End::Stopped(1));
        }
        if !functions {
            return Ok(End::Done);
        }
        let inflated = InflatedSections::default();
        let split = self.debug.split(&unit, self.source, &inflated)?;
        let (holder, entries) = match &split {
            // It has offsets of its own, and so no parts.
            Some(split) if begins => (&split.dwarf, (&split.unit, 0..usize::MAX)),
            Some(_) => return Ok(End::Done),
            None => {
                let within = |at: u64, start: u64| at.saturating_sub(start) as usize;
                (dwarf, (&unit, within(part.start, at.start)..within(part.end, at.start)))
            }
        };
        let mut functions = Functions::default();
        let ended = functions::walk(holder, entries.0, &wanted, entries.1, self.stop, &mut functions);
        let named = self.functions(&unit, holder, entries.0, at.start, &wanted, &functions);
        let ended = ended?;
        named?;
        Ok(match ended {
            // All of a split part, or nothing.
            End::Stopped(_) if split.is_some() => End::Done,
            ended => ended,
        })
    }

    /// Looks up the places of a unit's addresses in its line table.
    fn places(&mut self, unit: &Unit<'a>, offset: u64, wanted: &Wanted) -> Result<ControlFlow<()>, DwarfError> {
        let Some(program) = unit.line_program.clone() else { return Ok(ControlFlow::Continue(())) };
        let mut places = Vec::new();
        let end = rows::places(program, wanted, &mut places, self.stop);
        let mut files = FxHashMap::default();
        for (position, place) in places.into_iter().enumerate() {
            let Some(place) = place else { continue };
            let location = self.location(unit, place, &mut files);
            self.part.places.push((wanted.number(position), offset, location));
        }
        end
    }

    fn functions<'b>(
        &mut self,
        skeleton: &Unit<'b>,
        dwarf: &crate::dwarf::Dwarf<'b>,
        unit: &Unit<'b>,
        offset: u64,
        wanted: &Wanted,
        found: &Functions,
    ) -> Result<(), DwarfError>
    where
        'a: 'b,
    {
        // A split part shares its skeleton's line table, unless there is none.
        let lines = if skeleton.line_program.is_some() { skeleton } else { unit };
        let mut names = Names::new(&self.debug.dwarf, self.table);
        let mut files = FxHashMap::default();
        let first = self.part.frames.len() as u32;
        let mut outcome = Ok(());
        // Most functions are inlined many times.
        let mut known: FxHashMap<usize, Option<u32>> = FxHashMap::default();
        for function in &found.functions {
            let name = *known.entry(function.entry).or_insert_with(|| {
                let name = names.name(dwarf, unit, gimli::UnitOffset(function.entry));
                let name = name.unwrap_or_else(|error| {
                    outcome = Err(error);
                    Default::default()
                });
                name.best().map(|name| self.names.number(name, self.question.spelling, &mut self.part.texts))
            });
            let caller = function.caller.map(|(caller, call)| (first + caller, self.location(lines, call, &mut files)));
            self.part.frames.push(Frame { function: name, caller });
        }
        for (position, innermost) in found.innermost.iter().enumerate() {
            if let Some(innermost) = innermost {
                self.part.innermost.push((wanted.number(position), offset, first + innermost));
            }
        }
        outcome
    }

    fn location(&mut self, unit: &Unit<'_>, place: Place, files: &mut FxHashMap<u64, Option<u32>>) -> Location {
        let (debug, texts, paths) = (self.debug, &mut self.part.texts, &mut self.paths);
        let file = *files.entry(place.file).or_insert_with(|| {
            let header = unit.line_program.as_ref()?.header();
            let path = file_path(&debug.dwarf, unit, header, place.file)?;
            Some(*paths.entry(path).or_insert_with_key(|path| {
                texts.push(text_of(path));
                (texts.len() - 1) as u32
            }))
        });
        Location { file, line: place.line, column: place.column }
    }
}
