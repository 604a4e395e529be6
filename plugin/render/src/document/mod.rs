//! The fields of a report as scripts see them. Addresses are hex strings, sizes and counts numbers, bytes lower-case hex
//! without spaces; a field that is not known is left out.

mod deadlocks;
mod heap;
mod rows;
mod stacks;
mod symbols;

use analysis::{
    Content, HostRow, JobRow, MappingRow, Match, PoolStatus, Report, Results, Stop, TargetKind, Value, WorkerRow,
};
use heap::{AllocationDocument, Totals, allocation, totals};
use rows::{Place, Placed, Rows};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use target::Permissions;

const SCHEMA: u32 = 1;

/// Writes the report as one JSON document, with a line break at its end.
///
/// # Errors
/// Those of `out`.
pub fn json(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut to = serde_json::Serializer::with_formatter(&mut *out, Placed(&report.results));
    Document::new(report, Place).serialize(&mut to)?;
    out.write_all(b"\n")
}

/// Writes the report as one RON document of the same shape, with a line break at its end.
///
/// # Errors
/// Those of `out`.
pub fn ron(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let config = ron::ser::PrettyConfig::new().depth_limit(3).extensions(ron::extensions::Extensions::IMPLICIT_SOME);
    let written = ron::Options::default().to_io_writer_pretty(
        &mut *out,
        &Document::new(report, Rows::all(&report.results)),
        config,
    );
    written.map_err(io::Error::other)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Document<'a, R> {
    schema: u32,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target<'a>>,
    stats: Stats,
    total: u64,
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<&'static str>,
    skipped: Vec<Skipped<'a>>,
    /// Sums over all there is, for the heap's commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Totals>,
    results: R,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<BTreeMap<&'a str, &'a str>>,
    /// Other machines that have workers, for the pool's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<HostDocument<'a>>>,
}

#[derive(Serialize)]
struct Target<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_id: Option<u32>,
    ran: bool,
}

#[derive(Serialize)]
struct Stats {
    bytes_scanned: u64,
    bytes_skipped: u64,
    seconds: f64,
    scan_seconds: f64,
    workers: usize,
    tasks: u64,
    retried: u64,
    deaths: u64,
    /// Of which a copy is kept until the process runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_copied: Option<u64>,
    /// Of tables and graphs.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// Mappings that the process itself may not read, and which were therefore not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOut>,
}

#[derive(Serialize)]
struct LeftOut {
    mappings: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Skipped<'a> {
    start: String,
    end: String,
    reason: &'a str,
}

#[derive(Serialize)]
struct MatchRow<'a> {
    /// Left out for what lies in a register.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    register: Option<&'a str>,
    size: u64,
    pattern: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// Present, and true, where the string goes on after its text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocation: Option<AllocationDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<StackFrameRow<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<ContextRow>,
}

#[derive(Serialize)]
struct ContextRow {
    start: String,
    bytes: String,
}

/// A value that was searched: numbers where JSON has them, else strings.
#[derive(Serialize)]
#[serde(untagged)]
enum Number {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

#[derive(Serialize)]
struct MapRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<String>,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    swapped: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entropy: Option<f64>,
}

#[derive(Serialize)]
struct JobDocument<'a> {
    job: u64,
    command: &'a str,
    state: &'a str,
    progress: u64,
    total: u64,
}

#[derive(Serialize)]
struct WorkerDocument<'a> {
    /// Left out for this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    state: &'a str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    tasks: u64,
    deaths: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
}

#[derive(Serialize)]
struct HostDocument<'a> {
    host: u64,
    command: &'a str,
    slots: u64,
    worker: &'a str,
}

