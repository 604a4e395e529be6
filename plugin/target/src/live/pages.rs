//! Which pages of a live process are in memory, in swap, or nowhere.

use super::{page_size, scan};
use crate::pagemap::{self, Entry, Page};
use crate::{AddressRange, Populated, Residency};
use nix::errno::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Entries of a pagemap that are read at once: 32 MiB of memory in 64 KiB, where a page has 4 KiB.
const CHUNK: u64 = 8192;

/// The pages of a process, by its /proc/PID/pagemap.
#[derive(Debug)]
pub(super) struct Pages {
    pagemap: File,
    page_size: u64,
    /// Whether the kernel is asked for runs. It is tried once, and not again after it has been refused.
    scan: AtomicBool,
}

impl Pages {
    pub(super) fn new(pagemap: File) -> Self {
        Self { pagemap, page_size: page_size(), scan: AtomicBool::new(true) }
    }

    pub(super) fn populated(&self, range: AddressRange, swapped: bool) -> Populated {
        let mut populated = Populated::default();
        let mut known = range.start;
        let end = self.each_run(range, &mut |run, page| {
            known = run.end;
            let runs = if page == Page::Swapped && !swapped { &mut populated.skipped } else { &mut populated.runs };
            pagemap::push_run(runs, run);
        });
        if end.is_err() {
            // What is not known must be read.
            pagemap::push_run(&mut populated.runs, AddressRange::new(known, range.end));
        }
        populated
    }

    pub(super) fn residency(&self, range: AddressRange) -> io::Result<Residency> {
        let mut residency = Residency::default();
        self.each_run(range, &mut |run, page| match page {
            Page::Present => residency.resident += run.len(),
            Page::Swapped => residency.swapped += run.len(),
            Page::Absent => {}
        })?;
        Ok(residency)
    }

    /// Calls `visit` for each run of pages that are present or swapped, in address order and cut to `range`.
    fn each_run(&self, range: AddressRange, visit: &mut dyn FnMut(AddressRange, Page)) -> io::Result<()> {
        let size = self.page_size;
        let start = range.start / size * size;
        let end = range.end.checked_next_multiple_of(size).unwrap_or(range.end / size * size);
        let pages = AddressRange::new(start, end);
        let mut visit = |run: AddressRange, page| {
            if let Some(run) = run.intersect(range) {
                visit(run, page);
            }
        };

        if self.scan.load(Relaxed) {
            let mut visited = false;
            let scanned = scan::scan(&self.pagemap, pages, &mut |run, categories| {
                visited = true;
                visit(run, if categories & scan::PRESENT != 0 { Page::Present } else { Page::Swapped });
            });
            match scanned {
                Err(Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP) if !visited => self.scan.store(false, Relaxed),
                // The scan of a process that is just ending finds no pages, as if they were not there. Its entries cannot be
                // read at all.
                Ok(()) if !visited && !pages.is_empty() => {
                    let mut entry = [0; Entry::SIZE];
                    return self.pagemap.read_exact_at(&mut entry, start / size * Entry::SIZE as u64);
                }
                scanned => return scanned.map_err(Into::into),
            }
        }
        self.each_entry_run(pages, &mut visit)
    }

    /// As [`Self::each_run`], entry by entry, as every kernel can. `pages` are page-aligned.
    fn each_entry_run(&self, pages: AddressRange, visit: &mut dyn FnMut(AddressRange, Page)) -> io::Result<()> {
        let most = CHUNK.min(pages.len() / self.page_size) as usize;
        let mut entries = vec![0; most * Entry::SIZE];
        let mut start = pages.start;
        while start < pages.end {
            let count = ((pages.end - start) / self.page_size).min(CHUNK);
            let chunk = &mut entries[..count as usize * Entry::SIZE];
            self.pagemap.read_exact_at(chunk, start / self.page_size * Entry::SIZE as u64)?;
            pagemap::each_run(chunk, start, self.page_size, visit);
            start += count * self.page_size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Both ways tell the same of this very process, but for pages of zeros, which plain entries cannot tell.
    #[test]
    fn scan_and_entries_agree() {
        let page = page_size() as usize;
        let mut memory = vec![0_u8; 64 * page];
        for index in [10, 11, 12, 20, 40] {
            memory[index * page] = 1;
        }
        let start = memory.as_ptr() as u64;
        let range = AddressRange::sized(start + 100, memory.len() as u64 - 200);

        let open = || Pages::new(File::open("/proc/self/pagemap").unwrap());
        let (scanning, plain) = (open(), open());
        plain.scan.store(false, Relaxed);
        let expected = plain.populated(range, true);
        assert_eq!(scanning.populated(range, true), expected);
        assert_eq!(scanning.residency(range).unwrap(), plain.residency(range).unwrap());
        assert!(expected.runs.len() >= 3, "{expected:?}");
        assert!(expected.runs.iter().all(|run| run.intersect(range) == Some(*run)));
    }

    /// A file in place of the pagemap, so that there are pages in swap.
    #[test]
    fn pages_in_swap_are_left_out_if_asked() {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        let entries = [0, PRESENT | 5, SWAPPED | 6, SWAPPED, 0, PRESENT, PRESENT];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&entries.map(u64::to_ne_bytes).concat()).unwrap();
        let pages = Pages::new(file);
        let size = pages.page_size;
        let run = |from: u64, to: u64| AddressRange::new(from * size, to * size);

        let all = pages.populated(run(0, 7), true);
        assert_eq!(all, Populated { runs: vec![run(1, 4), run(5, 7)], skipped: vec![] });
        let present = pages.populated(run(0, 7), false);
        assert_eq!(present, Populated { runs: vec![run(1, 2), run(5, 7)], skipped: vec![run(2, 4)] });
        let residency = pages.residency(run(2, 6)).unwrap();
        assert_eq!(residency, Residency { resident: size, swapped: 2 * size });
        // Where the file ends, nothing is known.
        assert_eq!(pages.populated(run(4, 9), false).runs, [run(4, 9)]);
    }

    #[test]
    fn a_pagemap_that_cannot_be_read_says_that_everything_must_be_read() {
        let pages = Pages::new(File::open("/dev/null").unwrap());
        let range = AddressRange::new(4096, 8192);
        assert_eq!(pages.populated(range, true), Populated { runs: vec![range], skipped: vec![] });
        assert!(!pages.scan.load(Relaxed));
        assert!(pages.residency(range).is_err());
    }
}
