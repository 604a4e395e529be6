//! Memory that is handed over slot by slot.

use crate::debuggee::assert_same;
use proptest::prelude::*;
use std::os::fd::OwnedFd;
use target::relayed::{Filled, Relay, Slots};
use target::{Access, AddressRange, Fault, FaultReason, OpenError, ReadMemory, Source};

const PAGE: u64 = 4096;

/// Memory of which some pages can be read, at most so many bytes at once.
struct Pages {
    readable: Vec<bool>,
    at_once: usize,
}

impl Pages {
    fn byte(&self, address: u64) -> Option<u8> {
        let page = usize::try_from(address / PAGE).unwrap();
        let readable = self.readable.get(page).is_some_and(|readable| *readable);
        readable.then_some((address * 31 + address / 256) as u8)
    }
}

impl ReadMemory for Pages {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        for byte in buffer.iter_mut().take(self.at_once) {
            match self.byte(address + read as u64) {
                Some(value) => *byte = value,
                None => break,
            }
            read += 1;
        }
        if read == 0 { Err(Fault { address, reason: FaultReason::Unreadable }) } else { Ok(read) }
    }
}

/// As a worker has it: from the source's bytes, and a copy of the descriptor.
fn relay(slots: &Slots) -> Relay {
    let Source::Relayed(relayed) = slots.source() else { panic!("{:?}", slots.source()) };
    relayed.open(vec![slots.descriptor().try_clone_to_owned().unwrap()]).unwrap()
}

proptest! {
    #[test]
    fn what_was_read_is_there_and_the_rest_faults(
        readable in prop::collection::vec(any::<bool>(), 8),
        at_once in prop_oneof![1000_usize..10_000, Just(usize::MAX)],
        start in 0_u64..5 * PAGE,
        length in 1_u64..4 * PAGE,
    ) {
        let memory = Pages { readable, at_once };
        let mut slots = Slots::new(3, 3 * PAGE as usize + 100).unwrap();
        let relay = relay(&slots);
        let other = slots.fill(&memory, AddressRange::sized(0, PAGE)).unwrap();
        let filled = slots.fill(&memory, AddressRange::sized(start, length)).unwrap();
        prop_assert_eq!(filled.range, AddressRange::sized(start, length.min(3 * PAGE + 100)));
        prop_assert_ne!(filled.slot, other.slot);
        let worker = relay.memory(&filled).unwrap();
        for address in (start.saturating_sub(300)..filled.range.end + 300).step_by(37).chain([filled.range.end - 1, filled.range.end]) {
            let mut buffer = [0; 500];
            let found = worker.read(address, &mut buffer);
            let expected = (address..filled.range.end).map_while(|address| memory.byte(address));
            let expected: Vec<_> = if address < start { vec![] } else { expected.take(500).collect() };
            if expected.is_empty() {
                prop_assert_eq!(found, Err(Fault { address, reason: FaultReason::Relay }));
                prop_assert_eq!(worker.view(address, 500), None);
            } else {
                assert_same(&buffer[..found.unwrap()], &expected, address);
                assert_same(worker.view(address, 500).unwrap(), &expected, address);
            }
        }
    }
}

#[test]
fn slots_are_used_again_once_they_are_released() {
    let memory = Pages { readable: vec![true; 8], at_once: usize::MAX };
    let mut slots = Slots::new(2, PAGE as usize).unwrap();
    let relay = relay(&slots);
    let range = |page| AddressRange::sized(page * PAGE, PAGE);
    let first = slots.fill(&memory, range(1)).unwrap();
    let second = slots.fill(&memory, range(2)).unwrap();
    assert_eq!((slots.free(), slots.fill(&memory, range(3))), (0, None));
    slots.release(first.slot);
    assert_eq!(slots.free(), 1);
    let third = slots.fill(&memory, range(3)).unwrap();
    assert_eq!(third.slot, first.slot);
    for (filled, page) in [(second, 2), (third, 3)] {
        let expected: Vec<_> = (page * PAGE..(page + 1) * PAGE).map(|address| memory.byte(address).unwrap()).collect();
        let memory = relay.memory(&filled).unwrap();
        assert_same(memory.view(page * PAGE, PAGE).unwrap(), &expected, page);
    }
}

