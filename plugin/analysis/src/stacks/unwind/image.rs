//! The call frame information of a module that has no file here, from the target's memory.

use gimli::{BaseAddresses, EhFrameHdr, LittleEndian};
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use std::ops::Range;
use target::{AddressRange, ReadMemory};

/// A module's headers lie in its first page.
const HEAD: usize = 4096;

/// More is not read of a table of functions, and of their descriptions, in bytes.
const LONGEST_TABLE: u64 = 8 << 20;
const LONGEST_FRAMES: u64 = 32 << 20;

/// Where a module's code and its call frame information are, as its headers in memory say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// Where its code is, in the target's addresses.
    pub(super) code: Vec<Range<u64>>,
    /// Where .eh_frame_hdr is; empty if there is none.
    table: AddressRange,
    /// What its file has the bytes of.
    segments: Vec<AddressRange>,
}

impl Headers {
    /// Reads those of the module that is loaded at `base`. `None` if they are not there.
    pub(super) fn read(memory: &dyn ReadMemory, base: u64) -> Option<Self> {
        let mut head = [0; HEAD];
        let length = memory.read(base, &mut head).ok()?;
        let head = &head[..length.min(HEAD)];
        let header = FileHeader64::<Endianness>::parse(head).ok()?;
        let endian = header.endian().ok()?;
        if header.e_machine(endian) != elf::EM_X86_64 {
            return None;
        }
        let segments = header.program_headers(endian, head).ok()?;
        let loaded = || segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
        let first = loaded().min_by_key(|segment| segment.p_offset(endian))?;
        let bias = base.wrapping_sub(first.p_vaddr(endian).wrapping_sub(first.p_offset(endian)));
        let start = |segment: &elf::ProgramHeader64<Endianness>| segment.p_vaddr(endian).wrapping_add(bias);
        let range = |segment: &_| AddressRange::sized(start(segment), segment.p_filesz(endian));
        let code = loaded().filter(|segment| segment.p_flags(endian).0 & elf::PF_X.0 != 0);
        let code = code.map(range).map(|range| range.start..range.end).collect();
        let table = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_GNU_EH_FRAME).map(range);
        Some(Self { code, table: table.unwrap_or_default(), segments: loaded().map(range).collect() })
    }
}

/// A module's call frame information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// .eh_frame_hdr, with its address.
    pub(super) table: Option<(u64, Vec<u8>)>,
    /// .eh_frame, likewise. What follows it in its segment may be here too: it ends by a mark of its own.
    pub(super) frames: (u64, Vec<u8>),
}

impl Image {
    /// Reads it. `None` if it has none, or it cannot be read.
    pub(super) fn read(memory: &dyn ReadMemory, headers: &Headers) -> Option<Self> {
        let address = headers.table.start;
        let table = read(memory, AddressRange::sized(address, headers.table.len().min(LONGEST_TABLE)))?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(address);
        let parsed = EhFrameHdr::new(&table, LittleEndian).parse(&bases, 8).ok()?;
        let start = parsed.eh_frame_ptr().direct().ok()?;
        let segment = headers.segments.iter().find(|segment| segment.contains(start))?;
        let range = AddressRange::new(start, segment.end.min(start.saturating_add(LONGEST_FRAMES)));
        Some(Self { table: Some((address, table)), frames: (start, read(memory, range)?) })
    }
}

/// The bytes of a range, as far as they can be read. `None` if none can.
fn read(memory: &dyn ReadMemory, range: AddressRange) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(range.len() as usize).ok()?;
    bytes.resize(range.len() as usize, 0);
    let length = memory.read(range.start, &mut bytes).ok().filter(|length| *length > 0)?;
    bytes.truncate(length);
    Some(bytes)
}
