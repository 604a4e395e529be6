//! A module made by hand: an ELF file whose bytes lie in it as they do in memory.

use std::collections::BTreeMap;
use target::modules::{FileSet, Files, Module, Search, survey};
use target::{Access, Fault, FaultReason, ReadMemory};

/// Where it is loaded, and where its parts are in it.
pub(super) const BASE: u64 = 0x5555_0000_0000;
pub(super) const TEXT: u64 = 0x1000;
const TEXT_SIZE: u64 = 0x1000;
const TABLE: u64 = 0x2000;
const FRAMES: u64 = 0x4000;
const DEBUG_FRAMES: u64 = 0x8000;
const NAMES: u64 = 0xc000;
const SIZE: usize = 0x10000;

/// Which sections have the call frame information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    EhFrame,
    EhFrameAndTable,
    DebugFrame,
}

/// Call frame information as it is written.
#[derive(Clone, Debug)]
pub(super) struct Cfi {
    kind: Kind,
    bytes: Vec<u8>,
    /// The functions and where their descriptions are.
    rows: Vec<(u64, u64)>,
}

impl Cfi {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, bytes: Vec::new(), rows: Vec::new() }
    }

    fn entry(&mut self, mut content: Vec<u8>) -> u64 {
        let offset = self.bytes.len() as u64;
        content.resize(content.len().next_multiple_of(4), 0);
        self.bytes.extend((content.len() as u32).to_le_bytes());
        self.bytes.append(&mut content);
        offset
    }

    /// Adds what descriptions have in common: code in units of 1 byte, data in units of -8, the return address in `returns`.
    pub(super) fn common(&mut self, is_signal: bool, returns: u8, instructions: &[u8]) -> u64 {
        let mut content = Vec::new();
        if self.kind == Kind::DebugFrame {
            content.extend(u32::MAX.to_le_bytes());
            content.extend([4]);
            content.extend(if is_signal { &b"S\0"[..] } else { b"\0" });
            content.extend([8, 0, 1, 0x78, returns]);
        } else {
            content.extend(0_u32.to_le_bytes());
            content.extend([1]);
            content.extend(if is_signal { &b"zRS\0"[..] } else { b"zR\0" });
            content.extend([1, 0x78, returns, 1, 0x1b]);
        }
        content.extend(instructions);
        self.entry(content)
    }

    /// Adds the description of a function whose code is at `start..start + length` in the file's addresses.
    pub(super) fn function(&mut self, common: u64, start: u64, length: u32, instructions: &[u8]) {
        let offset = self.bytes.len() as u64;
        let mut content = Vec::new();
        if self.kind == Kind::DebugFrame {
            content.extend((common as u32).to_le_bytes());
            content.extend(start.to_le_bytes());
            content.extend(u64::from(length).to_le_bytes());
        } else {
            content.extend(((offset + 4 - common) as u32).to_le_bytes());
            content.extend((start as i32).wrapping_sub((FRAMES + offset + 8) as i32).to_le_bytes());
            content.extend(length.to_le_bytes());
            content.push(0);
        }
        content.extend(instructions);
        self.entry(content);
        self.rows.push((start, offset));
    }

    fn table(&self) -> Vec<u8> {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        let mut table = vec![1, 0x1b, 0x03, 0x3b];
        table.extend((FRAMES as i32 - TABLE as i32 - 4).to_le_bytes());
        table.extend((rows.len() as u32).to_le_bytes());
        for (start, offset) in rows {
            table.extend((start as i32 - TABLE as i32).to_le_bytes());
            table.extend(((FRAMES + offset) as i32 - TABLE as i32).to_le_bytes());
        }
        table
    }

    /// The module's bytes.
    pub(super) fn module(&self) -> Vec<u8> {
        let table = self.table();
        let mut bytes = vec![0; SIZE];
        let mut put = |at: u64, part: &[u8]| bytes[at as usize..][..part.len()].copy_from_slice(part);
        let number = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        put(0, b"\x7fELF\x02\x01\x01");
        put(16, &[3, 0, 62, 0, 1, 0, 0, 0]);
        put(32, &number(&[64, NAMES + 0x100]));
        put(52, &[64, 0, 56, 0, 2, 0, 64, 0, 6, 0, 5, 0]);
        // All of it is loaded, and may be run.
        put(64, &[1, 0, 0, 0, 5, 0, 0, 0]);
        put(72, &number(&[0, 0, 0, SIZE as u64, SIZE as u64, 4096]));
        if self.kind == Kind::EhFrameAndTable {
            put(120, &[0x50, 0xe5, 0x74, 0x64, 4, 0, 0, 0]);
            put(128, &number(&[TABLE, TABLE, TABLE, table.len() as u64, table.len() as u64, 4]));
            put(TABLE, &table);
        }
        put(TEXT, &[0x90; TEXT_SIZE as usize]);
        let names = b"\0.text\0.eh_frame_hdr\0.eh_frame\0.debug_frame\0.names\0";
        put(NAMES, names);
        let at = if self.kind == Kind::DebugFrame { DEBUG_FRAMES } else { FRAMES };
        put(at, &self.bytes);
        let size = |kinds: &[Kind], size: usize| if kinds.contains(&self.kind) { size as u64 } else { 0 };
        let frames = size(&[Kind::EhFrame, Kind::EhFrameAndTable], self.bytes.len());
        let sections = [
            (1, 1, 6, TEXT, TEXT_SIZE),
            (7, 1, 2, TABLE, size(&[Kind::EhFrameAndTable], table.len())),
            (21, 1, 2, FRAMES, frames),
            (31, 1, 0, DEBUG_FRAMES, size(&[Kind::DebugFrame], self.bytes.len())),
            (44, 3, 0, NAMES, names.len() as u64),
        ];
        for (index, (name, kind, flags, at, size)) in sections.into_iter().enumerate() {
            let header = NAMES + 0x100 + 64 * (index as u64 + 1);
            put(header, &[name, 0, 0, 0, kind, 0, 0, 0]);
            let address = if flags == 0 { 0 } else { at };
            put(header + 8, &number(&[flags, address, at, size, 0, 1]));
        }
        bytes
    }
}

/// The files of a module that is loaded at [`BASE`].
pub(super) fn files(module: Module) -> Files {
    let set = FileSet::new(vec![survey(&module, &Search::default())]);
    Files::new(set, Vec::new(), Access::Pread, None)
}

/// Memory in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces(pub(super) BTreeMap<u64, Vec<u8>>);

impl ReadMemory for Pieces {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let piece = self.0.range(..=address).next_back();
        let rest = piece.and_then(|(start, bytes)| bytes.get(usize::try_from(address - start).ok()?..));
        match rest {
            Some(rest) if !rest.is_empty() => {
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                Ok(length)
            }
            _ => Err(Fault { address, reason: FaultReason::Unreadable }),
        }
    }
}
