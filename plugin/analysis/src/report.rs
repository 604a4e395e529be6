//! What a command answers with, whatever the format it is shown in.

use serde::{Deserialize, Serialize};
use target::{AddressRange, Permissions};

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
#[derive(Clone, Debug, PartialEq)]
pub enum Results {
    Matches(Vec<Match>),
    Mappings(Vec<MappingRow>),
    Jobs(Vec<JobRow>),
    Pool(PoolStatus),
    Hosts(Vec<HostRow>),
    Versions(Vec<(String, String)>),
}

/// A place where `find` or `strings` found something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
    /// Index of the pattern, in the order of the command line.
    pub pattern: u32,
    /// The number found, for patterns that look for numbers.
    pub value: Option<Value>,
    pub content: Option<Content>,
    /// The name of its region: its file, or what Linux or we call it. `None` for nameless anonymous memory.
    pub region: Option<String>,
    pub region_permissions: Permissions,
    /// Nearest symbol at or below it, in its module.
    pub symbol: Option<SymbolOffset>,
    /// The debugger's index of the thread whose stack it lies on.
    pub thread: Option<u64>,
    /// The bytes around it, where they were asked for.
    pub context: Option<Context>,
}

/// A number that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// As signed as the pattern was written.
    Int(i128),
    Float(f64),
    Pointer(u64),
}

/// What a match's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Bytes(Vec<u8>),
    /// UTF-8, with `\xNN` for what is not. `cut` if the string goes on after it.
    Text {
        text: String,
        cut: bool,
    },
}

/// A symbol and how far into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolOffset {
    /// Demangled where it was mangled.
    pub name: String,
    pub offset: u64,
}

/// Bytes around a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub start: u64,
    pub bytes: Vec<u8>,
}

/// A row of `map`: a region, or all regions of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingRow {
    pub range: Option<AddressRange>,
    pub permissions: Option<Permissions>,
    /// Whether writes are shared with other processes.
    pub shared: bool,
    /// `code`, `data`, `heap`, `stack`, `anonymous`, `shared`, `file`, `reserved`, `special`, `unknown`.
    pub kind: String,
    pub name: Option<String>,
    /// How many regions it stands for, with `--summary`.
    pub count: Option<u64>,
    pub size: u64,
    pub resident: Option<u64>,
    pub swapped: Option<u64>,
    /// Shannon entropy of its bytes, bits a byte, 0 to 8.
    pub entropy: Option<f64>,
}

/// A job, for `jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    pub job: u64,
    /// The command line, without `mp-scan`.
    pub command: String,
    /// `running`, `finished`, `cancelled`, `failed: …`, ….
    pub state: String,
    /// Bytes done of `total` bytes.
    pub progress: u64,
    pub total: u64,
}

/// The worker pool, for `pool`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolStatus {
    pub workers: Vec<WorkerRow>,
    /// Settings as `KEY`, `VALUE`.
    pub settings: Vec<(String, String)>,
    /// Other machines, whether they are in use or not.
    pub hosts: Vec<HostRow>,
}

/// Another machine that has workers, for `pool hosts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRow {
    /// Its number, from 1 on: what it is removed by.
    pub host: u64,
    /// The command that runs another one there.
    pub command: String,
    /// How many workers it has.
    pub slots: u64,
    /// The worker program over there.
    pub worker: String,
}

/// A worker, for `pool status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerRow {
    /// The machine that it is on; `None` for this one.
    pub host: Option<String>,
    /// Its process; `None` while there is none.
    pub pid: Option<u32>,
    /// `idle`, `busy`, `starting`, `down`.
    pub state: String,
    /// Why it is down.
    pub reason: Option<String>,
    pub tasks: u64,
    /// How many workers have died in this place.
    pub deaths: u64,
    /// Its own memory (RssAnon), bytes; `None` on another machine.
    pub memory: Option<u64>,
}