impl<'a, R> Document<'a, R> {
    /// A report's document, with `results` for its rows.
    fn new(report: &'a Report, results: R) -> Self {
        let settings = match &report.results {
            Results::Pool(PoolStatus { settings, .. }) => {
                Some(settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
            }
            _ => None,
        };
        let hosts = match &report.results {
            Results::Pool(PoolStatus { hosts, .. }) if !hosts.is_empty() => Some(hosts.iter().map(host_row).collect()),
            _ => None,
        };
        let skipped = report.skipped.iter().map(|skip| Skipped {
            start: hex(skip.range.start),
            end: hex(skip.range.end),
            reason: &skip.reason,
        });
        Self {
            schema: SCHEMA,
            command: &report.command,
            target: report.target.as_ref().map(|target| Target {
                kind: match target.kind {
                    TargetKind::Live => "live",
                    TargetKind::Core => "core",
                    TargetKind::Relayed => "relayed",
                    TargetKind::Static => "static",
                },
                pid: target.pid,
                executable: target.executable.as_deref(),
                stop_id: target.stop_id,
                ran: target.ran,
            }),
            stats: Stats {
                bytes_scanned: report.stats.bytes_scanned,
                bytes_skipped: report.stats.bytes_skipped,
                seconds: report.stats.seconds,
                scan_seconds: report.stats.scan_seconds,
                workers: report.stats.workers,
                tasks: report.stats.tasks,
                retried: report.stats.retried,
                deaths: report.stats.deaths,
                bytes_copied: Some(report.stats.bytes_copied).filter(|bytes| *bytes > 0),
                memory: Some(report.stats.memory).filter(|bytes| *bytes > 0),
                left_out: Some(report.stats.left_out)
                    .filter(|(mappings, _)| *mappings > 0)
                    .map(|(mappings, bytes)| LeftOut { mappings, bytes }),
            },
            total: report.total,
            truncated: report.truncated,
            stopped: report.stopped.map(|stop| match stop {
                Stop::Limit => "limit",
                Stop::Timeout => "timeout",
                Stop::Cancelled => "cancelled",
                Stop::TargetGone => "target gone",
            }),
            skipped: skipped.collect(),
            totals: totals(&report.results),
            results,
            notes: &report.notes,
            settings,
            hosts,
        }
    }
}

#[derive(Serialize)]
struct StackFrameRow<'a> {
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
}

fn match_row(found: &Match) -> MatchRow<'_> {
    let (bytes, text, cut) = match &found.content {
        Some(Content::Bytes(bytes)) => (Some(hex_bytes(bytes)), None, false),
        Some(Content::Text { text, cut }) => (None, Some(text.as_str()), *cut),
        None => (None, None, false),
    };
    MatchRow {
        address: found.register.is_none().then(|| hex(found.address)),
        register: found.register.as_deref(),
        size: found.size,
        pattern: found.pattern,
        value: found.value.map(number),
        bytes,
        text,
        cut,
        region: found.register.is_none().then(|| found.region.as_deref().unwrap_or("anonymous")),
        allocation: found.allocation.as_ref().map(allocation),
        symbol: found.symbol.as_ref().map(|symbol| symbol.name.as_str()),
        offset: found.symbol.as_ref().map(|symbol| symbol.offset),
        thread: found.thread,
        frame: found
            .frame
            .as_ref()
            .map(|frame| StackFrameRow { index: frame.index, function: frame.function.as_deref() }),
        context: found
            .context
            .as_ref()
            .map(|context| ContextRow { start: hex(context.start), bytes: hex_bytes(&context.bytes) }),
    }
}

fn number(value: Value) -> Number {
    match value {
        Value::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => Number::Signed(value),
            (_, Ok(value)) => Number::Unsigned(value),
            _ => Number::Text(value.to_string()),
        },
        Value::Float(value) if value.is_finite() => Number::Float(value),
        Value::Float(value) => Number::Text(value.to_string()),
        Value::Pointer(value) => Number::Text(hex(value)),
    }
}

fn map_row(row: &MappingRow) -> MapRow<'_> {
    MapRow {
        start: row.range.map(|range| hex(range.start)),
        end: row.range.map(|range| hex(range.end)),
        permissions: row.permissions.map(|permissions| permission_letters(permissions, row.shared)),
        kind: &row.kind,
        name: row.name.as_deref(),
        count: row.count,
        size: row.size,
        resident: row.resident,
        swapped: row.swapped,
        entropy: row.entropy,
    }
}

fn job_row(row: &JobRow) -> JobDocument<'_> {
    JobDocument { job: row.job, command: &row.command, state: &row.state, progress: row.progress, total: row.total }
}

fn worker_row(row: &WorkerRow) -> WorkerDocument<'_> {
    WorkerDocument {
        host: row.host.as_deref(),
        pid: row.pid,
        state: &row.state,
        reason: row.reason.as_deref(),
        tasks: row.tasks,
        deaths: row.deaths,
        memory: row.memory,
    }
}

fn host_row(row: &HostRow) -> HostDocument<'_> {
    HostDocument { host: row.host, command: &row.command, slots: row.slots, worker: &row.worker }
}

/// As in /proc/PID/maps: `rw-p`.
pub fn permission_letters(permissions: Permissions, shared: bool) -> String {
    let letter = |flag, letter| if permissions.contains(flag) { letter } else { '-' };
    [
        letter(Permissions::READ, 'r'),
        letter(Permissions::WRITE, 'w'),
        letter(Permissions::EXECUTE, 'x'),
        if shared { 's' } else { 'p' },
    ]
    .into_iter()
    .collect()
}

fn hex(address: u64) -> String {
    format!("{address:#x}")
}

fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
