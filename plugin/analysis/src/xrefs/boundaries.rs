//! Where instructions are known to begin: at the beginnings of functions.

use super::elf::{Elf, Part, Symbol};
use crate::dwarf::FrameTable;
use gimli::{BaseAddresses, EhFrame, EndianSlice, RunTimeEndian, UnwindSection as _};
use object::{Endianness, ReadRef, elf};
use std::cell::OnceCell;
use std::ops::Range;

/// Decoding begins anew after this many bytes, however long a function is.
const STRETCH: u64 = 1 << 20;

/// Where decoding begins anew, it does so this much earlier: wherever it begins, after a few instructions it is in step with
/// the true ones.
const RUN_UP: u64 = 256;

type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// What is kept of a file's boundaries from one task to the next.
#[derive(Debug, Default)]
pub struct Known {
    /// Whether the table of functions is in ascending order; a damaged one may not be.
    ascending: OnceCell<bool>,
    /// The functions that .eh_frame describes, `start..end` in ascending order, where there is no table of them.
    frames: OnceCell<Vec<(u64, u64)>>,
    /// The addresses of symbols in code, in ascending order.
    symbols: OnceCell<Vec<u64>>,
}

/// What a file says of where its functions are: the frame descriptions (.eh_frame), which even a stripped file has, and
/// its symbols for what they leave out.
pub struct Boundaries<'a> {
    known: &'a Known,
    table: FrameTable<'a>,
    frames: Option<EhFrame<Slice<'a>>>,
    bases: BaseAddresses,
    symbols: Box<dyn Fn() -> Vec<u64> + 'a>,
}

/// Instructions that follow on one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where one of them is taken to begin.
    pub from: u64,
    /// Those that begin here are the stretch's.
    pub range: Range<u64>,
}

impl<'a> Boundaries<'a> {
    /// Of a file. `symbols` gives the addresses of its symbols in code; it is asked at most once, if they are needed. What is
    /// damaged leaves fewer beginnings known.
    pub fn new<R: ReadRef<'a>>(file: &Elf<R>, symbols: impl Fn() -> Vec<u64> + 'a, known: &'a Known) -> Self {
        let section = |name| {
            let part = file.named(name).filter(|part| part.is_loaded())?;
            Some((part.address, file.bytes(part).ok()?))
        };
        let mut bases = BaseAddresses::default();
        let frames = section(".eh_frame").map(|(address, bytes)| {
            bases = std::mem::take(&mut bases).set_eh_frame(address);
            let mut frames = EhFrame::new(
                bytes,
                match file.endian {
                    Endianness::Little => RunTimeEndian::Little,
                    Endianness::Big => RunTimeEndian::Big,
                },
            );
            frames.set_address_size(file.pointer() as u8);
            frames
        });
        let table = section(".eh_frame_hdr").and_then(|(address, bytes)| FrameTable::new(address, bytes, file.endian));
        Self { known, table: table.unwrap_or_default(), frames, bases, symbols: Box::new(symbols) }
    }

    /// The stretch of instructions that `address` lies in, in a section of code.
    pub fn stretch(&self, address: u64, section: &Range<u64>) -> Stretch {
        let function = self.function(address, section);
        let begun = (address - function.start) / STRETCH * STRETCH;
        let start = function.start + begun;
        let from = if begun == 0 { start } else { start - RUN_UP };
        Stretch { from, range: start..function.end.min(start.saturating_add(STRETCH)) }
    }

    fn function(&self, address: u64, section: &Range<u64>) -> Range<u64> {
        let (described, next) = self.described(address);
        let next = next.unwrap_or(u64::MAX).clamp(address + 1, section.end);
        let start = match described {
            Some((start, end)) if address < end => return start.max(section.start)..end.min(next),
            Some((_, end)) => end.max(section.start),
            None => section.start,
        };
        // Between two functions that are described there may be others that are not.
        let symbols = self.known.symbols.get_or_init(|| (self.symbols)());
        let after = symbols.partition_point(|symbol| *symbol <= address);
        let before = after.checked_sub(1).map_or(start, |index| symbols[index].max(start));
        before..symbols.get(after).map_or(next, |symbol| next.min(*symbol))
    }

    /// The last described function that begins at or before `address`, and where the one after it begins.
    fn described(&self, address: u64) -> (Option<(u64, u64)>, Option<u64>) {
        let usable = || !self.table.is_empty() && self.table.is_ascending();
        if !self.known.ascending.get_or_init(usable) {
            let listed = self.known.frames.get_or_init(|| self.list());
            let after = listed.partition_point(|(start, _)| *start <= address);
            return (after.checked_sub(1).map(|index| listed[index]), listed.get(after).map(|(start, _)| *start));
        }
        let (row, next) = self.table.around(address);
        let next = next.map(|row| row.function);
        let described = row.map(|row| {
            let start = row.function;
            let end = self.end(row.description).unwrap_or_else(|| next.unwrap_or(u64::MAX));
            (start, end.max(start))
        });
        (described.filter(|(start, _)| *start <= address), next)
    }

    /// Where the function ends whose description is at that address.
    fn end(&self, description: u64) -> Option<u64> {
        let offset = description.checked_sub(self.bases.eh_frame.section?)?;
        let offset = usize::try_from(offset).ok()?;
        let frames = self.frames.as_ref()?;
        let fde = frames.fde_from_offset(&self.bases, offset.into(), EhFrame::cie_from_offset).ok()?;
        fde.initial_address().checked_add(fde.len())
    }

    /// All functions that .eh_frame describes, up to what is malformed in it.
    fn list(&self) -> Vec<(u64, u64)> {
        let Some(frames) = &self.frames else { return Vec::new() };
        let mut entries = frames.entries(&self.bases);
        let mut listed = Vec::new();
        while let Ok(Some(entry)) = entries.next() {
            let gimli::CieOrFde::Fde(partial) = entry else { continue };
            if let Ok(fde) = partial.parse(EhFrame::cie_from_offset) {
                listed.push((fde.initial_address(), fde.initial_address().saturating_add(fde.len())));
            }
        }
        listed.sort_unstable();
        listed
    }
}

impl std::fmt::Debug for Boundaries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Boundaries").field("known", self.known).finish_non_exhaustive()
    }
}

/// The addresses of the symbols in code that the files of a module have, in ascending order.
pub fn code_symbols<'a, R: ReadRef<'a>>(files: impl IntoIterator<Item = Elf<R>>) -> Vec<u64> {
    let mut found = Vec::new();
    for file in files {
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let Ok(symbols) = file.symbols(kind) else { continue };
            let in_code = |symbol: &Symbol| {
                let part = file.parts.get(usize::from(symbol.section.0));
                symbol.is_place() && part.is_some_and(Part::is_executable)
            };
            found.extend(symbols.iter().map(|(_, symbol)| symbol).filter(in_code).map(|symbol| symbol.value));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
