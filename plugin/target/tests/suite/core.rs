//! Core files made by hand: of every class and byte order, cut off, contradictory, damaged.

use crate::builder::{Builder, EXECUTE, READ, Segment, WRITE};
use crate::debuggee::assert_same;
use proptest::prelude::*;
use std::io::Write;
use std::sync::Arc;
use target::core::{self, CoreError, Options};
use target::{
    Access, AddressRange, Backing, ByteOrder, Fault, FaultReason, OpenError, Opened, Permissions, ReadMemory,
};
use tempfile::NamedTempFile;

const PAGE: u64 = 4096;
const BASE: u64 = 0x1000_0000;

fn pattern(seed: u8, length: u64) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 256) as u8 ^ seed).collect()
}

fn saved(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn open(bytes: &[u8]) -> Result<Opened, OpenError> {
    core::open(saved(bytes).path(), &Options::default())
}

fn memories(opened: &Opened) -> [Arc<dyn ReadMemory>; 2] {
    [Access::Mapped, Access::Pread].map(|access| {
        let copies = opened.descriptors.iter().map(|descriptor| descriptor.try_clone().unwrap()).collect();
        opened.source.open(copies, access).unwrap()
    })
}

fn read(memory: &dyn ReadMemory, range: AddressRange) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0xee; range.len() as usize];
    let length = memory.read(range.start, &mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn fault(address: u64, reason: FaultReason) -> Result<Vec<u8>, Fault> {
    Err(Fault { address, reason })
}

#[test]
fn every_class_and_byte_order() {
    for (pointer_size, byte_order, extended) in [
        (4, ByteOrder::Little, false),
        (4, ByteOrder::Big, true),
        (8, ByteOrder::Little, true),
        (8, ByteOrder::Big, false),
    ] {
        let mut builder = Builder::new(pointer_size, byte_order)
            .process(70, "program")
            .thread(71, BASE + 2 * PAGE)
            .thread(72, BASE + 17)
            .auxv(&[(3, BASE + 64), (25, BASE + 2 * PAGE + 40)])
            .files(PAGE, &[(BASE, BASE + PAGE, 3 * PAGE, "/bin/program")])
            .segment(Segment::whole(BASE, READ | EXECUTE, pattern(1, PAGE)))
            .segment(Segment::whole(BASE + 2 * PAGE, READ | WRITE, pattern(2, 2 * PAGE)));
        builder.extended = extended;
        let opened = open(&builder.build()).unwrap();
        assert_eq!(opened.warnings, [""; 0]);
        assert_eq!(opened.space.layout, builder.layout);
        assert_eq!(opened.process.pid, Some(70));
        assert_eq!(opened.process.executable.as_deref(), Some("/bin/program"));
        let threads: Vec<_> =
            opened.process.threads.iter().map(|thread| (thread.id, thread.stack_pointer.unwrap())).collect();
        assert_eq!(threads, [(71, BASE + 2 * PAGE), (72, BASE + 17)]);
        let registers = &opened.process.threads[1].registers;
        let (count, index) = match builder.machine {
            62 => (27, 19),
            3 => (17, 15),
            _ => (registers.len(), 1),
        };
        assert_eq!((registers.len(), registers[index]), (count, BASE + 17));
        assert_eq!(opened.process.auxv, [(3, BASE + 64), (25, BASE + 2 * PAGE + 40)]);

        let [code, stack] = &opened.space.regions[..] else { panic!("{:?}", opened.space) };
        assert_eq!(code.permissions, Permissions::READ | Permissions::EXECUTE);
        let backing = Backing::File { path: "/bin/program".into(), offset: 3 * PAGE, deleted: false };
        assert_eq!(code.backing, backing);
        assert_eq!((stack.permissions, &stack.backing), (Permissions::READ | Permissions::WRITE, &Backing::Stack));
        for memory in memories(&opened) {
            assert_same(&read(&*memory, code.range).unwrap(), &pattern(1, PAGE), pointer_size);
            assert_same(&read(&*memory, stack.range).unwrap(), &pattern(2, 2 * PAGE), pointer_size);
            let gap = BASE + PAGE;
            assert_eq!(read(&*memory, AddressRange::sized(gap, PAGE)), fault(gap, FaultReason::Unreadable));
            let across = AddressRange::new(gap - 3, gap + 3);
            assert_same(&read(&*memory, across).unwrap(), &pattern(1, PAGE)[PAGE as usize - 3..], pointer_size);
        }
    }
}

#[test]
fn mapped_memory_is_viewed_in_place() {
    let builder = Builder::new(8, ByteOrder::Little)
        .segment(Segment::whole(BASE, READ, pattern(1, PAGE)))
        // It follows in memory and in the file, so it is the same run.
        .segment(Segment::whole(BASE + PAGE, READ, pattern(2, PAGE)))
        .segment(Segment { address: BASE + 2 * PAGE, memory_size: PAGE, flags: READ, bytes: vec![] });
    let opened = open(&builder.build()).unwrap();
    let [mapped, pread] = memories(&opened);
    let both = [pattern(1, PAGE), pattern(2, PAGE)].concat();
    assert_same(mapped.view(BASE + 5, 100 * PAGE).unwrap(), &both[5..], "the rest of the run");
    assert_same(mapped.view(BASE + 5, PAGE).unwrap(), &both[5..][..PAGE as usize], "a part");
    assert_eq!(mapped.view(BASE - 1, 8), None);
    assert_eq!(mapped.view(BASE + 2 * PAGE, 8), None);
    assert_eq!(pread.view(BASE, 8), None);
}

#[test]
fn memory_that_was_not_dumped_is_unknown_and_not_zeros() {
    let builder = Builder::new(8, ByteOrder::Little)
        .segment(Segment { address: BASE, memory_size: 3 * PAGE, flags: READ | WRITE, bytes: pattern(1, PAGE) })
        .segment(Segment { address: BASE + 8 * PAGE, memory_size: PAGE, flags: READ | WRITE, bytes: vec![] });
    let opened = open(&builder.build()).unwrap();
    for memory in memories(&opened) {
        assert_same(&read(&*memory, AddressRange::sized(BASE, 3 * PAGE)).unwrap(), &pattern(1, PAGE), "dumped");
        for address in [BASE + PAGE, BASE + 3 * PAGE - 1, BASE + 8 * PAGE] {
            assert_eq!(read(&*memory, AddressRange::sized(address, 8)), fault(address, FaultReason::NotInCore));
        }
        let range = AddressRange::sized(BASE, 9 * PAGE);
        assert_eq!(memory.populated(range, true).runs, [range], "nothing that is unknown is left out");
    }
}

#[test]
fn holes_in_the_file_are_zeros_that_need_not_be_read() {
    const MIB: u64 = 1 << 20;
    let builder = Builder::new(8, ByteOrder::Little).segment(Segment {
        address: BASE,
        memory_size: 64 * MIB,
        flags: READ | WRITE,
        bytes: vec![],
    });
    let mut bytes = builder.build();
    // The size that the segment has in the file, which is the second header's fifth field.
    bytes[64 + 56 + 32..][..8].copy_from_slice(&(64 * MIB).to_le_bytes());
    let file = saved(&bytes);
    file.as_file().set_len(builder.data_offset() + 64 * MIB).unwrap();
    std::os::unix::fs::FileExt::write_all_at(file.as_file(), &[9; 4096], builder.data_offset() + 20 * MIB).unwrap();

    let opened = core::open(file.path(), &Options::default()).unwrap();
    for memory in memories(&opened) {
        let page = AddressRange::sized(BASE + 20 * MIB, PAGE);
        assert_eq!(memory.populated(AddressRange::sized(BASE, 64 * MIB), true).runs, [page]);
        assert_eq!(memory.populated(AddressRange::sized(page.start + 100, 8), true).runs.len(), 1);
        assert_eq!(memory.populated(AddressRange::sized(BASE, 20 * MIB), true).runs, []);
        assert_same(&read(&*memory, page).unwrap(), &[9; 4096], "data");
        assert_same(&read(&*memory, AddressRange::sized(BASE, MIB)).unwrap(), &vec![0; MIB as usize], "hole");
    }
}

/// An ELF file, or the first bytes of a mapping of one, with a build id.
fn program(build_id: Option<u8>, pages: u64) -> Vec<u8> {
    let mut file = Builder::new(8, ByteOrder::Little)
        .segment(Segment::whole(0, READ | EXECUTE, pattern(3, (pages - 1) * PAGE)))
        .build();
    if let Some(build_id) = build_id {
        // A note of four bytes, in place of the one that is empty.
        let note = [&[4_u8, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0][..], b"GNU\0", &[build_id; 4]].concat();
        file[64 + 32..][..8].copy_from_slice(&(note.len() as u64).to_le_bytes());
        let offset = 64 + 2 * 56;
        file[offset..offset + note.len()].copy_from_slice(&note);
    }
    assert_eq!(file.len() as u64, pages * PAGE);
    file
}

/// A core file which has the first page of a program's four, and of its other pages what `rest` says.
fn dumped(path: &str, first: &[u8], flags: u32) -> Builder {
    Builder::new(8, ByteOrder::Little)
        .files(1, &[(BASE, BASE + PAGE, 0, path), (BASE + PAGE, BASE + 4 * PAGE, PAGE, path)])
        .segment(Segment::whole(BASE, READ, first.to_vec()))
        .segment(Segment { address: BASE + PAGE, memory_size: 3 * PAGE, flags, bytes: vec![] })
        .segment(Segment::whole(BASE + 16 * PAGE, READ | WRITE, pattern(9, PAGE)))
}

#[test]
fn memory_that_was_left_to_a_file_is_read_from_it() {
    for build_id in [Some(1), None] {
        let bytes = program(build_id, 4);
        let file = saved(&bytes);
        let path = file.path().to_str().unwrap();
        let opened = open(&dumped(path, &bytes[..PAGE as usize], READ | EXECUTE).build()).unwrap();
        assert_eq!(opened.warnings, [""; 0]);
        assert_eq!(opened.descriptors.len(), 2);
        for memory in memories(&opened) {
            assert_same(&read(&*memory, AddressRange::sized(BASE, 4 * PAGE)).unwrap(), &bytes, build_id);
            let end = BASE + 4 * PAGE;
            let last = AddressRange::new(end - 5, end + 5);
            assert_same(&read(&*memory, last).unwrap(), &bytes[bytes.len() - 5..], build_id);
        }
        // Another machine may have the core file, but not the file.
        let core = core::SharedCore::new(std::path::Path::new("core"), &opened).unwrap().unwrap();
        assert!(core.holds(AddressRange::sized(BASE, PAGE)) && core.holds(AddressRange::sized(BASE + 16 * PAGE, PAGE)));
        assert!(
            !core.holds(AddressRange::sized(BASE, PAGE + 1)) && !core.holds(AddressRange::sized(BASE + 3 * PAGE, 9))
        );
    }
}

#[test]
fn a_file_that_ends_before_its_mapping_is_filled_with_zeros_to_its_last_page() {
    let bytes = &program(Some(1), 3)[..2 * PAGE as usize + 100];
    let file = saved(bytes);
    let opened = open(&dumped(file.path().to_str().unwrap(), &bytes[..PAGE as usize], READ).build()).unwrap();
    let mut expected = bytes.to_vec();
    expected.resize(3 * PAGE as usize, 0);
    for memory in memories(&opened) {
        assert_same(&read(&*memory, AddressRange::sized(BASE, 4 * PAGE)).unwrap(), &expected, "to the page's end");
        let beyond = BASE + 3 * PAGE;
        assert_eq!(read(&*memory, AddressRange::sized(beyond, 1)), fault(beyond, FaultReason::NotInCore));
    }
}

#[test]
fn a_file_that_may_not_be_the_same_is_not_used() {
    let original = program(Some(1), 4);
    let without_id = program(None, 4);
    let mut changed = without_id.clone();
    changed[3000] ^= 1;
    for (dump, file, why) in [
        (&original, Some(program(Some(2), 4)), "it has changed"),
        (&without_id, Some(changed), "it has changed"),
        (&vec![], Some(original.clone()), "nothing in the core file tells"),
        (&original, None, "No such file"),
    ] {
        let file = file.map(|bytes| saved(&bytes));
        let path = file.as_ref().map_or("/no/such/file", |file| file.path().to_str().unwrap());
        let first = &dump[..dump.len().min(PAGE as usize)];
        let mut builder = dumped(path, first, READ | EXECUTE);
        builder.segments[0].memory_size = PAGE;
        let opened = open(&builder.build()).unwrap();
        assert_eq!(opened.descriptors.len(), 1, "{why}");
        assert!(opened.warnings.len() == 1 && opened.warnings[0].contains(why), "{:?}", opened.warnings);
        for memory in memories(&opened) {
            let address = BASE + PAGE;
            assert_eq!(read(&*memory, AddressRange::sized(address, 1)), fault(address, FaultReason::NotInCore));
        }
    }
}

#[test]
fn a_path_that_is_no_regular_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [pipe.to_str().unwrap(), folder.path().to_str().unwrap(), "/dev/zero"] {
        let opened = open(&dumped(path, &program(Some(1), 4)[..PAGE as usize], READ).build()).unwrap();
        assert_eq!(opened.descriptors.len(), 1, "{path}");
        assert!(opened.warnings[0].ends_with("not a regular file"), "{:?}", opened.warnings);
    }
}

