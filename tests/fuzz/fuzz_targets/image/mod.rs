//! Memory of any bytes, in parts such as a process has where its heap is.
//!
//! The input is memory in pages: each is led by four bytes that say where it lies and how many of its bytes follow. What no page
//! holds is zeros.

use std::sync::Arc;
use target::{AddressRange, AddressSpace, Backing, Fault, FaultReason, Layout, Permissions, ReadMemory, Region};

const PAGE: usize = 4096;

/// Where there is memory, and how many pages: data of a module, brk's, two heaps of threads, and a mapping.
pub const PARTS: [(u64, usize); 5] = [
    (0x7f00_0000_0000, 2),
    (0x5555_5555_9000, 4),
    (0x7e00_0400_0000, 4),
    (0x7e00_0800_0000, 4),
    (0x7d00_0000_0000, 40),
];

struct Memory(Vec<(u64, Vec<u8>)>);

impl ReadMemory for Memory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let part =
            self.0.iter().find(|(start, bytes)| AddressRange::sized(*start, bytes.len() as u64).contains(address));
        let (start, bytes) = part.ok_or(Fault { address, reason: FaultReason::Unreadable })?;
        let bytes = &bytes[(address - start) as usize..];
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// The memory that the input describes, and what is mapped where.
pub fn read(bytes: &[u8]) -> (Arc<dyn ReadMemory>, AddressSpace) {
    let mut memory: Vec<(u64, Vec<u8>)> = PARTS.map(|(start, pages)| (start, vec![0; pages * PAGE])).into();
    let mut rest = bytes;
    // A page: its part, its number, how many bytes of it follow, and these.
    while let [part, page, low, high, after @ ..] = rest {
        let (_, bytes) = &mut memory[usize::from(*part) % PARTS.len()];
        let page = usize::from(*page) % (bytes.len() / PAGE);
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(PAGE).min(after.len());
        bytes[page * PAGE..][..length].copy_from_slice(&after[..length]);
        rest = &after[length..];
    }
    let region = |(start, bytes): &(u64, Vec<u8>)| Region {
        range: AddressRange::sized(*start, bytes.len() as u64),
        permissions: Permissions::READ | Permissions::WRITE,
        backing: match PARTS.iter().position(|(part, _)| part == start) {
            Some(0) => Backing::File { path: "/lib/libc.so.6".into(), offset: 0, deleted: false },
            Some(1) => Backing::Heap,
            _ => Backing::Anonymous { name: None },
        },
        shared: false,
        userfault: false,
    };
    let mut regions: Vec<Region> = memory.iter().map(region).collect();
    regions.sort_by_key(|region| region.range.start);
    let space = AddressSpace { layout: Layout::default(), regions };
    let memory: Arc<dyn ReadMemory> = Arc::new(Memory(memory));
    (memory, space)
}
