//! Segments that came from other processes: mapped once, however often they come.

use super::lent::{is_alone, reopen};
use crate::memory::SharedMemory;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

/// How many mappings are kept for the next time, and of how many bytes together.
const COUNT: usize = 8;
const BYTES: usize = 1 << 30;

struct Mapped {
    identity: (u64, u64),
    memory: Arc<SharedMemory>,
}

/// What was used last is the last.
static MAPPED: Mutex<Vec<Mapped>> = Mutex::new(Vec::new());

/// The memory behind a descriptor that was lent.
pub(super) fn map(lent: OwnedFd) -> io::Result<(Arc<SharedMemory>, File)> {
    let lent = File::from(lent);
    let facts = lent.metadata()?;
    let identity = (facts.dev(), facts.ino());
    let mut mapped = MAPPED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = mapped.iter().position(|known| known.identity == identity).map(|index| mapped.remove(index));
    let entry = match known {
        Some(known) => known,
        None => {
            // Opened anew, since a mapping keeps what it was made from open, and that must not look lent.
            let memory = Arc::new(SharedMemory::from_descriptor(reopen(lent.as_fd())?.into())?);
            Mapped { identity, memory }
        }
    };
    let memory = Arc::clone(&entry.memory);
    mapped.push(entry);
    unmap(&mut mapped, false);
    Ok((memory, lent))
}

/// Lets go of what is not in use: all of it, or what is too much or was given up by its maker.
pub(super) fn tidy(all: bool) {
    unmap(&mut MAPPED.lock().unwrap_or_else(PoisonError::into_inner), all);
}

fn unmap(mapped: &mut Vec<Mapped>, all: bool) {
    let in_use = |known: &Mapped| Arc::strong_count(&known.memory) > 1;
    // The maker has a lock of its own on it as long as it keeps it.
    mapped.retain(|known| in_use(known) || !all && !is_alone(known.memory.as_fd()));
    let too_much = |mapped: &[Mapped]| {
        mapped.len() > COUNT || mapped.iter().map(|known| known.memory.len()).sum::<usize>() > BYTES
    };
    while too_much(mapped)
        && let Some(oldest) = mapped.iter().position(|known| !in_use(known))
    {
        mapped.remove(oldest);
    }
}
