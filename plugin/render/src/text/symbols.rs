//! What the symbol commands find, one line each.

use super::{Style, escape, shorten};
use crate::units::bytes;
use analysis::{FrameRow, LineRow, LookupRow, SymbolRow, XrefRow};
use std::fmt::Write as _;

/// Columns of an address, or of what stands in its place.
const ADDRESS: usize = 18;

/// A file's name without its folders, as it is shown.
pub(super) fn base(path: &str) -> String {
    escape(file_name(path))
}

/// A file's name without its folders.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// ` at FILE:LINE`, as far as it is known.
pub(super) fn source(file: Option<&str>, line: Option<u64>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!(" at {}:{line}", escape(file)),
        (Some(file), None) => format!(" at {}", escape(file)),
        (None, _) => String::new(),
    }
}

/// `name+0x12`, as far as it is known.
fn within(symbol: Option<&str>, offset: Option<u64>) -> String {
    match (symbol, offset) {
        (Some(symbol), Some(0) | None) => escape(symbol),
        (Some(symbol), Some(offset)) => format!("{}+{offset:#x}", escape(symbol)),
        (None, _) => "??".to_owned(),
    }
}

pub(super) fn symbol(row: &SymbolRow, style: &Style) -> String {
    let no_address = if row.undefined { "undefined" } else { "thread-local" };
    let address = row.address.map_or_else(|| format!("{no_address:<ADDRESS$}"), |address| style.address(address));
    let tail = format!("  {}{}", base(&row.module), source(row.file.as_deref(), row.line));
    let used = ADDRESS + 2 + 8 + 2 + 8 + 2 + tail.chars().count();
    let name = shorten(&escape(&row.name), style.width.saturating_sub(used).max(40));
    format!("{address}  {:>8}  {:<8}  {name}{tail}\n", row.size, row.kind)
}

pub(super) fn xref(row: &XrefRow, style: &Style) -> String {
    let through = row.through.as_ref().map(|through| format!(" ({through})")).unwrap_or_default();
    let kind = format!("{}{through}", row.kind);
    let place = within(row.function.as_deref(), row.offset);
    let target = row.target.as_ref().map(|target| format!("  -> {}", escape(target))).unwrap_or_default();
    let tail = format!("  {}{}{target}", base(&row.module), source(row.file.as_deref(), row.line));
    let used = ADDRESS + 2 + 13 + 2 + tail.chars().count();
    let place = shorten(&place, style.width.saturating_sub(used).max(40));
    format!("{}  {kind:<13}  {place}{tail}\n", style.address(row.address))
}

/// An address in a line, with its place in the source if it is in one function, else with a line for each frame below it.
pub(super) fn lookup(row: &LookupRow, style: &Style) -> String {
    let mut text = style.address(row.address);
    let Some(module) = &row.module else {
        text.push_str("  no module is at this address, and code of a JIT has no names here\n");
        return text;
    };
    let symbol = match &row.symbol {
        Some(_) => within(row.symbol.as_deref(), row.offset),
        None => "no symbol".to_owned(),
    };
    if let [frame] = &row.frames[..]
        && (frame.function.is_none() || frame.function == row.symbol)
    {
        let _ = writeln!(text, "  {symbol}{}  {}", place(frame), base(module));
        return text;
    }
    let _ = writeln!(text, "  {symbol}  {}", base(module));
    for frame in &row.frames {
        let inlined = if frame.inlined { "  (inlined)" } else { "" };
        let function = frame.function.as_deref().map_or_else(|| "??".to_owned(), escape);
        let _ = writeln!(text, "    {function}{}{inlined}", place(frame));
    }
    text
}

/// ` at FILE:LINE:COLUMN`, as far as it is known.
fn place(frame: &FrameRow) -> String {
    let mut text = source(frame.file.as_deref(), frame.line);
    if let (Some(_), Some(_), Some(column)) = (&frame.file, frame.line, frame.column) {
        let _ = write!(text, ":{column}");
    }
    text
}

pub(super) fn line(row: &LineRow, style: &Style) -> String {
    let size = bytes(row.range.len());
    format!(
        "{}-{:#018x}  {size:>9}  {}:{}  {}\n",
        style.address(row.range.start),
        row.range.end,
        escape(&row.file),
        row.line,
        base(&row.module)
    )
}
