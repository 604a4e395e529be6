//! Collections of Rust's standard library, by how they hold their memory.
//!
//! The layouts are those that rustc makes of library/alloc/src/raw_vec and of hashbrown's RawTable (x86-64, groups of 16). Rust
//! promises none of them, so each is only taken for what it is where its content confirms it.

use super::probe::{Holder, Probe, fits};
use super::shapes::Shape;

/// Bytes at the beginning of a string that are looked at.
const LOOK: usize = 64;

/// Control bytes beyond the buckets', which repeat the first ones.
const GROUP: u64 = 16;

/// Control bytes that are looked at.
const MOST_CONTROL: u64 = 1 << 16;

/// Of less capacity, that the chunk's size is a multiple of it is no coincidence that would mean anything: the number may be any.
const TELLING: u64 = 1024;

/// `String`, or another vector, whose pointer is this word: `{capacity, pointer, length}`, and of strings also `{pointer, capacity, length}`
/// as in older programs. Says whether it may be a vector of anything.
pub(super) fn vector(probe: &mut Probe<'_>, holder: &Holder<'_>, chunk: u64) -> bool {
    let Some(pointer) = holder.word(0) else { return false };
    let own = holder.word(-1).zip(holder.word(1));
    let old = holder.word(1).zip(holder.word(2));
    for (capacity, length) in own.into_iter().chain(old) {
        if capacity == 0 || length > capacity || capacity >= 1 << 40 {
            continue;
        }
        let Some(found) = probe.lookup.chunk(chunk) else { return false };
        if fits(&found, capacity) && is_text(probe, pointer, length) {
            probe.mark(chunk, Shape::RustString);
            return true;
        }
    }
    let Some((capacity, _)) = own.filter(|(capacity, length)| *capacity >= TELLING && length <= capacity) else {
        return false;
    };
    let Some(found) = probe.lookup.chunk(chunk) else { return false };
    let usable = found.usable().len();
    let vector = usable >= capacity && fits(&found, usable / capacity * capacity);
    if vector {
        probe.mark(chunk, Shape::RustVecStorage);
    }
    vector
}

/// Whether so many bytes there are text, as far as they are looked at.
fn is_text(probe: &mut Probe<'_>, address: u64, length: u64) -> bool {
    if length < 3 {
        return false;
    }
    let mut text = [0; LOOK];
    let text = &mut text[..LOOK.min(length as usize)];
    if probe.pages.read(probe.memory, address, text) < text.len() {
        return false;
    }
    let is_shown = |text: &str| !text.chars().any(|letter| letter.is_control() && !letter.is_ascii_whitespace());
    match str::from_utf8(text) {
        Ok(text) => is_shown(text),
        // The last character may be cut in two.
        Err(error) => {
            let cut = error.error_len().is_none() && length > LOOK as u64;
            cut && str::from_utf8(&text[..error.valid_up_to()]).is_ok_and(is_shown)
        }
    }
}

/// `{control bytes, buckets less one, room left, items}`; the pointer leads to the middle of a chunk, since the items lie
/// before the control bytes.
pub(super) fn table(probe: &mut Probe<'_>, holder: &Holder<'_>) {
    let (Some(control), Some(mask)) = (holder.word(0), holder.word(1)) else { return };
    if !(3..1 << 40).contains(&mask) || !(mask + 1).is_power_of_two() {
        return;
    }
    let (Some(room), Some(items)) = (holder.word(2), holder.word(3)) else { return };
    let buckets = mask + 1;
    let capacity = if buckets < 8 { mask } else { buckets / 8 * 7 };
    if items > capacity || room > capacity - items {
        return;
    }
    let chunk = probe.granule(control).and_then(|_| probe.lookup.chunk_at(control)).filter(|chunk| chunk.used);
    let Some(chunk) = chunk else { return };
    let Some(data) = control.checked_sub(chunk.address()) else { return };
    let item = data / buckets;
    let aligned = data > 0 && data.is_multiple_of(GROUP) && (item * buckets).next_multiple_of(GROUP) == data;
    if !aligned || !fits(&chunk, data + buckets + GROUP) {
        return;
    }
    let looked = (buckets + GROUP).min(MOST_CONTROL);
    let mut bytes = vec![0; looked as usize];
    if probe.pages.read(probe.memory, control, &mut bytes) < bytes.len() {
        return;
    }
    // Bytes are: empty, deleted, or 7 bits of a hash.
    let own = &bytes[..buckets.min(looked) as usize];
    if own.iter().any(|byte| *byte > 0x80 && *byte != 0xff) {
        return;
    }
    let full = own.iter().filter(|byte| **byte < 0x80).count() as u64;
    let complete = looked == buckets + GROUP;
    if full > items || (complete && full < items) {
        return;
    }
    let repeated = &own[..own.len().min(GROUP as usize)];
    if complete && bytes[own.len().max(GROUP as usize)..][..repeated.len()] != *repeated {
        return;
    }
    probe.mark(chunk.granule, Shape::RustTable);
}
