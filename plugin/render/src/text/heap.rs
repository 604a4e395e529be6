//! What the heap commands find.

use super::{Style, escape, place, shorten};
use crate::units::{bytes, plural};
use analysis::{
    AllocationRow, BeforeRow, FindingRow, HeapRow, HeapRows, HeapTotals, LeakGroup, LeakRows, Match, ObjectRow, RefRow,
    Sum, Value,
};
use std::fmt::Write as _;

/// What stands for a type that is not known.
const UNKNOWN: &str = "?";

/// The totals, and a line for each row.
pub(super) fn heap(rows: &HeapRows, style: &Style) -> String {
    // It ended before anything was known, so nothing is claimed.
    if rows.by.is_empty() {
        return String::new();
    }
    let mut text = totals(&rows.totals);
    if rows.rows.is_empty() {
        return text;
    }
    let retained = rows.rows.iter().any(|row| row.retained.is_some());
    let column = if retained { format!("{:>11}  ", "retained") } else { String::new() };
    let _ = writeln!(text, "{:>10}  {:>11}  {column}{}", "count", "bytes", rows.by);
    for row in &rows.rows {
        text.push_str(&heap_row(row, retained, style));
    }
    text
}

fn totals(totals: &HeapTotals) -> String {
    let mut text = format!("used      {}\n", sum(totals.used, "allocation"));
    let _ = write!(text, "free      {}", sum(totals.free, "chunk"));
    if totals.free.count > 0 {
        let scattered = totals.fragmentation() * 100.0;
        let _ = write!(text, ", the largest {}: {scattered:.0}% fragmented", bytes(totals.largest_free));
    }
    let share = totals.overhead as f64 * 100.0 / (totals.system.max(1)) as f64;
    let _ = writeln!(text, "\noverhead  {} ({share:.0}%)", bytes(totals.overhead));
    let _ = write!(text, "from the system  {} in {}", bytes(totals.system), plural(totals.arenas, "arena"));
    if totals.mapped.count > 0 {
        let _ = write!(text, " and {} with mappings of their own", sum(totals.mapped, "allocation"));
    }
    text.push('\n');
    text
}

fn sum(sum: Sum, what: &str) -> String {
    format!("{}, {}", plural(sum.count, what), bytes(sum.bytes))
}

fn heap_row(row: &HeapRow, retained: bool, style: &Style) -> String {
    let mut line = format!("{:>10}  {:>11}  ", row.count, bytes(row.bytes));
    if retained {
        let _ = write!(line, "{:>11}  ", row.retained.map(bytes).unwrap_or_default());
    }
    let room = style.width.saturating_sub(line.chars().count()).max(24);
    line.push_str(&shorten(&escape(&row.key), room));
    line.push('\n');
    line
}

/// A line for each group: what was lost, and what is lost with it.
pub(super) fn leaks(rows: &LeakRows, style: &Style) -> String {
    rows.groups.iter().map(|group| leak_group(group, style)).collect()
}

fn leak_group(group: &LeakGroup, style: &Style) -> String {
    let total = group.heads.bytes + group.holds.bytes;
    let mut line = format!("{:>11}  {:>7} × ", bytes(total), group.heads.count);
    if let Some(size) = group.size {
        let _ = write!(line, "{} of ", bytes(size));
    }
    line.push_str(&escape(group.type_name.as_deref().unwrap_or(UNKNOWN)));
    if group.holds.count > 0 {
        let _ = write!(line, ", holding {}", sum(group.holds, "allocation"));
    }
    if group.ring {
        line.push_str(", in rings");
    }
    let example = format!("  e.g. {:#x}", group.example);
    let room = style.width.saturating_sub(example.len()).max(40);
    format!("{}{example}\n", shorten(&line, room))
}

/// The pointer's line, and those of its chain from a root under it.
pub(super) fn reference(row: &RefRow, style: &Style) -> String {
    let mut text = String::new();
    let depth = if row.depth > 1 { format!("{}", row.depth) } else { String::new() };
    let _ = writeln!(text, "{depth:>2} {}", pointer(&row.place, style));
    for (step, link) in row.chain.iter().flatten().enumerate() {
        let mark = if step == 0 { "from" } else { "then" };
        let _ = writeln!(text, "     {mark} {}", pointer(link, style));
    }
    text
}

fn pointer(found: &Match, style: &Style) -> String {
    let value = match found.value {
        Some(Value::Pointer(value)) => format!(" -> {value:#x}"),
        _ => String::new(),
    };
    match register(found) {
        Some(register) => format!("{register}{value}"),
        None => format!("{}{value}  {}", style.address(found.address), place(found)),
    }
}

/// The register that something is in, and whose.
fn register(found: &Match) -> Option<String> {
    let register = found.register.as_ref()?;
    Some(format!("register {register} of thread {}", found.thread.unwrap_or_default()))
}

/// What it is and who holds it, on a line of its own where a long type leaves no room for that.
pub(super) fn object(row: &ObjectRow, style: &Style) -> String {
    let size = format!("{:>9}", bytes(row.size));
    // The address takes 18 columns, whatever its colour.
    let indent = 18 + 2 + size.chars().count() + 2;
    let room = style.width.max(40).saturating_sub(indent).max(24);
    let name = escape(&row.type_name);
    let mut text = format!("{}  {size}  {}", style.address(row.address), shorten(&name, room));
    if let Some(owner) = &row.owner {
        let by = register(owner).unwrap_or_else(|| format!("{:#x} {}", owner.address, place(owner)));
        let held = format!("held by {by}");
        let fits = name.chars().count() + 2 + held.chars().count() <= room;
        let gap = if fits { "  ".to_owned() } else { format!("\n{:indent$}", "") };
        let _ = write!(text, "{gap}{}", shorten(&held, style.width.max(40)));
    }
    text.push('\n');
    text
}

/// Bytes in a line.
const LINE: usize = 16;

/// What is wrong, and under it what lies before: who may have written beyond its end, how that ends, and what lies behind.
pub(super) fn finding(row: &FindingRow, style: &Style) -> String {
    let mut text = format!("{}  {}: {}\n", style.address(row.address), row.kind, escape(&row.text));
    for (number, BeforeRow { allocation: before, bytes: last, behind }) in row.before.iter().enumerate() {
        let state = if before.used { "in use" } else { "free" };
        let kind = before.type_name.as_deref().map(|name| format!(", {}", escape(name))).unwrap_or_default();
        let what = if number == 0 { "it" } else { "that" };
        let _ = writeln!(text, "    before {what}: {:#x}, {}, {state}{kind}", before.start, bytes(before.size));
        let ends = if before.size > last.len() as u64 { "ends with" } else { "has" };
        let names = std::iter::once(ends).chain(std::iter::repeat(""));
        let lines = names.zip(last.chunks(LINE)).chain(std::iter::once(("behind it", &behind[..])));
        for (name, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let shown: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let letters: String = line.iter().map(|byte| letter(*byte)).collect();
            let width = 3 * LINE - 1;
            let _ = writeln!(text, "      {name:<9}  {:<width$}  {letters}", shown.join(" "));
        }
    }
    text
}

fn letter(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

/// Where in which allocation something lies.
pub(super) fn allocation(row: &AllocationRow, address: u64) -> String {
    let kind = row.type_name.as_deref().map(|name| format!(" {}", escape(name))).unwrap_or_default();
    let state = if row.used { "" } else { " (freed)" };
    let offset = match address.wrapping_sub(row.start) {
        0 => String::new(),
        offset => format!("+{offset:#x}"),
    };
    format!("heap {:#x}{offset} of {}{kind}{state}", row.start, bytes(row.size))
}
