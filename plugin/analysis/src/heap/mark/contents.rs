//! Reads what chunks hold, many of them at once.
//!
//! Chunks that are looked at together lie anywhere, and most of them are small. Where memory is mapped here they are seen in
//! place. Elsewhere pages are read, each once for all chunks in it, and as many with one call as fit; and when few are read,
//! as along a list, they are kept, for what comes next often lies beside what was last.

use crate::driver::push_skip;
use crate::heap::area::WORD;
use crate::report::Skip;
use target::{AddressRange, Fault, FaultReason, ReadMemory};

const PAGE: u64 = 4096;

/// Bytes read with one call, unless one part alone has more.
const MOST: u64 = 1 << 20;

/// Pages that are kept.
const KEPT: usize = 1024;

/// If a call reads no more bytes than these, its pages are kept.
const FEW: u64 = 64 * PAGE;

/// Memory that a chunk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Begins and ends at a multiple of a word.
    pub range: AddressRange,
    /// Whose it is.
    pub owner: u64,
    /// Whether pages that are neither present nor swapped hold zeros.
    pub sparse: bool,
}

/// Room for what is read.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pieces: Vec<Part>,
    reads: Vec<AddressRange>,
    buffer: Vec<u8>,
    kept: Kept,
}

/// What could not be read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    pub skipped: Vec<Skip>,
    /// Whether the process is gone.
    pub gone: bool,
}

impl Unread {
    fn push(&mut self, range: AddressRange, reason: FaultReason) {
        self.gone |= reason == FaultReason::Gone;
        push_skip(&mut self.skipped, Skip { range, reason: reason.to_string() });
    }
}

impl Contents {
    /// Shows all words of `parts`, which are in address order, to `visit`: with their owner, some at a
    /// time. Pages that are known to hold zeros are left out.
    pub(crate) fn show(
        &mut self,
        memory: &dyn ReadMemory,
        parts: &[Part],
        unread: &mut Unread,
        visit: &mut dyn FnMut(u64, &[[u8; 8]]),
    ) {
        self.pieces.clear();
        for part in parts {
            // The allocator has written to where a chunk begins and ends, so only in between can there be a page that
            // nobody has touched.
            let inner = part.range.end / PAGE - part.range.start / PAGE;
            if part.sparse && inner >= 2 {
                for run in memory.populated(part.range, true).runs {
                    if let Some(range) = run.intersect(part.range) {
                        self.see(memory, Part { range, ..*part }, visit);
                    }
                }
            } else {
                self.see(memory, *part, visit);
            }
        }
        let mut first = 0;
        self.reads.clear();
        let mut length = 0;
        for index in 0..self.pieces.len() {
            let Part { range, owner, .. } = self.pieces[index];
            let pages = AddressRange::new(range.start / PAGE * PAGE, range.end.next_multiple_of(PAGE));
            let joins = self.reads.last().is_some_and(|last| pages.start <= last.end);
            if !joins
                && pages.len() == PAGE
                && let Some(page) = self.kept.page(pages.start)
            {
                show(owner, &page[(range.start - pages.start) as usize..][..range.len() as usize], visit);
                // Nothing is left of it to be shown.
                self.pieces[index].range.start = range.end;
                continue;
            }
            if length + pages.len() > MOST && length > 0 {
                self.read(memory, first..index, unread, visit);
                (first, length) = (index, 0);
            }
            match self.reads.last_mut().filter(|last| pages.start <= last.end) {
                Some(last) => {
                    length += pages.end.saturating_sub(last.end);
                    last.end = last.end.max(pages.end);
                }
                None => {
                    length += pages.len();
                    self.reads.push(pages);
                }
            }
        }
        self.read(memory, first..self.pieces.len(), unread, visit);
    }

    /// Shows what of a part is mapped here, and leaves the rest to be read.
    fn see(&mut self, memory: &dyn ReadMemory, mut part: Part, visit: &mut dyn FnMut(u64, &[[u8; 8]])) {
        while !part.range.is_empty() {
            let Some(bytes) = memory.view(part.range.start, part.range.len()) else { break };
            let length = bytes.len() as u64 / WORD * WORD;
            if length == 0 {
                break;
            }
            let length = length.min(part.range.len());
            show(part.owner, &bytes[..length as usize], visit);
            part.range.start += length;
        }
        if !part.range.is_empty() {
            self.pieces.push(part);
        }
    }

    /// Reads the pages of `reads`, and shows the pieces in them.
    fn read(
        &mut self,
        memory: &dyn ReadMemory,
        pieces: std::ops::Range<usize>,
        unread: &mut Unread,
        visit: &mut dyn FnMut(u64, &[[u8; 8]]),
    ) {
        let length: u64 = self.reads.iter().map(|read| read.len()).sum();
        if self.buffer.len() < length as usize {
            self.buffer.resize(length as usize, 0);
        }
        let found = memory.read_scattered(&self.reads, &mut self.buffer[..length as usize]);
        let mut offset = 0;
        let mut left = self.pieces[pieces].iter().filter(|piece| !piece.range.is_empty()).peekable();
        for (read, found) in self.reads.drain(..).zip(found) {
            let whole = &self.buffer[offset..offset + read.len() as usize];
            offset += whole.len();
            let there = read.start + found.unwrap_or(0) as u64;
            if length <= FEW && there == read.end {
                self.kept.keep(read.start, whole);
            }
            while let Some(piece) = left.next_if(|piece| piece.range.start < read.end) {
                if piece.range.end <= there {
                    let from = (piece.range.start - read.start) as usize;
                    show(piece.owner, &whole[from..][..piece.range.len() as usize], visit);
                } else {
                    read_through(memory, *piece, unread, visit);
                }
            }
        }
    }
}

