//! A search through a whole file, at once.

use ::analysis::xrefs::{
    Boundaries, Code, Elf, Kinds, Known, Linkage, Named, Reference, Target, code_symbols, holds_pointers, names,
    relocated, scan, sweep, words,
};
use object::elf::{SHT_DYNSYM, SHT_SYMTAB, STT_OBJECT};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use target::AddressRange;

/// How code is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In tasks of so many bytes.
    Scan(u64),
    /// By decoding every instruction.
    Sweep,
}

/// A file in memory.
pub struct Image {
    bytes: Vec<u8>,
}

impl Image {
    pub fn read(path: &Path) -> Self {
        Self { bytes: fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn elf(&self) -> Elf<&[u8]> {
        Elf::parse(&self.bytes[..]).unwrap()
    }

    /// The address and size of a symbol, and whether it is a variable.
    pub fn symbol(&self, name: &str) -> Option<(u64, u64, bool)> {
        let file = self.elf();
        let tables = [SHT_SYMTAB, SHT_DYNSYM].map(|kind| file.symbols(kind).unwrap());
        let mut all = tables.iter().flat_map(|table| table.iter().map(move |(_, symbol)| (table, symbol)));
        let (_, symbol) = all.find(|(table, symbol)| symbol.is_place() && table.is_named(symbol, name.as_bytes()))?;
        Some((symbol.value, symbol.size, symbol.kind == STT_OBJECT))
    }

    pub fn address(&self, name: &str) -> u64 {
        self.symbol(name).unwrap_or_else(|| panic!("no symbol {name}")).0
    }

    /// A symbol as a target, in this file as the module of that number: all of a variable, the beginning of anything else.
    pub fn target(&self, module: usize, name: &str) -> Named {
        let (address, size, variable) = self.symbol(name).unwrap_or_else(|| panic!("no symbol {name}"));
        self.range(module, AddressRange::sized(address, if variable { size.max(1) } else { 1 }))
    }

    pub fn range(&self, module: usize, range: AddressRange) -> Named {
        self.named(Target::Place { module, range })
    }

    /// A variable that each thread has of its own, as a target, in this file as the module of that number.
    pub fn thread_local(&self, module: usize, name: &str) -> Named {
        let file = self.elf();
        let symbols = file.symbols(SHT_SYMTAB).unwrap();
        let mut all = symbols.iter().map(|(_, symbol)| symbol).filter(|symbol| symbol.is_thread_local());
        let symbol = all.find(|symbol| symbols.is_named(symbol, name.as_bytes()));
        let symbol = symbol.unwrap_or_else(|| panic!("no symbol {name}"));
        self.named(Target::ThreadLocal { module, range: AddressRange::sized(symbol.value, symbol.size) })
    }

    fn named(&self, target: Target) -> Named {
        Named { names: names(&self.elf(), &target).unwrap(), target }
    }

    /// All references to `targets` in this file, as the module of that number.
    pub fn references(&self, module: usize, targets: &[Named], how: How) -> BTreeSet<Reference> {
        self.try_references(module, targets, how).expect("the file is whole")
    }

    /// As [`references`](Self::references); `None` if the file is refused. Sections that cannot be read are left out.
    pub fn try_references(&self, module: usize, targets: &[Named], how: How) -> Option<BTreeSet<Reference>> {
        let file = Elf::parse(&self.bytes[..]).ok()?;
        let linkage = Linkage::new(&file, module, targets).unwrap_or_else(|_| Linkage::direct(&file, module, targets));
        let known = Known::default();
        let boundaries = Boundaries::new(&file, || code_symbols([file.clone()]), &known);
        let mut found = BTreeSet::new();
        for part in &file.parts {
            if part.is_code() && !part.is_plt() {
                let Ok(bytes) = file.bytes(part) else { continue };
                let section = part.address..part.address + part.size;
                match how {
                    How::Sweep => {
                        let code = Code { bytes, address: section.start, section };
                        found.extend(sweep(&code, &linkage, &boundaries, Kinds::ALL));
                    }
                    How::Scan(size) => {
                        let mut start = section.start;
                        while start < section.end {
                            let within = AddressRange::new(start, section.end.min(start + size));
                            let needed = Code::needed(within, &section, &boundaries);
                            let offset = |address: u64| (address - section.start) as usize;
                            let bytes = &bytes[offset(needed.start)..offset(needed.end)];
                            let code = Code { bytes, address: needed.start, section: section.clone() };
                            let (some, reached) = scan(&code, within, &linkage, &boundaries, Kinds::ALL, &|| false);
                            assert_eq!(reached, within.end);
                            assert!(some.iter().all(|reference| within.contains(reference.address)));
                            found.extend(some);
                            start = within.end;
                        }
                    }
                }
            }
            found.extend(relocated(&file, part, 0..part.size, &linkage, targets).into_iter().flatten());
            if file.fixed && holds_pointers(part) {
                found.extend(words(&file, part, 0..part.size, &linkage).into_iter().flatten());
            }
        }
        Some(found)
    }
}
