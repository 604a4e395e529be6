//! What a session may not leave behind: workers, and files in shared places.

use crate::processes::{Process, until};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

/// What was there before a session began, and the workers that it had.
#[derive(Debug)]
pub struct Leftovers {
    files: BTreeSet<OsString>,
    workers: Vec<Process>,
}

/// Shared memory by name, and files in /tmp that bear our name. (What else lies in /tmp is other programs'.)
fn shared_files() -> BTreeSet<OsString> {
    let names = |folder: &str| -> Vec<OsString> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path().into_os_string())).collect()
    };
    let ours = |name: &OsString| {
        let name = name.to_string_lossy();
        ["mp-scan", "mp_scan", "mp-worker"].iter().any(|part| name.contains(part))
    };
    names("/dev/shm").into_iter().chain(names("/tmp").into_iter().filter(ours)).collect()
}

impl Leftovers {
    pub fn before() -> Self {
        Self { files: shared_files(), workers: Vec::new() }
    }

    /// Remembers workers that must be gone in the end.
    pub fn expect_end_of(&mut self, workers: impl IntoIterator<Item = Process>) {
        self.workers.extend(workers);
    }

    /// Fails the test if anything is still there a second after the session's end.
    #[track_caller]
    pub fn check(&self) {
        for worker in &self.workers {
            let what = format!("the end of worker {}, whose debugger has ended", worker.pid);
            until(&what, Duration::from_secs(1), || (!worker.is_alive()).then_some(()));
        }
        // Another test may have a file there for a moment.
        let patience = Duration::from_secs(5);
        until("nothing new in /dev/shm and /tmp", patience, || shared_files().is_subset(&self.files).then_some(()));
    }
}
