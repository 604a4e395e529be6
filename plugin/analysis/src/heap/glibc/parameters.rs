//! What malloc counts for all arenas together.

use super::layout::{LEAST, SMALL_BINS, align, chunk_size};
use super::reader::Reader;
use serde::{Deserialize, Serialize};
use target::AddressRange;

/// Members of `mp_` (`struct malloc_par`) that tell what there is to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    pub address: u64,
    /// Chunks that have mappings of their own.
    pub mappings: u32,
    /// The bytes of these.
    pub mapped: u64,
    /// Where the main arena begins, or 0.
    pub base: u64,
    /// How many chunks each bin of a thread's cache takes, if no bin was told otherwise.
    pub cached: u64,
}

/// The offset of `n_mmaps`, and that of `mmapped_mem`; `sbrk_base` and what there is of caches follow.
#[derive(Clone, Copy)]
struct Layout {
    mappings: u64,
    mapped: u64,
}

/// Until 2.34, and since, with the sizes of huge pages.
const LAYOUTS: [Layout; 2] = [Layout { mappings: 40, mapped: 56 }, Layout { mappings: 60, mapped: 80 }];

/// No cache takes chunks of so many bytes.
const LARGEST_CACHED: u64 = 4 << 20;

/// All members that are looked at lie within so many bytes.
const PARAMETERS: u64 = 256;

/// NARENAS_FROM_NCORES and M_ARENA_TEST set this to something like the number of processors.
const MOST_TESTED: u64 = 1 << 20;

/// Finds the parameters in `range`, if there is one place alone where members agree with each other. `is_base` says
/// whether the main arena may begin there.
pub(super) fn find(
    reader: &mut Reader<'_>,
    range: AddressRange,
    is_base: &mut dyn FnMut(u64) -> bool,
    stop: &dyn Fn() -> bool,
) -> Option<Parameters> {
    let mut found = None;
    for address in (align(range.start, 8)..range.end).step_by(8) {
        if address % (1 << 20) == 0 && stop() {
            return None;
        }
        for layout in LAYOUTS {
            if let Some(parameters) = read(reader, address, layout).filter(|parameters| is_base(parameters.base)) {
                if found.is_some() {
                    return None;
                }
                found = Some(parameters);
            }
        }
    }
    found
}

/// Whether caches may have so many bins, each for chunks of one size, for all of `most` bytes at most. Until 2.41 these are bytes that were
/// asked for. Since then they are those of a chunk, or of the first one that is too large, and of larger ones there are other bins.
fn are_of_caches(bins: u64, most: u64) -> bool {
    if most >= LARGEST_CACHED {
        return false;
    }
    let of_requests = (chunk_size(most) - LEAST) / 16 + 1;
    let of_chunks = most.checked_sub(LEAST).filter(|_| most % 16 <= 1).map(|most| (most / 16 + 1).min(SMALL_BINS));
    bins == of_requests || Some(bins) == of_chunks
}

fn read(reader: &mut Reader<'_>, address: u64, layout: Layout) -> Option<Parameters> {
    // What most places fail is asked first.
    address.checked_add(PARAMETERS)?;
    let [bins, most, cached] = [24, 32, 40].map(|offset| reader.word(address + layout.mapped + offset));
    let (bins, most, cached) = (bins?, most?, cached?);
    if !are_of_caches(bins, most) || cached > 0xffff {
        return None;
    }
    let tested = reader.word(address + 24)?;
    let half = |reader: &mut Reader<'_>, offset: u64| {
        let word = reader.word((address + offset) & !7)?;
        Some(if (address + offset).is_multiple_of(8) { word as u32 } else { (word >> 32) as u32 })
    };
    let mappings = half(reader, layout.mappings)?;
    let allowed = half(reader, layout.mappings + 4)?;
    let most_mappings = half(reader, layout.mappings + 8)?;
    let fixed = half(reader, layout.mappings + 12)?;
    let mapped = reader.word(address + layout.mapped)?;
    let most_mapped = reader.word(address + layout.mapped + 8)?;
    let base = reader.word(address + layout.mapped + 16)?;
    let agrees = tested <= MOST_TESTED
        && tested > 0
        && fixed <= 1
        && mappings <= most_mappings
        && most_mappings <= allowed
        && mapped <= most_mapped
        && (mappings == 0) == (mapped == 0)
        && mapped.is_multiple_of(4096);
    agrees.then_some(Parameters { address, mappings, mapped, base, cached })
}
