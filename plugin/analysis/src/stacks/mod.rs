//! Stacks of threads: unwound by workers, grouped by what they have in common.
//!
//! A stack is unwound from memory by the call frame information of the modules' files ([`Unwind`]). What is needed of a thread
//! to begin with is where it is and its stack pointer; of other registers only those that a rule asks for, since a debugger takes
//! long to tell them for thousands of threads.

mod groups;
mod named;
mod registers;
mod tree;
mod unwind;

pub use groups::{Group, groups};
pub use named::{Names, addresses};
pub use registers::{Register, Registers};
pub use tree::tree;
pub use unwind::{CUT, Setup, Unwind, UnwindScanner, View, returns_from_signal};

use serde::{Deserialize, Serialize};

/// A thread, as the target tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The debugger's number of it: 1, 2, ….
    pub number: u64,
    /// The system's id of it.
    pub id: u64,
    /// The id that the process itself knows it by, and has in its locks: another one in a container.
    pub own_id: u64,
    pub name: Option<String>,
    pub registers: Registers,
    /// The system call that it is in.
    pub call: Option<SystemCall>,
    /// Whether it is known if it is in a system call.
    pub told: bool,
}

impl Thread {
    /// The system call that it is in, or `running`; `None` if that is not known, or the call has no name.
    pub fn state(&self) -> Option<&'static str> {
        match &self.call {
            Some(call) => call.name(),
            None => self.told.then_some("running"),
        }
    }
}

/// A system call that a thread has not come back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemCall {
    pub number: u64,
    pub arguments: [u64; 6],
}

impl SystemCall {
    /// `read`, `futex`, …, as Linux calls it on x86-64.
    pub fn name(&self) -> Option<&'static str> {
        let number = usize::try_from(self.number).ok()?;
        syscalls::x86_64::Sysno::new(number).map(|call| call.name())
    }
}

/// A call on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Frame {
    /// Where it is: the next instruction, or where the call that it makes returns to.
    pub pc: u64,
    /// Its canonical frame address: the stack pointer before it was called. 0 if that is not known.
    pub cfa: u64,
    /// Whether `pc` is an instruction that was interrupted, by a stop or a signal, and none that a call returns to.
    pub interrupted: bool,
}

impl Frame {
    /// An address within the instruction that the frame is at: a call ends where it returns to, which may be another function.
    pub fn within(&self) -> u64 {
        if self.interrupted { self.pc } else { self.pc.saturating_sub(1) }
    }
}

/// The calls of a thread, the innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// At least where the thread is, unless nothing is known of it.
    pub frames: Vec<Frame>,
    pub end: End,
}

/// Why no more calls are known of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum End {
    /// The last one was called by nobody: its call frame information says so, or it returns to 0.
    #[default]
    Outermost,
    /// A rule needs a register of the thread that is not known.
    Needs(Register),
    /// The last one is at an address that is in no code.
    NoCode,
    /// The last one is in code that has no call frame information.
    NoRules,
    /// Its call frame information cannot be read.
    Malformed,
    /// The stack cannot be read here.
    Unreadable(u64),
    /// Its caller would lie no higher on the same stack.
    Loop,
    /// As many frames are looked at, and there are more.
    Deep,
    /// Its worker was lost.
    Lost,
}

impl End {
    /// Why the stack is cut short, as a fragment; `None` where it is whole.
    pub fn reason(&self) -> Option<String> {
        Some(match self {
            Self::Outermost => return None,
            Self::Needs(register) => {
                let name = Registers::NAMES.get(usize::from(*register)).unwrap_or(&"a register");
                format!("what {name} holds here is not known")
            }
            Self::NoCode => "it is at an address that is in no code".to_owned(),
            Self::NoRules => "its code has no call frame information".to_owned(),
            Self::Malformed => "its call frame information is malformed".to_owned(),
            Self::Unreadable(address) => format!("the stack cannot be read at {address:#x}"),
            Self::Loop => "its caller would lie no higher on the stack".to_owned(),
            Self::Deep => "more calls are not looked at".to_owned(),
            Self::Lost => "a worker was lost over it".to_owned(),
        })
    }
}
