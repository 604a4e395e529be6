//! Memory that travels with a task, and core files that another machine has as well.

use crate::builder::{Builder, READ, Segment, WRITE};
use proptest::prelude::*;
use std::fs::File;
use target::core::{self, Fingerprint, Options, SharedCore};
use target::streamed::{Streamed, Wanted};
use target::{AddressRange, Fault, FaultReason, OpenError, Opened, Populated, ReadMemory};

const PAGE: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    There,
    Empty,
    Swapped,
    Unreadable,
}

struct Pages(Vec<Page>);

impl Pages {
    fn page(&self, address: u64) -> Option<Page> {
        self.0.get(usize::try_from(address / PAGE).unwrap()).copied()
    }

    /// What lies at an address, if it can be read.
    fn byte(&self, address: u64) -> Option<u8> {
        match self.page(address)? {
            Page::There | Page::Swapped => Some((address * 31 + address / 256) as u8),
            Page::Empty => Some(0),
            Page::Unreadable => None,
        }
    }
}

impl ReadMemory for Pages {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        for byte in buffer.iter_mut() {
            let Some(value) = self.byte(address + read as u64) else { break };
            *byte = value;
            read += 1;
        }
        if read == 0 { Err(Fault { address, reason: FaultReason::Truncated }) } else { Ok(read) }
    }

    fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
        let mut populated = Populated::default();
        for page in range.start / PAGE..range.end.div_ceil(PAGE) {
            let part = AddressRange::sized(page * PAGE, PAGE).intersect(range).unwrap();
            let list = match self.0[page as usize] {
                Page::There | Page::Unreadable => &mut populated.runs,
                Page::Swapped if swapped => &mut populated.runs,
                Page::Swapped => &mut populated.skipped,
                Page::Empty => continue,
            };
            match list.last_mut().filter(|last| last.end == part.start) {
                Some(last) => last.end = part.end,
                None => list.push(part),
            }
        }
        populated
    }
}

fn page() -> impl Strategy<Value = Page> {
    prop_oneof![3 => Just(Page::There), 2 => Just(Page::Empty), 1 => Just(Page::Swapped), 1 => Just(Page::Unreadable)]
}

proptest! {
    #[test]
    fn what_travelled_is_what_is_there(
        pages in prop::collection::vec(page(), 1..30),
        from in 0_u64..20_000,
        length in 1_u64..100_000,
        margin in 0_u64..9000,
        most in 1_u64..50_000,
        sparse: bool,
        swapped: bool,
    ) {
        let memory = Pages(pages);
        let region = AddressRange::sized(0, memory.0.len() as u64 * PAGE);
        let Some(range) = AddressRange::sized(from, length).intersect(region) else { return Ok(()) };
        let (streamed, covered) = Streamed::read(&memory, &Wanted { range, region, margin, sparse, swapped, most });
        prop_assert_eq!(covered.start, range.start);
        prop_assert!(!covered.is_empty() && covered.end <= range.end);
        let read = (covered.start..covered.end).filter(|address| !sparse || matches!(memory.page(*address), Some(Page::There)));
        prop_assert!(read.count() as u64 <= most);

        let bytes = postcard::to_stdvec(&streamed).unwrap();
        let found = postcard::from_bytes::<Streamed>(&bytes).unwrap().open().unwrap();
        let seen = AddressRange::new(covered.start.saturating_sub(margin), covered.end + margin).intersect(region).unwrap();
        let unread = |address| sparse && !swapped && memory.page(address) == Some(Page::Swapped);
        for address in (seen.start.saturating_sub(200)..seen.end + 200).step_by(61).chain([seen.start, seen.end - 1, seen.end]) {
            let mut buffer = [0; 300];
            let expected = (address..seen.end).map_while(|address| memory.byte(address).filter(|_| !unread(address)));
            let expected: Vec<u8> = if address < seen.start { vec![] } else { expected.take(300).collect() };
            match found.read(address, &mut buffer) {
                Ok(length) => prop_assert_eq!(&buffer[..length], &expected),
                Err(fault) => {
                    prop_assert_eq!(expected.len(), 0);
                    let inside = seen.contains(address) && !unread(address);
                    let reason = if inside { FaultReason::Truncated } else { FaultReason::Unreadable };
                    prop_assert_eq!(fault, Fault { address, reason });
                    let next = found.after_fault(address);
                    prop_assert!(next > address);
                    prop_assert!(!(address.max(seen.start)..next.min(seen.end)).any(|address| memory.byte(address).is_some() && !unread(address)));
                }
            }
            if let Some(view) = found.view(address, 300) {
                prop_assert!(!view.is_empty() && expected.starts_with(view));
            }
        }
        if sparse {
            prop_assert_eq!(found.populated(seen, swapped), memory.populated(seen, swapped));
        }
    }

    #[test]
    fn no_damage_does_more_than_fail(at in 0_usize..200, to: u8, cut in 0_usize..200) {
        let memory = Pages(vec![Page::There, Page::Unreadable, Page::Empty, Page::There]);
        let range = AddressRange::sized(0, 4 * PAGE);
        let wanted = Wanted { range, region: range, margin: 0, sparse: true, swapped: true, most: 1 << 20 };
        let mut bytes = postcard::to_stdvec(&Streamed::read(&memory, &wanted).0).unwrap();
        let length = bytes.len();
        bytes[at % length] = to;
        bytes.truncate(length - cut % 2 * cut.min(length));
        if let Ok(memory) = postcard::from_bytes::<Streamed>(&bytes).map(|streamed| streamed.open()) && let Ok(memory) = memory {
            let mut buffer = [0; 100];
            for address in (0..5 * PAGE).step_by(1000) {
                let _ = memory.read(address, &mut buffer);
                memory.after_fault(address);
                memory.populated(AddressRange::sized(address, PAGE), true);
            }
        }
    }
}

