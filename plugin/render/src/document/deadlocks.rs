//! The fields of who waits for whom.

use super::hex;
use analysis::{DeadlockKind, DeadlockRow, LockRow, StuckRow, ThreadRef};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct DeadlockDocument<'a> {
    cycle: bool,
    kind: &'static str,
    /// The system's ids of threads that wait: around a cycle, each for the next one.
    threads: Vec<u64>,
    /// Those that wait for a cycle's threads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    behind: Vec<u64>,
    /// Whom all wait for in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<ThreadDocument<'a>>,
    locks: Vec<LockDocument<'a>>,
    /// Each thread with where it waits.
    waits: Vec<ThreadDocument<'a>>,
}

#[derive(Serialize)]
struct LockDocument<'a> {
    address: String,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// The system's id of the one thread that has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<u64>,
    /// Where several have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<u64>,
    /// Present, and true, for an owner that is no thread, or not any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    owner_gone: bool,
    /// Present, and true, if the owner is told by the threads' stacks and not by the lock.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    inferred: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    waiters: Vec<u64>,
}

#[derive(Serialize)]
struct ThreadDocument<'a> {
    thread: u64,
    /// The debugger's number of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// The address of what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wants: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

pub(super) fn deadlock_row(row: &DeadlockRow) -> DeadlockDocument<'_> {
    let ids = |rows: &[StuckRow]| rows.iter().map(|stuck| stuck.thread.id).collect();
    DeadlockDocument {
        cycle: row.kind == DeadlockKind::Cycle,
        kind: match row.kind {
            DeadlockKind::Cycle => "cycle",
            DeadlockKind::Queue => "queue",
            DeadlockKind::Wait => "wait",
        },
        threads: ids(&row.threads),
        behind: ids(&row.behind),
        owner: row.owner.as_ref().map(|owner| thread(owner, &row.locks)),
        locks: row.locks.iter().map(lock).collect(),
        waits: row.threads.iter().chain(&row.behind).map(|stuck| thread(stuck, &row.locks)).collect(),
    }
}

fn lock(row: &LockRow) -> LockDocument<'_> {
    let ids = |threads: &[ThreadRef]| threads.iter().map(|thread| thread.id).collect::<Vec<_>>();
    let (owner, owners) = match &row.owners[..] {
        [owner] => (Some(owner.id), Vec::new()),
        owners => (None, ids(owners)),
    };
    LockDocument {
        address: hex(row.address),
        kind: &row.kind,
        symbol: row.symbol.as_ref().map(|symbol| symbol.name.as_str()),
        offset: row.symbol.as_ref().map(|symbol| symbol.offset),
        owner,
        owners,
        owner_gone: row.owners.iter().any(|owner| owner.number.is_none()),
        inferred: row.inferred,
        candidates: ids(&row.candidates),
        state: row.state.as_deref(),
        waiters: ids(&row.waiters),
    }
}

fn thread<'a>(row: &'a StuckRow, locks: &[LockRow]) -> ThreadDocument<'a> {
    let place = row.place.as_ref();
    ThreadDocument {
        thread: row.thread.id,
        number: row.thread.number,
        name: row.name.as_deref(),
        lock: row.lock.and_then(|lock| locks.get(lock)).map(|lock| hex(lock.address)),
        wants: row.wants.as_deref(),
        call: row.call.as_deref(),
        through: row.through.as_deref(),
        address: (row.pc != 0).then(|| hex(row.pc)),
        function: place.and_then(|place| place.function.as_deref()),
        module: row.module.as_deref(),
        file: place.and_then(|place| place.file.as_deref()),
        line: place.and_then(|place| place.line),
    }
}
