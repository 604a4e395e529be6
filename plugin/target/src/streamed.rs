//! Memory that travels with a task, for a worker on a machine that sees neither the process nor its core file.
//!
//! The debugger's side reads what the task looks at ([`Streamed::read`]), and says of each part of it whether it was read, is
//! known to hold zeros, is in swap, or could not be read. So the worker ([`Streamed::open`]) sees the same as one that reads
//! the target itself.

use crate::pagemap::push_run;
use crate::source::OpenError;
use crate::{AddressRange, Fault, FaultReason, Populated, ReadMemory};
use serde::{Deserialize, Serialize};

/// Tasks end between pages, where their range is cut.
const PAGE: u64 = 4096;

/// No message brings more: what surrounds a task's range goes with it, and that is as large as a regex may match.
const MOST_READ: u64 = 256 << 20;

/// Memory as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streamed {
    start: u64,
    /// From `start` on, without gaps.
    pieces: Vec<Piece>,
    /// The bytes of all pieces that were read, one after the other, as an LZ4 block. Zeros come to next to nothing in it.
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    length: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Read,
    /// Known to hold zeros, in private anonymous memory.
    Zeros,
    /// In swap, and not to be read.
    Swapped,
    Fault(FaultReason),
}

/// What is to be read for a task.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// What it covers.
    pub range: AddressRange,
    /// The region around that: nothing is read beyond it.
    pub region: AddressRange,
    /// How many bytes before and after what it covers it looks at.
    pub margin: u64,
    /// Whether pages that are not there are known to hold zeros ([`Region::is_sparse`](crate::Region::is_sparse)).
    pub sparse: bool,
    /// Whether pages in swap are read.
    pub swapped: bool,
    /// How much of the range is read, in bytes, if there is more of it; what is known to hold zeros does not count.
    pub most: u64,
}

impl Streamed {
    /// Reads what is wanted, but no more than [`Wanted::most`] and the margins. Returns how much of the range that covers,
    /// from its start on; it is never nothing of a range that is something.
    pub fn read(memory: &dyn ReadMemory, wanted: &Wanted) -> (Streamed, AddressRange) {
        let covered = AddressRange::new(wanted.range.start, end_of(memory, wanted));
        let around =
            AddressRange::new(covered.start.saturating_sub(wanted.margin), covered.end.saturating_add(wanted.margin));
        let seen = around.intersect(wanted.region).unwrap_or(covered);
        let mut reading = Reading { memory, pieces: Vec::new(), bytes: Vec::new() };
        let known = known(memory, wanted, seen);
        let mut address = seen.start;
        for (range, kind) in known {
            reading.push(range.start - address, Kind::Zeros);
            match kind {
                Kind::Read => reading.read(range),
                kind => reading.push(range.len(), kind),
            }
            address = range.end;
        }
        reading.push(seen.end - address, Kind::Zeros);
        let bytes = lz4_flex::block::compress(&reading.bytes);
        (Streamed { start: seen.start, pieces: reading.pieces, bytes }, covered)
    }

    /// How many bytes travel.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The memory, in a worker.
    ///
    /// # Errors
    /// [`OpenError::Streamed`] if what came is not what [`read`](Self::read) makes.
    pub fn open(&self) -> Result<StreamedMemory, OpenError> {
        let (mut address, mut offset) = (self.start, 0);
        let mut parts = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let end = address.checked_add(piece.length).ok_or(OpenError::Streamed)?;
            parts.push(Part { range: AddressRange::new(address, end), kind: piece.kind, offset: offset as usize });
            if piece.kind == Kind::Read {
                offset += piece.length;
                if offset > MOST_READ {
                    return Err(OpenError::Streamed);
                }
            }
            address = end;
        }
        let bytes = lz4_flex::block::decompress(&self.bytes, offset as usize).map_err(|_| OpenError::Streamed)?;
        if bytes.len() as u64 != offset {
            return Err(OpenError::Streamed);
        }
        Ok(StreamedMemory { parts, bytes })
    }
}

/// What is known of a range before it is read, in address order. Between what is there, there are zeros.
fn known(memory: &dyn ReadMemory, wanted: &Wanted, range: AddressRange) -> Vec<(AddressRange, Kind)> {
    if !wanted.sparse {
        return vec![(range, Kind::Read)];
    }
    let populated = memory.populated(range, wanted.swapped);
    let read = populated.runs.into_iter().map(|run| (run, Kind::Read));
    let swapped = populated.skipped.into_iter().map(|run| (run, Kind::Swapped));
    let mut known: Vec<_> = read.chain(swapped).collect();
    known.sort_unstable_by_key(|(run, _)| run.start);
    // A source may say what it likes, but not twice, and not of other places.
    let mut position = range.start;
    known.retain_mut(|(run, _)| {
        let rest = AddressRange::new(position, range.end);
        *run = run.intersect(rest).unwrap_or(AddressRange::new(position, position));
        position = run.end;
        !run.is_empty()
    });
    known
}

