//! Barriers: a number of parties that go on together.

use super::error::{BarrierError, Denied};
use super::region::{Region, Which, as_descriptor};
use super::robust::{self, Hold};
use super::word::{Until, Word};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Which round it is (the low half), and which of the last 32 were broken (the high half, the last one in the lowest bit): one
/// that wakes late must still know how its own round has ended.
const STATE: usize = 0;
/// The round once more, as the word that is waited at.
const BELL: usize = 8;
/// How many have come in this round.
const ARRIVED: usize = 12;
const PARTIES: usize = 16;
/// Whether it is broken, until it is reset.
const BROKEN: usize = 20;
/// The time after which a party gives up that names none, in nanoseconds; 0 is never.
const PATIENCE: usize = 24;

/// Where a fixed number of parties, threads of any processes, wait for each other: all go on when the last has come. It can be
/// used again and again.
///
/// A party that does not come in time breaks it, and then all that wait there, and that come later, get
/// [`BarrierError::Broken`] until somebody calls [`Barrier::reset`]. One that was killed does not come; one that is killed while
/// it waits counts in that round. One that is killed in the action, or on its way in or out, breaks it within a tenth
/// of a second.
///
/// It can be a part of any message between processes; clones, and what arrives there, are the same barrier.
///
/// ```
/// use multiprocessing::sync::Barrier;
///
/// let barrier = Barrier::new(2)?;
/// let other = barrier.clone();
/// let thread = std::thread::spawn(move || other.wait());
/// let mine = barrier.wait()?;
/// let theirs = thread.join().expect("no panic")?;
/// assert_eq!(mine + theirs, 1, "each has another index");
/// barrier.abort()?;
/// assert!(barrier.wait().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Barrier {
    #[serde(with = "as_descriptor")]
    region: Arc<Region>,
}

impl Barrier {
    /// A new barrier for so many parties, at least one, which wait for each other without end.
    ///
    /// # Errors
    /// No party; or the process has no descriptor or address space left.
    pub fn new(parties: u32) -> io::Result<Barrier> {
        Barrier::with_patience(parties, None)
    }

    /// A new barrier whose parties give up after this time if they name no other.
    ///
    /// # Errors
    /// As for [`Barrier::new`].
    pub fn with_timeout(parties: u32, timeout: Duration) -> io::Result<Barrier> {
        Barrier::with_patience(parties, Some(timeout))
    }

