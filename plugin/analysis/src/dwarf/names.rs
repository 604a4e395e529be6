//! Names of functions and places of variables, which may stand at another entry: the abstract one of an inlined function, the
//! declaration of a member.

use super::{Abbreviations, Dwarf, DwarfError, Slice, Unit, UnitTable, file_path};
use gimli::{AttributeValue, UnitOffset};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// As many references are followed from one entry.
const MOST_REFERENCES: usize = 16;

/// As many other units are kept.
const MOST_UNITS: usize = 256;

/// What a function is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionName<'a> {
    /// As the linker knows it: mangled.
    pub linkage: Option<&'a [u8]>,
    /// As in the source, without what it is in; only where there is no other.
    pub short: Option<&'a [u8]>,
}

impl<'a> FunctionName<'a> {
    /// The more telling one.
    pub fn best(&self) -> Option<&'a [u8]> {
        self.linkage.or(self.short)
    }
}

/// Finds names in a module's debug information, and keeps the units that they were found in.
#[derive(Debug)]
pub struct Names<'a, 'd> {
    dwarf: &'d Dwarf<'a>,
    /// The units of the module, and of its alternate.
    tables: (&'d UnitTable, Option<UnitTable>),
    abbreviations: Abbreviations,
    units: FxHashMap<(bool, u64), Rc<Unit<'a>>>,
}

/// Which of a module's sections an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The sections that the unit came with.
    Given,
    Alternate,
}

impl<'a, 'd> Names<'a, 'd> {
    /// Of a module whose units are known.
    pub fn new(dwarf: &'d Dwarf<'a>, table: &'d UnitTable) -> Self {
        Self { dwarf, tables: (table, None), abbreviations: Abbreviations::default(), units: FxHashMap::default() }
    }

