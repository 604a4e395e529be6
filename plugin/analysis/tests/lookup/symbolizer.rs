//! What llvm-symbolizer says.

use analysis::LookupRow;
use object::{Object, ObjectSymbol};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A function and its place, as `file:line:column`.
pub type Frame = (String, String);

/// The frames of addresses, the innermost first.
pub fn frames(program: &Path, addresses: &[u64]) -> Vec<Vec<Frame>> {
    let mut child = Command::new("llvm-symbolizer-22")
        .args(["--no-demangle", "--output-style=LLVM", "-e"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("llvm-symbolizer-22 is needed");
    let mut input = child.stdin.take().unwrap();
    let lines: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let frames: Vec<Vec<Frame>> = blocks
        .map(|block| {
            let lines: Vec<&str> = block.lines().collect();
            lines.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
        })
        .collect();
    assert_eq!(frames.len(), addresses.len());
    frames
}

/// The frames of a row, written in the same way.
pub fn as_frames(row: &LookupRow) -> Vec<Frame> {
    let frame = |frame: &analysis::FrameRow| {
        let file = frame.file.as_deref().unwrap_or("??");
        let place = format!("{file}:{}:{}", frame.line.unwrap_or(0), frame.column.unwrap_or(0));
        (frame.function.as_deref().unwrap_or("??").to_owned(), place)
    };
    match row.frames.is_empty() {
        true => vec![(row.symbol.as_deref().unwrap_or("??").to_owned(), "??:0:0".to_owned())],
        false => row.frames.iter().map(frame).collect(),
    }
}

/// The addresses of a program's symbols, by name.
pub fn symbols(program: &Path) -> BTreeMap<String, BTreeSet<u64>> {
    let bytes = std::fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let mut symbols: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        if let Ok(name) = symbol.name() {
            symbols.entry(name.to_owned()).or_default().insert(symbol.address());
        }
    }
    symbols
}

/// Checks that the rows for addresses of a program are as llvm-symbolizer has them, and counts those with inlined calls.
pub fn check(program: &Path, addresses: &[u64], rows: &[LookupRow]) -> usize {
    let symbols = symbols(program);
    let alias = |one: &str, other: &str| match (symbols.get(one), symbols.get(other)) {
        (Some(one), Some(other)) => !one.is_disjoint(other),
        _ => false,
    };
    let mut inlined = 0;
    for ((address, row), expected) in addresses.iter().zip(rows).zip(frames(program, addresses)) {
        let mut own = as_frames(row);
        inlined += usize::from(own.len() > 1);
        // Where no debug information tells of an address, it gives the name of the object file that the symbol is from, which
        // no place in a source is.
        let mut expected = expected;
        if row.frames.is_empty()
            && let [(_, place)] = &mut expected[..]
            && place.ends_with(":0:0")
        {
            "??:0:0".clone_into(place);
        }
        // Of several names of one function either is right.
        if let (Some(own), Some(expected)) = (own.last_mut(), expected.last())
            && alias(&own.0, &expected.0)
        {
            own.0.clone_from(&expected.0);
        }
        assert_eq!(own, expected, "{address:#x} of {}", program.display());
    }
    inlined
}
