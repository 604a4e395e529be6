//! The debug information of one module as types see it: its units, wherever they are, and what entries refer to.

use super::elsewhere::Elsewhere;
use super::nesting::Nesting;
use super::unit::{Entry, Unit, UnitPlace, read};
use super::walk::{Outline, Quiet, walk};
use crate::dwarf::cursor::{Encoding, Malformed};
use crate::dwarf::shapes::{Purpose, Shapes, Text, Value};
use crate::dwarf::{Briefly, DebugInfo, Dwarf, DwarfError, Slice, Source, UnitTable};
use gimli::constants as dw;
use gimli::{DebugInfo as InfoSection, DebugTypes, Reader as _, Section as _, UnitType};
use serde::{Deserialize, Serialize};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use target::modules::InflatedSections;

/// As many units are kept.
const MOST_UNITS: usize = 4096;

/// As many outlines of units are kept.
const MOST_OUTLINES: usize = 64;

/// As many tables of abbreviations are kept.
const MOST_TABLES: usize = 1024;

/// So many names that cannot be read are told of a unit.
const MOST_DAMAGE: usize = 3;

/// Which sections a unit is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum ScopeId {
    /// Those of the module's own file, or its debug file.
    Own,
    /// Those of the dwz alternate.
    Alternate,
    /// Those of the .dwo file, or the part of the .dwp, that belongs to the skeleton unit at this offset.
    Split(u64),
    /// Those of the type unit with this number beside it.
    SplitTypes(u64, u32),
    /// A row of the .dwp's index of compilation units.
    Package(u32),
    /// A row of the .dwp's index of type units.
    PackageTypes(u32),
}

impl ScopeId {
    /// The skeleton unit of the .dwo file that they are in.
    pub(super) fn skeleton(self) -> Option<u64> {
        match self {
            Self::Split(skeleton) | Self::SplitTypes(skeleton, _) => Some(skeleton),
            Self::Own | Self::Alternate | Self::Package(_) | Self::PackageTypes(_) => None,
        }
    }
}

/// The sections of one file, or a part of one, with what has been found out about them.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) id: ScopeId,
    pub(super) dwarf: Arc<Dwarf<'a>>,
    info: OnceCell<Arc<UnitTable>>,
    types: OnceCell<Arc<UnitTable>>,
    signatures: OnceCell<HashMap<u64, UnitPlace>>,
    /// Why names could not be read, as fragments, since that was asked last.
    damage: RefCell<BTreeSet<String>>,
}

/// The debug information of one module. It is made for one task, and keeps what it reads.
pub(super) struct Program<'a> {
    source: &'a dyn Source<'a>,
    /// The compressed sections of .dwo files.
    inflated: &'a InflatedSections,
    info: DebugInfo<'a>,
    scopes: RefCell<HashMap<ScopeId, Rc<Scope<'a>>>>,
    units: RefCell<HashMap<(ScopeId, UnitPlace), Rc<Unit<'a>>>>,
    outlines: RefCell<HashMap<(ScopeId, UnitPlace), Rc<Outline>>>,
    /// By skeleton unit, which of the type units beside its split part has a signature.
    split_types: RefCell<HashMap<u64, HashMap<u64, ScopeId>>>,
    /// By section of abbreviations, offset and encoding.
    shapes: RefCell<HashMap<(usize, usize, Encoding), Rc<Shapes>>>,
    pub(super) elsewhere: RefCell<Elsewhere>,
    pub(super) nesting: RefCell<Nesting>,
    /// The outline of the unit that was gone through last.
    last: RefCell<Option<(ScopeId, UnitPlace, Rc<Outline>)>>,
}

/// An entry and the unit that it is in.
#[derive(Clone, Debug)]
pub(super) struct Located<'a> {
    pub(super) unit: Rc<Unit<'a>>,
    pub(super) entry: Entry,
}

impl<'a> Scope<'a> {
    fn new(id: ScopeId, dwarf: Arc<Dwarf<'a>>) -> Self {
        let (info, types, signatures, damage) = Default::default();
        Self { id, dwarf, info, types, signatures, damage }
    }

