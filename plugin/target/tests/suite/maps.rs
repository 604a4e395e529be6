//! The parsers of what Linux tells of mappings, against a generator and against the real thing.

use proptest::prelude::*;
use target::maps::{self, Mapping, MapsError};
use target::pagemap::{self, Entry, Page};
use target::{AddressRange, Backing, Permissions, Region};

fn regions(text: &str) -> Vec<Region> {
    maps::regions(&maps::parse(text.as_bytes()).unwrap(), &[])
}

fn backing(name: &str, shared: bool) -> Backing {
    maps::backing(name.as_bytes(), 8, shared, name.starts_with('/'))
}

#[test]
fn names_and_what_they_mean() {
    let text = |text: &str| text.to_owned();
    let anonymous = |name: Option<&str>| Backing::Anonymous { name: name.map(text) };
    let shared = |name: &str| Backing::Shared { name: name.into(), offset: 8 };
    let special = |name: &str| Backing::Special { name: name.into() };
    let file = |path: &str, deleted| Backing::File { path: path.into(), offset: 8, deleted };

    assert_eq!(backing("", false), anonymous(None));
    assert_eq!(backing("[heap]", false), Backing::Heap);
    assert_eq!(backing("[stack]", false), Backing::Stack);
    assert_eq!(backing("[stack:17]", false), anonymous(Some("[stack:17]")));
    assert_eq!(backing("[anon: glibc: malloc arena]", false), anonymous(Some(" glibc: malloc arena")));
    assert_eq!(backing("[anon_shmem:frames]", true), shared("frames"));
    assert_eq!(backing("/dev/zero (deleted)", true), shared("/dev/zero"));
    assert_eq!(backing("/dev/zero", false), anonymous(Some("/dev/zero")));
    assert_eq!(backing("/anon_hugepage (deleted)", false), anonymous(Some("/anon_hugepage")));
    assert_eq!(backing("/anon_hugepage (deleted)", true), shared("/anon_hugepage"));
    assert_eq!(backing("/memfd:pulse audio (deleted)", true), shared("/memfd:pulse audio"));
    assert_eq!(backing("/memfd:jit (deleted)", false), shared("/memfd:jit"));
    assert_eq!(backing("/SYSV0000002a (deleted)", true), shared("/SYSV0000002a"));
    assert_eq!(backing("/dev/shm/sem.x", true), shared("/dev/shm/sem.x"));
    for name in ["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[uprobes]", "anon_inode:[perf_event]"] {
        assert_eq!(backing(name, false), special(name));
    }
    for name in ["/dev/dri/card0", "/dev/mem", "socket:[17]", "/dmabuf:"] {
        assert_eq!(backing(name, true), special(name));
    }
    assert_eq!(backing("/dev/hugepages/pool", true), file("/dev/hugepages/pool", false));
    assert_eq!(backing("/lib/libc.so.6", false), file("/lib/libc.so.6", false));
    assert_eq!(backing("/lib/libc.so.6 (deleted)", false), file("/lib/libc.so.6", true));
    assert_eq!(backing("/home/[heap]", false), file("/home/[heap]", false));
    assert_eq!(maps::backing(b"/\xff", 8, false, true), file("/\u{fffd}", false));
}

#[test]
fn a_name_is_taken_as_it_is() {
    let text = b"1000-2000 r--p 00000000 08:01 7                          /a b\\012c\\134d\xff  \n";
    let mappings = maps::parse(text).unwrap();
    assert_eq!(&*mappings[0].name, b"/a b\nc\\134d\xff  ");
}

#[test]
fn lines_that_are_none() {
    for line in [
        "x",
        "1000-2000",
        "1000-2000 rwxp",
        "1000-1000 rwxp 00000000 00:00 0",
        "2000-1000 rwxp 00000000 00:00 0",
        "1000-2000 rwx 00000000 00:00 0",
        "1000-2000 rwxq 00000000 00:00 0",
        "1000-2000 xrwp 00000000 00:00 0",
        "10000000000000000-2000 rwxp 00000000 00:00 0",
        "1000-2000 rwxp 00000000 00:00 0x",
        "1000-2000 rwxp 00000000 00:00 99999999999999999999",
    ] {
        let text = format!("1000-2000 rwxp 00000000 00:00 0\n{line}\n");
        assert_eq!(maps::parse(text.as_bytes()), Err(MapsError { line: 2 }), "{line}");
    }
}

