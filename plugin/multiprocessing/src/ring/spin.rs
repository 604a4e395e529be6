//! Waiting awake for what another processor is about to do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long it pays: about what a wake-up across processors takes.
const PATIENCE: Duration = Duration::from_micros(60);

/// How often to look between two looks at the clock.
const LOOKS: u32 = 32;

/// The number of the processor on which this thread runs, and one; zero if it is not known.
pub(super) fn processor() -> u32 {
    // SAFETY: it has no arguments, and touches nothing.
    let number = unsafe { libc::sched_getcpu() };
    u32::try_from(number).map_or(0, |number| number.wrapping_add(1))
}

/// Looks until `ready` says yes, as long as it pays: not at all if the other side last ran on this processor, `own`, for it
/// cannot run while this side looks. Whether `ready` said yes.
pub(super) fn until(other: &AtomicU32, own: u32, mut ready: impl FnMut() -> bool) -> bool {
    let useless = |own: u32| {
        let other = other.load(Ordering::Relaxed);
        other == 0 || own == 0 || other == own
    };
    if ready() {
        return true;
    }
    if useless(own) {
        return false;
    }
    let start = Instant::now();
    loop {
        for _ in 0..LOOKS {
            std::hint::spin_loop();
            if ready() {
                return true;
            }
        }
        if start.elapsed() > PATIENCE || useless(processor()) {
            return false;
        }
    }
}
