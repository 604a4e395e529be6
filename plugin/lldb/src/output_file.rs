//! SBFile, as far as output goes.

use crate::Error;
use crate::class::sb_class;
use lldb_sys as sys;

sb_class! {
    /// A file that LLDB writes to.
    OutputFile(SBFileRef, DisposeSBFile)
}

impl OutputFile {
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
