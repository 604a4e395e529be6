//! Reading a live process.

use super::pages::Pages;
use super::patches::Patches;
use super::{Live, Reader, is_interrupted};
use crate::source::OpenError;
use crate::{AddressRange, Fault, FaultReason, Populated, ReadMemory, Residency};
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The memory of a live process.
///
/// Both ways of reading give the same bytes. process_vm_readv is the faster one, but it knows the process by its id
/// only, and honours page protections; /proc/PID/mem stays with the program that it was opened on, and does not.
/// So what the former cannot read is tried by the latter, and what it did read counts only if the latter still answers.
#[derive(Debug)]
pub struct LiveMemory {
    pid: Pid,
    mem: File,
    pages: Option<Pages>,
    patches: Patches,
    /// Whether process_vm_readv is used. It is tried once, and not again after it has been refused.
    vm: AtomicBool,
    /// Shorter reads go through /proc/PID/mem: that is one call, not two.
    least: usize,
    /// What is not mapped below the stack. The kernel grows a stack down to what is read there through /proc/PID/mem, and
    /// before Linux 6.5 also by process_vm_readv; so nothing is.
    below_stack: AddressRange,
}

/// From here on, process_vm_readv gains more than the second call costs.
const WORTH_TWO_CALLS: usize = 16 << 10;

/// The kernel takes so many ranges in one call (UIO_MAXIOV).
const MOST_RANGES: usize = 1024;

/// Why a reader stopped before the end of its buffer.
enum Stop {
    /// That which lies there cannot be read.
    Unreadable,
    Gone,
    /// This way of reading is not allowed.
    Refused,
}

impl LiveMemory {
    /// `descriptors` are those of the source.
    ///
    /// # Errors
    /// [`OpenError::Descriptors`], or [`OpenError::Reader`] if process_vm_readv is forced and not allowed.
    pub fn new(live: &Live, descriptors: Vec<OwnedFd>) -> Result<Self, OpenError> {
        let expected = 1 + usize::from(live.has_pagemap);
        let found = descriptors.len();
        let mut descriptors = descriptors.into_iter().map(File::from);
        let mem = descriptors.next().filter(|_| found == expected);
        let mem = mem.ok_or(OpenError::Descriptors { expected, found })?;

        let pid = Pid::from_raw(i32::try_from(live.pid).map_err(|_| OpenError::NoProcess { pid: live.pid })?);
        // Permissions are checked before addresses, so nothing needs to be mapped at the one that is tried.
        let refused = match (live.reader, vm_refusal(pid)) {
            (Reader::Vm, Some(error)) => return Err(OpenError::Reader { pid: live.pid, error: error.into() }),
            (Reader::Mem, _) => true,
            (_, refusal) => refusal.is_some(),
        };
        Ok(Self {
            pid,
            mem,
            pages: descriptors.next().map(Pages::new),
            patches: Patches::new(&live.patches),
            vm: AtomicBool::new(!refused),
            least: if live.reader == Reader::Vm { 0 } else { WORTH_TWO_CALLS },
            below_stack: live.below_stack,
        })
    }

    /// Fills `buffer`, and says how far and why it came no farther.
    fn fill(&self, address: u64, buffer: &mut [u8]) -> (usize, Option<Stop>) {
        let length = buffer.len() as u64;
        match AddressRange::sized(address, length).intersect(self.below_stack) {
            None => self.fill_beside_stack(address, buffer),
            Some(below) if below.start == address => (0, Some(Stop::Unreadable)),
            Some(below) => {
                let (read, stop) = self.fill_beside_stack(address, &mut buffer[..(below.start - address) as usize]);
                (read, stop.or(Some(Stop::Unreadable)))
            }
        }
    }

    fn fill_beside_stack(&self, address: u64, buffer: &mut [u8]) -> (usize, Option<Stop>) {
        if buffer.len() < self.least || !self.vm.load(Relaxed) {
            return self.fill_mem(address, buffer);
        }
        let (read, stop) = self.fill_vm(address, buffer);
        match stop {
            None => match self.fill_mem(address, &mut [0]) {
                // What was read may be another program's, or another process's.
                (_, Some(Stop::Gone)) => (0, Some(Stop::Gone)),
                _ => (read, None),
            },
            Some(Stop::Gone) => (0, Some(Stop::Gone)),
            Some(stop) => {
                if let Stop::Refused = stop {
                    self.vm.store(false, Relaxed);
                }
                let (more, stop) = self.fill_mem(address + read as u64, &mut buffer[read..]);
                // If it has ended meanwhile, so may it have before.
                if let Some(Stop::Gone) = stop { (0, stop) } else { (read + more, stop) }
            }
        }
    }

    fn fill_vm(&self, address: u64, buffer: &mut [u8]) -> (usize, Option<Stop>) {
        let mut read = 0;
        while read < buffer.len() {
            match vm_read(self.pid, address + read as u64, &mut buffer[read..]) {
                Ok(0) | Err(Errno::EFAULT | Errno::EINVAL) => return (read, Some(Stop::Unreadable)),
                Ok(length) => read += length,
                Err(Errno::EINTR) => {}
                Err(Errno::ESRCH) => return (read, Some(Stop::Gone)),
                Err(_) => return (read, Some(Stop::Refused)),
            }
        }
        (read, None)
    }

