//! The fields of what the symbol commands find.

use super::hex;
use analysis::{FrameRow, HoleRow, LineRow, LookupRow, MemberRow, SymbolRow, TypeRow, XrefRow};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct SymbolDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mangled: Option<&'a str>,
    kind: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    undefined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    module: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

pub(super) fn symbol_row(row: &SymbolRow) -> SymbolDocument<'_> {
    SymbolDocument {
        address: row.address.map(hex),
        name: &row.name,
        mangled: row.mangled.as_deref(),
        kind: &row.kind,
        undefined: row.undefined,
        // The table says 0 where it does not know.
        size: Some(row.size).filter(|size| *size > 0),
        module: &row.module,
        file: row.file.as_deref(),
        line: row.line,
    }
}

#[derive(Serialize)]
pub(super) struct TypeDocument<'a> {
    name: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    module: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    padding: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definitions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<MemberDocument<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holes: Option<Vec<HoleDocument>>,
}

#[derive(Serialize)]
struct MemberDocument<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bit_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bit_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<MemberDocument<'a>>,
}

#[derive(Serialize)]
struct HoleDocument {
    offset: u64,
    size: u64,
}

fn member_row(row: &MemberRow) -> MemberDocument<'_> {
    MemberDocument {
        name: &row.name,
        type_name: &row.type_name,
        offset: row.offset,
        size: row.size,
        bit_offset: row.bits.map(|(offset, _)| offset),
        bit_size: row.bits.map(|(_, size)| size),
        note: row.note.as_deref(),
        members: row.members.iter().map(member_row).collect(),
    }
}

pub(super) fn type_row(row: &TypeRow) -> TypeDocument<'_> {
    let layout = row.layout.as_ref();
    let hole = |hole: &HoleRow| HoleDocument { offset: hole.offset, size: hole.size };
    TypeDocument {
        name: &row.name,
        kind: &row.kind,
        size: row.size,
        module: &row.module,
        file: row.file.as_deref(),
        line: row.line,
        padding: row.padding,
        definitions: row.definitions,
        members: layout.map(|layout| layout.members.iter().map(member_row).collect()),
        holes: layout.map(|layout| layout.holes.iter().filter(|hole| hole.size > 0).map(hole).collect()),
    }
}

#[derive(Serialize)]
pub(super) struct XrefDocument<'a> {
    address: String,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    module: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
}

pub(super) fn xref_row(row: &XrefRow) -> XrefDocument<'_> {
    XrefDocument {
        address: hex(row.address),
        kind: &row.kind,
        through: row.through.as_deref(),
        function: row.function.as_deref(),
        offset: row.offset,
        module: &row.module,
        file: row.file.as_deref(),
        line: row.line,
        target: row.target.as_deref(),
    }
}

#[derive(Serialize)]
pub(super) struct LookupDocument<'a> {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    frames: Vec<FrameDocument<'a>>,
}

#[derive(Serialize)]
struct FrameDocument<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
    inlined: bool,
}

pub(super) fn lookup_row(row: &LookupRow) -> LookupDocument<'_> {
    LookupDocument {
        address: hex(row.address),
        module: row.module.as_deref(),
        symbol: row.symbol.as_deref(),
        offset: row.offset,
        frames: row.frames.iter().map(frame_row).collect(),
    }
}

fn frame_row(row: &FrameRow) -> FrameDocument<'_> {
    FrameDocument {
        function: row.function.as_deref(),
        file: row.file.as_deref(),
        line: row.line,
        column: row.column,
        inlined: row.inlined,
    }
}

#[derive(Serialize)]
pub(super) struct LineDocument<'a> {
    start: String,
    end: String,
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    module: &'a str,
}

pub(super) fn line_row(row: &LineRow) -> LineDocument<'_> {
    LineDocument {
        start: hex(row.range.start),
        end: hex(row.range.end),
        file: &row.file,
        line: Some(row.line).filter(|line| *line > 0),
        module: &row.module,
    }
}
