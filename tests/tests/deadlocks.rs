//! `deadlocks`: who waits for whom, of programs that say it themselves, live and in core files.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::report::{number, results};
use tests::{Debuggee, Session, Truth, gcore};

/// A report beside what the debuggee says.
struct Checked<'a> {
    report: &'a Value,
    truth: &'a Truth,
}

impl Checked<'_> {
    #[track_caller]
    fn thread(&self, label: &str) -> u64 {
        self.truth.address("thread", label)
    }

    /// The row in which a thread waits.
    #[track_caller]
    fn row(&self, label: &str) -> &Value {
        let id = self.thread(label);
        let waits =
            |row: &&Value| row["waits"].as_array().is_some_and(|waits| waits.iter().any(|wait| wait["tid"] == id));
        let found: Vec<&Value> = results(self.report).iter().filter(waits).collect();
        assert_eq!(found.len(), 1, "{label}: {found:#?}");
        found[0]
    }

    #[track_caller]
    fn lock<'a>(&self, row: &'a Value, label: &str) -> &'a Value {
        let address = self.truth.address("lock", label);
        let locks = row["locks"].as_array().expect("a row has locks");
        let found = locks.iter().find(|lock| number(&lock["address"]) == address);
        found.unwrap_or_else(|| panic!("no lock {label} at {address:#x} in {locks:#?}"))
    }

    /// The system's id of the thread with one of the debugger's numbers.
    fn id(&self, number: &Value) -> u64 {
        let waits = results(self.report).iter().flat_map(|row| row["waits"].as_array().into_iter().flatten());
        let owners = results(self.report).iter().map(|row| &row["owner"]);
        let mut known = waits.chain(owners).filter(|thread| &thread["thread"] == number && !number.is_null());
        known.next().and_then(|thread| thread["tid"].as_u64()).unwrap_or_else(|| panic!("no thread {number}"))
    }

    /// How a thread waits: what is said of it, and of what it waits for.
    #[track_caller]
    fn wait<'a>(&self, row: &'a Value, label: &str) -> &'a Value {
        let id = self.thread(label);
        let waits = row["waits"].as_array().expect("a row has waits");
        waits.iter().find(|wait| wait["tid"] == id).unwrap_or_else(|| panic!("{label} is not in {row}"))
    }

    /// That threads wait for each other's locks in a ring, and in which function.
    #[track_caller]
    fn is_ring(&self, threads: &[&str], kinds: &[&str], function: &str) {
        let row = self.row(threads[0]);
        assert_eq!((&row["cycle"], &row["kind"]), (&json!(true), &json!("cycle")));
        let around: Vec<u64> = row["tids"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        assert_eq!(around.len(), threads.len());
        let first = around.iter().position(|id| *id == self.thread(threads[0])).expect("it is in its ring");
        for (step, label) in threads.iter().enumerate() {
            assert_eq!(around[(first + step) % around.len()], self.thread(label), "{label} in {around:?}");
            let next = threads[(step + 1) % threads.len()];
            let wait = self.wait(row, label);
            let lock = row["locks"].as_array().unwrap().iter().find(|lock| lock["address"] == wait["lock"]).unwrap();
            assert_eq!(lock["owner_tid"], self.thread(next), "{label} waits for {next}");
            assert_eq!(self.id(&lock["owner"]), self.thread(next));
            assert_eq!(lock["kind"], kinds[step % kinds.len()]);
            assert!(lock["waiters"].as_array().unwrap().contains(&wait["thread"]));
            assert!(lock.get("inferred").is_none(), "{label}: {lock}");
        }
        let wait = self.wait(row, threads[threads.len() - 1]);
        let name = wait["function"].as_str().unwrap_or_default();
        assert!(name.contains(function), "{name} is not {function}");
        assert!(wait["file"].as_str().is_some_and(|file| file.ends_with("/deadlocks.cpp")), "{wait}");
        assert!(wait["line"].as_u64().is_some_and(|line| line > 0), "{wait}");
    }

    /// That a thread waits for a lock that another one has.
    #[track_caller]
    fn is_behind(&self, label: &str, lock: &str, kind: &str, owner: &str) {
        let row = self.row(label);
        assert_eq!(row["kind"], "queue", "{label}");
        let known = self.lock(row, lock);
        assert_eq!(
            (known["kind"].as_str(), known["owner_tid"].as_u64()),
            (Some(kind), Some(self.thread(owner))),
            "{known}"
        );
        assert_eq!(row["owner"]["tid"], self.thread(owner));
        assert_eq!(self.wait(row, label)["lock"], known["address"]);
    }

    /// That a thread waits for something whose owner is not known, and what is said of that.
    #[track_caller]
    fn is_unknown(&self, label: &str, lock: &str, state: &str) {
        let row = self.row(label);
        let known = self.lock(row, lock);
        assert_eq!((known["kind"].as_str(), known["state"].as_str()), (Some("unknown"), Some(state)), "{known}");
        assert!(known.get("owner_tid").is_none() && row.get("owner").is_none(), "{row}");
    }

    /// That threads wait for something to happen, together in one row.
    #[track_caller]
    fn is_wait(&self, labels: &[&str], lock: Option<&str>, kind: &str) {
        let row = self.row(labels[0]);
        assert_eq!((&row["kind"], &row["cycle"]), (&json!("wait"), &json!(false)));
        let ids: BTreeSet<u64> = row["tids"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        assert_eq!(ids, labels.iter().map(|label| self.thread(label)).collect::<BTreeSet<_>>(), "{labels:?}");
        let known = lock.map_or(&row["locks"][0], |lock| self.lock(row, lock));
        assert_eq!(known["kind"], kind);
    }
}

/// Checks what is said of `fixtures/deadlocks.cpp`.
#[track_caller]
fn check_cpp(report: &Value, truth: &Truth) {
    let checked = Checked { report, truth };
    let rows = results(report);
    assert_eq!(report["total"], rows.len());
    // Cycles, queues, other waits, of each the longest first.
    let order = |row: &Value| {
        let place = ["cycle", "queue", "wait"].iter().position(|kind| row["kind"] == **kind);
        (place, std::cmp::Reverse(row["waits"].as_array().map(Vec::len)))
    };
    assert!(rows.is_sorted_by_key(order), "{:?}", rows.iter().map(order).collect::<Vec<_>>());
    let cycles = rows.iter().filter(|row| row["cycle"] == true).count();
    assert_eq!(cycles, 5, "two, three, ten, one that locks twice, and one that joins");

    let ring = |label: &str, count: usize| (0..count).map(|index| format!("{label}-{index}")).collect::<Vec<_>>();
    for (label, count) in [("two", 2), ("three", 3), ("ten", 10)] {
        let labels = ring(label, count);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        checked.is_ring(&labels, &["mutex"], "lock_next");
        let row = checked.row(labels[0]);
        assert_eq!(row["locks"].as_array().unwrap().len(), count);
        for lock in &labels {
            checked.lock(row, lock);
        }
    }
    let two = checked.row("two-0");
    let behind: Vec<u64> = two["behind"].as_array().unwrap().iter().map(|thread| checked.id(thread)).collect();
    assert_eq!(behind, [checked.thread("tail")]);
    assert_eq!(checked.lock(two, "two-0")["waiters"].as_array().unwrap().len(), 2, "the one before, and the tail");
    checked.is_ring(&["self"], &["mutex"], "lock_plain");
    assert_eq!(
        checked.lock(checked.row("self"), "twice")["symbol"].as_str().map(|name| name.contains("twice")),
        Some(true)
    );
    checked.is_ring(&["joins", "joined"], &["end of a thread", "mutex"], "lock_next");

    let queue = checked.row("user-0");
    assert_eq!(queue["tids"].as_array().unwrap().len(), 49);
    assert_eq!((&queue["owner"]["tid"], &queue["owner"]["call"]), (&json!(checked.thread("pump")), &json!("read")));
    assert!(queue["owner"]["function"].as_str().is_some_and(|name| name.contains("pump")), "{}", queue["owner"]);
    let table = checked.lock(queue, "table");
    assert_eq!((&table["kind"], table["waiters"].as_array().unwrap().len()), (&json!("mutex"), 49));
    for index in [0, 30, 48] {
        checked.is_behind(&format!("user-{index}"), "table", "mutex", "pump");
    }

    checked.is_behind("wants-recursive", "recursive", "recursive mutex", "keeper");
    checked.is_behind("wants-error-checking", "error-checking", "error-checking mutex", "keeper");
    checked.is_behind("wants-adaptive", "adaptive", "adaptive mutex", "keeper");
    checked.is_behind("wants-robust", "robust", "robust mutex", "keeper");
    checked.is_behind("wants-inheriting", "inheriting", "priority-inheriting mutex", "keeper");
    checked.is_behind("wants-shared", "shared", "mutex", "keeper");
    assert_eq!(checked.lock(checked.row("wants-shared"), "shared")["state"], "shared with other processes");
    // It takes a privilege to have one.
    if !truth.labelled("lock", |label| label == "protecting").is_empty() {
        checked.is_behind("wants-protecting", "protecting", "priority-protecting mutex", "keeper");
    }
    checked.is_behind("wants-timed", "timed", "recursive mutex", "keeper");
    checked.is_behind("wants-to-write", "written", "rwlock", "keeper");
    checked.is_behind("wants-to-read", "written", "rwlock", "keeper");
    let kept = checked.row("wants-stream");
    assert_eq!(kept["owner"]["tid"], checked.thread("keeper"));
    let stream = kept["locks"].as_array().unwrap().iter().find(|lock| lock["kind"] == "stream").expect("a stream");
    assert_eq!(stream["owner_tid"], checked.thread("keeper"));
    for (label, wants) in [("wants-to-write", "write"), ("wants-to-read", "read")] {
        assert_eq!(checked.wait(kept, label)["wants"], wants);
    }

    let read = checked.row("writer");
    let lock = checked.lock(read, "read");
    assert_eq!((&lock["kind"], &lock["inferred"]), (&json!("rwlock"), &json!(true)), "{lock}");
    assert_eq!(lock["owners"].as_array().map(Vec::len), Some(2), "both readers: {lock}");
    assert_eq!(lock["state"], "locked to read 2 times");

    let kept = checked.row("wants-in-register");
    let lock = checked.lock(kept, "in-register");
    assert_eq!((&lock["kind"], &lock["inferred"]), (&json!("rwlock"), &json!(true)), "{lock}");
    assert_eq!(lock["owner_tid"], checked.thread("keeps-in-register"), "{lock}");

    let foreign = checked.row("wants-foreign");
    let lock = checked.lock(foreign, "foreign");
    assert_eq!(
        (&foreign["kind"], &lock["state"]),
        (&json!("queue"), &json!("shared with other processes")),
        "{foreign}"
    );
    assert_eq!((&lock["owner_tid"], lock.get("owner")), (&json!(checked.thread("stranger")), None), "{lock}");
    let left = checked.row("wants-left");
    let lock = checked.lock(left, "left");
    assert_eq!(
        (&left["kind"], &lock["kind"], &lock["owner_tid"]),
        (&json!("queue"), &json!("mutex"), &json!(checked.thread("gone")))
    );
    assert!(lock.get("owner").is_none() && left["owner"].get("thread").is_none(), "it is no thread any more: {left}");
    checked.is_unknown("wants-unmapped", "unmapped", "its memory cannot be read");
    checked.is_unknown("wants-garbled", "garbled", "it is of no kind that there is, 0x41414141");

    let idle: Vec<String> = (0..8).map(|index| format!("idle-{index}")).collect();
    checked.is_wait(&idle.iter().map(String::as_str).collect::<Vec<_>>(), Some("idle"), "condition variable");
    checked.is_wait(&["semaphore-0", "semaphore-1"], Some("semaphore"), "semaphore");
    checked.is_wait(&["barrier"], Some("barrier"), "barrier");
    checked.is_wait(&["future"], None, "future");
    checked.is_wait(&["joiner"], None, "end of a thread");
    assert_eq!(checked.row("joiner")["owner"]["tid"], checked.thread("sleeper"));
    assert!(
        checked.wait(checked.row("idle-3"), "idle-3")["function"].as_str().is_some_and(|name| name.contains("work"))
    );
}

/// What text says, where the numbers of threads are replaced.
fn without_numbers(text: &str) -> String {
    let digits = |word: &str| word.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    text.lines().map(|line| line.split(' ').map(digits).collect::<Vec<String>>().join(" ") + "\n").collect()
}

#[test]
fn who_waits_for_whom_in_a_process() {
    let mut session = Session::start();
    let truth = session.launch("deadlocks.cpp", &[]);
    let report = session.json("mp-scan deadlocks");
    assert_eq!(report["target"]["kind"], "live");
    check_cpp(&report, &truth);
    // Whoever does it, it is the same.
    for workers in [0, 1, 7] {
        let again = session.json(&format!("mp-scan deadlocks --workers {workers}"));
        assert!(again["results"] == report["results"], "another answer by {workers} workers");
    }
    let text = session.ok("mp-scan deadlocks");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "deadlock: 10 threads wait for each other");
    for expected in [
        "deadlock: 2 threads wait for each other",
        "deadlock: 3 threads wait for each other",
        "  and behind them 1 thread waits:",
        "which sleeps in read(), in (anonymous namespace)::pump() at deadlocks.cpp:",
        "8 threads wait for condition variable 0x",
        "(its memory cannot be read)",
        "5 deadlocks, ",
    ] {
        assert!(text.contains(expected), "'{expected}' is not in:\n{text}");
    }
    assert!(without_numbers(&text).contains(" threads wait for thread  (pump), which sleeps in read()"), "{text}");
    let ron = session.ok("mp-scan deadlocks --format ron --limit 1");
    assert!(ron.contains("cycle: true") && ron.contains("kind: \"mutex\""), "{ron}");
    let first = session.json("mp-scan deadlocks --limit 1");
    assert_eq!((results(&first).len(), &first["total"]), (1, &report["total"]));
    assert_eq!(results(&first)[0], results(&report)[0]);
}

