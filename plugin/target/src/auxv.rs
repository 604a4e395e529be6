//! The auxiliary vector, by which the kernel tells a program about itself.

use crate::Layout;

/// The address of 16 random bytes that the kernel put on the stack.
pub const AT_RANDOM: u64 = 25;
/// The address of the executable's program headers.
pub const AT_PHDR: u64 = 3;
/// Where the program begins.
pub const AT_ENTRY: u64 = 9;
/// The address of the vdso.
pub const AT_SYSINFO_EHDR: u64 = 33;

/// The entries (type and value) up to AT_NULL, or as many as are whole.
pub fn entries(bytes: &[u8], layout: Layout) -> Vec<(u64, u64)> {
    let size = usize::from(layout.pointer_size);
    bytes
        .chunks_exact(2 * size)
        .map(|entry| (layout.number(&entry[..size]), layout.number(&entry[size..])))
        .take_while(|(kind, _)| *kind != 0)
        .collect()
}

/// The value of the first entry of this type.
pub fn value(entries: &[(u64, u64)], kind: u64) -> Option<u64> {
    entries.iter().find(|(entry, _)| *entry == kind).map(|(_, value)| *value)
}
