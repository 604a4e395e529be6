//! SBFileSpec.

use lldb_sys as sys;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The longest path that Linux takes, with its NUL.
const PATH_MAX: usize = 4096;

/// The path that a file specification stands for; `None` if it is empty.
///
/// # Safety
/// `file` is an SBFileSpec; it stays the caller's.
pub unsafe fn path(file: sys::SBFileSpecRef) -> Option<PathBuf> {
    let mut buffer = vec![0_u8; PATH_MAX];
    // SAFETY: the caller vouches for the object, and the buffer is as long as said.
    let length = unsafe { sys::SBFileSpecGetPath(file, buffer.as_mut_ptr().cast(), buffer.len()) };
    let length = usize::try_from(length).unwrap_or(0).min(buffer.len());
    buffer.truncate(length);
    let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(length);
    buffer.truncate(end);
    (!buffer.is_empty()).then(|| PathBuf::from(OsString::from_vec(buffer)))
}

/// Like [`path`], for one that is ours.
///
/// # Safety
/// `file` is an SBFileSpec that the caller owns and gives away.
pub unsafe fn take_path(file: sys::SBFileSpecRef) -> Option<PathBuf> {
    // SAFETY: the caller vouches for it; the path is copied before it is disposed of.
    unsafe {
        let path = path(file);
        sys::DisposeSBFileSpec(file);
        path
    }
}
