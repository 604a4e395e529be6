//! What a command runs in.

use crate::interrupt::Interrupt;
use crate::output::Output;
use lldb::{CommandReturn, Debugger};

/// The debugger that a command was typed in, where its output goes, and whether it is to stop.
#[derive(Debug)]
pub struct Session<'a> {
    pub debugger: &'a Debugger,
    pub output: Output<'a>,
    pub interrupt: Interrupt<'a>,
}

impl<'a> Session<'a> {
    pub fn new(debugger: &'a Debugger, result: &'a mut CommandReturn) -> Self {
        Self { debugger, output: Output::new(debugger, result), interrupt: Interrupt::new(debugger) }
    }
}
