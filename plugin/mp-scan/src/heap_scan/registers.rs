//! What threads have in their registers.

use analysis::heap::graph::Register;
use analysis::heap::roots::ThreadState;
use analysis::place::ThreadStack;
use analysis::stacks;
use std::collections::BTreeMap;

/// The general registers of all threads.
#[derive(Clone, Debug, Default)]
pub struct Registers(pub Vec<ThreadRegisters>);

/// Those of one.
#[derive(Clone, Debug)]
pub struct ThreadRegisters {
    /// The debugger's index of it.
    pub thread: u64,
    /// By name, in the debugger's order.
    pub values: Vec<(String, u64)>,
}

impl Registers {
    /// With the stack pointers, as roots want them.
    pub fn states(&self, stacks: &[ThreadStack]) -> Vec<ThreadState> {
        let state = |stack: &ThreadStack| {
            let own = self.0.iter().filter(|registers| registers.thread == stack.thread);
            let registers = own.flat_map(|registers| registers.values.iter().map(|(_, value)| *value)).collect();
            ThreadState { stack_pointer: Some(stack.stack_pointer), registers }
        };
        stacks.iter().map(state).collect()
    }

    /// As unwinding wants them, by the debugger's numbers of the threads.
    pub fn of_threads(&self) -> BTreeMap<u64, stacks::Registers> {
        let own = |values: &[(String, u64)]| values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.0.iter().map(|registers| (registers.thread, own(&registers.values))).collect()
    }

    /// Each by itself.
    pub fn named(&self) -> Vec<Register> {
        let named = |registers: &ThreadRegisters| {
            let thread = registers.thread;
            let register = |(name, value): &(String, u64)| Register { thread, name: name.clone(), value: *value };
            registers.values.iter().map(register).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(named).collect()
    }
}
