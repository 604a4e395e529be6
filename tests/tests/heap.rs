//! `heap`: what fills it, and what in it does not add up; and allocations as other commands name them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tests::heap::{LEAKS, allocations, assert_leaks};
use tests::report::{addresses, essence, find_needles, number, results};
use tests::{Debuggee, Session, Truth, compile, gcore, until};

const WORKERS: [usize; 4] = [0, 1, 2, 7];

/// Count and bytes by key.
fn rows(report: &Value) -> BTreeMap<String, (u64, u64)> {
    let row = |row: &Value| {
        let [count, bytes] = ["count", "bytes"].map(|field| row[field].as_u64().unwrap_or_else(|| panic!("{row}")));
        (row["key"].as_str().unwrap_or_else(|| panic!("{row}")).to_owned(), (count, bytes))
    };
    let rows: BTreeMap<_, _> = results(report).iter().map(row).collect();
    assert_eq!(rows.len(), results(report).len(), "two rows of one key in {report}");
    rows
}

#[track_caller]
fn assert_sums(report: &Value) {
    let rows = rows(report);
    let sum = rows.values().fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    let used = &report["totals"]["used"];
    assert_eq!((used["count"].as_u64(), used["bytes"].as_u64()), (Some(sum.0), Some(sum.1)), "{}", report["totals"]);
}

#[test]
fn all_that_is_allocated_is_in_one_row_however_it_is_summed_up() {
    let mut session = Session::start();
    let truth = session.launch("heap.cpp", &[]);
    let known = ["leak", "kept"].map(|kind| allocations(&truth, kind));
    let bytes: u64 = known.iter().flat_map(BTreeMap::values).map(|allocation| allocation.0).sum();
    let count: usize = known.iter().map(BTreeMap::len).sum();
    let mut totals = None;
    for by in ["size", "type", "arena", "region"] {
        let mut first = None;
        for workers in WORKERS {
            let report = session.json(&format!("mp-scan heap --by {by} --top 100000 --workers {workers}"));
            assert_sums(&report);
            let first = first.get_or_insert_with(|| essence(&report));
            assert!(*first == essence(&report), "by {by}: another report by {workers} workers");
            let totals = totals.get_or_insert_with(|| report["totals"].clone());
            assert_eq!(&report["totals"], totals);
        }
    }
    let totals = totals.expect("there were reports");
    let used = &totals["used"];
    // What is not told of are containers' nodes, and what the library has for itself.
    let others = used["count"].as_u64().unwrap_or(0).checked_sub(count as u64);
    assert!(others.is_some_and(|others| others < 2000), "{used} for {count} known ones");
    assert!(used["bytes"].as_u64() > Some(bytes), "{used} for {bytes} known bytes");
    // What has a mapping of its own: those that leaked, the one that is kept; of more than 128 KiB.
    let mapped = known.iter().flat_map(BTreeMap::values).filter(|allocation| allocation.0 > 128 << 10).count();
    assert_eq!(totals["mapped"]["count"], mapped, "{totals}");
    // The main one, and one each for the threads that allocate while others do.
    assert!(totals["arenas"].as_u64() >= Some(2), "{totals}");
}

#[test]
fn objects_are_counted_by_their_type_live_and_in_a_core_file() {
    let debuggee = Debuggee::start("heap.cpp", &["count=2000"]);
    debuggee.dump_everything();
    let mut session = Session::start();
    session.attach(&debuggee);
    let live = session.json("mp-scan heap --top 100000");
    session.ok("process detach");
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    for workers in WORKERS {
        let report = session.json(&format!("mp-scan heap --top 100000 --workers {workers}"));
        assert!(live["results"] == report["results"], "another answer in the core file by {workers} workers");
        assert_eq!(live["totals"], report["totals"]);
    }
    let rows = rows(&live);
    for name in ["Square", "RoundedSquare"] {
        let objects = debuggee.truth.labelled("object", |label| label.starts_with(&format!("{name}:")));
        assert_eq!(rows.get(name).map(|row| row.0), Some(objects.len() as u64), "{name} in {rows:#?}");
    }
}

