//! Reading real processes, each test by both readers.

use crate::debuggee::{Debuggee, PAGE, assert_same, pattern};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use target::live::{self, Options, Patch, Reader};
use target::{Access, AddressRange, Backing, Fault, FaultReason, OpenError, Opened, ReadMemory, Source};

const READERS: [Reader; 3] = [Reader::Auto, Reader::Vm, Reader::Mem];

/// A file of a page and a half, the whole of it filled with 7.
fn file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![7; PAGE as usize * 3 / 2]).unwrap();
    file
}

fn open(debuggee: &Debuggee, reader: Reader) -> (Opened, Arc<dyn ReadMemory>) {
    let opened = live::open(debuggee.pid(), &Options { reader, patches: vec![] }).unwrap();
    let memory = opened.memory().unwrap();
    (opened, memory)
}

fn read(memory: &dyn ReadMemory, range: AddressRange) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0xee; range.len() as usize];
    let length = memory.read(range.start, &mut bytes)?;
    assert!(bytes[length..].iter().all(|byte| *byte == 0xee) || length == 0, "bytes beyond {length} were touched");
    bytes.truncate(length);
    Ok(bytes)
}

fn fault(address: u64, reason: FaultReason) -> Result<Vec<u8>, Fault> {
    Err(Fault { address, reason })
}

#[test]
fn reads_end_exactly_where_memory_ends() {
    let file = file();
    let debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
    for reader in READERS {
        let (opened, memory) = open(&debuggee, reader);
        let hole = debuggee.place("hole");
        let expected = pattern(hole.start, 4 * PAGE);
        // A page without permissions is part of what both read; planners leave it out by its region.
        assert_same(&read(&*memory, hole).unwrap(), &expected, reader);
        let unmapped = hole.start + 4 * PAGE;
        assert_eq!(read(&*memory, AddressRange::sized(unmapped, 8)), fault(unmapped, FaultReason::Unreadable));
        let last = AddressRange::new(unmapped - 3, unmapped + 3);
        assert_same(&read(&*memory, last).unwrap(), &expected[expected.len() - 3..], reader);
        let page = opened.space.region_at(hole.start + 2 * PAGE).unwrap();
        assert!(!page.is_readable() && page.range.len() == PAGE, "{page:?}");

        let file = debuggee.place("file");
        let mut bytes = vec![7; PAGE as usize * 3 / 2];
        bytes.resize(2 * PAGE as usize, 0);
        assert_same(&read(&*memory, file).unwrap(), &bytes, reader);
        let beyond = file.start + 2 * PAGE;
        assert_eq!(read(&*memory, AddressRange::new(beyond, file.end)), fault(beyond, FaultReason::Unreadable));

        for address in [0, 1, u64::MAX / 2, u64::MAX - 8, u64::MAX - 1, u64::MAX] {
            let found = memory.read(address, &mut [0; 64]);
            assert_eq!(found, Err(Fault { address, reason: FaultReason::Unreadable }), "{reader:?}");
            assert_eq!(memory.read(address, &mut []), Ok(0));
        }
    }
}

/// Memory that knows nothing better than to read one range after the other.
struct OneByOne<'a>(&'a dyn ReadMemory);

impl ReadMemory for OneByOne<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.0.read(address, buffer)
    }
}

