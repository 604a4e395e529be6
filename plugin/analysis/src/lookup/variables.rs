//! Where in the source the variables at addresses are declared.
//!
//! No table says which unit has a variable. But where a variable is, its entry says in as many bytes as the address has: so all of
//! .debug_info is searched for these, once for a module, and of the units in which an address is found the entries are read. Where
//! units have their addresses in .debug_addr, these are searched for there.

use crate::dwarf::cursor::{Encoding, Malformed, leb, number};
use crate::dwarf::shapes::{Purpose, Shapes, Value};
use crate::dwarf::{Abbreviations, DebugInfo, Dwarf, DwarfError, Names, Source, Unit, UnitTable};
use gimli::constants as dw;
use gimli::{DebugAddrIndex, DebugInfoOffset, Reader as _, RunTimeEndian, Section as _, UnitOffset};
use memchr::memmem::Finder;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use target::modules::InflatedSections;

/// As many addresses in .debug_info are kept, 16 bytes each. No program has as many variables.
const MOST_MENTIONS: usize = 4 << 20;

/// As many bytes are searched between two questions whether to stop.
const PIECE: usize = 4 << 20;

/// As many entries are read.
const WORK: u32 = 1 << 14;

/// What a module's variables are found with; it is kept from one question to the next.
#[derive(Debug, Default)]
pub(super) struct Kept {
    table: UnitTable,
    /// What may be a variable's address, in ascending order, and the unit where it is written.
    mentions: Vec<(u64, u64)>,
    /// Where units' parts of .debug_addr begin, in ascending order, with the units.
    bases: Vec<(u64, u64)>,
    /// Bytes of an address: 4 or 8.
    address_size: u8,
}

/// The file and the line, 0 if it is not known, in which a variable is declared.
pub(super) type Declared = (Vec<u8>, u64);

/// What was found, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By address.
    pub(super) places: FxHashMap<u64, Declared>,
    /// Offsets in .debug_info, and why what is there could not be read, as fragments.
    pub(super) unread: Vec<(u64, String)>,
}

impl Kept {
    /// Of a module, of whose sections `is_data` tells whether an address may be a variable's. `None` if `stop` says so.
    pub(super) fn new(debug: &DebugInfo<'_>, is_data: &dyn Fn(u64) -> bool, stop: &dyn Fn() -> bool) -> Option<Self> {
        let table = UnitTable::new(&debug.dwarf);
        let header = |unit: &Range<u64>| debug.dwarf.unit_header(DebugInfoOffset(unit.start as usize)).ok();
        let size = table.all().iter().find_map(header).map_or(8, |header| header.address_size());
        let address_size = if size == 4 { 4 } else { 8 };
        let mentions = mentions(&debug.dwarf, &table, address_size, is_data, stop)?;
        let mut bases = Vec::new();
        if !debug.dwarf.debug_addr.reader().is_empty() {
            let mut abbreviations = Abbreviations::default();
            for unit in table.all() {
                if stop() {
                    return None;
                }
                // Whoever asks for what is in a malformed unit reports that.
                let Ok(read) = abbreviations.unit(&debug.dwarf, unit.start) else { continue };
                bases.push((read.addr_base.0 as u64, unit.start));
            }
            bases.sort_unstable();
        }
        Some(Self { table, mentions, bases, address_size })
    }
}

