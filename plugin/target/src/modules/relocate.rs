//! Debug sections of files that have yet to be linked.

use super::data::Data;
use super::surveyed::Machine;
use crate::Layout;
use object::{File, Object, ObjectSection, ObjectSymbol, RelocationKind, RelocationTarget, SectionIndex, SymbolIndex};

/// Whether the debug sections for a machine have no relocations but those that [`relocated`] knows. Where a linker may make code
/// shorter, they have.
pub(super) fn is_known(machine: Machine) -> bool {
    !matches!(machine, Machine::RiscV | Machine::LoongArch | Machine::Mips | Machine::Other(_))
}

/// The content of section number `index` of an unlinked file, with what its relocations put there, where `addresses` says where
/// each of its sections lies, by number.
pub(super) fn relocated(
    data: Data<'_>,
    index: usize,
    content: &[u8],
    layout: Layout,
    addresses: &[u64],
) -> object::read::Result<Box<[u8]>> {
    let mut content: Box<[u8]> = content.into();
    let file = File::parse(data)?;
    let section = file.section_by_index(SectionIndex(index))?;
    let base = |symbol: SymbolIndex| {
        let symbol = file.symbol_by_index(symbol)?;
        let section = symbol.section_index().and_then(|section| addresses.get(section.0));
        Ok::<_, object::read::Error>(symbol.address().wrapping_add(section.copied().unwrap_or(0)))
    };
    for (offset, relocation) in section.relocations() {
        let size = usize::from(relocation.size() / 8);
        // Places of thread-local variables, which nothing here looks at, are left as they are.
        let (RelocationKind::Absolute, RelocationTarget::Symbol(symbol)) = (relocation.kind(), relocation.target())
        else {
            continue;
        };
        let place = usize::try_from(offset).ok().and_then(|offset| content.get_mut(offset..)?.get_mut(..size));
        let Some(place) = place.filter(|_| matches!(size, 1 | 2 | 4 | 8)) else { continue };
        let implicit = if relocation.has_implicit_addend() { layout.number(place) } else { 0 };
        let value = base(symbol)?.wrapping_add(implicit).wrapping_add_signed(relocation.addend());
        place.copy_from_slice(&layout.bytes(value, size));
    }
    Ok(content)
}
