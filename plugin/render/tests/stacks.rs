//! What `stacks` says, in text, JSON and RON.

mod common;

use analysis::{BranchRow, CallRow, Report, Results, StackRow, StackRows, ThreadRow};
use render::{Format, Style, render};
use serde_json::{Value as Json, json};

const PLAIN: Style = Style { color: false, width: 80 };

fn report(results: Results, total: u64) -> Report {
    common::report("stacks", results, total)
}

fn thread(number: u64, name: &str, state: Option<&str>) -> ThreadRow {
    ThreadRow { number, id: 4000 + number, name: (!name.is_empty()).then(|| name.into()), state: state.map(Into::into) }
}

fn call(address: u64, function: &str, line: u64) -> CallRow {
    CallRow {
        address,
        function: Some(function.into()),
        module: Some("/opt/service".into()),
        file: Some("/src/queue/service.cpp".into()),
        line: Some(line),
        column: Some(9),
        ..CallRow::default()
    }
}

/// Calls of all kinds: of a library with a symbol alone, inlined, without a name, and in no module.
fn calls() -> Vec<CallRow> {
    let symbol = CallRow {
        function: Some("pause".into()),
        offset: Some(0x12),
        module: Some("/lib/x86_64-linux-gnu/libc.so.6".into()),
        file: None,
        line: None,
        column: None,
        ..call(0x7f10, "", 0)
    };
    let nameless = CallRow { address: 0x7000, module: Some("/lib/libstripped.so".into()), ..CallRow::default() };
    vec![
        symbol,
        CallRow { inlined: true, ..call(0x4010, "Queue::pop()", 12) },
        call(0x4010, "serve(int)", 80),
        nameless,
        CallRow { address: 0x9000, ..CallRow::default() },
        CallRow { file: Some("x.c".into()), line: None, column: None, ..call(0x4800, "main", 0) },
    ]
}

fn rows() -> Vec<StackRow> {
    let pool = StackRow {
        threads: (2..=9).map(|number| thread(number, "worker", Some("pause"))).collect(),
        frames: calls(),
        ..StackRow::default()
    };
    let deep: Vec<CallRow> = (0..30).map(|depth| call(0x5000 + depth, &format!("down{depth}"), depth)).collect();
    let broken = StackRow {
        threads: vec![thread(1, "service", None), thread(12, "worker", Some("read"))],
        frames: deep,
        end: Some("its code has no call frame information".into()),
        by_debugger: false,
    };
    let recursive = StackRow {
        threads: vec![thread(11, "", Some("running"))],
        frames: [vec![call(0x6000, "leaf", 1)], vec![call(0x6100, "again", 2); 400], vec![call(0x6200, "main", 3)]]
            .concat(),
        end: None,
        by_debugger: true,
    };
    vec![pool, broken, recursive]
}

fn stacks(states: bool, all_frames: bool) -> Report {
    let rows = rows();
    report(Results::Stacks(StackRows { rows, threads: 11, states, all_frames }), 3)
}

#[test]
fn stacks_are_a_paragraph_each() {
    let expected = "\
8 threads: 2-9 (worker)
    pause+0x12  libc.so.6
    Queue::pop() (inlined) at service.cpp:12
    serve(int) at service.cpp:80
    0x7000  libstripped.so
    0x9000  no module
    main at x.c
2 threads: 1 12 (service, worker)
    down0 at service.cpp:0
    down1 at service.cpp:1
    down2 at service.cpp:2
    down3 at service.cpp:3
    down4 at service.cpp:4
    down5 at service.cpp:5
    down6 at service.cpp:6
    down7 at service.cpp:7
    down8 at service.cpp:8
    down9 at service.cpp:9
    down10 at service.cpp:10
    down11 at service.cpp:11
    … 15 more (--all-frames)
    down27 at service.cpp:27
    down28 at service.cpp:28
    down29 at service.cpp:29
    (the stack is known to here: its code has no call frame information)
1 thread: 11
    leaf at service.cpp:1
    again at service.cpp:2  400 times
    main at service.cpp:3
3 stacks of 11 threads
";
    assert_eq!(render(&stacks(false, false), Format::Text, &PLAIN), expected);
}

#[test]
fn states_and_all_calls_are_shown_where_that_is_asked_for() {
    let text = render(&stacks(true, true), Format::Text, &PLAIN);
    let heads: Vec<&str> = text.lines().filter(|line| line.contains("thread") && !line.starts_with(' ')).collect();
    let expected = [
        "8 threads: 2-9 (worker), pause",
        "2 threads: 1 12 (service, worker), read, unknown",
        "1 thread: 11, running",
        "3 stacks of 11 threads",
    ];
    assert_eq!(heads, expected);
    assert_eq!(text.lines().filter(|line| line.contains(" down")).count(), 30);
    assert!(!text.contains("--all-frames"), "{text}");
}

