//! SBThread.

use crate::class::sb_class;
use crate::target::valid;
use crate::{Frame, text};
use lldb_sys as sys;

sb_class! {
    /// A thread of a process.
    Thread(SBThreadRef, DisposeSBThread)
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

    /// The general registers, by name, of the frame that it is in.
    pub fn registers(&self) -> Vec<(String, u64)> {
        // SAFETY: the thread is ours, and so is the frame that comes back.
        let frame = unsafe { Frame::from_owned(sys::SBThreadGetFrameAtIndex(self.reference, 0)) };
        frame.general_registers()
    }

    /// The frame that the user looks at.
    pub fn selected_frame(&self) -> Option<Frame> {
        // SAFETY: the thread is ours, and so is what comes back.
        let frame = unsafe { Frame::from_owned(sys::SBThreadGetSelectedFrame(self.reference)) };
        frame.is_valid().then_some(frame)
    }
}
