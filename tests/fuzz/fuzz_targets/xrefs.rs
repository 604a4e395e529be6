//! Files whose code, relocations and stubs are searched: damaged or not, the fast search finds what decoding everything finds.

#![no_main]

use analysis::xrefs::{
    Boundaries, Code, Elf, Kinds, Known, Linkage, Name, Named, Target, code_symbols, holds_pointers, names, relocated, scan,
    sweep, words,
};
use libfuzzer_sys::fuzz_target;
use target::AddressRange;

fuzz_target!(|input: (u64, u16, &[u8])| {
    let (start, length, bytes) = input;
    let Ok(file) = Elf::parse(bytes) else { return };
    let range = AddressRange::sized(start % (1 << 24), u64::from(length) + 1);
    let named = |target: Target| Named { names: names(&file, &target).unwrap_or_default(), target };
    let outside = Name { name: b"library_step".to_vec(), version: None, address: 0 };
    let targets = [
        named(Target::Place { module: 0, range }),
        named(Target::ThreadLocal { module: 0, range: AddressRange::sized(start % (1 << 10), u64::from(length) + 1) }),
        Named { target: Target::Outside(outside.name.clone()), names: vec![outside] },
    ];
    let linkage = Linkage::new(&file, 0, &targets).unwrap_or_else(|_| Linkage::direct(&file, 0, &targets));
    let known = Known::default();
    let boundaries = Boundaries::new(&file, || code_symbols([file.clone()]), &known);
    for part in &file.parts {
        let _ = relocated(&file, part, 0..part.size, &linkage, &targets);
        if holds_pointers(part) {
            let _ = words(&file, part, 0..part.size, &linkage);
        }
        let (true, Ok(bytes)) = (part.is_code() && part.size > 0, file.bytes(part)) else { continue };
        let section = part.address..part.address + part.size;
        let within = AddressRange::new(section.start, section.end);
        let code = Code { bytes, address: section.start, section };
        let (found, reached) = scan(&code, within, &linkage, &boundaries, Kinds::ALL, &|| false);
        assert_eq!(reached, within.end);
        assert_eq!(found, sweep(&code, &linkage, &boundaries, Kinds::ALL));
    }
});
