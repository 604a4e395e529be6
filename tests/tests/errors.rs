//! What goes wrong is said in one line that tells what to do, and nothing else is lost.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use tests::report::{assert_finds, find_needles};
use tests::{Debuggee, Product, Session, Truth, check};

#[test]
fn without_a_process() {
    let mut session = Session::start();
    let mut text = String::new();
    for line in ["mp-scan find --string x", "mp-scan strings", "mp-scan map"] {
        let _ = writeln!(text, "{line}\n    {}", session.fails(line));
    }
    session.ok(&format!("target create {}", tests::compile("values.c").display()));
    let _ = writeln!(text, "with a target:");
    for line in ["mp-scan find --string x", "mp-scan strings", "mp-scan map"] {
        let _ = writeln!(text, "{line}\n    {}", session.fails(line));
    }
    check("errors-without-a-process", &text);
}

#[test]
fn what_cannot_be_understood() {
    let mut session = Session::start();
    session.launch("values.c", &[]);
    let mut text = String::new();
    for line in [
        "mp-scan find",
        "mp-scan find --string ''",
        "mp-scan find --utf16 ''",
        "mp-scan find --bytes ''",
        "mp-scan find --bytes 'de a'",
        "mp-scan find --bytes zz",
        "mp-scan find --bytes ??",
        "mp-scan find --regex 'a('",
        "mp-scan find --regex ''",
        "mp-scan find --regex 'a*'",
        "mp-scan find --regex 'x{100000}{100000}'",
        "mp-scan find --int twelve",
        "mp-scan find --int 300:1",
        "mp-scan find --int 1:3",
        "mp-scan find --float much",
        "mp-scan find --float 1:2",
        "mp-scan find --pointer no_such_symbol",
        "mp-scan find --pointer-range 0x2000..0x1000",
        "mp-scan find --pointer-range 0x1000",
        "mp-scan find --string x --in 0x2000..0x1000",
        "mp-scan find --string x --in 0x1000..0x1000",
        "mp-scan find --string x --in 0x1000..0x2000",
        "mp-scan find --string x --in nowhere",
        "mp-scan find --string x --in module:nowhere",
        "mp-scan find --string x --align 0",
        "mp-scan find --string x --limit many",
        "mp-scan find --string x --timeout 0",
        "mp-scan find --string x --workers many",
        "mp-scan find --string x --format xml",
        "mp-scan find --string x --sideways",
        "mp-scan find x",
        "mp-scan strings --min 0",
        "mp-scan strings --encoding ebcdic",
        "mp-scan strings --regex 'a('",
        "mp-scan map 1",
        "mp-scan jobs show 7",
        "mp-scan jobs wait 7",
        "mp-scan jobs cancel 7",
        "mp-scan jobs show",
        "mp-scan pool set workers=many",
        "mp-scan pool set speed=fast",
        "mp-scan pool set workers",
        "mp-scan pool set memory=1",
    ] {
        let _ = writeln!(text, "{line}\n    {}", session.fails(line));
    }
    check("errors-of-understanding", &text);
    assert!(session.workers().is_empty(), "a command that fails starts no worker");
}

/// A search for two values of `values.c` where they were put.
fn find_masked(truth: &Truth) -> String {
    let edge = |label: &str| truth.address("edge", label);
    format!("mp-scan find --bytes dead??ef --in {:#x}..{:#x}", edge("start"), edge("end"))
}

#[test]
fn an_output_file_that_cannot_be_written_loses_nothing() {
    let mut session = Session::start();
    let truth = session.launch("values.c", &[]);
    let find = find_masked(&truth);
    let mut text = String::new();
    for output in ["/dev/full", "/no/such/folder/report.json", "/proc"] {
        for format in ["text", "json"] {
            let answer = session.run(&format!("{find} --format {format} --output {output}"));
            assert!(!answer.ok, "{output}: {answer:?}");
            let _ = writeln!(text, "--output {output} --format {format}\n    {}", answer.error.trim_end());
        }
    }
    check("errors-of-output", &text);
    // What was found is still there.
    let report = session.json("mp-scan jobs show 1");
    assert_finds(&report, &truth, &[truth.address("value", "masked"), truth.address("value", "masked-too")]);
    assert!(!std::path::Path::new("/no").exists());
}

