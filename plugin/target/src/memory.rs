//! Reading the target's memory.

use crate::AddressRange;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// No machine has smaller pages.
const PAGE: u64 = 4096;

/// The target's bytes, wherever they come from.
///
/// # Units and bounds
/// Addresses and lengths are bytes. A read may be of any alignment and length. It never writes to the target, never
/// makes it run, and never makes its resident size grow where [`populated`](Self::populated) says that there is nothing.
pub trait ReadMemory: Send + Sync {
    /// Fills the front of `buffer` with what lies at `address`, and returns how many bytes it filled.
    ///
    /// Short counts happen exactly where memory ends: after `Ok(n)` with `n < buffer.len()`, `address + n` cannot be
    /// read. `n` is at least 1, unless `buffer` is empty.
    ///
    /// # Errors
    /// A [`Fault`] at `address` if its very first byte cannot be read.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault>;

    /// Where reading may go on after a fault at `address`: above it, and no farther than what follows can be read. The
    /// default is the next page of 4096 bytes, for memory that comes in pages.
    fn after_fault(&self, address: u64) -> u64 {
        (address / PAGE * PAGE).saturating_add(PAGE)
    }

    /// The bytes at `address`, in place and without copying, where this memory is mapped here: as many as are
    /// contiguous, at most `length`. `None` where they are not mapped here; then [`read`](Self::read) may still work.
    fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
        let _ = (address, length);
        None
    }

    /// Reads many ranges with few calls. `buffer` takes their bytes one behind the other: each range has as many bytes of
    /// it as it is long, whether or not they can be read. Returns for each what [`read`](Self::read) would; what is left
    /// in the buffer of what could not be read means nothing.
    ///
    /// # Panics
    /// If the buffer is shorter than all ranges together.
    fn read_scattered(&self, ranges: &[AddressRange], buffer: &mut [u8]) -> Vec<Result<usize, Fault>> {
        let mut rest = buffer;
        let read = |range: &AddressRange| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(range.len() as usize);
            rest = after;
            self.read(range.start, part)
        };
        ranges.iter().map(read).collect()
    }

    /// The parts of `range` that hold anything, in order, each within `range`. What lies between them is known to hold
    /// zeros. Ask only within private anonymous memory ([`Region::is_sparse`](crate::Region::is_sparse)): elsewhere a page that is not present
    /// here may hold what others wrote. With `swapped` false, pages in swap are left out as well (their content is
    /// then unknown, and `Populated::swapped` counts them).
    ///
    /// The default knows nothing and returns the whole range.
    fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
        let _ = swapped;
        Populated { runs: vec![range], skipped: Vec::new() }
    }

    /// How much of `range` is in memory and in swap, in bytes: of files and shared memory, what this process has mapped
    /// of it. `None` where that is not known, as of a core file. It reads no memory, and so makes none resident.
    fn residency(&self, range: AddressRange) -> Option<Residency> {
        let _ = range;
        None
    }
}

/// Memory behind a pointer is memory.
macro_rules! pointer {
    ($pointer:ty) => {
        impl<M: ReadMemory + ?Sized> ReadMemory for $pointer {
            fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
                (**self).read(address, buffer)
            }

            fn after_fault(&self, address: u64) -> u64 {
                (**self).after_fault(address)
            }

            fn view(&self, address: u64, length: u64) -> Option<&[u8]> {
                (**self).view(address, length)
            }

            fn read_scattered(&self, ranges: &[AddressRange], buffer: &mut [u8]) -> Vec<Result<usize, Fault>> {
                (**self).read_scattered(ranges, buffer)
            }

            fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
                (**self).populated(range, swapped)
            }

            fn residency(&self, range: AddressRange) -> Option<Residency> {
                (**self).residency(range)
            }
        }
    };
}

pointer!(&M);
pointer!(Arc<M>);

/// The answer of [`ReadMemory::residency`], in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residency {
    pub resident: u64,
    pub swapped: u64,
}

/// The answer of [`ReadMemory::populated`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Populated {
    /// Runs of pages that are to be read, in address order, disjoint and not adjacent.
    pub runs: Vec<AddressRange>,
    /// Runs of pages in swap that are not to be read, likewise. Empty when swapped pages were asked for.
    pub skipped: Vec<AddressRange>,
}

/// A read that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at {address:#x}")]
pub struct Fault {
    /// The first address that could not be read.
    pub address: u64,
    pub reason: FaultReason,
}

/// Why memory could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum FaultReason {
    /// Nothing is mapped there, or it may not be read.
    #[error("unreadable memory")]
    Unreadable,
    /// The process has ended, or runs another program now.
    #[error("the process has ended")]
    Gone,
    /// The core file ends before it, or leaves it to a file that is not there or has changed.
    #[error("not in the core file")]
    NotInCore,
    /// The core file is shorter than its headers say.
    #[error("the core file is truncated")]
    Truncated,
    /// The debugger that relays it could not read it.
    #[error("the debugger could not read it")]
    Relay,
}