/// Where private memory was not dumped at all, what was written to a file's mapping was not either.
#[test]
fn without_private_memory_only_code_comes_from_files() {
    let bytes = program(Some(1), 4);
    let file = saved(&bytes);
    for (flags, anonymous, expected) in [
        (READ | EXECUTE, false, true),
        (READ, false, false),
        (READ | WRITE, false, false),
        (READ, true, true),
        (READ | WRITE, true, true),
    ] {
        let mut builder = dumped(file.path().to_str().unwrap(), &bytes[..PAGE as usize], flags);
        if !anonymous {
            builder.segments[2].bytes.clear();
        }
        let opened = open(&builder.build()).unwrap();
        for memory in memories(&opened) {
            let found = read(&*memory, AddressRange::sized(BASE + PAGE, 1));
            assert_eq!(found.is_ok(), expected, "{flags} {anonymous}: {found:?}");
        }
    }
}

#[test]
fn only_so_many_files_are_opened_as_asked_for() {
    let bytes = program(Some(1), 4);
    let file = saved(&bytes);
    let core = saved(&dumped(file.path().to_str().unwrap(), &bytes[..PAGE as usize], READ).build());
    let opened = core::open(core.path(), &Options { files: 0 }).unwrap();
    assert_eq!(opened.descriptors.len(), 1);
    assert_eq!(opened.warnings.len(), 1);
}

