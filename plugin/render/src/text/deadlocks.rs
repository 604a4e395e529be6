//! Who waits for whom.

use super::stacks::thread_list;
use super::symbols::base;
use super::{Style, escape, shorten};
use crate::units::plural;
use analysis::{DeadlockKind, DeadlockRow, LockRow, Report, StuckRow, ThreadRef};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Of so many locks of a row it is shown who waits for them.
const MOST_LOCKS: usize = 16;

/// So many threads of a cycle are shown, so that one of a hundred is no screen of its own.
const MOST_MEMBERS: usize = 16;

/// So many places in which threads wait for a lock are shown, those of most threads.
const MOST_PLACES: usize = 8;

/// A row: what it is in a line, and below it a line for each thread of a cycle, and for each lock of a queue, as far as they are
/// not too many.
pub(super) fn deadlock(row: &DeadlockRow, style: &Style) -> String {
    match row.kind {
        DeadlockKind::Cycle => cycle(row, style),
        DeadlockKind::Queue | DeadlockKind::Wait => queue(row, style),
    }
}

fn cycle(row: &DeadlockRow, style: &Style) -> String {
    let head = match &row.threads[..] {
        [one] => format!("deadlock: {} waits for itself", thread(&one.thread, one.name.as_deref())),
        threads => format!("deadlock: {} threads wait for each other", threads.len()),
    };
    let mut text = format!("{}\n", style.mark(&head));
    let (shown, hidden) = cut(&row.threads, MOST_MEMBERS);
    for stuck in shown {
        let name = thread(&stuck.thread, stuck.name.as_deref());
        let lock = stuck.lock.and_then(|lock| row.locks.get(lock));
        let wait = lock.map(|lock| format!("  {name} waits for {}", what(lock, stuck.wants.as_deref())));
        text.push_str(&with_place(&wait.unwrap_or_default(), &place(stuck), style));
    }
    if !hidden.is_empty() {
        let _ = writeln!(text, "  … and {} more (--format json for all)", hidden.len());
    }
    if !row.behind.is_empty() {
        let _ = writeln!(text, "  and behind them {}:", waiting(row.behind.len()));
        text.push_str(&by_lock(&row.behind, &row.locks, style));
    }
    text
}

fn queue(row: &DeadlockRow, style: &Style) -> String {
    let count = waiting(row.threads.len());
    let Some(owner) = &row.owner else {
        // It is said in the head what they wait for, if that is one thing or things of a kind.
        return match &row.locks[..] {
            [lock] => {
                let head = format!("{count} for {}", what(lock, None));
                let places = places(&row.threads);
                match &places[..] {
                    [(place, _)] => with_place(&format!("{head}: {}", numbers(row.threads.iter())), place, style),
                    places => {
                        let head = shorten(&head, style.width);
                        format!("{head}: {}\n{}", numbers(row.threads.iter()), in_places(places, style))
                    }
                }
            }
            [first, ..] if row.kind == DeadlockKind::Wait => {
                let head = format!("{count}, each for its own {}", escape(&first.kind));
                let place = row.threads.first().map(place).unwrap_or_default();
                with_place(&format!("{head}: {}", numbers(row.threads.iter())), &place, style)
            }
            [first, ..] => {
                let head = shorten(&format!("{count} for {}", what(first, None)), style.width);
                format!("{head}, directly or through others:\n{}", by_lock(&row.threads, &row.locks, style))
            }
            [] => format!("{count}\n"),
        };
    };
    let mut head = format!("{count} for {}", thread(&owner.thread, owner.name.as_deref()));
    match (&owner.call, owner.thread.number) {
        (_, None) => head.push_str(", which has ended or is not of this process"),
        (Some(call), _) if call == "futex" || call.starts_with("futex_") => head.push_str(", which waits itself"),
        (Some(call), _) => drop(write!(head, ", which sleeps in {}()", escape(call))),
        (None, _) => {}
    }
    format!("{}{}", with_place(&head, &place(owner), style), by_lock(&row.threads, &row.locks, style))
}

/// Those that are shown of some, and the others. That there is one more takes as much room as that one.
fn cut<T>(all: &[T], most: usize) -> (&[T], &[T]) {
    all.split_at(if all.len() > most + 1 { most } else { all.len() })
}

/// `5 threads wait`, `1 thread waits`.
fn waiting(count: usize) -> String {
    format!("{} wait{}", plural(count as u64, "thread"), if count == 1 { "s" } else { "" })
}

/// A line for each lock, with the threads that wait for it, and one for each place that they wait in. Of more locks than
/// [`MOST_LOCKS`] it is only said how many there are.
fn by_lock(threads: &[StuckRow], locks: &[LockRow], style: &Style) -> String {
    let mut waiting: Vec<Vec<&StuckRow>> = vec![Vec::new(); locks.len()];
    for stuck in threads {
        if let Some(of_lock) = stuck.lock.and_then(|lock| waiting.get_mut(lock)) {
            of_lock.push(stuck);
        }
    }
    let mut waited_for = locks.iter().zip(&waiting).filter(|(_, of_lock)| !of_lock.is_empty());
    let mut text = String::new();
    for (lock, of_lock) in waited_for.by_ref().take(MOST_LOCKS) {
        let head = format!("  {}: {}", what(lock, None), numbers(of_lock.iter().copied()));
        let places = places(of_lock.iter().copied());
        match &places[..] {
            [(place, _)] => text.push_str(&with_place(&head, place, style)),
            places => drop(write!(text, "{}\n{}", shorten(&head, style.width), in_places(places, style))),
        }
    }
    let more = waited_for.count() as u64;
    if more > 0 {
        let _ = writeln!(text, "  and {}", plural(more, "more lock"));
    }
    text
}

