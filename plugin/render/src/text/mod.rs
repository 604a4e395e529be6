//! Reports for people: one line a result, then one line that says what was scanned, and what was not.

mod deadlocks;
mod heap;
mod stacks;
mod symbols;
mod types;

use crate::document::permission_letters;
use crate::hexdump::hexdump;
use crate::text_of;
use crate::units::{bytes, plural, seconds, speed};
use analysis::{
    Columns, Content, HostRow, JobRow, LeakRows, MappingRow, Match, PoolStatus, Report, Results, Skip, Stats, Stop,
    TargetKind, Value,
};
pub use stacks::thread_list;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

/// What the place that shows the text can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences for colours are understood.
    pub color: bool,
    /// Columns of a line; longer content is cut, with an ellipsis.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 120 }
    }
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Text that was looked for.
    pub(crate) fn mark(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn address(&self, address: u64) -> String {
        self.paint("33", &format!("{address:#018x}"))
    }
}

/// The lines of results: all of a report's, or some as they are found.
pub fn results(results: &Results, columns: Columns, style: &Style) -> String {
    text_of(|out| write_results(results, columns, style, out))
}

/// Writes the lines of results, one after another.
///
/// # Errors
/// Those of `out`.
pub fn write_results(results: &Results, columns: Columns, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match results {
        Results::Matches(rows) => lines(out, rows, |found| result_line(found, columns, style)),
        Results::Symbols(rows) => lines(out, rows, |row| symbols::symbol(row, style)),
        Results::Types(rows) => lines(out, rows, |row| types::type_(row, style)),
        Results::Xrefs(rows) => lines(out, rows, |row| symbols::xref(row, style)),
        Results::Lookups(rows) => lines(out, rows, |row| symbols::lookup(row, style)),
        Results::Lines(rows) => lines(out, rows, |row| symbols::line(row, style)),
        Results::Refs(rows) => lines(out, rows, |row| heap::reference(row, style)),
        Results::Objects(rows) => lines(out, &rows.rows, |row| heap::object(row, style)),
        Results::Findings(rows) => lines(out, rows, |row| heap::finding(row, style)),
        Results::Deadlocks(rows) => lines(out, rows, |row| deadlocks::deadlock(row, style)),
        Results::Mappings(rows) => whole(out, &mappings(rows, style)),
        Results::Heap(rows) => whole(out, &heap::heap(rows, style)),
        Results::Leaks(rows) => whole(out, &heap::leaks(rows, style)),
        Results::Stacks(rows) => whole(out, &stacks::stacks(rows, style)),
        Results::Branches(rows) => whole(out, &stacks::tree(rows, style)),
        Results::Jobs(rows) => whole(out, &jobs(rows)),
        Results::Pool(status) => whole(out, &pool(status)),
        Results::Hosts(rows) => whole(out, &hosts(rows)),
        Results::Versions(versions) => {
            let width = versions.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            lines(out, versions, |(name, version)| format!("{name:width$}  {version}\n"))
        }
    }
}

fn lines<T>(out: &mut dyn Write, rows: &[T], line: impl Fn(&T) -> String) -> io::Result<()> {
    rows.iter().try_for_each(|row| whole(out, &line(row)))
}

fn whole(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())
}

/// A match's line, and the hexdump under it where context was asked for; with its line breaks.
fn result_line(found: &Match, columns: Columns, style: &Style) -> String {
    let mut line = style.address(found.address);
    let mut used = 18;
    if columns.pattern {
        let _ = write!(line, "  #{}", found.pattern);
        used += 4;
    }
    if columns.size {
        let _ = write!(line, "  {:>5}", found.size);
        used += 7;
    }
    let place = place(found);
    let _ = write!(line, "  {place:<28}");
    used += 2 + place.chars().count().max(28);
    if let Some(shown) = shown_value(found) {
        let room = style.width.saturating_sub(used + 2).max(16);
        let _ = write!(line, "  {}", shorten(&shown, room));
    }
    let mut text = line.trim_end().to_owned();
    text.push('\n');
    if let Some(context) = &found.context {
        text.push_str(&hexdump(context, found.address, found.address + found.size, style));
    }
    text
}