/// Where a message for the range has to end.
fn end_of(memory: &dyn ReadMemory, wanted: &Wanted) -> u64 {
    let mut room = wanted.most.max(1);
    for (run, kind) in known(memory, wanted, wanted.range) {
        if kind != Kind::Read {
            continue;
        }
        if run.len() > room {
            let end = run.start + room;
            let between = end - end % PAGE;
            return if between > wanted.range.start { between } else { end };
        }
        room -= run.len();
    }
    wanted.range.end
}

/// Memory being read.
struct Reading<'a> {
    memory: &'a dyn ReadMemory,
    pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

impl Reading<'_> {
    fn push(&mut self, length: u64, kind: Kind) {
        match self.pieces.last_mut() {
            _ if length == 0 => {}
            Some(last) if last.kind == kind => last.length += length,
            _ => self.pieces.push(Piece { length, kind }),
        }
    }

    fn read(&mut self, range: AddressRange) {
        let mut address = range.start;
        while address < range.end {
            let before = self.bytes.len();
            self.bytes.resize(before + (range.end - address) as usize, 0);
            match self.memory.read(address, &mut self.bytes[before..]) {
                Ok(length) if length > 0 => {
                    let length = length.min(self.bytes.len() - before);
                    self.bytes.truncate(before + length);
                    self.push(length as u64, Kind::Read);
                    address += length as u64;
                }
                result => {
                    self.bytes.truncate(before);
                    let reason = result.err().map_or(FaultReason::Unreadable, |fault| fault.reason);
                    let next = match reason {
                        // Nothing more can be read, so nothing more is tried.
                        FaultReason::Gone => range.end,
                        _ => self.memory.after_fault(address).clamp(address + 1, range.end),
                    };
                    self.push(next - address, Kind::Fault(reason));
                    address = next;
                }
            }
        }
    }
}

/// Memory that came with a task. Outside of what came, everything faults.
#[derive(Clone, Debug)]
pub struct StreamedMemory {
    parts: Vec<Part>,
    /// Of all parts that were read.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    range: AddressRange,
    kind: Kind,
    /// Where its bytes are, if it was read.
    offset: usize,
}

impl StreamedMemory {
    fn part(&self, address: u64) -> Option<&Part> {
        let after = self.parts.partition_point(|part| part.range.end <= address);
        self.parts.get(after).filter(|part| part.range.contains(address))
    }
}

impl ReadMemory for StreamedMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        let mut read = 0;
        while read < buffer.len() {
            let at = address.saturating_add(read as u64);
            let part = self.part(at);
            let left = part.map_or(0, |part| part.range.end - at);
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len() - read);
            let reason = match part.map(|part| part.kind) {
                Some(Kind::Read) => {
                    let Some(bytes) = self.view(at, length as u64) else { break };
                    buffer[read..][..bytes.len()].copy_from_slice(bytes);
                    read += bytes.len();
                    continue;
                }
                Some(Kind::Zeros) => {
                    buffer[read..][..length].fill(0);
                    read += length;
                    continue;
                }
                Some(Kind::Fault(reason)) => reason,
                Some(Kind::Swapped) | None => FaultReason::Unreadable,
            };
            if read == 0 {
                return Err(Fault { address, reason });
            }
            break;
        }
        Ok(read)
    }

    fn after_fault(&self, address: u64) -> u64 {
        let next = (address / PAGE * PAGE).saturating_add(PAGE);
        match (self.part(address), self.parts.first()) {
            (Some(part), _) => part.range.end,
            (None, Some(first)) if first.range.start > address => next.min(first.range.start),
            (None, _) => next,
        }
    }

    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        let part = self.part(address).filter(|part| part.kind == Kind::Read)?;
        let offset = part.offset + (address - part.range.start) as usize;
        let length = length.min(part.range.end - address) as usize;
        self.bytes.get(offset..offset + length)
    }

    fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
        let mut populated = Populated::default();
        let first = self.parts.partition_point(|part| part.range.end <= range.start);
        let mut address = range.start;
        for part in &self.parts[first..] {
            let Some(common) = part.range.intersect(range) else { break };
            // What did not come has to be read, and found missing.
            push_run(&mut populated.runs, AddressRange::new(address, common.start));
            match part.kind {
                Kind::Read | Kind::Fault(_) => push_run(&mut populated.runs, common),
                Kind::Swapped if swapped => push_run(&mut populated.runs, common),
                Kind::Swapped => push_run(&mut populated.skipped, common),
                Kind::Zeros => {}
            }
            address = common.end;
        }
        push_run(&mut populated.runs, AddressRange::new(address, range.end));
        populated
    }
}
