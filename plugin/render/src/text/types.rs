//! Types: a line each, and where layouts were asked for, their members as C would declare them, with what lies where.

use super::symbols::{base, source};
use super::{Style, escape, shorten};
use crate::units::plural;
use analysis::{HoleRow, LayoutRow, MemberRow, TypeRow, Unknown};
use std::fmt::Write as _;

/// Bytes of a line of the cache.
const CACHE_LINE: u64 = 64;

/// Columns of a member's declaration, before the comment.
const DECLARATION: usize = 44;

pub(super) fn type_(row: &TypeRow, style: &Style) -> String {
    let size = row.size.map_or_else(|| "?".to_owned(), |size| size.to_string());
    let mut head = format!("{size:>8}");
    if let Some(padding) = row.padding.filter(|padding| *padding > 0) {
        let _ = write!(head, "  {padding:>7} unused");
    } else {
        head.push_str(&" ".repeat(16));
    }
    let _ = write!(head, "  {:<7}  ", row.kind);
    let mut tail = format!("  {}{}", base(&row.module), source(row.file.as_deref(), row.line));
    if let Some(definitions) = row.definitions {
        let _ = write!(tail, "  (one of {definitions} definitions)");
    }
    let room = style.width.saturating_sub(head.chars().count() + tail.chars().count()).max(40);
    let mut text = format!("{head}{}{tail}\n", shorten(&escape(&row.name), room));
    if let Some(layout) = &row.layout {
        self::layout(row, layout, &mut text);
    }
    text
}

/// The lines of a type's body.
struct Body<'a> {
    text: &'a mut String,
    holes: &'a [HoleRow],
    /// The line of the cache that the last member began in.
    line: u64,
}

fn layout(row: &TypeRow, layout: &LayoutRow, text: &mut String) {
    match row.kind.as_str() {
        "typedef" => {
            for target in &layout.members {
                let _ = writeln!(text, "    typedef {};", escape(&target.declaration));
            }
            return;
        }
        "enum" if layout.members.iter().all(|member| member.offset.is_none() && member.declaration.is_empty()) => {
            let _ = writeln!(text, "    enum {} {{", escape(&row.name));
            for value in &layout.members {
                let number = value.note.as_deref().map(|number| format!(" = {number}")).unwrap_or_default();
                let _ = writeln!(text, "        {}{number},", escape(&value.name));
            }
            text.push_str("    };\n");
            return;
        }
        _ => {}
    }
    let _ = writeln!(text, "    {} {} {{", row.kind, escape(&row.name));
    let mut body = Body { text, holes: &layout.holes, line: 0 };
    body.members(&layout.members, 2);
    let size = row.size.unwrap_or(0);
    let lines = size.div_ceil(CACHE_LINE);
    let _ = writeln!(text, "        /* size: {size}, cache lines: {lines}, members: {} */", layout.members.len());
    let (bytes, count) = layout.holes.iter().fold((0, 0), |(bytes, count), hole| (bytes + hole.size, count + 1));
    if count > 0 {
        let _ = writeln!(text, "        /* holes: {count}, bytes in them: {bytes} */");
    }
    let unsized_members = unsized_members(&layout.members);
    if unsized_members > 0 {
        let _ = writeln!(text, "        /* size of {} is not known here */", plural(unsized_members, "member"));
    }
    match row.padding {
        Some(padding) if padding > 0 => {
            let _ = writeln!(text, "        /* taken by no member: {} */", plural(padding, "byte"));
        }
        Some(_) => {}
        None => {
            let said = layout.unknown.map_or("not known", unknown);
            let _ = writeln!(text, "        /* taken by no member: {said} */");
        }
    }
    text.push_str("    };\n");
}

/// Why it is not known how many bytes no member takes.
fn unknown(reason: Unknown) -> &'static str {
    match reason {
        Unknown::VirtualBase => "not known, the place of a virtual base is found at run time",
        Unknown::BaseOfVirtual => "not known, a base is smaller here by its own virtual bases, which lie elsewhere",
        Unknown::Place => "not known, the place of a member is found at run time",
        Unknown::Size => "not known, as is its size",
        Unknown::Variant => "what all variants of its enumeration leave",
    }
}

/// How many members have a place and no size: their types are declared there, and defined elsewhere.
fn unsized_members(members: &[MemberRow]) -> u64 {
    let count = |member: &MemberRow| {
        let own = u64::from(member.offset.is_some() && member.size.is_none() && member.bits.is_none());
        own + unsized_members(&member.members)
    };
    members.iter().map(count).sum()
}

impl Body<'_> {
    fn members(&mut self, members: &[MemberRow], depth: usize) {
        for member in members {
            // What tells variants apart may lie behind all that they begin with.
            if let Some(offset) = member.offset.filter(|_| member.note.as_deref() != Some("discriminant")) {
                self.before(offset, member.bits.map_or(0, |(bit, _)| bit), depth);
            }
            self.member(member, depth);
        }
    }

    /// What lies before a member, and the borders of lines of the cache.
    fn before(&mut self, offset: u64, bit: u64, depth: usize) {
        let start = offset.saturating_mul(8).saturating_add(bit);
        while let Some((hole, rest)) = self.holes.split_first().filter(|(hole, _)| hole.start < start) {
            self.holes = rest;
            let indent = "    ".repeat(depth);
            let _ = match (hole.size, hole.bits) {
                (0, bits) => writeln!(self.text, "{indent}/* hole: {} */", plural(bits, "bit")),
                (size, 0) => writeln!(self.text, "{indent}/* hole: {} */", plural(size, "byte")),
                (size, bits) => {
                    writeln!(self.text, "{indent}/* hole: {}, {} */", plural(size, "byte"), plural(bits, "bit"))
                }
            };
        }
        let line = offset / CACHE_LINE;
        if line > self.line {
            self.line = line;
            let ago = match offset % CACHE_LINE {
                0 => String::new(),
                ago => format!(", {} ago", plural(ago, "byte")),
            };
            let indent = "    ".repeat(depth);
            let _ = writeln!(self.text, "{indent}/* --- cache line {line}, at {}{ago} --- */", line * CACHE_LINE);
        }
    }

    fn member(&mut self, member: &MemberRow, depth: usize) {
        let indent = "    ".repeat(depth);
        let mut declaration = escape(&member.declaration);
        if !member.members.is_empty() {
            // What has no name of its own is written out where it is used.
            let _ = writeln!(self.text, "{indent}{} {{", opening(member));
            self.members(&member.members, depth + 1);
            declaration = format!("}} {}", escape(&member.name)).trim_end().to_owned();
        }
        if let Some((_, bits)) = member.bits {
            let _ = write!(declaration, ":{bits}");
        }
        declaration.push(';');
        let place = match (member.offset, member.bits) {
            (None, _) => "    ?".to_owned(),
            (Some(offset), None) => format!("{offset:>5}   "),
            (Some(offset), Some((bit, _))) => format!("{offset:>5}:{bit:<2}"),
        };
        let size = member.size.map_or_else(|| "?".to_owned(), |size| size.to_string());
        let note = member.note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
        let room = DECLARATION.saturating_sub(indent.len());
        let _ = writeln!(self.text, "{indent}{declaration:<room$} /* {place} {size:>5}{note} */");
    }
}

/// What opens the body of a member without a type of its own, or of a variant.
fn opening(member: &MemberRow) -> String {
    let kinds = ["struct", "class", "union"];
    let nameless = kinds.into_iter().find(|kind| member.type_name.ends_with(&format!("(anonymous {kind})")));
    nameless.map_or_else(|| escape(&member.type_name), str::to_owned)
}
