//! What the target tells of its threads before they are unwound.

use crate::inspect::Inspected;
use analysis::stacks::{Registers, SystemCall, Thread};
use std::collections::HashMap;

/// The threads that the debugger knows, in its order. A core file tells all their registers; of a process on this machine it is
/// known where they are.
pub fn of(inspected: &Inspected) -> Vec<Thread> {
    let in_core: HashMap<u64, &target::Thread> =
        inspected.threads_in_core().iter().map(|thread| (thread.id.into(), thread)).collect();
    let thread = |thread: &lldb::Thread| {
        let id = thread.id();
        let state = inspected.states.get(&id);
        let registers = match (in_core.get(&id).and_then(|thread| thread.named()), state) {
            (Some(named), _) => named.collect(),
            (None, Some(state)) => [("rsp", state.stack_pointer), ("rip", state.pc)].into_iter().collect(),
            (None, None) => of_debugger(thread),
        };
        let call = state.and_then(|state| state.call).map(|(number, arguments)| SystemCall { number, arguments });
        Thread { number: thread.index().into(), id, name: thread.name(), registers, call }
    };
    inspected.threads.iter().map(thread).collect()
}

fn of_debugger(thread: &lldb::Thread) -> Registers {
    let known = [("rsp", thread.stack_pointer()), ("rip", thread.pc())];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
