//! SBCommandReturnObject.

use crate::{OutputFile, text};
use lldb_sys as sys;

/// What a command gives back: its output, and whether it succeeded. A command gets it by reference only, for LLDB's
/// object lives no longer than the command runs.
#[derive(Debug)]
pub struct CommandReturn {
    reference: sys::SBCommandReturnObjectRef,
}

impl CommandReturn {
    /// # Safety
    /// `reference` is an SBCommandReturnObject, and outlives what is returned.
    pub(crate) unsafe fn borrow(reference: sys::SBCommandReturnObjectRef) -> Self {
        Self { reference }
    }

    /// Appends `text` and ends the line.
    pub fn append_line(&mut self, text: &str) {
        let text = text::c_string(text);
        // SAFETY: the object is valid, and LLDB copies the text.
        unsafe { sys::SBCommandReturnObjectAppendMessage(self.reference, text.as_ptr()) }
    }

    /// All that was appended so far.
    pub fn output(&self) -> String {
        // SAFETY: the object is valid, and the text is copied at once.
        unsafe { text::copy(sys::SBCommandReturnObjectGetOutput(self.reference)) }.unwrap_or_default()
    }

    /// Makes the command a failed one, for this reason: one line.
    pub fn set_error(&mut self, reason: &str) {
        let reason = text::c_string(reason);
        // SAFETY: the object is valid, and LLDB copies the text.
        unsafe { sys::SBCommandReturnObjectSetError2(self.reference, reason.as_ptr()) }
    }

    /// Makes the command one that succeeded and has a result. Without it, one that printed counts as failed.
    pub fn set_succeeded(&mut self) {
        // SAFETY: the object is valid.
        unsafe { sys::SBCommandReturnObjectSetStatus(self.reference, sys::ReturnStatus::SuccessFinishResult) }
    }

    /// Whether the command counts as succeeded.
    pub fn succeeded(&self) -> bool {
        // SAFETY: the object is valid.
        unsafe { sys::SBCommandReturnObjectSucceeded(self.reference) }
    }

    /// From now on, what is appended goes to `file` at once as well, and LLDB does not print it again at the end.
    pub fn set_immediate_output(&mut self, file: &OutputFile) {
        // SAFETY: both are valid; LLDB copies the SBFile, which shares the file.
        unsafe { sys::SBCommandReturnObjectSetImmediateOutputFile(self.reference, file.reference()) }
    }
}
