//! The source files that declarations name by numbers.

use super::program::{Program, ScopeId};
use super::unit::{Unit, UnitPlace};
use crate::dwarf::{self, DwarfError, file_path};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// As many units are kept.
const MOST_UNITS: usize = 64;

/// The line tables of units, as far as they name files.
pub(super) struct Lines<'p, 'a> {
    program: &'p Program<'a>,
    units: HashMap<(ScopeId, UnitPlace), Option<Table<'a>>>,
    /// Skeleton units by what ties them to their split parts.
    skeletons: Option<HashMap<u64, u64>>,
    /// What could not be read, as fragments.
    unread: BTreeSet<String>,
}

struct Table<'a> {
    dwarf: Arc<dwarf::Dwarf<'a>>,
    unit: dwarf::Unit<'a>,
}

impl<'p, 'a> Lines<'p, 'a> {
    pub(super) fn new(program: &'p Program<'a>) -> Self {
        Self { program, units: HashMap::new(), skeletons: None, unread: BTreeSet::new() }
    }

    /// The path of file number `file` of a unit; `None` for 0 before DWARF 5, or if it is not known.
    pub(super) fn file(&mut self, unit: &Unit<'a>, file: u64) -> Option<String> {
        let key = (unit.scope.id, unit.place);
        if !self.units.contains_key(&key) {
            if self.units.len() >= MOST_UNITS {
                self.units.clear();
            }
            let table = self.table(unit).unwrap_or_else(|error| {
                self.unread.insert(format!("files of the unit at 0x{:x} are not known: {error}", unit.place.offset));
                None
            });
            self.units.insert(key, table);
        }
        let Table { dwarf, unit: own } = self.units.get(&key)?.as_ref()?;
        let header = own.line_program.as_ref()?.header();
        match file_path(dwarf, own, header, file) {
            Some(path) => Some(crate::describe::text_of(&path)),
            None => {
                // Before version 5, that is what no file has.
                if file > 0 || header.version() >= 5 {
                    let at = unit.place.offset;
                    self.unread
                        .insert(format!("files of the unit at 0x{at:x} are not known: file {file} is not there"));
                }
                None
            }
        }
    }

    /// What could not be read, as fragments.
    pub(super) fn unread(self) -> BTreeSet<String> {
        self.unread
    }

    /// # Errors
    /// If the unit, or the header of its line table, cannot be read.
    fn table(&mut self, unit: &Unit<'a>) -> Result<Option<Table<'a>>, DwarfError> {
        let dwarf = Arc::clone(&unit.scope.dwarf);
        let own = dwarf.unit(unit.scope.header(unit.place)?)?;
        if own.line_program.is_some() {
            return Ok(Some(Table { dwarf, unit: own }));
        }
        // A split unit's files are those of its skeleton.
        let skeleton = match unit.scope.id {
            ScopeId::Split(skeleton) | ScopeId::SplitTypes(skeleton, _) => Some(skeleton),
            ScopeId::Package(_) => own.dwo_id.and_then(|id| self.skeletons().get(&id.0).copied()),
            ScopeId::Own | ScopeId::Alternate | ScopeId::PackageTypes(_) => None,
        };
        let Some(skeleton) = skeleton else { return Ok(None) };
        let scope = self.program.scope(ScopeId::Own)?;
        let dwarf = Arc::clone(&scope.dwarf);
        let unit = dwarf.unit(dwarf.unit_header(gimli::DebugInfoOffset(skeleton as usize))?)?;
        Ok(Some(Table { dwarf, unit }))
    }

    fn skeletons(&mut self) -> &HashMap<u64, u64> {
        let program = self.program;
        self.skeletons.get_or_insert_with(|| program.skeletons())
    }
}
