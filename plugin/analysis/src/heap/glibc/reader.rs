//! Reading here and there.

use std::fmt;
use target::{AddressRange, ReadMemory};

/// Reads words of the target's memory by blocks, some of which it keeps.
pub(super) struct Reader<'a> {
    memory: &'a dyn ReadMemory,
    /// Bytes of a block, as a power of two.
    shift: u32,
    /// Whether it reads private anonymous memory only, where pages that were never touched are left alone.
    sparse: bool,
    slots: Vec<Slot<'a>>,
}

/// A block, or what can be read of it around an address.
#[derive(Default)]
struct Slot<'a> {
    range: AddressRange,
    /// In place, where the memory is mapped here.
    view: Option<&'a [u8]>,
    /// Else a copy of the block, of which the range is valid.
    copy: Vec<u8>,
    /// The address of the first byte of either.
    start: u64,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("block", &self.block()).finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// Keeps `slots` blocks of `block` bytes. Both are powers of two, and blocks are no smaller than a page.
    pub fn new(memory: &'a dyn ReadMemory, block: u64, slots: usize, sparse: bool) -> Self {
        let slots = (0..slots.next_power_of_two()).map(|_| Slot::default()).collect();
        Self { memory, shift: block.next_power_of_two().trailing_zeros(), sparse, slots }
    }

    fn block(&self) -> u64 {
        1 << self.shift
    }

    /// Which slot has the block of an address. A shift: there is one of these for each chunk.
    #[inline]
    fn slot(&self, address: u64) -> usize {
        (address >> self.shift) as usize & (self.slots.len() - 1)
    }

    /// The words at `address`, a multiple of 16, and after it.
    #[inline]
    pub fn pair(&mut self, address: u64) -> Option<[u64; 2]> {
        let bytes: &[u8; 16] = self.bytes(address)?;
        let (words, _) = bytes.as_chunks::<8>();
        Some([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])])
    }

    /// The word at `address`, a multiple of 8.
    #[inline]
    pub fn word(&mut self, address: u64) -> Option<u64> {
        self.bytes(address).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The words from `address` on, a multiple of 8, so many.
    pub fn words(&mut self, address: u64, count: u64) -> Option<Vec<u64>> {
        (0..count).map(|index| self.word(address.checked_add(8 * index)?)).collect()
    }

    /// The bytes at `address` and after it, as far as their block could be read.
    pub fn rest(&mut self, address: u64) -> Option<&[u8]> {
        let index = self.slot(address);
        if !self.slots[index].range.contains(address) {
            self.load(index, address);
        }
        let slot = &self.slots[index];
        let place = |address: u64| (address - slot.start) as usize;
        let bytes = slot.view.unwrap_or(&slot.copy);
        slot.range.contains(address).then(|| bytes.get(place(address)..place(slot.range.end))).flatten()
    }

    #[inline]
    fn bytes<const N: usize>(&mut self, address: u64) -> Option<&[u8; N]> {
        let index = self.slot(address);
        let end = address.checked_add(N as u64)?;
        let range = self.slots[index].range;
        if address < range.start || end > range.end {
            self.load(index, address);
        }
        let slot = &self.slots[index];
        if address < slot.range.start || end > slot.range.end {
            return None;
        }
        slot.view.unwrap_or(&slot.copy).get((address - slot.start) as usize..)?.first_chunk()
    }

    /// Fills a slot with what can be read of its block around `address`.
    #[cold]
    fn load(&mut self, index: usize, address: u64) {
        let size = self.block();
        let slot = &mut self.slots[index];
        let block = AddressRange::sized(address & !(size - 1), size);
        slot.view = self.memory.view(address, block.end - address);
        if let Some(view) = slot.view {
            slot.start = address;
            slot.range = AddressRange::sized(address, view.len() as u64);
            return;
        }
        slot.start = block.start;
        slot.copy.resize(size as usize, 0);
        slot.range = AddressRange::default();
        let runs = if self.sparse { self.memory.populated(block, true).runs } else { vec![block] };
        if runs != [block] {
            slot.copy.fill(0);
        }
        let mut readable = block;
        'runs: for run in runs {
            let mut at = run.start;
            while at < run.end {
                let room = &mut slot.copy[(at - block.start) as usize..(run.end - block.start) as usize];
                match self.memory.read(at, room) {
                    Ok(count) => at += count as u64,
                    Err(fault) if fault.address > address => {
                        readable.end = fault.address;
                        break 'runs;
                    }
                    Err(fault) => {
                        at = self.memory.after_fault(fault.address);
                        if at > address {
                            return;
                        }
                        readable.start = at;
                    }
                }
            }
        }
        slot.range = readable;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PAGE, Page, Random, TestMemory};

    #[test]
    fn every_word_is_read_that_can_be_and_no_untouched_page_is() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let pages = 1 + random.below(9);
            let sparse = random.one_in(2);
            let of: &[Page] =
                if sparse { &[Page::Normal, Page::Empty, Page::Hole] } else { &[Page::Normal, Page::Hole] };
            let kinds = (0..pages).map(|_| *random.of(of)).collect();
            let bytes = (0..pages * PAGE).map(|_| random.next() as u8).collect();
            let mut memory = TestMemory::new(0x7000, bytes, kinds);
            memory.cuts = (!sparse && random.one_in(2)).then(Default::default);
            let mut reader = Reader::new(&memory, PAGE << random.below(3), 1 << random.below(3), sparse);
            for _ in 0..60 {
                let address = 0x6f00 + random.below(pages * PAGE + 0x200) / 16 * 16;
                let mut bytes = [0; 16];
                let expected = memory.page(address).filter(|page| *page != Page::Hole).map(|page| {
                    if page != Page::Empty {
                        memory.read(address, &mut bytes).unwrap();
                    }
                    let words = bytes.as_chunks::<8>().0;
                    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
                });
                // Where nothing is mapped, nothing was ever touched.
                let expected = expected.or_else(|| {
                    reader.pair(address).filter(|pair| sparse && memory.page(address).is_none() && *pair == [0, 0])
                });
                assert_eq!(reader.pair(address), expected, "{address:#x}, seed {seed}");
                assert_eq!(reader.word(address + 8), expected.map(|pair| pair[1]));
            }
            assert_eq!(memory.touched.into_inner(), 0);
        }
    }
}
