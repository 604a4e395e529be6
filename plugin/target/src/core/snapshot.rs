//! A copy of a target's memory: for one that can only be read slowly, and is looked at in any order.

use super::Core;
use super::extents::{Content, Extent, joined};
use crate::{AddressRange, FaultReason, ReadMemory};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// Copies memory into a memory file, which is then read as a core file is.
#[derive(Debug)]
pub struct Snapshot {
    file: File,
    /// Bytes of the file so far.
    length: u64,
    /// In address order.
    extents: Vec<Extent>,
}

/// Zeros are not written: a page of them stays a hole.
const PAGE: usize = 4096;

impl Snapshot {
    /// One of nothing.
    ///
    /// # Errors
    /// If descriptors or memory run out.
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create(c"snapshot", MFdFlags::MFD_CLOEXEC)?);
        Ok(Self { file, length: 0, extents: Vec::new() })
    }

    /// Copies what lies in `range`, which begins where the ranges before it have ended or beyond. Returns how many bytes could
    /// be read; what could not will be a fault for who reads the copy.
    ///
    /// # Errors
    /// [`FaultReason::Gone`] as a fault that ends it, and if memory runs out.
    pub fn copy(&mut self, memory: &dyn ReadMemory, range: AddressRange) -> io::Result<u64> {
        let length = usize::try_from(range.len()).map_err(io::Error::other)?;
        let mut buffer = vec![0; length];
        let mut position = range.start;
        let mut copied = 0;
        while position < range.end {
            let place = (position - range.start) as usize;
            match memory.read(position, &mut buffer[place..]) {
                Ok(read) => {
                    self.add(position, &buffer[place..place + read])?;
                    copied += read as u64;
                    position += read as u64;
                }
                Err(fault) if fault.reason == FaultReason::Gone => return Err(io::Error::other(fault)),
                Err(_) => {
                    let next = memory.after_fault(position).clamp(position + 1, range.end);
                    self.extents.push(Extent { range: AddressRange::new(position, next), content: Content::Unread });
                    position = next;
                }
            }
        }
        Ok(copied)
    }

    fn add(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        for (index, page) in bytes.chunks(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                self.file.write_all_at(page, self.length + (index * PAGE) as u64)?;
            }
        }
        let content = Content::Core { offset: self.length };
        self.extents.push(Extent { range: AddressRange::sized(start, bytes.len() as u64), content });
        // Each part begins at a page, so that holes are whole.
        self.length += (bytes.len() as u64).next_multiple_of(PAGE as u64);
        Ok(())
    }

    /// What is where in it, and the descriptor that it is read through.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn finish(self) -> io::Result<(Core, OwnedFd)> {
        self.file.set_len(self.length)?;
        let extents = joined(self.extents);
        Ok((Core { extents, files: 0 }, self.file.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Access, Fault, Source};

    /// Bytes from 0x1000 on, with a page in the middle that cannot be read.
    struct Holed(Vec<u8>);

    impl ReadMemory for Holed {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
            let readable =
                |address: u64| (0x1000..0x1000 + self.0.len() as u64).contains(&address) && address / 4096 != 3;
            if !readable(address) {
                return Err(Fault { address, reason: FaultReason::Unreadable });
            }
            let count = (address..).take(buffer.len()).take_while(|address| readable(*address)).count();
            buffer[..count].copy_from_slice(&self.0[(address - 0x1000) as usize..][..count]);
            Ok(count)
        }
    }

    #[test]
    fn a_snapshot_reads_as_the_memory_that_it_was_taken_of() {
        let mut bytes: Vec<u8> = (0..0x5000_u32).map(|number| (number / 7) as u8).collect();
        bytes[0x3100..0x4800].fill(0);
        let memory = Holed(bytes.clone());
        let mut snapshot = Snapshot::new().unwrap();
        assert_eq!(snapshot.copy(&memory, AddressRange::new(0x1000, 0x2800)).unwrap(), 0x1800);
        assert_eq!(snapshot.copy(&memory, AddressRange::new(0x2800, 0x6000)).unwrap(), 0x800 + 0x2000);
        let (core, descriptor) = snapshot.finish().unwrap();
        let source = Source::Core(core);
        for access in [Access::Mapped, Access::Pread] {
            let copy = source.open(vec![descriptor.try_clone().unwrap()], access).unwrap();
            for address in (0xf00..0x6100).step_by(0x80) {
                let (mut ours, mut theirs) = ([1; 0x80], [1; 0x80]);
                let (copied, original) = (copy.read(address, &mut ours), memory.read(address, &mut theirs));
                assert_eq!(
                    copied.map_err(|fault| fault.address),
                    original.map_err(|fault| fault.address),
                    "{address:#x}"
                );
                assert_eq!(ours, theirs, "{address:#x}");
            }
            let unread = copy.read(0x3000, &mut [0]).unwrap_err();
            assert_eq!(unread.reason, FaultReason::Relay, "what could not be read is said to be so");
        }
    }
}
