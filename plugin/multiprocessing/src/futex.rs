//! Waiting for a word of memory to change, across processes: Linux's futex.

use std::io;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Waits while the word is `expected`, until somebody wakes it or `deadline` has come. It may also return for no reason,
/// so the caller looks again. Returns whether there is time left.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
    let time = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        Some(Duration::ZERO) => return false,
        Some(left) => Some(libc::timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos().into(),
        }),
        None => None,
    };
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the time outlive the call, which only reads them. The futex is not private, so processes that map
    // the same memory anywhere meet at it.
    let failed = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, time) } != 0;
    !(failed && io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT))
}

/// Wakes at most `count` of those that wait for the word; how many there were.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
    let count = count.min(i32::MAX.unsigned_abs());
    // SAFETY: the call does not touch the word, only its address counts.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).unwrap_or(0)
}

/// The moment until which to wait; `None` is for ever, as is a time beyond all reckoning.
pub(crate) fn deadline(patience: Option<Duration>) -> Option<Instant> {
    patience.and_then(|patience| Instant::now().checked_add(patience))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_wait_ends_by_a_wake_a_change_or_the_deadline() {
        let word = AtomicU32::new(0);
        assert!(wait(&word, 1, None), "the word is something else");
        assert!(!wait(&word, 0, deadline(Some(Duration::from_millis(1)))), "nobody wakes it");
        assert!(!wait(&word, 0, deadline(Some(Duration::ZERO))));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while word.load(Ordering::Acquire) == 0 {
                    wait(&word, 0, None);
                }
            });
            word.store(1, Ordering::Release);
            wake(&word, 1);
        });
    }
}
