//! What the target tells of its threads before they are unwound.

use crate::inspect::{Access, Inspected};
use analysis::stacks::{Registers, SystemCall, Thread};
use std::collections::HashMap;
use target::live;

/// The threads that the debugger knows, in its order. A core file tells all their registers. Of a process on this machine the kernel
/// tells where they are, which the debugger would take a hundred times as long for.
pub fn of(inspected: &Inspected) -> Vec<Thread> {
    let pid = inspected.info.pid.and_then(|pid| u32::try_from(pid).ok());
    let in_core: HashMap<u64, &target::Thread> =
        inspected.threads_in_core().iter().map(|thread| (thread.id.into(), thread)).collect();
    let is_live = matches!(&inspected.access, Access::Direct { core: None, .. });
    let state = |id: u64| live::thread_state(pid.filter(|_| is_live)?, u32::try_from(id).ok()?);
    let thread = |thread: &lldb::Thread| {
        let id = thread.id();
        let (registers, call) = match (in_core.get(&id).and_then(|thread| of_core(thread)), state(id)) {
            (Some(known), _) => known,
            (None, Some(state)) => of_kernel(state),
            (None, None) => (of_debugger(thread), None),
        };
        Thread { number: thread.index().into(), id, name: thread.name(), registers, call }
    };
    inspected.threads.iter().map(thread).collect()
}

fn of_kernel(state: live::ThreadState) -> (Registers, Option<SystemCall>) {
    let registers = [("rsp", state.stack_pointer), ("rip", state.pc)].into_iter().collect();
    (registers, state.call.map(|(number, arguments)| SystemCall { number, arguments }))
}

fn of_debugger(thread: &lldb::Thread) -> Registers {
    let known = [("rsp", thread.stack_pointer()), ("rip", thread.pc())];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Of a thread of x86-64.
fn of_core(thread: &target::Thread) -> Option<(Registers, Option<SystemCall>)> {
    let named: HashMap<&str, u64> = thread.named()?.collect();
    // The number of the call is negative in a thread that is in none.
    let call = i64::try_from(named["orig_rax"]).ok().map(|number| SystemCall {
        number: number.unsigned_abs(),
        arguments: ["rdi", "rsi", "rdx", "r10", "r8", "r9"].map(|name| named[name]),
    });
    Some((named.into_iter().collect(), call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_files_registers_are_found_by_their_names() {
        let mut thread = target::Thread { id: 1, stack_pointer: None, registers: (100..127).collect() };
        thread.registers[15] = 202;
        let (known, call) = of_core(&thread).unwrap();
        let shown = [Registers::PC, Registers::SP, 6].map(|register| known.get(register));
        assert_eq!(shown, [Some(116), Some(119), Some(104)]);
        assert_eq!(call, Some(SystemCall { number: 202, arguments: [114, 113, 112, 107, 109, 108] }));
        thread.registers[15] = u64::MAX;
        assert_eq!(of_core(&thread).unwrap().1, None);
        thread.registers.pop();
        assert_eq!(of_core(&thread), None);
    }
}
