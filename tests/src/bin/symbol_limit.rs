//! How fast the work of the symbol commands can be done here at all: a bare program over object, gimli, addr2line, iced-x86 and
//! rayon, which prints nothing but counts. It is what `scripts/bench symbols` measures mp-scan against.
//!
//!     symbol-limit THREADS FILE (symbols REGEX | types REGEX | all-types | lines REGEX | lookup ADDRESSES | xrefs ADDRESS)
//!
//! ADDRESSES is a file with one hexadecimal file address a line.

use addr2line::Context;
use gimli::{Dwarf, EndianSlice, LittleEndian, UnitHeader};
use memmap2::Mmap;
use object::{Object, ObjectSection, ObjectSymbol, ObjectSymbolTable};
use rayon::prelude::*;
use regex_automata::meta::Regex;
use std::collections::HashMap;
use std::fs::File;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Header<'a> = UnitHeader<Slice<'a>>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [threads, path, what, rest @ ..] = &arguments[..] else { panic!("THREADS FILE WHAT …") };
    let threads = threads.parse().expect("a number of threads");
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads");
    let file = File::open(path).expect("the file opens");
    // SAFETY: nobody writes to the file while a measurement runs.
    let map = unsafe { Mmap::map(&file) }.expect("the file maps");
    let object = object::File::parse(&*map).expect("an object file");
    let argument = || rest.first().expect("an argument").as_str();
    let regex = || Regex::new(argument()).expect("a regex");
    let count = match what.as_str() {
        "symbols" => symbols(&object, &regex()),
        "types" => types(&object, Some(&regex())),
        "all-types" => types(&object, None),
        "lines" => lines(&object, &regex()),
        "lookup" => lookup(&object, argument()),
        "xrefs" => xrefs(&object, u64::from_str_radix(argument().trim_start_matches("0x"), 16).expect("an address")),
        _ => panic!("unknown work"),
    };
    println!("{count}");
}

/// Demangles all names and matches them.
fn symbols(object: &object::File<'_>, regex: &Regex) -> usize {
    let tables = [object.symbol_table(), object.dynamic_symbol_table()].into_iter().flatten();
    let names: Vec<&str> =
        tables.flat_map(|table| table.symbols().collect::<Vec<_>>()).filter_map(|symbol| symbol.name().ok()).collect();
    let matches = |name: &&str| match rustc_demangle::try_demangle(name) {
        Ok(rust) => regex.is_match(&format!("{rust:#}")),
        Err(_) if name.starts_with("_Z") => {
            let cpp = cpp_demangle::Symbol::new(*name).ok().and_then(|symbol| symbol.demangle().ok());
            regex.is_match(cpp.as_deref().unwrap_or(name))
        }
        Err(_) => regex.is_match(*name),
    };
    names.par_iter().filter(|name| matches(name)).count()
}

fn dwarf<'a>(object: &'a object::File<'a>) -> Dwarf<Slice<'a>> {
    let load = |id: gimli::SectionId| -> Result<Slice<'a>, gimli::Error> {
        let section = object.section_by_name(id.name());
        let data = section.and_then(|section| section.uncompressed_data().ok()).unwrap_or_default();
        // What was inflated lives to the end of the program.
        let data: &'a [u8] = match data {
            std::borrow::Cow::Borrowed(data) => data,
            std::borrow::Cow::Owned(data) => data.leak(),
        };
        Ok(EndianSlice::new(data, LittleEndian))
    };
    Dwarf::load(load).expect("debug sections")
}

fn headers<'a>(dwarf: &Dwarf<Slice<'a>>) -> Vec<Header<'a>> {
    let mut headers = Vec::new();
    let mut units = dwarf.units();
    while let Ok(Some(header)) = units.next() {
        headers.push(header);
    }
    headers
}

/// The entries that define types.
const KINDS: [gimli::DwTag; 5] = [
    gimli::DW_TAG_structure_type,
    gimli::DW_TAG_class_type,
    gimli::DW_TAG_union_type,
    gimli::DW_TAG_enumeration_type,
    gimli::DW_TAG_typedef,
];

