//! `leaks`: exactly the true leaks, by each way to read, in processes and in core files.

use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;
use tests::heap::{LEAKS, allocations, assert_heads, assert_leaks, assert_none};
use tests::report::{addresses, essence, number, results};
use tests::{CoreFile, Debuggee, Segment, Session, Truth, compile, gcore, until};

const WORKERS: [usize; 4] = [0, 1, 2, 7];
const PATIENCE: Duration = Duration::from_secs(60);

/// The true leaks by any number of workers, and the same report by each.
#[track_caller]
fn finds_the_true_leaks(session: &mut Session, truth: &Truth, workers: &[usize], kind: &str) -> Value {
    let mut first = None;
    for workers in workers {
        let report = session.json(&format!("{LEAKS} --workers {workers}"));
        assert_leaks(&report, truth);
        assert_eq!(report["target"]["kind"], kind);
        assert_eq!(report["truncated"], false);
        let first = first.get_or_insert_with(|| essence(&report));
        assert!(*first == essence(&report), "another report by {workers} workers");
    }
    first.expect("some number of workers")
}

fn launch(reader: &str) -> (Session, Truth) {
    let mut session = Session::with_environment([("MP_SCAN_READER", reader)]);
    let file = format!("file={}", session.folder().join("mapped").display());
    let truth = session.launch("heap.cpp", &[&file]);
    (session, truth)
}

#[test]
fn finds_the_true_leaks_with_process_vm_readv() {
    let (mut session, truth) = launch("vm");
    let report = finds_the_true_leaks(&mut session, &truth, &WORKERS, "live");
    assert_heads(&report, &truth);
    assert_none(&report, &truth.addresses("freed"));
    assert_none(&report, &truth.addresses("kept"));
}

#[test]
fn finds_the_true_leaks_through_proc_pid_mem() {
    let (mut session, truth) = launch("mem");
    finds_the_true_leaks(&mut session, &truth, &WORKERS, "live");
}

#[test]
fn finds_the_true_leaks_through_the_debugger() {
    let (mut session, truth) = launch("relay");
    finds_the_true_leaks(&mut session, &truth, &[0, 2], "relayed");
}

/// A debuggee with a file of its own, which it maps.
fn start(name: &str, arguments: &[&str]) -> Debuggee {
    let debuggee = Debuggee::start(name, arguments);
    debuggee.dump_everything();
    debuggee
}

/// What is found is the same in a process that was attached to and in its core file.
fn the_same_live_and_in_a_core_file(name: &str, arguments: &[&str]) {
    let debuggee = start(name, arguments);
    let truth = &debuggee.truth;
    let mut session = Session::start();
    session.attach(&debuggee);
    let live = finds_the_true_leaks(&mut session, truth, &[2], "live");
    session.ok("process detach");
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let dead = finds_the_true_leaks(&mut session, truth, &WORKERS, "core");
    assert_none(&dead, &truth.addresses("freed"));
    assert_none(&dead, &truth.addresses("kept"));
    if !truth.of_kind("head").is_empty() {
        assert_heads(&dead, truth);
    }
    assert!(live["results"] == dead["results"], "another answer in the core file");
    assert_eq!(live["totals"], dead["totals"]);
}

#[test]
fn the_leaks_of_a_c_plus_plus_program_are_the_same_in_its_core_file() {
    let folder = tests::scratch();
    the_same_live_and_in_a_core_file("heap.cpp", &[&format!("file={}", folder.path().join("mapped").display())]);
}

#[test]
fn the_leaks_of_a_rust_program_are_the_same_in_its_core_file() {
    the_same_live_and_in_a_core_file("heap.rs", &[]);
}

