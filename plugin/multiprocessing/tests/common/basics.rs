//! What the tests of all subjects share.

#[path = "../worker/identity.rs"]
mod identity;

pub use identity::IDENTITY;
use multiprocessing::Program;
use std::path::Path;
use std::time::{Duration, Instant};

/// Long enough for whatever is to happen on a busy machine. Nothing waits so long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for others to have begun to wait, or for something to show that must not happen.
pub const SOON: Duration = Duration::from_millis(20);

/// The worker program's file.
pub fn worker() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_multiprocessing-test-worker"))
}

pub fn program() -> Program {
    Program::new(worker(), IDENTITY)
}

/// Waits for something that is about to be so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: `kill` takes two numbers.
    unsafe { libc::kill(pid as i32, signal) };
}
