//! LLDB's cache of the process's memory, which keeps all that was ever read until the process runs again.

use crate::{Debugger, Process};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

const SETTING: &str = "target.process.disable-memory-cache";

/// How many hold a process's cache off, by the process's number, and what the user's setting was before.
static HELD_OFF: Mutex<BTreeMap<u32, (usize, String)>> = Mutex::new(BTreeMap::new());

/// While it lives, LLDB does not keep what is read from a process.
#[derive(Debug)]
pub struct CacheOff {
    debugger: Debugger,
    process: u32,
}

impl CacheOff {
    /// For the process of the target that is selected in its debugger: settings are those of the selected target.
    pub fn hold(process: &Process) -> Self {
        let held = Self { debugger: process.debugger(), process: process.unique_id() };
        if held.is_selected() {
            let mut processes = HELD_OFF.lock().unwrap_or_else(PoisonError::into_inner);
            let (count, _) = processes.entry(held.process).or_insert_with(|| {
                let before = held.debugger.setting(SETTING).unwrap_or_default();
                held.debugger.set_setting(SETTING, "true");
                (0, before)
            });
            *count += 1;
        }
        held
    }

    fn is_selected(&self) -> bool {
        let process = self.debugger.selected_target().and_then(|target| target.process());
        process.is_some_and(|process| process.unique_id() == self.process)
    }
}

impl Drop for CacheOff {
    fn drop(&mut self) {
        let mut processes = HELD_OFF.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((count, before)) = processes.get_mut(&self.process) else { return };
        *count -= 1;
        if *count == 0 {
            // Where the user has selected another target, the setting would be that one's. It stays as it is: reading is
            // no slower without the cache, only small reads are.
            if self.is_selected() {
                self.debugger.set_setting(SETTING, before);
            }
            processes.remove(&self.process);
        }
    }
}