#[test]
fn nothing_grows_the_stack() {
    let file = file();
    let debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
    let maps = || std::fs::read_to_string(format!("/proc/{}/maps", debuggee.pid())).unwrap();
    let before = maps();
    for reader in READERS {
        let (opened, memory) = open(&debuggee, reader);
        let stack = opened.space.regions.iter().find(|region| region.backing == Backing::Stack).unwrap().range;
        for start in [stack.start - 1, stack.start - 100 * PAGE] {
            for length in [8, 64 << 10] {
                assert_eq!(read(&*memory, AddressRange::sized(start, length)), fault(start, FaultReason::Unreadable));
            }
            let ranges =
                [AddressRange::sized(start, 8), AddressRange::sized(stack.start, 8), AddressRange::sized(start, 8)];
            let found = memory.read_scattered(&ranges, &mut [0; 24]);
            assert_eq!(found.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
        }
        assert!(read(&*memory, AddressRange::sized(stack.start, 8)).is_ok());
        assert!(maps() == before, "{reader:?} changed its mappings");
    }
}

#[test]
fn scattered_ranges_are_read_as_one_by_one() {
    let file = file();
    let mut debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
    let (dense, hole) = (debuggee.place("dense"), debuggee.place("hole"));
    let patches = vec![Patch { address: dense.start + 99, bytes: b"patch".to_vec() }];
    // Around the page without permissions, up to the end of memory and beyond it, where there is none, and nothing at all.
    let odd = [0, 1, PAGE, 2 * PAGE - 1, 2 * PAGE, 3 * PAGE - 9, 4 * PAGE - 8, 4 * PAGE, 9 * PAGE];
    let odd = odd.map(|offset| AddressRange::sized(hole.start + offset, 5 + offset % 97));
    let more = [AddressRange::default(), AddressRange::sized(8, 64), AddressRange::sized(u64::MAX - 4, 9)];
    let mut ranges: Vec<AddressRange> =
        (0..3000).map(|index| AddressRange::sized(dense.start + index * 997, 8 + index % 200)).collect();
    for (index, range) in odd.into_iter().chain(more).cycle().take(60).enumerate() {
        ranges.insert(index * 41, range);
    }
    let opened =
        READERS.map(|reader| live::open(debuggee.pid(), &Options { reader, patches: patches.clone() }).unwrap());
    let memories = opened.map(|opened| opened.memory().unwrap());
    for (memory, reader) in memories.iter().zip(READERS) {
        for ranges in [&ranges[..], &ranges[..1], &ranges[..2], &ranges[1000..1003], &[]] {
            let length: u64 = ranges.iter().map(|range| range.len()).sum();
            let (mut bytes, mut expected) = (vec![1; length as usize + 3], vec![2; length as usize]);
            let found = memory.read_scattered(ranges, &mut bytes);
            assert_eq!(found, OneByOne(&**memory).read_scattered(ranges, &mut expected), "{reader:?}");
            let mut offset = 0;
            for (range, found) in ranges.iter().zip(found) {
                let part = offset..offset + found.unwrap_or(0);
                assert_same(&bytes[part.clone()], &expected[part], (reader, range));
                offset += range.len() as usize;
            }
            assert_eq!(bytes[length as usize..], [1; 3], "{reader:?}");
        }
    }
    debuggee.tell("exit");
    debuggee.wait();
    for memory in memories {
        let found = memory.read_scattered(&ranges[1..5], &mut [0; 4 << 10]);
        let gone = ranges[1..5].iter().map(|range| Err(Fault { address: range.start, reason: FaultReason::Gone }));
        assert!(found.into_iter().eq(gone));
    }
}

#[test]
fn shared_memory_that_only_others_have_written() {
    let file = file();
    let debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
    let shared = debuggee.place("shared");
    let path = format!("/proc/{}/fd/{}", debuggee.pid(), debuggee.place("descriptor").start);
    let other = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    other.write_all_at(&pattern(0, 2 * PAGE), 0).unwrap();
    for reader in READERS {
        let (opened, memory) = open(&debuggee, reader);
        let region = opened.space.region_at(shared.start).unwrap();
        assert_eq!(region.backing, Backing::Shared { name: "/memfd:told by others".into(), offset: 0 });
        assert!(region.shared && !region.is_sparse() && region.is_readable());
        assert_same(&read(&*memory, shared).unwrap(), &pattern(0, 2 * PAGE), reader);

        let anonymous = debuggee.place("shared-anonymous");
        assert_same(&read(&*memory, anonymous).unwrap(), &pattern(anonymous.start, PAGE), reader);
        assert!(!opened.space.region_at(anonymous.start).unwrap().is_sparse());
    }
}

#[test]
fn bytes_under_breakpoints_are_the_original_ones() {
    let file = file();
    let debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
    let dense = debuggee.place("dense");
    let middle = dense.start + dense.len() / 2;
    let patch = |address, bytes: &[u8]| Patch { address, bytes: bytes.into() };
    // One lies across the beginning of what is read, one within it, one across its end, and one elsewhere.
    let patches =
        vec![patch(middle + 100, b"end"), patch(middle - 2, b"begin"), patch(middle + 50, b"x"), patch(4, b"y")];
    let mut expected = pattern(middle, 104);
    expected.truncate(101);
    expected[..3].copy_from_slice(b"gin");
    expected[50] = b'x';
    expected[100] = b'e';
    for reader in READERS {
        let opened = live::open(debuggee.pid(), &Options { reader, patches: patches.clone() }).unwrap();
        let memory = opened.memory().unwrap();
        assert_same(&read(&*memory, AddressRange::sized(middle, 101)).unwrap(), &expected, reader);
    }
}

#[test]
fn a_process_that_has_ended() {
    let file = file();
    for reader in READERS {
        let mut debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
        let (_, memory) = open(&debuggee, reader);
        let place = debuggee.place("dense");
        assert!(read(&*memory, place).is_ok());
        debuggee.tell("exit");
        debuggee.wait();
        assert_eq!(read(&*memory, place), fault(place.start, FaultReason::Gone), "{reader:?}");
        assert_eq!(memory.populated(place, true).runs, [place], "what is not known must be read");
        assert_eq!(memory.residency(place), None);
        let error = live::open(debuggee.pid(), &Options::default()).unwrap_err();
        assert!(matches!(error, OpenError::NoProcess { .. }), "{error}");
    }
}

#[test]
fn a_process_that_runs_another_program_now() {
    let file = file();
    for reader in READERS {
        let mut debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
        let (opened, memory) = open(&debuggee, reader);
        let (place, identity) = (debuggee.place("dense"), live::identity(debuggee.pid()).unwrap());
        let new_place = opened.space.regions.iter().find(|region| region.backing == Backing::Stack).unwrap().range;
        debuggee.tell("exec");
        debuggee.wait_until_ready();
        assert_eq!(read(&*memory, place), fault(place.start, FaultReason::Gone), "{reader:?}");
        // Nor is memory of the new program taken for the old one's.
        assert_eq!(read(&*memory, new_place), fault(new_place.start, FaultReason::Gone), "{reader:?}");

        let now = live::identity(debuggee.pid()).unwrap();
        assert!(!now.is_same_program(&identity));
        assert_eq!(now.start_time, identity.start_time);
    }
}

#[test]
fn scans_of_sparse_memory_make_nothing_resident() {
    const STEP: u64 = 64 << 20;
    let debuggee = Debuggee::start(&["sparse"]);
    let sparse = debuggee.place("sparse");
    let before = debuggee.resident();
    for reader in READERS {
        let (opened, memory) = open(&debuggee, reader);
        let region = opened.space.region_at(sparse.start).unwrap();
        assert!(region.is_sparse() && region.range.intersect(sparse) == Some(sparse));

        let mut touched = Vec::new();
        for start in (sparse.start..sparse.end).step_by(32 << 20) {
            for run in memory.populated(AddressRange::sized(start, 32 << 20), true).runs {
                let bytes = read(&*memory, run).unwrap();
                // A kernel that cannot tell shows the pages of zeros as well, which were only read.
                if bytes.iter().any(|byte| *byte != 0) {
                    assert_same(&bytes, &pattern(run.start, run.len()), reader);
                    touched.push(run);
                }
            }
        }
        let expected = (0..sparse.len() / STEP).map(|index| sparse.start + index * STEP + 8 * PAGE);
        assert!(touched.iter().copied().eq(expected.map(|start| AddressRange::sized(start, PAGE))), "{reader:?}");

        let whole = memory.populated(sparse, false);
        assert!(whole.runs.len() >= touched.len() && whole.skipped.is_empty());
        let residency = memory.residency(sparse).unwrap();
        assert!(residency.resident >= sparse.len() / STEP * PAGE && residency.swapped == 0, "{residency:?}");
    }
    assert_eq!(debuggee.resident(), before);
}

#[test]
fn memory_of_a_userfaultfd_is_not_sparse() {
    let debuggee = Debuggee::start(&["userfault"]);
    let (opened, _) = open(&debuggee, Reader::Auto);
    let region = |name| opened.space.region_at(debuggee.place(name).start).unwrap();
    assert!(region("userfault").userfault && !region("userfault").is_sparse());
    assert!(!region("plain").userfault && region("plain").is_sparse());
    assert_eq!(region("userfault").range, debuggee.place("userfault"));
}

#[test]
fn who_a_process_is() {
    let debuggee = Debuggee::start(&["idle"]);
    let identity = live::identity(debuggee.pid()).unwrap();
    assert!(identity.is_same_program(&live::identity(debuggee.pid()).unwrap()));
    let path = std::fs::canonicalize(env!("CARGO_BIN_EXE_target-debuggee")).unwrap();
    assert_eq!(identity.executable.as_deref(), Some(path.as_path()));
    assert_eq!(identity.random.unwrap().0, target::auxv::value(&identity.auxv_entries(), 25).unwrap());

    for reader in READERS {
        let (opened, memory) = open(&debuggee, reader);
        assert_eq!(opened.process.pid, Some(debuggee.pid()));
        assert_eq!(opened.process.executable.as_deref(), path.to_str());
        assert_eq!(opened.process.auxv, identity.auxv_entries());
        let copy = identity.auxv_copy(&*memory).unwrap();
        assert_eq!(copy.bytes, identity.auxv);
        let range = AddressRange::sized(copy.address, copy.bytes.len() as u64);
        assert_same(&read(&*memory, range).unwrap(), &copy.bytes, reader);
        assert_eq!(opened.space.region_at(copy.address).unwrap().backing, Backing::Stack);
    }
    assert!(live::is_descendant(debuggee.pid(), std::process::id()));
    assert!(!live::is_descendant(std::process::id(), debuggee.pid()));
    assert_eq!(live::tracer(debuggee.pid()), None);
}

#[test]
fn what_cannot_be_opened() {
    let error = live::open(u32::MAX, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "no process 4294967295");
    let mut zombie = Debuggee::start(&["idle"]);
    zombie.tell("exit");
    while live::parse_stat(&zombie.proc("stat")).unwrap().state != b'Z' {
        std::thread::yield_now();
    }
    let error = live::open(zombie.pid(), &Options::default()).unwrap_err();
    assert!(matches!(error, OpenError::NoMemory { .. }), "{error}");
}

/// Runs this test in a child that is an ordinary user, and may not read the debuggee, which is root's.
#[test]
fn a_process_of_another_user() {
    const PID: &str = "TARGET_TEST_PID_OF_ANOTHER_USER";
    if let Ok(pid) = std::env::var(PID) {
        let pid = pid.parse().unwrap();
        for reader in READERS {
            let error = live::open(pid, &Options { reader, patches: vec![] }).unwrap_err();
            assert!(matches!(error, OpenError::Permission { .. }), "{error}");
            assert!(error.to_string().contains("run the debugger as its user or as root"), "{error}");
        }
        assert!(matches!(live::identity(pid), Err(OpenError::Permission { .. })));
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        // Nor may an ordinary user read the first process.
        let error = live::open(1, &Options::default()).unwrap_err();
        assert!(matches!(error, OpenError::Permission { .. }), "{error}");
        return;
    }
    let debuggee = Debuggee::start(&["idle"]);
    // The test itself may lie in a folder that only root may enter. It is copied by another process: were it written by
    // this one, a child that another test starts at that moment could hold it open, and it could not be run.
    let folder = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let test = folder.path().join("test");
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&test).status().unwrap().success());
    let mut command = Command::new(&test);
    command.args(["--exact", "live::a_process_of_another_user"]).current_dir("/");
    let child = command.env(PID, debuggee.pid().to_string()).uid(65534).gid(65534).output().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

/// A worker that may not process_vm_readv reads on through the descriptor that it was given.
#[test]
fn a_reader_without_permission_reads_through_the_descriptor() {
    let file = file();
    let debuggee = Debuggee::start(&[file.path().to_str().unwrap()]);
    let (opened, _) = open(&debuggee, Reader::Auto);
    // Both checks are made for the thread that asks, so one thread can give up what it may.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if !nix::unistd::geteuid().is_root() {
                return;
            }
            // SAFETY: the call takes numbers, and changes this thread only, which ends after.
            assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
            let memory = opened.memory().unwrap();
            let place = debuggee.place("dense");
            assert_same(&read(&*memory, place).unwrap(), &pattern(place.start, place.len()), "by descriptor");
            assert!(!memory.populated(place, true).runs.is_empty());

            let mut source = opened.source.clone();
            let Source::Live(live) = &mut source else { panic!("{source:?}") };
            live.reader = Reader::Vm;
            let copies = opened.descriptors.iter().map(|descriptor| descriptor.try_clone().unwrap()).collect();
            let error = source.open(copies, Access::Mapped).err().unwrap();
            assert!(matches!(error, OpenError::Reader { .. }), "{error}");
        });
    });
}