#[test]
fn memory_of_zeros_takes_next_to_nothing() {
    struct Zeros;
    impl ReadMemory for Zeros {
        fn read(&self, _: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    let range = AddressRange::sized(PAGE, 4 << 20);
    let wanted = Wanted { range, region: range, margin: PAGE, sparse: false, swapped: true, most: 4 << 20 };
    let (streamed, covered) = Streamed::read(&Zeros, &wanted);
    assert_eq!(covered, range);
    assert!(streamed.size() < 20_000, "{}", streamed.size());
}

fn opened(folder: &std::path::Path, bytes: Vec<u8>) -> (std::path::PathBuf, Opened) {
    let path = folder.join("core");
    let segment = Segment::whole(0x10000, READ | WRITE, bytes);
    std::fs::write(&path, Builder::new(8, Default::default()).process(7, "program").segment(segment).build()).unwrap();
    let opened = core::open(&path, &Options::default()).unwrap();
    (path, opened)
}

fn sent(core: SharedCore) -> SharedCore {
    postcard::from_bytes(&postcard::to_stdvec(&core.alone()).unwrap()).unwrap()
}

#[test]
fn a_core_file_that_is_the_same_there_is_read_there() {
    let folder = tempfile::tempdir().unwrap();
    let (path, opened) = opened(folder.path(), vec![0x5a; 3 * PAGE as usize]);
    let core = SharedCore::new(&path, &opened).unwrap().unwrap();
    assert!(core.holds(AddressRange::sized(0x10000, 3 * PAGE)));
    let memory = sent(core).open().unwrap();
    let mut buffer = [0; 64];
    assert_eq!(memory.read(0x11000, &mut buffer), Ok(64));
    assert_eq!(buffer, [0x5a; 64]);
}

#[test]
fn a_core_file_that_is_another_there_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (path, opened) = opened(folder.path(), vec![0x5a; 3 * PAGE as usize]);
    let core = sent(SharedCore::new(&path, &opened).unwrap().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(core.open(), Err(OpenError::Differs { .. })));
    bytes.push(0);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(core.open(), Err(OpenError::Differs { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(core.open(), Err(OpenError::File { .. })));
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(core.open(), Err(OpenError::Differs { .. })));
}

#[test]
fn a_fingerprint_is_of_the_whole_of_a_small_file_and_of_samples_of_a_large_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let of = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Fingerprint::of(&File::open(&path).unwrap()).unwrap()
    };
    for length in [0, 1, 4096, 100_000, (4 << 20) + 70_000] {
        let mut bytes = vec![7; length];
        let first = of(&bytes);
        assert_eq!((first.length, of(&bytes)), (length as u64, first));
        for at in [0, length / 2, length.saturating_sub(1)] {
            let Some(byte) = bytes.get_mut(at) else { continue };
            *byte ^= 1;
            assert_ne!(of(&bytes), first, "{at} of {length}");
            bytes[at] ^= 1;
        }
    }
    let mut large = vec![7; 20 << 20];
    let first = of(&large);
    // Of what lies between the samples it knows nothing, and of a whole stretch it does.
    large[8 << 20..9 << 20].fill(8);
    assert_ne!(of(&large), first);
}