#[test]
fn what_gdb_leaves_out_altogether_is_taken_from_the_file() {
    let bytes = program(Some(1), 4);
    let file = saved(&bytes);
    let mut builder = dumped(file.path().to_str().unwrap(), &bytes[..PAGE as usize], READ);
    builder.segments.remove(1);
    let opened = open(&builder.build()).unwrap();
    let region = opened.space.region_at(BASE + 3 * PAGE).unwrap();
    assert_eq!(region.permissions, Permissions::READ | Permissions::EXECUTE, "as the file's own headers say");
    for memory in memories(&opened) {
        assert_same(&read(&*memory, AddressRange::sized(BASE, 4 * PAGE)).unwrap(), &bytes, "from the file");
    }
}

#[test]
fn the_heap_is_found_where_linux_puts_it() {
    let anonymous = |page: u64| Segment::whole(BASE + page * PAGE, READ | WRITE, pattern(5, PAGE));
    let builder = Builder::new(8, ByteOrder::Little)
        .auxv(&[(3, BASE + 64)])
        .files(1, &[(BASE, BASE + PAGE, 0, "/bin/program"), (BASE + 90 * PAGE, BASE + 91 * PAGE, 0, "/lib/x")])
        .segment(Segment::whole(BASE, READ, pattern(5, PAGE)))
        .segment(anonymous(1))
        .segment(anonymous(7))
        .segment(Segment::whole(BASE + 90 * PAGE, READ, pattern(5, PAGE)))
        .segment(anonymous(95));
    let opened = open(&builder.build()).unwrap();
    let names: Vec<_> = opened.space.regions.iter().map(|region| region.name()).collect();
    assert_eq!(names, [Some("/bin/program"), None, Some("[heap]"), Some("/lib/x"), None]);
}

