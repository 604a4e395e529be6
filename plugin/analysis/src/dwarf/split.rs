//! Units whose entries are elsewhere: in the .dwp, or in a .dwo file of their own.

use super::{DebugInfo, Dwarf, DwarfError, Slice, Source, Unit, paths};
use gimli::{RunTimeEndian, SectionId};
use object::{CompressionFormat, Object, ObjectSection, ReadRef};
use std::borrow::Cow;
use std::collections::HashMap;
use target::modules::{Format, InflatedSections};

/// The part of a split unit that is not in the module.
#[derive(Debug)]
pub struct Split<'a> {
    pub dwarf: Dwarf<'a>,
    pub unit: Unit<'a>,
    /// Type units beside it: of a .dwo file, each has a section of its own.
    pub types: Vec<Dwarf<'a>>,
}

impl<'a> DebugInfo<'a> {
    /// The split part of `skeleton`; `None` if it is a whole unit. What is compressed in its .dwo file is inflated into `inflated`.
    ///
    /// # Errors
    /// If there should be one, and it is in no .dwp and there is no such .dwo file, or they are malformed.
    pub fn split<'b>(
        &self,
        skeleton: &Unit<'a>,
        source: &dyn Source<'a>,
        inflated: &'b InflatedSections,
    ) -> Result<Option<Split<'b>>, DwarfError>
    where
        'a: 'b,
    {
        let Some(id) = skeleton.dwo_id else { return Ok(None) };
        let Some(name) = skeleton.dwo_name()? else { return Ok(None) };
        if let Some(package) = &self.package
            && let Some(dwarf) = package.find_cu(id, &self.dwarf)?
        {
            let unit = unit_of(&dwarf, skeleton, id)?.ok_or_else(|| none_of(id))?;
            return Ok(Some(Split { dwarf, unit, types: Vec::new() }));
        }
        let name = self.dwarf.attr_string(skeleton, name)?;
        let mut path = Vec::new();
        if !paths::is_absolute(name.slice()) {
            paths::joined(&mut path, skeleton.comp_dir.map(|directory| directory.slice()).unwrap_or_default());
        }
        paths::joined(&mut path, name.slice());
        let path = String::from_utf8_lossy(&path);
        let bytes = source.other(&path).map_err(|error| {
            DwarfError::Unread(format!("its other part should be in a .dwo file, since no .dwp has it: {error}"))
        })?;
        let mut found = None;
        let mut types = Vec::new();
        for mut dwarf in load(&path, bytes, source.endian(), inflated)? {
            dwarf.make_dwo(&self.dwarf);
            match found {
                None => match unit_of(&dwarf, skeleton, id) {
                    Ok(Some(unit)) => found = Some((dwarf, unit)),
                    Ok(None) => types.push(dwarf),
                    Err(error) => return Err(DwarfError::Unread(format!("{path}: {error}"))),
                },
                Some(_) => types.push(dwarf),
            }
        }
        let (dwarf, unit) = found.ok_or_else(|| DwarfError::Unread(format!("{path}: {}", none_of(id))))?;
        Ok(Some(Split { dwarf, unit, types }))
    }
}

/// The sections of a .dwo file, once for each of those with units.
fn load<'a>(
    path: &str,
    bytes: &'a [u8],
    endian: RunTimeEndian,
    inflated: &'a InflatedSections,
) -> Result<Vec<Dwarf<'a>>, DwarfError> {
    let unread = |error: &dyn std::fmt::Display| DwarfError::Unread(format!("{path}: {error}"));
    let file = object::File::parse(bytes).map_err(|error| unread(&error))?;
    let (mut infos, mut types, mut others) = (Vec::new(), Vec::new(), HashMap::new());
    for section in file.sections() {
        let Ok(name) = section.name_bytes() else { continue };
        if !name.ends_with(b".dwo") {
            continue;
        }
        let content = content(&section, bytes, inflated);
        let content = content.map_err(|error| unread(&format_args!("{}: {error}", String::from_utf8_lossy(name))))?;
        let slice = Slice::new(content, endian);
        // What older tools have compressed has a name of its own.
        let name = match name.strip_prefix(b".z") {
            Some(rest) => Cow::Owned([b".", rest].concat()),
            None => Cow::Borrowed(name),
        };
        match &*name {
            b".debug_info.dwo" => infos.push(slice),
            b".debug_types.dwo" => types.push(slice),
            _ => drop(others.entry(name).or_insert(slice)),
        }
    }
    let empty = Slice::new(&[], endian);
    let whole = |info: Slice<'a>, types: Slice<'a>| {
        let load = |id: SectionId| {
            Ok(match id {
                SectionId::DebugInfo => info,
                SectionId::DebugTypes => types,
                id => id.dwo_name().and_then(|name| others.get(name.as_bytes())).copied().unwrap_or(empty),
            })
        };
        gimli::Dwarf::load(load)
    };
    let infos = infos.into_iter().map(|info| whole(info, empty));
    infos.chain(types.into_iter().map(|types| whole(empty, types))).collect()
}

/// The content of a section of a file with these bytes, inflated where it is compressed.
fn content<'a>(
    section: &object::Section<'a, '_>,
    bytes: &'a [u8],
    inflated: &'a InflatedSections,
) -> Result<&'a [u8], String> {
    let range = section.compressed_file_range().map_err(|error| error.to_string())?;
    let format = match range.format {
        CompressionFormat::None => return section.data().map_err(|error| error.to_string()),
        CompressionFormat::Zlib => Format::Zlib,
        CompressionFormat::Zstandard => Format::Zstd,
        _ => return Err("it is compressed neither with zlib nor with zstd".to_owned()),
    };
    let compressed = bytes.read_bytes_at(range.offset, range.compressed_size);
    let compressed = compressed.map_err(|()| "it lies outside of the file".to_owned())?;
    inflated.inflate(compressed, format, range.uncompressed_size).map_err(|error| error.to_string())
}

/// The unit of that id: the only one, as a rule, but type units may come before it.
fn unit_of<'a>(dwarf: &Dwarf<'a>, skeleton: &Unit<'a>, id: gimli::DwoId) -> Result<Option<Unit<'a>>, DwarfError> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        if matches!(header.type_(), gimli::UnitType::Type { .. } | gimli::UnitType::SplitType { .. }) {
            continue;
        }
        let mut unit = dwarf.unit(header)?;
        if unit.dwo_id == Some(id) {
            unit.copy_relocated_attributes(skeleton);
            return Ok(Some(unit));
        }
    }
    Ok(None)
}

fn none_of(id: gimli::DwoId) -> DwarfError {
    DwarfError::Unread(format!("no unit has the skeleton's id {:#x}", id.0))
}
