//! What can go wrong with locks and the like.

use std::io;
use std::sync::Arc;

/// Why a lock is not held, or how it came to be. `G` is the lock's guard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError<G = super::LockGuard> {
    /// The last holder died while it held the lock, by whatever means. The lock is held now, by this guard, and is as good as
    /// before; what it protects may be half changed. Only the first holder after a death hears of it.
    #[error("the last holder of the lock died; check what the lock protects")]
    OwnerDied(G),
    /// Somebody else held it all the time.
    #[error("the lock was held by somebody else all the time")]
    TimedOut,
    /// This thread holds it already, and would wait for itself.
    #[error("this thread holds the lock already; use an RLock to lock it more than once")]
    AlreadyHeld,
    /// This thread has locked it too often: 2³² times.
    #[error("the lock is held too many times")]
    TooDeep,
    /// This thread does not hold it.
    #[error("this thread does not hold the lock")]
    NotOwner,
    /// The lock's memory says what cannot be: another process has overwritten it.
    #[error("the lock's memory was overwritten; make a new one")]
    Corrupt,
    /// The system refuses what a lock needs: its C library is an unknown one.
    #[error("no lock is possible here: {0}")]
    System(Arc<io::Error>),
}

impl<G> LockError<G> {
    /// The guard, if the lock is held.
    pub fn into_guard(self) -> Option<G> {
        match self {
            LockError::OwnerDied(guard) => Some(guard),
            _ => None,
        }
    }

    /// With another guard that has this one in it.
    pub(crate) fn map<H>(self, wrap: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            LockError::OwnerDied(guard) => LockError::OwnerDied(wrap(guard)),
            LockError::TimedOut => LockError::TimedOut,
            LockError::AlreadyHeld => LockError::AlreadyHeld,
            LockError::TooDeep => LockError::TooDeep,
            LockError::NotOwner => LockError::NotOwner,
            LockError::Corrupt => LockError::Corrupt,
            LockError::System(error) => LockError::System(error),
        }
    }
}

/// A [`LockError`] of one who does not hold the lock in the end.
#[derive(Clone, Debug)]
pub(crate) enum Denied {
    TimedOut,
    AlreadyHeld,
    NotOwner,
    Corrupt,
    System(Arc<io::Error>),
}

impl From<io::Error> for Denied {
    fn from(error: io::Error) -> Denied {
        Denied::System(Arc::new(error))
    }
}

impl<G> From<Denied> for LockError<G> {
    fn from(denied: Denied) -> LockError<G> {
        match denied {
            Denied::TimedOut => LockError::TimedOut,
            Denied::AlreadyHeld => LockError::AlreadyHeld,
            Denied::NotOwner => LockError::NotOwner,
            Denied::Corrupt => LockError::Corrupt,
            Denied::System(error) => LockError::System(error),
        }
    }
}

/// A semaphore was released more often than it was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the semaphore was released more often than it was acquired")]
pub struct OverRelease;

/// Why the parties did not meet at a barrier.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// Somebody broke it: waited in vain, called [`abort`](super::Barrier::abort) or [`reset`](super::Barrier::reset), or died
    /// at the wrong moment.
    #[error("the barrier is broken: a party did not come, or left")]
    Broken,
    /// The others did not come in time, and so this party has broken the barrier.
    #[error("the other parties did not come in time; the barrier is broken now")]
    TimedOut,
    /// The action tried to wait at its own barrier.
    #[error("the action of a barrier cannot wait at it")]
    InAction,
    /// The barrier's memory was overwritten, or the system has no locks.
    #[error("the barrier is lost: its memory was overwritten, or the system refuses its lock")]
    Lost,
}

/// Why a wait for a condition, or a notification, came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// The guard is of another lock than the condition's, or holds it no more.
    #[error("the guard is not one of the condition's lock, or holds it no more")]
    OtherLock,
    /// [`Condition::WAITERS`](super::Condition::WAITERS) wait already.
    #[error("too many wait for the condition already")]
    TooMany,
    /// Somebody died while holding the lock. The guard holds it again, as after any wait; what it protects may be half changed.
    #[error("a holder of the lock died; check what the lock protects")]
    OwnerDied,
    /// The lock could not be taken again, and the guard holds nothing any more: its memory was overwritten, or the system
    /// refuses.
    #[error("the lock is lost: its memory was overwritten, or the system refuses it")]
    Lost,
}