/// The most columns of a symbol's name: C++ has long ones.
const NAME: usize = 60;

/// Where a match lies: its symbol, else its thread's stack, else its allocation, else its region.
fn place(found: &Match) -> String {
    let region = found.region.as_deref().unwrap_or("anonymous");
    let file = escape(region.rsplit('/').next().unwrap_or(region));
    if let Some(symbol) = &found.symbol {
        return match symbol.offset {
            0 => format!("{file} {}", shorten(&escape(&symbol.name), NAME)),
            offset => format!("{file} {}+{offset:#x}", shorten(&escape(&symbol.name), NAME)),
        };
    }
    if let Some(thread) = found.thread {
        return match &found.frame {
            Some(frame) => {
                let name = frame.function.as_deref().map(|name| format!(" {}", shorten(&escape(name), NAME)));
                format!("thread {thread}, frame {}{}", frame.index, name.unwrap_or_default())
            }
            None => format!("stack of thread {thread}"),
        };
    }
    if let Some(allocation) = &found.allocation {
        return heap::allocation(allocation, found.address);
    }
    format!("{file} {}", &permission_letters(found.region_permissions, false)[..3])
}

fn shown_value(found: &Match) -> Option<String> {
    match (found.value, &found.content) {
        (Some(Value::Int(value)), _) => Some(value.to_string()),
        (Some(Value::Float(value)), _) => Some(value.to_string()),
        (Some(Value::Pointer(value)), _) => Some(format!("-> {value:#x}")),
        (None, Some(Content::Text { text, cut })) => {
            let more = if *cut { " … (cut)" } else { "" };
            Some(format!("\"{}\"{more}", escape(text)))
        }
        (None, Some(Content::Bytes(bytes))) => {
            let shown: Vec<String> = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
            Some(shown.join(" "))
        }
        (None, None) => None,
    }
}

/// Control characters and quotes as escapes, so that a string stays on its line and cannot drive the terminal.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_escaped(&mut escaped, text);
    escaped
}

/// Appends a string with its control characters and quotes as escapes.
fn push_escaped(escaped: &mut String, text: &str) {
    // Most need none, and there may be a million of them.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"') {
        return escaped.push_str(text);
    }
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("\\\""),
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            letter if letter.is_control() => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(letter));
            }
            letter => escaped.push(letter),
        }
    }
}

/// At most `room` characters of it, the last of them an ellipsis where it was cut.
fn shorten(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

fn mappings(rows: &[MappingRow], style: &Style) -> String {
    let mut text = String::new();
    for row in rows {
        match row.range {
            Some(range) => {
                let _ = write!(text, "{}-{:#018x}", style.address(range.start), range.end);
            }
            None => {
                let _ = write!(text, "{:>6}", row.count.unwrap_or(1));
            }
        }
        if let Some(permissions) = row.permissions {
            let _ = write!(text, "  {}", permission_letters(permissions, row.shared));
        }
        let _ = write!(text, "  {:<9}  {:>9}", row.kind, bytes(row.size));
        if let Some(resident) = row.resident {
            let _ = write!(text, "  resident {:>9}", bytes(resident));
        }
        if let Some(swapped) = row.swapped.filter(|swapped| *swapped > 0) {
            let _ = write!(text, "  swapped {:>9}", bytes(swapped));
        }
        if let Some(entropy) = row.entropy {
            let _ = write!(text, "  {entropy:.2} bits");
        }
        if let Some(name) = &row.name {
            let _ = write!(text, "  {}", escape(name));
        }
        text.push('\n');
    }
    text
}

fn jobs(rows: &[JobRow]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let done = match row.total {
            0 => String::new(),
            total => format!("{:3}% of {}", row.progress * 100 / total, bytes(total)),
        };
        let _ = writeln!(text, "{:>3}  {:<24}  {done:<18}  {}", row.job, row.state, row.command);
        text
    })
}