#[test]
fn a_lost_tree_of_rust_has_one_head_and_each_ring_has_one() {
    let mut session = Session::start();
    let truth = session.launch("heap.rs", &[]);
    let report = session.json(LEAKS);
    let heads = |label: &str| -> Vec<(bool, u64)> {
        let own: BTreeSet<u64> =
            truth.labelled("leak", |known| known.starts_with(&format!("{label}:"))).into_iter().collect();
        let rows: Vec<&Value> = results(&report).iter().filter(|row| own.contains(&number(&row["address"]))).collect();
        assert_eq!(rows.len(), own.len(), "{label}");
        let head = |row: &&Value| Some((row["unreferenced"].as_bool()?, row["holds"]["count"].as_u64()?));
        rows.iter().filter_map(head).collect()
    };
    assert_eq!(heads("tree"), [(true, (1 << 11) - 2)]);
    let mut rings = heads("cycles");
    rings.sort_unstable();
    // Of so many and one more links each.
    assert_eq!(rings, (1..60).map(|length| (false, length)).collect::<Vec<_>>());
}

#[test]
fn the_leaks_of_a_rust_program_lie_in_several_arenas() {
    let mut session = Session::start();
    let truth = session.launch("heap.rs", &[]);
    for (kind, label, least) in [
        ("leak", "tree:", 2047),
        ("leak", "threads:", 4 * 500),
        ("leak", "churn:", 300),
        ("freed", "churn:", 300),
        ("kept", "interior:", 1),
        ("kept", "file:", 1),
        ("kept", "register:", 1),
    ] {
        assert!(truth.labelled(kind, |name| name.starts_with(label)).len() >= least, "{kind} {label}");
    }
    let report = finds_the_true_leaks(&mut session, &truth, &[0, 2], "live");
    assert_none(&report, &truth.addresses("freed"));
    // Those of the threads that leaked at the same time are in as many heaps, each at a multiple of its size.
    let heaps: BTreeSet<u64> =
        truth.labelled("leak", |name| name.starts_with("threads:")).into_iter().map(|leak| leak >> 26).collect();
    assert!(heaps.len() >= 4, "{heaps:x?}");
}

#[test]
fn the_leaks_in_a_core_file_of_the_kernels() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the kernel says where cores go");
    if pattern.trim() != "core" {
        eprintln!("left out: the kernel gives its core files to '{}'", pattern.trim());
        return;
    }
    let unlimited = nix::sys::resource::RLIM_INFINITY;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, unlimited, unlimited)
        .expect("core files may be of any size");
    let mut session = Session::start();
    let debuggee = start("heap.cpp", &["count=2000"]);
    debuggee.process().signal(Signal::SIGABRT);
    let process = debuggee.process();
    until("the end of the process", PATIENCE, || (!process.is_alive()).then_some(()));
    let is_core =
        |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"));
    let files = std::fs::read_dir(debuggee.folder()).expect("the folder is there");
    let core = files.filter_map(|entry| Some(entry.ok()?.path())).find(is_core).expect("the kernel wrote a core file");
    session.open_core(Some(&debuggee.program), &core);
    finds_the_true_leaks(&mut session, &debuggee.truth, &[2], "core");
}

#[test]
fn a_core_file_without_some_of_the_memory_says_so() {
    let folder = tests::scratch();
    let file = folder.path().join("mapped");
    let debuggee = Debuggee::start("heap.cpp", &["count=2000", &format!("file={}", file.display())]);
    // By default a core file holds no file's bytes, and the file has changed since.
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    std::fs::remove_file(&file).expect("the debuggee has made it");
    session.open_core(Some(&debuggee.program), &core);
    let report = session.json(LEAKS);
    let notes = report["notes"].to_string();
    assert!(notes.contains(&format!("nor taken from {}", file.display())), "{notes}");
    // All leaks, and beside them only what the part that is missing had a pointer to.
    let found = addresses(&report);
    let leaks = debuggee.truth.addresses("leak");
    assert!(leaks.iter().all(|leak| found.binary_search(leak).is_ok()), "not all leaks are found");
    let extra: Vec<u64> = found.iter().copied().filter(|found| leaks.binary_search(found).is_err()).collect();
    assert_eq!(extra, debuggee.truth.labelled("kept", |label| label.starts_with("file-mapping")));
}

