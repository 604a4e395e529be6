//! The plugin's entry point.

use crate::{Debugger, Host, command};
use lldb_sys as sys;
use std::io::Write as _;

/// Makes the function that LLDB calls on `plugin load`, `bool lldb::PluginInitialize(lldb::SBDebugger)`, of a function
/// `fn(&Debugger) -> Result<(), impl Display>` that registers the plugin's commands.
#[macro_export]
macro_rules! plugin {
    ($register:path) => {
        /// What `plugin load` calls. An SBDebugger by value arrives as a pointer to one.
        #[unsafe(export_name = "_ZN4lldb16PluginInitializeENS_10SBDebuggerE")]
        extern "C" fn plugin_initialize(debugger: $crate::sys::SBDebuggerRef) -> bool {
            // SAFETY: this is the call that LLDB makes, with its SBDebugger, which lives until it returns.
            unsafe { $crate::initialize(debugger, |debugger| $register(debugger).map_err(|error| error.to_string())) }
        }
    };
}

/// Finds the host and has `register` add the commands. What fails is said in one line on stderr, for without a host
/// there is no other place, and `plugin load` fails.
///
/// # Safety
/// Only for the call from LLDB: `debugger` points to an SBDebugger that lives until it returns.
pub unsafe fn initialize(debugger: sys::SBDebuggerRef, register: impl FnOnce(&Debugger) -> Result<(), String>) -> bool {
    let outcome = command::guarded(|| {
        Host::resolve().map_err(|error| error.to_string())?;
        // SAFETY: LLDB's SBDebugger is valid, and the names are bound now.
        let debugger = unsafe { Debugger::copy(debugger) };
        register(&debugger)
    });
    match outcome.unwrap_or_else(Err) {
        Ok(()) => true,
        Err(reason) => {
            // A host without stderr is told by `false` alone.
            let _ = writeln!(std::io::stderr(), "mp-scan: {reason}");
            false
        }
    }
}
