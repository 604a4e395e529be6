//! The fields of what `stacks` finds.

use super::hex;
use analysis::{BranchRow, CallRow, StackRow, ThreadRow};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(super) struct StackDocument<'a> {
    count: usize,
    /// The debugger's numbers, and in the same order the system's ids.
    threads: Vec<u64>,
    tids: Vec<u64>,
    /// How many of the threads have which name, and which state.
    names: BTreeMap<&'a str, u64>,
    states: BTreeMap<&'a str, u64>,
    frames: Vec<CallDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    by_debugger: bool,
}

#[derive(Serialize)]
pub(super) struct CallDocument<'a> {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
    inlined: bool,
}

#[derive(Serialize)]
pub(super) struct BranchDocument<'a> {
    depth: usize,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Those whose stack ends here.
    threads: Vec<u64>,
}

pub(super) fn stack_row(row: &StackRow) -> StackDocument<'_> {
    let count = |field: fn(&ThreadRow) -> Option<&str>| {
        let mut counts = BTreeMap::new();
        for value in row.threads.iter().filter_map(field) {
            *counts.entry(value).or_insert(0) += 1;
        }
        counts
    };
    StackDocument {
        count: row.threads.len(),
        threads: row.threads.iter().map(|thread| thread.number).collect(),
        tids: row.threads.iter().map(|thread| thread.id).collect(),
        names: count(|thread| thread.name.as_deref()),
        states: count(|thread| thread.state.as_deref()),
        frames: row.frames.iter().map(call_row).collect(),
        end: row.end.as_deref(),
        by_debugger: row.by_debugger,
    }
}

pub(super) fn call_row(row: &CallRow) -> CallDocument<'_> {
    CallDocument {
        address: hex(row.address),
        function: row.function.as_deref(),
        offset: row.offset,
        module: row.module.as_deref(),
        file: row.file.as_deref(),
        line: row.line,
        column: row.column,
        inlined: row.inlined,
    }
}

pub(super) fn branch_row(row: &BranchRow) -> BranchDocument<'_> {
    BranchDocument {
        depth: row.depth,
        count: row.count,
        function: row.function.as_deref(),
        module: row.module.as_deref(),
        file: row.file.as_deref(),
        line: row.line,
        threads: row.threads.iter().map(|thread| thread.number).collect(),
    }
}
