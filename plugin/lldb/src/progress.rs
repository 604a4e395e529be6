//! SBProgress.

use crate::optional::{ByValue, ProgressDrop, ProgressIncrement};
use crate::{Debugger, Host, text};
use std::cell::UnsafeCell;

/// A progress that the debugger tells whoever listens, such as an editor, which shows it as a notice. It begins when it
/// is made and ends when it is dropped. At a prompt LLDB may show it as well, on the line below.
///
/// It may be made, advanced and dropped on any thread.
pub struct Progress {
    /// The SBProgress, on the heap, where it stays.
    object: Box<UnsafeCell<ByValue>>,
    increment: ProgressIncrement,
    destroy: ProgressDrop,
    done: u64,
    total: u64,
}

// SAFETY: an SBProgress owns a Progress, which guards its state with a mutex and names its debugger by number, not by
// address; the events that it sends go through broadcasters, which any thread may use.
unsafe impl Send for Progress {}

impl Progress {
    /// Begins one, of `total` units; `None` where this LLDB has no such thing.
    pub fn begin(debugger: &Debugger, title: &str, details: &str, total: u64) -> Option<Self> {
        let (construct, increment, destroy) = Host::current().optional().progress?;
        let (title, details) = (text::c_string(title), text::c_string(details));
        let object = Box::new(UnsafeCell::new([0; 2]));
        // SAFETY: LLDB constructs an SBProgress in `object`, which has room for one, and copies both texts.
        unsafe { construct(object.get(), title.as_ptr(), details.as_ptr(), total, debugger.reference()) };
        Some(Self { object, increment, destroy, done: 0, total })
    }

    /// Says that `done` units are done, and what is under way. It never goes back, nor beyond the total.
    pub fn advance(&mut self, done: u64, details: &str) {
        let done = done.min(self.total);
        let Some(amount) = done.checked_sub(self.done).filter(|amount| *amount > 0) else { return };
        self.done = done;
        let details = text::c_string(details);
        // SAFETY: the object is an SBProgress; LLDB copies the text.
        unsafe { (self.increment)(self.object.get(), amount, details.as_ptr()) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // SAFETY: the object is an SBProgress, and destroyed once. That is what sends the end.
        unsafe { (self.destroy)(self.object.get()) }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("done", &self.done).field("total", &self.total).finish_non_exhaustive()
    }
}