#[test]
fn contiguous_mappings_are_joined_where_they_are_more_of_the_same() {
    let joined = regions(
        "1000-2000 rw-p 00000000 00:00 0 \n\
         2000-3000 rw-p 00000000 00:00 0 \n\
         3000-4000 r--p 00000000 00:00 0 \n\
         4000-5000 r--p 00000000 08:01 7    /a\n\
         5000-6000 r--p 00001000 08:01 7    /a\n\
         6000-7000 r--p 00003000 08:01 7    /a\n\
         7000-8000 r--p 00004000 08:01 8    /a\n\
         9000-a000 r--p 00005000 08:01 8    /a\n\
         a000-b000 rw-s 00000000 00:05 9    /SYSV00000000 (deleted)\n\
         b000-c000 rw-s 00001000 00:05 9    /SYSV00000000 (deleted)\n\
         c000-d000 rw-s 00000000 00:05 10   /SYSV00000000 (deleted)\n",
    );
    let ranges: Vec<_> = joined.iter().map(|region| (region.range.start, region.range.end)).collect();
    let expected = [
        (0x1000, 0x3000),
        (0x3000, 0x4000),
        (0x4000, 0x6000),
        (0x6000, 0x7000),
        (0x7000, 0x8000),
        (0x9000, 0xa000),
        (0xa000, 0xc000),
        (0xc000, 0xd000),
    ];
    assert_eq!(ranges, expected);
}

#[test]
fn mappings_that_moved_while_they_were_listed_do_not_overlap() {
    let listed = regions(
        "1000-4000 rw-p 00000000 08:01 7    /a\n\
         2000-5000 rw-p 00007000 08:01 7    /a\n\
         2000-3000 rw-p 00000000 08:01 7    /a\n",
    );
    let found: Vec<_> = listed.iter().map(|region| (region.range.start, region.range.end)).collect();
    assert_eq!(found, [(0x1000, 0x4000), (0x4000, 0x5000)]);
    assert_eq!(listed[1].backing, Backing::File { path: "/a".into(), offset: 0x9000, deleted: false });
}

#[test]
fn this_process() {
    let text = std::fs::read("/proc/self/maps").unwrap();
    let regions = maps::regions(&maps::parse(&text).unwrap(), &[]);
    assert!(regions.is_sorted_by(|a, b| a.range.end <= b.range.start));
    let here = this_process as *const () as u64;
    let region = regions.iter().find(|region| region.range.contains(here)).unwrap();
    assert!(region.permissions.contains(Permissions::READ | Permissions::EXECUTE));
    assert_eq!(region.name(), std::env::current_exe().unwrap().to_str());
    for backing in [Backing::Stack, Backing::Heap, Backing::Special { name: "[vdso]".into() }] {
        assert!(regions.iter().any(|region| region.backing == backing), "{backing:?}");
    }
}

#[test]
fn only_mappings_with_a_userfaultfd_are_marked() {
    let smaps = b"1000-2000 rw-p 00000000 00:00 0 \nSize: 4 kB\nAnonymous:  0 kB\nVmFlags: rd wr mr mw me ac um \n\
        2000-3000 rw-p 00000000 00:00 0 \nSize: 4 kB\nVmFlags: rd wr mr mw me ac \n\
        3000-4000 rw-p 00000000 00:00 0 \nVmFlags: rd uw\n4000-5000 rw-p 00000000 00:00 0 \nVmFlags: ui sd\n";
    let found = maps::userfault_ranges(smaps);
    let page = |start| AddressRange::sized(start, 0x1000);
    assert_eq!(found, [page(0x1000), page(0x3000), page(0x4000)]);

    let lines = "1000-2000 rw-p 00000000 00:00 0 \n2000-3000 rw-p 00000000 00:00 0 \n";
    let regions = maps::regions(&maps::parse(lines.as_bytes()).unwrap(), &found);
    assert_eq!(regions.iter().map(|region| region.userfault).collect::<Vec<_>>(), [true, false]);
}

