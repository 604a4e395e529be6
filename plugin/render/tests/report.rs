//! What users and scripts see of reports.

use analysis::{
    Columns, Content, HostRow, LayoutRow, MappingRow, Match, MemberRow, PoolStatus, Report, Results, Skip, Stats, Stop,
    SymbolOffset, TargetInfo, TargetKind, TypeRow, Value, WorkerRow,
};
use render::{Format, Style, render, write};
use std::io;
use target::{AddressRange, Permissions};

fn report(results: Results, total: u64) -> Report {
    Report {
        command: "find".into(),
        target: Some(TargetInfo {
            kind: TargetKind::Live,
            pid: Some(4711),
            executable: Some("/usr/bin/service".into()),
            stop_id: Some(3),
            ran: false,
        }),
        stats: Stats {
            bytes_scanned: 2 << 30,
            bytes_planned: 2 << 30,
            bytes_skipped: 8192,
            seconds: 0.21,
            scan_seconds: 0.2,
            workers: 2,
            tasks: 68,
            ..Stats::default()
        },
        total,
        truncated: false,
        stopped: None,
        skipped: vec![
            Skip { range: AddressRange::new(0x7000_0000, 0x7000_1000), reason: "unreadable memory".into() },
            Skip { range: AddressRange::new(0x7000_4000, 0x7000_5000), reason: "unreadable memory".into() },
        ],
        results,
        notes: Vec::new(),
        columns: Columns::default(),
    }
}

fn matches() -> Report {
    let heap = Match {
        address: 0x5555_5577_a040,
        size: 6,
        content: Some(Content::Text { text: "say \"hi\"\x1b[2J".into(), cut: true }),
        region: Some("[heap]".into()),
        region_permissions: Permissions::READ | Permissions::WRITE,
        ..Match::default()
    };
    let global = Match {
        address: 0x5555_5555_8010,
        size: 8,
        pattern: 1,
        value: Some(Value::Pointer(0x5555_5577_a040)),
        region: Some("/usr/bin/service".into()),
        region_permissions: Permissions::READ,
        symbol: Some(SymbolOffset { name: "sessions::TABLE".into(), offset: 16 }),
        ..Match::default()
    };
    let stack = Match {
        address: 0x7fff_ffff_e000,
        size: 4,
        pattern: 2,
        value: Some(Value::Int(-1)),
        content: Some(Content::Bytes(vec![0xff; 4])),
        region: Some("[stack]".into()),
        thread: Some(1),
        ..Match::default()
    };
    report(Results::Matches(vec![global, heap, stack]), 3)
}

#[test]
fn find_as_text() {
    let mut report = matches();
    report.columns = Columns { size: true, pattern: true };
    insta::assert_snapshot!(render(&report, Format::Text, &Style { color: false, width: 100 }));
}

