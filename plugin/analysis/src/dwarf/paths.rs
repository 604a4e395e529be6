//! Paths of source files, as line tables write them.

use super::{Dwarf, Slice, Unit};
use gimli::LineProgramHeader;

/// The path of a file of a line table: as written if it is absolute, else below its directory, that one below the
/// unit's. `None` if the table has no such file.
pub fn file_path<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    header: &LineProgramHeader<Slice<'a>>,
    file: u64,
) -> Option<Vec<u8>> {
    let entry = header.file(file)?;
    let name = dwarf.attr_string(unit, entry.path_name()).ok()?;
    if is_absolute(name.slice()) {
        return Some(name.slice().to_vec());
    }
    // Before version 5, directory 0 is the unit's own, and has no entry.
    let index = entry.directory_index();
    let directory = match (header.version(), index) {
        (..=4, 0) => None,
        _ => entry.directory(header).and_then(|directory| dwarf.attr_string(unit, directory).ok()),
    };
    let directory = directory.map(|directory| directory.slice()).unwrap_or_default();
    let own = unit.comp_dir.map(|directory| directory.slice()).unwrap_or_default();
    let mut path = Vec::with_capacity(own.len() + directory.len() + name.len() + 2);
    if !is_absolute(directory) && (header.version() < 5 || index != 0) {
        joined(&mut path, own);
    }
    joined(&mut path, directory);
    joined(&mut path, name.slice());
    Some(path)
}

/// Appends a relative path.
pub fn joined(path: &mut Vec<u8>, more: &[u8]) {
    if more.is_empty() {
        return;
    }
    if !path.is_empty() && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(more);
}

/// On whatever system it was compiled.
pub fn is_absolute(path: &[u8]) -> bool {
    matches!(path, [b'/' | b'\\', ..]) || matches!(path, [letter, b':', ..] if letter.is_ascii_alphabetic())
}
