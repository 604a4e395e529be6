//! Recycled shared memory for large payloads.

use super::lent::{is_alone, lend, share};
use super::received;
use crate::bulk;
use crate::codec::{Descriptor, serialize_descriptor};
use crate::memory::{OutOfBounds, SharedMemory};
use nix::fcntl::{FallocateFlags, fallocate};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Segments are whole multiples of so many bytes.
const GRAIN: usize = 64 * 1024;
/// After so long without use a segment's pages are given back to the system; it is then as a new one.
const COLD: Duration = Duration::from_secs(10);

/// Why there is no segment.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentsError {
    /// With it, there would be more than the limit. Segments that others have count until they let them go.
    #[error("{size} bytes more would exceed the limit of {limit} bytes; wait until others let theirs go")]
    Full {
        /// How many bytes were asked for.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The process has no descriptor or address space left.
    #[error("no shared memory: {0}")]
    System(Arc<io::Error>),
}

impl From<io::Error> for SegmentsError {
    fn from(error: io::Error) -> SegmentsError {
        SegmentsError::System(Arc::new(error))
    }
}

/// A supply of shared memory in large pieces, which are used again: the first time that memory is written, the system must find
/// and clear each page of it, which takes several times as long as writing it once more.
///
/// A [`Segment`] that is dropped comes back, as soon as nobody else has it: a message that it is in, or a process that has
/// received it, which may be killed. All segments together have at most the size that is given as the limit. What was
/// not used for ten seconds has its pages given back to the system at the next use of the supply.
///
/// ```
/// use multiprocessing::Segments;
///
/// let segments = Segments::new(256 << 20);
/// let segment = segments.take(1 << 20)?;
/// segment.write(0, b"a large payload")?;
/// drop(segment);
/// let again = segments.take(1 << 20)?;
/// assert_eq!((segments.total(), again.len()), (1 << 20, 1 << 20));
/// assert!(segments.take(1 << 30).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segments {
    supply: Arc<Supply>,
}

#[derive(Debug)]
struct Supply {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of all segments, whoever has them.
    total: usize,
    /// Those that can be taken. What was used last is the last.
    idle: Vec<Kept>,
    /// Those that were dropped here, while others still had them.
    away: Vec<SharedMemory>,
}

#[derive(Debug)]
struct Kept {
    memory: SharedMemory,
    since: Instant,
    cold: bool,
}

impl Segments {
    /// A supply of at most so many bytes, of which none are taken yet.
    pub fn new(limit: usize) -> Segments {
        Segments { supply: Arc::new(Supply { limit, state: Mutex::default() }) }
    }

    /// A segment of `size` bytes, which hold anything: zeros, or what its last user has left there.
    ///
    /// # Errors
    /// The limit; or the process has no descriptor or address space left.
    pub fn take(&self, size: usize) -> Result<Segment, SegmentsError> {
        let full = || SegmentsError::Full { size, limit: self.supply.limit };
        let capacity = size.max(1).checked_next_multiple_of(GRAIN).ok_or_else(full)?;
        let mut state = self.supply.state();
        state.tidy();
        let fits = |kept: &Kept| kept.memory.len() >= capacity && kept.memory.len() / 2 <= capacity;
        let memory = match state.idle.iter().rposition(fits) {
            Some(index) => state.idle.remove(index).memory,
            None => {
                while state.total.saturating_add(capacity) > self.supply.limit && !state.idle.is_empty() {
                    state.total -= state.idle.remove(0).memory.len();
                }
                if state.total.saturating_add(capacity) > self.supply.limit {
                    return Err(full());
                }
                let memory = SharedMemory::new(capacity)?;
                share(memory.as_fd())?;
                state.total += capacity;
                memory
            }
        };
        Ok(Segment { length: size, memory: Memory::Own(Some(memory), Arc::clone(&self.supply)) })
    }

    /// How many bytes all segments have, whoever has them now.
    pub fn total(&self) -> usize {
        self.supply.state().total
    }

    /// Gives the idle segments back to the system.
    pub fn trim(&self) {
        let mut state = self.supply.state();
        state.tidy();
        let idle = std::mem::take(&mut state.idle);
        state.total -= idle.iter().map(|kept| kept.memory.len()).sum::<usize>();
    }