#[test]
fn a_file_that_is_truncated_while_it_is_read() {
    let builder = Builder::new(8, ByteOrder::Little).segment(Segment::whole(BASE, READ, pattern(1, 4 * PAGE)));
    let file = saved(&builder.build());
    let opened = core::open(file.path(), &Options::default()).unwrap();
    let memory = opened.memory().unwrap();
    file.as_file().set_len(builder.data_offset() + PAGE + 7).unwrap();
    let found = read(&*memory, AddressRange::sized(BASE, 4 * PAGE)).unwrap();
    assert_same(&found, &pattern(1, 4 * PAGE)[..PAGE as usize + 7], "what is left");
    let address = BASE + PAGE + 7;
    assert_eq!(read(&*memory, AddressRange::sized(address, 1)), fault(address, FaultReason::Truncated));
}

#[test]
fn what_is_no_core_file() {
    let mut executable = Builder::new(8, ByteOrder::Little).segment(Segment::whole(BASE, READ, vec![1])).build();
    executable[16] = 2;
    let without_memory = Builder::new(8, ByteOrder::Little).process(1, "x").build();
    for (bytes, expected) in [
        (&b""[..], "not an ELF core file"),
        (b"MDMP\x93\xa7 and so on", "not an ELF core file"),
        (b"\x28\xb5\x2f\xfd.....", "compressed: decompress it first, with `zstd -d`"),
        (b"\x7fELF\x02\x01\x01", "its headers are damaged or cut off"),
        (b"\x7fELF\x02\x03\x01", "its headers are damaged or cut off"),
        (b"\x7fELF\x03\x01\x01", "its headers are damaged or cut off"),
        (&executable, "an ELF file, but not a core file"),
        (&without_memory, "it holds no memory"),
    ] {
        let error = open(bytes).err().unwrap().to_string();
        assert!(error.ends_with(&format!(": {expected}")), "{error}");
    }
    let error = core::open(std::path::Path::new("/no/such/core"), &Options::default()).unwrap_err().to_string();
    assert!(error.starts_with("/no/such/core: No such file"), "{error}");
}