/// All that may be the location of a variable at a constant address: a block of one operation, `DW_OP_addr`.
fn mentions(
    dwarf: &Dwarf<'_>,
    table: &UnitTable,
    size: u8,
    is_data: &dyn Fn(u64) -> bool,
    stop: &dyn Fn() -> bool,
) -> Option<Vec<(u64, u64)>> {
    let section = dwarf.debug_info.reader().slice();
    let big = dwarf.debug_info.reader().endian() == RunTimeEndian::Big;
    let mut found = Vec::new();
    let finder = Finder::new(&[size + 1, dw::DW_OP_addr.0]).into_owned();
    for start in (0..section.len()).step_by(PIECE) {
        if stop() {
            return None;
        }
        // One that begins at the end of a piece ends in the next.
        let piece = &section[start..section.len().min(start + PIECE + 1)];
        for at in finder.find_iter(piece) {
            let mut at = start + at + 2;
            let Ok(address) = number(section, &mut at, size, big) else { continue };
            if found.len() < MOST_MENTIONS && is_data(address) {
                let unit = table.containing(at as u64 - 1);
                found.extend(unit.map(|unit| (address, unit.start)));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Finds the variables at `addresses`, in the file's own terms.
pub(super) fn declared<'a>(
    debug: &DebugInfo<'a>,
    source: &dyn Source<'a>,
    kept: &Kept,
    addresses: &[u64],
    stop: &dyn Fn() -> bool,
) -> Found {
    let mut found = Found::default();
    let mut abbreviations = Abbreviations::default();
    for (unit, mut wanted) in units(&debug.dwarf, kept, addresses) {
        if stop() {
            break;
        }
        // The first unit that has a variable tells of it.
        wanted.retain(|address| !found.places.contains_key(address));
        if wanted.is_empty() {
            continue;
        }
        let read = abbreviations.unit(&debug.dwarf, unit);
        let read = read.and_then(|unit| of_unit(debug, source, kept, &unit, &wanted, stop, &mut found));
        if let Err(error) = read {
            found.unread.push((unit, format!("the unit at {unit:#x} is malformed: {error}")));
        }
    }
    found
}

/// The units that may have variables at `addresses`, by their offsets, and at which of them.
fn units(dwarf: &Dwarf<'_>, kept: &Kept, addresses: &[u64]) -> BTreeMap<u64, BTreeSet<u64>> {
    let mut units: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for address in addresses {
        let first = kept.mentions.partition_point(|mention| mention.0 < *address);
        for (_, unit) in kept.mentions[first..].iter().take_while(|mention| mention.0 == *address) {
            units.entry(*unit).or_default().insert(*address);
        }
    }
    let section = dwarf.debug_addr.reader().slice();
    let big = dwarf.debug_addr.reader().endian() == RunTimeEndian::Big;
    let wanted: FxHashSet<u64> = addresses.iter().copied().collect();
    let mut rest = &kept.bases[..];
    // Several units may share one part.
    while let Some((base, _)) = rest.first() {
        let (sharing, behind) = rest.split_at(rest.partition_point(|(other, _)| other == base));
        rest = behind;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let end = behind.first().map_or(section.len(), |(next, _)| place(*next).min(section.len()));
        let mut at = place(*base).min(end);
        while let Ok(address) = number(&section[..end], &mut at, kept.address_size, big) {
            if wanted.contains(&address) {
                for (_, unit) in sharing {
                    units.entry(*unit).or_default().insert(address);
                }
            }
        }
    }
    units
}

/// Reads a unit's variables, or those of its split part.
fn of_unit<'a>(
    debug: &DebugInfo<'a>,
    source: &dyn Source<'a>,
    kept: &Kept,
    unit: &Unit<'a>,
    wanted: &BTreeSet<u64>,
    stop: &dyn Fn() -> bool,
    found: &mut Found,
) -> Result<(), DwarfError> {
    let inflated = InflatedSections::default();
    let split = debug.split(unit, source, &inflated)?;
    let (dwarf, holder) = split.as_ref().map_or((&debug.dwarf, unit), |split| (&split.dwarf, &split.unit));
    // A split part shares its skeleton's line table, unless there is none.
    let lines = if unit.line_program.is_some() { (&debug.dwarf, unit) } else { (dwarf, holder) };
    let mut entries = Vec::new();
    let walked = walk(dwarf, holder, wanted, stop, &mut entries);
    let mut names = Names::new(&debug.dwarf, &kept.table);
    for (address, entry) in entries {
        if let Some(place) = names.declaration(dwarf, holder, lines, UnitOffset(entry))? {
            found.places.entry(address).or_insert(place);
        }
    }
    Ok(walked?)
}

/// Finds the entries of variables at `wanted` in a unit.
fn walk(
    dwarf: &Dwarf<'_>,
    unit: &Unit<'_>,
    wanted: &BTreeSet<u64>,
    stop: &dyn Fn() -> bool,
    found: &mut Vec<(u64, usize)>,
) -> Result<(), Malformed> {
    let header = &unit.header;
    let start = header.debug_info_offset().map_or(0, |offset| offset.0);
    let section = dwarf.debug_info.reader();
    let bytes = section.slice().get(start..start + header.length_including_self()).ok_or(Malformed::End)?;
    let encoding = Encoding::of(header, section.endian());
    let table = dwarf.debug_abbrev.reader().slice().get(header.debug_abbrev_offset().0..);
    let shapes = Shapes::read(table.ok_or(Malformed::Abbreviation)?, encoding, Purpose::Variables)?;
    let (mut at, mut work, mut left) = (header.root_offset().0, 0, wanted.clone());
    while at < bytes.len() && !left.is_empty() {
        work += 1;
        if work % WORK == 0 && stop() {
            return Ok(());
        }
        let offset = at;
        let code = leb(bytes, &mut at)?;
        if code == 0 {
            continue;
        }
        let shape = shapes.shape(code)?;
        if shape.tag != dw::DW_TAG_variable {
            at = shape.skip(bytes, at, encoding)?;
            continue;
        }
        let mut storage = None;
        at = shape.brief(bytes, at, encoding, |_, value| {
            if let Value::Block(start, end) = value {
                storage = bytes.get(start..end);
            }
        })?;
        let address = storage.and_then(|storage| address(dwarf, unit, storage, encoding));
        found.extend(address.filter(|address| left.remove(address)).map(|address| (address, offset)));
    }
    Ok(())
}

/// The address that is all an expression says (DWARF 5, 2.5.1.1).
fn address(dwarf: &Dwarf<'_>, unit: &Unit<'_>, expression: &[u8], encoding: Encoding) -> Option<u64> {
    let mut at = 1;
    let address = match gimli::DwOp(*expression.first()?) {
        dw::DW_OP_addr => number(expression, &mut at, encoding.address_size, encoding.big).ok()?,
        dw::DW_OP_addrx | dw::DW_OP_GNU_addr_index => {
            let index = usize::try_from(leb(expression, &mut at).ok()?).ok()?;
            dwarf.address(unit, DebugAddrIndex(index)).ok()?
        }
        _ => return None,
    };
    (at == expression.len()).then_some(address)
}
