//! Processes as /proc shows them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A process that is or was: its pid, and when it started, so that another that got its pid is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    started: u64,
}

/// The fields of `/proc/PID/stat` after the name: state, ppid, ….
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?[19].parse().ok()? })
    }

    /// All processes named `name` (of which Linux keeps 15 bytes) that `parent` started and has not reaped.
    pub fn children(parent: i32, name: &str) -> Vec<Self> {
        let named = |child: &Self| {
            std::fs::read_to_string(format!("/proc/{}/comm", child.pid)).is_ok_and(|comm| comm.trim_end() == name)
        };
        Self::all_children(parent).into_iter().filter(named).collect()
    }

    /// All processes that `parent` started and has not reaped.
    pub fn all_children(parent: i32) -> Vec<Self> {
        let entries = std::fs::read_dir("/proc").expect("/proc can be read");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let child = |pid: &i32| stat(*pid).is_some_and(|fields| fields[1] == parent.to_string());
        let mut children: Vec<_> = pids.filter(child).filter_map(Self::of).collect();
        children.sort_by_key(|process| process.pid);
        children
    }

    /// Its state's letter (`R`, `S`, `T`, `Z`, …); `None` once it is reaped.
    pub fn state(self) -> Option<char> {
        (Self::of(self.pid)? == self).then(|| stat(self.pid)?[0].chars().next())?
    }

    /// The processor time that it has used, in clock ticks (hundredths of a second).
    pub fn ticks(self) -> u64 {
        let field = |index: usize| stat(self.pid).and_then(|fields| fields[index].parse::<u64>().ok()).unwrap_or(0);
        field(11) + field(12)
    }

    /// Whether it is there and not a zombie.
    pub fn is_alive(self) -> bool {
        !matches!(self.state(), None | Some('Z' | 'X'))
    }

    /// Sends it a signal, if it is still there.
    pub fn signal(self, signal: Signal) {
        if Self::of(self.pid) == Some(self) {
            // It may have ended since; then there is nobody to tell.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    pub fn maps(self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).expect("the process is there")
    }

    /// A line of `/proc/PID/status` in bytes, such as `VmRSS` or `RssAnon`.
    pub fn memory(self, line: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let value = status.lines().find_map(|candidate| candidate.strip_prefix(line)?.strip_prefix(':'))?;
        Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
    }

    pub fn executable(self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/exe", self.pid)).ok()
    }
}

/// Waits until `condition` gives something; fails the test with `what` if that takes longer than `patience`.
#[track_caller]
pub fn until<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
