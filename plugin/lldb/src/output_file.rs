//! SBFile, as far as output goes.

use crate::Error;
use lldb_sys as sys;

/// A file that LLDB writes to.
#[derive(Debug)]
pub struct OutputFile {
    reference: sys::SBFileRef,
}

impl OutputFile {
    /// # Safety
    /// `reference` is an SBFile that the caller owns and gives away.
    pub(crate) unsafe fn from_owned(reference: sys::SBFileRef) -> Self {
        Self { reference }
    }

    pub(crate) fn reference(&self) -> sys::SBFileRef {
        self.reference
    }

    /// Writes all of `text`; it may stay in a buffer until [`flush`](Self::flush).
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn write(&self, text: &str) -> Result<(), Error> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let mut written = 0;
            // SAFETY: the file is valid, and the buffer as long as said.
            let error = unsafe { sys::SBFileWrite(self.reference, rest.as_ptr(), rest.len(), &raw mut written) };
            // SAFETY: the error is ours.
            unsafe { Error::take(error) }?;
            if written == 0 {
                return Err(Error::new("the debugger's output is closed"));
            }
            rest = &rest[written.min(rest.len())..];
        }
        Ok(())
    }

    /// Brings what was written to where it goes.
    ///
    /// # Errors
    /// What LLDB says of it.
    pub fn flush(&self) -> Result<(), Error> {
        // SAFETY: the file is valid, and the error ours.
        unsafe { Error::take(sys::SBFileFlush(self.reference)) }
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // SAFETY: the SBFile is ours, and disposed of once.
        unsafe { sys::DisposeSBFile(self.reference) }
    }
}