    /// The name of the function whose entry, or one that refers to its entry, is at `offset` of `unit`. `dwarf` holds
    /// that unit: the module's own or a split part.
    ///
    /// # Errors
    /// If an entry on the way is malformed.
    pub fn name(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &Unit<'a>,
        offset: UnitOffset,
    ) -> Result<FunctionName<'a>, DwarfError> {
        let mut name = FunctionName::default();
        self.follow(dwarf, unit, offset, |dwarf, unit, offset| {
            let next = read_names(dwarf, unit, offset, &mut name)?;
            Ok(next.filter(|_| name.linkage.is_none()))
        })?;
        Ok(name)
    }

    /// Where the variable is declared whose entry, or one that completes its entry, is at `offset` of `unit`: the file, and the line, 0
    /// if it is not known. Files that an entry in `unit` names are those of the line table of `lines`.
    ///
    /// # Errors
    /// If an entry on the way is malformed.
    pub fn declaration(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &Unit<'a>,
        lines: (&Dwarf<'a>, &Unit<'a>),
        offset: UnitOffset,
    ) -> Result<Option<(Vec<u8>, u64)>, DwarfError> {
        // An entry that completes another says only what differs: the line alone, if the file is the same.
        let (mut path, mut line) = (None, None);
        self.follow(dwarf, unit, offset, |dwarf, holder, offset| {
            let mut entries = holder.entries_raw(Some(offset))?;
            let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(None) };
            let (mut next, mut file) = (None, None);
            for specification in abbreviation.attributes() {
                let attribute = entries.read_attribute(*specification)?;
                match attribute.name() {
                    gimli::DW_AT_decl_file => file = attribute.udata_value(),
                    gimli::DW_AT_decl_line if line.is_none() => line = attribute.udata_value(),
                    gimli::DW_AT_specification | gimli::DW_AT_abstract_origin => next = Some(attribute.value()),
                    _ => {}
                }
            }
            if let (None, Some(file)) = (&path, file) {
                let (dwarf, lines) = if std::ptr::eq(holder, unit) { lines } else { (dwarf, holder) };
                let header = lines.line_program.as_ref().map(|program| program.header());
                path = header.and_then(|header| file_path(dwarf, lines, header, file));
            }
            Ok(next.filter(|_| path.is_none() || line.is_none()))
        })?;
        Ok(path.map(|path| (path, line.unwrap_or(0))))
    }

    /// Reads the entry at `offset` of `unit`, and the one that `read` says it refers to, and so on.
    fn follow(
        &mut self,
        dwarf: &Dwarf<'a>,
        unit: &Unit<'a>,
        offset: UnitOffset,
        mut read: impl FnMut(&Dwarf<'a>, &Unit<'a>, UnitOffset) -> Result<Option<AttributeValue<Slice<'a>>>, DwarfError>,
    ) -> Result<(), DwarfError> {
        let mut next = read(dwarf, unit, offset)?;
        let (mut place, mut holder): (Place, Option<Rc<Unit<'a>>>) = (Place::Given, None);
        for _ in 0..MOST_REFERENCES {
            let Some(reference) = next.take() else { break };
            let at = match reference {
                AttributeValue::UnitRef(offset) => offset,
                AttributeValue::DebugInfoRef(offset) => {
                    let Some((unit, at)) = self.elsewhere(place, dwarf, offset.0)? else { break };
                    holder = Some(unit);
                    at
                }
                AttributeValue::DebugInfoRefSup(offset) => {
                    place = Place::Alternate;
                    let Some((unit, at)) = self.elsewhere(place, dwarf, offset.0)? else { break };
                    holder = Some(unit);
                    at
                }
                _ => break,
            };
            let sup = self.dwarf.sup.clone();
            let sections = match place {
                Place::Given => dwarf,
                Place::Alternate => sup.as_deref().unwrap_or(dwarf),
            };
            next = read(sections, holder.as_deref().unwrap_or(unit), at)?;
        }
        Ok(())
    }

    /// The unit of an entry at an offset of a .debug_info section, and the entry's offset in it.
    fn elsewhere(
        &mut self,
        place: Place,
        given: &Dwarf<'a>,
        offset: usize,
    ) -> Result<Option<(Rc<Unit<'a>>, UnitOffset)>, DwarfError> {
        // A split part has one unit, to which its references are relative.
        if place == Place::Given && given.file_type == gimli::DwarfFileType::Dwo {
            return Ok(None);
        }
        let sup = self.dwarf.sup.clone();
        let (dwarf, table) = match (place, &sup) {
            (Place::Given, _) => (self.dwarf, self.tables.0),
            (Place::Alternate, Some(sup)) => (&**sup, &*self.tables.1.get_or_insert_with(|| UnitTable::new(sup))),
            (Place::Alternate, None) => return Ok(None),
        };
        let Some(range) = table.containing(offset as u64) else { return Ok(None) };
        let key = (place == Place::Alternate, range.start);
        let unit = match self.units.get(&key) {
            Some(unit) => Rc::clone(unit),
            None => {
                if self.units.len() >= MOST_UNITS {
                    self.units.clear();
                }
                // Tables of abbreviations of two files are told apart by not keeping them.
                let unit = match place {
                    Place::Given => self.abbreviations.unit(dwarf, range.start)?,
                    Place::Alternate => Abbreviations::default().unit(dwarf, range.start)?,
                };
                let unit = Rc::new(unit);
                self.units.insert(key, Rc::clone(&unit));
                unit
            }
        };
        let at = offset - range.start as usize;
        Ok(Some((unit, UnitOffset(at))))
    }
}

/// Reads the names at one entry, and where it refers to.
fn read_names<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    offset: UnitOffset,
    name: &mut FunctionName<'a>,
) -> Result<Option<AttributeValue<Slice<'a>>>, DwarfError> {
    let mut entries = unit.entries_raw(Some(offset))?;
    let Some(abbreviation) = entries.read_abbreviation()? else { return Ok(None) };
    let (mut next, mut short) = (None, None);
    for specification in abbreviation.attributes() {
        let attribute = entries.read_attribute(*specification)?;
        match attribute.name() {
            gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name if name.linkage.is_none() => {
                name.linkage = dwarf.attr_string(unit, attribute.value()).ok().map(|text| text.slice());
            }
            gimli::DW_AT_name if name.short.is_none() => short = Some(attribute.value()),
            gimli::DW_AT_abstract_origin => next = Some(attribute.value()),
            gimli::DW_AT_specification if next.is_none() => next = Some(attribute.value()),
            _ => {}
        }
    }
    // Strings lie far apart, so one that says less than another is not looked at.
    if let Some(short) = short.filter(|_| name.linkage.is_none()) {
        name.short = dwarf.attr_string(unit, short).ok().map(|text| text.slice());
    }
    Ok(next)
}
