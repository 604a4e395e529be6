//! The end of the host process.

use std::sync::OnceLock;

/// What is to be done, and the process that is to do it: one that was forked off it has none of its threads.
static AT_EXIT: OnceLock<(fn(), u32)> = OnceLock::new();

/// Has `run` called when the host exits, on the thread that does. It must not call LLDB, which has ended by then. Only what is given
/// first is called, and nothing if the host is killed.
pub fn at_exit(run: fn()) {
    if AT_EXIT.set((run, std::process::id())).is_ok() {
        // SAFETY: the function is there as long as the plugin, and is forgotten with it if that is ever unloaded. What it touches is
        // static and never destroyed.
        unsafe { libc::atexit(exiting) };
    }
}

extern "C" fn exiting() {
    if let Some((run, process)) = AT_EXIT.get()
        && *process == std::process::id()
    {
        // There is nobody left to tell.
        let _ = std::panic::catch_unwind(run);
    }
}
