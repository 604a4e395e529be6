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
use crate::stacks::{Frame, Registers, SystemCall, Thread};
use reader::Reader;
use std::sync::Arc;
use target::{AddressSpace, ReadMemory};

/// A thread with its calls, the innermost first.
#[derive(Clone, Debug, Default)]
pub struct ThreadCalls {
    pub thread: Thread,
    pub calls: Vec<Call>,
}

/// A frame, and the functions that it is in: those that are inlined there, the innermost first, and the one that they are inlined
/// into, the last.
#[derive(Clone, Debug)]
pub struct Call {
    pub frame: Frame,
    /// Path of the module.
    pub module: Option<Arc<str>>,
    /// The symbol that it lies in, and how many bytes from its beginning.
    pub symbol: Option<(Arc<str>, u64)>,
    pub functions: Arc<[FrameRow]>,
}

/// The system call that a thread is in as it seems, where nobody tells: futex(2), if it has called what waits and the instruction
/// before where it is makes a system call. The kernel leaves the arguments in the registers.
pub fn seeming_call(calls: &ThreadCalls, registers: &Registers, memory: &dyn ReadMemory) -> Option<SystemCall> {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let before = registers.get(Registers::PC)?.checked_sub(2)?;
    let waits = site::site(calls).hint.is_some() && Reader(memory).bytes(before) == Some(SYSCALL);
    // rdi, rsi, rdx, r10, r8 and r9, by their DWARF numbers.
    let arguments = [5, 4, 1, 10, 8, 9].map(|register| registers.get(register).unwrap_or(0));
    (waits && registers.get(5).is_some()).then_some(SystemCall { number: futex::FUTEX, arguments })
}

/// All threads that wait, and what for: cycles first, then queues, then other waits, of each the longest first. A thread that waits
/// is in exactly one row. Symbols of locks are left to who names addresses.
///
/// `stop` is asked before each stack that is looked through. Once it says so no more are, and owners that locks do not tell are
/// candidates at most.
pub fn deadlocks(
    threads: &[ThreadCalls],
    memory: &dyn ReadMemory,
    space: &AddressSpace,
    stop: &dyn Fn() -> bool,
) -> Vec<DeadlockRow> {
    let waits = waits::Waits::new(threads, Reader(memory));
    let owners = owners::owners(threads, &waits, memory, space, stop);
    rows::Rows::new(threads, &waits, &owners).all()
}
