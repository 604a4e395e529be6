//! Real libraries.

use crate::objdump::Disassembly;
use crate::search::{How, Image};
use ::analysis::xrefs::Kind;
use object::elf::{SHT_DYNSYM, STT_FUNC};
use std::collections::BTreeSet;
use std::path::Path;
use target::AddressRange;

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6";

/// Every so many functions of the library's.
fn functions(image: &Image, step: usize) -> Vec<AddressRange> {
    let file = image.elf();
    let symbols = file.symbols(SHT_DYNSYM).unwrap();
    let functions = symbols.iter().filter(|(_, symbol)| symbol.is_place() && symbol.kind == STT_FUNC);
    functions.map(|(_, symbol)| AddressRange::sized(symbol.value, symbol.size.max(1))).step_by(step).collect()
}

#[test]
fn a_library_has_the_references_that_objdump_shows() {
    let image = Image::read(Path::new(LIBRARY));
    let text = Disassembly::of(Path::new(LIBRARY));
    let mut most = 0;
    for range in functions(&image, 300) {
        let target = [image.range(0, AddressRange::sized(range.start, 1))];
        let found = image.references(0, &target, How::Scan(256 << 10));
        let code: BTreeSet<(u64, Kind)> = found
            .iter()
            .filter(|reference| reference.kind != Kind::Pointer)
            .map(|reference| (reference.address, reference.kind))
            .collect();
        assert_eq!(code, text.references_to(&target[0], true), "references to {range}");
        most = most.max(code.len());
    }
    assert!(most > 10, "no function that is called often was among them");
}

#[test]
fn what_is_found_fast_is_what_is_found_by_decoding_everything() {
    let image = Image::read(Path::new(LIBRARY));
    for (number, range) in functions(&image, 700).into_iter().enumerate() {
        // Whole functions, their beginnings, and wide ranges.
        let range = match number % 3 {
            0 => range,
            1 => AddressRange::sized(range.start, 1),
            _ => AddressRange::sized(range.start, 20_000),
        };
        let target = [image.range(0, range)];
        let found = image.references(0, &target, How::Scan(100_000));
        assert_eq!(found, image.references(0, &target, How::Sweep), "references to {range}");
    }
}
