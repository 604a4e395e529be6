//! The entries of /proc/PID/pagemap: eight bytes a page, in the machine's byte order.

use crate::AddressRange;

/// What Linux tells of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    /// Bytes of an entry.
    pub const SIZE: usize = 8;

    pub const fn is_present(self) -> bool {
        self.0 >> 63 & 1 == 1
    }

    pub const fn is_swapped(self) -> bool {
        self.0 >> 62 & 1 == 1
    }

    /// Whether it is of a file, or of shared memory.
    pub const fn is_file(self) -> bool {
        self.0 >> 61 & 1 == 1
    }

    /// Where the page's content is.
    pub const fn page(self) -> Page {
        match (self.is_present(), self.is_swapped()) {
            (true, _) => Page::Present,
            (false, true) => Page::Swapped,
            (false, false) => Page::Absent,
        }
    }
}

/// Where the content of a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Present,
    Swapped,
    /// Nowhere here: zeros in private anonymous memory, in a file, or in another process's pages.
    Absent,
}

/// The entries in `bytes`; an incomplete one at the end is left out.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let (entries, _) = bytes.as_chunks::<{ Entry::SIZE }>();
    entries.iter().map(|entry| Entry(u64::from_ne_bytes(*entry)))
}

/// Calls `visit` for each run of pages that are not absent, in address order. `bytes` are the entries from the page at
/// `start` on; pages beyond the end of the address space are left out.
pub fn each_run(bytes: &[u8], start: u64, page_size: u64, visit: &mut dyn FnMut(AddressRange, Page)) {
    let mut run = (AddressRange::new(start, start), Page::Absent);
    let mut address = start;
    for entry in entries(bytes) {
        let page = entry.page();
        let Some(next) = address.checked_add(page_size) else { break };
        if page != run.1 {
            if run.1 != Page::Absent {
                visit(run.0, run.1);
            }
            run = (AddressRange::new(address, address), page);
        }
        run.0.end = next;
        address = next;
    }
    if run.1 != Page::Absent {
        visit(run.0, run.1);
    }
}

/// Appends `range` to `runs`, joining it with the last one if it follows without a gap. Ranges must come in address
/// order; empty ones are left out.
pub fn push_run(runs: &mut Vec<AddressRange>, range: AddressRange) {
    if range.is_empty() {
        return;
    }
    match runs.last_mut().filter(|last| last.end == range.start) {
        Some(last) => last.end = range.end,
        None => runs.push(range),
    }
}
