//! SBFrame.

use crate::class::sb_class;
use crate::value::{self, Value};
use crate::{Error, text};
use lldb_sys as sys;

sb_class! {
    /// A call on a thread's stack.
    Frame(SBFrameRef, DisposeSBFrame)
}

impl Frame {
    /// Whether it is still there.
    pub fn is_valid(&self) -> bool {
        // SAFETY: the frame is ours.
        unsafe { sys::SBFrameIsValid(self.reference) }
    }

    pub(crate) fn stack_pointer(&self) -> u64 {
        // SAFETY: the frame is ours.
        unsafe { sys::SBFrameGetSP(self.reference) }
    }

    /// What a register holds in it.
    pub fn register(&self, name: &str) -> Option<Value> {
        let name = text::c_string(name);
        // SAFETY: the frame is ours, and so is what comes back.
        unsafe { Value::checked(sys::SBFrameFindRegister(self.reference, name.as_ptr())) }.ok()
    }

    /// What a path such as `p->next` or `&table[2]` stands for. Nothing runs in the process, and nothing is mapped.
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn variable(&self, path: &str) -> Result<Value, Error> {
        let path = text::c_string(path);
        // SAFETY: the frame is ours, and so is what comes back.
        unsafe {
            Value::checked(sys::SBFrameGetValueForVariablePath(
                self.reference,
                path.as_ptr(),
                sys::DynamicValueType::NoDynamicValues,
            ))
        }
    }

    /// Evaluates an expression, without compiling code into the process and without letting it run. LLDB may map a page
    /// in it even so.
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn evaluate(&self, expression: &str) -> Result<Value, Error> {
        let expression = text::c_string(expression);
        value::with_safe_options(|options| {
            // SAFETY: frame and options are valid, and the value that comes back ours.
            unsafe { Value::checked(sys::SBFrameEvaluateExpression(self.reference, expression.as_ptr(), options)) }
        })
    }
}
