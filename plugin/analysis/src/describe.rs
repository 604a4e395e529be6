//! What is said of a match beside its address: the bytes, the region, the thread. Only matches that are shown are
//! described.

use crate::place::ThreadStack;
use crate::report::{Content, Context, Match};
use target::{AddressRange, AddressSpace, ReadMemory};

/// What matches are described with.
pub struct Describer<'a> {
    pub space: &'a AddressSpace,
    pub stacks: &'a [ThreadStack],
    pub memory: &'a dyn ReadMemory,
    /// Bytes of context before and after a match.
    pub context: u64,
}

impl std::fmt::Debug for Describer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Describer").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Describer<'_> {
    /// A match of `size` bytes at `address`, with what its place tells.
    pub fn place(&self, address: u64, size: u64, pattern: u32) -> Match {
        let region = self.space.region_at(address);
        Match {
            address,
            size,
            pattern,
            region: self.region_name(address).map(str::to_owned),
            region_permissions: region.map(|region| region.permissions).unwrap_or_default(),
            thread: self.thread_at(address),
            context: self.context_of(address, size),
            ..Match::default()
        }
    }

    /// What the memory at `address` is called: as its region is, or as the module whose .bss it is.
    fn region_name(&self, address: u64) -> Option<&str> {
        let own = self.space.region_at(address)?.name();
        own.or_else(|| crate::symbols::bss_at(self.space, self.memory, address))
    }

    /// The thread whose stack is in use at `address`.
    fn thread_at(&self, address: u64) -> Option<u64> {
        let region = self.space.region_at(address)?.range;
        // Several threads' stacks may lie in one region: it is the nearest whose pointer is not above.
        let below =
            self.stacks.iter().filter(|stack| region.contains(stack.stack_pointer) && stack.stack_pointer <= address);
        below.max_by_key(|stack| stack.stack_pointer).map(|stack| stack.thread)
    }

    fn context_of(&self, address: u64, size: u64) -> Option<Context> {
        if self.context == 0 {
            return None;
        }
        let wanted = AddressRange::new(
            address.saturating_sub(self.context),
            address.saturating_add(size).saturating_add(self.context),
        );
        let range = wanted.intersect(self.space.region_at(address)?.range)?;
        // What lies before the match may be unreadable; the match itself was read.
        let bytes = self.bytes(range).map(|bytes| (range.start, bytes));
        let (start, bytes) = bytes.filter(|(start, bytes)| start + bytes.len() as u64 > address).or_else(|| {
            let range = AddressRange::new(address, range.end);
            self.bytes(range).map(|bytes| (address, bytes))
        })?;
        Some(Context { start, bytes })
    }

    /// The bytes at the front of `range`, as many as can be read; `None` if that is none.
    pub fn bytes(&self, range: AddressRange) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.len()).ok()?];
        let read = self.memory.read(range.start, &mut bytes).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }
}

/// Bytes as text: UTF-8, and `\xNN` for what is not.
pub fn text(bytes: &[u8], cut: bool) -> Content {
    Content::Text { text: text_of(bytes), cut }
}

/// As [`text`], of a name or a path.
pub fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// UTF-16 as text, with `\xNN\xNN` for what is not.
pub fn text_utf16(bytes: &[u8], layout: target::Layout, cut: bool) -> Content {
    let units = bytes.chunks_exact(2).map(|unit| layout.number(unit) as u16);
    let text = char::decode_utf16(units).map(|unit| match unit {
        Ok(letter) => letter.to_string(),
        Err(error) => {
            let unit = layout.bytes(u64::from(error.unpaired_surrogate()), 2);
            format!("\\x{:02x}\\x{:02x}", unit[0], unit[1])
        }
    });
    Content::Text { text: text.collect(), cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_escapes_what_is_not_utf8() {
        assert_eq!(text(b"caf\xc3\xa9 \xff!", false), Content::Text { text: "café \\xff!".into(), cut: false });
        let little = target::Layout::default();
        let utf16 = [0x41, 0, 0x00, 0xd8, 0x42, 0];
        assert_eq!(text_utf16(&utf16, little, true), Content::Text { text: "A\\x00\\xd8B".into(), cut: true });
    }
}
