//! The PAGEMAP_SCAN request (Linux 6.7): which pages of a range are of some kind, without a word for each page.

use crate::AddressRange;
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;

pub(super) const PRESENT: u64 = 1 << 3;
pub(super) const SWAPPED: u64 = 1 << 4;
/// The page is the kernel's page of zeros.
const ZERO: u64 = 1 << 5;

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
pub(super) struct Request {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    start: u64,
    end: u64,
    categories: u64,
}

/// Runs that one request brings at most.
const RUNS: usize = 512;

nix::ioctl_readwrite!(pagemap_scan, b'f', 16, Request);

/// Calls `visit` for each run of pages in `range` (page-aligned) that are present or swapped, in address order, with
/// which of both they are. Pages that are the kernel's page of zeros are left out: they take no memory.
///
/// # Errors
/// The kernel's; ENOTTY where it does not know the request. What was visited until then is right.
pub(super) fn scan(pagemap: &File, range: AddressRange, visit: &mut dyn FnMut(AddressRange, u64)) -> Result<(), Errno> {
    let mut runs = [Run::default(); RUNS];
    let mut start = range.start;
    while start < range.end {
        let mut request = Request {
            size: size_of::<Request>() as u64,
            start,
            end: range.end,
            vec: runs.as_mut_ptr() as u64,
            vec_len: RUNS as u64,
            category_inverted: ZERO,
            category_mask: ZERO,
            category_anyof_mask: PRESENT | SWAPPED,
            return_mask: PRESENT | SWAPPED,
            ..Request::default()
        };
        // SAFETY: the request is the struct that the kernel expects for this number, its `vec` points to `vec_len`
        // runs that live until the call returns and are not otherwise borrowed, and any bits are a valid `Run`.
        let found = match unsafe { pagemap_scan(pagemap.as_raw_fd(), &raw mut request) } {
            Ok(found) => usize::try_from(found).unwrap_or(0).min(RUNS),
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
        for run in &runs[..found] {
            visit(AddressRange::new(run.start, run.end), run.categories);
        }
        if request.walk_end <= start {
            // It came no farther: rather an error than a loop without end.
            return Err(Errno::EIO);
        }
        start = request.walk_end;
    }
    Ok(())
}
