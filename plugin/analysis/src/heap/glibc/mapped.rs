//! Chunks that have mappings of their own.

use super::layout::{BITS, LEAST, MAPPED, PAGE};
use super::reader::Reader;
use target::AddressRange;

/// A chunk with a mapping of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MappedChunk {
    pub chunk: AddressRange,
    /// With what lies before it, where it was to be aligned.
    pub mapping: AddressRange,
}

/// The chunk whose mapping begins at `address`, a page, and ends at `end` at the latest.
pub(super) fn at(reader: &mut Reader<'_>, address: u64, end: u64) -> Option<MappedChunk> {
    // The chunk at the beginning is what was mapped, at first.
    let whole = read(reader, address, address, end)?;
    // One that was to be aligned lies behind, and says how far (_int_memalign in malloc.c). Since realloc may have changed how long
    // it is, the one at the beginning need not.
    let mut alignment = LEAST;
    while alignment < whole.chunk.len() {
        let user = (address + 16).checked_next_multiple_of(alignment)?;
        let user = if user - 16 - address < LEAST { user.checked_add(alignment)? } else { user };
        if user - 16 >= end {
            break;
        }
        if let Some(chunk) = read(reader, address, user - 16, end) {
            return Some(chunk);
        }
        alignment *= 2;
    }
    (whole.chunk.end <= end).then_some(whole)
}

/// The chunk at `address`, in a mapping that begins at `start`.
fn read(reader: &mut Reader<'_>, start: u64, address: u64, end: u64) -> Option<MappedChunk> {
    let [before, size] = reader.pair(address)?;
    let bytes = size & !BITS;
    let last = address.checked_add(bytes)?;
    let fits = before == address - start && size & BITS == MAPPED && bytes >= LEAST && last % PAGE == 0;
    // The one at the beginning may say what is no longer so.
    let fits = fits && (last <= end || address == start);
    fits.then_some(MappedChunk { chunk: AddressRange::new(address, last), mapping: AddressRange::new(start, last) })
}
