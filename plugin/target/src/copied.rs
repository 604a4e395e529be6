//! A process of which parts have been copied: what is looked at in any order is then had as fast as from a core file.

use crate::core::{Core, CoreMemory};
use crate::pagemap::push_run;
use crate::source::{Access, OpenError, Source};
use crate::{AddressRange, Fault, Populated, ReadMemory, Residency};
use nix::fcntl::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// How such a process is read. Its descriptors: the file of the copy, then those of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    copy: Core,
    rest: Box<Source>,
}

impl Copied {
    /// What is not in `copy` is read from `rest`.
    pub fn new(copy: Core, rest: Source) -> Self {
        Self { copy, rest: Box::new(rest) }
    }
}

/// Gives back the memory that a copy takes. Who still has it mapped sees zeros from then on.
pub fn release(copy: &impl AsFd) {
    let Ok(file) = copy.as_fd().try_clone_to_owned().map(File::from) else { return };
    let length = file.metadata().ok().and_then(|data| i64::try_from(data.len()).ok());
    if let Some(length) = length.filter(|length| *length > 0) {
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Where that is not possible it is given back once nobody has it mapped any more.
        let _ = fallocate(file, punch, 0, length);
    }
}

/// The memory of a process of which parts have been copied.
pub struct CopiedMemory {
    copy: CoreMemory,
    rest: Arc<dyn ReadMemory>,
}

impl CopiedMemory {
    /// `descriptors` are those of the source.
    ///
    /// # Errors
    /// As for [`Source::open`].
    pub fn new(copied: &Copied, mut descriptors: Vec<OwnedFd>, access: Access) -> Result<Self, OpenError> {
        if descriptors.is_empty() {
            return Err(OpenError::Descriptors { expected: 1, found: 0 });
        }
        let others = descriptors.split_off(1);
        Ok(Self { copy: CoreMemory::new(&copied.copy, descriptors, access)?, rest: copied.rest.open(others, access)? })
    }

    /// What has the byte at `address`, and where that changes.
    fn at(&self, address: u64) -> (&dyn ReadMemory, u64) {
        let (held, end) = self.copy.holds(address);
        (if held { &self.copy } else { &*self.rest }, end)
    }
}

impl ReadMemory for CopiedMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        while read < buffer.len() {
            let Some(next) = address.checked_add(read as u64) else { break };
            let (memory, end) = self.at(next);
            let left = &mut buffer[read..];
            let most = usize::try_from(end - next).unwrap_or(usize::MAX).min(left.len());
            if most == 0 {
                // The last byte of all is in nothing.
                break;
            }
            match memory.read(next, &mut left[..most]) {
                Ok(length) => {
                    read += length;
                    if length < most {
                        break;
                    }
                }
                Err(fault) if read == 0 => return Err(fault),
                Err(_) => break,
            }
        }
        Ok(read)
    }

    fn after_fault(&self, address: u64) -> u64 {
        let (memory, end) = self.at(address);
        memory.after_fault(address).min(end.max(address.saturating_add(1)))
    }

    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        let (memory, end) = self.at(address);
        memory.view(address, length.min(end - address))
    }

    fn read_scattered(&self, ranges: &[AddressRange], buffer: &mut [u8]) -> Vec<Result<usize, Fault>> {
        let is_elsewhere = |range: &AddressRange| {
            let (held, end) = self.copy.holds(range.start);
            !held && range.end <= end
        };
        let others: Vec<AddressRange> = ranges.iter().copied().filter(is_elsewhere).collect();
        if others.len() == ranges.len() {
            return self.rest.read_scattered(ranges, buffer);
        }
        // What is not copied is read with few calls all the same.
        let mut bytes = vec![0; others.iter().map(|range| range.len() as usize).sum()];
        let mut found = self.rest.read_scattered(&others, &mut bytes).into_iter();
        let (mut bytes, mut rest) = (&bytes[..], buffer);
        let mut show = |range: &AddressRange| {
            let length = range.len() as usize;
            let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            if !is_elsewhere(range) {
                return self.read(range.start, part);
            }
            let (own, others) = bytes.split_at(length);
            bytes = others;
            part.copy_from_slice(own);
            found.next().unwrap_or(Ok(0))
        };
        ranges.iter().map(&mut show).collect()
    }

    fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
        let mut populated = Populated::default();
        let mut address = range.start;
        while address < range.end {
            let (memory, end) = self.at(address);
            let part = memory.populated(AddressRange::new(address, end.min(range.end)), swapped);
            part.runs.into_iter().for_each(|run| push_run(&mut populated.runs, run));
            part.skipped.into_iter().for_each(|run| push_run(&mut populated.skipped, run));
            address = end;
        }
        populated
    }

    fn residency(&self, range: AddressRange) -> Option<Residency> {
        self.rest.residency(range)
    }
}

