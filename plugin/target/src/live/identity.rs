//! Which process and which program it is: a process id says neither for long.

use super::ProcFolder;
use super::proc::{Status, parse_stat, parse_status};
use crate::source::OpenError;
use crate::{AddressRange, Layout, ReadMemory, auxv};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// What tells a process, and the program in it, from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: u32,
    /// When the process was started, in clock ticks since the machine was. It outlives an exec.
    pub start_time: u64,
    /// Where the main thread's stack began.
    pub start_stack: u64,
    /// As the kernel shows it; a suffix tells a file that has been deleted.
    pub executable: Option<PathBuf>,
    pub layout: Layout,
    /// The auxiliary vector with its end, as it lies in memory.
    pub auxv: Vec<u8>,
    /// The address and the 16 random bytes that the kernel gave this program.
    pub random: Option<(u64, [u8; 16])>,
}

/// The auxiliary vector where the kernel put it for the program to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuxvCopy {
    pub address: u64,
    pub bytes: Vec<u8>,
}

/// Looks up who `pid` is now.
///
/// # Errors
/// If there is no such process, or this user may not read it.
pub fn identity(pid: u32) -> Result<Identity, OpenError> {
    let folder = ProcFolder::open(pid)?;
    let stat = parse_stat(&folder.read("stat")?).ok_or(OpenError::NoProcess { pid })?;
    let layout = folder.layout();
    let auxv = folder.read("auxv")?;
    if auxv.is_empty() {
        return Err(OpenError::NoMemory { pid });
    }
    let mem = folder.file("mem")?;
    let random = auxv::value(&auxv::entries(&auxv, layout), auxv::AT_RANDOM).and_then(|address| {
        let mut bytes = [0; 16];
        mem.read_exact_at(&mut bytes, address).ok().map(|()| (address, bytes))
    });
    Ok(Identity {
        pid,
        start_time: stat.start_time,
        start_stack: stat.start_stack,
        executable: std::fs::read_link(format!("/proc/{pid}/exe")).ok(),
        layout,
        auxv,
        random,
    })
}

impl Identity {
    /// Whether both are the same process, running the same program since the same exec. That its file has been moved or
    /// deleted does not matter.
    pub fn is_same_program(&self, other: &Self) -> bool {
        let facts = |identity: &Self| (identity.pid, identity.start_time, identity.start_stack, identity.random);
        facts(self) == facts(other) && self.auxv == other.auxv
    }

    /// The entries (type and value) of the auxiliary vector.
    pub fn auxv_entries(&self) -> Vec<(u64, u64)> {
        auxv::entries(&self.auxv, self.layout)
    }

    /// Finds the auxiliary vector in the process's own memory: another way to that memory (a debugger's) must show the
    /// same bytes there, or it leads to another process. `None` if the program has moved or changed it.
    pub fn auxv_copy(&self, memory: &dyn ReadMemory) -> Option<AuxvCopy> {
        // From where the stack began, argc, the pointers to arguments and to the environment, and then it. Linux caps
        // them at a quarter of the stack's limit, or 6 MiB.
        const FARTHEST: u64 = 6 << 20;
        const BLOCK: usize = 64 << 10;

        let size = usize::from(self.layout.pointer_size);
        let whole = self.auxv.len() / (2 * size) * (2 * size);
        let wanted = self.auxv.get(..whole).filter(|wanted| !wanted.is_empty())?;
        let searched = AddressRange::sized(self.start_stack, FARTHEST);
        let mut window = vec![0; BLOCK + wanted.len()];
        let mut base = searched.start;
        while base < searched.end {
            let length = memory.read(base, &mut window).ok()?;
            let last = length.checked_sub(wanted.len())?;
            let found = (0..=last).step_by(size).find(|offset| window[*offset..].starts_with(wanted));
            if let Some(offset) = found {
                return Some(AuxvCopy { address: base + offset as u64, bytes: wanted.to_vec() });
            }
            base += BLOCK as u64;
        }
        None
    }
}

/// Whether its main thread runs, or could, rather than being stopped by a tracer or a signal.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok().and_then(|text| parse_stat(&text));
    stat.is_some_and(|stat| matches!(stat.state, b'R' | b'S' | b'D'))
}

/// Whether it is the process that was started then, and is stopped: its main thread, or where that has ended, another one.
pub fn is_held(pid: u32, start_time: u64) -> bool {
    let stat = |path: PathBuf| std::fs::read(path).ok().and_then(|text| parse_stat(&text));
    let Some(main) = stat(format!("/proc/{pid}/stat").into()).filter(|stat| stat.start_time == start_time) else {
        return false;
    };
    let is_stopped = |state: u8| matches!(state, b't' | b'T');
    is_stopped(main.state)
        || matches!(main.state, b'Z' | b'X') && {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            threads.filter_map(|thread| stat(thread.path().join("stat"))).any(|stat| is_stopped(stat.state))
        }
}

/// Who traces the process, if anyone; `None` also if there is no such process.
pub fn tracer(pid: u32) -> Option<u32> {
    status(pid)?.tracer
}

/// Whether `process` was started by `ancestor`, or by one of its descendants; or is `ancestor` itself.
pub fn is_descendant(process: u32, ancestor: u32) -> bool {
    descends(process, ancestor, &|pid| status(pid).map(|status| status.parent))
}

fn descends(process: u32, ancestor: u32, parent: &dyn Fn(u32) -> Option<u32>) -> bool {
    // Ids are used again, so what is read piece by piece may go round in a circle. No real line is this long.
    const LONGEST: usize = 4096;
    let line = std::iter::successors(Some(process), |pid| parent(*pid).filter(|parent| *parent != 0));
    line.take(LONGEST).any(|pid| pid == ancestor)
}

fn status(pid: u32) -> Option<Status> {
    parse_status(&std::fs::read(format!("/proc/{pid}/status")).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descent() {
        let parents = |pid| match pid {
            1 => Some(0),
            2..=9 => Some(pid - 1),
            20 => Some(21),
            21 => Some(20),
            _ => None,
        };
        assert!(descends(5, 2, &parents));
        assert!(descends(5, 5, &parents));
        assert!(!descends(2, 5, &parents));
        assert!(!descends(20, 1, &parents), "a circle ends");
        assert!(!descends(99, 1, &parents));
        assert!(!descends(5, 0, &parents), "nobody descends from no process");
    }

    #[test]
    fn this_process() {
        let this = std::process::id();
        assert!(is_descendant(this, std::os::unix::process::parent_id()));
        assert!(!is_descendant(std::os::unix::process::parent_id(), this));
    }
}
