//! Who waits for whom: locks that threads wait for, who owns them, and where that goes round in a circle.

use crate::report::FrameRow;
use crate::stacks::{Frame, Thread};
use std::sync::Arc;

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