impl std::fmt::Debug for CopiedMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopiedMemory").field("copy", &self.copy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FaultReason;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    const PAGE: u64 = 4096;
    const PAGES: u64 = 12;

    /// Pages, some of which cannot be read.
    struct Pages {
        holes: Vec<bool>,
    }

    impl ReadMemory for Pages {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
            let readable = |address: u64| self.holes.get((address / PAGE) as usize) == Some(&false);
            if !buffer.is_empty() && !readable(address) {
                return Err(Fault { address, reason: FaultReason::Unreadable });
            }
            let count = (address..).take(buffer.len()).take_while(|address| readable(*address)).count();
            for (address, byte) in (address..).zip(&mut buffer[..count]) {
                *byte = byte_at(address);
            }
            Ok(count)
        }
    }

    fn byte_at(address: u64) -> u8 {
        (address / 3 + address / PAGE) as u8
    }

    /// Some of the pages in a file, in any order.
    fn copied(pages: Pages, copied: &[bool], access: Access) -> (CopiedMemory, File) {
        let file = tempfile::tempfile().unwrap();
        let mut parts = Vec::new();
        for page in (0..PAGES).filter(|page| copied[*page as usize] && !pages.holes[*page as usize]) {
            let range = AddressRange::sized(page * PAGE, PAGE);
            // From the back, so that neighbours are none in the file.
            let offset = (PAGES - page) * PAGE;
            let bytes: Vec<u8> = (range.start..range.end).map(byte_at).collect();
            file.write_all_at(&bytes, offset).unwrap();
            parts.push((range, offset));
        }
        file.set_len((PAGES + 1) * PAGE).unwrap();
        let copy = CoreMemory::new(&Core::of_parts(parts), vec![file.try_clone().unwrap().into()], access).unwrap();
        (CopiedMemory { copy, rest: Arc::new(pages) }, file)
    }

    proptest! {
        #[test]
        fn what_is_copied_in_part_reads_as_what_it_was_copied_of(
            holes in prop::collection::vec(prop::bool::weighted(0.2), PAGES as usize),
            copies in prop::collection::vec(any::<bool>(), PAGES as usize),
            mapped in any::<bool>(),
            reads in prop::collection::vec((0..(PAGES + 1) * PAGE, 0..3 * PAGE), 1..20),
        ) {
            let plain = Pages { holes: holes.clone() };
            let (memory, _) = copied(Pages { holes }, &copies, if mapped { Access::Mapped } else { Access::Pread });
            let ranges: Vec<AddressRange> = reads.iter().map(|(start, length)| AddressRange::sized(*start, *length)).collect();
            let length: u64 = ranges.iter().map(|range| range.len()).sum();
            let (mut ours, mut theirs) = (vec![0; length as usize], vec![0; length as usize]);
            let scattered = memory.read_scattered(&ranges, &mut ours);
            let expected = plain.read_scattered(&ranges, &mut theirs);
            let mut offset = 0;
            for ((range, found), expected) in ranges.iter().zip(scattered).zip(expected) {
                let count = expected.map_err(|fault| fault.address);
                prop_assert_eq!(found.map_err(|fault| fault.address), count, "{}", range);
                let count = count.unwrap_or(0);
                prop_assert_eq!(&ours[offset..offset + count], &theirs[offset..offset + count]);
                let mut alone = vec![0; range.len() as usize];
                let read = memory.read(range.start, &mut alone);
                prop_assert_eq!(read.map_err(|fault| fault.address).unwrap_or(0), count);
                prop_assert_eq!(&alone[..count], &theirs[offset..offset + count]);
                if let Some(view) = memory.view(range.start, range.len()) {
                    prop_assert!(mapped && view.len() <= count);
                    prop_assert_eq!(view, &theirs[offset..offset + view.len()]);
                } else {
                    let is_copied = |address: u64| copies.get((address / PAGE) as usize) == Some(&true);
                    prop_assert!(!mapped || count == 0 || !is_copied(range.start));
                }
                offset += range.len() as usize;
            }
        }

        /// What is said to hold zeros does, and nothing else is left out.
        #[test]
        fn holes_of_the_copy_are_known(copies in prop::collection::vec(any::<bool>(), PAGES as usize)) {
            let (memory, file) = copied(Pages { holes: vec![false; PAGES as usize] }, &copies, Access::Mapped);
            let range = AddressRange::new(100, PAGES * PAGE - 100);
            prop_assert_eq!(memory.populated(range, true), Populated { runs: vec![range], skipped: Vec::new() });
            release(&file);
            for run in memory.populated(range, true).runs {
                for page in run.start / PAGE..run.end.div_ceil(PAGE) {
                    prop_assert!(!copies[page as usize], "it was given back");
                }
            }
        }
    }
}
