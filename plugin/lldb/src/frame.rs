//! SBFrame.

use crate::class::sb_class;
use crate::optional::DilMode;
use crate::target::valid;
use crate::value::{self, Value};
use crate::{Error, Host, text};
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

    pub(crate) fn pc(&self) -> Option<u64> {
        // SAFETY: the frame is ours.
        valid(unsafe { sys::SBFrameGetPC(self.reference) })
    }

    /// Its canonical frame address: the stack pointer before it was called.
    pub(crate) fn cfa(&self) -> u64 {
        // SAFETY: the frame is ours.
        unsafe { sys::SBFrameGetCFA(self.reference) }
    }

    /// Whether there is no such call on the stack, but only in the source: of a function that was inlined, or that made a
    /// tail call.
    pub(crate) fn is_inlined(&self) -> bool {
        // SAFETY: the frame is ours.
        unsafe { sys::SBFrameIsInlined(self.reference) || sys::SBFrameIsArtificial(self.reference) }
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
    /// What LLDB says of it, and if it is more than a path: some versions of LLDB would assign in it.
    pub fn variable(&self, path: &str) -> Result<Value, Error> {
        if !is_path(path) {
            return Err(Error::new(format!("'{path}' is more than a variable path")));
        }
        let Some((variable_path, destroy)) = Host::current().optional().variable_path else {
            return Err(Error::new("this LLDB has no variable paths"));
        };
        let path = text::c_string(path);
        let mut value = [0; 2];
        let dynamic = sys::DynamicValueType::NoDynamicValues;
        // SAFETY: the frame is ours. LLDB constructs an SBValue in `value`, which has room for one, which is copied to
        // one that is ours, and destroyed once.
        unsafe {
            variable_path(&raw mut value, self.reference, path.as_ptr(), dynamic, DilMode::Legacy);
            let copy = Value::checked(sys::CloneSBValue((&raw mut value).cast()));
            destroy(&raw mut value);
            copy
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

/// Whether a text has only what a variable path is made of: names, scopes, numbers, `.`, `->`, `*`, `&`, `[]`, `()`.
fn is_path(text: &str) -> bool {
    let plain = text.replace("->", "");
    !plain.is_empty() && plain.chars().all(|letter| letter.is_alphanumeric() || "_$.:*&[]() ".contains(letter))
}
