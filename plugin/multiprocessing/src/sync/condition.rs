//! Conditions: waiting, with a lock released, until somebody says that something has changed.
//!
//! Who waits has a slot in shared memory: its thread's number, and a word of its own at which it sleeps. So exactly those are
//! woken that are meant, those that have waited longest first. Slots are given, and notifications sent, by holders of the
//! lock only; a slot is given back by its waiter alone, once it knows whether it was notified.
//!
//! A waiter that is killed must not swallow a notification. So while it waits, its slot is to the kernel what a lock is that
//! it is about to take, and the kernel writes its death there. There is no moment between two system calls of a living
//! waiter at which that does not hold, but for a few dozen nanoseconds in which it releases the lock; for these, whoever
//! notifies one that does not sleep asks the system whether that thread is there.

use super::error::ConditionError;
use super::guard::{Guarded, Lockable};
use super::region::{Region, Which, as_descriptor};
use super::robust;
use super::thread::{Me, NODE_AFTER_WORD, is_thread};
use super::word::{Until, Word};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where the number of the next waiter is.
const NEXT: usize = 0;
/// Where the slots begin, and how large one is.
const SLOTS: usize = 16;
const SLOT: usize = 16;

/// What a slot's second word says.
const WAITING: u32 = 0;
const NOTIFIED: u32 = 1;
const LEFT: u32 = 2;

/// A condition that belongs to a lock: holders of the lock wait for it, and meanwhile the lock is free; other holders notify
/// them. The lock can be a [`Lock`](super::Lock), an [`RLock`](super::RLock) (which is released however often it is held), or
/// that of a [`Shared`](crate::Shared) or [`SharedSlice`](crate::SharedSlice).
///
/// Exactly as many are woken as a notification says, if so many wait; those first that have waited longest. A waiter that was
/// killed does not count. If one is killed in the very moment in which it is notified, then the next notification wakes
/// one more, which finds what it waits for or waits on; nobody is forgotten.
///
/// It can be a part of any message between processes, and takes the lock along; it arrives as the same condition of the same
/// lock.
///
/// ```
/// use multiprocessing::Shared;
/// use multiprocessing::sync::Condition;
///
/// let number = Shared::new(0_u32)?;
/// let changed = Condition::new(&number)?;
/// let (theirs, condition) = (number.clone(), changed.clone());
/// let thread = std::thread::spawn(move || {
///     let guard = theirs.lock().expect("nobody dies here");
///     guard.set(7);
///     condition.notify_one(&guard).expect("its guard");
/// });
/// let mut guard = number.lock()?;
/// changed.wait_for(&mut guard, |number| number.get() == 7)?;
/// thread.join().expect("no panic");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Condition {
    #[serde(with = "as_descriptor")]
    lock: Arc<Region>,
    #[serde(with = "as_descriptor")]
    slots: Arc<Region>,
}

/// One waiter's place.
struct Slot<'a> {
    /// The waiter's thread; 0 if there is none; what the kernel writes when it has died.
    thread: &'a AtomicU32,
    signal: &'a AtomicU32,
    process: &'a AtomicU32,
    /// Who was first.
    ticket: &'a AtomicU32,
}

impl Condition {
    /// How many can wait at the same time.
    pub const WAITERS: usize = 250;

    /// A new condition of this lock.
    ///
    /// # Errors
    /// The process has no descriptor or address space left.
    pub fn new(lock: &impl Lockable) -> io::Result<Condition> {
        Ok(Condition { lock: Arc::clone(lock.region()), slots: Region::new(0)? })
    }

    /// Releases the lock, waits until it is notified, and takes the lock again.
    ///
    /// # Errors
    /// The guard is of another lock; too many wait; or a holder of the lock died meanwhile: then the guard holds it all the same,
    /// and what it protects may be half changed.
    pub fn wait<G: Guarded>(&self, guard: &mut G) -> Result<(), ConditionError> {
        self.sleep(guard, Until::EVER).map(|_| ())
    }

    /// As [`Condition::wait`], but waits no longer than this; whether it was notified.
    ///
    /// The lock is taken again in any case, which may take longer.
    ///
    /// # Errors
    /// As for [`Condition::wait`].
    pub fn wait_timeout<G: Guarded>(&self, guard: &mut G, timeout: Duration) -> Result<bool, ConditionError> {
        self.sleep(guard, Until::after(timeout))
    }

    /// Waits until the predicate holds, which is asked with the lock held: at once, and after each notification.
    ///
    /// # Errors
    /// As for [`Condition::wait`].
    pub fn wait_for<G: Guarded>(
        &self,
        guard: &mut G,
        predicate: impl FnMut(&mut G) -> bool,
    ) -> Result<(), ConditionError> {
        self.sleep_for(guard, None, predicate).map(|_| ())
    }

    /// As [`Condition::wait_for`], but waits no longer than this. What the predicate said last is returned.
    ///
    /// # Errors
    /// As for [`Condition::wait`].
    pub fn wait_for_timeout<G: Guarded>(
        &self,
        guard: &mut G,
        timeout: Duration,
        predicate: impl FnMut(&mut G) -> bool,
    ) -> Result<bool, ConditionError> {
        self.sleep_for(guard, Some(timeout), predicate)
    }

    fn sleep_for<G: Guarded>(
        &self,
        guard: &mut G,
        timeout: Option<Duration>,
        mut predicate: impl FnMut(&mut G) -> bool,
    ) -> Result<bool, ConditionError> {
        let deadline = crate::futex::deadline(timeout);
        loop {
            if predicate(guard) {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(false);
            }
            self.sleep(guard, Until::Then(deadline))?;
        }
    }

