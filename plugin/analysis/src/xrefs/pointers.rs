//! References in data: words that hold a target's address once their module is loaded.

use super::elf::{Elf, Part};
use super::linkage::{Linkage, Way};
use super::relocations::{Value, relocations};
use super::{Kind, Named, Reference, Through};
use object::{ReadRef, elf};
use std::ops::Range;

/// Whether a section's words may be addresses as they are, in a file that is loaded where it was linked for.
pub fn holds_pointers(part: &Part) -> bool {
    let kinds = [elf::SHT_PROGBITS, elf::SHT_INIT_ARRAY, elf::SHT_FINI_ARRAY, elf::SHT_PREINIT_ARRAY];
    let unwinding = part.name.starts_with(".eh_frame") || part.name.starts_with(".gcc_except_table");
    part.is_loaded() && !part.is_code() && !part.is_got() && !unwinding && kinds.contains(&part.kind)
}

/// The pointers that relocations write that begin in `range`, offsets into the table `part`; in the table's order.
///
/// # Errors
/// If a table is damaged, or of a machine whose relocations are not known; a fragment.
pub fn relocated<'a, R: ReadRef<'a>>(
    file: &Elf<R>,
    part: &Part,
    range: Range<u64>,
    linkage: &Linkage,
    targets: &[Named],
) -> Result<Vec<Reference>, String> {
    let symbols = file.symbols(elf::SHT_DYNSYM)?;
    let mut found = Vec::new();
    relocations(file, part, range, |relocation| {
        let slot = relocation.slot || matches!(relocation.value, Value::Chosen(_));
        let Some(way) = linkage.lead(relocation.value, targets, &symbols).filter(|_| !slot) else { return };
        // A slot is on the way of those that use it.
        if file.part_at(relocation.place).is_none_or(|part| !part.is_got()) {
            found.extend(pointer(relocation.place, &way));
        }
    })?;
    Ok(found)
}

/// The pointers among the words that begin in `range`, offsets into the section `part`.
///
/// # Errors
/// If the section reaches beyond the end of the file; a fragment.
pub fn words<'a, R: ReadRef<'a>>(
    file: &Elf<R>,
    part: &Part,
    range: Range<u64>,
    linkage: &Linkage,
) -> Result<Vec<Reference>, String> {
    let size = file.pointer() as u64;
    // Words lie at multiples of their size.
    let aligned = |offset: u64| offset + (part.address + offset).wrapping_neg() % size;
    let start = aligned(range.start).min(part.size);
    let end = (aligned(range.end) + size - 1).min(part.size);
    let bytes = file.bytes_in(part, start, end.max(start))?;
    let (first, last) = match linkage.ways() {
        [] => return Ok(Vec::new()),
        [first, .., last] => (first.range.start, last.range.end),
        [only] => (only.range.start, only.range.end),
    };
    let mut found = Vec::new();
    for (number, bytes) in bytes.chunks_exact(file.pointer()).enumerate() {
        let Some(value) = file.word(bytes).filter(|value| value.wrapping_sub(first) < last - first) else { continue };
        let place = part.address + start + number as u64 * size;
        found.extend(linkage.find(value).and_then(|way| pointer(place, way)));
    }
    Ok(found)
}

fn pointer(place: u64, way: &Way) -> Option<Reference> {
    // What points to a slot does not point to the target.
    let leads = way.through != Through::Got;
    leads.then_some(Reference { address: place, kind: Kind::Pointer, through: way.through, target: way.target })
}
