//! Makes core files, as Linux writes them or as they should never be.

use target::{ByteOrder, Layout};

pub const READ: u32 = 4;
pub const WRITE: u32 = 2;
pub const EXECUTE: u32 = 1;

pub const NT_PRSTATUS: u32 = 1;
pub const NT_PRPSINFO: u32 = 3;
pub const NT_AUXV: u32 = 6;
pub const NT_FILE: u32 = 0x4649_4c45;

/// A core file to be.
#[derive(Clone, Debug)]
pub struct Builder {
    pub layout: Layout,
    pub machine: u16,
    pub segments: Vec<Segment>,
    pub notes: Vec<(u32, Vec<u8>)>,
    /// Whether the number of segments is told where Linux tells it if they are too many.
    pub extended: bool,
}

#[derive(Clone, Debug)]
pub struct Segment {
    pub address: u64,
    pub memory_size: u64,
    pub flags: u32,
    pub bytes: Vec<u8>,
}

impl Segment {
    pub fn whole(address: u64, flags: u32, bytes: Vec<u8>) -> Self {
        Self { address, memory_size: bytes.len() as u64, flags, bytes }
    }
}

impl Builder {
    pub fn new(pointer_size: u8, byte_order: ByteOrder) -> Self {
        let machine = match (pointer_size, byte_order) {
            (4, ByteOrder::Little) => 3,
            (4, ByteOrder::Big) => 20,
            (_, ByteOrder::Little) => 62,
            (_, ByteOrder::Big) => 21,
        };
        let layout = Layout { pointer_size, byte_order };
        Self { layout, machine, segments: Vec::new(), notes: Vec::new(), extended: false }
    }

    pub fn segment(mut self, segment: Segment) -> Self {
        self.segments.push(segment);
        self
    }

    pub fn note(mut self, kind: u32, content: Vec<u8>) -> Self {
        self.notes.push((kind, content));
        self
    }

    /// NT_FILE with offsets in units of `unit`.
    pub fn files(self, unit: u64, files: &[(u64, u64, u64, &str)]) -> Self {
        let mut content = self.words(&[files.len() as u64, unit]);
        for (start, end, offset, _) in files {
            content.extend(self.words(&[*start, *end, offset / unit]));
        }
        for (.., path) in files {
            content.extend(path.bytes().chain([0]));
        }
        self.note(NT_FILE, content)
    }

    pub fn auxv(self, entries: &[(u64, u64)]) -> Self {
        let words: Vec<_> = entries.iter().chain(&[(0, 0)]).flat_map(|(kind, value)| [*kind, *value]).collect();
        let content = self.words(&words);
        self.note(NT_AUXV, content)
    }

    pub fn thread(self, id: u32, stack_pointer: u64) -> Self {
        let (wide, size) = (self.layout.pointer_size == 8, usize::from(self.layout.pointer_size));
        let mut content = vec![0; if wide { 336 } else { 272 }];
        let register = match self.machine {
            62 => 19,
            3 => 15,
            _ => 1,
        };
        let (id_at, registers) = if wide { (32, 112) } else { (24, 72) };
        content[id_at..][..4].copy_from_slice(&self.layout.bytes(id.into(), 4));
        content[registers + register * size..][..size].copy_from_slice(&self.layout.bytes(stack_pointer, size));
        self.note(NT_PRSTATUS, content)
    }

    pub fn process(self, pid: u32, name: &str) -> Self {
        let (size, pid_at, name_at) = match self.machine {
            62 | 21 => (136, 24, 40),
            3 => (124, 12, 28),
            _ => (128, 16, 32),
        };
        let mut content = vec![0; size];
        content[pid_at..][..4].copy_from_slice(&self.layout.bytes(pid.into(), 4));
        content[name_at..][..name.len()].copy_from_slice(name.as_bytes());
        self.note(NT_PRPSINFO, content)
    }

    fn words(&self, words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| self.layout.bytes(*word, usize::from(self.layout.pointer_size))).collect()
    }

    /// Where the bytes of the first segment begin.
    pub fn data_offset(&self) -> u64 {
        (self.header_size() + self.note_bytes().len()).next_multiple_of(4096) as u64
    }

    fn header_size(&self) -> usize {
        let (header, segment) = if self.layout.pointer_size == 8 { (64, 56) } else { (52, 32) };
        header + segment * (self.segments.len() + 1)
    }

    fn note_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, content) in &self.notes {
            for word in [5, content.len() as u64, u64::from(*kind)] {
                bytes.extend(self.layout.bytes(word, 4));
            }
            bytes.extend(b"CORE\0\0\0\0");
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    pub fn build(&self) -> Vec<u8> {
        let wide = self.layout.pointer_size == 8;
        let half = |value: u64| self.layout.bytes(value, 2);
        let word = |value: u64| self.layout.bytes(value, 4);
        let long = |value: u64| self.layout.bytes(value, usize::from(self.layout.pointer_size));
        let notes = self.note_bytes();
        let count = self.segments.len() + 1;
        let data: usize = self.segments.iter().map(|segment| segment.bytes.len()).sum();
        let sections = if self.extended { self.data_offset() + data as u64 } else { 0 };

        let order = if self.layout.byte_order == ByteOrder::Little { 1 } else { 2 };
        let mut file = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, order, 1];
        file.resize(16, 0);
        file.extend([half(4), half(self.machine.into()), word(1)].concat());
        file.extend([long(0), long(if wide { 64 } else { 52 }), long(sections), word(0)].concat());
        file.extend([half(if wide { 64 } else { 52 }), half(if wide { 56 } else { 32 })].concat());
        file.extend(half(if self.extended { 0xffff } else { count as u64 }));
        file.extend([half(if wide { 64 } else { 40 }), half(self.extended.into()), half(0)].concat());

        let mut header = |kind: u64, flags: u32, offset: u64, address: u64, file_size: u64, memory_size: u64| {
            let (kind, flags) = (word(kind), word(flags.into()));
            let rest = [offset, address, 0, file_size, memory_size].map(long).concat();
            if wide {
                file.extend([kind, flags, rest, long(4)].concat());
            } else {
                file.extend([kind, rest, flags, word(4)].concat());
            }
        };
        header(4, 0, self.header_size() as u64, 0, notes.len() as u64, 0);
        let mut offset = self.data_offset();
        for segment in &self.segments {
            let size = segment.bytes.len() as u64;
            header(1, segment.flags, offset, segment.address, size, segment.memory_size);
            offset += size;
        }
        file.extend(notes);
        file.resize(self.data_offset() as usize, 0);
        for segment in &self.segments {
            file.extend(&segment.bytes);
        }
        if self.extended {
            // A section header: the number of segments is its `sh_info`.
            let (size, info) = if wide { (64, 44) } else { (40, 28) };
            let mut section = vec![0; size];
            section[info..info + 4].copy_from_slice(&word(count as u64));
            file.extend(section);
        }
        file
    }
}
