//! Something that happens, for which any number of processes may wait.
//!
//! The word counts what has happened, and its lowest bit says that somebody may be waiting, so that it costs nothing when
//! nobody is. A waiter that is killed when it has just been woken takes the wake-up with it; so each waits for
//! [`ONCE`] at most, and then looks for itself.

use crate::futex;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::{Duration, Instant};

/// The longest sleep.
const ONCE: Duration = Duration::from_millis(100);

/// Somebody may be waiting.
const WAITING: u32 = 1;
/// One thing that has happened.
const STEP: u32 = 2;

/// Waits until it happens, or the deadline comes, or for no reason; not at all if `ready` says yes.
pub(super) fn wait(word: &AtomicU32, deadline: Option<Instant>, mut ready: impl FnMut() -> bool) {
    let seen = word.fetch_or(WAITING, Ordering::SeqCst) | WAITING;
    fence(Ordering::SeqCst);
    if !ready() {
        let once = Instant::now() + ONCE;
        futex::wait(word, seen, Some(deadline.map_or(once, |deadline| deadline.min(once))));
    }
}

/// Says that it has happened, to one that waits. What has happened must have been published before.
pub(super) fn happened(word: &AtomicU32) {
    fence(Ordering::SeqCst);
    if word.load(Ordering::Relaxed) & WAITING == 0 {
        return;
    }
    let now = word.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
    if futex::wake(word, 1) == 0 {
        // Nobody waits. Who has begun to wait since, for the number that this puts an end to, is woken.
        let quiet = now.wrapping_add(STEP) & !WAITING;
        if word.compare_exchange(now, quiet, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            futex::wake(word, u32::MAX);
        }
    }
}

/// Says that it has happened, to all that wait.
pub(super) fn happened_to_all(word: &AtomicU32) {
    word.fetch_add(STEP, Ordering::SeqCst);
    futex::wake(word, u32::MAX);
}
