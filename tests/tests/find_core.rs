//! `find` in core files: those that gdb and the kernel write, and those that something is wrong with.

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;
use tests::report::{addresses, assert_finds, essence, find_needles, skipped};
use tests::{CoreFile, Debuggee, Segment, Session, gcore, needle, until};

const WORKERS: [usize; 4] = [0, 1, 2, 7];

#[test]
fn finds_every_needle_in_a_core_file() {
    let mut session = Session::start();
    let debuggee = Debuggee::start("needles.c", &["256"]);
    debuggee.dump_everything();
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let truth = &debuggee.truth;
    // gdb writes what the process itself may not read as readable, and nothing of a mapping whose end it cannot read.
    let mut expected = truth.labelled("needle", |label| label != "file-last");
    expected.push(truth.address("hidden", "no-access"));
    expected.sort_unstable();
    let mut first = None;
    for workers in WORKERS {
        let report = session.json(&format!("{} --workers {workers}", find_needles()));
        assert_finds(&report, truth, &expected);
        assert_eq!(report["target"]["kind"], "core");
        assert_eq!(report["stats"]["workers"], workers);
        let first = first.get_or_insert_with(|| essence(&report));
        assert_eq!(first, &essence(&report), "the same report by {workers} workers");
    }
}

#[test]
fn what_a_core_file_leaves_to_files_is_taken_from_them_or_skipped() {
    let mut session = Session::start();
    let debuggee = Debuggee::start("needles.c", &["64"]);
    // By default a core file holds no file's bytes.
    let core = gcore(debuggee.pid(), session.folder());
    session.open_core(Some(&debuggee.program), &core);
    let report = session.json(&find_needles());
    let found = addresses(&report);
    let lost = skipped(&report);
    for address in debuggee.truth.addresses("needle") {
        // The program is known by its build id; a file of data may have changed since.
        let data = ["untouched-file", "file-last"].contains(&debuggee.truth.label(address).unwrap_or_default());
        assert_eq!(found.contains(&address), !data, "{address:#x} {:?}", debuggee.truth.label(address));
        assert_eq!(lost.iter().any(|(start, end)| *start <= address && address < *end), data, "{address:#x}");
    }
}

#[test]
fn finds_in_a_core_file_of_the_kernels() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the kernel says where cores go");
    if pattern.trim() != "core" {
        eprintln!("left out: the kernel gives its core files to '{}'", pattern.trim());
        return;
    }
    setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY).expect("core files may be of any size");
    let mut session = Session::start();
    let debuggee = Debuggee::start("needles.c", &["64"]);
    debuggee.dump_everything();
    debuggee.process().signal(Signal::SIGABRT);
    let folder = debuggee.folder();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok().map(|entry| entry.path());
    let is_core =
        |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"));
    let process = debuggee.process();
    until("the end of the process", Duration::from_secs(60), || (!process.is_alive()).then_some(()));
    let core = std::fs::read_dir(folder).expect("the folder is there").filter_map(name).find(is_core);
    session.open_core(Some(&debuggee.program), &core.expect("the kernel wrote a core file"));
    let report = session.json(&find_needles());
    assert_finds(&report, &debuggee.truth, &debuggee.truth.addresses("needle"));
}

/// Opens a core file made by hand and finds all needles in it.
fn find_in(session: &mut Session, core: &Path, options: &str) -> serde_json::Value {
    session.open_core(None, core);
    session.json(&format!("{} {options}", find_needles()))
}

/// `size` bytes with a needle at each of the offsets.
fn filled(size: usize, needles: &[usize]) -> Vec<u8> {
    let mut bytes = vec![0x44; size];
    for offset in needles {
        bytes[*offset..offset + 16].copy_from_slice(&needle());
    }
    bytes
}

#[test]
fn finds_in_core_files_of_other_machines() {
    for maker in [CoreFile::x86_64, CoreFile::i386, CoreFile::aarch64_be] {
        let mut session = Session::start();
        let segments =
            vec![Segment::new(0x10000, filled(0x3000, &[0, 0x2ff0])), Segment::new(0x20000, filled(0x1000, &[0x800]))];
        let core = maker(segments).write(session.folder());
        for workers in [0, 2] {
            let report = find_in(&mut session, &core, &format!("--workers {workers}"));
            assert_eq!(addresses(&report), [0x10000, 0x12ff0, 0x20800]);
        }
    }
}