/// A line as the kernel writes it.
fn line(mapping: &Mapping<'_>) -> Vec<u8> {
    let letter = |bit, letter| if mapping.permissions.contains(bit) { letter } else { '-' };
    let (AddressRange { start, end }, (major, minor)) = (mapping.range, mapping.device);
    let mut line = format!(
        "{start:08x}-{end:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {} ",
        letter(Permissions::READ, 'r'),
        letter(Permissions::WRITE, 'w'),
        letter(Permissions::EXECUTE, 'x'),
        if mapping.shared { 's' } else { 'p' },
        mapping.offset,
        mapping.inode,
    );
    if !mapping.name.is_empty() {
        line = format!("{line:<73}");
    }
    let mut line = line.into_bytes();
    for byte in &*mapping.name {
        match byte {
            b'\n' => line.extend(b"\\012"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

prop_compose! {
    fn any_mapping()(
        start in any::<u64>(),
        length in 1_u64..,
        bits in 0_u8..8,
        shared: bool,
        offset: u64,
        device: (u32, u32),
        inode: u64,
        // No path holds a backslash here: the kernel does not escape it, so it cannot be told from its escapes.
        name in prop_oneof![Just(vec![]), prop::collection::vec((1_u8..).prop_filter("\\", |byte| *byte != b'\\'), 0..20)],
    ) -> Mapping<'static> {
        let range = AddressRange::sized(start.min(u64::MAX - 1), length);
        let mut path = name;
        if !path.is_empty() {
            path.insert(0, b'/');
        }
        Mapping {
            range,
            permissions: Permissions::from_bits_truncate(bits),
            shared,
            offset,
            device,
            inode,
            name: path.into(),
        }
    }
}

proptest! {
    #[test]
    fn what_the_kernel_writes_is_what_we_read(mappings in prop::collection::vec(any_mapping(), 0..8)) {
        let text: Vec<u8> = mappings.iter().flat_map(line).collect();
        prop_assert_eq!(maps::parse(&text).unwrap(), mappings);
    }

    #[test]
    fn regions_cover_what_the_mappings_cover(
        starts in prop::collection::vec((0_u64..40, 1_u64..8, 0_u8..2, 0_u64..3), 0..20),
    ) {
        let mappings: Vec<_> = starts.iter().map(|(start, length, bits, offset)| Mapping {
            range: AddressRange::sized(*start, *length),
            permissions: Permissions::from_bits_truncate(*bits),
            shared: false,
            offset: *offset,
            device: (8, 1),
            inode: 7,
            name: b"/a"[..].into(),
        }).collect();
        let regions = maps::regions(&mappings, &[]);
        prop_assert!(regions.is_sorted_by(|a, b| a.range.end <= b.range.start));
        prop_assert!(regions.windows(2).all(|pair| !pair[0].continues_in(&pair[1])));
        // What comes later but lies before is none of a sorted list, and left out.
        let mut covered = 0;
        for mapping in &mappings {
            for address in mapping.range.start.max(covered)..mapping.range.end {
                let region = regions.iter().find(|region| region.range.contains(address));
                prop_assert_eq!(region.map(|region| region.permissions), Some(mapping.permissions));
            }
            covered = covered.max(mapping.range.end);
        }
        let length: u64 = regions.iter().map(|region| region.range.len()).sum();
        let naive = (0..64).filter(|address| regions.iter().any(|region| region.range.contains(*address))).count();
        prop_assert_eq!(length, naive as u64);
    }

    #[test]
    fn anything_is_parsed_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(mappings) = maps::parse(&text) {
            maps::regions(&mappings, &maps::userfault_ranges(&text));
        }
    }

    #[test]
    fn runs_of_pages_are_those_of_a_naive_twin(
        pages in prop::collection::vec(0_u64..4, 0..100),
        start in prop_oneof![0_u64..100, (u64::MAX / 4096 - 50)..=(u64::MAX / 4096)],
    ) {
        let start = start * 4096;
        let bytes: Vec<u8> = pages.iter().flat_map(|bits| (bits << 62 | 0x17).to_ne_bytes()).collect();
        let mut runs = Vec::new();
        pagemap::each_run(&bytes, start, 4096, &mut |run, page| runs.push((run, page)));

        let mut naive = Vec::<(AddressRange, Page)>::new();
        for (index, bits) in pages.iter().enumerate() {
            let page = Entry(bits << 62).page();
            let Some(address) = start.checked_add(index as u64 * 4096) else { break };
            let Some(end) = address.checked_add(4096) else { break };
            match naive.last_mut() {
                _ if page == Page::Absent => {}
                Some((run, last)) if *last == page && run.end == address => run.end = end,
                _ => naive.push((AddressRange::new(address, end), page)),
            }
        }
        prop_assert_eq!(runs, naive);
    }

    #[test]
    fn pushed_runs_are_disjoint_and_not_adjacent(steps in prop::collection::vec((0_u64..3, 0_u64..4), 0..20)) {
        let (mut runs, mut pushed, mut address) = (Vec::new(), vec![false; 200], 0);
        for (gap, length) in steps {
            let range = AddressRange::sized(address + gap, length);
            pagemap::push_run(&mut runs, range);
            pushed[range.start as usize..range.end as usize].fill(true);
            address = range.end;
        }
        let mut covered = vec![false; 200];
        for run in &runs {
            covered[run.start as usize..run.end as usize].fill(true);
        }
        prop_assert_eq!(covered, pushed);
        prop_assert!(runs.is_sorted_by(|a, b| a.end < b.start));
    }
}
