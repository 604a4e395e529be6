//! SBError.

use crate::text;
use lldb_sys as sys;

/// What LLDB says went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub message: String,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// Turns an SBError into a result, and disposes of it.
    ///
    /// # Safety
    /// `error` is an SBError that the caller owns.
    pub(crate) unsafe fn take(error: sys::SBErrorRef) -> Result<(), Self> {
        // SAFETY: the caller gives us a valid SBError; its text is copied before it is disposed of.
        unsafe {
            let failed = sys::SBErrorFail(error).then(|| text::copy(sys::SBErrorGetCString(error)));
            sys::DisposeSBError(error);
            match failed {
                None => Ok(()),
                Some(message) => Err(Self::new(message.unwrap_or_else(|| "unknown error".to_owned()))),
            }
        }
    }
}