#[test]
fn who_waited_for_whom_in_a_core_file() {
    let debuggee = Debuggee::start("deadlocks.cpp", &[]);
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let report = session.json("mp-scan deadlocks");
    assert_eq!(report["target"]["kind"], "core");
    check_cpp(&report, &debuggee.truth);
    let again = session.json("mp-scan deadlocks --workers 0");
    assert!(again["results"] == report["results"], "another answer without workers");
}

#[test]
fn who_waits_for_whom_is_found_through_the_debugger() {
    let debuggee = Debuggee::start("deadlocks.rs", &[]);
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    session.attach(&debuggee);
    let report = session.json("mp-scan deadlocks");
    assert_eq!(report["target"]["kind"], "relayed");
    check_rust(&report, &debuggee.truth);
}

/// Checks what is said of `fixtures/deadlocks.rs`.
#[track_caller]
fn check_rust(report: &Value, truth: &Truth) {
    let checked = Checked { report, truth };
    let row = checked.row("left-first");
    assert_eq!(row["cycle"], true, "{row}");
    let ids: BTreeSet<u64> = row["tids"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert_eq!(ids, ["left-first", "right-first"].map(|label| checked.thread(label)).into());
    for (lock, owner) in [("left", "left-first"), ("right", "right-first")] {
        let lock = checked.lock(row, lock);
        let expected = (Some("Rust mutex"), Some(checked.thread(owner)), Some(true));
        assert_eq!((lock["kind"].as_str(), lock["owner_tid"].as_u64(), lock["inferred"].as_bool()), expected, "{lock}");
    }
    assert!(
        checked.wait(row, "left-first")["function"].as_str().is_some_and(|name| name.ends_with("deadlocks::both")),
        "{row}"
    );
    let behind: Vec<u64> = row["behind"].as_array().unwrap().iter().map(|thread| checked.id(thread)).collect();
    assert_eq!(behind, [checked.thread("behind")]);

    // A cycle of a mutex and a read-write lock, one that is locked to write and one that is locked to read.
    for (writer, gate, kinds) in [("up", "gate", "locked to write"), ("shelf", "desk", "locked to read 1 times")] {
        let row = checked.row(writer);
        assert_eq!((&row["cycle"], row["tids"].as_array().map(Vec::len)), (&json!(true), Some(2)), "{row}");
        let (rw, mutex) = (checked.lock(row, writer), checked.lock(row, gate));
        assert_eq!((&rw["kind"], &rw["state"]), (&json!("Rust rwlock"), &json!(kinds)), "{rw}");
        assert_eq!((&rw["owner_tid"], &rw["inferred"]), (&json!(checked.thread(writer)), &json!(true)), "{rw}");
        assert_eq!(
            (&mutex["kind"], &mutex["owner_tid"]),
            (&json!("Rust mutex"), &json!(checked.thread(gate))),
            "{mutex}"
        );
    }

    let written = checked.row("wants-to-write");
    let lock = checked.lock(written, "written");
    assert_eq!((&lock["kind"], &lock["state"]), (&json!("Rust rwlock"), &json!("locked to write")));
    assert_eq!((&lock["owner_tid"], &lock["inferred"]), (&json!(checked.thread("writes")), &json!(true)), "{lock}");
    assert_eq!(lock["waiters"].as_array().map(Vec::len), Some(2));
    assert_eq!(checked.wait(written, "wants-to-read")["wants"], "read");
    let read = checked.row("wants-read");
    let lock = checked.lock(read, "read");
    assert_eq!(
        (&lock["state"], lock["owners"].as_array().map(Vec::len)),
        (&json!("locked to read 2 times"), Some(2)),
        "{lock}"
    );

    checked.is_wait(&["idle-1", "idle-2", "idle-3"], Some("pushed"), "condition variable");
    checked.is_wait(&["parked-1", "parked-2"], None, "unpark");
}

#[test]
fn who_waits_for_locks_of_rust_live_and_in_a_core_file() {
    let debuggee = Debuggee::start("deadlocks.rs", &[]);
    let mut session = Session::start();
    session.attach(&debuggee);
    check_rust(&session.json("mp-scan deadlocks"), &debuggee.truth);
    session.ok("process detach");
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    check_rust(&session.json("mp-scan deadlocks"), &debuggee.truth);
}

#[test]
fn a_process_whose_threads_wait_for_nothing_has_no_deadlock() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    let report = session.json("mp-scan deadlocks");
    assert_eq!((&report["total"], results(&report)), (&json!(0), &[][..]));
    assert!(session.ok("mp-scan deadlocks").starts_with("no deadlock"));
}
