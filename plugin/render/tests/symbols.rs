//! What users and scripts see of what the symbol commands find: the names and kinds of all fields.

mod common;

use analysis::{
    FrameRow, HoleRow, LayoutRow, LineRow, LookupRow, MemberRow, Report, Results, Stats, SymbolRow, TypeRow, XrefRow,
};
use render::{Format, Style, render};
use target::AddressRange;

fn report(command: &str, results: Results, total: u64) -> Report {
    Report {
        stats: Stats { bytes_scanned: 1 << 20, bytes_planned: 1 << 20, seconds: 0.5, workers: 2, ..Stats::default() },
        notes: vec!["a note".into()],
        ..common::report(command, results, total)
    }
}

/// The report in all formats, one below the other.
fn all_formats(report: &Report) -> String {
    let json: serde_json::Value = serde_json::from_str(&render(report, Format::Json, &Style::default())).unwrap();
    let ron = render(report, Format::Ron, &Style::default());
    let read: ron::Value = ron::from_str(&ron).unwrap();
    let fields = |value: &ron::Value| match value {
        ron::Value::Map(fields) => fields.len(),
        other => panic!("not a struct: {other:?}"),
    };
    assert_eq!(fields(&read), json.as_object().unwrap().len());
    format!(
        "{}\n{}\n{ron}",
        render(report, Format::Text, &Style { color: false, width: 100 }),
        serde_json::to_string_pretty(&json).unwrap(),
    )
}

#[test]
fn symbols() {
    let known = SymbolRow {
        address: Some(0x5555_5555_5130),
        name: "shapes::area(int)".into(),
        mangled: Some("_ZN6shapes4areaEi".into()),
        kind: "function".into(),
        undefined: false,
        size: 42,
        module: "/usr/bin/service".into(),
        file: Some("/src/shapes.cpp".into()),
        line: Some(12),
    };
    // What is not known is left out.
    let other = SymbolRow {
        name: "fopen".into(),
        kind: "function".into(),
        undefined: true,
        module: "/usr/bin/service".into(),
        ..SymbolRow::default()
    };
    insta::assert_snapshot!(all_formats(&report("symbols", Results::Symbols(vec![known, other]), 2)));
}

#[test]
fn types() {
    let member = |name: &str, type_name: &str, offset: u64, size: u64| MemberRow {
        name: name.into(),
        type_name: type_name.into(),
        declaration: format!("{type_name} {name}"),
        offset: Some(offset),
        size: Some(size),
        ..MemberRow::default()
    };
    let bits = MemberRow { bits: Some((3, 5)), ..member("flags", "unsigned int", 12, 4) };
    let either = MemberRow {
        declaration: "union {...}".into(),
        members: vec![member("whole", "long", 16, 8), member("parts", "int[2]", 16, 8)],
        ..member("", "union {...}", 16, 8)
    };
    let base =
        MemberRow { offset: None, size: None, note: Some("virtual base".into()), ..member("Base", "Base", 0, 0) };
    let known = TypeRow {
        name: "store::Record".into(),
        kind: "struct".into(),
        size: Some(24),
        module: "/usr/bin/service".into(),
        file: Some("/src/store.hpp".into()),
        line: Some(7),
        padding: Some(4),
        definitions: Some(2),
        layout: Some(LayoutRow {
            members: vec![base, member("next", "Record *", 0, 8), bits, either],
            holes: vec![HoleRow { start: 64, offset: 8, size: 4, bits: 0 }],
            ..LayoutRow::default()
        }),
    };
    let plain = TypeRow {
        name: "declared".into(),
        kind: "typedef".into(),
        module: "/usr/bin/service".into(),
        ..TypeRow::default()
    };
    insta::assert_snapshot!(all_formats(&report("types", Results::Types(vec![known, plain]), 2)));
}

#[test]
fn xrefs() {
    let known = XrefRow {
        address: 0x5555_5555_5190,
        kind: "call".into(),
        through: Some("plt".into()),
        function: Some("main".into()),
        offset: Some(16),
        module: "/usr/bin/service".into(),
        file: Some("/src/main.c".into()),
        line: Some(9),
        target: Some("puts".into()),
    };
    let plain = XrefRow {
        address: 0x5555_5555_8010,
        kind: "pointer".into(),
        module: "/usr/bin/service".into(),
        ..XrefRow::default()
    };
    insta::assert_snapshot!(all_formats(&report("xrefs", Results::Xrefs(vec![known, plain]), 2)));
}

#[test]
fn lookup() {
    let frame = |function: &str, line: Option<u64>, inlined: bool| FrameRow {
        function: Some(function.into()),
        file: line.map(|_| "/src/main.c".into()),
        line,
        column: line.map(|_| 3),
        inlined,
    };
    let known = LookupRow {
        address: 0x5555_5555_5190,
        module: Some("/usr/bin/service".into()),
        symbol: Some("main".into()),
        offset: Some(16),
        frames: vec![frame("inner", Some(4), true), frame("main", Some(9), false)],
    };
    let nowhere = LookupRow { address: 0x10, ..LookupRow::default() };
    let stripped = LookupRow {
        address: 0x7f00_0000_1000,
        module: Some("/lib/stripped.so".into()),
        symbol: Some("exported".into()),
        offset: Some(0),
        frames: Vec::new(),
    };
    insta::assert_snapshot!(all_formats(&report("lookup", Results::Lookups(vec![known, nowhere, stripped]), 3)));
}

#[test]
fn lines() {
    let row = |start: u64, line: u64| LineRow {
        range: AddressRange::new(start, start + 4),
        file: "/src/main.c".into(),
        line,
        module: "/usr/bin/service".into(),
    };
    insta::assert_snapshot!(all_formats(&report("lines", Results::Lines(vec![row(0x1130, 9), row(0x1134, 0)]), 2)));
}
