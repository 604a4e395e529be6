//! What `deadlocks` says, in text and in JSON.

mod common;

use analysis::{DeadlockKind, DeadlockRow, FrameRow, LockRow, Report, Results, StuckRow, SymbolOffset, ThreadRef};
use render::{Format, Style, render};
use serde_json::{Value as Json, json};

fn report(rows: Vec<DeadlockRow>) -> Report {
    let total = rows.len() as u64;
    common::report("deadlocks", Results::Deadlocks(rows), total)
}

fn text(rows: Vec<DeadlockRow>) -> String {
    let text = render(&report(rows), Format::Text, &Style { color: false, width: 100 });
    assert!(text.lines().all(|line| line.chars().count() <= 100), "a line is too long: {text}");
    text
}

fn json(rows: Vec<DeadlockRow>) -> Json {
    serde_json::from_str(&render(&report(rows), Format::Json, &Style::default())).unwrap()
}

fn thread(number: u64) -> ThreadRef {
    ThreadRef { number: Some(number), id: 4000 + number }
}

fn stuck(number: u64, lock: usize, function: &str, line: u64) -> StuckRow {
    StuckRow {
        thread: thread(number),
        name: Some(format!("worker-{number}")),
        lock: Some(lock),
        wants: None,
        call: Some("futex".into()),
        through: Some("pthread_mutex_lock".into()),
        place: Some(FrameRow {
            function: Some(function.into()),
            file: Some("/src/service.cpp".into()),
            line: Some(line),
            ..FrameRow::default()
        }),
        pc: 0x5000,
        module: Some("/opt/service".into()),
    }
}

fn lock(address: u64, owner: Option<u64>, waiters: impl IntoIterator<Item = u64>) -> LockRow {
    LockRow {
        address,
        kind: "mutex".into(),
        owners: owner.map(thread).into_iter().collect(),
        waiters: waiters.into_iter().map(thread).collect(),
        ..LockRow::default()
    }
}

fn cycle() -> DeadlockRow {
    let symbol = SymbolOffset { name: "accounts".into(), offset: 0x28 };
    DeadlockRow {
        kind: DeadlockKind::Cycle,
        threads: vec![stuck(2, 0, "transfer", 12), stuck(3, 1, "audit", 40)],
        behind: vec![stuck(4, 0, "transfer", 12), stuck(6, 0, "transfer", 12)],
        owner: None,
        locks: vec![
            LockRow { symbol: Some(symbol), ..lock(0x4040a0, Some(3), [2, 4, 6]) },
            LockRow { kind: "Rust mutex".into(), inferred: true, ..lock(0x5040, Some(2), [3]) },
        ],
    }
}

#[test]
fn a_cycle_is_told_from_thread_to_thread() {
    let expected = "\
deadlock: 2 threads wait for each other
  thread 2 (worker-2) waits for mutex 0x4040a0 accounts+0x28, held by thread 3
      in transfer at service.cpp:12
  thread 3 (worker-3) waits for Rust mutex 0x5040, held as it seems by thread 2
      in audit at service.cpp:40
  and behind them 2 threads wait:
  mutex 0x4040a0 accounts+0x28, held by thread 3: threads 4 6, in transfer at service.cpp:12
1 deadlock
";
    assert_eq!(text(vec![cycle()]), expected);
    let json = json(vec![cycle()]);
    let row = &json["results"][0];
    assert_eq!(row["cycle"], true);
    assert_eq!(row["threads"], json!([2, 3]));
    assert_eq!(row["tids"], json!([4002, 4003]));
    assert_eq!(row["behind"], json!([4, 6]));
    let locks = json!([
        {"address": "0x4040a0", "kind": "mutex", "symbol": "accounts", "offset": 40, "owner": 3, "owner_tid": 4003, "waiters": [2, 4, 6]},
        {"address": "0x5040", "kind": "Rust mutex", "owner": 2, "owner_tid": 4002, "inferred": true, "waiters": [3]},
    ]);
    assert_eq!(row["locks"], locks);
    let waits = json!({
        "thread": 3, "tid": 4003, "name": "worker-3", "lock": "0x5040", "call": "futex", "through": "pthread_mutex_lock",
        "address": "0x5000", "function": "audit", "module": "/opt/service", "file": "/src/service.cpp", "line": 40,
    });
    assert_eq!(row["waits"][1], waits);
}