#[test]
fn a_process_that_runs_is_scanned_and_the_report_says_that_it_ran() {
    let mut session = Session::start();
    let truth = session.launch("memory.c", &["mapped=16", "then=run"]);
    session.python("debugger.SetAsync(True)");
    session.ok("process continue");
    let report = session.json(&find_needles());
    assert_finds(&report, &truth, &truth.addresses("needle"));
    assert_eq!(report["target"]["ran"], true);
}

#[test]
fn a_process_that_has_ended_cannot_be_scanned() {
    let mut session = Session::start();
    session.launch("memory.c", &["mapped=16", "then=exit"]);
    session.ok("process continue");
    check("errors-after-the-end", &session.fails("mp-scan find --string x"));
}

#[test]
fn a_worker_that_is_missing_is_named() {
    let mut session = Session::with_environment([("MP_SCAN_WORKER", "/no/such/mp-worker")]);
    let truth = session.launch("values.c", &[]);
    let error = session.fails("mp-scan find --bytes dead??ef");
    assert!(error.contains("/no/such/mp-worker"), "{error}");
    // In this process it works all the same.
    let report = session.json(&format!("{} --workers 0", find_masked(&truth)));
    assert_finds(&report, &truth, &[truth.address("value", "masked"), truth.address("value", "masked-too")]);
}

#[test]
fn a_plugin_without_a_worker_beside_it_says_where_it_looked() {
    let mut session = Session::without_plugin([] as [(&str, &str); 0]);
    let plugin = session.folder().join("libmp_scan.so");
    std::fs::copy(&Product::built().plugin, &plugin).expect("a file can be copied");
    session.ok(&format!("plugin load {}", plugin.display()));
    session.launch("values.c", &[]);
    let error = session.fails("mp-scan find --string x");
    assert!(error.contains(&session.folder().join("mp-worker").display().to_string()), "{error}");
}

/// A session whose worker is a file with these contents.
fn with_worker(contents: &[u8]) -> Session {
    let folder = tests::scratch();
    let worker = folder.path().join("mp-worker");
    std::fs::write(&worker, contents).expect("a new file can be written");
    std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    let mut session = Session::with_environment([("MP_SCAN_WORKER", worker.as_os_str())]);
    session.keep(folder);
    session.launch("values.c", &[]);
    session
}

#[test]
fn a_worker_that_is_no_worker_is_an_error() {
    for contents in [&b"#!/bin/sh\nexit 3\n"[..], b"#!/bin/sh\necho hello; sleep 0.1\n", b"no program at all"] {
        let mut session = with_worker(contents);
        session.fails("mp-scan find --string x");
        session.json("mp-scan find --string x --workers 0");
    }
}

#[test]
fn a_worker_of_another_build_is_named_with_both_builds() {
    let mut bytes = std::fs::read(&Product::built().worker).expect("the worker is there");
    let at = build(&bytes);
    let own = String::from_utf8_lossy(&bytes[at]).into_owned();
    let last = own.len() - 1;
    let digit = if own.ends_with('0') { "1" } else { "0" };
    let other = format!("{}{digit}", &own[..last]);
    // A compiler may keep it in several places.
    for at in 0..=bytes.len() - own.len() {
        if bytes[at..].starts_with(own.as_bytes()) {
            bytes[at + last] = other.as_bytes()[last];
        }
    }
    let mut session = with_worker(&bytes);
    let error = session.fails("mp-scan find --string x");
    assert!(error.contains(&own) && error.contains(&other), "neither {own} nor {other} may be missing: {error}");
}

/// Where a program says its build: `VERSION-` and 16 hex digits.
fn build(bytes: &[u8]) -> std::ops::Range<usize> {
    let prefix = format!("{}-", env!("CARGO_PKG_VERSION"));
    let length = prefix.len() + 16;
    let is_build = |text: &[u8]| {
        let (version, digits) = text.split_at(prefix.len());
        version == prefix.as_bytes() && digits.iter().all(u8::is_ascii_hexdigit)
    };
    let at = bytes.windows(length).position(is_build).expect("it says its build");
    at..at + length
}

#[test]
fn an_attached_process_that_is_killed_from_outside_is_an_error_or_an_answer() {
    let debuggee = Debuggee::start("memory.c", &["mapped=64"]);
    let mut session = Session::start();
    session.attach(&debuggee);
    session.json(&find_needles());
    drop(debuggee);
    let answer = session.run(&find_needles());
    assert!(!answer.ok || answer.output.lines().count() == 1, "{answer:?}");
    session.fails("mp-scan jobs show 99");
}
