//! Core files made by hand: those that no real process would give, and those of other machines.

use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const NT_PRSTATUS: u32 = 1;
const ET_CORE: u16 = 4;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// A program header and what it stands for.
#[derive(Clone, Debug)]
pub struct Segment {
    pub address: u64,
    /// The bytes in the file; memory that goes on beyond them is not in it.
    pub data: Vec<u8>,
    pub memory_size: u64,
    /// `PF_R` 4, `PF_W` 2, `PF_X` 1.
    pub flags: u32,
}

impl Segment {
    /// Readable and writable memory that is wholly in the file.
    pub fn new(address: u64, data: Vec<u8>) -> Self {
        let memory_size = data.len() as u64;
        Self { address, data, memory_size, flags: 6 }
    }
}

/// What a core file is to say.
#[derive(Clone, Debug)]
pub struct CoreFile {
    machine: u16,
    wide: bool,
    big_endian: bool,
    pub segments: Vec<Segment>,
    /// Bytes to cut off the end of the file.
    pub truncated: usize,
}

impl CoreFile {
    pub fn x86_64(segments: Vec<Segment>) -> Self {
        Self { machine: EM_X86_64, wide: true, big_endian: false, segments, truncated: 0 }
    }

    /// A 32-bit little-endian machine.
    pub fn i386(segments: Vec<Segment>) -> Self {
        Self { machine: EM_386, wide: false, big_endian: false, segments, truncated: 0 }
    }

    /// A 64-bit big-endian machine.
    pub fn aarch64_be(segments: Vec<Segment>) -> Self {
        Self { machine: EM_AARCH64, wide: true, big_endian: true, segments, truncated: 0 }
    }

    /// Writes it into `folder`.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("core");
        let mut bytes = self.bytes();
        bytes.truncate(bytes.len() - self.truncated);
        let mut file = std::fs::File::create(&path).expect("a new file can be made");
        file.write_all(&bytes).expect("a new file can be written to");
        path
    }

    fn bytes(&self) -> Vec<u8> {
        let (header_size, entry_size) = if self.wide { (64, 56) } else { (52, 32) };
        let count = self.segments.len() + 1;
        let note = self.note();
        let note_offset = header_size + entry_size * count;
        let mut out = Fields { bytes: Vec::new(), wide: self.wide, big_endian: self.big_endian };
        out.bytes.extend(b"\x7fELF");
        // The last is Linux's number: without it a debugger looks for the system's name in notes that we do not write.
        out.bytes.extend([if self.wide { 2 } else { 1 }, if self.big_endian { 2 } else { 1 }, 1, 3]);
        out.bytes.extend([0; 8]);
        out.half(ET_CORE);
        out.half(self.machine);
        out.word(1);
        // No entry point; the program headers follow this header; no sections.
        out.address(0);
        out.address(header_size as u64);
        out.address(0);
        out.word(0);
        for value in [header_size, entry_size, count, 0, 0, 0] {
            out.half(value as u16);
        }
        out.program_header(PT_NOTE, 4, note_offset as u64, 0, note.len() as u64, note.len() as u64);
        let mut offset = note_offset + note.len();
        for segment in &self.segments {
            let size = segment.data.len() as u64;
            out.program_header(PT_LOAD, segment.flags, offset as u64, segment.address, size, segment.memory_size);
            offset += segment.data.len();
        }
        out.bytes.extend(note);
        for segment in &self.segments {
            out.bytes.extend(&segment.data);
        }
        out.bytes
    }

    /// One thread, with all registers 0.
    fn note(&self) -> Vec<u8> {
        let size = match self.machine {
            EM_386 => 144,
            EM_AARCH64 => 392,
            _ => 336,
        };
        let mut out = Fields { bytes: Vec::new(), wide: self.wide, big_endian: self.big_endian };
        out.word(5);
        out.word(size);
        out.word(NT_PRSTATUS);
        out.bytes.extend(b"CORE\0\0\0\0");
        let start = out.bytes.len();
        // SIGABRT, by code and as the current signal; then, after the signal masks, the thread's id.
        out.word(6);
        out.word(0);
        out.word(0);
        out.half(6);
        out.half(0);
        out.address(0);
        out.address(0);
        out.word(1000);
        out.bytes.resize(start + size as usize, 0);
        out.bytes
    }
}

/// Has a core file of a 64-bit little-endian machine lack the bytes of the segment that `address` lies in, as where the process has left
/// it out; the memory is still told of. Returns the segment's range.
#[track_caller]
pub fn leave_out(core: &Path, address: u64) -> Range<u64> {
    const ENTRY: u64 = 56;
    let file = std::fs::File::options().read(true).write(true).open(core).expect("the core file can be written to");
    let read = |at: u64, size: usize| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes[..size], at).expect("the core file is that long");
        u64::from_le_bytes(bytes)
    };
    let (table, count) = (read(32, 8), read(56, 2));
    let headers = (0..count).map(|number| table + number * ENTRY);
    let range = |header: u64| read(header + 16, 8)..read(header + 16, 8) + read(header + 40, 8);
    let header = headers.into_iter().find(|at| read(*at, 4) == u64::from(PT_LOAD) && range(*at).contains(&address));
    let header = header.unwrap_or_else(|| panic!("{address:#x} is not in the core file"));
    assert!(read(header + 32, 8) > 0, "{address:#x} is not in the core file");
    file.write_all_at(&0u64.to_le_bytes(), header + 32).expect("the core file can be written to");
    range(header)
}

/// Numbers as the file's machine lays them out.
struct Fields {
    bytes: Vec<u8>,
    wide: bool,
    big_endian: bool,
}

impl Fields {
    fn put(&mut self, value: u64, size: usize) {
        match self.big_endian {
            true => self.bytes.extend(&value.to_be_bytes()[8 - size..]),
            false => self.bytes.extend(&value.to_le_bytes()[..size]),
        }
    }

    fn half(&mut self, value: u16) {
        self.put(value.into(), 2);
    }

    fn word(&mut self, value: u32) {
        self.put(value.into(), 4);
    }

    fn address(&mut self, value: u64) {
        self.put(value, if self.wide { 8 } else { 4 });
    }

    fn program_header(&mut self, kind: u32, flags: u32, offset: u64, address: u64, size: u64, memory_size: u64) {
        self.word(kind);
        if self.wide {
            self.word(flags);
        }
        for value in [offset, address, 0, size, memory_size] {
            self.address(value);
        }
        if !self.wide {
            self.word(flags);
        }
        self.address(1);
    }
}
