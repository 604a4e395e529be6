//! The functions, inlined ones too, that addresses of a unit lie in.

use super::rows::Place;
use super::wanted::Wanted;
use crate::dwarf::cursor::{Encoding, Malformed, leb};
use crate::dwarf::shapes::{Purpose, Role, Shapes, Slot, Value};
use crate::dwarf::{Dwarf, DwarfError, RangeAttributes, Unit};
use gimli::{DwTag, Reader as _, Section as _};
use std::ops::Range;

/// A function, or a call that was inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The entry in the unit that has its name, or refers to one that has.
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
/// An address lies in the function that is written last of all that have it in their ranges, which is the innermost one. What was
/// inlined into a function has no addresses but those of that function.
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
    let header = &unit.header;
    let start = header.debug_info_offset().map_or(0, |offset| offset.0);
    let section = dwarf.debug_info.reader().slice();
    let bytes = section.get(start..start + header.length_including_self()).ok_or(Malformed::End)?;
    let encoding = Encoding::of(header, dwarf.debug_info.reader().endian());
    let table = dwarf.debug_abbrev.reader().slice().get(header.debug_abbrev_offset().0..);
    let shapes = Shapes::read(table.ok_or(Malformed::Abbreviation)?, encoding, Purpose::Code)?;
    let mut walk = Walk { dwarf, unit, wanted, open: Vec::new(), work: 0, found };
    let (mut at, mut depth) = (header.root_offset().0, 0u32);
    // Where the last entry begins that lies in no function.
    let mut outermost = 0;
    // The depth of a function of another part; its children are passed over.
    let mut foreign: Option<u32> = None;
    while at < bytes.len() {
        let offset = at;
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
        let code = leb(bytes, &mut at)?;
        if code == 0 {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                break;
            }
            continue;
        }
        let shape = shapes.shape(code)?;
        let below = depth;
        depth += u32::from(shape.children);
        foreign = foreign.filter(|of| below > *of);
        if foreign.is_some() {
            at = shape.skip(bytes, at, encoding)?;
            continue;
        }
        let before = outside && offset < part.start;
        let is_function = shape.role == Role::Function;
        // Of what is inlined where no address is wanted, nothing is.
        let idle = shape.role == Role::Inlined && walk.open.last().is_some_and(|open| open.positions.is_empty());
        if !before && !idle && (is_function || shape.role == Role::Inlined) {
            let (mut ranges, mut call, mut entry) = (RangeAttributes::default(), Place::default(), offset);
            at = shape.brief(bytes, at, encoding, |slot, value| match slot {
                Slot::CallFile => call.file = value.unsigned().unwrap_or(0),
                Slot::CallLine => call.line = number(value),
                Slot::CallColumn => call.column = number(value),
                Slot::Origin => entry = if let Value::Unit(function) = value { function } else { offset },
                slot => ranges.put(slot, value),
            })?;
            let call = if is_function { None } else { Some(call) };
            walk.function(ranges, Open { depth: below, entry, call, number: None, positions: 0..0 }, shape.children)?;
        } else if below > 0 && shape.children && outside && (before || is_type(shape.tag)) {
            let mut sibling = None;
            at = shape.brief(bytes, at, encoding, |slot, value| {
                if let (Slot::Sibling, Value::Unit(offset)) = (slot, value) {
                    sibling = Some(offset);
                }
            })?;
            // It comes after its entry, in the same unit; anything else is none.
            match sibling.filter(|sibling| (at..bytes.len()).contains(sibling)) {
                Some(sibling) if is_function || is_type(shape.tag) || sibling <= part.start => {
                    (at, depth) = (sibling, below);
                }
                _ if is_function => foreign = Some(below),
                _ => {}
            }
        } else {
            at = shape.skip(bytes, at, encoding)?;
        }
        if depth == 0 {
            // The root has no children.
            break;
        }
    }
    // The last entry goes on behind the unit.
    if at > bytes.len() { Err(Malformed::End.into()) } else { Ok(End::Done) }
}

/// A line or a column.
fn number(value: Value) -> u32 {
    value.unsigned().unwrap_or(0).try_into().unwrap_or(u32::MAX)
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
    /// The functions that the next entry lies in, outermost first.
    open: Vec<Open>,
    /// What has been read since it was asked whether to stop.
    work: u32,
    found: &'w mut Functions,
}

/// A function whose children are being read.
#[derive(Clone)]
struct Open {
    depth: u32,
    /// Of its name.
    entry: usize,
    /// Where it was called, if it was inlined.
    call: Option<Place>,
    /// Its number, once it is known to be needed.
    number: Option<u32>,
    /// Its addresses are among those at these positions.
    positions: Range<usize>,
}

impl<'a> Walk<'a, '_> {
    /// Takes a function, whose children may follow.
    fn function(&mut self, ranges: RangeAttributes<'a>, mut open: Open, children: bool) -> Result<(), DwarfError> {
        let (wanted, unit, dwarf) = (self.wanted, self.unit, self.dwarf);
        let within = match (open.call, self.open.last()) {
            (Some(_), Some(around)) => around.positions.clone(),
            _ => 0..wanted.len(),
        };
        let mut spans = None;
        ranges.each(dwarf, unit, |range| {
            self.work = self.work.saturating_add(1);
            let positions = wanted.positions(&range, &within);
            if !positions.is_empty() {
                let number = *spans.get_or_insert_with(|| self.numbered(&mut open));
                open.positions = match open.positions.is_empty() {
                    true => positions.clone(),
                    false => open.positions.start.min(positions.start)..open.positions.end.max(positions.end),
                };
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
            let mut outer = self.open[index].clone();
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
}
