//! The notes of a core file: what the kernel (or gdb, which writes the same) tells of the process and its threads.

use super::parse::{ReadAt, Window};
use crate::{AddressRange, Layout, Thread, auxv};
use object::elf;

/// What the notes say. What they lack is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    pub pid: Option<u32>,
    /// The first bytes of its program's name.
    pub program: Option<String>,
    /// The entries (type and value) of the auxiliary vector.
    pub auxv: Vec<(u64, u64)>,
    /// In the order of the file: the one that crashed is the first.
    pub threads: Vec<Thread>,
    /// The mappings of files, in address order and disjoint.
    pub files: Vec<MappedFile>,
    /// Whether some notes could not be read.
    pub damaged: bool,
}

/// A mapping of a file, as NT_FILE lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    pub range: AddressRange,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// As the kernel tells it: in any encoding, and with a suffix where the file has been deleted.
    pub path: Vec<u8>,
}

/// A note that is read may have no more bytes. Linux writes at most 4 MiB of names by default.
const LARGEST: usize = 64 << 20;

/// Reads the notes in the `size` bytes from `offset` on, as far as they can be read.
pub(super) fn read(
    window: &mut Window<'_, impl ReadAt + ?Sized>,
    offset: u64,
    size: u64,
    layout: Layout,
    machine: elf::Machine,
    notes: &mut Notes,
) {
    let Some(end) = offset.checked_add(size) else {
        notes.damaged = true;
        return;
    };
    let mut next = offset;
    while next < end {
        match read_one(window, next, end, layout, machine, notes) {
            Some(after) => next = after,
            None => {
                notes.damaged = true;
                return;
            }
        }
    }
}

/// Reads one note, and tells where the next one is.
fn read_one(
    window: &mut Window<'_, impl ReadAt + ?Sized>,
    offset: u64,
    end: u64,
    layout: Layout,
    machine: elf::Machine,
    notes: &mut Notes,
) -> Option<u64> {
    let header = window.bytes(offset, 12).ok()?;
    let word = |index: usize| layout.number(&header[4 * index..][..4]);
    let (name_size, size, kind) = (word(0), word(1), word(2));
    let name = offset.checked_add(12)?;
    let content = name.checked_add(name_size.checked_next_multiple_of(4)?)?;
    let after = content.checked_add(size)?;
    if after > end {
        return None;
    }

    let is_core = name_size >= 4 && window.bytes(name, 4).ok()? == b"CORE";
    let kind = elf::NoteType(u32::try_from(kind).ok()?);
    if is_core && matches!(kind, elf::NT_PRSTATUS | elf::NT_PRPSINFO | elf::NT_AUXV | elf::NT_FILE) {
        let size = usize::try_from(size).ok().filter(|size| *size <= LARGEST)?;
        let bytes = window.bytes(content, size).ok()?;
        match kind {
            elf::NT_PRSTATUS => notes.threads.extend(thread(bytes, layout, machine)),
            elf::NT_PRPSINFO => process(bytes, layout, notes),
            elf::NT_AUXV => notes.auxv = auxv::entries(bytes, layout),
            _ => match files(bytes, layout) {
                Some(files) => notes.files = files,
                None => notes.damaged = true,
            },
        }
        if notes.pid.is_none() {
            notes.pid = notes.threads.first().map(|thread| thread.id);
        }
    }
    // The last one may lack its padding.
    Some(after.checked_next_multiple_of(4)?.min(end))
}

/// `struct elf_prstatus`: a thread's id and registers.
fn thread(bytes: &[u8], layout: Layout, machine: elf::Machine) -> Option<Thread> {
    let wide = layout.pointer_size == 8;
    let number = |offset: usize, size: usize| Some(layout.number(bytes.get(offset..)?.get(..size)?));
    let id = number(if wide { 32 } else { 24 }, 4)?;
    let (registers, size) = if wide { (112, 8) } else { (72, 4) };
    // Which one is the stack pointer, and how many there are.
    let (index, count) = match (machine, wide) {
        (elf::EM_X86_64, true) => (19, 27),
        (elf::EM_386, false) => (15, 17),
        (elf::EM_AARCH64, true) => (31, 34),
        (elf::EM_ARM, false) => (13, 18),
        (elf::EM_RISCV, _) => (2, 32),
        (elf::EM_PPC64, true) | (elf::EM_PPC, false) => (1, 48),
        // Behind the two words of the program status.
        (elf::EM_S390, true) => (2 + 15, 2 + 16),
        (elf::EM_LOONGARCH, true) => (3, 45),
        (elf::EM_MIPS, true) => (29, 45),
        // Behind six words of padding.
        (elf::EM_MIPS, false) => (6 + 29, 45),
        _ => (0, 0),
    };
    let registers: Vec<u64> = (0..count).map_while(|index| number(registers + index * size, size)).collect();
    let stack_pointer = registers.get(index).copied();
    Some(Thread { id: u32::try_from(id).ok()?, stack_pointer, registers })
}

/// `struct elf_prpsinfo`: the process's id, and its program's name.
fn process(bytes: &[u8], layout: Layout, notes: &mut Notes) {
    // With 32 bits, some machines have user ids of two bytes, and some of four.
    let (pid, name) = match (layout.pointer_size, bytes.len()) {
        (8, 136..) => (24, 40),
        (4, 124..=127) => (12, 28),
        (4, 128..) => (16, 32),
        _ => return,
    };
    notes.pid = u32::try_from(layout.number(&bytes[pid..][..4])).ok();
    let name = bytes[name..][..16].split(|byte| *byte == 0).next().unwrap_or_default();
    notes.program = (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned());
}

/// NT_FILE: a count, the unit of offsets, then start, end and offset of each mapping, then their paths.
fn files(bytes: &[u8], layout: Layout) -> Option<Vec<MappedFile>> {
    let size = usize::from(layout.pointer_size);
    let word = |index: usize| Some(layout.number(bytes.get(index.checked_mul(size)?..)?.get(..size)?));
    let (count, unit) = (usize::try_from(word(0)?).ok()?, word(1)?);
    // So many words must be there before anything is reserved for them.
    let names = count.checked_mul(3)?.checked_add(2)?.checked_mul(size)?;
    let mut names = bytes.get(names..)?.split(|byte| *byte == 0);
    let mut files = Vec::with_capacity(count);
    for index in 0..count {
        let (start, end, offset) = (word(2 + 3 * index)?, word(3 + 3 * index)?, word(4 + 3 * index)?);
        let offset = offset.checked_mul(unit)?;
        files.push(MappedFile { range: AddressRange::new(start, end), offset, path: names.next()?.to_vec() });
    }

    files.sort_by_key(|file| file.range.start);
    let mut covered = 0;
    files.retain_mut(|file| {
        let start = file.range.start.max(covered);
        if start >= file.range.end {
            return false;
        }
        file.offset = file.offset.saturating_add(start - file.range.start);
        file.range.start = start;
        covered = file.range.end;
        true
    });
    Some(files)
}