    fn with_patience(parties: u32, timeout: Option<Duration>) -> io::Result<Barrier> {
        if parties == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a barrier for nobody"));
        }
        let region = Region::new(0)?;
        region.atomic_u32(PARTIES).store(parties, Ordering::Relaxed);
        // A time beyond what fits is 584 years.
        let nanoseconds = timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1));
        region.atomic_u64(PATIENCE).store(nanoseconds, Ordering::Relaxed);
        Ok(Barrier { region })
    }

    /// Waits until all parties have come. Returns which one this was, from 0 on: each has another index.
    ///
    /// # Errors
    /// The barrier is or gets broken; or the others do not come in the barrier's own time, if it has one.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_then(|| ())
    }

    /// As [`Barrier::wait`], but waits no longer than this.
    ///
    /// # Errors
    /// As for [`Barrier::wait`]; one that has waited in vain breaks the barrier.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.wait_then_timeout(timeout, || ())
    }

    /// As [`Barrier::wait`]; exactly one of the parties, the last to come, runs its action before any of them goes on. An action that
    /// panics breaks the barrier. It must not wait at the barrier itself.
    ///
    /// # Errors
    /// As for [`Barrier::wait`].
    pub fn wait_then(&self, action: impl FnOnce()) -> Result<usize, BarrierError> {
        self.come(None, action)
    }

    /// As [`Barrier::wait_then`], but waits no longer than this.
    ///
    /// # Errors
    /// As for [`Barrier::wait_timeout`].
    pub fn wait_then_timeout(&self, timeout: Duration, action: impl FnOnce()) -> Result<usize, BarrierError> {
        self.come(Some(timeout), action)
    }

    fn come(&self, timeout: Option<Duration>, action: impl FnOnce()) -> Result<usize, BarrierError> {
        let until = self.until(timeout);
        let hold = self.enter()?;
        if self.is_broken() {
            return Err(BarrierError::Broken);
        }
        let round = self.round();
        let index = self.arrived();
        if index.saturating_add(1) >= self.parties() {
            let undone = BreakIt(self);
            action();
            std::mem::forget(undone);
            self.end_round(false);
        } else {
            self.region.atomic_u32(ARRIVED).store(index + 1, Ordering::Relaxed);
            drop(hold);
            self.await_end(round, until)?;
        }
        Ok(index as usize)
    }

    /// Breaks the barrier: all that wait, and that come later, get [`BarrierError::Broken`].
    ///
    /// # Errors
    /// The barrier is lost, or this is its action.
    pub fn abort(&self) -> Result<(), BarrierError> {
        let _hold = self.enter()?;
        self.break_it();
        Ok(())
    }

    /// Makes it as new. Those that wait get [`BarrierError::Broken`].
    ///
    /// # Errors
    /// The barrier is lost, or this is its action.
    pub fn reset(&self) -> Result<(), BarrierError> {
        let _hold = self.enter()?;
        if self.arrived() > 0 {
            self.end_round(true);
        }
        self.region.atomic_u32(BROKEN).store(0, Ordering::Relaxed);
        Ok(())
    }

    /// How many parties it needs.
    pub fn parties(&self) -> u32 {
        self.region.atomic_u32(PARTIES).load(Ordering::Relaxed)
    }

    /// How many have come, and wait for the others.
    pub fn waiting(&self) -> u32 {
        self.arrived()
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.region.atomic_u32(BROKEN).load(Ordering::Relaxed) != 0
    }

    fn until(&self, timeout: Option<Duration>) -> Until {
        let own = || match self.region.atomic_u64(PATIENCE).load(Ordering::Relaxed) {
            0 => None,
            nanoseconds => Some(Duration::from_nanos(nanoseconds)),
        };
        timeout.or_else(own).map_or(Until::EVER, Until::after)
    }

    /// Takes the barrier's own lock. One who died while holding it leaves the barrier broken.
    fn enter(&self) -> Result<Hold<'_>, BarrierError> {
        match robust::lock(&self.region, Which::First, Until::EVER) {
            Ok(died) => {
                let hold = Hold(&self.region, Which::First);
                if died {
                    self.break_it();
                }
                Ok(hold)
            }
            Err(Denied::AlreadyHeld) => Err(BarrierError::InAction),
            Err(_) => Err(BarrierError::Lost),
        }
    }

    fn await_end(&self, round: u32, until: Until) -> Result<(), BarrierError> {
        let bell = self.region.atomic_u32(BELL);
        loop {
            if self.round() != round {
                return self.outcome(round);
            }
            if robust::is_orphaned(&self.region, Which::First) {
                // Whoever takes the lock breaks the barrier.
                drop(self.enter()?);
                continue;
            }
            if !Word::wait(bell, round, until) {
                let _hold = self.enter()?;
                if self.round() != round {
                    return self.outcome(round);
                }
                self.break_it();
                return Err(BarrierError::TimedOut);
            }
        }
    }

    fn arrived(&self) -> u32 {
        self.region.atomic_u32(ARRIVED).load(Ordering::Relaxed)
    }

    fn round(&self) -> u32 {
        self.region.atomic_u64(STATE).load(Ordering::Acquire) as u32
    }

    /// How a round has ended.
    fn outcome(&self, round: u32) -> Result<(), BarrierError> {
        let state = self.region.atomic_u64(STATE).load(Ordering::Acquire);
        let ago = (state as u32).wrapping_sub(round).wrapping_sub(1);
        let broken = ago >= 32 || (state >> 32) >> ago & 1 != 0;
        if broken { Err(BarrierError::Broken) } else { Ok(()) }
    }

    fn break_it(&self) {
        self.region.atomic_u32(BROKEN).store(1, Ordering::Relaxed);
        self.end_round(true);
    }

    /// Ends the round, and wakes all that wait. The barrier's lock is held.
    fn end_round(&self, broken: bool) {
        let state = self.region.atomic_u64(STATE);
        let before = state.load(Ordering::Relaxed);
        let round = (before as u32).wrapping_add(1);
        let outcomes = (before >> 32) << 1 | u64::from(broken);
        self.region.atomic_u32(ARRIVED).store(0, Ordering::Relaxed);
        state.store(outcomes << 32 | u64::from(round), Ordering::Release);
        let bell = self.region.atomic_u32(BELL);
        bell.store(round, Ordering::Release);
        Word::wake(bell, u32::MAX);
    }
}

/// Breaks the barrier if the action does not come to its end.
struct BreakIt<'a>(&'a Barrier);

impl Drop for BreakIt<'_> {
    fn drop(&mut self) {
        self.0.break_it();
    }
}
