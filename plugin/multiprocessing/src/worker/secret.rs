//! What this process was told in its environment, and does not pass on.

use crate::launch::KEY;
use std::ffi::OsString;

/// The key to whoever this process is to connect to. It is no part of the environment any more after this.
///
/// It must be called before there is a second thread.
pub(super) fn key() -> Option<OsString> {
    let key = std::env::var_os(KEY);
    // SAFETY: no other thread reads the environment, for there is none: a worker program comes here before it starts any, which is
    // what the documentation asks of it.
    unsafe { std::env::remove_var(KEY) };
    key
}
