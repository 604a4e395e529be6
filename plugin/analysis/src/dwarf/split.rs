//! Units whose entries are elsewhere: in the .dwp, or in a .dwo file of their own.

use super::{DebugInfo, Dwarf, DwarfError, Source, Unit, paths};
use gimli::{DebugInfoUnitHeadersIter, SectionId};
use object::{Object, ObjectSection};

/// The part of a split unit that is not in the module.
#[derive(Debug)]
pub struct Split<'a> {
    pub dwarf: Dwarf<'a>,
    pub unit: Unit<'a>,
}

impl<'a> DebugInfo<'a> {
    /// The split part of `skeleton`; `None` if it is a whole unit.
    ///
    /// # Errors
    /// If there should be one, and it is in no .dwp and there is no such .dwo file, or they are malformed.
    pub fn split(&self, skeleton: &Unit<'a>, source: &dyn Source<'a>) -> Result<Option<Split<'a>>, DwarfError> {
        let Some(id) = skeleton.dwo_id else { return Ok(None) };
        let Some(name) = skeleton.dwo_name()? else { return Ok(None) };
        if let Some(package) = &self.package
            && let Some(dwarf) = package.find_cu(id, &self.dwarf)?
        {
            let units = dwarf.units();
            return unit_of(dwarf, units, skeleton, id).map(Some);
        }
        let name = self.dwarf.attr_string(skeleton, name)?;
        let mut path = Vec::new();
        if !paths::is_absolute(name.slice()) {
            paths::joined(&mut path, skeleton.comp_dir.map(|directory| directory.slice()).unwrap_or_default());
        }
        paths::joined(&mut path, name.slice());
        let path = String::from_utf8_lossy(&path);
        let bytes = source.other(&path).map_err(DwarfError::Unread)?;
        let mut dwarf = load(&path, bytes, source)?;
        dwarf.make_dwo(&self.dwarf);
        let units = dwarf.units();
        unit_of(dwarf, units, skeleton, id).map(Some).map_err(|error| match error {
            DwarfError::Malformed(error) => DwarfError::Unread(format!("{path}: {error}")),
            unread => unread,
        })
    }
}

/// The sections of a .dwo file.
fn load<'a>(path: &str, bytes: &'a [u8], source: &dyn Source<'a>) -> Result<Dwarf<'a>, DwarfError> {
    let unread = |error: &dyn std::fmt::Display| DwarfError::Unread(format!("{path}: {error}"));
    let file = object::File::parse(bytes).map_err(|error| unread(&error))?;
    gimli::Dwarf::load(|id: SectionId| {
        let empty = super::Slice::new(&[], source.endian());
        let section = id.dwo_name().and_then(|name| file.section_by_name_bytes(name.as_bytes()));
        let Some(section) = section else { return Ok(empty) };
        let range = section.compressed_file_range().map_err(|error| unread(&error))?;
        if range.format != object::CompressionFormat::None {
            return Err(unread(&format_args!("{} is compressed", id.dwo_name().unwrap_or_default())));
        }
        let bytes = section.data().map_err(|error| unread(&error))?;
        Ok(super::Slice::new(bytes, source.endian()))
    })
}

/// The unit of that id: the only one, as a rule, but type units may come before it.
fn unit_of<'a>(
    dwarf: Dwarf<'a>,
    mut units: DebugInfoUnitHeadersIter<super::Slice<'a>>,
    skeleton: &Unit<'a>,
    id: gimli::DwoId,
) -> Result<Split<'a>, DwarfError> {
    while let Some(header) = units.next()? {
        if matches!(header.type_(), gimli::UnitType::Type { .. } | gimli::UnitType::SplitType { .. }) {
            continue;
        }
        let mut unit = dwarf.unit(header)?;
        if unit.dwo_id == Some(id) {
            unit.copy_relocated_attributes(skeleton);
            return Ok(Split { dwarf, unit });
        }
    }
    Err(DwarfError::Unread(format!("no unit has the skeleton's id {:#x}", id.0)))
}
