//! What the system tells of a process that may not be able to tell it itself.

use std::fs;
use std::io;
use std::time::Duration;

/// What a process is doing at this moment, as far as its pool cares. It is its main thread that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It has a processor, or waits for one.
    Runnable,
    /// It waits for a disk or the like, where no signal reaches it.
    Uninterruptible,
    /// A signal has stopped it. A tracer's stop is none of these: whoever debugs a worker knows why.
    Stopped,
    /// It sleeps, or anything else.
    Other,
}

/// What a process's main thread has had so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Time on a processor. It grows at the clock's ticks, so that it may lag some milliseconds behind.
    pub(crate) ran: Duration,
    /// Time in which it waited for a processor, without the wait that still lasts.
    pub(crate) waited: Duration,
}

/// What the process is doing.
pub(crate) fn activity(pid: u32) -> io::Result<Activity> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat"))?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What the process has had; `None` where the kernel does not count it.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    parse_schedstat(&fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?)
}

/// The process's own memory in bytes: its `RssAnon`.
pub(crate) fn own_memory(pid: u32) -> io::Result<u64> {
    parse_status(&fs::read_to_string(format!("/proc/{pid}/status"))?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The state's letter is the first word after the name, which may hold anything, so that only the last parenthesis counts.
fn parse_stat(stat: &[u8]) -> Option<Activity> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    Some(match stat.get(name_end + 2)? {
        b'R' => Activity::Runnable,
        b'D' => Activity::Uninterruptible,
        b'T' => Activity::Stopped,
        _ => Activity::Other,
    })
}

/// Two times in nanoseconds, and how often it was given a processor: never, of a process that runs, where nothing is counted.
fn parse_schedstat(text: &str) -> Option<Usage> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    let (ran, waited, turns) = (numbers.next()??, numbers.next()??, numbers.next()??);
    (turns > 0).then_some(Usage { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(waited) })
}

fn parse_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_after_the_name() {
        for (stat, expected) in [
            ("7 (worker) R 1 7", Some(Activity::Runnable)),
            ("7 (worker) D 1 7", Some(Activity::Uninterruptible)),
            ("7 (a) T (b) T 1 7", Some(Activity::Stopped)),
            ("7 (a) T (b) t 1 7", Some(Activity::Other)),
            ("7 (worker) S 1 7", Some(Activity::Other)),
            ("7 (worker)", None),
            ("", None),
        ] {
            assert_eq!(parse_stat(stat.as_bytes()), expected, "{stat}");
        }
    }

    #[test]
    fn times_are_nanoseconds_and_none_where_nothing_is_counted() {
        let (ran, waited) = (Duration::from_nanos(1_500), Duration::from_nanos(70));
        assert_eq!(parse_schedstat("1500 70 3\n"), Some(Usage { ran, waited }));
        for text in ["0 0 0\n", "", "1 2", "a b c", "-1 2 3"] {
            assert_eq!(parse_schedstat(text), None, "{text}");
        }
    }

    #[test]
    fn memory_is_in_kilobytes() {
        assert_eq!(parse_status("VmRSS:\t   9 kB\nRssAnon:\t     300 kB\n"), Some(300 * 1024));
        for text in ["", "RssAnon:\t7", "RssAnon:\t7 MB", "RssAnon:\t18446744073709551615 kB"] {
            assert_eq!(parse_status(text), None, "{text}");
        }
    }

    #[test]
    fn this_process_runs() {
        let pid = std::process::id();
        // The main thread waits for the tests' own threads.
        assert!(activity(pid).is_ok_and(|activity| activity != Activity::Stopped));
        assert!(own_memory(pid).is_ok_and(|bytes| bytes > 0));
    }
}
