//! The target's address space.

use crate::{AddressRange, Layout};
use serde::{Deserialize, Serialize};

bitflags::bitflags! {
    /// What the target may do with a region.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    pub struct Permissions: u8 {
        const READ = 1;
        const WRITE = 2;
        const EXECUTE = 4;
    }
}

/// What a region's pages come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Backing {
    /// Private memory without a file. Linux may give it a name (`prctl(PR_SET_VMA_ANON_NAME)`).
    Anonymous { name: Option<String> },
    /// `[heap]`: what brk has extended.
    Heap,
    /// `[stack]`: the main thread's.
    Stack,
    /// A file's bytes from `offset` on. `deleted` as Linux marks it: the path names another file now, or none.
    File { path: String, offset: u64, deleted: bool },
    /// Memory that is shared with other processes: shared anonymous, memfd, System V, /dev/shm.
    Shared { name: String, offset: u64 },
    /// A mapping of the kernel's or of a device's: `[vdso]`, `[vvar]`, `[vsyscall]`, /dev/….
    Special { name: String },
    /// The source does not say.
    Unknown,
}

/// A run of contiguous mappings with the same permissions and backing (contiguous in the file too).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    pub range: AddressRange,
    pub permissions: Permissions,
    pub backing: Backing,
    /// Whether writes are seen by other processes (`s` in /proc/PID/maps).
    pub shared: bool,
    /// Whether a userfaultfd handler fills its missing pages.
    pub userfault: bool,
}

impl Region {
    /// Whether pages that are neither present nor swapped hold zeros: only in private anonymous memory that no
    /// userfaultfd handler fills.
    pub fn is_sparse(&self) -> bool {
        let anonymous = matches!(self.backing, Backing::Anonymous { .. } | Backing::Heap | Backing::Stack);
        anonymous && !self.shared && !self.userfault
    }

    /// Whether a scan reads it unless told otherwise: it has `r`, and is not the kernel's own (whose pages cannot be
    /// read from outside, but for the vdso).
    pub fn is_readable(&self) -> bool {
        let special = matches!(&self.backing, Backing::Special { name } if name != "[vdso]");
        self.permissions.contains(Permissions::READ) && !special
    }

    /// Whether `next` is more of the same: it follows without a gap, with the same permissions and backing, and where a
    /// file is behind both, its bytes follow as well.
    pub fn continues_in(&self, next: &Self) -> bool {
        let length = self.range.len();
        let follows = |offset: u64, next: u64| offset.checked_add(length) == Some(next);
        let backing = match (&self.backing, &next.backing) {
            (
                Backing::File { path, offset, deleted },
                Backing::File { path: next_path, offset: next_offset, deleted: next_deleted },
            ) => path == next_path && deleted == next_deleted && follows(*offset, *next_offset),
            (Backing::Shared { name, offset }, Backing::Shared { name: next_name, offset: next_offset }) => {
                name == next_name && follows(*offset, *next_offset)
            }
            (backing, next) => backing == next,
        };
        let flags = |region: &Self| (region.permissions, region.shared, region.userfault);
        self.range.end == next.range.start && backing && flags(self) == flags(next)
    }

    /// Its file's path, or the name that Linux gives it.
    pub fn name(&self) -> Option<&str> {
        match &self.backing {
            Backing::Anonymous { name } => name.as_deref(),
            Backing::Heap => Some("[heap]"),
            Backing::Stack => Some("[stack]"),
            Backing::File { path, .. } => Some(path),
            Backing::Shared { name, .. } | Backing::Special { name } => Some(name),
            Backing::Unknown => None,
        }
    }
}

/// All regions of a target, in address order and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSpace {
    pub layout: Layout,
    pub regions: Vec<Region>,
}

impl AddressSpace {
    /// Whether pages of `range` that are neither present nor swapped hold zeros: whether all regions that it touches are
    /// [sparse](Region::is_sparse).
    pub fn is_sparse(&self, range: AddressRange) -> bool {
        let first = self.regions.partition_point(|region| region.range.end <= range.start);
        let mut touched = self.regions[first..].iter().take_while(|region| region.range.start < range.end);
        touched.all(Region::is_sparse)
    }

    /// The region that `address` lies in.
    pub fn region_at(&self, address: u64) -> Option<&Region> {
        let after = self.regions.partition_point(|region| region.range.start <= address);
        self.regions[..after].last().filter(|region| region.range.contains(address))
    }
}
