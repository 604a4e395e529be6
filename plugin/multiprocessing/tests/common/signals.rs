//! Signals that interrupt a thread in whatever it waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So many signals come before what is waited for does.
const TIMES: u32 = 20;

/// Says that it is over, also when the waiting panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs `wait` while signals come to this thread again and again, whose handler does not let system calls go on; and `then`, in
/// another thread, once some have come.
pub fn interrupted<T>(wait: impl FnOnce() -> T, then: impl FnOnce() + Send) -> T {
    extern "C" fn handler(_: i32) {}
    let action = nix::sys::signal::SigAction::new(
        nix::sys::signal::SigHandler::Handler(handler),
        nix::sys::signal::SaFlags::empty(),
        nix::sys::signal::SigSet::empty(),
    );
    // SAFETY: the handler does nothing at all.
    unsafe { nix::sys::signal::sigaction(nix::sys::signal::Signal::SIGUSR1, &action) }.expect("a handler");
    let (process, thread) = (std::process::id(), nix::unistd::gettid().as_raw());
    let interrupt = move || {
        // SAFETY: the system call takes three numbers, and the thread lives: it waits for the one that runs this.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
        std::thread::sleep(Duration::from_millis(1));
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            (0..TIMES).for_each(|_| interrupt());
            then();
            while !over.load(Ordering::SeqCst) {
                interrupt();
            }
        });
        wait()
    })
}
