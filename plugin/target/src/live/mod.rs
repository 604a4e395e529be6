//! A live process on this machine.
//!
//! The debugger's process opens /proc/PID/mem and pagemap, for it may, and passes the descriptors to workers, which on
//! their own may not.

mod identity;
mod memory;
mod pages;
mod patches;
mod proc;
mod scan;
mod threads;

pub use identity::{AuxvCopy, Identity, identity, is_descendant, is_held, runs, tracer};
pub use memory::LiveMemory;
pub use patches::Patch;
pub use proc::{Stat, Status, parse_stat, parse_status};
pub use threads::{has_own_ids, own_id, parse_syscall, thread_state};

use crate::source::{OpenError, Opened, Process, Source};
use crate::{AddressRange, AddressSpace, Backing, ByteOrder, Layout, Region, auxv, maps};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// How the bytes of a live process are had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reader {
    /// process_vm_readv where it is allowed, else /proc/PID/mem.
    #[default]
    Auto,
    /// process_vm_readv. It is the faster one.
    Vm,
    /// pread on /proc/PID/mem.
    Mem,
}

/// How a live process is to be read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub reader: Reader,
    /// The bytes that belong where the debugger has put breakpoints.
    pub patches: Vec<Patch>,
}

/// How a live process is read. Its descriptors: /proc/PID/mem, then /proc/PID/pagemap if that could be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    pub pid: u32,
    pub reader: Reader,
    pub patches: Vec<Patch>,
    has_pagemap: bool,
    /// What is not mapped below the first thread's stack.
    below_stack: AddressRange,
}

/// Opens a process. It need not be stopped, nor be a child of ours.
///
/// # Errors
/// If there is no such process, or this user may not read it.
pub fn open(pid: u32, options: &Options) -> Result<Opened, OpenError> {
    let folder = ProcFolder::open(pid)?;
    let mem = folder.file("mem")?;
    let text = folder.read("maps")?;
    let mappings = maps::parse(&text).map_err(|error| OpenError::Maps { pid, error })?;
    if mappings.is_empty() {
        return Err(OpenError::NoMemory { pid });
    }
    let userfault = if folder.has_userfaultfd() { maps::userfault_ranges(&folder.read("smaps")?) } else { Vec::new() };
    let pagemap = folder.file("pagemap").ok();

    let layout = folder.layout();
    let executable = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let process = Process {
        pid: Some(pid),
        executable: executable.map(|path| path.to_string_lossy().into_owned()),
        threads: Vec::new(),
        auxv: auxv::entries(&folder.read("auxv").unwrap_or_default(), layout),
    };
    let regions = maps::regions(&mappings, &userfault);
    let live = Live {
        below_stack: below_stack(&regions),
        pid,
        reader: options.reader,
        patches: patches::sorted(options.patches.clone()),
        has_pagemap: pagemap.is_some(),
    };
    let opened = Opened {
        source: Source::Live(live),
        descriptors: [Some(mem), pagemap].into_iter().flatten().map(OwnedFd::from).collect(),
        space: AddressSpace { layout, regions },
        process,
        warnings: Vec::new(),
    };
    // A forced reader that may not read is told now, not at each block.
    opened.memory()?;
    Ok(opened)
}

/// The gap below the region that is the first thread's stack, which is as large as it has ever been needed.
fn below_stack(regions: &[Region]) -> AddressRange {
    let Some(stack) = regions.iter().position(|region| region.backing == Backing::Stack) else {
        return AddressRange::default();
    };
    let before = stack.checked_sub(1).map_or(0, |before| regions[before].range.end);
    AddressRange::new(before, regions[stack].range.start)
}

/// /proc/PID, held open: after the process has ended, another of the same id is not taken for it.
struct ProcFolder {
    pid: u32,
    folder: OwnedFd,
}

impl ProcFolder {
    fn open(pid: u32) -> Result<Self, OpenError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let folder = nix::fcntl::open(format!("/proc/{pid}").as_str(), flags, Mode::empty());
        folder.map(|folder| Self { pid, folder }).map_err(|error| Self::error(pid, "", error))
    }

    fn error(pid: u32, name: &str, error: Errno) -> OpenError {
        match error {
            Errno::ENOENT | Errno::ESRCH if name.is_empty() => OpenError::NoProcess { pid },
            // So it is with zombies, and with a process that has ended since its folder was opened.
            Errno::ENOENT | Errno::ESRCH => OpenError::NoMemory { pid },
            Errno::EACCES | Errno::EPERM => OpenError::Permission { pid },
            error => OpenError::File { path: format!("/proc/{pid}/{name}").into(), error: error.into() },
        }
    }

    fn file(&self, name: &str) -> Result<File, OpenError> {
        let file = openat(self.folder.as_fd(), name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        file.map(File::from).map_err(|error| Self::error(self.pid, name, error))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, OpenError> {
        let mut text = Vec::new();
        match self.file(name)?.read_to_end(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => {
                Err(Self::error(self.pid, name, Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))))
            }
        }
    }

    /// Whether it holds a userfaultfd. Reading the flags of all its mappings is slow, and needed only then.
    fn has_userfaultfd(&self) -> bool {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        let mut links = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.any(|link| link.as_os_str() == "anon_inode:[userfaultfd]")
    }

    /// By the header of its executable. Where that cannot be had, 64-bit.
    fn layout(&self) -> Layout {
        let mut header = [0; 6];
        let read = self.file("exe").and_then(|file| {
            let read = file.read_exact_at(&mut header, 0);
            read.map_err(|error| OpenError::File { path: format!("/proc/{}/exe", self.pid).into(), error })
        });
        let byte_order = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
        let pointer_size = if read.is_ok() && header[..5] == *b"\x7fELF\x01" { 4 } else { 8 };
        Layout { pointer_size, byte_order }
    }
}

/// The bytes of a page.
fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

fn is_interrupted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted
}
