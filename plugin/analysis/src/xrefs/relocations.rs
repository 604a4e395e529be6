//! What the dynamic linker writes where, from the relocation tables that are loaded with a file.

use super::elf::{Elf, Entry, Part};
use object::ReadRef;
use object::elf::{self, RelocationType};

/// What is written to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// An address of the file itself.
    Own(u64),
    /// A symbol's address and so many bytes more.
    Symbol(usize, u64),
    /// What a function of the file at that address returns.
    Chosen(u64),
    /// What the symbol has in another module: from then on its place is here.
    Copy(usize),
    /// Where a thread has a variable of its own: that symbol, or none for one of the file itself, and so many bytes more.
    ThreadLocal(usize, u64),
}

/// A relocation of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    pub place: u64,
    pub value: Value,
    /// Whether the place is, by its kind, a slot of the global offset table.
    pub slot: bool,
}

/// A machine's relocations of a whole word.
struct Types {
    relative: RelocationType,
    absolute: RelocationType,
    /// Of a slot for data and one for a function, where they are of a type of their own.
    slots: [RelocationType; 2],
    copy: RelocationType,
    chosen: RelocationType,
    /// Of what code finds a thread's own variables by: an offset from the thread pointer; the module and, in the word behind it,
    /// the offset there; a function that knows.
    thread_local: Option<[RelocationType; 3]>,
}

impl Types {
    fn of(machine: elf::Machine, large: bool) -> Option<Self> {
        let sized = |small, other| if large { other } else { small };
        let [relative, absolute, data, function, copy, chosen] = match machine {
            elf::EM_X86_64 => [
                elf::R_X86_64_RELATIVE,
                sized(elf::R_X86_64_32, elf::R_X86_64_64),
                elf::R_X86_64_GLOB_DAT,
                elf::R_X86_64_JUMP_SLOT,
                elf::R_X86_64_COPY,
                elf::R_X86_64_IRELATIVE,
            ],
            elf::EM_386 => [
                elf::R_386_RELATIVE,
                elf::R_386_32,
                elf::R_386_GLOB_DAT,
                elf::R_386_JMP_SLOT,
                elf::R_386_COPY,
                elf::R_386_IRELATIVE,
            ],
            elf::EM_AARCH64 => [
                elf::R_AARCH64_RELATIVE,
                elf::R_AARCH64_ABS64,
                elf::R_AARCH64_GLOB_DAT,
                elf::R_AARCH64_JUMP_SLOT,
                elf::R_AARCH64_COPY,
                elf::R_AARCH64_IRELATIVE,
            ],
            elf::EM_ARM => [
                elf::R_ARM_RELATIVE,
                elf::R_ARM_ABS32,
                elf::R_ARM_GLOB_DAT,
                elf::R_ARM_JUMP_SLOT,
                elf::R_ARM_COPY,
                elf::R_ARM_IRELATIVE,
            ],
            elf::EM_RISCV => [
                elf::R_RISCV_RELATIVE,
                sized(elf::R_RISCV_32, elf::R_RISCV_64),
                elf::R_RISCV_JUMP_SLOT,
                elf::R_RISCV_JUMP_SLOT,
                elf::R_RISCV_COPY,
                elf::R_RISCV_IRELATIVE,
            ],
            elf::EM_PPC | elf::EM_PPC64 => [
                elf::R_PPC_RELATIVE,
                sized(elf::R_PPC_ADDR32, elf::R_PPC64_ADDR64),
                elf::R_PPC_GLOB_DAT,
                elf::R_PPC_JMP_SLOT,
                elf::R_PPC_COPY,
                elf::R_PPC_IRELATIVE,
            ],
            elf::EM_S390 => [
                elf::R_390_RELATIVE,
                sized(elf::R_390_32, elf::R_390_64),
                elf::R_390_GLOB_DAT,
                elf::R_390_JMP_SLOT,
                elf::R_390_COPY,
                elf::R_390_IRELATIVE,
            ],
            elf::EM_LOONGARCH => [
                elf::R_LARCH_RELATIVE,
                sized(elf::R_LARCH_32, elf::R_LARCH_64),
                elf::R_LARCH_JUMP_SLOT,
                elf::R_LARCH_JUMP_SLOT,
                elf::R_LARCH_COPY,
                elf::R_LARCH_IRELATIVE,
            ],
            _ => return None,
        };
        let thread_local = (machine == elf::EM_X86_64).then_some([
            elf::R_X86_64_TPOFF64,
            elf::R_X86_64_DTPMOD64,
            elf::R_X86_64_TLSDESC,
        ]);
        Some(Self { relative, absolute, slots: [data, function], copy, chosen, thread_local })
    }
}

/// Calls `found` with the relocations that begin in `range`, offsets into the table `part`. One of kind `SHT_RELR` is of
/// a piece: all of it begins at its first byte. A table that is not loaded, and what is no relocation of a word, are left out.
///
/// # Errors
/// If the table reaches beyond the end of the file, or is of a machine whose relocations are not known.
pub fn relocations<'a, R: ReadRef<'a>>(
    file: &Elf<R>,
    part: &Part,
    range: std::ops::Range<u64>,
    mut found: impl FnMut(Relocation),
) -> Result<(), String> {
    let size = file.entry_size(part).filter(|_| part.is_loaded());
    let Some(size) = size.map(|size| size as u64) else { return Ok(()) };
    if part.kind == elf::SHT_RELR {
        if range.start == 0 {
            for place in file.relr(file.bytes(part)?) {
                if let Some(value) = file.word_at(place) {
                    found(Relocation { place, value: Value::Own(value), slot: false });
                }
            }
        }
        return Ok(());
    }
    let types = Types::of(file.machine, file.large)
        .ok_or_else(|| format!("relocations of machine {} are not known", file.machine.0))?;
    let start = range.start.div_ceil(size) * size;
    let end = (range.end.min(part.size).div_ceil(size) * size).min(part.size / size * size);
    if start >= end {
        return Ok(());
    }
    for entry in file.entries(part, file.bytes_in(part, start, end)?) {
        if let Some(relocation) = relocation(file, &types, entry) {
            found(relocation);
        }
    }
    Ok(())
}

fn relocation<'a, R: ReadRef<'a>>(file: &Elf<R>, types: &Types, entry: Entry) -> Option<Relocation> {
    let Entry { place, kind, symbol, .. } = entry;
    let thread_local = types.thread_local.is_some_and(|kinds| kinds.contains(&kind));
    let slot = thread_local || types.slots.contains(&kind);
    let addend = || entry.addend.or_else(|| file.word_at(place));
    let value = match kind {
        kind if kind == types.relative => Value::Own(addend()?),
        kind if kind == types.chosen => Value::Chosen(addend()?),
        kind if kind == types.absolute => Value::Symbol(symbol, addend()?),
        kind if kind == types.copy => Value::Copy(symbol),
        // The linker has written the offset if it knows it. If that is none, all of the module's variables are found by it.
        elf::R_X86_64_DTPMOD64 if thread_local && symbol == 0 => {
            Value::ThreadLocal(symbol, file.word_at(place.wrapping_add(8)).filter(|offset| *offset > 0)?)
        }
        elf::R_X86_64_DTPMOD64 if thread_local => Value::ThreadLocal(symbol, 0),
        _ if thread_local => Value::ThreadLocal(symbol, addend()?),
        // What such a slot holds in the file is where its stub goes on the first time.
        _ if slot => Value::Symbol(symbol, 0),
        _ => return None,
    };
    Some(Relocation { place, value, slot })
}