    /// Why names could not be read since this was asked last, as fragments.
    pub(super) fn take_damage(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.damage.borrow_mut())
    }

    /// Takes down that a name could not be read. There may be as many as there are entries, so only some are kept.
    #[cold]
    fn damaged(&self, section: &str, offset: Option<usize>) {
        let mut damage = self.damage.borrow_mut();
        if damage.len() < MOST_DAMAGE {
            damage.insert(match offset {
                Some(offset) => format!("a name is at 0x{offset:x} of {section}, where none is, or it has no end"),
                None => format!("a name has a number of {section} that is not there"),
            });
        }
    }

    pub(super) fn section(&self, types: bool) -> Slice<'a> {
        if types { *self.dwarf.debug_types.reader() } else { *self.dwarf.debug_info.reader() }
    }

    /// The units of one of its sections.
    pub(super) fn table(&self, types: bool) -> &UnitTable {
        let table = if types { &self.types } else { &self.info };
        table.get_or_init(|| Arc::new(UnitTable::of(self.section(types))))
    }

    /// Takes the units of one of its sections, which are known from before.
    pub(super) fn knows(&self, types: bool, table: &Arc<UnitTable>) {
        let known = if types { &self.types } else { &self.info };
        // Those that it has found by itself are the same.
        let _ = known.set(Arc::clone(table));
    }

    /// The bytes of the unit that is at `place`.
    fn bytes(&self, place: UnitPlace) -> Option<&'a [u8]> {
        let range = self.table(place.types).containing(place.offset).filter(|range| range.start == place.offset)?;
        self.section(place.types).slice().get(range.start as usize..range.end as usize)
    }

    /// Where its type units are, by signature.
    fn signatures(&self) -> &HashMap<u64, UnitPlace> {
        self.signatures.get_or_init(|| {
            let places = [true, false].into_iter().flat_map(|types| {
                let units = self.table(types).all().iter();
                units.map(move |range| UnitPlace { types, offset: range.start })
            });
            let signed = places.filter_map(|place| {
                let header = self.header(place).ok()?;
                match header.type_() {
                    UnitType::Type { type_signature, .. } | UnitType::SplitType { type_signature, .. } => {
                        Some((type_signature.0, place))
                    }
                    _ => None,
                }
            });
            let mut found = HashMap::new();
            for (signature, place) in signed {
                found.entry(signature).or_insert(place);
            }
            found
        })
    }

    pub(super) fn header(&self, place: UnitPlace) -> Result<gimli::UnitHeader<Slice<'a>>, Malformed> {
        let bytes = self.bytes(place).ok_or(Malformed::Reference(place.offset))?;
        let endian = self.section(false).endian();
        let header = match place.types {
            true => DebugTypes::new(bytes, endian).units().next(),
            false => InfoSection::new(bytes, endian).units().next(),
        };
        match header {
            Ok(Some(header)) => Ok(header),
            Ok(None) => Err(Malformed::End),
            Err(error) => Err(Malformed::Header(format!("its header is malformed: {error}"))),
        }
    }
}

impl<'a> Program<'a> {
    /// Of the module whose sections `source` has; those that are compressed in .dwo files are inflated into `inflated`.
    ///
    /// # Errors
    /// If a section cannot be read.
    pub(super) fn new(source: &'a dyn Source<'a>, inflated: &'a InflatedSections) -> Result<Self, DwarfError> {
        let info = DebugInfo::load(source)?;
        let (scopes, units, outlines, split_types, shapes, elsewhere) = Default::default();
        let (nesting, last) = Default::default();
        Ok(Self { source, inflated, info, scopes, units, outlines, split_types, shapes, elsewhere, nesting, last })
    }

