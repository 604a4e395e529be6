//! What `stacks` finds: a paragraph for each stack, or a tree.

use super::symbols::{base, file_name, source};
use super::{Style, escape, shorten};
use crate::units::plural;
use analysis::{BranchRow, CallRow, StackRow, StackRows, ThreadRow};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// As many calls of a stack are shown: of a longer one, the innermost and the outermost.
const INNERMOST: usize = 12;
const OUTERMOST: usize = 3;

/// As many threads, or runs of threads, are named.
const NAMED: usize = 8;

pub(super) fn stacks(rows: &StackRows, style: &Style) -> String {
    rows.rows.iter().map(|row| stack(row, rows, style)).collect()
}

fn stack(row: &StackRow, rows: &StackRows, style: &Style) -> String {
    let mut head = plural(row.threads.len() as u64, "thread");
    let _ = write!(head, ": {}", list(&row.threads));
    let names = counts(row.threads.iter().filter_map(|thread| thread.name.as_deref()));
    if !names.is_empty() {
        let _ = write!(head, " ({})", shares(&names, row.threads.len()));
    }
    if rows.states {
        let states = row.threads.iter().map(|thread| thread.state.as_deref().unwrap_or("unknown"));
        let _ = write!(head, ", {}", shares(&counts(states), row.threads.len()));
    }
    let mut text = style.mark(&shorten(&head, style.width.max(40)));
    text.push('\n');
    let calls = folded(&row.frames);
    let hidden = match calls.len() {
        count if count > INNERMOST + OUTERMOST + 1 && !rows.all_frames => INNERMOST..count - OUTERMOST,
        _ => 0..0,
    };
    for (index, (call, times)) in calls.iter().enumerate().filter(|(index, _)| !hidden.contains(index)) {
        let times = if *times > 1 { format!("  {times} times") } else { String::new() };
        let room = style.width.saturating_sub(4 + times.len()).max(40);
        let _ = writeln!(text, "    {}{times}", shorten(&function(call), room));
        if !hidden.is_empty() && index + 1 == hidden.start {
            let _ = writeln!(text, "    … {} more (--all-frames)", hidden.len());
        }
    }
    if let Some(end) = &row.end {
        let _ = writeln!(text, "    (the stack is known to here: {end})");
    }
    text
}

/// The calls, each that makes the same call again once, with how often.
fn folded(calls: &[CallRow]) -> Vec<(&CallRow, usize)> {
    let mut folded: Vec<(&CallRow, usize)> = Vec::new();
    for call in calls {
        match folded.last_mut() {
            Some((last, times)) if *last == call => *times += 1,
            _ => folded.push((call, 1)),
        }
    }
    folded
}

/// A function, and where it is, or its module where that is not known.
fn function(call: &CallRow) -> String {
    let mut text = match (&call.function, call.offset) {
        (Some(function), Some(offset)) if offset > 0 => format!("{}+{offset:#x}", escape(function)),
        (Some(function), _) => escape(function),
        (None, _) => format!("{:#x}", call.address),
    };
    if call.inlined {
        text.push_str(" (inlined)");
    }
    match &call.file {
        Some(_) => text.push_str(&source(call.file.as_deref().map(file_name), call.line)),
        None => {
            let module = call.module.as_deref().map_or_else(|| "no module".to_owned(), base);
            let _ = write!(text, "  {module}");
        }
    }
    text
}

/// The tree, in which what only one function calls is no further to the right than that one.
pub(super) fn tree(rows: &[BranchRow], style: &Style) -> String {
    rows.iter().map(|row| branch(row, style)).collect()
}

fn branch(row: &BranchRow, style: &Style) -> String {
    let call = CallRow {
        function: row.function.clone(),
        module: row.module.clone(),
        file: row.file.clone(),
        line: row.line,
        ..CallRow::default()
    };
    let name = match row.function {
        Some(_) => function(&call),
        None => format!("??  {}", row.module.as_deref().map_or_else(|| "no module".to_owned(), base)),
    };
    let mut line = format!("{:>7}  {:indent$}{name}", row.count, "", indent = 2 * row.forks);
    if !row.threads.is_empty() {
        let _ = write!(line, "  [{}]", list(&row.threads));
    }
    format!("{}\n", shorten(&line, style.width.max(40)))
}

/// How many there are of each.
fn counts<'a>(values: impl Iterator<Item = &'a str>) -> Vec<(&'a str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// The commonest of them, with their numbers where not all have the same.
fn shares(counts: &[(&str, usize)], all: usize) -> String {
    let share = |(value, count): &(&str, usize)| match *count == all || *count == 1 {
        true => escape(value),
        false => format!("{} {count}", escape(value)),
    };
    let mut text: Vec<String> = counts.iter().take(4).map(share).collect();
    if counts.len() > text.len() {
        text.push("…".to_owned());
    }
    text.join(", ")
}

fn list(threads: &[ThreadRow]) -> String {
    thread_list(&threads.iter().map(|thread| thread.number).collect::<Vec<_>>())
}

/// Numbers of threads: the first of them, runs as `FIRST-LAST`, and how many others there are.
pub fn thread_list(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let run = |(first, last): &(u64, u64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first} {last}"),
        _ => format!("{first}-{last}"),
    };
    let mut text: Vec<String> = runs.iter().take(NAMED).map(run).collect();
    let shown: u64 = runs.iter().take(NAMED).map(|(first, last)| last - first + 1).sum();
    let more = numbers.len() as u64 - shown;
    if more > 0 {
        text.push(format!("and {more} more"));
    }
    text.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_follow_one_another_are_one_run() {
        assert_eq!(thread_list(&[]), "");
        assert_eq!(thread_list(&[7]), "7");
        assert_eq!(thread_list(&[1, 2, 4, 5, 6, 9]), "1 2 4-6 9");
        let even: Vec<u64> = (1..50).map(|number| 2 * number).collect();
        assert_eq!(thread_list(&even), "2 4 6 8 10 12 14 16 and 41 more");
    }
}
