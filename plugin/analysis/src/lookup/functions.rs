//! The functions, inlined ones too, that addresses of a unit lie in.

use super::rows::Place;
use super::wanted::Wanted;
use crate::dwarf::{Dwarf, DwarfError, RangeAttributes, Slice, Unit};
use gimli::{AttributeSpecification, AttributeValue, DwTag, EntriesRaw, UnitOffset};
use std::ops::Range;
use std::slice;

/// A function, or a call that was inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its entry in the unit.
    pub entry: usize,
    /// The function that it was inlined into, by number, and where it was called.
    pub caller: Option<(u32, Place)>,
}

/// What the entries of a unit tell.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    pub functions: Vec<Function>,
    /// For each position of the wanted addresses the innermost function, by number.
    pub innermost: Vec<Option<u32>>,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the end of its part.
    Done,
    /// It was told to stop, before the entry at that offset.
    Stopped(usize),
}

/// As many entries and ranges are read between two questions whether to stop.
const WORK: u32 = 1 << 14;

/// Walks over the entries of `unit`, and finds the functions for `wanted`. Of the functions that lie in no other, only
/// those whose entries begin in `part`, offsets in the unit, are looked into.
///
/// An address lies in the function that is written last of all that have it in their ranges, which is the innermost one.
///
/// # Errors
/// If an entry is malformed; what was found until then is in `found`.
pub fn walk<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    wanted: &Wanted,
    part: Range<usize>,
    stop: &dyn Fn() -> bool,
    found: &mut Functions,
) -> Result<End, DwarfError> {
    found.innermost.resize(wanted.len(), None);
    let end = unit.header.length_including_self();
    let entries = unit.entries_raw(None)?;
    let mut walk = Walk { dwarf, unit, wanted, end, entries, depth: 0, open: Vec::new(), work: 0, found };
    // Where the last entry begins that lies in no function.
    let mut outermost = 0;
    // The depth of a function of another part; its children are passed over.
    let mut foreign: Option<isize> = None;
    while !walk.entries.is_empty() {
        let depth = walk.depth + walk.entries.next_depth();
        let offset = walk.entries.next_offset().0;
        while walk.open.last().is_some_and(|open| open.depth >= depth) {
            walk.open.pop();
        }
        let outside = walk.open.is_empty();
        if outside {
            if offset >= part.end {
                break;
            }
            outermost = offset;
        }
        walk.work += 1;
        if walk.work >= WORK {
            walk.work = 0;
            if stop() {
                return Ok(End::Stopped(outermost.max(part.start + 1)));
            }
        }
        let Some(abbreviation) = walk.entries.read_abbreviation()? else { continue };
        let (tag, attributes) = (abbreviation.tag(), abbreviation.attributes());
        foreign = foreign.filter(|of| depth > *of);
        if foreign.is_some() {
            walk.entries.skip_attributes(attributes)?;
            continue;
        }
        let before = outside && offset < part.start;
        let is_function = matches!(tag, gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine);
        if is_function && !before {
            let inlined = tag == gimli::DW_TAG_inlined_subroutine;
            walk.function(attributes, offset, depth, inlined, abbreviation.has_children())?;
        } else if depth > 0 && abbreviation.has_children() && outside && (before || is_type(tag)) {
            match walk.sibling(attributes)? {
                Some(sibling) if is_function || is_type(tag) || sibling <= part.start => walk.go_on(sibling, depth)?,
                _ if is_function => foreign = Some(depth),
                _ => {}
            }
        } else {
            walk.entries.skip_attributes(attributes)?;
        }
    }
    Ok(End::Done)
}

/// Compilers that say where a type's next sibling is put code into types of functions only.
fn is_type(tag: DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_interface_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_array_type
            | gimli::DW_TAG_subroutine_type
    )
}

struct Walk<'a, 'w> {
    dwarf: &'w Dwarf<'a>,
    unit: &'w Unit<'a>,
    wanted: &'w Wanted,
    /// Where the unit ends.
    end: usize,
    entries: EntriesRaw<'w, Slice<'a>>,
    /// The depth at which `entries` began.
    depth: isize,
    /// The functions that the next entry lies in, outermost first.
    open: Vec<Open>,
    /// What has been read since it was asked whether to stop.
    work: u32,
    found: &'w mut Functions,
}

