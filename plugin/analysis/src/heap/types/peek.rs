//! Small reads here and there.

use target::{AddressRange, ReadMemory};

const PAGE: usize = 4096;

/// Pages kept; a power of two.
const LINES: usize = 256;

/// Reads few bytes at many addresses of memory, a page at a time, and keeps the last pages: what belongs together lies
/// together more often than not.
#[derive(Debug)]
pub(super) struct Pages {
    lines: Vec<Line>,
    bytes: Vec<u8>,
}

/// What is kept of a page.
#[derive(Clone, Copy, Debug)]
struct Line {
    page: u64,
    /// Which of its bytes could be read. Memory may begin within a page: that of a stack that was saved from its pointer on.
    start: usize,
    end: usize,
}

const NOTHING: Line = Line { page: u64::MAX, start: 0, end: 0 };

impl Default for Pages {
    fn default() -> Self {
        Self { lines: vec![NOTHING; LINES], bytes: Vec::new() }
    }
}

impl Pages {
    /// Forgets what it keeps: the memory is that of another task, or of another moment.
    pub(super) fn clear(&mut self) {
        self.lines.fill(NOTHING);
        self.bytes.resize(LINES * PAGE, 0);
    }

    /// The words at `address`.
    pub(super) fn words<const N: usize>(&mut self, memory: &dyn ReadMemory, address: u64) -> Option<[u64; N]> {
        let mut words = [0; N];
        if let Some(view) = memory.view(address, 8 * N as u64).filter(|view| view.len() >= 8 * N) {
            copy(view, &mut words);
            return Some(words);
        }
        let offset = address as usize % PAGE;
        if offset + 8 * N <= PAGE {
            copy(self.page(memory, address).get(..8 * N)?, &mut words);
            return Some(words);
        }
        for (at, word) in words.iter_mut().enumerate() {
            let mut bytes = [0; 8];
            if self.read(memory, address.checked_add(8 * at as u64)?, &mut bytes) < bytes.len() {
                return None;
            }
            *word = u64::from_le_bytes(bytes);
        }
        Some(words)
    }

    /// Fills the front of `buffer`, and says how much of it.
    pub(super) fn read(&mut self, memory: &dyn ReadMemory, address: u64, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buffer.len() {
            let Some(at) = address.checked_add(filled as u64) else { break };
            let bytes = self.page(memory, at);
            let count = bytes.len().min(buffer.len() - filled);
            if count == 0 {
                break;
            }
            buffer[filled..filled + count].copy_from_slice(&bytes[..count]);
            filled += count;
        }
        filled
    }

    /// Reads many ranges at once, and shows of each what could be read, in their order.
    pub(super) fn many(memory: &dyn ReadMemory, ranges: &[AddressRange], mut show: impl FnMut(usize, &[u8])) {
        let mut bytes = vec![0; ranges.iter().map(|range| range.len() as usize).sum()];
        let read = memory.read_scattered(ranges, &mut bytes);
        let mut rest = &bytes[..];
        for (index, (range, read)) in ranges.iter().zip(read).enumerate() {
            let (own, others) = rest.split_at(range.len() as usize);
            show(index, &own[..read.unwrap_or(0).min(own.len())]);
            rest = others;
        }
    }

    /// What can be read from `address` on, up to the end of its page.
    fn page(&mut self, memory: &dyn ReadMemory, address: u64) -> &[u8] {
        let offset = address as usize % PAGE;
        let page = address - offset as u64;
        let line = (page / PAGE as u64) as usize % LINES;
        let bytes = &mut self.bytes[line * PAGE..(line + 1) * PAGE];
        let known = &mut self.lines[line];
        if known.page != page {
            *known = Line { page, start: 0, end: memory.read(page, bytes).unwrap_or(0) };
        }
        if known.start == known.end && known.start != offset {
            let read = memory.read(address, &mut bytes[offset..]).unwrap_or(0);
            *known = Line { page, start: offset, end: offset + read };
        } else if offset < known.start {
            // What lies before it may be there as well.
            let read = memory.read(address, &mut bytes[offset..known.start]).unwrap_or(0);
            if read < known.start - offset {
                return &bytes[offset..offset + read];
            }
            known.start = offset;
        }
        bytes.get(offset..known.end).unwrap_or_default()
    }
}

fn copy(bytes: &[u8], words: &mut [u64]) {
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Page, Random, TestMemory};
    use target::{Fault, FaultReason};

    #[test]
    fn reads_what_a_plain_read_brings() {
        let mut random = Random::new(7);
        let kinds = (0..600).map(|_| *random.of(&[Page::Normal, Page::Normal, Page::Hole])).collect();
        let bytes = (0..600 * PAGE).map(|_| random.next() as u8).collect();
        let mut memory = TestMemory::new(0x10_0000, bytes, kinds);
        for in_place in [false, true] {
            memory.cuts = in_place.then(Default::default);
            let mut pages = Pages::default();
            pages.clear();
            for _ in 0..3000 {
                let address = 0x10_0000 - 0x1000 + random.below(602 * PAGE as u64);
                let mut expected = vec![0; random.below(9000) as usize];
                let count = if address < memory.start { 0 } else { memory.read(address, &mut expected).unwrap_or(0) };
                let mut buffer = vec![0; expected.len()];
                assert_eq!(pages.read(&memory, address, &mut buffer), count);
                assert_eq!(buffer[..count], expected[..count]);
                let mut expected = [0; 24];
                let whole = address >= memory.start && memory.read(address, &mut expected) == Ok(24);
                let mut words = [0; 3];
                copy(&expected, &mut words);
                assert_eq!(pages.words::<3>(&memory, address), whole.then_some(words));
            }
        }
    }

    /// Memory that begins and ends within pages, with a hole of a few bytes.
    struct Ragged(Vec<AddressRange>);

    impl ReadMemory for Ragged {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
            let there = self.0.iter().find(|range| range.contains(address));
            let there = there.ok_or(Fault { address, reason: FaultReason::Unreadable })?;
            let count = buffer.len().min((there.end - address) as usize);
            for (byte, at) in buffer[..count].iter_mut().zip(address..) {
                *byte = at as u8 ^ (at >> 8) as u8;
            }
            Ok(count)
        }
    }

    #[test]
    fn a_page_that_is_there_in_part_is_read_in_part() {
        let memory = Ragged(vec![AddressRange::new(0x1e38, 0x3400), AddressRange::new(0x3410, 0x3a00)]);
        let mut random = Random::new(3);
        for _ in 0..50 {
            let mut pages = Pages::default();
            pages.clear();
            for _ in 0..40 {
                let address = 0x1000 + random.below(0x3000);
                let mut expected = vec![0; 1 + random.below(64) as usize];
                // A read goes on behind a hole only if it begins there.
                let count = memory.read(address, &mut expected).unwrap_or(0);
                let mut buffer = vec![0; expected.len()];
                let read = pages.read(&memory, address, &mut buffer);
                let is_behind = address >= 0x3410;
                assert!(read == count || (is_behind && read == 0), "{address:#x}: {read} of {count}");
                assert_eq!(buffer[..read], expected[..read]);
            }
        }
    }
}