fn pool(status: &PoolStatus) -> String {
    let mut text = String::new();
    let place = |host: &Option<String>| host.as_deref().map(|host| format!(" on {}", escape(host))).unwrap_or_default();
    let width = status.workers.iter().map(|worker| place(&worker.host).chars().count()).max().unwrap_or(0);
    for worker in &status.workers {
        let pid = worker.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let _ = write!(text, "worker {pid:<8}{:<width$} {:<9} ", place(&worker.host), worker.state);
        if let Some(reason) = &worker.reason {
            let _ = writeln!(text, "{}", escape(reason));
            continue;
        }
        let _ = write!(text, "{:>7}, {:>8}", plural(worker.tasks, "task"), plural(worker.deaths, "death"));
        match worker.memory {
            Some(memory) => drop(writeln!(text, ", {:>9} of its own", bytes(memory))),
            None => text.push('\n'),
        }
    }
    let width = status.settings.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in &status.settings {
        let _ = writeln!(text, "{key:width$} = {value}");
    }
    for host in &status.hosts {
        let _ = writeln!(text, "{:width$} = {}", format!("host {}", host.host), host_words(host));
    }
    text
}

fn hosts(rows: &[HostRow]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let _ = writeln!(text, "{:>3}  {}", row.host, host_words(row));
        text
    })
}

fn host_words(row: &HostRow) -> String {
    format!("{}, {}, {}", escape(&row.command), plural(row.slots, "worker"), escape(&row.worker))
}

/// The line under the results: what was found in what, how fast, and what was skipped and why.
pub fn summary(report: &Report) -> String {
    let mut parts = Vec::new();
    match &report.results {
        Results::Jobs(rows) => return plural(rows.len() as u64, "job"),
        Results::Pool(status) => {
            return match status.workers.len() as u64 {
                0 => "no workers yet: the first scan starts them".into(),
                count => plural(count, "worker"),
            };
        }
        Results::Hosts(rows) => {
            return match rows.len() as u64 {
                0 => "no hosts: all workers are on this machine (mp-scan pool hosts add 'ssh HOST')".into(),
                count => plural(count, "host"),
            };
        }
        Results::Versions(_) => return String::new(),
        Results::Mappings(rows) => parts.push(map_totals(report, rows)),
        Results::Matches(_) => parts.push(match_count(report)),
        Results::Symbols(_) => parts.push(row_count(report, "symbol")),
        Results::Types(_) => parts.push(row_count(report, "type")),
        Results::Xrefs(_) => parts.push(row_count(report, "reference")),
        Results::Lookups(_) => parts.push(row_count(report, "address")),
        Results::Lines(_) => parts.push(row_count(report, "range")),
        Results::Refs(_) => parts.push(row_count(report, "pointer")),
        Results::Objects(rows) => {
            parts.push(match rows.sum.count {
                0 => row_count(report, "object"),
                _ => format!("{}, {} in all", row_count(report, "object"), bytes(rows.sum.bytes)),
            });
        }
        Results::Findings(_) => parts.push(row_count(report, "finding")),
        Results::Deadlocks(rows) => parts.push(cut_short(report, deadlocks::count(report, rows))),
        Results::Heap(rows) => parts.push(row_count(report, &rows.by)),
        Results::Leaks(rows) => parts.push(leak_count(report, rows)),
        Results::Stacks(rows) => {
            let of = plural(rows.threads, "thread");
            parts.push(format!("{} of {of}", row_count(report, "stack")));
        }
        Results::Branches(_) => parts.push(row_count(report, "function")),
    }
    if report.stats.bytes_scanned > 0 || matches!(report.results, Results::Matches(_)) {
        parts.push(scanned(&report.stats, looked_at(&report.results)));
    }
    if report.stats.retried > 0 || report.stats.deaths > 0 {
        let retried = plural(report.stats.retried, "task");
        parts.push(format!("{} of workers, {retried} retried", plural(report.stats.deaths, "death")));
    }
    if report.target.as_ref().is_some_and(|target| target.ran) {
        parts.push("the process ran meanwhile".into());
    }
    if report.target.as_ref().is_some_and(|target| target.kind == TargetKind::Relayed) {
        parts.push("read through the debugger".into());
    }
    if report.stats.bytes_copied > 0 {
        parts.push(format!("{} copied", bytes(report.stats.bytes_copied)));
    }
    if report.stats.memory > 0 {
        parts.push(format!("{} of tables", bytes(report.stats.memory)));
    }
    parts.extend(skipped(&report.skipped));
    let (count, size) = report.stats.left_out;
    if count > 0 {
        parts.push(format!("{} ({}) not readable", plural(count, "mapping"), bytes(size)));
    }
    parts.join("; ")
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    Memory,
    Files,
    Threads,
}

