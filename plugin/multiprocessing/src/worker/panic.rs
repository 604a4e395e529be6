//! What is kept of a panic, to be told to the pool.

use super::say;
use super::serve::REPORT;
use crate::bounded;
use crate::wire::Panic;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::backtrace::Backtrace;
use std::sync::{Mutex, PoisonError};

/// The longest text of a panic that is sent, in bytes.
const PANIC_TEXT: usize = 32 * 1024;

/// The last panic of any thread: a task may have threads of its own, whose panics it passes on.
static NOTED: Mutex<Option<Panic>> = Mutex::new(None);

/// The last panic, if there was one since this was last asked.
pub(super) fn take() -> Option<Panic> {
    NOTED.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The panic hook: keeps the message and the backtrace for the answer.
pub(super) fn note(info: &std::panic::PanicHookInfo<'_>) {
    let payload = info.payload();
    let message =
        payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("a panic with a value that is no text");
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    say(format_args!("panicked: {message}{place}"));
    // Finding the functions' names takes memory, which may be more than the limit has left.
    if let Some(report) = REPORT.get() {
        report.panic();
    }
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_DATA) {
        let _ = setrlimit(Resource::RLIMIT_DATA, hard, hard);
    }
    let backtrace = Backtrace::force_capture().to_string();
    let panic =
        Panic { message: bounded(format!("{message}{place}"), PANIC_TEXT), backtrace: bounded(backtrace, PANIC_TEXT) };
    *NOTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
}
