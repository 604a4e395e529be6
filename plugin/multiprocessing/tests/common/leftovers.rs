//! Nothing may be left of a test: a look before it and one after it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The names of the library's threads.
const THREADS: &[&str] =
    &["pool", "pool callbacks", "processes", "log", "manager", "manager-client", "remote", "remote-send"];

static ONE: Mutex<()> = Mutex::new(());

/// Held by each test: no other test runs meanwhile, and in the end nothing may be left in this process.
pub struct Alone {
    _lock: MutexGuard<'static, ()>,
    descriptors: Vec<String>,
    threads: usize,
    files: BTreeSet<PathBuf>,
}

pub fn alone() -> Alone {
    let lock = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    Alone { _lock: lock, descriptors: descriptors(), threads: own_threads(), files: files() }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The library's threads end with what they serve, in a moment of their own.
        for _ in 0..2000 {
            if own_threads() == self.threads {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(descriptors(), self.descriptors, "descriptors are left");
        assert_eq!(children(), Vec::<u32>::new(), "processes are left");
        assert_eq!(own_threads(), self.threads, "threads are left");
        let files: Vec<_> = files().difference(&self.files).cloned().collect();
        assert_eq!(files, Vec::<PathBuf>::new(), "files are left");
        let maps = std::fs::read_to_string("/proc/self/maps").expect("own maps");
        assert!(!maps.contains("memfd:multiprocessing"), "shared memory is left: {maps}");
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

/// What has a name that could outlive its process, of the kinds that this library could make.
fn files() -> BTreeSet<PathBuf> {
    let entries = ["/dev/shm", "/dev/mqueue"].into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    entries.flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// The child processes of this process, zombies too.
pub fn children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    let children = tasks.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("children")).ok());
    children
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().expect("a number")).collect::<Vec<_>>())
        .collect()
}
