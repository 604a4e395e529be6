//! What a command answers with, whatever the format it is shown in.

mod deadlocks;
mod heap;
mod lookup;
mod memory;
mod stacks;
mod status;
mod symbols;
mod types;
mod xrefs;

use serde::{Deserialize, Serialize};
use target::AddressRange;

pub use deadlocks::{DeadlockKind, DeadlockRow, LockRow, StuckRow, ThreadRef};
pub use heap::{
    AllocationRow, BeforeRow, FindingRow, HeapRow, HeapRows, HeapTotals, LeakGroup, LeakRow, LeakRows, ObjectRow,
    ObjectRows, RefRow, Sum,
};
pub use lookup::{FrameRow, LineRow, LookupRow};
pub use memory::{Content, Context, MappingRow, Match, StackFrame, SymbolOffset, Value};
pub use stacks::{BranchRow, CallRow, StackRow, StackRows, ThreadRow};
pub use status::{HostRow, JobRow, PoolStatus, WorkerRow};
pub use symbols::SymbolRow;
pub use types::{HoleRow, LayoutRow, MemberRow, TypeRow, Unknown};
pub use xrefs::XrefRow;

/// The whole answer of one command.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// `find`, `strings`, ….
    pub command: String,
    /// What was looked at; `None` for commands that need no target.
    pub target: Option<TargetInfo>,
    pub stats: Stats,
    /// How many results there are; those of `results` may be fewer.
    pub total: u64,
    /// Whether it stopped before everything was scanned: at its limit, at its timeout, or because it was told to.
    pub truncated: bool,
    /// Why it stopped early, where it did.
    pub stopped: Option<Stop>,
    /// What could not be read or done, in address order.
    pub skipped: Vec<Skip>,
    pub results: Results,
    /// What else the user should know, a line each.
    pub notes: Vec<String>,
    /// What text shows of each match beside its address and place.
    pub columns: Columns,
}

/// What text shows of each match, where it tells matches apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The size varies.
    pub size: bool,
    /// There are several patterns.
    pub pattern: bool,
}

/// Why a scan ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// As many results as were asked for are certain.
    Limit,
    /// Its time was up.
    Timeout,
    /// Ctrl-C, or `jobs cancel`.
    Cancelled,
    /// The process that it read ended, was detached from, or runs another program now.
    TargetGone,
}

/// What a report was taken from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetInfo {
    pub kind: TargetKind,
    pub pid: Option<u64>,
    pub executable: Option<String>,
    /// The debugger's number of the stop at which it was taken.
    pub stop_id: Option<u32>,
    /// Whether the process ran while it was read.
    pub ran: bool,
}

/// How a target is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetKind {
    /// A process on this machine, read directly.
    Live,
    /// A core file.
    Core,
    /// Read through the debugger.
    Relayed,
    /// Files alone; there is no process.
    #[default]
    Static,
}

/// What it took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    pub bytes_scanned: u64,
    /// What it would scan if it were not stopped.
    pub bytes_planned: u64,
    /// Bytes in `skipped`.
    pub bytes_skipped: u64,
    /// From the command's entry to the report being complete.
    pub seconds: f64,
    /// From the first task sent to the last partial in.
    pub scan_seconds: f64,
    /// Worker processes; 0 if it ran in this process.
    pub workers: usize,
    pub tasks: u64,
    /// Tasks that were run again because a worker died or hung with them.
    pub retried: u64,
    /// Workers that died during it.
    pub deaths: u64,
    /// Bytes of the target's memory of which a copy is kept until the process runs.
    pub bytes_copied: u64,
    /// Bytes of the tables and graphs that it has made or was told by: those that workers share, and this process's own.
    pub memory: u64,
    /// Mappings not read because they are not readable for the process itself: how many, and bytes.
    pub left_out: (u64, u64),
}

/// A range that is not covered, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    pub range: AddressRange,
    /// A fragment: `unreadable memory`, `a worker died of SIGSEGV`.
    pub reason: String,
}