#[test]
fn find_as_json_is_one_document() {
    let text = render(&matches(), Format::Json, &Style::default());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn ron_has_the_shape_of_json() {
    let report = matches();
    let json: serde_json::Value = serde_json::from_str(&render(&report, Format::Json, &Style::default())).unwrap();
    let ron: ron::Value = ron::from_str(&render(&report, Format::Ron, &Style::default())).unwrap();
    let ron::Value::Map(fields) = ron else { panic!("not a struct: {ron:?}") };
    let names: Vec<String> = fields.keys().map(|key| format!("{key:?}")).collect();
    for name in json.as_object().unwrap().keys() {
        assert!(names.iter().any(|field| field.contains(name)), "{name} is not in {names:?}");
    }
}

#[test]
fn a_scan_that_was_stopped_says_so() {
    let mut report = report(Results::Matches(Vec::new()), 0);
    report.truncated = true;
    report.stats.bytes_planned = 4 << 30;
    report.stats.deaths = 1;
    report.stats.retried = 2;
    let mut lines = Vec::new();
    for stop in [Stop::Limit, Stop::Timeout, Stop::Cancelled, Stop::TargetGone] {
        report.stopped = Some(stop);
        lines.push(render(&report, Format::Text, &Style::default()));
    }
    insta::assert_snapshot!(lines.concat());
}

#[test]
fn map_and_pool_as_text() {
    let row = MappingRow {
        range: Some(AddressRange::new(0x5555_5555_4000, 0x5555_5555_6000)),
        permissions: Some(Permissions::READ | Permissions::EXECUTE),
        shared: false,
        kind: "code".into(),
        name: Some("/usr/bin/service".into()),
        count: None,
        size: 8192,
        resident: Some(4096),
        swapped: Some(0),
        entropy: Some(5.25),
    };
    let mut map = report(Results::Mappings(vec![row]), 1);
    map.command = "map".into();
    map.stats = Stats::default();
    let here = WorkerRow {
        host: None,
        pid: Some(815),
        state: "idle".into(),
        reason: None,
        tasks: 12,
        deaths: 1,
        memory: Some(3 << 20),
    };
    let there = WorkerRow { host: Some("ssh w1".into()), pid: Some(4711), memory: None, ..here.clone() };
    let reason = Some("exited with code 255 (ssh: connect to host w2 port 22: Connection refused)".into());
    let down = WorkerRow { host: Some("ssh w2".into()), pid: None, state: "down".into(), reason, ..here.clone() };
    let host = |host, command: &str| HostRow { host, command: command.into(), slots: host, worker: "mp-worker".into() };
    let hosts = vec![host(1, "ssh w1"), host(2, "ssh w2")];
    let settings = vec![("workers".into(), "2".into())];
    let status = PoolStatus { workers: vec![here, there, down], settings, hosts: hosts.clone() };
    let pool = Report { target: None, skipped: Vec::new(), ..report(Results::Pool(status), 1) };
    let hosts = Report { target: None, skipped: Vec::new(), ..report(Results::Hosts(hosts), 2) };
    let json = render(&pool, Format::Json, &Style::default());
    assert!(json.contains(r#"{"host":"ssh w1","pid":4711,"state":"idle""#), "{json}");
    assert!(json.contains(r#"{"pid":815,"state":"idle","tasks":12"#), "{json}");
    assert!(json.contains(r#""hosts":[{"host":1,"command":"ssh w1","slots":1,"worker":"mp-worker"}"#), "{json}");
    let text = [map, pool, hosts].map(|report| render(&report, Format::Text, &Style::default())).concat();
    insta::assert_snapshot!(text);
}

#[test]
fn a_layout_says_that_sizes_of_members_are_not_known() {
    let member = |declaration: &str, offset, size| MemberRow {
        declaration: declaration.into(),
        offset: Some(offset),
        size,
        ..MemberRow::default()
    };
    let layout = |members| {
        let layout = Some(LayoutRow { members, ..LayoutRow::default() });
        let row = TypeRow { name: "Node".into(), kind: "class".into(), size: Some(32), layout, ..TypeRow::default() };
        let row = TypeRow { padding: Some(0), ..row };
        render(&report(Results::Types(vec![row]), 1), Format::Text, &Style::default())
    };
    let inside = MemberRow { members: vec![member("Cache cache", 16, None)], ..member("", 16, Some(16)) };
    let both = layout(vec![member("Keyed", 0, None), inside]);
    assert!(both.contains("\n        /* size of 2 members is not known here */\n"), "{both}");
    let one = layout(vec![member("Keyed", 0, None), member("long last", 24, Some(8))]);
    assert!(one.contains("\n        /* size of 1 member is not known here */\n"), "{one}");
    let none = layout(vec![member("long first", 0, Some(8))]);
    assert!(!none.contains("not known"), "{none}");
}

/// Takes so many pieces, and notes how long each is.
#[derive(Debug)]
struct Pieces {
    lengths: Vec<usize>,
    most: usize,
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.lengths.len() == self.most {
            return Err(io::Error::other("enough"));
        }
        self.lengths.push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_long_report_is_written_piece_by_piece_until_there_is_an_error() {
    let found = matches();
    let Results::Matches(few) = &found.results else { unreachable!("they are matches") };
    let many = Report { results: Results::Matches(few.iter().cycle().take(10_000).cloned().collect()), ..found };
    for format in [Format::Text, Format::Json, Format::Ron] {
        let whole = render(&many, format, &Style::default()).len();
        let mut pieces = Pieces { lengths: Vec::new(), most: usize::MAX };
        write(&many, format, &Style::default(), &mut pieces).unwrap();
        assert_eq!(pieces.lengths.iter().sum::<usize>(), whole);
        assert!(pieces.lengths.iter().all(|length| *length <= 1 << 16) && pieces.lengths.len() > 3, "{pieces:?}");
        let mut pieces = Pieces { lengths: Vec::new(), most: 2 };
        let error = write(&many, format, &Style::default(), &mut pieces).unwrap_err();
        assert!(error.to_string().contains("enough"), "{error}");
    }
}
