//! What the target tells of its threads before they are unwound.

use crate::inspect::{Access, Inspected};
use analysis::deadlocks::PRESERVED;
use analysis::stacks::{Registers, SystemCall, Thread};
use std::collections::HashMap;
use target::live;

/// The threads that the debugger knows, in its order. A core file tells all their registers; of a process on this machine it is
/// known where they are.
pub fn of(inspected: &Inspected) -> Vec<Thread> {
    let in_core: HashMap<u64, &target::Thread> =
        inspected.threads_in_core().iter().map(|thread| (thread.id.into(), thread)).collect();
    let live = match &inspected.access {
        Access::Direct { identity, .. } => identity.as_ref().map(|identity| identity.pid),
        Access::Relayed(_) => None,
    };
    let contained = live.filter(|pid| live::has_own_ids(*pid));
    let own_id = |id: u64| contained.and_then(|pid| live::own_id(pid, u32::try_from(id).ok()?)).map_or(id, u64::from);
    let thread = |thread: &lldb::Thread| {
        let id = thread.id();
        let state = inspected.states.get(&id);
        let registers = match (in_core.get(&id).and_then(|thread| thread.named()), state) {
            (Some(named), _) => named.collect(),
            (None, Some(state)) => [("rsp", state.stack_pointer), ("rip", state.pc)].into_iter().collect(),
            (None, None) => of_debugger(thread),
        };
        let call = state.and_then(|state| state.call).map(|(number, arguments)| SystemCall { number, arguments });
        let (own_id, told) = (own_id(id), state.is_some());
        Thread { number: thread.index().into(), id, own_id, name: thread.name(), registers, call, told }
    };
    inspected.threads.iter().map(thread).collect()
}

/// Adds what callees may leave unsaved, for a job in the background, which cannot ask for it when it is needed.
pub fn complete(threads: &mut [Thread], inspected: &Inspected) {
    for (thread, debuggers) in threads.iter_mut().zip(&inspected.threads) {
        let known = debuggers.registers(&PRESERVED);
        thread.registers.complete(&known.into_iter().collect());
    }
}

fn of_debugger(thread: &lldb::Thread) -> Registers {
    let known = [("rsp", thread.stack_pointer()), ("rip", thread.pc())];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