#[test]
fn numbers_and_pointers_are_laid_out_as_on_the_cores_machine() {
    let find = |core: CoreFile, options: &str| {
        let mut session = Session::start();
        let core = core.write(session.folder());
        session.open_core(None, &core);
        addresses(&session.json(&format!("mp-scan find {options}")))
    };
    let with = |offset: usize, value: &[u8]| {
        let mut bytes = vec![0x44; 0x1000];
        bytes[offset..offset + value.len()].copy_from_slice(value);
        vec![Segment::new(0x10000, bytes)]
    };
    let narrow = with(0x10, &0x1_0123u32.to_le_bytes());
    assert_eq!(find(CoreFile::i386(narrow.clone()), "--pointer 0x10123"), [0x10010]);
    assert_eq!(find(CoreFile::i386(narrow), "--pointer-range 0x10100..0x10200"), [0x10010]);
    let big = with(0x18, &0x1_0123u64.to_be_bytes());
    assert_eq!(find(CoreFile::aarch64_be(big.clone()), "--pointer 0x10123"), [0x10018]);
    assert_eq!(find(CoreFile::aarch64_be(big), "--int 65827:8"), [0x10018]);
    assert_eq!(find(CoreFile::aarch64_be(with(0x21, &1.5f64.to_be_bytes())), "--float 1.5"), [0x10021]);
    let wide: Vec<u8> = "wide".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(find(CoreFile::aarch64_be(with(0x30, &wide)), "--utf16 wide"), [0x10030]);
}

#[test]
fn what_a_truncated_core_file_lacks_is_skipped() {
    let mut session = Session::start();
    let segments = vec![
        Segment::new(0x10000, filled(0x3000, &[0x100])),
        Segment::new(0x20000, filled(0x4000, &[0x100, 0x1ff0, 0x3000])),
    ];
    let mut core = CoreFile::x86_64(segments);
    core.truncated = 0x2000;
    let core = core.write(session.folder());
    for workers in [0, 2] {
        let report = find_in(&mut session, &core, &format!("--workers {workers}"));
        assert_eq!(addresses(&report), [0x10100, 0x20100, 0x21ff0]);
        assert_eq!(skipped(&report), [(0x22000, 0x24000)]);
    }
}

#[test]
fn overlapping_segments_are_searched_once() {
    let mut session = Session::start();
    let segments = vec![
        Segment::new(0x10000, filled(0x3000, &[0x100, 0x2100])),
        Segment::new(0x12000, filled(0x3000, &[0x100, 0x2000])),
    ];
    let core = CoreFile::x86_64(segments).write(session.folder());
    for workers in [0, 2] {
        let report = find_in(&mut session, &core, &format!("--workers {workers}"));
        assert_eq!(addresses(&report), [0x10100, 0x12100, 0x14000]);
    }
}

#[test]
fn memory_that_the_core_file_does_not_hold_is_skipped() {
    let mut session = Session::start();
    let mut partial = Segment::new(0x20000, filled(0x1000, &[0x100]));
    partial.memory_size = 0x5000;
    let core = CoreFile::x86_64(vec![Segment::new(0x10000, filled(0x1000, &[0x10])), partial]).write(session.folder());
    let report = find_in(&mut session, &core, "");
    assert_eq!(addresses(&report), [0x10010, 0x20100]);
    assert_eq!(skipped(&report), [(0x21000, 0x25000)]);
}

#[test]
fn a_core_file_without_memory_has_nothing_in_it() {
    let mut session = Session::start();
    let core = CoreFile::x86_64(vec![]).write(session.folder());
    session.open_core(None, &core);
    let answer = session.run(&find_needles());
    // An answer or one line that says what is wrong, but nothing else.
    assert_eq!(answer.output.lines().count() + answer.error.trim_end().lines().count(), 1, "{answer:?}");
}

#[test]
fn a_minidump_is_read_through_the_debugger() {
    let mut session = Session::start();
    let truth = session.launch("threads.c", &[]);
    let dump = session.folder().join("dump");
    session.ok(&format!("process save-core --plugin-name=minidump --style=full {}", dump.display()));
    session.ok("process kill");
    session.open_core(None, &dump);
    let report = session.json(&find_needles());
    assert_finds(&report, &truth, &truth.addresses("needle"));
    assert_eq!(report["target"]["kind"], "relayed");
}
