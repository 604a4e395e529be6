//! Objects of one class that lie one behind the other in a chunk: those of `new T[n]`, and of a vector of objects.
//!
//! Each begins with the same pointer to a vtable, as far from the one before as the class is large. Before the first one `new T[n]` may have put their number
//! (Itanium C++ ABI, 2.7). The chunk has to have been asked for as many bytes as a whole number of them takes.

use super::probe::{Probe, fits};
use crate::heap::Chunk;
use serde::{Deserialize, Serialize};

/// No class is taken to be larger, in bytes.
pub(super) const LARGEST: usize = 64 << 10;

/// Bytes of the number of objects before the first.
pub(super) const COOKIE: u64 = 8;

const WORD: u64 = 8;

/// So many arrays of a heap are kept.
pub(super) const MOST: usize = 1 << 20;

/// Objects in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// Where the first one begins, from what malloc returned on, in bytes.
    pub offset: u64,
    /// From the beginning of one to that of the next, in bytes.
    pub stride: u64,
    pub count: u64,
}

impl Array {
    /// As it is shown, of objects of a class of this name.
    pub(super) fn shown(&self, class: &str) -> String {
        format!("{class}[{}]", self.count)
    }
}

/// The objects in a chunk that begins with the first of at least two. `bytes` are what it begins with, as far as a class may reach.
pub(super) fn plain(probe: &mut Probe<'_>, chunk: &Chunk, bytes: &[u8]) -> Option<Array> {
    let (first, others) = bytes.as_chunks::<8>().0.split_first()?;
    let usable = chunk.usable().len();
    // There have to be two of them.
    let most = usize::try_from(usable / 2 / WORD).unwrap_or(usize::MAX);
    let stride = WORD * (1 + others.iter().take(most).position(|word| word == first)? as u64);
    let room = usable / stride;
    if room < 2 || !fits(chunk, room * stride) {
        return None;
    }
    let count = alike(probe, chunk.address(), stride, room, u64::from_le_bytes(*first));
    (count >= 2).then_some(Array { offset: 0, stride, count })
}

/// The objects in a chunk that begins with their number, all of which begin with `vtable`.
pub(super) fn counted(probe: &mut Probe<'_>, chunk: &Chunk, count: u64, vtable: u64) -> Option<Array> {
    let room = chunk.usable().len().checked_sub(COOKIE)?;
    let longest = room.checked_div(count)? / WORD * WORD;
    // What malloc gives beyond what was asked for may be a word for each of a few.
    let strides = (0..3).filter_map(|less| longest.checked_sub(less * WORD)).filter(|stride| *stride >= WORD);
    let stride = strides
        .filter(|stride| fits(chunk, COOKIE + count * stride))
        .find(|stride| alike(probe, chunk.address() + COOKIE, *stride, count, vtable) == count)?;
    Some(Array { offset: COOKIE, stride, count })
}

/// How many words in a row are this one, of `most` that lie so far apart.
fn alike(probe: &mut Probe<'_>, start: u64, stride: u64, most: u64, word: u64) -> u64 {
    let mut count = 0;
    while count < most && probe.step() && probe.words(start + count * stride) == Some([word]) {
        count += 1;
    }
    count
}