#[test]
fn a_match_in_a_threads_arena_says_which_allocation_it_lies_in() {
    let mut session = Session::start();
    let truth = session.launch("heap_arenas.c", &["20", "100"]);
    let report = session.json("mp-scan find --int 0x6b72616d:8 --in anonymous --limit 100000");
    let kept = truth.addresses("kept");
    assert_eq!(kept.len(), 20);
    for address in kept {
        let row = results(&report).iter().find(|row| number(&row["address"]) == address + 72).expect("it is found");
        assert_eq!(number(&row["allocation"]["start"]), address, "{row}");
        assert_eq!(row["allocation"]["used"], true, "{row}");
    }
}

/// Matches of `find` and `strings`, and pointers, are told to lie in the allocations that they do.
fn allocations_are_named(session: &mut Session, truth: &Truth) {
    for workers in [0, 2] {
        let report = session.json(&format!("{} --workers {workers}", find_needles()));
        // What malloc gives for 1000 and 880 bytes; one with a mapping of its own has the rest of its last page.
        for (state, size) in [("used", 1000), ("freed", 888), ("mapped", (500 << 10) + 4096 - 16)] {
            let needle = truth.address("needle", state);
            let row = results(&report).iter().find(|row| number(&row["address"]) == needle).expect("it is found");
            let allocation = &row["allocation"];
            assert_eq!(allocation["used"], state != "freed", "{row}");
            assert_eq!(number(&allocation["start"]), truth.address("edge", state), "{row}");
            assert_eq!(allocation["size"], size, "{row}");
        }
    }
    let kept = allocations(truth, "kept");
    let of = |by: &str| kept.iter().find(|kept| kept.1.1 == by).map(|kept| (*kept.0, kept.1.0)).expect("it is kept");
    for (by, holder) in [("behind-chain", "chain"), ("behind-large", "large")] {
        let report = session.json(&format!("mp-scan refs {:#x}", of(by).0));
        assert_eq!(report["total"], 1, "{by}: {report}");
        let allocation = &results(&report)[0]["allocation"];
        assert_eq!((number(&allocation["start"]), allocation["size"].as_u64()), (of(holder).0, Some(of(holder).1)));
        assert_eq!(allocation["used"], true, "{by}: {report}");
    }
    let strings = truth.labelled("kept", |label| label.starts_with("global-table:"));
    let report = session.json("mp-scan strings --min 90 --regex '^t{100}$' --in heap --limit 100000");
    let owned = |row: &&Value| strings.binary_search(&number(&row["address"])).is_ok();
    let rows: Vec<&Value> = results(&report).iter().filter(owned).collect();
    assert_eq!(rows.len(), strings.len(), "{report}");
    for row in rows {
        assert_eq!(row["allocation"]["start"], row["address"], "{row}");
        assert_eq!(row["allocation"]["used"], true, "{row}");
    }
}

#[test]
fn matches_say_which_allocations_they_lie_in_live_and_in_a_core_file() {
    let debuggee = Debuggee::start("heap.cpp", &["count=2000"]);
    debuggee.dump_everything();
    let mut session = Session::start();
    session.attach(&debuggee);
    allocations_are_named(&mut session, &debuggee.truth);
    session.ok("process detach");
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    allocations_are_named(&mut session, &debuggee.truth);
}

#[test]
fn what_is_retained_is_freed_with_it() {
    let mut session = Session::start();
    let truth = session.launch("heap.cpp", &["count=2000"]);
    let report = session.json("mp-scan heap --retained --top 100000");
    assert_retained(&report, &truth);
}

