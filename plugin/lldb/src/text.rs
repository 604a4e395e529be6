//! Text in and out of LLDB.

use std::ffi::{CStr, CString, c_char};

/// A copy of LLDB's text, with what is not UTF-8 replaced; `None` for a null pointer.
///
/// # Safety
/// `text` is null or points to a string that ends in NUL and stays as it is during the call.
pub unsafe fn copy(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: it is not null, so the caller vouches for it.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Text as LLDB takes it. It can hold no NUL, so those are shown as U+2400.
pub fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{2400}")).unwrap_or_default()
}
