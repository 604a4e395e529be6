//! A state that clients wait for.

use crate::manager::error::Failure;
use crate::manager::managed::Caller;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often one who waits looks whether its client is still there.
const ROUND: Duration = Duration::from_millis(100);

/// A state, and those who wait until it allows something.
#[derive(Debug, Default)]
pub(super) struct Monitor<S> {
    state: Mutex<S>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl<S> Monitor<S> {
    pub(super) fn new(state: S) -> Monitor<S> {
        Monitor { state: Mutex::new(state), changed: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    /// Reads the state, or changes it so that nobody who waits needs to know.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut S) -> R) -> R {
        look(&mut self.lock())
    }

    /// Changes the state.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Tries until it succeeds; nothing when the time is over, which for `None` it never is. Nothing is tried for a client that is gone.
    pub(super) fn wait<R>(
        &self,
        caller: &Caller<'_>,
        timeout: Option<Duration>,
        mut attempt: impl FnMut(&mut S) -> Option<R>,
    ) -> Result<Option<R>, Failure> {
        let deadline = crate::futex::deadline(timeout);
        let mut state = self.lock();
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(Failure::Ended);
            }
            if let Some(result) = attempt(&mut state) {
                drop(state);
                self.changed.notify_all();
                return Ok(Some(result));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            let round = left.map_or(ROUND, |left| left.min(ROUND));
            state = self.changed.wait_timeout(state, round).unwrap_or_else(PoisonError::into_inner).0;
            if caller.is_gone() {
                // Whoever changed the state may have meant this one; there are others.
                drop(state);
                self.changed.notify_all();
                return Err(Failure::Ended);
            }
        }
    }

    /// Lets all return who wait.
    pub(super) fn stop(&self) {
        let state = self.lock();
        self.stopped.store(true, Ordering::Relaxed);
        drop(state);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