    /// Where its sections come from, for those who need them for less long.
    pub(super) fn source(&self) -> Briefly<'a> {
        Briefly(self.source)
    }

    /// The .dwp, where there is one.
    pub(super) fn package(&self) -> Option<&gimli::DwarfPackage<Slice<'a>>> {
        self.info.package.as_ref()
    }

    /// Makes the sections of a skeleton's split part known.
    fn open_split(&self, skeleton: u64) -> Result<(), DwarfError> {
        let own = &self.info.dwarf;
        let unit = own.unit(own.unit_header(gimli::DebugInfoOffset(skeleton as usize))?)?;
        let split = self.info.split(&unit, self.source, self.inflated)?;
        let split = split.ok_or_else(|| DwarfError::Unread("it is no skeleton".to_owned()))?;
        let mut scopes = self.scopes.borrow_mut();
        let mut signatures = HashMap::new();
        for (number, dwarf) in (0..).zip(split.types) {
            let scope = Scope::new(ScopeId::SplitTypes(skeleton, number), Arc::new(dwarf));
            signatures.extend(scope.signatures().keys().map(|signature| (*signature, scope.id)));
            scopes.insert(scope.id, Rc::new(scope));
        }
        self.split_types.borrow_mut().insert(skeleton, signatures);
        let scope = Scope::new(ScopeId::Split(skeleton), Arc::new(split.dwarf));
        scopes.insert(scope.id, Rc::new(scope));
        Ok(())
    }

    /// All sections of a skeleton's split part.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub(super) fn split(&self, skeleton: u64) -> Result<Vec<ScopeId>, DwarfError> {
        self.scope(ScopeId::Split(skeleton))?;
        let mut types: Vec<ScopeId> = self.split_types.borrow()[&skeleton].values().copied().collect();
        types.sort_unstable();
        types.dedup();
        types.push(ScopeId::Split(skeleton));
        Ok(types)
    }

    /// Whether the package has the split part of the skeleton unit at this offset.
    pub(super) fn is_packed(&self, skeleton: u64) -> bool {
        let Some(package) = self.package() else { return false };
        let id = self.skeleton_id(skeleton as usize);
        id.is_some_and(|id| package.cu_index.find(id).is_some())
    }

    /// Where skeleton units are, by what ties them to their split parts.
    pub(super) fn skeletons(&self) -> HashMap<u64, u64> {
        let table = UnitTable::new(&self.info.dwarf);
        let units = table.all().iter().map(|unit| unit.start);
        units.filter_map(|offset| Some((self.skeleton_id(offset as usize)?, offset))).collect()
    }

    fn skeleton_id(&self, offset: usize) -> Option<u64> {
        let dwarf = &self.info.dwarf;
        let unit = dwarf.unit(dwarf.unit_header(gimli::DebugInfoOffset(offset)).ok()?).ok()?;
        unit.dwo_id.map(|id| id.0)
    }

    /// The sections of `id`.
    ///
    /// # Errors
    /// Why they cannot be read, as a fragment.
    pub(super) fn scope(&self, id: ScopeId) -> Result<Rc<Scope<'a>>, DwarfError> {
        if let Some(scope) = self.scopes.borrow().get(&id) {
            return Ok(Rc::clone(scope));
        }
        let missing = || DwarfError::Unread("there are no such sections".to_owned());
        let own = &self.info.dwarf;
        let dwarf = match id {
            ScopeId::Own => Arc::new(DebugInfo::load(self.source)?.dwarf),
            ScopeId::Alternate => Arc::clone(own.sup.as_ref().ok_or_else(missing)?),
            ScopeId::Split(skeleton) | ScopeId::SplitTypes(skeleton, _) => {
                self.open_split(skeleton)?;
                return self.scopes.borrow().get(&id).cloned().ok_or_else(missing);
            }
            ScopeId::Package(row) => Arc::new(self.package().ok_or_else(missing)?.cu_sections(row, own)?),
            ScopeId::PackageTypes(row) => Arc::new(self.package().ok_or_else(missing)?.tu_sections(row, own)?),
        };
        let scope = Rc::new(Scope::new(id, dwarf));
        self.scopes.borrow_mut().insert(id, Rc::clone(&scope));
        Ok(scope)
    }

    /// The unit at `place` of `scope`.
    ///
    /// # Errors
    /// If its header, its abbreviations or its root is malformed.
    pub(super) fn unit(&self, scope: &Rc<Scope<'a>>, place: UnitPlace) -> Result<Rc<Unit<'a>>, Malformed> {
        let key = (scope.id, place);
        if let Some(unit) = self.units.borrow().get(&key) {
            return Ok(Rc::clone(unit));
        }
        let bytes = scope.bytes(place).ok_or(Malformed::Reference(place.offset))?;
        let header = scope.header(place)?;
        let encoding = Encoding::of(&header, scope.section(false).endian());
        let shapes = self.shapes(scope, header.debug_abbrev_offset().0, encoding)?;
        let root = header.root_offset().0;
        let first = read(bytes, &shapes, encoding, root)?.ok_or(Malformed::End)?;
        let default: gimli::DebugStrOffsetsBase<usize> =
            gimli::DebugStrOffsetsBase::default_for_encoding_and_file(header.encoding(), scope.dwarf.file_type);
        let string_offsets = first.string_offsets.unwrap_or(default.0 as u64);
        let skeleton = first.tag == dw::DW_TAG_skeleton_unit || first.split_name != Text::None;
        let unit = Rc::new(Unit {
            scope: Rc::clone(scope),
            place,
            bytes,
            root,
            encoding,
            shapes,
            string_offsets,
            language: first.language,
            skeleton: skeleton && scope.id == ScopeId::Own,
        });
        let mut units = self.units.borrow_mut();
        if units.len() >= MOST_UNITS {
            units.clear();
        }
        units.insert(key, Rc::clone(&unit));
        Ok(unit)
    }

    fn shapes(&self, scope: &Scope<'a>, offset: usize, encoding: Encoding) -> Result<Rc<Shapes>, Malformed> {
        let section = scope.dwarf.debug_abbrev.reader().slice();
        let key = (section.as_ptr() as usize, offset, encoding);
        if let Some(shapes) = self.shapes.borrow().get(&key) {
            return Ok(Rc::clone(shapes));
        }
        let table = section.get(offset..).ok_or(Malformed::Abbreviation)?;
        let shapes = Rc::new(Shapes::read(table, encoding, Purpose::Types)?);
        let mut tables = self.shapes.borrow_mut();
        if tables.len() >= MOST_TABLES {
            tables.clear();
        }
        tables.insert(key, Rc::clone(&shapes));
        Ok(shapes)
    }

    /// All places of a unit, if they are known.
    pub(super) fn whole_outline(&self, unit: &Unit<'a>) -> Option<Rc<Outline>> {
        let last = self.last.borrow();
        let last = last.as_ref().filter(|(scope, place, _)| (*scope, *place) == (unit.scope.id, unit.place));
        let known = || self.outlines.borrow().get(&(unit.scope.id, unit.place)).cloned();
        last.map(|(_, _, outline)| Rc::clone(outline)).or_else(known)
    }

    /// Takes all places of a unit that has been gone through, for those who ask before the next one is.
    pub(super) fn take_outline(&self, unit: &Unit<'a>, outline: Outline) {
        *self.last.borrow_mut() = Some((unit.scope.id, unit.place, Rc::new(outline)));
    }

    /// The places of a unit, as far as it is well-formed.
    pub(super) fn outline(&self, unit: &Rc<Unit<'a>>) -> Rc<Outline> {
        let key = (unit.scope.id, unit.place);
        if let Some(outline) = self.outlines.borrow().get(&key) {
            return Rc::clone(outline);
        }
        let mut outline = Outline::default();
        // What is malformed is reported by the search.
        let _ = walk(unit, &mut outline, &mut Quiet, &|| false);
        let mut outlines = self.outlines.borrow_mut();
        if outlines.len() >= MOST_OUTLINES {
            outlines.clear();
        }
        let outline = Rc::new(outline);
        outlines.insert(key, Rc::clone(&outline));
        outline
    }

    /// The entry that `reference`, an attribute of an entry in `unit`, refers to.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn resolve(&self, unit: &Rc<Unit<'a>>, reference: Value) -> Result<Located<'a>, Malformed> {
        let in_info = |scope: &Rc<Scope<'a>>, offset: usize| {
            let range = scope.table(false).containing(offset as u64).ok_or(Malformed::Reference(offset as u64))?;
            let unit = self.unit(scope, UnitPlace { types: false, offset: range.start })?;
            let entry = unit.entry_at(offset - range.start as usize)?;
            Ok(Located { unit, entry })
        };
        match reference {
            Value::Unit(offset) => Ok(Located { unit: Rc::clone(unit), entry: unit.entry_at(offset)? }),
            Value::Section(offset) => in_info(&unit.scope, offset),
            Value::Alternate(offset) => {
                let alternate = self.scope(ScopeId::Alternate).map_err(|error| Malformed::Header(error.to_string()))?;
                in_info(&alternate, offset)
            }
            Value::Signature(signature) => self.signed(&unit.scope, signature),
            _ => Err(Malformed::Reference(0)),
        }
    }

    /// The type with this signature, as units of `scope` see it.
    fn signed(&self, scope: &Rc<Scope<'a>>, signature: u64) -> Result<Located<'a>, Malformed> {
        let missing = || Malformed::Header(format!("no type unit has the signature 0x{signature:x}"));
        let (scope, place) = match scope.signatures().get(&signature) {
            Some(place) => (Rc::clone(scope), *place),
            None => {
                let id = match scope.id {
                    ScopeId::Split(skeleton) | ScopeId::SplitTypes(skeleton, _) => {
                        self.split_types.borrow().get(&skeleton).and_then(|types| types.get(&signature)).copied()
                    }
                    _ => self.package().and_then(|package| package.tu_index.find(signature)).map(ScopeId::PackageTypes),
                };
                let scope = self.scope(id.ok_or_else(missing)?).map_err(|_| missing())?;
                let place = *scope.signatures().get(&signature).ok_or_else(missing)?;
                (scope, place)
            }
        };
        let (UnitType::Type { type_offset, .. } | UnitType::SplitType { type_offset, .. }) =
            scope.header(place)?.type_()
        else {
            return Err(missing());
        };
        let unit = self.unit(&scope, place)?;
        let entry = unit.entry_at(type_offset.0)?;
        Ok(Located { unit, entry })
    }
}

