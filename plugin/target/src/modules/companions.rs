//! The files that belong to a module's own.

use super::data::Data;
use super::elf::Elf;
use super::survey::Survey;

/// Finds the files that belong to the main one.
pub(super) fn find(survey: &mut Survey<'_>, data: Data<'_>, elf: &Elf) {
    let _ = (survey, data, elf);
}
