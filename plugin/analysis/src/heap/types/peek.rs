//! Small reads here and there.

use target::{AddressRange, ReadMemory};

const PAGE: usize = 4096;

/// Pages kept; a power of two.
const LINES: usize = 256;

/// Reads few bytes at many addresses of memory, a page at a time, and keeps the last pages: what belongs together lies
/// together more often than not.
#[derive(Debug)]
pub(super) struct Pages {
    /// The page that each line holds, and how many of its bytes could be read.
    lines: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { lines: vec![(u64::MAX, 0); LINES], bytes: Vec::new() }
    }
}

impl Pages {
    /// Forgets what it keeps: the memory is that of another task, or of another moment.
    pub(super) fn clear(&mut self) {
        self.lines.fill((u64::MAX, 0));
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
            copy(self.page(memory, address).get(offset..offset + 8 * N)?, &mut words);
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
            let offset = at as usize % PAGE;
            let Some(bytes) = self.page(memory, at).get(offset..) else { break };
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

    /// What can be read of the page around `address`.
    fn page(&mut self, memory: &dyn ReadMemory, address: u64) -> &[u8] {
        let page = address - address % PAGE as u64;
        let line = (page / PAGE as u64) as usize % LINES;
        let bytes = &mut self.bytes[line * PAGE..(line + 1) * PAGE];
        if self.lines[line].0 != page {
            self.lines[line] = (page, memory.read(page, bytes).unwrap_or(0));
        }
        &bytes[..self.lines[line].1]
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
}
