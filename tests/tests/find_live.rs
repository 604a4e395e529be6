//! `find` in a live process: every place where a needle may lie, by each way to read it, by any number of workers.

use tests::report::{addresses, assert_finds, essence, find_needles, skipped};
use tests::{Debuggee, Session, Truth, needle};

const WORKERS: [usize; 4] = [0, 1, 2, 7];

/// Stops a process with needles in every place, with breakpoints on one of them.
fn stopped(reader: &str, sparse_mib: &str) -> (Session, Truth) {
    let mut session = Session::with_environment([("MP_SCAN_READER", reader)]);
    let truth = session.launch("needles.c", &[sparse_mib]);
    let code = truth.address("needle", "code");
    // LLDB writes its traps over these bytes of the needle.
    for offset in [0, 1, 7, 15] {
        session.ok(&format!("breakpoint set --address {:#x}", code + offset));
    }
    (session, truth)
}

fn finds_everything(reader: &str, kind: &str, sparse_mib: &str) {
    let (mut session, truth) = stopped(reader, sparse_mib);
    let beyond = (truth.address("edge", "file-end"), truth.address("edge", "file-mapping-end"));
    let mut first = None;
    for workers in WORKERS {
        let report = session.json(&format!("{} --workers {workers}", find_needles()));
        assert_finds(&report, &truth, &truth.addresses("needle"));
        assert_eq!(report["target"]["kind"], kind);
        assert_eq!(report["stats"]["workers"], workers);
        assert_eq!(report["truncated"], false);
        assert_eq!(report["target"]["ran"], false);
        assert!(skipped(&report).contains(&beyond), "{beyond:x?} is not among {:x?}", skipped(&report));
        let first = first.get_or_insert_with(|| essence(&report));
        assert_eq!(first, &essence(&report), "the same report by {workers} workers");
    }
}

#[test]
fn finds_every_needle_with_process_vm_readv() {
    finds_everything("vm", "live", "1024");
}

#[test]
fn finds_every_needle_through_proc_pid_mem() {
    finds_everything("mem", "live", "1024");
}

#[test]
fn finds_every_needle_through_the_debugger() {
    // Slow, so there is less of it.
    finds_everything("relay", "relayed", "16");
}

fn finds_overlapping_occurrences(reader: &str) {
    let (mut session, truth) = stopped(reader, "16");
    for workers in [0, 2] {
        let report = session.json(&format!("mp-scan find --bytes d7d7d7d7d7d7d7d7 --workers {workers}"));
        assert_finds(&report, &truth, &truth.addresses("overlap"));
    }
}

#[test]
fn finds_overlapping_occurrences_with_process_vm_readv() {
    finds_overlapping_occurrences("vm");
}

#[test]
fn finds_overlapping_occurrences_through_proc_pid_mem() {
    finds_overlapping_occurrences("mem");
}

#[test]
fn what_the_process_may_not_read_is_read_only_when_asked_for() {
    let (mut session, truth) = stopped("mem", "16");
    let hidden = truth.address("hidden", "no-access");
    let page = hidden & !0xfff;
    assert!(!addresses(&session.json(&find_needles())).contains(&hidden));
    let report = session.json(&format!("{} --in {page:#x}..{:#x}", find_needles(), page + 0x1000));
    assert_finds(&report, &truth, &[hidden]);
}

#[test]
fn the_first_in_address_order_are_shown_and_all_are_counted() {
    let (mut session, truth) = stopped("vm", "16");
    let all = truth.addresses("needle");
    let bytes: String = needle().iter().map(|byte| format!("{byte:02x}")).collect();
    for workers in WORKERS {
        let report = session.json(&format!("mp-scan find --bytes {bytes} --limit 5 --workers {workers}"));
        assert_finds(&report, &truth, &all[..5]);
        assert_eq!(report["truncated"], true);
        let report = session.json(&format!("mp-scan find --bytes {bytes} --limit 5 --count --workers {workers}"));
        assert_eq!(report["total"], all.len());
        assert_eq!(report["truncated"], false);
    }
}

