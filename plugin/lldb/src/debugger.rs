//! SBDebugger.

use crate::{CommandInterpreter, Host, OutputFile, text};
use lldb_sys as sys;

/// A debugger: one prompt, with its targets and settings. A host may have several.
#[derive(Debug)]
pub struct Debugger {
    reference: sys::SBDebuggerRef,
}

impl Debugger {
    /// # Safety
    /// `reference` is an SBDebugger; it stays the caller's.
    pub(crate) unsafe fn copy(reference: sys::SBDebuggerRef) -> Self {
        // SAFETY: the caller vouches for it.
        Self { reference: unsafe { sys::CloneSBDebugger(reference) } }
    }

    /// Its number, unique in this process.
    pub fn id(&self) -> u64 {
        // SAFETY: the debugger is valid.
        unsafe { sys::SBDebuggerGetID(self.reference) }
    }

    /// LLDB's own version, as `lldb --version` says it.
    pub fn version() -> String {
        // SAFETY: the text is LLDB's, and lives as long as LLDB.
        unsafe { text::copy(sys::SBDebuggerGetVersionString()) }.unwrap_or_default()
    }

    /// What runs its commands.
    pub fn command_interpreter(&self) -> CommandInterpreter {
        // SAFETY: the debugger is valid, and what comes back ours.
        unsafe { CommandInterpreter::from_owned(sys::SBDebuggerGetCommandInterpreter(self.reference)) }
    }

    /// Where its output goes.
    pub fn output_file(&self) -> OutputFile {
        // SAFETY: the debugger is valid, and what comes back ours.
        unsafe { OutputFile::from_owned(sys::SBDebuggerGetOutputFile(self.reference)) }
    }

    /// Whether its output is a terminal.
    pub fn is_terminal(&self) -> bool {
        let Some(output_file_handle) = Host::current().optional().output_file_handle else { return false };
        // SAFETY: the debugger is valid. The FILE, where there is one, is the debugger's, which is alive.
        unsafe {
            let file = output_file_handle(self.reference);
            !file.is_null() && libc::isatty(libc::fileno(file)) == 1
        }
    }

    /// The width of its terminal in columns, as LLDB knows it.
    pub fn terminal_width(&self) -> u32 {
        // SAFETY: the debugger is valid.
        unsafe { sys::SBDebuggerGetTerminalWidth(self.reference) }
    }

    /// Whether the user wants color.
    pub fn use_color(&self) -> bool {
        // SAFETY: the debugger is valid.
        unsafe { sys::SBDebuggerGetUseColor(self.reference) }
    }

    /// Whether it was asked to end what it is doing; false where this LLDB does not tell.
    pub fn interrupt_requested(&self) -> bool {
        let Some(interrupt_requested) = Host::current().optional().interrupt_requested else { return false };
        // SAFETY: the debugger is valid.
        unsafe { interrupt_requested(self.reference) }
    }
}

impl Drop for Debugger {
    fn drop(&mut self) {
        // SAFETY: the SBDebugger is ours, and disposed of once.
        unsafe { sys::DisposeSBDebugger(self.reference) }
    }
}