    /// Wakes one that waits. See [`Condition::notify`].
    ///
    /// # Errors
    /// The guard is of another lock.
    pub fn notify_one<G: Guarded>(&self, guard: &G) -> Result<usize, ConditionError> {
        self.notify(guard, 1)
    }

    /// Wakes all that wait. See [`Condition::notify`].
    ///
    /// # Errors
    /// The guard is of another lock.
    pub fn notify_all<G: Guarded>(&self, guard: &G) -> Result<usize, ConditionError> {
        self.notify(guard, usize::MAX)
    }

    /// Wakes so many of those that wait, and returns how many there were. They go on when the lock is free.
    ///
    /// # Errors
    /// The guard is of another lock.
    pub fn notify<G: Guarded>(&self, guard: &G, count: usize) -> Result<usize, ConditionError> {
        self.check(guard)?;
        let next = self.slots.atomic_u32(NEXT).load(Ordering::Relaxed);
        let mut wanted = count;
        let mut waiting = Vec::new();
        for slot in self.slots() {
            let thread = Word::load(slot.thread);
            if robust::is_dead(thread) {
                if Word::load(slot.signal) == NOTIFIED {
                    // It may have taken the notification with it.
                    wanted = wanted.saturating_add(1);
                }
                Word::store(slot.thread, 0);
            } else if thread != 0 && Word::load(slot.signal) == WAITING {
                waiting.push((next.wrapping_sub(slot.ticket.load(Ordering::Relaxed)), slot));
            }
        }
        waiting.sort_unstable_by_key(|(age, _)| std::cmp::Reverse(*age));
        let mut woken = 0;
        for (_, slot) in waiting {
            if woken >= wanted {
                break;
            }
            woken += usize::from(slot.notify());
        }
        Ok(woken.min(count))
    }

    fn sleep<G: Guarded>(&self, guard: &mut G, until: Until) -> Result<bool, ConditionError> {
        self.check(guard)?;
        let me = Me::current().map_err(|_| ConditionError::Lost)?;
        let slot = self.claim(me)?;
        let depth = &self.lock.holder(Which::First).depth;
        let levels = depth.load(Ordering::Relaxed);
        robust::unlock(&self.lock, Which::First).map_err(|_| ConditionError::Lost)?;
        let notified = {
            // The kernel takes what is pending for a node, and only calculates the word's address from it.
            let _watched = me.pending(slot.thread.as_ptr().expose_provenance() + NODE_AFTER_WORD);
            let notified = await_signal(slot.signal, until);
            Word::store(slot.thread, 0);
            notified
        };
        let died = robust::lock(&self.lock, Which::First, Until::EVER).map_err(|_| ConditionError::Lost)?;
        depth.store(levels, Ordering::Relaxed);
        if died { Err(ConditionError::OwnerDied) } else { Ok(notified) }
    }

    /// Takes a slot that is free, or was that of a dead one.
    fn claim(&self, me: Me) -> Result<Slot<'_>, ConditionError> {
        let free = |slot: &Slot| {
            let thread = Word::load(slot.thread);
            // A dead one that was notified is left to the next notification.
            thread == 0 || robust::is_dead(thread) && Word::load(slot.signal) != NOTIFIED
        };
        let slot = self.slots().find(free).ok_or(ConditionError::TooMany)?;
        let next = self.slots.atomic_u32(NEXT);
        slot.ticket.store(next.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        slot.process.store(std::process::id(), Ordering::Relaxed);
        Word::store(slot.signal, WAITING);
        Word::store(slot.thread, me.tid());
        Ok(slot)
    }

    fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        let word = |offset| self.slots.atomic_u32(offset);
        (0..Condition::WAITERS).map(|index| SLOTS + index * SLOT).map(move |offset| Slot {
            thread: word(offset),
            signal: word(offset + 4),
            process: word(offset + 8),
            ticket: word(offset + 12),
        })
    }

    fn check<G: Guarded>(&self, guard: &G) -> Result<(), ConditionError> {
        let held = Arc::ptr_eq(guard.region(), &self.lock) && robust::is_held(&self.lock, Which::First);
        if held { Ok(()) } else { Err(ConditionError::OtherLock) }
    }
}

impl Slot<'_> {
    /// Notifies the waiter; whether there is one that lives and still waits.
    fn notify(&self) -> bool {
        let thread = Word::load(self.thread);
        let Some(slept) = signal(self.signal) else { return false };
        let dead = robust::is_dead(Word::load(self.thread))
            || !slept && !is_thread(self.process.load(Ordering::Relaxed), thread);
        if dead {
            Word::store(self.thread, 0);
        }
        !dead
    }
}

/// Waits for a signal; whether it came, once that is settled.
fn await_signal(word: &impl Word, until: Until) -> bool {
    while word.load() == WAITING {
        if !word.wait(WAITING, until) {
            return word.exchange(WAITING, LEFT).is_err();
        }
    }
    true
}

/// Signals, if it is still waited for; whether the waiter slept.
fn signal(word: &impl Word) -> Option<bool> {
    word.exchange(WAITING, NOTIFIED).ok()?;
    Some(word.wake(1) > 0)
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::super::word::model::ModelWord;
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_a_signal_comes_or_is_known_not_to_have() {
        for until in [Until::EVER, Until::Now] {
            loom::model(move || {
                let word = Arc::new(ModelWord::new(WAITING));
                let waiter = {
                    let word = Arc::clone(&word);
                    thread::spawn(move || await_signal(&*word, until))
                };
                let sent = signal(&*word).is_some();
                assert_eq!(waiter.join().expect("no panic"), sent);
            });
        }
    }
}