/// A function whose children are being read.
#[derive(Clone, Copy)]
struct Open {
    depth: isize,
    entry: usize,
    /// Where it was called, if it was inlined.
    call: Option<Place>,
    /// Its number, once it is known to be needed.
    number: Option<u32>,
}

impl<'a> Walk<'a, '_> {
    fn function(
        &mut self,
        attributes: &[AttributeSpecification],
        entry: usize,
        depth: isize,
        inlined: bool,
        children: bool,
    ) -> Result<(), DwarfError> {
        let mut ranges = RangeAttributes::default();
        let mut call = Place::default();
        for specification in attributes {
            match specification.name() {
                name @ (gimli::DW_AT_low_pc | gimli::DW_AT_high_pc | gimli::DW_AT_ranges) => {
                    let attribute = self.entries.read_attribute(*specification)?;
                    ranges.take(name, || attribute.value());
                }
                gimli::DW_AT_call_file => call.file = self.number(specification)?,
                gimli::DW_AT_call_line => call.line = self.number(specification)?.try_into().unwrap_or(u32::MAX),
                gimli::DW_AT_call_column => call.column = self.number(specification)?.try_into().unwrap_or(u32::MAX),
                _ => self.entries.skip_attributes(slice::from_ref(specification))?,
            }
        }
        let mut open = Open { depth, entry, call: inlined.then_some(call), number: None };
        let (wanted, unit, dwarf) = (self.wanted, self.unit, self.dwarf);
        let mut spans = None;
        ranges.each(dwarf, unit, |range| {
            self.work = self.work.saturating_add(1);
            let positions = wanted.positions(&range);
            if !positions.is_empty() {
                let number = *spans.get_or_insert_with(|| self.numbered(&mut open));
                self.found.innermost[positions].fill(Some(number));
            }
        })?;
        // Even a function without code of its own may hold others that have some: those of a class within it.
        if children {
            self.open.push(open);
        }
        Ok(())
    }

    /// Gives `open` a number, and those that it was inlined into.
    fn numbered(&mut self, open: &mut Open) -> u32 {
        // Up to the function that was not inlined.
        let outermost = match open.call {
            None => self.open.len(),
            Some(_) => self.open.iter().rposition(|open| open.call.is_none()).unwrap_or(0),
        };
        let mut caller = None;
        for index in outermost..self.open.len() {
            let mut outer = self.open[index];
            caller = Some(self.number_of(&mut outer, caller));
            self.open[index] = outer;
        }
        self.number_of(open, caller)
    }

    fn number_of(&mut self, open: &mut Open, caller: Option<u32>) -> u32 {
        let functions = &mut self.found.functions;
        *open.number.get_or_insert_with(|| {
            functions.push(Function { entry: open.entry, caller: caller.zip(open.call) });
            (functions.len() - 1) as u32
        })
    }

    fn number(&mut self, specification: &AttributeSpecification) -> Result<u64, DwarfError> {
        let attribute = self.entries.read_attribute(*specification)?;
        Ok(match attribute.value() {
            AttributeValue::FileIndex(index) => index,
            value => value.udata_value().unwrap_or(0),
        })
    }

    /// Reads attributes, and gives where the next sibling is, if that is said.
    fn sibling(&mut self, attributes: &[AttributeSpecification]) -> Result<Option<usize>, DwarfError> {
        let at = attributes.iter().position(|specification| specification.name() == gimli::DW_AT_sibling);
        let Some(at) = at else {
            self.entries.skip_attributes(attributes)?;
            return Ok(None);
        };
        self.entries.skip_attributes(&attributes[..at])?;
        let attribute = self.entries.read_attribute(attributes[at])?;
        self.entries.skip_attributes(&attributes[at + 1..])?;
        // It comes after its entry, in the same unit; anything else is none.
        let next = self.entries.next_offset().0;
        Ok(match attribute.value() {
            AttributeValue::UnitRef(UnitOffset(sibling)) if next <= sibling && sibling < self.end => Some(sibling),
            _ => None,
        })
    }

    fn go_on(&mut self, sibling: usize, depth: isize) -> Result<(), DwarfError> {
        self.entries = self.unit.entries_raw(Some(UnitOffset(sibling)))?;
        self.depth = depth;
        Ok(())
    }
}