#[test]
fn of_a_cycle_of_very_many_some_are_shown() {
    let ring = |count: u64| DeadlockRow {
        kind: DeadlockKind::Cycle,
        threads: (0..count).map(|index| stuck(2 + index, index as usize, "next", 44)).collect(),
        behind: vec![stuck(1, 0, "next", 44)],
        locks: (0..count)
            .map(|index| lock(0x1000 + 0x40 * index, Some(2 + (index + 1) % count), [2 + index]))
            .collect(),
        ..DeadlockRow::default()
    };
    let lines = |count| text(vec![ring(count)]).lines().map(str::to_owned).collect::<Vec<_>>();
    // The last of 17 takes no more room than saying that there is one more.
    assert_eq!(lines(17).len(), 1 + 17 + 2 + 1);
    let many = lines(1000);
    assert_eq!(many.len(), 1 + 16 + 1 + 2 + 1);
    assert_eq!(many[0], "deadlock: 1000 threads wait for each other");
    assert_eq!(
        many[16],
        "  thread 17 (worker-17) waits for mutex 0x13c0, held by thread 18, in next at service.cpp:44"
    );
    assert_eq!(many[17], "  … and 984 more (--format json for all)");
    assert_eq!(many[18], "  and behind them 1 thread waits:");
    let json = json(vec![ring(1000)]);
    assert_eq!(json["results"][0]["waits"].as_array().map(Vec::len), Some(1001));
}

#[test]
fn a_thread_that_waits_for_itself_is_a_cycle_of_its_own() {
    let row = DeadlockRow {
        kind: DeadlockKind::Cycle,
        threads: vec![stuck(2, 0, "twice", 3)],
        locks: vec![lock(0x40, Some(2), [2])],
        ..DeadlockRow::default()
    };
    let expected = "\
deadlock: thread 2 (worker-2) waits for itself
  thread 2 (worker-2) waits for mutex 0x40, held by thread 2, in twice at service.cpp:3
1 deadlock
";
    assert_eq!(text(vec![row]), expected);
}

#[test]
fn a_queue_says_what_its_owner_does_and_who_waits_where() {
    let waiting =
        (8..=56).map(|number| if number < 48 { stuck(number, 0, "handle", 44) } else { stuck(number, 0, "flush", 52) });
    let owner = StuckRow { lock: None, call: Some("read".into()), ..stuck(7, 0, "pump", 80) };
    let queue = DeadlockRow {
        kind: DeadlockKind::Queue,
        threads: waiting.collect(),
        owner: Some(owner),
        locks: vec![lock(0x4040c0, Some(7), 8..=56)],
        ..DeadlockRow::default()
    };
    let gone = DeadlockRow {
        kind: DeadlockKind::Queue,
        threads: vec![stuck(60, 0, "handle", 44)],
        owner: Some(StuckRow { thread: ThreadRef { number: None, id: 999 }, ..StuckRow::default() }),
        locks: vec![LockRow { owners: vec![ThreadRef { number: None, id: 999 }], ..lock(0x80, None, [60]) }],
        ..DeadlockRow::default()
    };
    let unknown = DeadlockRow {
        kind: DeadlockKind::Queue,
        threads: vec![stuck(61, 0, "handle", 44)],
        locks: vec![LockRow {
            kind: "unknown".into(),
            state: Some("its word is 0x41414141".into()),
            ..lock(0x90, None, [61])
        }],
        ..DeadlockRow::default()
    };
    let candidates = LockRow { candidates: vec![thread(1), thread(2)], ..lock(0xa0, None, [62]) };
    let perhaps = DeadlockRow { threads: vec![stuck(62, 0, "handle", 44)], locks: vec![candidates], ..unknown.clone() };
    let expected = "\
49 threads wait for thread 7 (worker-7), which sleeps in read(), in pump at service.cpp:80
  mutex 0x4040c0, held by thread 7: threads 8-56
      40 in handle at service.cpp:44
      9 in flush at service.cpp:52
1 thread waits for thread 999 (ended), which has ended or is not of this process
  mutex 0x80, held by thread 999 (ended): thread 60, in handle at service.cpp:44
1 thread waits for unknown 0x90 (its word is 0x41414141): thread 61, in handle at service.cpp:44
1 thread waits for mutex 0xa0, perhaps held by threads 1 2: thread 62, in handle at service.cpp:44
no deadlock, 4 queues
";
    let rows = vec![queue, gone, unknown, perhaps];
    assert_eq!(text(rows.clone()), expected);
    let json = json(rows);
    assert_eq!(json["results"][0]["cycle"], false);
    assert_eq!(json["results"][0]["owner"]["thread"], 7);
    assert_eq!(json["results"][0]["owner"]["call"], "read");
    let gone = &json["results"][1]["locks"][0];
    assert_eq!(gone["owner_tid"], 999);
    assert!(gone.get("owner").is_none(), "it is no thread any more");
    assert_eq!(
        json["results"][2]["locks"][0],
        json!({"address": "0x90", "kind": "unknown", "state": "its word is 0x41414141", "waiters": [61]})
    );
    assert_eq!(json["results"][3]["locks"][0]["candidates"], json!([1, 2]));
}

