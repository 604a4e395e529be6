//! SBError.

use crate::text;
use lldb_sys as sys;

/// What LLDB says went wrong, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub message: String,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// The first line of what LLDB says, without its own prefixes; what follows it is a picture of the place.
    pub(crate) fn from_lldb(message: &str) -> Self {
        let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown error").trim();
        let line = line.strip_prefix("error: ").unwrap_or(line);
        let place = line.starts_with("<user expression").then(|| line.split_once(": ")).flatten();
        let line = place.map_or(line, |(_, line)| line);
        Self::new(line.strip_prefix("error: ").unwrap_or(line))
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
                Some(message) => Err(Self::from_lldb(&message.unwrap_or_default())),
            }
        }
    }
}