/// A command's results: in address order, unless the command ranks them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Results {
    Matches(Vec<Match>),
    Mappings(Vec<MappingRow>),
    Symbols(Vec<SymbolRow>),
    Types(Vec<TypeRow>),
    Xrefs(Vec<XrefRow>),
    Lookups(Vec<LookupRow>),
    Lines(Vec<LineRow>),
    Heap(HeapRows),
    Leaks(LeakRows),
    Refs(Vec<RefRow>),
    Objects(ObjectRows),
    Findings(Vec<FindingRow>),
    Deadlocks(Vec<DeadlockRow>),
    Stacks(StackRows),
    Branches(Vec<BranchRow>),
    Jobs(Vec<JobRow>),
    Pool(PoolStatus),
    Hosts(Vec<HostRow>),
    Versions(Vec<(String, String)>),
}

/// Does the same to the rows of whatever kind of results has pages, and something else to those that have none.
macro_rules! rows {
    ($results:expr, $rows:ident => $each:expr, else $other:expr) => {
        match $results {
            Results::Matches($rows) => $each,
            Results::Mappings($rows) => $each,
            Results::Symbols($rows) => $each,
            Results::Types($rows) => $each,
            Results::Xrefs($rows) => $each,
            Results::Lookups($rows) => $each,
            Results::Lines($rows) => $each,
            Results::Refs($rows) => $each,
            Results::Findings($rows) => $each,
            Results::Deadlocks($rows) => $each,
            Results::Heap(HeapRows { rows: $rows, .. }) => $each,
            Results::Leaks(LeakRows { rows: $rows, .. }) => $each,
            Results::Objects(ObjectRows { rows: $rows, .. }) => $each,
            Results::Stacks(StackRows { rows: $rows, .. }) => $each,
            Results::Branches($rows) => $each,
            Results::Jobs(_) | Results::Pool(_) | Results::Hosts(_) | Results::Versions(_) => $other,
        }
    };
}

impl Results {
    /// How many rows there are; `None` for results that are always shown whole.
    pub fn count(&self) -> Option<usize> {
        rows!(self, rows => Some(rows.len()), else None)
    }

    /// Leaves `limit` rows from number `from` on, counted from 0. Results that are always shown whole stay so.
    pub fn page(&mut self, from: usize, limit: usize) {
        fn cut<T>(rows: &mut Vec<T>, from: usize, limit: usize) {
            rows.drain(..from.min(rows.len()));
            rows.truncate(limit);
        }
        if let Self::Leaks(LeakRows { groups, .. }) = self {
            cut(groups, from, limit);
        }
        rows!(self, rows => cut(rows, from, limit), else ());
    }

    /// Puts more rows of the same kind behind these; others are left out.
    pub fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Matches(rows), Self::Matches(mut more)) => rows.append(&mut more),
            (Self::Mappings(rows), Self::Mappings(mut more)) => rows.append(&mut more),
            (Self::Symbols(rows), Self::Symbols(mut more)) => rows.append(&mut more),
            (Self::Types(rows), Self::Types(mut more)) => rows.append(&mut more),
            (Self::Xrefs(rows), Self::Xrefs(mut more)) => rows.append(&mut more),
            (Self::Lookups(rows), Self::Lookups(mut more)) => rows.append(&mut more),
            (Self::Lines(rows), Self::Lines(mut more)) => rows.append(&mut more),
            (Self::Refs(rows), Self::Refs(mut more)) => rows.append(&mut more),
            (Self::Objects(rows), Self::Objects(mut more)) => rows.rows.append(&mut more.rows),
            (Self::Findings(rows), Self::Findings(mut more)) => rows.append(&mut more),
            (Self::Deadlocks(rows), Self::Deadlocks(mut more)) => rows.append(&mut more),
            (Self::Stacks(rows), Self::Stacks(mut more)) => rows.rows.append(&mut more.rows),
            (Self::Branches(rows), Self::Branches(mut more)) => rows.append(&mut more),
            _ => {}
        }
    }
}
