//! Locks and the like between processes, in shared memory, without a name anywhere.
//!
//! Each of these is a handle: it can be cloned, and can be a part of any message between processes, such as an argument or an
//! item of a queue. What arrives is the same lock, event, or value.
//!
//! All of them bear with processes that are killed at any moment. A [`Lock`] or [`RLock`] goes to the next one at once, which
//! is told ([`LockError::OwnerDied`]). Elsewhere, a process that is killed can keep others waiting for a tenth of a second
//! longer than necessary, if it has just been woken; what it could take along beyond that, each type says.
//!
//! They also bear with a process that overwrites the shared memory with whatever it likes: then they do not work any more,
//! and may say so ([`LockError::Corrupt`]), but no other process writes or reads where it should not.
//!
//! All waiting is done in the kernel (futexes); a lock or a semaphore that is free costs no system call.

mod barrier;
mod condition;
mod error;
mod event;
mod guard;
mod lock;
pub(crate) mod region;
mod rlock;
pub(crate) mod robust;
mod semaphore;
mod thread;
pub(crate) mod word;

pub use barrier::Barrier;
pub use condition::Condition;
pub use error::{BarrierError, ConditionError, LockError, OverRelease};
pub use event::Event;
pub use guard::{Guarded, Lockable};
pub use lock::{Lock, LockGuard};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Semaphore};

pub(crate) use error::Denied;
pub(crate) use guard::sealed;
pub(crate) use lock::take;
