//! The source files that declarations name by numbers.

use super::program::{Program, ScopeId};
use super::unit::{Unit, UnitPlace};
use crate::dwarf::{self, file_path};
use std::collections::HashMap;
use std::sync::Arc;

/// As many units are kept.
const MOST_UNITS: usize = 64;

/// The line tables of units, as far as they name files.
pub(super) struct Lines<'p, 'a> {
    program: &'p Program<'a>,
    units: HashMap<(ScopeId, UnitPlace), Option<Table<'a>>>,
    /// Skeleton units by what ties them to their split parts.
    skeletons: Option<HashMap<u64, u64>>,
}

struct Table<'a> {
    dwarf: Arc<dwarf::Dwarf<'a>>,
    unit: dwarf::Unit<'a>,
}

impl<'p, 'a> Lines<'p, 'a> {
    pub(super) fn new(program: &'p Program<'a>) -> Self {
        Self { program, units: HashMap::new(), skeletons: None }
    }

    /// The path of file number `file` of a unit; `None` for 0 before DWARF 5, or if it is not known.
    pub(super) fn file(&mut self, unit: &Unit<'a>, file: u64) -> Option<String> {
        let key = (unit.scope.id, unit.place);
        if !self.units.contains_key(&key) {
            if self.units.len() >= MOST_UNITS {
                self.units.clear();
            }
            let table = self.table(unit);
            self.units.insert(key, table);
        }
        let Table { dwarf, unit } = self.units.get(&key)?.as_ref()?;
        let header = unit.line_program.as_ref()?.header();
        let path = file_path(dwarf, unit, header, file)?;
        Some(crate::describe::text_of(&path))
    }

    fn table(&mut self, unit: &Unit<'a>) -> Option<Table<'a>> {
        let dwarf = Arc::clone(&unit.scope.dwarf);
        let own = dwarf.unit(unit.scope.header(unit.place).ok()?).ok()?;
        if own.line_program.is_some() {
            return Some(Table { dwarf, unit: own });
        }
        // A split unit's files are those of its skeleton.
        let skeleton = match unit.scope.id {
            ScopeId::Split(skeleton) | ScopeId::SplitTypes(skeleton, _) => skeleton,
            ScopeId::Package(_) => *self.skeletons().get(&own.dwo_id?.0)?,
            ScopeId::Own | ScopeId::Alternate | ScopeId::PackageTypes(_) => return None,
        };
        let scope = self.program.scope(ScopeId::Own).ok()?;
        let dwarf = Arc::clone(&scope.dwarf);
        let unit = dwarf.unit(dwarf.unit_header(gimli::DebugInfoOffset(skeleton as usize)).ok()?).ok()?;
        Some(Table { dwarf, unit })
    }

    fn skeletons(&mut self) -> &HashMap<u64, u64> {
        let program = self.program;
        self.skeletons.get_or_insert_with(|| program.skeletons())
    }
}