fn example() -> Builder {
    Builder::new(8, ByteOrder::Little)
        .process(70, "program")
        .thread(71, BASE)
        .auxv(&[(3, BASE)])
        .files(PAGE, &[(BASE, BASE + PAGE, 0, "/no/such/program"), (BASE + PAGE, BASE + 2 * PAGE, PAGE, "/no/such/b")])
        .segment(Segment::whole(BASE, READ, pattern(1, 2 * PAGE)))
        .segment(Segment { address: BASE + 4 * PAGE, memory_size: 2 * PAGE, flags: READ, bytes: pattern(2, PAGE) })
}

/// Reads all of it, and checks what has to hold whatever the file says.
fn check(opened: &Opened) {
    let regions = &opened.space.regions;
    assert!(regions.is_sorted_by(|a, b| a.range.end <= b.range.start));
    assert!(regions.iter().all(|region| !region.range.is_empty()));
    for memory in memories(opened) {
        for region in regions {
            for address in [region.range.start, region.range.end - 1] {
                let mut buffer = [0; 64];
                match memory.read(address, &mut buffer) {
                    Ok(length) => assert!((1..=64).contains(&length)),
                    Err(fault) => assert_eq!(fault.address, address),
                }
            }
            memory.populated(AddressRange::sized(region.range.start, 1 << 20), true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_core_file_that_is_cut_off_anywhere(extended: bool, length in any::<prop::sample::Index>()) {
        let mut builder = example();
        builder.extended = extended;
        let whole = builder.build();
        let length = length.index(whole.len());
        let data = builder.data_offset() as usize;
        let Ok(opened) = open(&whole[..length]) else {
            prop_assert!(length < data, "the headers are whole");
            return Ok(());
        };
        check(&opened);
        let there = length.saturating_sub(data).min(3 * PAGE as usize);
        prop_assert_eq!(there < 3 * PAGE as usize, opened.warnings.iter().any(|line| line.contains("truncated")));
        let expected = [pattern(1, 2 * PAGE), pattern(2, PAGE)].concat();
        for memory in memories(&opened) {
            for (index, byte) in expected.iter().enumerate().step_by(61).chain([(there, &0)]) {
                let address = BASE + index as u64 + if index < 2 * PAGE as usize { 0 } else { 2 * PAGE };
                let found = read(&*memory, AddressRange::sized(address, 1));
                if index < there {
                    prop_assert_eq!(found, Ok(vec![*byte]));
                } else if index < expected.len() {
                    prop_assert_eq!(found, fault(address, FaultReason::Truncated));
                }
            }
        }
    }

    #[test]
    fn of_segments_that_overlap_the_first_counts(
        segments in prop::collection::vec((0_u64..30, 1_u64..12, 0_u64..12, 0_u32..8), 1..10),
        files in prop::collection::vec((0_u64..30, 1_u64..12), 0..4),
    ) {
        let mut builder = Builder::new(4, ByteOrder::Big);
        let mut naive = vec![None; 64];
        for (number, (start, memory, file, flags)) in segments.iter().enumerate() {
            let bytes = pattern(number as u8 * 31, *memory.min(file));
            for offset in 0..*memory {
                let value = bytes.get(offset as usize).copied();
                naive[(start + offset) as usize].get_or_insert((value, *flags));
            }
            builder = builder.segment(Segment { address: BASE + start, memory_size: *memory, flags: *flags, bytes });
        }
        let files: Vec<_> = files.iter().map(|(start, length)| (BASE + start, BASE + start + length, 7, "/no/x")).collect();
        let opened = open(&builder.files(1, &files).build()).unwrap();
        check(&opened);
        for memory in memories(&opened) {
            for (offset, expected) in naive.iter().enumerate() {
                let address = BASE + offset as u64;
                let is_file = files.iter().any(|(start, end, ..)| (*start..*end).contains(&address));
                let region = opened.space.region_at(address);
                let found = read(&*memory, AddressRange::sized(address, 1));
                match expected {
                    Some((Some(byte), _)) => prop_assert_eq!(found, Ok(vec![*byte])),
                    Some((None, _)) => prop_assert_eq!(found, fault(address, FaultReason::NotInCore)),
                    None if is_file => prop_assert_eq!(found, fault(address, FaultReason::NotInCore)),
                    None => prop_assert_eq!(found, fault(address, FaultReason::Unreadable)),
                }
                prop_assert_eq!(region.is_some(), expected.is_some() || is_file);
                if let Some((_, flags)) = expected {
                    let permissions = region.unwrap().permissions;
                    prop_assert_eq!(permissions.contains(Permissions::WRITE), flags & WRITE != 0);
                    prop_assert_eq!(matches!(region.unwrap().backing, Backing::File { .. }), is_file);
                }
            }
            // One read goes as far as there is something.
            for start in 0..64 {
                let there = naive[start..].iter().take_while(|byte| matches!(byte, Some((Some(_), _)))).count();
                let found = read(&*memory, AddressRange::sized(BASE + start as u64, 64));
                prop_assert_eq!(found.map_or(0, |bytes| bytes.len()), there);
            }
        }
    }

    #[test]
    fn a_damaged_core_file_is_read_or_refused(
        damage in prop::collection::vec((0_usize..1400, any::<u8>()), 1..8),
        wide: bool,
    ) {
        let mut builder = example();
        builder.layout.pointer_size = if wide { 8 } else { 4 };
        let mut bytes = builder.build();
        for (offset, byte) in damage {
            bytes[offset] = byte;
        }
        if let Ok(opened) = open(&bytes) {
            check(&opened);
        }
    }
}

#[test]
fn numbers_beyond_all_bounds() {
    let example = example().build();
    // Every field of the headers, one after the other, with the largest numbers that it holds.
    for offset in (16..64 + 3 * 56 + 200).step_by(4) {
        for size in [2, 4, 8] {
            let mut bytes = example.clone();
            bytes[offset..offset + size].fill(0xff);
            match open(&bytes) {
                Ok(opened) => check(&opened),
                Err(OpenError::Core { error: CoreError::Read(error), .. }) => panic!("{offset}: {error}"),
                Err(_) => {}
            }
        }
    }
}
