//! How a target is read, apart from the descriptors that it is read through.

use crate::copied::{Copied, CopiedMemory};
use crate::core::{Core, CoreError, CoreMemory, SharedCore};
use crate::live::{Live, LiveMemory};
use crate::relayed::Relayed;
use crate::{AddressSpace, ReadMemory};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

/// How a target is read. It is sent to workers, with copies of the [`Opened::descriptors`] beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    Live(Live),
    Core(Core),
    /// Read by the debugger, a slot at a time: [`Relayed::open`] gives the memory of each.
    Relayed(Relayed),
    /// From a machine that does not see it: from what comes with each task ([`Streamed`](crate::streamed::Streamed)), or,
    /// where it has the same one, from a core file of its own.
    Streamed(Option<SharedCore>),
    /// Parts of it from a copy.
    Copied(Copied),
}

/// How the bytes of a file are had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// The file is mapped, and searched in place. If it is truncated meanwhile, reading it kills this process.
    Mapped,
    /// It is read piece by piece: for a process that must survive whatever happens to the file.
    Pread,
}

impl Source {
    /// Makes the memory readable here. `descriptors` are those of [`Opened::descriptors`], in the same order.
    ///
    /// # Errors
    /// [`OpenError::Descriptors`] if their number is wrong, [`OpenError::Relayed`] and [`OpenError::Unshared`] for memory that
    /// is there only task by task, or what the source's kind says.
    pub fn open(&self, descriptors: Vec<OwnedFd>, access: Access) -> Result<Arc<dyn ReadMemory>, OpenError> {
        Ok(match self {
            Self::Live(live) => Arc::new(LiveMemory::new(live, descriptors)?),
            Self::Core(core) => Arc::new(CoreMemory::new(core, descriptors, access)?),
            Self::Relayed(_) => return Err(OpenError::Relayed),
            Self::Streamed(None) => return Err(OpenError::Unshared),
            Self::Streamed(Some(core)) => Arc::new(core.open()?),
            Self::Copied(copied) => Arc::new(CopiedMemory::new(copied, descriptors, access)?),
        })
    }
}

/// A target that is ready to be read, in the process that opened it.
#[derive(Debug)]
pub struct Opened {
    pub source: Source,
    /// What the source is read through. They are close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    pub space: AddressSpace,
    pub process: Process,
    /// What is wrong with the target or could not be had, a line each, for the user.
    pub warnings: Vec<String>,
}

impl Opened {
    /// Its memory, read from this process, through duplicates of the descriptors.
    ///
    /// # Errors
    /// As for [`Source::open`], and if descriptors run out.
    pub fn memory(&self) -> Result<Arc<dyn ReadMemory>, OpenError> {
        let copies = self.descriptors.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
        let copies = copies.map_err(|error| OpenError::System { what: "duplicating a descriptor", error })?;
        self.source.open(copies, Access::Pread)
    }
}

/// What the source itself tells of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: Option<u32>,
    /// The path of its program.
    pub executable: Option<String>,
    /// Those that a core file names; empty for a live process, whose debugger knows better.
    pub threads: Vec<Thread>,
    /// The entries (type and value) of the auxiliary vector.
    pub auxv: Vec<(u64, u64)>,
}

/// A thread in a core file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    pub id: u32,
    /// `None` on a machine whose registers we do not know.
    pub stack_pointer: Option<u64>,
    /// Its general registers, in the order of the machine's `elf_gregset_t`; empty on a machine that we do not know. Some
    /// of them are no registers but what the kernel keeps with them.
    pub registers: Vec<u64>,
}

/// The registers in `elf_gregset_t` of x86-64, in its order (`struct user_regs_struct`).
const X86_64: [&str; 27] = [
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "orig_rax",
    "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
];

/// Where a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadState {
    pub stack_pointer: u64,
    /// The next instruction in user space.
    pub pc: u64,
    /// The system call that it is in, and its arguments.
    pub call: Option<(u64, [u64; 6])>,
}

impl Thread {
    /// Where it is; `None` for a machine other than x86-64.
    pub fn state(&self) -> Option<ThreadState> {
        let of = |name: &str| self.named()?.find(|(known, _)| *known == name).map(|(_, value)| value);
        // The number of the call is negative in a thread that is in none.
        let number = u64::try_from(of("orig_rax")?.cast_signed()).ok();
        let arguments = ["rdi", "rsi", "rdx", "r10", "r8", "r9"].map(|name| of(name).unwrap_or_default());
        let call = number.map(|number| (number, arguments));
        Some(ThreadState { stack_pointer: of("rsp")?, pc: of("rip")?, call })
    }

    /// Its registers by their names; `None` for a machine other than x86-64.
    pub fn named(&self) -> Option<impl Iterator<Item = (&'static str, u64)>> {
        let is_known = self.registers.len() == X86_64.len();
        is_known.then(|| X86_64.into_iter().zip(self.registers.iter().copied()))
    }
}

/// A target that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("no process {pid}")]
    NoProcess { pid: u32 },
    #[error("process {pid} has no memory: it has ended, or is the kernel's")]
    NoMemory { pid: u32 },
    #[error(
        "process {pid} may not be read: run the debugger as its user or as root; if it is not the debugger's child, \
         /proc/sys/kernel/yama/ptrace_scope must be 0 as well"
    )]
    Permission { pid: u32 },
    #[error("process_vm_readv may not read process {pid} ({error}): choose the reader `mem`")]
    Reader { pid: u32, error: io::Error },
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("/proc/{pid}/maps: {error}")]
    Maps { pid: u32, error: crate::maps::MapsError },
    #[error("{}: {error}", path.display())]
    Core { path: PathBuf, error: CoreError },
    #[error("{found} descriptors for a source that has {expected}")]
    Descriptors { expected: usize, found: usize },
    #[error("relayed memory is read slot by slot")]
    Relayed,
    #[error("nothing of it is on this machine")]
    Unshared,
    #[error("{} has another content on this machine", path.display())]
    Differs { path: PathBuf },
    #[error("memory that came with a task is damaged")]
    Streamed,
    #[error("slot {slot} is not one of those that relayed memory has")]
    Slot { slot: usize },
    #[error("{what}: {error}")]
    System { what: &'static str, error: io::Error },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_files_registers_have_names() {
        let mut thread = Thread { id: 1, stack_pointer: None, registers: (100..127).collect() };
        thread.registers[15] = 202;
        let arguments = [114, 113, 112, 107, 109, 108];
        let state = ThreadState { stack_pointer: 119, pc: 116, call: Some((202, arguments)) };
        assert_eq!(thread.state(), Some(state));
        assert_eq!(thread.named().unwrap().find(|(name, _)| *name == "rbp"), Some(("rbp", 104)));
        thread.registers[15] = u64::MAX;
        assert_eq!(thread.state(), Some(ThreadState { call: None, ..state }));
        thread.registers.pop();
        assert_eq!(thread.state(), None);
    }
}
