//! SBThread.

use crate::class::sb_class;
use crate::target::valid;
use crate::{Frame, text};
use lldb_sys as sys;

sb_class! {
    /// A thread of a process.
    Thread(SBThreadRef, DisposeSBThread)
}

// SAFETY: SBThread holds a pointer to an execution context, counted atomically, in which the process is held weakly. Nothing but
// dropping it is done on other threads than the command's, which `Thread`'s users see to.
unsafe impl Send for Thread {}

/// A call on a thread's stack, as LLDB unwinds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub pc: u64,
    /// The canonical frame address, where this LLDB tells it.
    pub cfa: Option<u64>,
}

impl Thread {
    /// Whether it is still there.
    pub fn is_valid(&self) -> bool {
        // SAFETY: the thread is ours.
        unsafe { sys::SBThreadIsValid(self.reference) }
    }

    /// The number by which users know it: 1, 2, ….
    pub fn index(&self) -> u32 {
        // SAFETY: the thread is ours.
        unsafe { sys::SBThreadGetIndexID(self.reference) }
    }

    /// The system's id of it.
    pub fn id(&self) -> u64 {
        // SAFETY: the thread is ours.
        unsafe { sys::SBThreadGetThreadID(self.reference) }
    }

    /// The name that the program gave it.
    pub fn name(&self) -> Option<String> {
        // SAFETY: the thread is ours, and the text is copied at once.
        unsafe { text::copy(sys::SBThreadGetName(self.reference)) }
    }

    /// Its stack pointer.
    pub fn stack_pointer(&self) -> Option<u64> {
        // SAFETY: the thread is ours, and so is the frame that comes back.
        let frame = unsafe { Frame::from_owned(sys::SBThreadGetFrameAtIndex(self.reference, 0)) };
        valid(frame.stack_pointer())
    }

    /// Where it is.
    pub fn pc(&self) -> Option<u64> {
        // SAFETY: the thread is ours, and so is the frame that comes back.
        unsafe { Frame::from_owned(sys::SBThreadGetFrameAtIndex(self.reference, 0)) }.pc()
    }

    /// What registers of these names hold in the frame that it is in, as far as there are such ones. Asking for a set of
    /// registers as LLDB has them takes ten times as long.
    pub fn registers<'a>(&self, names: &[&'a str]) -> Vec<(&'a str, u64)> {
        // SAFETY: the thread is ours, and so is the frame that comes back.
        let frame = unsafe { Frame::from_owned(sys::SBThreadGetFrameAtIndex(self.reference, 0)) };
        names.iter().filter_map(|name| Some((*name, frame.register(name)?.unsigned()?))).collect()
    }

    /// Its calls, the innermost first, without those that were inlined, and whether these are all: at most so many are looked
    /// at.
    pub fn calls(&self, most: u32) -> (Vec<Call>, bool) {
        let mut calls: Vec<Call> = Vec::new();
        for index in 0..most {
            // SAFETY: the thread is ours, and so is the frame that comes back.
            let frame = unsafe { Frame::from_owned(sys::SBThreadGetFrameAtIndex(self.reference, index)) };
            if !frame.is_valid() {
                return (calls, true);
            }
            if frame.is_inlined() {
                continue;
            }
            let Some(pc) = frame.pc() else { return (calls, true) };
            calls.push(Call { pc, cfa: valid(frame.cfa()) });
        }
        (calls, false)
    }

    /// The frame that the user looks at.
    pub fn selected_frame(&self) -> Option<Frame> {
        // SAFETY: the thread is ours, and so is what comes back.
        let frame = unsafe { Frame::from_owned(sys::SBThreadGetSelectedFrame(self.reference)) };
        frame.is_valid().then_some(frame)
    }
}