#[test]
fn a_lost_tree_is_one_line_and_all_its_nodes_are_counted() {
    let mut session = Session::start();
    let truth = session.launch("heap_tree.c", &["50000"]);
    let report = session.json(LEAKS);
    assert_leaks(&report, &truth);
    let root = truth.addresses("head")[0];
    let heads: Vec<&Value> = results(&report).iter().filter(|row| row["unreferenced"] == true).collect();
    assert_eq!(heads.len(), 1);
    assert_eq!(number(&heads[0]["address"]), root);
    assert_eq!(heads[0]["holds"]["count"], 49_999);
    let sizes: u64 = allocations(&truth, "leak").values().map(|leak| leak.0).sum();
    assert_eq!(
        heads[0]["holds"]["bytes"].as_u64().zip(heads[0]["size"].as_u64()).map(|(held, own)| held + own),
        Some(sizes)
    );
    assert_eq!(report["totals"]["bytes"], sizes);
    let text = session.ok("mp-scan leaks");
    assert_eq!(text.lines().filter(|line| line.contains(&format!("{root:#x}"))).count(), 1, "{text}");
    assert!(text.contains("49999") || text.contains("49,999"), "{text}");
    // Totals are exact however few are shown.
    let report = session.json("mp-scan leaks --limit 10");
    assert_eq!((report["total"].as_u64(), results(&report).len()), (Some(50_000), 10));
    assert_eq!(addresses(&report), truth.addresses("leak")[..10]);
}

/// A line of text of leaks: how many heads, and of what.
fn line_of<'a>(text: &'a str, what: &str) -> Option<(u64, &'a str)> {
    let lines = text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" × ")?;
        let rest = after.strip_prefix(what)?;
        rest.starts_with([' ', ',']).then_some(())?;
        Some((before.split_whitespace().last()?.parse().ok()?, rest))
    });
    let mut found = lines.collect::<Vec<_>>();
    assert!(found.len() <= 2, "{what} is in {} lines: {text}", found.len());
    found.retain(|(_, rest)| !rest.contains("in rings"));
    found.pop()
}

#[test]
fn leaks_are_grouped_as_is_asked_for() {
    let mut session = Session::start();
    let truth = session.launch("heap.cpp", &["count=2000"]);
    let heads = allocations(&truth, "head");
    let mut by_size = BTreeMap::<u64, u64>::new();
    for (size, _) in heads.values() {
        *by_size.entry(*size).or_default() += 1;
    }
    let text = session.ok("mp-scan leaks --group size --limit 100000");
    for (size, count) in by_size.iter().filter(|(size, _)| **size < 1000) {
        let line = line_of(&text, &format!("{size} bytes of ?"));
        assert_eq!(line.map(|line| line.0), Some(*count), "heads of {size} bytes in {text}");
    }
    let text = session.ok("mp-scan leaks --group type --limit 100000");
    for (name, label, count) in [("Circle", "circle", 25), ("Badge", "badge", 10)] {
        let known = heads.values().filter(|head| head.1 == format!("{label}/0")).count() as u64;
        assert_eq!((line_of(&text, name).map(|line| line.0), known), (Some(count), count), "{name} in {text}");
    }
    // Untyped ones of all sizes are in one line, with all that they hold.
    let untyped = heads.values().filter(|head| !head.1.starts_with("circle") && !head.1.starts_with("badge")).count();
    assert_eq!(line_of(&text, "?").map(|line| line.0), Some(untyped as u64), "{text}");
    // Of the document each leak is a row, in whatever groups they are.
    let by_size = session.json(&format!("{LEAKS} --group size"));
    let by_type = session.json(&format!("{LEAKS} --group type"));
    assert_leaks(&by_size, &truth);
    assert_heads(&by_size, &truth);
    assert!(by_size["results"] == by_type["results"]);
    for row in results(&by_type) {
        let label = heads.get(&number(&row["address"])).map(|head| head.1);
        let name = match label {
            Some("circle/0") => "Circle",
            Some("badge/0") => "Badge",
            _ => continue,
        };
        assert_eq!(row["type"], name, "{row}");
    }
}

