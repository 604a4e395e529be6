//! The fields of who waits for whom.

use super::hex;
use analysis::{DeadlockKind, DeadlockRow, LockRow, StuckRow, ThreadRef};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct DeadlockDocument<'a> {
    cycle: bool,
    kind: &'static str,
    /// The debugger's numbers of threads that wait, around a cycle each for the next one; and in the same order the system's ids.
    threads: Vec<u64>,
    tids: Vec<u64>,
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
    /// The one thread that has it, by the debugger's number and the system's id. One that there is not, or not any more, has no
    /// number.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_tid: Option<u64>,
    /// Where several have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    owners: Vec<u64>,
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
    /// The debugger's number of it; left out for one that there is not any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<u64>,
    tid: u64,
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

fn numbers<'a>(threads: impl IntoIterator<Item = &'a ThreadRef>) -> Vec<u64> {
    threads.into_iter().filter_map(|thread| thread.number).collect()
}

pub(super) fn deadlock_row(row: &DeadlockRow) -> DeadlockDocument<'_> {
    DeadlockDocument {
        cycle: row.kind == DeadlockKind::Cycle,
        kind: match row.kind {
            DeadlockKind::Cycle => "cycle",
            DeadlockKind::Queue => "queue",
            DeadlockKind::Wait => "wait",
        },
        threads: numbers(row.threads.iter().map(|stuck| &stuck.thread)),
        tids: row.threads.iter().map(|stuck| stuck.thread.id).collect(),
        behind: numbers(row.behind.iter().map(|stuck| &stuck.thread)),
        owner: row.owner.as_ref().map(|owner| thread(owner, &row.locks)),
        locks: row.locks.iter().map(lock).collect(),
        waits: row.threads.iter().chain(&row.behind).map(|stuck| thread(stuck, &row.locks)).collect(),
    }
}

fn lock(row: &LockRow) -> LockDocument<'_> {
    let (owner, owners) = match &row.owners[..] {
        [owner] => (Some(owner), Vec::new()),
        owners => (None, numbers(owners)),
    };
    LockDocument {
        address: hex(row.address),
        kind: &row.kind,
        symbol: row.symbol.as_ref().map(|symbol| symbol.name.as_str()),
        offset: row.symbol.as_ref().map(|symbol| symbol.offset),
        owner: owner.and_then(|owner| owner.number),
        owner_tid: owner.map(|owner| owner.id),
        owners,
        inferred: row.inferred,
        candidates: numbers(&row.candidates),
        state: row.state.as_deref(),
        waiters: numbers(&row.waiters),
    }
}

fn thread<'a>(row: &'a StuckRow, locks: &[LockRow]) -> ThreadDocument<'a> {
    let place = row.place.as_ref();
    ThreadDocument {
        thread: row.thread.number,
        tid: row.thread.id,
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
