//! Whether the running command is to stop.

use lldb::{CommandInterpreter, Debugger};

/// Ctrl-C at a prompt, or an editor's cancel. The thread that runs the command is to ask every 20 ms or so.
#[derive(Debug)]
pub struct Interrupt<'a> {
    debugger: &'a Debugger,
    interpreter: CommandInterpreter,
}

impl<'a> Interrupt<'a> {
    pub fn new(debugger: &'a Debugger) -> Self {
        Self { debugger, interpreter: debugger.command_interpreter() }
    }

    /// Whether it was asked to stop. It stays so until the command ends.
    pub fn requested(&self) -> bool {
        self.interpreter.was_interrupted() || self.debugger.interrupt_requested()
    }
}