#[test]
fn what_is_retained_is_the_same_in_a_core_file() {
    let debuggee = Debuggee::start("heap.cpp", &["count=2000"]);
    debuggee.dump_everything();
    let mut session = Session::start();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    for workers in WORKERS {
        let report = session.json(&format!("mp-scan heap --retained --top 100000 --workers {workers}"));
        assert_retained(&report, &debuggee.truth);
    }
}

/// Fails the test unless objects retain exactly what only they keep.
#[track_caller]
fn assert_retained(report: &Value, truth: &Truth) {
    assert_sums(report);
    for row in results(report) {
        // At least what it has itself.
        assert!(row["retained"].as_u64() >= row["bytes"].as_u64(), "{row}");
    }
    let row =
        results(report).iter().find(|row| row["key"] == "Keeper").unwrap_or_else(|| panic!("no keepers: {report}"));
    let kept = allocations(truth, "kept");
    let of = |name: &str| kept.values().filter(|kept| kept.1 == name).map(|kept| kept.0).collect::<Vec<_>>();
    let (keepers, own) = (of("keeper"), of("keepers-own"));
    assert_eq!((keepers.len(), own.len(), of("keepers-shared").len()), (2, 401, 50));
    let bytes: u64 = keepers.iter().sum();
    assert_eq!((row["count"].as_u64(), row["bytes"].as_u64()), (Some(2), Some(bytes)), "{row}");
    assert_eq!(row["retained"].as_u64(), Some(bytes + own.iter().sum::<u64>()), "{row}");
    // What has leaked retains what it leads to.
    let notes = report["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let lost =
        notes.filter_map(|note| note.split_once(" allocations are lost already, and retain what only they lead to"));
    let lost: Vec<u64> = lost.filter_map(|note| note.0.parse().ok()).collect();
    // libc keeps some of its own where nobody looks for them.
    let leaks = truth.of_kind("leak").len() as u64;
    assert!(lost.len() == 1 && (leaks..leaks + 10).contains(&lost[0]), "{leaks} leaks, {}", report["notes"]);
}

#[test]
fn totals_are_what_malloc_counts() {
    let mut session = Session::start();
    session.ok("settings set target.env-vars GLIBC_TUNABLES=glibc.malloc.tcache_count=0");
    let truth = session.launch("heap_totals.c", &[]);
    let count = |what| truth.address("count", what);
    let report = session.json("mp-scan heap --by size --top 1000000");
    assert_sums(&report);
    let totals = &report["totals"];
    let of =
        |sum: &str, field: &str| totals[sum][field].as_u64().unwrap_or_else(|| panic!("{sum} {field} in {totals}"));
    // A chunk has 8 bytes that are nobody's to use.
    assert_eq!(of("free", "bytes") + 8 * of("free", "count"), count("free") + count("file"), "{totals}");
    assert_eq!(totals["largest_free"], count("largest"), "{totals}");
    assert_eq!(totals["system"], count("system") + count("mapped") - count("foreign"), "{totals}");
    assert_eq!(
        totals["overhead"],
        count("system") + count("mapped") - count("foreign") - of("used", "bytes") - of("free", "bytes"),
        "{totals}"
    );
    assert_eq!(totals["mapped"]["count"], 1, "{totals}");
    // Sizes that nobody but the program asks for are all there, and of the others not many more.
    let known = allocations(&truth, "used");
    let mut by_size = BTreeMap::new();
    for (size, _) in known.values() {
        *by_size.entry(*size).or_insert(0) += 1;
    }
    let rows = rows(&report);
    let mut others = 0;
    for (size, (number, bytes)) in &rows {
        let size: u64 = size.parse().unwrap_or_else(|_| panic!("{size} is no size"));
        assert_eq!(*bytes, number * size);
        let expected = by_size.remove(&size).unwrap_or(0);
        assert!(*number >= expected, "{size}: {number} for {expected}");
        others += number - expected;
    }
    assert!(by_size.is_empty(), "no row for {by_size:?}");
    assert!(others < 100, "{others} more than the program has");
}

#[test]
fn a_process_that_has_not_called_malloc_has_an_empty_heap() {
    let mut session = Session::start();
    session.ok(&format!("target create {}", compile("heap_tree.c").display()));
    session.ok("breakpoint set --name main");
    session.ok("process launch --stdin /dev/null -- nowhere");
    session.look_at_process();
    let report = session.json("mp-scan heap");
    assert_eq!(report["totals"]["used"]["count"], 0, "{report}");
    assert_eq!(session.json("mp-scan heap --check")["total"], 0);
}

#[test]
fn each_of_200_threads_has_an_arena() {
    let mut session = Session::start();
    session.launch("heap_arenas.c", &["200", "400"]);
    let report = session.json("mp-scan heap --by arena --top 1000");
    assert_sums(&report);
    assert_eq!(report["totals"]["arenas"], 201, "{}", report["totals"]);
    assert_eq!(rows(&report).len(), 201);
}

/// What `heap --check` says of a heap in which this is wrong.
fn findings(session: &mut Session, what: &str) -> (Value, Truth) {
    let truth = session.launch("heap_broken.c", &[what]);
    let mut first = None;
    for workers in [0, 2] {
        let report = session.json(&format!("mp-scan heap --check --workers {workers}"));
        let first = first.get_or_insert_with(|| essence(&report));
        assert!(*first == essence(&report), "{what}: another report by {workers} workers");
    }
    (first.expect("there were reports"), truth)
}

#[test]
fn nothing_is_found_in_a_heap_that_is_well() {
    let mut session = Session::start();
    let (report, _) = findings(&mut session, "nothing");
    assert_eq!(report["total"], 0, "{report}");
    for (name, arguments) in [("heap.cpp", &[][..]), ("heap_arenas.c", &["50", "100"]), ("heap_locked.c", &[])] {
        let mut session = Session::start();
        session.launch(name, arguments);
        let report = session.json("mp-scan heap --check");
        assert_eq!(report["total"], 0, "{name}: {report}");
    }
}

/// What is done to a heap, a word of what is said of it, and whether the block before is the one that `heap_broken.c` calls the writer.
const CORRUPTIONS: [(&str, &str, bool); 28] = [
    ("size", "size", true),
    ("size-inside", "size", false),
    ("tcache-link", "link", true),
    ("tcache-double-free", "double", true),
    ("fast-link", "link", true),
    ("fast-double-free", "double", true),
    ("bin-link", "link", true),
    ("size-before", "size", false),
    ("tcache-loop", "loop", true),
    ("tcache-count", "count", false),
    ("tcache-unaligned", "link", true),
    ("fast-loop", "loop", true),
    ("fast-unaligned", "link", true),
    ("unmerged", "unmerged", false),
    ("bin", "bin", true),
    ("bin-back", "bin", false),
    ("smaller", "link", true),
    ("larger", "link", true),
    ("unsorted-size", "link", true),
    ("flags", "is not the size", true),
    ("mapped", "mappings of their own", false),
    ("arena-flags", "flags", false),
    ("heap-arena", "heap", false),
    ("heap-size", "heap", false),
    ("top", "top", false),
    ("arena", "arena", false),
    ("main", "arena", false),
    ("nothing", "", false),
];

/// Fails the test unless this is found, where it is.
#[track_caller]
fn assert_found(report: &Value, truth: &Truth, (what, word, by_writer): (&str, &str, bool)) {
    let found = results(report);
    if what == "nothing" {
        assert!(found.is_empty(), "{report}");
        return;
    }
    assert!(!found.is_empty(), "{what}: nothing is found");
    let said = |row: &Value| format!("{} {}", row["kind"], row["text"]);
    if what == "mapped" {
        // Where there is no chunk any more nobody knows where it was.
        assert!(found.iter().any(|row| said(row).contains(word)), "{what}: {report}");
        return;
    }
    let place = truth.address("broken", what);
    // By the chunk, by what malloc returned of it, or as the one before the place where none begins.
    let is_near = |address: u64| (place..=place + 16).contains(&address);
    let before = |row: &Value| row["before"]["start"].is_string().then(|| number(&row["before"]["start"]));
    let named = |row: &&Value| is_near(number(&row["address"])) || before(row).is_some_and(is_near);
    let finding = found.iter().find(named).unwrap_or_else(|| panic!("{what}: {place:#x} is not in {report}"));
    assert!(said(finding).contains(word), "{what}: {finding}");
    // An overrun comes from before: that block and what is in it are shown.
    if by_writer {
        assert_eq!(before(finding), Some(truth.address("writer", &format!("{what}:40"))), "{what}: {finding}");
        let text: String = "written beyond".bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(finding["bytes"].as_str().is_some_and(|bytes| bytes.starts_with(&text)), "{what}: {finding}");
    }
    if what == "top" {
        assert_eq!(before(finding), Some(truth.address("last", what)), "{what}: {finding}");
    }
}

#[test]
fn every_corruption_is_found_and_named() {
    for corruption in CORRUPTIONS {
        let what = corruption.0;
        let mut session = Session::start();
        let (report, truth) = findings(&mut session, what);
        assert_found(&report, &truth, corruption);
        // The rest of the heap is still reported.
        let totals = &session.json("mp-scan heap --by size")["totals"];
        assert!(totals["used"]["count"].as_u64() >= Some(1000), "{what}: {totals}");
        let by_arena = session.json("mp-scan heap --by arena");
        assert_sums(&by_arena);
        let rows = rows(&by_arena);
        let mapped = rows.get("with mappings of their own").copied().unwrap_or_default();
        assert_eq!(totals["mapped"]["count"], mapped.0, "{what}: {rows:?}");
        if what == "main" {
            assert!(rows.get("of a damaged arena").is_some_and(|row| row.0 >= 1000), "{rows:?}");
        }
        if what == "top" {
            assert_eq!(report["total"], 1, "{report}");
        }
    }
}

#[test]
fn corruptions_are_found_in_core_files() {
    let some = ["size", "tcache-link", "fast-double-free", "unmerged", "larger", "mapped", "heap-arena", "top", "main"];
    for corruption in CORRUPTIONS.into_iter().filter(|corruption| some.contains(&corruption.0)) {
        let what = corruption.0;
        let debuggee = Debuggee::start("heap_broken.c", &[what]);
        let mut session = Session::start();
        let core = gcore(debuggee.pid(), session.folder());
        session.open_core(Some(&debuggee.program), &core);
        for workers in [0, 2] {
            let report = session.json(&format!("mp-scan heap --check --workers {workers}"));
            assert_found(&report, &debuggee.truth, corruption);
        }
        let totals = &session.json("mp-scan heap --by size")["totals"];
        assert!(totals["used"]["count"].as_u64() >= Some(1000), "{what}: {totals}");
        let found = addresses(&session.json(LEAKS));
        let missing = debuggee.truth.addresses("leak").into_iter().filter(|leak| found.binary_search(leak).is_err());
        assert_eq!(missing.collect::<Vec<_>>(), [0u64; 0], "{what}: leaks that are not found");
    }
}

#[test]
fn a_heap_is_copied_once_a_stop_if_that_makes_it_faster() {
    let mut session = Session::start();
    let truth = session.launch("heap_tree.c", &["1000"]);
    let copied = |report: &Value| report["stats"]["bytes_copied"].as_u64();
    // Whoever points to something is found by going through the memory once.
    let root = truth.addresses("head")[0];
    assert_eq!(copied(&session.json(&format!("mp-scan refs {root:#x}"))), None);
    let report = session.json("mp-scan heap");
    let size = copied(&report);
    assert!(size > Some(0) && size <= report["totals"]["system"].as_u64(), "{report}");
    let scanned = report["stats"]["bytes_scanned"].as_u64();
    for workers in [0, 2] {
        let report = session.json(&format!("{LEAKS} --workers {workers}"));
        assert_leaks(&report, &truth);
        assert_eq!(copied(&report), size, "it is kept");
    }
    assert!(session.ok("mp-scan heap").contains(" copied"));
    // What is read of the copy is what the process has, at each of its stops.
    session.ok(&format!("expression (void)free((void *){root:#x})"));
    for workers in [2, 0] {
        let report = session.json(&format!("{LEAKS} --workers {workers}"));
        assert_eq!(report["total"], 999, "{report}");
        assert!(copied(&report) > Some(0), "{report}");
    }
    let report = session.json("mp-scan heap");
    assert!(report["stats"]["bytes_scanned"].as_u64() <= scanned, "a copy is nothing that was looked at: {report}");
}

#[test]
fn what_is_known_of_a_heap_is_given_back_as_soon_as_the_process_runs() {
    let mut session = Session::start();
    session.launch("heap_tree.c", &["1000"]);
    let host = session.host();
    let shared = || {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", host.pid)).expect("the host is there");
        let links = folder.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("/memfd:")).count()
    };
    session.json("mp-scan heap");
    let kept = shared();
    session.ok("process detach");
    // The copy and the index are files of memory that nobody has open then.
    until("memory is given back", Duration::from_secs(10), || (shared() + 2 <= kept).then_some(()));
}