/// Shows bytes as the words that they are.
fn show(owner: u64, bytes: &[u8], visit: &mut dyn FnMut(u64, &[[u8; 8]])) {
    visit(owner, bytes.as_chunks().0);
}

/// Reads a piece that has unreadable parts.
fn read_through(memory: &dyn ReadMemory, piece: Part, unread: &mut Unread, visit: &mut dyn FnMut(u64, &[[u8; 8]])) {
    let mut bytes = vec![0; piece.range.len().min(MOST) as usize];
    let AddressRange { start: mut address, end } = piece.range;
    while address < end {
        let most = (end - address).min(MOST) as usize;
        match memory.read(address, &mut bytes[..most]) {
            // A word that is not whole is none.
            Ok(length) if length as u64 >= WORD => {
                let length = length as u64 / WORD * WORD;
                show(piece.owner, &bytes[..length as usize], visit);
                address += length;
            }
            result => {
                let reason = result.err().map_or(FaultReason::Unreadable, |Fault { reason, .. }| reason);
                let next = memory.after_fault(address).clamp(address + WORD, end.max(address + WORD));
                let next = if reason == FaultReason::Gone { end } else { next.next_multiple_of(WORD).min(end) };
                unread.push(AddressRange::new(address, next), reason);
                address = next;
            }
        }
    }
}

/// Pages that were read before: each has one place where it may be.
#[derive(Debug, Default)]
struct Kept {
    /// The address of the page in each place; 0 for none.
    pages: Vec<u64>,
    bytes: Vec<u8>,
}

impl Kept {
    fn place(page: u64) -> usize {
        // Neighbours and what lies a power of two apart have different places.
        let number = page / PAGE;
        ((number ^ number >> 10 ^ number >> 20) % KEPT as u64) as usize
    }

    fn page(&self, page: u64) -> Option<&[u8]> {
        let place = Self::place(page);
        (self.pages.get(place) == Some(&page)).then(|| &self.bytes[place * PAGE as usize..][..PAGE as usize])
    }

    fn keep(&mut self, start: u64, bytes: &[u8]) {
        if self.pages.is_empty() {
            self.pages.resize(KEPT, 0);
            self.bytes.resize(KEPT * PAGE as usize, 0);
        }
        for (index, bytes) in bytes.chunks_exact(PAGE as usize).enumerate() {
            let page = start + index as u64 * PAGE;
            let place = Self::place(page);
            self.pages[place] = page;
            self.bytes[place * PAGE as usize..][..PAGE as usize].copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Page, TestMemory};
    use proptest::prelude::*;

    fn pages() -> impl Strategy<Value = Vec<Page>> {
        let page = prop_oneof![6 => Just(Page::Normal), 1 => Just(Page::Hole), 1 => Just(Page::Swapped)];
        prop::collection::vec(page, 1..12)
    }

    proptest! {
        /// Whatever is asked for, in however many steps, each word is shown once to its owner, or is in what could not be read.
        #[test]
        fn shows_each_word_once(
            pages in pages(),
            mapped in any::<bool>(),
            gaps in prop::collection::vec((0..1500u64, 0..2600u64), 1..40),
            step in 1..9usize,
        ) {
            let length = pages.len() as u64 * PAGE;
            let bytes: Vec<u8> = (0..length / WORD).flat_map(|word| (word + 1).to_le_bytes()).collect();
            let mut memory = TestMemory::new(0x10_0000, bytes, pages);
            memory.cuts = mapped.then(|| [8 * 77, 8 * 1300].into());
            let mut parts = Vec::new();
            let mut at = 0;
            for (gap, size) in gaps {
                let start = at + gap * WORD;
                let end = (start + size * WORD).min(length);
                if start < end {
                    let range = AddressRange::new(memory.start + start, memory.start + end);
                    parts.push(Part { range, owner: parts.len() as u64, sparse: memory.sparse() });
                }
                at = end;
            }
            let (mut contents, mut unread) = (Contents::default(), Unread::default());
            let mut seen = Vec::new();
            for _twice in 0..2 {
                for parts in parts.chunks(step) {
                    contents.show(&memory, parts, &mut unread, &mut |owner, words| {
                        seen.extend(words.iter().map(|word| (owner, u64::from_le_bytes(*word) - 1)));
                    });
                }
            }
            let (mut expected, mut skipped) = (Vec::new(), 0);
            for part in &parts {
                for address in (part.range.start..part.range.end).step_by(8) {
                    let word = (address - memory.start) / WORD;
                    match memory.pages[(word / 512) as usize] {
                        Page::Hole => skipped += 2 * WORD,
                        _ => expected.extend([(part.owner, word); 2]),
                    }
                }
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, expected);
            prop_assert_eq!(unread.skipped.iter().map(|skip| skip.range.len()).sum::<u64>(), skipped);
            prop_assert!(!unread.gone);
        }
    }

    #[test]
    fn pages_that_were_never_touched_are_not_read() {
        let pages = vec![Page::Normal, Page::Empty, Page::Empty, Page::Normal];
        let memory = TestMemory::new(0x10_0000, vec![3; 4 * PAGE as usize], pages);
        let range = AddressRange::new(0x10_0010, 0x10_3008);
        let mut shown = 0;
        let part = Part { range, owner: 0, sparse: true };
        Contents::default().show(&memory, &[part], &mut Unread::default(), &mut |_, words| {
            shown += WORD * words.len() as u64;
        });
        assert_eq!(shown, PAGE - 16 + 8);
        assert_eq!(memory.touched.into_inner(), 0);
    }
}
