//! Memory that only a debugger can read, handed to workers through shared memory.
//!
//! The debugger's process reads what a task needs (its range, and as much around it as the task looks at) into a free
//! slot, and sends what it has [`Filled`] with the task. The worker reads within that, in place. Once the task has ended
//! in whatever way, the slot is released and filled anew.

use crate::pagemap::push_run;
use crate::source::{OpenError, Source};
use crate::{AddressRange, Fault, FaultReason, ReadMemory};
use memmap2::{Mmap, MmapMut, MmapOptions};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// What the slots look like: what a worker must know to find them. Its descriptor: the shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// The number of slots.
    pub count: usize,
    /// The bytes of each.
    pub size: usize,
}

/// What a slot holds, as it is sent with a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    pub slot: usize,
    /// What was to be read. The slot's first byte is that at its start.
    pub range: AddressRange,
    /// What could be read of it, in address order, disjoint and not adjacent.
    pub runs: Vec<AddressRange>,
    /// Why the rest could not be read.
    pub reason: FaultReason,
}

/// The slots, in the process that fills them.
#[derive(Debug)]
pub struct Slots {
    layout: Relayed,
    descriptor: OwnedFd,
    memory: MmapMut,
    /// Whether each is free.
    free: Vec<bool>,
}

impl Slots {
    /// Makes `count` slots of `size` bytes each. Memory is taken only as they are filled.
    ///
    /// # Errors
    /// The system's, or [`io::ErrorKind::InvalidInput`] if there is nothing in them, or too much.
    pub fn new(count: usize, size: usize) -> io::Result<Self> {
        let length = count.checked_mul(size).filter(|length| *length > 0);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let signed = i64::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let descriptor = memfd_create("mp-scan relay", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        nix::unistd::ftruncate(&descriptor, signed)?;
        // SAFETY: nobody else has the descriptor yet; those who will have it can neither shrink it, nor write to it, as
        // is seen to next.
        let memory = unsafe { MmapOptions::new().len(length).map_mut(&descriptor)? };
        // We go on writing through the mapping that is there already; nobody can make another one.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_FUTURE_WRITE;
        fcntl(&descriptor, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self { layout: Relayed { count, size }, descriptor, memory, free: vec![true; count] })
    }

    /// What workers open, together with the [`descriptor`](Self::descriptor).
    pub fn source(&self) -> Source {
        Source::Relayed(self.layout)
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The number of slots that can be filled.
    pub fn free(&self) -> usize {
        self.free.iter().filter(|free| **free).count()
    }

    /// Reads `range` into a free slot, as far as it can be read, and no farther than the slot has room. `None` if no slot
    /// is free.
    ///
    /// It takes as long as `memory` does: give slots that take a time for which a user would wait.
    pub fn fill(&mut self, memory: &dyn ReadMemory, range: AddressRange) -> Option<Filled> {
        let slot = self.free.iter().position(|free| *free)?;
        self.free[slot] = false;
        let range = AddressRange::sized(range.start, range.len().min(self.layout.size as u64));
        let bytes = &mut self.memory[slot * self.layout.size..][..range.len() as usize];
        let (runs, reason) = read_runs(memory, range, bytes);
        Some(Filled { slot, range, runs, reason })
    }

    /// Makes a slot free. Whoever was given what it held must not read it any more.
    pub fn release(&mut self, slot: usize) {
        if let Some(free) = self.free.get_mut(slot) {
            *free = true;
        }
    }
}

/// Reads what can be read of `range` into `bytes`, which has its length. Once the process has gone, nothing more can be.
fn read_runs(memory: &dyn ReadMemory, range: AddressRange, bytes: &mut [u8]) -> (Vec<AddressRange>, FaultReason) {
    let mut runs = Vec::new();
    let mut address = range.start;
    while address < range.end {
        match memory.read(address, &mut bytes[(address - range.start) as usize..]) {
            Ok(length) if length > 0 => {
                let next = address.saturating_add(length as u64).min(range.end);
                push_run(&mut runs, AddressRange::new(address, next));
                address = next;
            }
            Err(Fault { reason: FaultReason::Gone, .. }) => return (runs, FaultReason::Gone),
            _ => address = memory.after_fault(address),
        }
    }
    (runs, FaultReason::Relay)
}

/// The slots, in a worker.
#[derive(Clone, Debug)]
pub struct Relay {
    layout: Relayed,
    memory: Arc<Mmap>,
}

impl Relayed {
    /// Maps the slots here. `descriptors` are those that came with the source: one.
    ///
    /// # Errors
    /// [`OpenError::Descriptors`], or if they cannot be mapped.
    pub fn open(&self, descriptors: Vec<OwnedFd>) -> Result<Relay, OpenError> {
        let found = descriptors.len();
        let [descriptor] = &descriptors[..] else { return Err(OpenError::Descriptors { expected: 1, found }) };
        let system = |error| OpenError::System { what: "mapping relayed memory", error };
        let wrong = || system(io::ErrorKind::InvalidData.into());
        let length = self.count.checked_mul(self.size).ok_or_else(wrong)?;
        let file = File::from(descriptor.try_clone().map_err(system)?);
        if file.metadata().map_err(system)?.len() != length as u64 {
            return Err(wrong());
        }
        // SAFETY: the file is sealed against shrinking. Its bytes change when a slot is filled, which happens only after
        // the task that was given it has ended; whoever reads longer reads bytes of which nothing is assumed.
        let memory = unsafe { MmapOptions::new().len(length).map(&file) }.map_err(system)?;
        Ok(Relay { layout: *self, memory: Arc::new(memory) })
    }
}

impl Relay {
    /// What a slot holds, as memory: outside of what was read, everything faults.
    ///
    /// # Errors
    /// [`OpenError::Slot`] if there is no such slot, or if it has no room for that much.
    pub fn memory(&self, filled: &Filled) -> Result<RelayedMemory, OpenError> {
        let is_within = |run: &AddressRange| run.intersect(filled.range) == Some(*run);
        let is_sorted = filled.runs.is_sorted_by(|a, b| a.end < b.start);
        if filled.slot >= self.layout.count
            || filled.range.start > filled.range.end
            || filled.range.len() > self.layout.size as u64
            || !filled.runs.iter().all(is_within)
            || !is_sorted
        {
            return Err(OpenError::Slot { slot: filled.slot });
        }
        Ok(RelayedMemory { relay: self.clone(), filled: filled.clone() })
    }
}

/// The memory that one slot holds.
#[derive(Debug)]
pub struct RelayedMemory {
    relay: Relay,
    filled: Filled,
}

impl ReadMemory for RelayedMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let bytes = self.view(address, buffer.len() as u64);
        let bytes = bytes.ok_or(Fault { address, reason: self.filled.reason })?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn after_fault(&self, address: u64) -> u64 {
        let runs = &self.filled.runs;
        let next =
            runs.get(runs.partition_point(|run| run.start <= address)).map_or(self.filled.range.end, |run| run.start);
        next.max(address.saturating_add(1))
    }

    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        let runs = &self.filled.runs;
        let after = runs.partition_point(|run| run.start <= address);
        let run = runs[..after].last().filter(|run| run.contains(address))?;
        let offset = (address - self.filled.range.start) as usize;
        let length = length.min(run.end - address) as usize;
        let size = self.relay.layout.size;
        self.relay.memory.get(self.filled.slot * size..)?.get(offset..offset + length)
    }
}
