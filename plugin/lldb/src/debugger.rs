//! SBDebugger.

use crate::class::sb_class;
use crate::{CommandInterpreter, Host, OutputFile, Platform, Target, text};
use lldb_sys as sys;
use std::os::fd::{BorrowedFd, OwnedFd};

sb_class! {
    /// A debugger: one prompt, with its targets and settings. A host may have several.
    Debugger(SBDebuggerRef, DisposeSBDebugger)
}

impl Debugger {
    /// # Safety
    /// `reference` is an SBDebugger; it stays the caller's.
    pub(crate) unsafe fn copy(reference: sys::SBDebuggerRef) -> Self {
        // SAFETY: the caller vouches for it, and the copy is ours.
        unsafe { Self::from_owned(sys::CloneSBDebugger(reference)) }
    }

    /// The value of one of LLDB's settings, the first if it has several.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        self.settings(name).into_iter().next()
    }

    /// The values of one of LLDB's settings.
    fn settings(&self, name: &str) -> Vec<String> {
        let name = text::c_string(name);
        // SAFETY: the debugger is valid, its name lives as long as it, and the list is ours: its texts are copied before it
        // is disposed of.
        unsafe {
            let debugger = sys::SBDebuggerGetInstanceName(self.reference);
            let list = sys::SBDebuggerGetInternalVariableValue(name.as_ptr(), debugger);
            let count = sys::SBStringListGetSize(list) as usize;
            let values =
                (0..count).filter_map(|index| text::copy(sys::SBStringListGetStringAtIndex(list, index))).collect();
            sys::DisposeSBStringList(list);
            values
        }
    }

    /// Where the user has it look for debug files.
    pub fn debug_file_folders(&self) -> Vec<String> {
        paths(&self.settings("target.debug-file-search-paths").join("  "))
    }

    /// Sets one of LLDB's settings, if it has it.
    pub(crate) fn set_setting(&self, name: &str, value: &str) {
        let (name, value) = (text::c_string(name), text::c_string(value));
        // SAFETY: the debugger is valid, its name lives as long as it, and the error is ours.
        unsafe {
            let debugger = sys::SBDebuggerGetInstanceName(self.reference);
            let error = sys::SBDebuggerSetInternalVariable(name.as_ptr(), value.as_ptr(), debugger);
            sys::DisposeSBError(error);
        }
    }

    pub(crate) fn reference(&self) -> sys::SBDebuggerRef {
        self.reference
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

    /// The target that the user looks at; `None` if there is none yet.
    pub fn selected_target(&self) -> Option<Target> {
        // SAFETY: the debugger is valid, and what comes back ours.
        let target = unsafe { Target::from_owned(sys::SBDebuggerGetSelectedTarget(self.reference)) };
        target.is_valid().then_some(target)
    }

    /// The machine that the user has selected for debuggees.
    pub fn selected_platform(&self) -> Platform {
        // SAFETY: the debugger is valid, and what comes back ours.
        unsafe { Platform::from_owned(sys::SBDebuggerGetSelectedPlatform(self.reference)) }
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

    /// A descriptor of its own for where its output goes, to write to without LLDB; `None` if there is no file behind it.
    pub fn output_descriptor(&self) -> Option<OwnedFd> {
        let output_file_handle = Host::current().optional().output_file_handle?;
        // SAFETY: the debugger is valid. The FILE, where there is one, is the debugger's, which is alive, and so is its
        // descriptor, which is duplicated at once.
        unsafe {
            let file = output_file_handle(self.reference);
            let descriptor = if file.is_null() { -1 } else { libc::fileno(file) };
            (descriptor >= 0).then(|| BorrowedFd::borrow_raw(descriptor).try_clone_to_owned().ok()).flatten()
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

/// The paths of a list as LLDB writes them, all in one line: `[0]: /one  [1]: /other`.
fn paths(listed: &str) -> Vec<String> {
    let mark = |number: usize| format!("[{number}]: ");
    let Some((_, mut rest)) = listed.split_once(&mark(0)) else { return Vec::new() };
    let mut paths = Vec::new();
    while let Some((path, more)) = rest.split_once(&mark(paths.len() + 1)) {
        paths.push(path.trim().to_owned());
        rest = more;
    }
    paths.push(rest.trim().to_owned());
    paths
}
