//! The stubs of the PLT have the names that objdump gives them, and gdb.

use crate::build::Build;
use crate::search::{look_up, search_for};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Where stubs begin, and their names, as objdump disassembles them.
fn of_objdump(program: &Path) -> BTreeMap<u64, String> {
    let output = Command::new("objdump").args(["-d", "-C"]).arg(program).output().expect("objdump runs: binutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let stub = |line: &str| {
        let (address, name) = line.split_once(" <")?;
        let name = name.strip_suffix(">:").filter(|name| name.ends_with("@plt") && !name.starts_with("*ABS*"))?;
        Some((u64::from_str_radix(address, 16).ok()?, name.to_owned()))
    };
    text.lines().filter_map(stub).collect()
}

#[test]
fn stubs_have_the_names_that_objdump_shows() {
    let build = Build::new();
    for (compiler, options) in [
        ("gcc", ""),
        ("gcc", "-no-pie -fno-pie"),
        ("gcc", "-fcf-protection -Wl,-z,ibtplt"),
        ("g++", "-Wl,-z,lazy"),
        ("g++", "-Wl,-z,now"),
        ("clang++-22", "-fuse-ld=lld"),
        ("g++", "-s"),
    ] {
        let source = if compiler == "gcc" { "lookup.c" } else { "symbols.cpp" };
        let program = build.compile(compiler, source, "program", &format!("-O1 {options}"));
        let expected = of_objdump(&program);
        assert!(expected.len() > 1, "{compiler} {options}: {expected:?}");
        let addresses: Vec<u64> = expected.keys().flat_map(|start| [*start, start + 4]).collect();
        let (rows, skipped) = look_up(&program, &addresses, 1 << 20);
        assert_eq!(skipped, []);
        let (demangled, _) = search_for(&program, &addresses, Default::default(), 100);
        let offsets = rows.iter().map(|row| row.offset);
        assert!(offsets.eq(expected.keys().flat_map(|_| [Some(0), Some(4)])), "{compiler} {options}: {rows:?}");
        let names: Vec<&str> = demangled.iter().step_by(2).map(|row| row.symbol.as_deref().unwrap_or("?")).collect();
        assert!(names.iter().eq(expected.values()), "{compiler} {options}: {names:?} for {expected:?}");
    }
}

#[test]
fn stubs_of_a_damaged_table_have_no_names_and_that_is_said() {
    let build = Build::new();
    let program = build.compile("gcc", "lookup.c", "program", "-O1");
    let (first, _) = of_objdump(&program).pop_first().expect("a stub");
    let output = Command::new("readelf").args(["-SW"]).arg(&program).output().expect("readelf runs: binutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains(" .rela.plt ")).expect("there is a table");
    let offset: Vec<&str> = line.split(".rela.plt").nth(1).unwrap().split_whitespace().collect();
    let mut bytes = std::fs::read(&program).unwrap();
    // The header of its section says that it goes on to the end of the file.
    let size = u64::from_str_radix(offset[3], 16).unwrap().to_le_bytes();
    let place = u64::from_str_radix(offset[2], 16).unwrap().to_le_bytes();
    let header = bytes.windows(16).position(|window| window[..8] == place && window[8..] == size).unwrap();
    let all = (bytes.len() as u64 - u64::from_le_bytes(place)).to_le_bytes();
    bytes[header + 8..header + 16].copy_from_slice(&all);
    std::fs::write(&program, bytes).unwrap();
    let (rows, skipped) = look_up(&program, &[first], 1 << 20);
    assert_eq!(rows[0].symbol, None);
    assert!(skipped.iter().any(|skip| skip.reason.starts_with("stubs of the PLT are not named: ")), "{skipped:?}");
}
