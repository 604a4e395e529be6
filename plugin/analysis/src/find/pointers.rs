//! Pointers into a range.

use super::found::{Found, Out};
use crate::memory::Window;
use target::{ByteOrder, Layout};

/// Looks for pointers into a half-open range of addresses.
#[derive(Debug)]
pub(super) struct Pointers {
    start: u64,
    /// Its length less one, so that the whole address space can be told.
    span: u64,
    align: u64,
    pattern: u16,
    layout: Layout,
}

/// Pointers compared at once.
const GROUP: usize = 64;

impl Pointers {
    /// A search for pointers into `start..end`, which is not empty.
    pub(super) fn new(start: u64, end: u64, align: u64, pattern: u16, layout: Layout) -> Self {
        Self { start, span: end - start - 1, align, pattern, layout }
    }

    /// Bytes of a pointer.
    pub(super) fn len(&self) -> usize {
        usize::from(self.layout.pointer_size)
    }

    pub(super) fn matches_zeros(&self) -> bool {
        self.start == 0
    }

    /// Whether what it finds at one window comes out in order of address.
    pub(super) fn is_ordered(&self) -> bool {
        self.align.is_multiple_of(self.len() as u64)
    }

    /// As [`Literals::search`](super::literals::Literals::search).
    pub(super) fn search(&self, window: &Window<'_>, out: &mut Out) -> usize {
        let size = self.len() as u64;
        // Pointers that overlap are looked for in several rounds, each of which steps by whole pointers.
        let step = match self.align {
            align if align.is_multiple_of(size) => size,
            align if size.is_multiple_of(align) => align,
            _ => 1,
        };
        let mut cut = window.starts.end;
        for phase in (0..size).step_by(step as usize) {
            let ahead = (phase + size - window.address(window.starts.start) % size) % size;
            let first = window.starts.start + ahead as usize;
            let full = out.full_at();
            let found = match (size, self.layout.byte_order) {
                (8, ByteOrder::Little) => self.round::<8>(first, window, out, full, u64::from_le_bytes),
                (8, ByteOrder::Big) => self.round::<8>(first, window, out, full, u64::from_be_bytes),
                (_, ByteOrder::Little) => self.round::<4>(first, window, out, full, |b| u32::from_le_bytes(b).into()),
                (_, ByteOrder::Big) => self.round::<4>(first, window, out, full, |b| u32::from_be_bytes(b).into()),
            };
            cut = cut.min(found);
        }
        cut
    }

    /// Looks at every `N`th place from `first` on, `N` being the size of a pointer.
    #[inline(always)]
    fn round<const N: usize>(
        &self,
        first: usize,
        window: &Window<'_>,
        out: &mut Out,
        full: usize,
        number: impl Fn([u8; N]) -> u64,
    ) -> usize {
        let starts = &window.starts;
        let end = (starts.end + N - 1).min(window.data.len());
        let Some(data) = window.data.get(first..end) else { return starts.end };
        let (pointers, _) = data.as_chunks::<N>();
        // Alike for all of a group, and without a branch for each, so that the compiler can use vectors.
        let is_in = |pointer: &[u8; N]| number(*pointer).wrapping_sub(self.start) <= self.span;
        for (index, group) in pointers.chunks(GROUP).enumerate() {
            if !group.iter().fold(false, |any, pointer| any | is_in(pointer)) {
                continue;
            }
            for (within, pointer) in group.iter().enumerate() {
                let at = first + (index * GROUP + within) * N;
                let address = window.address(at);
                if is_in(pointer) && at < starts.end && address.is_multiple_of(self.align) {
                    out.push(Found { address, length: N as u32, pattern: self.pattern, cut: false });
                    if out.len() >= full {
                        return (at + 1).min(starts.end);
                    }
                }
            }
        }
        starts.end
    }
}
