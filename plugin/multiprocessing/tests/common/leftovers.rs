//! Nothing may be left of a test: a look before it and one after it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The names of the library's threads.
const THREADS: &[&str] =
    &["pool", "pool callbacks", "processes", "pipes", "log", "manager", "manager-client", "remote", "remote-send"];

/// Set in the environment of the tests: every process that they start inherits it, and whatever those start.
const MARK: &str = "MULTIPROCESSING_LEFTOVERS";

/// How long what ends by itself may take to do so on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

static ONE: Mutex<()> = Mutex::new(());

/// Held by each test: no other test runs meanwhile, and in the end nothing may be left: no descriptor, thread or memory in this
/// process, no descendant of it, and nothing that has a name.
pub struct Alone {
    _lock: MutexGuard<'static, ()>,
    descriptors: Vec<String>,
    threads: usize,
    memory: Vec<String>,
    named: BTreeSet<String>,
}

pub fn alone() -> Alone {
    let lock = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the lock is held, so no test is at work yet, and the other threads of a test program do not read the environment
    // other than through `std`, which has a lock for it.
    unsafe { std::env::set_var(MARK, std::process::id().to_string()) };
    Alone { _lock: lock, descriptors: descriptors(), threads: own_threads(), memory: shared_memory(), named: named() }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The library's threads end with what they serve, and so do its descendants, in a moment of their own.
        let end = Instant::now() + PATIENCE;
        while (own_threads() != self.threads || !descendants().is_empty()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(descriptors(), self.descriptors, "descriptors are left");
        assert_eq!(children(), Vec::<u32>::new(), "processes are left");
        assert_eq!(descendants(), Vec::<String>::new(), "processes of other processes are left");
        assert_eq!(own_threads(), self.threads, "threads are left");
        assert_eq!(shared_memory(), self.memory, "shared memory is left");
        assert_eq!(self.new_names(PATIENCE), BTreeSet::new(), "things with a name are left");
    }
}

impl Alone {
    /// What has come to have a name since the beginning of the test. Another program may make something that it opens in a moment,
    /// or be about to remove it; what the test has left stays.
    pub fn new_names(&self, patience: Duration) -> BTreeSet<String> {
        let end = Instant::now() + patience;
        loop {
            let new = without_others(named().difference(&self.named).cloned().collect());
            if new.is_empty() || Instant::now() >= end {
                return new;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn descriptors() -> Vec<String> {
    let link = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
    let mut links: Vec<_> = std::fs::read_dir("/proc/self/fd")
        .expect("own descriptors")
        .filter_map(link)
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    links.sort();
    links
}

/// The threads that the library has started: it names each.
fn own_threads() -> usize {
    let name =
        |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok();
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    tasks.filter_map(name).filter(|name| THREADS.contains(&name.trim())).count()
}

/// Whether this process has a thread of this name.
#[allow(dead_code, clippy::allow_attributes, reason = "not every test asks")]
pub fn has_thread(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    tasks.flatten().any(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
}

/// The shared memory that is mapped: a line of `/proc/self/maps` each, without its address.
fn shared_memory() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("own maps");
    let shared = |line: &&str| line.split(' ').nth(1).is_some_and(|permissions| permissions.ends_with('s'));
    let mut lines: Vec<_> =
        maps.lines().filter(shared).map(|line| line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

/// What has a name that could outlive its process, of the kinds that this library could make: POSIX shared memory, semaphores
/// and message queues, those of System V, temporary files, and sockets. Other programs run at the same time and make such things
/// as well: what a living process has that was not started by this test is that one's.
fn named() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in ["/dev/shm", "/dev/mqueue", "/tmp"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path().to_string_lossy().into_owned());
        // In /tmp, what is ours is told by its name.
        found.extend(paths.filter(|path| folder != "/tmp" || path.contains("multiprocessing")));
    }
    for kind in ["shm", "sem", "msg"] {
        let table = std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let heads = lines.next().unwrap_or_default();
        // Those who made a piece of memory, or used it last. Of semaphores nobody knows.
        let users: Vec<_> = (0..heads.len()).filter(|column| heads[*column].ends_with("pid")).collect();
        let is_foreign =
            |line: &Vec<&str>| users.iter().any(|column| line.get(*column).is_some_and(|pid| is_other(pid)));
        found.extend(lines.filter(|line| !is_foreign(line)).map(|line| format!("{kind} {}", line[..2].join(" "))));
    }
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = sockets.filter(|line| line.get(7).is_some_and(|name| name.contains("multiprocessing")));
    found.extend(ours.map(|line| format!("socket:[{}] {}", line[6], line[7])));
    found
}

/// Without what other living processes have open or mapped, or what was there only for a moment.
fn without_others(mut names: BTreeSet<String>) -> BTreeSet<String> {
    if names.is_empty() {
        return names;
    }
    for process in std::fs::read_dir("/proc").expect("all processes").flatten() {
        if !process.file_name().to_str().is_some_and(is_other) {
            continue;
        }
        let descriptors = std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let mut held: Vec<_> = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        let maps = std::fs::read_to_string(process.path().join("maps")).unwrap_or_default();
        held.extend(maps.lines().filter_map(|line| Some(line.get(line.find('/')?..)?.into())));
        names.retain(|name| !held.iter().any(|held| name.split(' ').next() == held.to_str()));
    }
    let still = named();
    names.retain(|name| still.contains(name));
    names
}

/// Whether this number is that of a living process that is neither this one nor was started by it.
fn is_other(pid: &str) -> bool {
    let Ok(pid) = pid.parse::<u32>() else { return false };
    let mark = format!("{MARK}={}", std::process::id());
    match std::fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => {
            let is_marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
            pid != std::process::id() && !is_marked
        }
        // Another user's.
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// The living descendants of this process's tests, whoever is their parent by now.
#[allow(dead_code, clippy::allow_attributes, reason = "not every test asks")]
pub fn descendants() -> Vec<String> {
    let mark = format!("{MARK}={}", std::process::id());
    let marked = |entry: std::io::Result<std::fs::DirEntry>| {
        let folder = entry.ok()?.path();
        let pid: u32 = folder.file_name()?.to_str()?.parse().ok()?;
        // The environment of a zombie is empty.
        let environment = std::fs::read(folder.join("environ")).ok()?;
        let is_marked = environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        let command = std::fs::read(folder.join("cmdline")).ok()?;
        (is_marked && pid != std::process::id())
            .then(|| format!("{pid} {}", String::from_utf8_lossy(&command).replace('\0', " ")))
    };
    std::fs::read_dir("/proc").expect("all processes").filter_map(marked).collect()
}

/// The child processes of this process, zombies too.
pub fn children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    let children = tasks.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("children")).ok());
    children
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().expect("a number")).collect::<Vec<_>>())
        .collect()
}