#[test]
fn of_a_queue_for_very_many_locks_some_are_shown() {
    let locks = |count: u64| DeadlockRow {
        kind: DeadlockKind::Queue,
        threads: (0..count).map(|index| stuck(10 + index, index as usize, "handle", 44)).collect(),
        owner: Some(StuckRow { lock: None, call: Some("read".into()), ..stuck(7, 0, "pump", 80) }),
        locks: (0..count).map(|index| lock(0x1000 + 0x40 * index, Some(7), [10 + index])).collect(),
        ..DeadlockRow::default()
    };
    let queue = |count| text(vec![locks(count)]).lines().map(str::to_owned).collect::<Vec<_>>();
    let (all, cut, many) = (queue(16), queue(17), queue(5000));
    assert_eq!(all.len(), 1 + 16 + 1);
    assert_eq!(all[16], "  mutex 0x13c0, held by thread 7: thread 25, in handle at service.cpp:44");
    assert_eq!(cut[1..17], all[1..17]);
    assert_eq!((cut.len(), &cut[17][..]), (19, "  and 1 more lock"));
    assert_eq!((many.len(), &many[17][..]), (19, "  and 4984 more locks"));
    // Those that nobody of these threads waits for do not count.
    let mut cycle = DeadlockRow { kind: DeadlockKind::Cycle, behind: locks(17).threads.split_off(2), ..locks(17) };
    cycle.threads.truncate(2);
    let lines = text(vec![cycle]);
    assert!(!lines.contains("more lock"), "{lines}");
}

#[test]
fn of_very_many_places_some_are_shown() {
    let queue = |places: u64| DeadlockRow {
        kind: DeadlockKind::Queue,
        threads: (0..places)
            .flat_map(|place| [2 * place, 2 * place + 1].map(|number| stuck(10 + number, 0, "handle", place)))
            .collect(),
        owner: Some(StuckRow { lock: None, call: Some("read".into()), ..stuck(7, 0, "pump", 80) }),
        locks: vec![lock(0x1000, Some(7), 10..10 + 2 * places)],
        ..DeadlockRow::default()
    };
    let lines = |places| text(vec![queue(places)]).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(9).len(), 2 + 9 + 1);
    let many = lines(3000);
    assert_eq!((many.len(), &many[10][..]), (2 + 8 + 1 + 1, "      5984 in 2992 more places"));
}

#[test]
fn other_waits_are_a_line_each() {
    let condition = LockRow { kind: "condition variable".into(), ..lock(0x40, None, 2..=65) };
    let idle = DeadlockRow {
        kind: DeadlockKind::Wait,
        threads: (2..=65).map(|number| stuck(number, 0, "work", 9)).collect(),
        locks: vec![condition],
        ..DeadlockRow::default()
    };
    let unpark = |number: u64| LockRow { kind: "unpark".into(), ..lock(0x100 * number, None, [number]) };
    let parked = DeadlockRow {
        kind: DeadlockKind::Wait,
        threads: vec![stuck(70, 0, "idle", 5), stuck(72, 1, "idle", 5)],
        locks: vec![unpark(70), unpark(72)],
        ..DeadlockRow::default()
    };
    let end = LockRow { kind: "end of a thread".into(), ..lock(0x7000, Some(2), [1]) };
    let joins = DeadlockRow {
        kind: DeadlockKind::Wait,
        threads: vec![stuck(1, 0, "main", 90)],
        owner: Some(StuckRow { call: Some("nanosleep".into()), ..stuck(2, 0, "work", 9) }),
        locks: vec![end],
        ..DeadlockRow::default()
    };
    let expected = "\
64 threads wait for condition variable 0x40: threads 2-65, in work at service.cpp:9
2 threads wait, each for its own unpark: threads 70 72, in idle at service.cpp:5
1 thread waits for thread 2 (worker-2), which sleeps in nanosleep(), in work at service.cpp:9
  the end of thread 2: thread 1, in main at service.cpp:90
no deadlock, 3 other waits
";
    assert_eq!(text(vec![idle, parked, joins]), expected);
    assert_eq!(text(Vec::new()), "no deadlock\n");
}