fn looked_at(results: &Results) -> Looked {
    match results {
        Results::Symbols(_) | Results::Types(_) | Results::Xrefs(_) | Results::Lookups(_) | Results::Lines(_) => {
            Looked::Files
        }
        Results::Stacks(_) | Results::Branches(_) | Results::Deadlocks(_) => Looked::Threads,
        Results::Matches(_) | Results::Mappings(_) => Looked::Memory,
        Results::Heap(_) | Results::Leaks(_) | Results::Refs(_) | Results::Objects(_) | Results::Findings(_) => {
            Looked::Memory
        }
        Results::Jobs(_) | Results::Pool(_) | Results::Hosts(_) | Results::Versions(_) => Looked::Memory,
    }
}

/// How many rows there are, of those that are shown at most up to the limit.
fn row_count(report: &Report, what: &str) -> String {
    let shown = report.results.count().unwrap_or(0) as u64;
    let count = match report.total {
        0 if has_no_answer(report) => NO_ANSWER.to_owned(),
        0 => format!("no {}", plural(0, what).trim_start_matches("0 ")),
        total if total > shown => {
            let option = if matches!(report.results, Results::Heap(_)) { "top" } else { "limit" };
            format!("the first {shown} of {} (--{option} N for more)", plural(total, what))
        }
        total => plural(total, what),
    };
    cut_short(report, count)
}

/// Instead of a number where nothing is known.
const NO_ANSWER: &str = "no answer";

/// Whether it ended before anything was known: what is asked of the heap takes all of it.
fn has_no_answer(report: &Report) -> bool {
    let of_heap = matches!(
        report.results,
        Results::Heap(_) | Results::Leaks(_) | Results::Refs(_) | Results::Objects(_) | Results::Findings(_)
    );
    of_heap && report.total == 0 && matches!(report.stopped, Some(Stop::Timeout | Stop::Cancelled | Stop::TargetGone))
}

/// As it is, or with why it is not all.
fn cut_short(report: &Report, count: String) -> String {
    match report.stopped {
        Some(Stop::Timeout) => format!("{count}, cut short: its time was up"),
        Some(Stop::Cancelled) => format!("{count}, cut short: interrupted"),
        Some(Stop::TargetGone) => format!("{count}, cut short: the process has ended"),
        Some(Stop::Limit) | None => count,
    }
}

/// The sum of what is lost, and how much of what it looks at is shown.
fn leak_count(report: &Report, rows: &LeakRows) -> String {
    let count = match report.total {
        0 if has_no_answer(report) => NO_ANSWER.to_owned(),
        0 if rows.unused => "no allocations".to_owned(),
        0 => "no leaks".to_owned(),
        total => {
            let heads = match rows.unreferenced.count {
                0 => "each is referred to by another".to_owned(),
                1 if total == 1 => "nothing refers to it".to_owned(),
                1 => "one that nothing refers to, and what it holds".to_owned(),
                count => format!("{count} that nothing refers to, and what they hold"),
            };
            format!("{}, {}: {heads}", plural(total, "leaked allocation"), bytes(rows.sum.bytes))
        }
    };
    cut_short(report, count)
}

