//! What the heap commands say, in text and in JSON.

mod common;

use analysis::{
    AllocationRow, BeforeRow, FindingRow, HeapRow, HeapRows, HeapTotals, LeakGroup, LeakRow, LeakRows, Match,
    ObjectRow, ObjectRows, RefRow, Report, Results, StackFrame, Sum, SymbolOffset, Value,
};
use render::{Format, Style, render};
use serde_json::{Value as Json, json};

fn report(results: Results, total: u64) -> Report {
    common::report("heap", results, total)
}

fn text(report: &Report) -> String {
    render(report, Format::Text, &Style { color: false, width: 100 })
}

fn json(report: &Report) -> Json {
    serde_json::from_str(&render(report, Format::Json, &Style::default())).unwrap()
}

fn allocation() -> AllocationRow {
    AllocationRow { start: 0x5010, size: 88, used: true, type_name: Some("Session".into()) }
}

#[test]
fn the_heap_is_summed_up() {
    let totals = HeapTotals {
        used: Sum { count: 12, bytes: 4096 },
        free: Sum { count: 3, bytes: 1024 },
        overhead: 512,
        largest_free: 768,
        arenas: 2,
        mapped: Sum { count: 1, bytes: 2048 },
        system: 8192,
    };
    let row = |key: &str, bytes, retained| HeapRow { key: key.into(), count: 4, bytes, retained };
    let rows = vec![row("Session", 2048, Some(3072)), row("std::string characters", 100, Some(100))];
    let report = report(Results::Heap(HeapRows { totals, by: "type".into(), rows }), 2);
    let expected = "\
used      12 allocations, 4 KiB
free      3 chunks, 1 KiB, the largest 768 bytes: 25% fragmented
overhead  512 bytes (6%)
from the system  8 KiB in 2 arenas and 1 allocation, 2 KiB with mappings of their own
     count        bytes     retained  type
         4        2 KiB        3 KiB  Session
         4    100 bytes    100 bytes  std::string characters
2 types
";
    assert_eq!(text(&report), expected);
    let json: Json = json(&report);
    assert_eq!(json["totals"]["free"], json!({"count": 3, "bytes": 1024}));
    assert_eq!(json["totals"]["fragmentation"], json!(0.25));
    assert_eq!(json["results"][0], json!({"key": "Session", "count": 4, "bytes": 2048, "retained": 3072}));
}

#[test]
fn text_shows_a_leaked_structure_once_and_json_each_allocation() {
    let group = LeakGroup {
        size: Some(40),
        type_name: Some("Tree".into()),
        heads: Sum { count: 1, bytes: 40 },
        holds: Sum { count: 2, bytes: 80 },
        ring: false,
        example: 0x5010,
    };
    let leak = |address, holds: Option<Sum>| LeakRow {
        address,
        size: 40,
        type_name: Some("Tree".into()),
        unreferenced: holds.is_some(),
        holds,
    };
    let rows = vec![leak(0x5010, Some(group.holds)), leak(0x5040, None), leak(0x5070, None)];
    let sum = Sum { count: 3, bytes: 120 };
    let report = report(
        Results::Leaks(LeakRows {
            rows,
            groups: vec![group],
            sum,
            unreferenced: Sum { count: 1, bytes: 40 },
            unused: false,
        }),
        3,
    );
    let expected = "  120 bytes        1 × 40 bytes of Tree, holding 2 allocations, 80 bytes  e.g. 0x5010
3 leaked allocations, 120 bytes: one that nothing refers to, and what it holds
";
    assert_eq!(text(&report), expected);
    let json: Json = json(&report);
    assert_eq!(json["total"], 3);
    let head = json!({"address": "0x5010", "size": 40, "type": "Tree", "unreferenced": true, "holds": {"count": 2, "bytes": 80}});
    assert_eq!(json["results"][0], head);
    assert_eq!(json["results"][2], json!({"address": "0x5070", "size": 40, "type": "Tree", "unreferenced": false}));
}