#[test]
fn places_are_what_they_are_called() {
    let (mut session, truth) = stopped("vm", "16");
    let expect = |labels: &[&str]| truth.labelled("needle", |label| labels.contains(&label));
    for (place, labels) in [
        ("stack", &["main-stack", "thread-stack"][..]),
        ("module:needles", &["data", "code", "bss"]),
        ("file", &["data", "code", "untouched-file", "file-last"]),
        ("executable", &["code", "executable"]),
    ] {
        let report = session.json(&format!("{} --in {place}", find_needles()));
        let mut expected = expect(labels);
        // What lies behind the module's data in memory belongs to it only where the file says so.
        if place == "file" || place == "module:needles" {
            let bss = truth.address("needle", "bss");
            expected.retain(|address| *address != bss || addresses(&report).contains(&bss));
            if addresses(&report).contains(&bss) && !expected.contains(&bss) {
                expected.push(bss);
                expected.sort_unstable();
            }
        }
        assert_finds(&report, &truth, &expected);
    }
    let heap = addresses(&session.json(&format!("{} --in heap", find_needles())));
    assert!(heap.contains(&truth.address("needle", "heap")));
    let anonymous = addresses(&session.json(&format!("{} --in anonymous", find_needles())));
    assert!(anonymous.contains(&truth.address("needle", "read-only")));
    assert!(!anonymous.contains(&truth.address("needle", "shared-memfd")));
    let (first, last) = (truth.address("needle", "region-first"), truth.address("needle", "region-last"));
    for (range, expected) in [
        (first..first + 16, vec![first]),
        // A match may begin only within the range, but reaches beyond it.
        (first..first + 1, vec![first]),
        (first + 1..last, vec![]),
        (last..last + 16, vec![last]),
    ] {
        let place = format!("{:#x}..{:#x}", range.start, range.end);
        assert_finds(&session.json(&format!("{} --in {place}", find_needles())), &truth, &expected);
    }
    // Places add up, and what lies in two of them is found once.
    let report = session.json(&format!("{} --in stack --in writable --in stack", find_needles()));
    assert_eq!(
        addresses(&report).iter().filter(|address| **address == truth.address("needle", "main-stack")).count(),
        1
    );
}

#[test]
fn finds_in_an_attached_process_and_leaves_it_as_it_was() {
    let debuggee = Debuggee::start("needles.c", &["64"]);
    let before = debuggee.process().maps();
    let mut session = Session::start();
    session.attach(&debuggee);
    let report = session.json(&find_needles());
    assert_finds(&report, &debuggee.truth, &debuggee.truth.addresses("needle"));
    session.ok("process detach");
    session.quit();
    assert_eq!(debuggee.process().maps(), before);
    assert!(debuggee.process().is_alive());
}

#[test]
fn a_sparse_mapping_is_searched_without_filling_it() {
    let mut session = Session::start();
    let truth = session.launch("memory.c", &["mapped=102400", "resident=64", "run=4"]);
    // Pages of files that are read are mapped by that, so only the mapping is searched.
    let place = format!("{:#x}..{:#x}", truth.address("edge", "start"), truth.address("edge", "end"));
    let before = session.debuggee().memory("VmRSS");
    for workers in [0, 2] {
        let report = session.json(&format!("{} --in {place} --workers {workers}", find_needles()));
        assert_finds(&report, &truth, &truth.addresses("needle"));
    }
    assert_eq!(session.debuggee().memory("VmRSS"), before, "the process's resident size");
}

#[test]
fn a_match_on_a_stack_says_whose_it_is() {
    let mut session = Session::start();
    let truth = session.launch("threads.c", &[]);
    let report = session.json(&find_needles());
    assert_finds(&report, &truth, &truth.addresses("needle"));
    // The threads' functions are in their frames: each must be named for the thread in whose frames it lies.
    for row in report["results"].as_array().expect("results") {
        let thread = row["thread"].as_u64().expect("every needle lies on a stack");
        let address = row["address"].as_str().expect("an address");
        let inside = session.python(&format!(
            "t = process.GetThreadByIndexID({thread}); \
             answer = t.frames[0].GetSP() <= {address} < max(frame.GetCFA() for frame in t.frames) + 4096"
        ));
        assert_eq!(inside, true, "{address} in thread {thread}");
    }
}
