//! What the symbol commands find, one line each.

use super::{Style, escape, push_escaped, shorten};
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
    text.push_str("  ");
    let Some(module) = &row.module else {
        text.push_str("no module is at this address, and code of a JIT has no names here\n");
        return text;
    };
    push_escaped(&mut text, row.symbol.as_deref().unwrap_or("no symbol"));
    if let (Some(_), Some(offset @ 1..)) = (&row.symbol, row.offset) {
        let _ = write!(text, "+{offset:#x}");
    }
    let frames: &[FrameRow] = match &row.frames[..] {
        [frame] if frame.function.is_none() || frame.function == row.symbol => {
            push_place(&mut text, frame);
            &[]
        }
        frames => frames,
    };
    text.push_str("  ");
    push_escaped(&mut text, file_name(module));
    text.push('\n');
    for frame in frames {
        text.push_str("    ");
        push_escaped(&mut text, frame.function.as_deref().unwrap_or("??"));
        push_place(&mut text, frame);
        text.push_str(if frame.inlined { "  (inlined)\n" } else { "\n" });
    }
    text
}

/// Appends ` at FILE:LINE:COLUMN`, as far as it is known.
fn push_place(text: &mut String, frame: &FrameRow) {
    let Some(file) = &frame.file else { return };
    text.push_str(" at ");
    push_escaped(text, file);
    for number in [frame.line, frame.line.and(frame.column)].into_iter().flatten() {
        let _ = write!(text, ":{number}");
    }
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