#[test]
fn a_reference_tells_where_it_lies_and_how_a_root_leads_to_it() {
    let pointer = |address, value| Match { address, size: 8, value: Some(Value::Pointer(value)), ..Match::default() };
    let inside = Match { allocation: Some(allocation()), ..pointer(0x5020, 0x7000) };
    let symbol = SymbolOffset { name: "sessions".into(), offset: 8 };
    let global = Match { symbol: Some(symbol), region: Some("/opt/service".into()), ..pointer(0x4008, 0x5010) };
    let register = Match { register: Some("rbx".into()), thread: Some(3), ..pointer(0, 0x7004) };
    let frame = Some(StackFrame { index: 2, function: Some("main".into()) });
    let local = Match { thread: Some(5), frame, ..pointer(0x7ff8, 0x7000) };
    let rows = vec![
        RefRow { place: inside, depth: 1, chain: Some(vec![global]) },
        RefRow { place: local, depth: 1, chain: None },
        RefRow { place: register, depth: 1, chain: Some(Vec::new()) },
    ];
    let report = report(Results::Refs(rows), 3);
    let expected = "   0x0000000000005020 -> 0x7000  heap 0x5010+0x10 of 88 bytes Session
     from 0x0000000000004008 -> 0x5010  service sessions+0x8
   0x0000000000007ff8 -> 0x7000  thread 5, frame 2 main
   register rbx of thread 3 -> 0x7004
3 pointers
";
    assert_eq!(text(&report), expected);
    let json: Json = json(&report);
    let allocation = json!({"start": "0x5010", "size": 88, "used": true, "type": "Session"});
    assert_eq!(json["results"][0]["allocation"], allocation);
    assert_eq!(json["results"][0]["chain"][0]["symbol"], "sessions");
    assert_eq!(json["results"][1]["thread"], 5);
    assert_eq!(json["results"][1]["frame"], json!({"index": 2, "function": "main"}));
    assert_eq!(json["results"][2]["register"], "rbx");
    assert!(json["results"][2].get("address").is_none(), "a register has none");
}

#[test]
fn objects_and_findings_say_what_they_are() {
    let owner = Match { address: 0x6000, size: 8, value: Some(Value::Pointer(0x5010)), ..Match::default() };
    let object = ObjectRow {
        address: 0x5010,
        type_name: "Session".into(),
        size: 88,
        allocation: allocation(),
        owner: Some(owner),
    };
    let objects = ObjectRows { rows: vec![object], sum: Sum { count: 3, bytes: 264 } };
    let report_of = report(Results::Objects(objects), 3);
    let expected = "\
0x0000000000005010   88 bytes  Session  held by 0x6000 anonymous ---
the first 1 of 3 objects (--limit N for more), 264 bytes in all
";
    assert_eq!(text(&report_of), expected);
    assert_eq!(json(&report_of)["totals"], json!({"count": 3, "bytes": 264}));
    let Results::Objects(mut long) = report_of.results else { unreachable!("they are objects") };
    long.rows[0].type_name = format!("std::map<{}>", "long, ".repeat(40));
    let shown = text(&report(Results::Objects(long), 3));
    let mut lines = shown.lines();
    assert!(lines.next().is_some_and(|line| line.chars().count() == 100 && line.ends_with('…')), "{shown}");
    assert_eq!(lines.next().map(str::trim), Some("held by 0x6000 anonymous ---"), "{shown}");
    let finding = FindingRow {
        address: 0x5060,
        kind: "size".into(),
        text: "the size of the chunk is 0x4141414141414141".into(),
        before: vec![
            BeforeRow { allocation: allocation(), bytes: [b'A'; 20].to_vec(), behind: b"AAAA\0\0\0\0".to_vec() },
            BeforeRow {
                allocation: AllocationRow { start: 0x5000, size: 4, ..AllocationRow::default() },
                bytes: b"that".to_vec(),
                behind: Vec::new(),
            },
        ],
    };
    let report = report(Results::Findings(vec![finding]), 1);
    let expected = "\
0x0000000000005060  size: the size of the chunk is 0x4141414141414141
    before it: 0x5010, 88 bytes, in use, Session
      ends with  41 41 41 41 41 41 41 41 41 41 41 41 41 41 41 41  AAAAAAAAAAAAAAAA
                 41 41 41 41                                      AAAA
      behind it  41 41 41 41 00 00 00 00                          AAAA....
    before that: 0x5000, 4 bytes, free
      has        74 68 61 74                                      that
1 finding
";
    assert_eq!(text(&report), expected);
    let row = &json(&report)["results"][0];
    assert_eq!((&row["before"]["start"], &row["behind"]), (&json!("0x5010"), &json!("4141414100000000")));
    assert_eq!(row["bytes"], "41".repeat(20));
    let earlier = json!({"before": {"start": "0x5000", "size": 4, "used": false}, "bytes": "74686174"});
    assert_eq!(row["earlier"], earlier);
}
