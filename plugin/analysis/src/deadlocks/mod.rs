//! Who waits for whom: locks that threads wait for, who owns them, and where that goes round in a circle.
//!
//! ```text
//! system call ──▶ futex ──▶ lock ──▶ owners ──▶ graph of threads ──▶ cycles, queues, waits
//! ```
//!
//! A thread that waits is in futex(2) with the address of a word. What that is a word of is told by the functions that the thread has
//! called, and by memory, which has to bear it out: a lock of which memory says something else is shown as unknown. Memory is foreign:
//! each lock is read once, in so many bytes as its structure has, and of stacks no more than a bound.

mod futex;
mod graph;
mod lock;
mod owners;
mod pthread;
mod reader;
mod rows;
mod rust;
mod site;
mod stack;
#[cfg(test)]
mod tests;
mod waits;

use crate::report::{DeadlockRow, FrameRow};
use crate::stacks::{Registers, Stack, SystemCall, Thread};
use reader::Reader;
pub use site::INNERMOST;
use std::sync::Arc;
use target::{AddressSpace, ReadMemory};

/// A thread with its stack.
#[derive(Clone, Debug, Default)]
pub struct ThreadCalls {
    pub thread: Thread,
    pub stack: Stack,
    /// The functions of its frames, in their order; no more than the first [`INNERMOST`] are looked at.
    pub calls: Vec<Call>,
}

/// The functions that a frame is in: those that are inlined there, the innermost first, and the one that they are inlined into,
/// the last.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where it is.
    pub pc: u64,
    /// Path of the module.
    pub module: Option<Arc<str>>,
    /// The symbol that it lies in, and how many bytes from its beginning.
    pub symbol: Option<(Arc<str>, u64)>,
    pub functions: Arc<[FrameRow]>,
}

/// The registers that futex(2) has what it waits for in. The kernel leaves them as they were.
pub const ARGUMENTS: [&str; 3] = ["rdi", "rsi", "rdx"];

/// The registers that a function leaves as they were for its caller, so that a lock may be known to a thread by them alone.
pub const PRESERVED: [&str; 6] = ["rbx", "rbp", "r12", "r13", "r14", "r15"];

/// Whether a thread is in futex(2) as it seems, where nobody tells: it has called what waits, and the instruction before where it is
/// makes a system call.
pub fn seems_to_wait(calls: &ThreadCalls, memory: &dyn ReadMemory) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let makes_call = |pc: u64| Reader(memory).bytes(pc.checked_sub(2)?).map(|bytes| bytes == SYSCALL);
    site::site(calls).hint.is_some() && calls.thread.registers.get(Registers::PC).and_then(makes_call) == Some(true)
}

/// The call of futex(2) that a thread is in, by its [`ARGUMENTS`].
pub fn waiting_call(registers: &Registers) -> Option<SystemCall> {
    let [address, operation, expected] = ARGUMENTS.map(|name| registers.named(name));
    Some(SystemCall { number: futex::FUTEX, arguments: [address?, operation?, expected?, 0, 0, 0] })
}

/// All threads that wait, and what for: cycles first, then queues, then other waits, of each the longest first. A thread that waits
/// is in exactly one row. Symbols of locks are left to who names addresses.
///
/// `stop` is asked before each stack that is looked through. Once it says so no more are, and owners that locks do not tell are
/// candidates at most. `ask` tells of a thread, by its place, what it has in its [`PRESERVED`] registers; of a few it is asked that
/// have none of them known, where stacks do not lead to as many owners as a lock has. It tells `None` if nobody can be asked.
pub fn deadlocks(
    threads: &[ThreadCalls],
    memory: &dyn ReadMemory,
    space: &AddressSpace,
    stop: &dyn Fn() -> bool,
    ask: &dyn Fn(usize) -> Option<Registers>,
) -> Vec<DeadlockRow> {
    let waits = waits::Waits::new(threads, Reader(memory));
    let owners = owners::owners(threads, &waits, owners::Looking { memory, space, stop, ask });
    rows::Rows::new(threads, &waits, &owners).all()
}