    /// Reads ranges whose bytes come one behind the other, and adds what each came to. Stops where process_vm_readv may not
    /// be used any more.
    fn fill_ranges(&self, ranges: &[AddressRange], buffer: &mut [u8], found: &mut Vec<Result<usize, Fault>>) {
        let mut offset = 0;
        while let Some(left) = ranges.get(found.len()..).filter(|left| !left.is_empty()) {
            let left = &left[..left.len().min(MOST_RANGES)];
            let length: u64 = left.iter().map(|range| range.len()).sum();
            let room = &mut buffer[offset..offset + length as usize];
            let mut read = match vm_read_ranges(self.pid, left, room) {
                Ok(read) => read as u64,
                Err(Errno::EINTR) => continue,
                Err(Errno::EFAULT | Errno::EINVAL) => 0,
                Err(Errno::ESRCH) => {
                    found.extend(left.iter().map(|range| Err(gone(range.start))));
                    offset += length as usize;
                    continue;
                }
                Err(_) => return self.vm.store(false, Relaxed),
            };
            for range in left {
                let length = range.len() as usize;
                if read < range.len() {
                    // Here it stopped; the other way may come farther.
                    found.push(self.read(range.start, &mut buffer[offset..offset + length]));
                    offset += length;
                    break;
                }
                self.patches.lay_over(range.start, &mut buffer[offset..offset + length]);
                found.push(Ok(length));
                read -= range.len();
                offset += length;
            }
        }
    }

    fn fill_mem(&self, address: u64, buffer: &mut [u8]) -> (usize, Option<Stop>) {
        let mut read = 0;
        while read < buffer.len() {
            match self.mem.read_at(&mut buffer[read..], address + read as u64) {
                // There is no end of this file but that of the process.
                Ok(0) => return (read, Some(Stop::Gone)),
                Ok(length) => read += length,
                Err(error) if is_interrupted(&error) => {}
                Err(_) => return (read, Some(Stop::Unreadable)),
            }
        }
        (read, None)
    }
}

/// Why process_vm_readv may not be used on this process; `None` if it may, or if the process has ended.
fn vm_refusal(pid: Pid) -> Option<Errno> {
    match vm_read(pid, 0, &mut [0]) {
        Ok(_) | Err(Errno::EFAULT | Errno::ESRCH) => None,
        Err(error) => Some(error),
    }
}

fn vm_read(pid: Pid, address: u64, buffer: &mut [u8]) -> nix::Result<usize> {
    let base = usize::try_from(address).map_err(|_| Errno::EFAULT)?;
    let remote = [RemoteIoVec { base, len: buffer.len() }];
    process_vm_readv(pid, &mut [IoSliceMut::new(buffer)], &remote)
}

fn vm_read_ranges(pid: Pid, ranges: &[AddressRange], buffer: &mut [u8]) -> nix::Result<usize> {
    let remote = |range: &AddressRange| {
        let base = usize::try_from(range.start).map_err(|_| Errno::EFAULT)?;
        Ok(RemoteIoVec { base, len: range.len() as usize })
    };
    let remote = ranges.iter().map(remote).collect::<nix::Result<Vec<_>>>()?;
    process_vm_readv(pid, &mut [IoSliceMut::new(buffer)], &remote)
}

fn gone(address: u64) -> Fault {
    Fault { address, reason: FaultReason::Gone }
}

impl ReadMemory for LiveMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // No address wraps around within what follows.
        let length = buffer.len().min(usize::try_from(u64::MAX - address).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..length];
        let (read, stop) = self.fill(address, buffer);
        if read == 0 {
            let reason = if let Some(Stop::Gone) = stop { FaultReason::Gone } else { FaultReason::Unreadable };
            return Err(Fault { address, reason });
        }
        self.patches.lay_over(address, &mut buffer[..read]);
        Ok(read)
    }

    fn read_scattered(&self, ranges: &[AddressRange], buffer: &mut [u8]) -> Vec<Result<usize, Fault>> {
        let length: u64 = ranges.iter().map(|range| range.len()).sum();
        let buffer = &mut buffer[..length as usize];
        let mut found = Vec::with_capacity(ranges.len());
        let is_beside_stack = ranges.iter().all(|range| range.intersect(self.below_stack).is_none());
        // Two calls at least: the other way makes one a range.
        if is_beside_stack && (ranges.len() > 2 || buffer.len() >= self.least) && self.vm.load(Relaxed) {
            self.fill_ranges(ranges, buffer, &mut found);
            let first = ranges.first().map_or(0, |range| range.start);
            if let (_, Some(Stop::Gone)) = self.fill_mem(first, &mut [0]) {
                // What was read may be another program's, or another process's.
                return ranges.iter().map(|range| Err(gone(range.start))).collect();
            }
        }
        let done: u64 = ranges[..found.len()].iter().map(|range| range.len()).sum();
        let mut rest = &mut buffer[done as usize..];
        for range in &ranges[found.len()..] {
            let (part, after) = rest.split_at_mut(range.len() as usize);
            found.push(self.read(range.start, part));
            rest = after;
        }
        found
    }

    fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
        match &self.pages {
            Some(pages) => pages.populated(range, swapped),
            None => Populated { runs: vec![range], skipped: Vec::new() },
        }
    }

    fn residency(&self, range: AddressRange) -> Option<Residency> {
        self.pages.as_ref()?.residency(range).ok()
    }
}
