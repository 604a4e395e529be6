//! What the tests of different commands' reports share.

use analysis::{Columns, Report, Results, Stats};

/// A report of a command that two workers have brought to its end, and that knows of no target.
pub fn report(command: &str, results: Results, total: u64) -> Report {
    Report {
        command: command.into(),
        target: None,
        stats: Stats { workers: 2, ..Stats::default() },
        total,
        truncated: false,
        stopped: None,
        skipped: Vec::new(),
        results,
        notes: Vec::new(),
        columns: Columns::default(),
    }
}