#[test]
fn leaks_in_the_arenas_of_200_threads() {
    let mut session = Session::start();
    let truth = session.launch("heap_arenas.c", &["200", "400"]);
    finds_the_true_leaks(&mut session, &truth, &[0, 2], "live");
}

/// Where brk fails, each piece that is mapped instead is not much longer than what was asked for.
#[test]
fn leaks_in_short_pieces_where_brk_has_failed_live_and_in_a_core_file() {
    the_same_live_and_in_a_core_file("heap_pieces.c", &[]);
}

#[test]
fn a_heap_of_short_pieces_is_well() {
    let mut session = Session::start();
    let truth = session.launch("heap_pieces.c", &[]);
    assert_none(&session.json(LEAKS), &truth.addresses("kept"));
    assert_eq!(session.json("mp-scan heap --check")["total"], 0);
}

#[test]
fn leaks_of_many_threads_in_one_arena() {
    let mut session = Session::start();
    let truth = session.launch("heap_arenas.c", &["20", "1"]);
    finds_the_true_leaks(&mut session, &truth, &[0, 2], "live");
}

#[test]
fn leaks_of_many_threads_where_the_environment_allows_one_arena() {
    let mut session = Session::start();
    session.ok("settings set target.env-vars MALLOC_ARENA_MAX=1");
    let truth = session.launch("heap_arenas.c", &["20"]);
    let report = finds_the_true_leaks(&mut session, &truth, &[0, 2], "live");
    assert_none(&report, &truth.addresses("kept"));
    let report = session.json("mp-scan heap --by arena");
    assert_eq!(report["totals"]["arenas"], 1, "{report}");
    assert_eq!(session.json("mp-scan heap --check")["total"], 0);
}