#[test]
fn what_only_the_debugger_can_read_is_read_once_a_stop() {
    let mut session = Session::with_environment([("MP_SCAN_READER", "relay")]);
    let truth = session.launch("heap_tree.c", &["1000"]);
    let log = session.folder().join("packets");
    session.ok(&format!("log enable --file {} gdb-remote packets", log.display()));
    let requests = || {
        let bytes = std::fs::read(&log).expect("LLDB logs");
        let text = String::from_utf8_lossy(&bytes);
        ["send packet: $x", "send packet: $m"].iter().map(|request| text.matches(request).count()).sum::<usize>()
    };
    session.json("mp-scan heap");
    let first = requests();
    assert!(first > 20, "{first} requests for memory");
    for _ in 0..3 {
        assert_leaks(&session.json(LEAKS), &truth);
    }
    let later = requests() - first;
    assert!(later * 4 < first, "{later} requests for memory after {first}");
    session.ok(&format!("expression (void)free((void *){:#x})", truth.addresses("head")[0]));
    let before = requests();
    assert_eq!(session.json(LEAKS)["total"], 999);
    assert!(requests() > before + first / 2, "it is copied anew");
}

#[test]
fn what_is_searched_as_the_heap_is_where_allocations_are() {
    for (name, arguments) in [("heap.cpp", &["count=2000"][..]), ("heap_arenas.c", &["20", "100"])] {
        let mut session = Session::start();
        session.launch(name, arguments);
        let find = "mp-scan find --int 1234605616436508552:8 --in heap";
        let searched = |report: &Value| {
            let [scanned, skipped] = ["bytes_scanned", "bytes_skipped"].map(|field| report["stats"][field].as_u64());
            scanned.zip(skipped).map(|(scanned, skipped)| scanned + skipped)
        };
        let before = searched(&session.json(find));
        let report = session.json("mp-scan heap --by region --top 100000");
        let sizes = rows(&report).into_keys().map(|key| {
            let range = key.split(' ').next().and_then(|range| range.split_once(".."));
            let (start, end) = range.unwrap_or_else(|| panic!("no range in '{key}'"));
            number(&Value::from(end)) - number(&Value::from(start))
        });
        let size: u64 = sizes.sum();
        assert_eq!(before, Some(size), "{name}: {report}");
        // It is known now.
        assert_eq!(searched(&session.json(find)), Some(size), "{name}");
    }
}