impl<'a> Unit<'a> {
    /// The bytes of a string; none if it is cut off or not where it should be, which its scope then tells.
    pub(super) fn text(&self, text: Text) -> &'a [u8] {
        let dwarf = &self.scope.dwarf;
        let (section, name, offset) = match text {
            Text::None => return &[],
            Text::Here(offset) => (self.bytes, ".debug_info", offset),
            Text::Str(offset) => (dwarf.debug_str.reader().slice(), ".debug_str", offset),
            Text::Line(offset) => (dwarf.debug_line_str.reader().slice(), ".debug_line_str", offset),
            Text::Index(index) => match self.string_offset(index) {
                Some(offset) => (dwarf.debug_str.reader().slice(), ".debug_str", offset),
                None => {
                    self.scope.damaged(".debug_str_offsets", None);
                    return &[];
                }
            },
            Text::Alternate(offset) => match &dwarf.sup {
                Some(alternate) => (alternate.debug_str.reader().slice(), ".debug_str of the alternate file", offset),
                // The survey says that it is missing.
                None => return &[],
            },
        };
        let rest = section.get(offset..).unwrap_or_default();
        match memchr::memchr(0, rest) {
            Some(end) => &rest[..end],
            None => {
                self.scope.damaged(name, Some(offset));
                &[]
            }
        }
    }

    /// Its part of .debug_str_offsets, or more; `None` if it cannot be told where that ends.
    pub(super) fn string_offsets_table(&self) -> Option<&'a [u8]> {
        let table = self.scope.dwarf.debug_str_offsets.reader().slice();
        let start = usize::try_from(self.string_offsets).ok()?;
        let end = match self.scope.id {
            // Those of all units are in one section. A length of 4 bytes, a version and padding come first, and the length does
            // not count its own bytes.
            ScopeId::Own | ScopeId::Alternate => {
                let at = start.checked_sub(8)?;
                let length = crate::dwarf::cursor::number(table, &mut at.clone(), 4, self.encoding.big).ok()?;
                at.checked_add(4)?.checked_add(usize::try_from(length).ok()?)?
            }
            _ => table.len(),
        };
        table.get(start..end)
    }

    /// The offset of .debug_str that an index stands for.
    pub(super) fn string_offset(&self, index: usize) -> Option<usize> {
        let table = self.scope.dwarf.debug_str_offsets.reader().slice();
        let size = self.encoding.offset_size;
        let at = index.checked_mul(size.into())?.checked_add(usize::try_from(self.string_offsets).ok()?)?;
        crate::dwarf::cursor::number(table, &mut at.clone(), size, self.encoding.big).ok().map(|offset| offset as usize)
    }
}
