//! SBCommandInterpreter.

use crate::class::sb_class;
use crate::{Error, text};
use lldb_sys as sys;
use std::ffi::c_char;

sb_class! {
    /// A debugger's command interpreter.
    CommandInterpreter(SBCommandInterpreterRef, DisposeSBCommandInterpreter)
}

impl CommandInterpreter {
    pub(crate) fn reference(&self) -> sys::SBCommandInterpreterRef {
        self.reference
    }

    /// Whether it reads commands from its own input now, at a prompt, from a pipe or from `-o`: what a command prints
    /// then goes to the debugger's output. In an editor or a script, which hand it single commands, it is not active.
    pub fn is_active(&self) -> bool {
        // LLDB calls it active where nothing reads input at all. Then there is nobody to say what ends the input either.
        let end_of_input = c_char::try_from(b'd').unwrap_or_default();
        // SAFETY: the interpreter is valid.
        unsafe {
            sys::SBCommandInterpreterIsActive(self.reference)
                && !sys::SBCommandInterpreterGetIOHandlerControlSequence(self.reference, end_of_input).is_null()
        }
    }

    /// Whether the user has asked for the running command to end.
    pub fn was_interrupted(&self) -> bool {
        // SAFETY: the interpreter is valid.
        unsafe { sys::SBCommandInterpreterWasInterrupted(self.reference) }
    }

    /// Runs a command and returns what it printed. It does not go into the history.
    ///
    /// # Errors
    /// The command's own error.
    pub fn run(&self, command: &str) -> Result<String, Error> {
        let command = text::c_string(command);
        // SAFETY: the interpreter is valid, LLDB copies the command, and the return object is ours: what it holds is
        // copied before it is disposed of, once.
        unsafe {
            let result = sys::CreateSBCommandReturnObject();
            sys::SBCommandInterpreterHandleCommand(self.reference, command.as_ptr(), result, false);
            let outcome = if sys::SBCommandReturnObjectSucceeded(result) {
                Ok(text::copy(sys::SBCommandReturnObjectGetOutput(result)).unwrap_or_default())
            } else {
                Err(Error::from_lldb(&text::copy(sys::SBCommandReturnObjectGetError(result)).unwrap_or_default()))
            };
            sys::DisposeSBCommandReturnObject(result);
            outcome
        }
    }
}