#[test]
fn what_a_library_keeps_that_was_loaded_later_is_no_leak() {
    let mut session = Session::start();
    let library = session.folder().join("libkeeps.so");
    let source = tests::root().join("fixtures/heap_tls_library.c");
    let status = Command::new("cc").args(["-g", "-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(status.expect("cc runs").success());
    let truth = session.launch("heap_tls.c", &[&library.display().to_string()]);
    let report = finds_the_true_leaks(&mut session, &truth, &[0, 2], "live");
    assert_none(&report, &truth.addresses("kept"));
    // Of each thread something reaches it, and a chain leads there from a root.
    for kept in truth.addresses("kept") {
        let report = session.json(&format!("mp-scan refs {kept:#x} --to-roots"));
        let chains = results(&report).iter().filter(|row| row["chain"].is_array()).count();
        assert!(chains > 0, "{report}");
    }
}

#[test]
fn leaks_where_an_arena_is_locked() {
    let mut session = Session::start();
    let truth = session.launch("heap_locked.c", &[]);
    let report = finds_the_true_leaks(&mut session, &truth, &[0, 2], "live");
    assert!(report["notes"].to_string().contains("lock"), "{}", report["notes"]);
}

#[test]
fn a_process_that_is_anywhere_within_malloc() {
    let mut session = Session::start();
    let truth = session.launch("heap_tree.c", &["200", "churn"]);
    let leaks = truth.addresses("leak");
    session.ok("breakpoint set --name _int_malloc --name _int_free --name malloc --name free --shlib libc.so.6");
    for round in 0..30 {
        session.ok("process continue");
        session.ok(&format!("thread step-inst --count {}", 1 + round * 7 % 60));
        let report = session.json(LEAKS);
        let found = addresses(&report);
        assert!(leaks.iter().all(|leak| found.binary_search(leak).is_ok()), "round {round}: not all leaks are found");
        // What is being given out or taken back may be in nobody's hands.
        assert!(found.len() <= leaks.len() + 1, "round {round}: {} found for {}", found.len(), leaks.len());
    }
}

#[test]
fn a_process_that_has_not_called_malloc_has_no_leaks() {
    let mut session = Session::start();
    session.ok(&format!("target create {}", compile("heap_tree.c").display()));
    session.ok("breakpoint set --name main");
    // Here libc is not even loaded.
    session.ok("process launch --stop-at-entry --stdin /dev/null -- nowhere");
    session.look_at_process();
    let error = session.fails(LEAKS);
    assert!(error.contains("no heap of glibc's malloc"), "{error}");
    session.ok("process continue");
    for workers in [0, 2] {
        let report = session.json(&format!("{LEAKS} --workers {workers}"));
        assert_eq!(report["total"], 0, "{report}");
        assert!(results(&report).is_empty());
    }
}

#[test]
fn what_is_wrong_in_one_place_hides_no_leaks_elsewhere() {
    for what in [
        "nothing",
        "size",
        "size-inside",
        "tcache-link",
        "tcache-double-free",
        "fast-link",
        "fast-double-free",
        "bin-link",
        "size-before",
        "tcache-loop",
        "tcache-count",
        "tcache-unaligned",
        "fast-loop",
        "fast-unaligned",
        "unmerged",
        "bin",
        "bin-back",
        "smaller",
        "larger",
        "unsorted-size",
        "flags",
        "mapped",
        "arena-flags",
        "heap-arena",
        "heap-size",
        "top",
        "main",
    ] {
        let mut session = Session::start();
        let truth = session.launch("heap_broken.c", &[what]);
        for workers in [0, 2] {
            let report = session.json(&format!("{LEAKS} --workers {workers}"));
            let found = addresses(&report);
            let missing: Vec<u64> =
                truth.addresses("leak").into_iter().filter(|leak| found.binary_search(leak).is_err()).collect();
            assert!(missing.is_empty(), "{what}: not found: {missing:x?}, {report}");
            assert_none(&report, &truth.addresses("kept"));
        }
    }
}

#[test]
fn an_arena_that_was_overwritten_costs_no_other() {
    let mut session = Session::start();
    let truth = session.launch("heap_broken.c", &["arena"]);
    let report = session.json(LEAKS);
    let found = addresses(&report);
    assert!(truth.addresses("leak").iter().all(|leak| found.binary_search(leak).is_ok()), "{report}");
    assert!(
        report["notes"].as_array().is_some_and(|notes| !notes.is_empty()),
        "nothing is said of the arena: {report}"
    );
}

#[test]
fn a_32_bit_process_is_refused_in_words() {
    let mut session = Session::start();
    let core = CoreFile::i386(vec![Segment::new(0x10000, vec![0; 0x3000])]).write(session.folder());
    session.open_core(None, &core);
    for command in ["leaks", "heap", "heap --check", "heap --retained", "objects x", "refs 0x10000"] {
        let error = session.fails(&format!("mp-scan {command}"));
        assert!(error.contains("64-bit") || error.contains("32-bit"), "{error}");
    }
}

#[test]
fn an_interrupt_ends_the_search_for_leaks() {
    let mut session = Session::start();
    session.launch("heap_mix.cpp", &[]);
    let pending = session.send(&format!("{LEAKS} --workers 1"));
    until("a worker at work", PATIENCE, || session.workers().into_iter().find(|worker| worker.state() == Some('R')));
    session.aside("debugger.RequestInterrupt()");
    let answer = session.wait(pending);
    session.python("debugger.CancelInterruptRequest()");
    let report = session.json("mp-scan jobs show 1");
    assert_eq!((&report["truncated"], &report["stopped"]), (&Value::Bool(true), &"cancelled".into()), "{answer:?}");
    // The next one is whole.
    assert_eq!(session.json("mp-scan leaks")["total"], 10_000);
}

#[test]
fn leaks_are_those_of_the_stop_at_which_they_are_asked_for() {
    let mut session = Session::start();
    let truth = session.launch("heap_tree.c", &["100"]);
    assert_leaks(&session.json(LEAKS), &truth);
    // The root is freed; its children are heads from now on.
    session.ok(&format!("expression (void)free((void *){:#x})", truth.addresses("head")[0]));
    let report = session.json(LEAKS);
    assert_eq!(report["total"], 99, "{report}");
    assert_eq!(results(&report).iter().filter(|row| row["unreferenced"] == true).count(), 2);
}