#[test]
fn a_tree_goes_to_the_right_where_it_forks() {
    let branch = |depth, forks, count, function: &str, threads: Vec<ThreadRow>| BranchRow {
        depth,
        forks,
        count,
        function: (!function.is_empty()).then(|| function.into()),
        module: Some("/opt/service".into()),
        file: (!function.is_empty()).then(|| "/src/service.cpp".into()),
        line: (count == 1).then_some(7),
        threads,
    };
    let rows = vec![
        branch(0, 0, 3, "start(void*)", Vec::new()),
        branch(1, 0, 3, "work", Vec::new()),
        branch(2, 1, 2, "wait", vec![thread(2, "a", None), thread(3, "b", None)]),
        branch(2, 1, 1, "", vec![thread(4, "c", None)]),
        branch(0, 0, 1, "main", vec![thread(1, "d", None)]),
    ];
    let expected = "      3  start(void*) at service.cpp
      3  work at service.cpp
      2    wait at service.cpp  [2 3]
      1    ??  service  [4]
      1  main at service.cpp:7  [1]
5 functions
";
    let report = report(Results::Branches(rows), 5);
    assert_eq!(render(&report, Format::Text, &PLAIN), expected);
    let json: Json = serde_json::from_str(&render(&report, Format::Json, &PLAIN)).unwrap();
    let expected = json!({
        "depth": 2, "count": 2, "function": "wait", "module": "/opt/service", "file": "/src/service.cpp", "threads": [2, 3],
    });
    assert_eq!(json["results"][2], expected);
}

#[test]
fn documents_have_all_threads_and_calls() {
    let json: Json = serde_json::from_str(&render(&stacks(false, false), Format::Json, &PLAIN)).unwrap();
    let pool = &json["results"][0];
    assert_eq!(pool["threads"], json!([2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(pool["tids"][7], 4009);
    assert_eq!(
        (&pool["count"], &pool["names"], &pool["states"]),
        (&json!(8), &json!({"worker": 8}), &json!({"pause": 8}))
    );
    assert!(pool.get("end").is_none() && pool.get("by_debugger").is_none(), "{pool}");
    let frames = json!([
        {"address": "0x7f10", "function": "pause", "offset": 18, "module": "/lib/x86_64-linux-gnu/libc.so.6", "inlined": false},
        {"address": "0x4010", "function": "Queue::pop()", "module": "/opt/service", "file": "/src/queue/service.cpp", "line": 12,
         "column": 9, "inlined": true},
        {"address": "0x4010", "function": "serve(int)", "module": "/opt/service", "file": "/src/queue/service.cpp", "line": 80,
         "column": 9, "inlined": false},
        {"address": "0x7000", "module": "/lib/libstripped.so", "inlined": false},
        {"address": "0x9000", "inlined": false},
        {"address": "0x4800", "function": "main", "module": "/opt/service", "file": "x.c", "inlined": false},
    ]);
    assert_eq!(pool["frames"], frames);
    let broken = &json["results"][1];
    assert_eq!(
        (broken["frames"].as_array().map(Vec::len), &broken["end"]),
        (Some(30), &json!("its code has no call frame information"))
    );
    assert_eq!(
        (&json["results"][2]["by_debugger"], json["results"][2]["frames"].as_array().map(Vec::len)),
        (&json!(true), Some(402))
    );
}

#[test]
fn ron_says_the_same_as_json() {
    let ron = render(&stacks(false, false), Format::Ron, &PLAIN);
    let expected = "
            count: 2,
            threads: [1, 12],
            tids: [4001, 4012],
            names: {\"service\": 1, \"worker\": 1},
            states: {\"read\": 1},
            frames: [(address: \"0x5000\", function: \"down0\", module: \"/opt/service\", \
             file: \"/src/queue/service.cpp\", line: 0, column: 9, inlined: false), ";
    assert!(ron.contains(expected), "{}", &ron[..2000]);
    let ends = ["end: \"its code has no call frame information\",", "by_debugger: true,"];
    assert!(ends.iter().all(|end| ron.matches(end).count() == 1), "{}", &ron[..2000]);
    assert!(ron::from_str::<ron::Value>(&ron).is_ok(), "{}", &ron[..2000]);
}
