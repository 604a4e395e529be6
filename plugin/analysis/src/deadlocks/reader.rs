//! Small reads of the target's memory.

use target::ReadMemory;

/// Reads numbers, which x86-64 keeps with the least significant byte first.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub &'a dyn ReadMemory);

impl Reader<'_> {
    /// So many bytes at `address`; `None` if they cannot all be read.
    pub fn bytes<const COUNT: usize>(self, address: u64) -> Option<[u8; COUNT]> {
        address.checked_add(COUNT as u64)?;
        let mut bytes = [0; COUNT];
        (self.0.read(address, &mut bytes) == Ok(COUNT)).then_some(bytes)
    }

    /// Two words of eight bytes.
    pub fn words(self, address: u64) -> Option<[u64; 2]> {
        let bytes = self.bytes::<16>(address)?;
        Some([word(&bytes, 0), word(&bytes, 8)])
    }

    /// A word of four bytes.
    pub fn half(self, address: u64) -> Option<u32> {
        self.bytes::<4>(address).map(u32::from_le_bytes)
    }
}

/// Eight of some bytes, from an offset on.
///
/// # Panics
/// If there are fewer.
pub(super) fn word(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

/// Four of some bytes, from an offset on.
///
/// # Panics
/// If there are fewer.
pub(super) fn half(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}
