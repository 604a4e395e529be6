//! What the stubs of the procedure linkage table (PLT) are of: no symbol table names them.

use super::elf::{Elf, Part};
use super::instruction::{self, Use};
use super::relocations::{Value, relocations};
use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use object::{ReadRef, elf};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// No stub is longer, in bytes: the instruction that jumps, what is pushed before that, and padding.
const LONGEST: u64 = 16;

/// A stub that jumps to a function of another module, or of this one by way of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub<'a> {
    pub range: Range<u64>,
    /// The function's, as it is in the dynamic symbol table.
    pub name: &'a [u8],
}

/// The sections of a file that have stubs. Only x86-64's are known.
pub(super) fn sections<R>(file: &Elf<R>) -> impl Iterator<Item = &Part> {
    file.parts.iter().filter(|part| file.machine == elf::EM_X86_64 && part.is_plt())
}

/// Calls `visit` for each instruction of a section of stubs that jumps to where a word says, or reads it: with where its stub begins, and with
/// the address of the word.
///
/// # Errors
/// If the file lacks the section's bytes.
pub(super) fn each<'a, R: ReadRef<'a>>(
    file: &Elf<R>,
    part: &Part,
    mut visit: impl FnMut(u64, u64),
) -> Result<(), String> {
    let mut decoder = Decoder::with_ip(64, file.bytes(part)?, part.address, DecoderOptions::MPX);
    let mut begins = None;
    while decoder.can_decode() {
        let instruction = decoder.decode();
        // A stub may begin with a mark that it may be jumped to.
        let start = begins.take().unwrap_or(instruction.ip());
        if instruction.mnemonic() == Mnemonic::Endbr64 {
            begins = Some(instruction.ip());
        }
        instruction::addresses(&instruction, file.fixed, |address, used| {
            if matches!(used, Use::JumpAt | Use::Mention) {
                visit(start, address);
            }
        });
    }
    Ok(())
}

/// The stubs of those sections of a file in which `wanted` has an address, in ascending order within each.
///
/// # Errors
/// If a table that tells of them is damaged; a fragment that says which.
pub fn stubs<'a, R: ReadRef<'a>>(file: &Elf<R>, wanted: impl Fn(&Range<u64>) -> bool) -> Result<Vec<Stub<'a>>, String> {
    let in_memory = |part: &Part| part.address..part.address.saturating_add(part.size);
    let parts: Vec<&Part> = sections(file).filter(|part| wanted(&in_memory(part))).collect();
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let mut slots: FxHashMap<u64, usize> = FxHashMap::default();
    for table in file.parts.iter().filter(|part| part.is_loaded() && file.entry_size(part).is_some()) {
        relocations(file, table, 0..table.size, |relocation| {
            if let (true, Value::Symbol(symbol, _)) = (relocation.slot, relocation.value) {
                slots.insert(relocation.place, symbol);
            }
        })?;
    }
    let symbols = file.symbols(elf::SHT_DYNSYM)?;
    let mut stubs: Vec<Stub<'a>> = Vec::new();
    for part in parts {
        let first = stubs.len();
        each(file, part, |start, slot| {
            let symbol = slots.get(&slot).and_then(|index| symbols.get(*index));
            let name = symbol.map(|symbol| symbols.name(&symbol)).filter(|name| !name.is_empty());
            stubs.extend(name.map(|name| Stub { range: start..start.saturating_add(LONGEST), name }));
        })?;
        // One ends where the next one begins, and the last one with its section.
        let mut end = in_memory(part).end;
        for stub in stubs[first..].iter_mut().rev() {
            stub.range.end = stub.range.end.min(end);
            end = stub.range.start;
        }
    }
    Ok(stubs)
}