#[test]
fn what_does_not_fit_the_slots_is_refused() {
    let slots = Slots::new(2, PAGE as usize).unwrap();
    let relay = relay(&slots);
    let filled = |slot, length, runs: &[(u64, u64)]| Filled {
        slot,
        range: AddressRange::sized(PAGE, length),
        runs: runs.iter().map(|(start, end)| AddressRange { start: *start, end: *end }).collect(),
        reason: FaultReason::Relay,
    };
    assert!(relay.memory(&filled(1, PAGE, &[(PAGE, PAGE + 5), (PAGE + 6, 2 * PAGE)])).is_ok());
    let backwards = Filled { range: AddressRange { start: 2, end: 1 }, ..filled(0, PAGE, &[]) };
    for filled in [
        backwards,
        filled(2, PAGE, &[]),
        filled(usize::MAX, PAGE, &[]),
        filled(0, PAGE + 1, &[]),
        filled(0, PAGE, &[(PAGE - 1, PAGE + 1)]),
        filled(0, PAGE, &[(PAGE, 2 * PAGE + 1)]),
        filled(0, PAGE, &[(PAGE + 5, PAGE + 1)]),
        filled(0, PAGE, &[(PAGE + 8, PAGE + 9), (PAGE, PAGE + 1)]),
    ] {
        assert!(matches!(relay.memory(&filled), Err(OpenError::Slot { .. })), "{filled:?}");
    }
    assert!(Slots::new(0, 1).is_err() && Slots::new(1, 0).is_err() && Slots::new(usize::MAX, 2).is_err());
}

#[test]
fn who_has_the_descriptor_can_neither_write_nor_shrink() {
    let slots = Slots::new(1, PAGE as usize).unwrap();
    let copy: OwnedFd = slots.descriptor().try_clone_to_owned().unwrap();
    assert!(nix::unistd::write(&copy, b"x").is_err());
    assert!(nix::unistd::ftruncate(&copy, 0).is_err());
    // SAFETY: nothing is mapped, as is asserted.
    assert!(unsafe { memmap2::MmapMut::map_mut(&copy) }.is_err());

    let error = slots.source().open(vec![copy], Access::Pread).err().unwrap();
    assert!(matches!(error, OpenError::Relayed), "{error}");
}

/// Memory that begins at this address, in the middle of a page, and goes on to the end of that page.
struct Begins(u64);

impl ReadMemory for Begins {
    fn after_fault(&self, address: u64) -> u64 {
        if address < self.0 { self.0 } else { address + PAGE }
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let end = self.0.next_multiple_of(PAGE);
        if !(self.0..end).contains(&address) {
            return Err(Fault { address, reason: FaultReason::Relay });
        }
        let length = buffer.len().min((end - address) as usize);
        buffer[..length].fill(7);
        Ok(length)
    }
}

#[test]
fn memory_that_begins_within_a_page_is_read_from_its_first_byte() {
    for start in [PAGE + 1, 2 * PAGE + 0x7f8, 3 * PAGE - 1] {
        let mut slots = Slots::new(1, 1 << 20).expect("slots");
        let filled = slots.fill(&Begins(start), AddressRange::new(0, 5 * PAGE)).expect("a slot");
        assert_eq!(filled.runs, [AddressRange::new(start, start.next_multiple_of(PAGE))]);
        let memory = relay(&slots).memory(&filled).expect("memory");
        assert_eq!(memory.after_fault(0), start);
        assert_eq!(memory.after_fault(start.next_multiple_of(PAGE)), 5 * PAGE);
    }
}

/// Memory of a process that ends after its first page has been read.
struct Ending;

impl ReadMemory for Ending {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        if address != PAGE {
            return Err(Fault { address, reason: FaultReason::Gone });
        }
        let length = buffer.len().min(PAGE as usize);
        buffer[..length].fill(7);
        Ok(length)
    }
}

#[test]
fn a_process_that_ends_while_it_is_relayed_is_gone_and_not_asked_for_each_page() {
    let mut slots = Slots::new(1, 1 << 20).expect("slots");
    let filled = slots.fill(&Ending, AddressRange::sized(PAGE, 1 << 20)).expect("a slot");
    assert_eq!(filled.runs, [AddressRange::sized(PAGE, PAGE)]);
    let memory = relay(&slots).memory(&filled).expect("memory");
    let mut byte = [0];
    assert_eq!(memory.read(PAGE + 5, &mut byte), Ok(1));
    let gone = Fault { address: 2 * PAGE, reason: FaultReason::Gone };
    assert_eq!(memory.read(2 * PAGE, &mut byte), Err(gone));
}