/// The places that threads wait in, those of most threads first.
fn places<'a>(threads: impl IntoIterator<Item = &'a StuckRow>) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for stuck in threads {
        *counts.entry(place(stuck)).or_default() += 1;
    }
    let mut places: Vec<(String, u64)> = counts.into_iter().collect();
    places.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    places
}

fn in_places(places: &[(String, u64)], style: &Style) -> String {
    let (shown, hidden) = cut(places, MOST_PLACES);
    let mut text = String::new();
    for (place, count) in shown {
        let place = if place.is_empty() { "somewhere" } else { place };
        let _ = writeln!(text, "{}", shorten(&format!("      {count} {place}"), style.width));
    }
    if !hidden.is_empty() {
        let count: u64 = hidden.iter().map(|(_, count)| count).sum();
        let _ = writeln!(text, "      {count} in {} more places", hidden.len());
    }
    text
}

/// A line with a place behind it, or under it if it is too long for that.
fn with_place(line: &str, place: &str, style: &Style) -> String {
    let both = format!("{line}, {place}");
    match place.is_empty() {
        true => format!("{}\n", shorten(line, style.width)),
        false if both.chars().count() <= style.width => format!("{both}\n"),
        false => {
            format!("{}\n", shorten(line, style.width))
                + &format!("{}\n", shorten(&format!("      {place}"), style.width))
        }
    }
}

/// What a lock is, what is known of it, and who has it.
fn what(lock: &LockRow, wants: Option<&str>) -> String {
    if let ("end of a thread", [owner]) = (&lock.kind[..], &lock.owners[..]) {
        return format!("the end of {}", thread(owner, None));
    }
    let mut text = format!("{} {:#x}", escape(&lock.kind), lock.address);
    if let Some(symbol) = &lock.symbol {
        let _ = write!(text, " {}", escape(&symbol.name));
        if symbol.offset > 0 {
            let _ = write!(text, "+{:#x}", symbol.offset);
        }
    }
    if let Some(wants) = wants {
        let _ = write!(text, " to {wants}");
    }
    if let Some(state) = &lock.state {
        let _ = write!(text, " ({})", escape(state));
    }
    let seems = if lock.inferred { " as it seems" } else { "" };
    match &lock.owners[..] {
        [] => {}
        [owner] => drop(write!(text, ", held{seems} by {}", thread(owner, None))),
        owners => drop(write!(text, ", held{seems} by {}", threads(owners))),
    }
    if !lock.candidates.is_empty() {
        let _ = write!(text, ", perhaps held by {}", threads(&lock.candidates));
    }
    text
}

/// A thread by its number; one that there is not by the system's.
fn thread(thread: &ThreadRef, name: Option<&str>) -> String {
    let name = name.map(|name| format!(" ({})", escape(name))).unwrap_or_default();
    match thread.number {
        Some(number) => format!("thread {number}{name}"),
        None => format!("thread {} (ended)", thread.id),
    }
}

fn numbers<'a>(threads_of: impl IntoIterator<Item = &'a StuckRow>) -> String {
    threads(&threads_of.into_iter().map(|stuck| stuck.thread).collect::<Vec<_>>())
}

/// `threads 2 5-9`.
fn threads(all: &[ThreadRef]) -> String {
    let mut numbers: Vec<u64> = all.iter().filter_map(|thread| thread.number).collect();
    numbers.sort_unstable();
    format!("thread{} {}", if all.len() == 1 { "" } else { "s" }, thread_list(&numbers))
}

/// `in FUNCTION at FILE:LINE`, as far as it is known; empty if nothing is.
fn place(stuck: &StuckRow) -> String {
    const NAME: usize = 60;
    let Some(place) = &stuck.place else {
        return match &stuck.module {
            Some(module) => format!("at {:#x} in {}", stuck.pc, base(module)),
            None => String::new(),
        };
    };
    let function =
        place.function.as_deref().map_or_else(|| format!("{:#x}", stuck.pc), |name| shorten(&escape(name), NAME));
    let source = match (&place.file, place.line) {
        (Some(file), Some(line)) => format!(" at {}:{line}", base(file)),
        (Some(file), None) => format!(" at {}", base(file)),
        (None, _) => stuck.module.as_deref().map(|module| format!(" of {}", base(module))).unwrap_or_default(),
    };
    format!("in {function}{source}")
}

/// How many there are of each kind.
pub(super) fn count(report: &Report, rows: &[DeadlockRow]) -> String {
    let of = |kind| rows.iter().filter(|row| row.kind == kind).count() as u64;
    let counts = [
        (of(DeadlockKind::Cycle), "deadlock"),
        (of(DeadlockKind::Queue), "queue"),
        (of(DeadlockKind::Wait), "other wait"),
    ];
    let mut parts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| plural(*count, what)).collect();
    if counts[0].0 == 0 {
        parts.insert(0, "no deadlock".to_owned());
    }
    let left = report.total.saturating_sub(rows.len() as u64);
    if left > 0 {
        parts.push(format!("{left} more (--limit N for more)"));
    }
    parts.join(", ")
}
