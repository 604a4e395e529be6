//! Reading stacks, a piece at a time.

use super::super::End;
use target::{FaultReason, ReadMemory};

/// So many bytes are read at once: most stacks of threads that wait are shorter.
const PIECE: usize = 4096;

/// Of one stack, so many pieces are read. One a frame is what the deepest takes whose frames are all large; call frame information
/// that jumps about in memory could ask for a thousand.
const MOST_PIECES: u32 = 1 << 16;

/// Memory, of which the piece that was read last is kept: what lies on a stack is close together.
pub(super) struct Window<'a> {
    memory: &'a dyn ReadMemory,
    piece: Vec<u8>,
    /// Where the piece begins.
    start: u64,
    /// The stack pointer of the frame that is looked at: what belongs to it lies above, and its callers lie higher still.
    lowest: u64,
    /// Pieces that may still be read.
    left: u32,
    /// Whether a read failed because the process has ended.
    gone: bool,
}

impl<'a> Window<'a> {
    pub(super) fn new(memory: &'a dyn ReadMemory) -> Self {
        Self { memory, piece: Vec::new(), start: 0, lowest: 0, left: MOST_PIECES, gone: false }
    }

    /// Moves on to the frame with that stack pointer.
    pub(super) fn frame(&mut self, stack_pointer: u64) {
        self.lowest = stack_pointer;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// The word at `address`.
    ///
    /// # Errors
    /// [`End::Unreadable`] if it cannot be read, [`End::Malformed`] if too much is.
    pub(super) fn word(&mut self, address: u64) -> Result<u64, End> {
        self.bytes(address).map(u64::from_le_bytes)
    }

    /// The number of `size` bytes at `address`, of which there are at most 8.
    ///
    /// # Errors
    /// As of [`word`](Self::word); [`End::Malformed`] if there are more.
    pub(super) fn number(&mut self, address: u64, size: u8) -> Result<u64, End> {
        match size {
            1 => self.bytes(address).map(u8::from_le_bytes).map(u64::from),
            2 => self.bytes(address).map(u16::from_le_bytes).map(u64::from),
            4 => self.bytes(address).map(u32::from_le_bytes).map(u64::from),
            8 => self.word(address),
            _ => Err(End::Malformed),
        }
    }

    /// The bytes at `address`.
    ///
    /// # Errors
    /// As of [`word`](Self::word).
    pub(super) fn bytes<const N: usize>(&mut self, address: u64) -> Result<[u8; N], End> {
        if let Some(bytes) = self.kept(address) {
            return Ok(bytes);
        }
        self.left = self.left.checked_sub(1).ok_or(End::Malformed)?;
        let ahead = address.wrapping_sub(self.lowest);
        let start = if ahead < PIECE as u64 / 2 { self.lowest } else { address.saturating_sub(PIECE as u64 / 4) };
        // What lies before may be unreadable, and what is asked for not.
        self.fill(start);
        if self.kept::<N>(address).is_none() {
            self.fill(address);
        }
        self.kept(address).ok_or(End::Unreadable(address))
    }

    fn kept<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let offset = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.piece.get(offset..)?.first_chunk().copied()
    }

    fn fill(&mut self, start: u64) {
        self.start = start;
        self.piece.resize(PIECE, 0);
        let read = self.memory.read(start, &mut self.piece).inspect_err(|fault| {
            self.gone |= fault.reason == FaultReason::Gone;
        });
        self.piece.truncate(read.unwrap_or_default().min(PIECE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PAGE, Page, TestMemory};

    const START: u64 = 0x1000;

    fn memory() -> TestMemory {
        let bytes = (0..4 * PAGE / 8).flat_map(|word| (START + 8 * word).to_le_bytes()).collect();
        TestMemory::new(START, bytes, vec![Page::Normal, Page::Hole, Page::Normal, Page::Normal])
    }

    #[test]
    fn words_are_read_wherever_they_lie() {
        let memory = memory();
        let mut window = Window::new(&memory);
        window.frame(START + 0x800);
        // In any order, across pieces, beside what cannot be read, and at the very ends.
        for at in [0x1800, 0x1808, 0x1ff8, 0x1000, 0x3000, 0x3ff8, 0x3ff0, 0x4ff8, 0x1ff8, 0x3008] {
            assert_eq!(window.word(at), Ok(at), "{at:#x}");
        }
        assert_eq!(window.number(0x3ffc, 8), Ok(0x4000 << 32));
        assert_eq!((window.number(0x3008, 4), window.number(0x3008, 1)), (Ok(0x3008), Ok(8)));
        for at in [0x1ffc, 0x2000, 0x2ff8, 0x4ffc, 0x5000, 0] {
            assert_eq!(window.word(at), Err(End::Unreadable(at)), "{at:#x}");
        }
        assert_eq!(window.number(0x3000, 3), Err(End::Malformed));
    }

    #[test]
    fn no_stack_is_read_for_ever() {
        let memory = memory();
        let mut window = Window::new(&memory);
        let far = |turn: u32| if turn.is_multiple_of(2) { 0x1000 } else { 0x4ff8 };
        let read = (0..2 * MOST_PIECES).take_while(|turn| window.word(far(*turn)).is_ok()).count();
        assert_eq!(read, MOST_PIECES as usize);
        assert_eq!(window.word(0x3000), Err(End::Malformed));
    }
}