/// Walks all entries; counts the defined types whose name matches, or makes all of them one by name and size and sorts them.
fn types(object: &object::File<'_>, regex: Option<&Regex>) -> usize {
    let dwarf = dwarf(object);
    let found: Vec<HashMap<&[u8], u64>> = headers(&dwarf)
        .into_par_iter()
        .map(|header| {
            let mut types = HashMap::new();
            let Ok(unit) = dwarf.unit(header) else { return types };
            let Ok(mut entries) = unit.entries_raw(None) else { return types };
            while !entries.is_empty() {
                let Ok(abbreviation) = entries.read_abbreviation() else { return types };
                let Some(abbreviation) = abbreviation else { continue };
                if !KINDS.contains(&abbreviation.tag()) {
                    if entries.skip_attributes(abbreviation.attributes()).is_err() {
                        return types;
                    }
                    continue;
                }
                let (mut name, mut size, mut declared) = (None, 0, false);
                for specification in abbreviation.attributes() {
                    let Ok(attribute) = entries.read_attribute(*specification) else { return types };
                    match attribute.name() {
                        gimli::DW_AT_name => name = dwarf.attr_string(&unit, attribute.value()).ok(),
                        gimli::DW_AT_byte_size => size = attribute.udata_value().unwrap_or(0),
                        gimli::DW_AT_declaration => declared = true,
                        _ => {}
                    }
                }
                let Some(name) = name.map(|name| name.slice()).filter(|_| !declared) else { continue };
                if regex.is_none_or(|regex| regex.is_match(name)) {
                    types.insert(name, size);
                }
            }
            types
        })
        .collect();
    let mut all: HashMap<&[u8], u64> = HashMap::new();
    found.into_iter().for_each(|types| all.extend(types));
    let mut sorted: Vec<_> = all.into_iter().collect();
    sorted.sort_unstable_by_key(|(_, size)| std::cmp::Reverse(*size));
    sorted.len()
}

/// Runs the line programs of the units that have a file whose path matches.
fn lines(object: &object::File<'_>, regex: &Regex) -> usize {
    let dwarf = dwarf(object);
    let rows = headers(&dwarf).into_par_iter().map(|header| {
        let Ok(unit) = dwarf.unit(header) else { return 0 };
        let Some(program) = unit.line_program.clone() else { return 0 };
        let names = program.header().file_names();
        let matches: Vec<bool> = names
            .iter()
            .map(|file| {
                let name = dwarf.attr_string(&unit, file.path_name());
                name.is_ok_and(|name| regex.is_match(name.slice()))
            })
            .collect();
        if !matches.contains(&true) {
            return 0;
        }
        let first = u64::from(program.header().version() < 5);
        let mut rows = program.rows();
        let mut count = 0;
        while let Ok(Some((_, row))) = rows.next_row() {
            let file = row.file_index().checked_sub(first).and_then(|file| matches.get(file as usize));
            count += usize::from(file == Some(&true));
        }
        count
    });
    rows.sum()
}

/// Looks up the inlined frames of each address.
fn lookup(object: &object::File<'_>, addresses: &str) -> usize {
    let text = std::fs::read_to_string(addresses).expect("addresses");
    let address = |line: &str| u64::from_str_radix(line.trim_start_matches("0x"), 16).ok();
    let mut addresses: Vec<u64> = text.lines().filter_map(address).collect();
    addresses.sort_unstable();
    let share = addresses.len().div_ceil(rayon::current_num_threads()).max(1);
    let frames = addresses.par_chunks(share).map(|addresses| {
        let context = Context::from_dwarf(dwarf(object)).expect("debug info");
        let mut count = 0;
        for address in addresses {
            let Ok(mut frames) = context.find_frames(*address).skip_all_loads() else { continue };
            while let Ok(Some(frame)) = frames.next() {
                count += usize::from(frame.function.is_some());
            }
        }
        count
    });
    frames.sum()
}

/// Decodes all code, and counts the instructions that refer to an address.
fn xrefs(object: &object::File<'_>, target: u64) -> usize {
    const CHUNK: usize = 256 << 10;
    let text = object.section_by_name(".text").expect("code");
    let data = text.data().expect("code");
    let chunks = data.par_chunks(CHUNK).enumerate().map(|(index, chunk)| {
        let address = text.address() + (index * CHUNK) as u64;
        let mut decoder = iced_x86::Decoder::with_ip(64, chunk, address, iced_x86::DecoderOptions::NONE);
        let mut instruction = iced_x86::Instruction::default();
        let mut count = 0;
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            let branch = instruction.near_branch_target() == target;
            count += usize::from(
                branch || (instruction.is_ip_rel_memory_operand() && instruction.ip_rel_memory_address() == target),
            );
        }
        count
    });
    chunks.sum()
}
