//! The DWARF debug information of one module: its own sections or those of its debug file, its dwz alternate, and its
//! split parts in a .dwp or in .dwo files. Versions 2 to 5, as gimli reads them.

pub(crate) mod cursor;
mod frame_table;
mod names;
mod paths;
mod ranges;
pub(crate) mod shapes;
mod source;
mod split;
mod units;

use gimli::{EndianSlice, RunTimeEndian, SectionId};
use std::sync::Arc;

pub use frame_table::{FrameRow, FrameTable};
pub use names::{FunctionName, Names};
pub use paths::{file_path, joined};
pub use ranges::{RangeAttributes, UnitRanges};
pub use source::{Briefly, ModuleSource, ObjectSource, Part, Source, debug_role, without_debug_info};
pub use split::Split;
pub use units::{Abbreviations, Broken, UnitTable};

/// A piece of a section.
pub type Slice<'a> = EndianSlice<'a, RunTimeEndian>;
/// The sections of one file.
pub type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;
/// A unit with its abbreviations.
pub type Unit<'a> = gimli::Unit<Slice<'a>>;
/// A unit's header.
pub type Header<'a> = gimli::UnitHeader<Slice<'a>>;

/// Why debug information could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DwarfError {
    /// What is there is not DWARF.
    #[error("{0}")]
    Malformed(#[from] gimli::Error),
    /// The same.
    #[error("{0}")]
    Entry(#[from] cursor::Malformed),
    /// A file or section could not be read.
    #[error("{0}")]
    Unread(String),
}

/// The debug information of a module.
#[derive(Debug)]
pub struct DebugInfo<'a> {
    /// The module's own sections, with those of its dwz alternate as `sup`.
    pub dwarf: Dwarf<'a>,
    /// The .dwp, where there is one.
    pub package: Option<gimli::DwarfPackage<Slice<'a>>>,
}

impl<'a> DebugInfo<'a> {
    /// Finds the sections; none of them is looked into but the index of a .dwp.
    ///
    /// # Errors
    /// If a section that is there cannot be read, or the .dwp's index is malformed.
    pub fn load(source: &dyn Source<'a>) -> Result<Self, DwarfError> {
        let mut dwarf = load(source, Part::Own)?;
        if source.has(Part::Alternate) {
            dwarf.sup = Some(Arc::new(load(source, Part::Alternate)?));
        }
        let package = match source.has(Part::Package) {
            true => {
                let section = |id: SectionId| match id.dwo_name() {
                    Some(name) => slice(source, Part::Package, name),
                    None => Ok(Slice::new(&[], source.endian())),
                };
                Some(gimli::DwarfPackage::load(section, Slice::new(&[], source.endian()))?)
            }
            false => None,
        };
        Ok(Self { dwarf, package })
    }
}

fn load<'a>(source: &dyn Source<'a>, part: Part) -> Result<Dwarf<'a>, DwarfError> {
    gimli::Dwarf::load(|id| slice(source, part, id.name()))
}

fn slice<'a>(source: &dyn Source<'a>, part: Part, name: &str) -> Result<Slice<'a>, DwarfError> {
    let bytes = source.section(part, name).map_err(DwarfError::Unread)?;
    Ok(Slice::new(bytes, source.endian()))
}