fn match_count(report: &Report) -> String {
    let what = if report.command == "strings" { "string" } else { "match" };
    let count = match report.total {
        0 => format!("no {}", if what == "match" { "matches" } else { "strings" }),
        total => plural(total, what),
    };
    match report.stopped {
        Some(Stop::Limit) => format!("the first {}, its limit (--limit N for more)", plural(report.total, what)),
        Some(Stop::Timeout) => format!("{count}, cut short: its time was up"),
        Some(Stop::Cancelled) => format!("{count}, cut short: interrupted"),
        Some(Stop::TargetGone) => {
            format!("{count}, cut short: the process has ended, gone on, been replaced or detached from")
        }
        None => count,
    }
}

fn map_totals(report: &Report, rows: &[MappingRow]) -> String {
    let size: u64 = rows.iter().map(|row| row.size).sum();
    let resident: u64 = rows.iter().filter_map(|row| row.resident).sum();
    let swapped: u64 = rows.iter().filter_map(|row| row.swapped).sum();
    let known = rows.iter().any(|row| row.resident.is_some());
    let what = if rows.iter().any(|row| row.count.is_some()) { "kind" } else { "region" };
    let shown = rows.len() as u64;
    let count = match report.total > shown {
        true => format!("the first {shown} of {} (--limit N for more)", plural(report.total, what)),
        false => plural(shown, what),
    };
    let mut text = format!("{count}, {}", bytes(size));
    if known {
        let _ = write!(text, ", {} resident, {} swapped", bytes(resident), bytes(swapped));
    }
    if report.stopped.is_some() {
        text.push_str(", cut short");
    }
    text
}

/// How much was looked at, how long it took, and who did it. The speed tells something where all bytes are looked at, as those of
/// memory are.
fn scanned(stats: &Stats, looked: Looked) -> String {
    let workers = match stats.workers {
        0 => "in this process".to_owned(),
        count => format!("by {}", plural(count as u64, "worker")),
    };
    let of = match stats.bytes_planned {
        planned if planned > stats.bytes_scanned + stats.bytes_skipped => format!(" of {}", bytes(planned)),
        _ => String::new(),
    };
    let (size, took) = (bytes(stats.bytes_scanned), seconds(stats.seconds));
    match looked {
        Looked::Threads => format!("taken in {took}, {workers}"),
        Looked::Files => format!("{size}{of} of files read in {took}, {workers}"),
        Looked::Memory => {
            format!("{size}{of} scanned in {took}, {}, {workers}", speed(stats.bytes_scanned, stats.scan_seconds))
        }
    }
}

/// Skipped bytes, by reason, in order of the reasons.
fn skipped(skips: &[Skip]) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for skip in skips {
        let entry = by_reason.entry(&skip.reason).or_default();
        entry.0 += skip.range.len();
        entry.1 += 1;
    }
    let describe = |(reason, (size, count)): (&str, (u64, u64))| {
        let place = if count == 1 {
            let skip = skips.iter().find(|skip| skip.reason == reason);
            skip.map(|skip| format!(" at {:#x}", skip.range.start)).unwrap_or_default()
        } else {
            format!(" in {count} places")
        };
        format!("skipped {}{place}: {reason}", bytes(size))
    };
    by_reason.into_iter().map(describe).collect()
}

/// The line that stands there while it is not known yet how much there is to scan, at most a terminal wide, without a line break.
pub fn survey_line(done: usize, total: usize, style: &Style) -> String {
    let modules = if total == 1 { "module" } else { "modules" };
    shorten(&format!("found the files of {done} of {total} {modules}"), style.width.saturating_sub(1))
}

/// The line that stands below the results while a scan goes on, at most a terminal wide, without a line break.
pub fn progress_line(done: u64, total: u64, elapsed: f64, style: &Style) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let line = format!("scanned {} of {} ({percent}%), {}", bytes(done), bytes(total), speed(done, elapsed));
    shorten(&line, style.width.saturating_sub(1))
}