    /// Unmaps what this process has received from others and does not use now. Up to eight segments, of at most 1 GiB together,
    /// are kept mapped for the next time that they come.
    pub fn unmap_received() {
        received::tidy(true);
    }
}

impl Supply {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, memory: SharedMemory) {
        let mut state = self.state();
        state.away.push(memory);
        state.tidy();
    }
}

impl State {
    /// Takes back what others have let go, and gives the pages of what was not used for long to the system.
    fn tidy(&mut self) {
        let now = Instant::now();
        for memory in std::mem::take(&mut self.away) {
            if !is_alone(memory.as_fd()) {
                // To ask has cost the supply's own lock. If it cannot be had now, receivers map the segment anew, no more.
                let _ = share(memory.as_fd());
                self.away.push(memory);
                continue;
            }
            let _ = share(memory.as_fd());
            self.idle.push(Kept { memory, since: now, cold: false });
        }
        for kept in self.idle.iter_mut().filter(|kept| !kept.cold && now.duration_since(kept.since) > COLD) {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            // If the system refuses, the pages stay, and are as good as before.
            let _ = fallocate(kept.memory.as_fd(), flags, 0, kept.memory.len() as libc::off_t);
            kept.cold = true;
        }
    }
}

/// A piece of shared memory from a [`Segments`].
///
/// It can be a part of any message between processes: that hands the memory over without copying it, in some microseconds. The
/// receiver reads it where it is, and maps it only the first time that it comes. Whoever has it can write it, and so can a
/// process that once had it: nothing else holds others back but that the work is divided so.
pub struct Segment {
    length: usize,
    memory: Memory,
}

enum Memory {
    /// Of a supply in this process; there is none only while it is being dropped.
    Own(Option<SharedMemory>, Arc<Supply>),
    /// Of another process, which sees by the descriptor that it is in use.
    Lent(Arc<SharedMemory>, Option<File>),
}

impl Segment {
    /// How many bytes were asked for.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies bytes from `offset` on into `to`.
    ///
    /// # Errors
    /// The range is not inside of it.
    pub fn read(&self, offset: usize, to: &mut [u8]) -> Result<(), OutOfBounds> {
        self.check(offset, to.len())?;
        self.memory().read(offset, to)
    }

    /// Copies `from` to `offset` and on, in no particular order: nobody else should use that range meanwhile.
    ///
    /// # Errors
    /// The range is not inside of it.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), OutOfBounds> {
        self.check(offset, from.len())?;
        bulk::copy_in(self.memory().cells(offset, from.len())?, from);
        Ok(())
    }

    /// All of its bytes, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        self.read(0, &mut bytes).expect("the length was checked when this was made");
        bytes
    }

    /// The memory that it is in, which can be larger.
    pub fn memory(&self) -> &SharedMemory {
        match &self.memory {
            Memory::Own(memory, _) => memory.as_ref().expect("only a segment that is being dropped has none"),
            Memory::Lent(memory, _) => memory,
        }
    }

    fn check(&self, offset: usize, length: usize) -> Result<(), OutOfBounds> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(OutOfBounds { offset, length, size: self.length }),
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        match &mut self.memory {
            Memory::Own(memory, supply) => {
                if let Some(memory) = memory.take() {
                    supply.put_back(memory);
                }
            }
            Memory::Lent(_, file) => drop(file.take()),
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segment({} bytes)", self.length)
    }
}

impl Serialize for Segment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lent = lend(self.memory().as_fd()).map_err(S::Error::custom)?;
        Parts { length: self.length as u64, lent }.serialize(serializer)
    }
}

#[derive(Serialize)]
struct Parts {
    length: u64,
    #[serde(serialize_with = "as_descriptor")]
    lent: File,
}

fn as_descriptor<S: Serializer>(file: &File, serializer: S) -> Result<S::Ok, S::Error> {
    serialize_descriptor(file.as_fd(), serializer)
}

impl<'de> Deserialize<'de> for Segment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Segment, D::Error> {
        let (length, lent) = <(u64, Descriptor)>::deserialize(deserializer)?;
        let (memory, lent) = received::map(lent.into_inner()).map_err(D::Error::custom)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= memory.len());
        let length = length.ok_or_else(|| D::Error::custom("a segment that is longer than its memory"))?;
        Ok(Segment { length, memory: Memory::Lent(memory, Some(lent)) })
    }
}
