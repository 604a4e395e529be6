//! Locks that outlive their holders: the kernel releases those of a thread that dies, whatever killed it, and wakes the next.
//!
//! The lock word has the kernel's form, as the C library's robust mutexes have: the holder's thread number, a bit for "somebody
//! waits", and one for "the holder died", which the kernel sets when it finds the word in a dead thread's list. The order of
//! the steps is the C library's too: a lock is announced as pending before its word is touched, and until it is in the list,
//! or out of it, so that there is no moment at which a death goes unseen.
//!
//! What differs: the list's pointers are private to the process (see `region.rs`), as are owner and depth, so a hostile process
//! can make these locks fail, or be held twice, but cannot make this one write where it should not. And the bit for "somebody
//! waits" stays set until a release finds nobody: so when a waiter is killed that was just woken, while another one takes the
//! lock in passing, those that still wait are not forgotten.

use super::error::Denied;
use super::region::{Region, Which};
use super::thread::{Me, is_thread};
use super::word::{Until, Word};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const WAITERS: u32 = libc::FUTEX_WAITERS;
const DIED: u32 = libc::FUTEX_OWNER_DIED;
const TID: u32 = libc::FUTEX_TID_MASK;

/// How often it is asked, a millisecond apart, whether a holder of this process is really gone: the kernel releases a
/// thread's locks a moment before its number is free.
const GONE: u32 = 200;

/// Makes this thread the holder; whether the last one died while it held the lock. What it protects may be half done then.
pub(crate) fn lock(region: &Arc<Region>, which: Which, until: Until) -> Result<bool, Denied> {
    let me = Me::current()?;
    let holder = region.holder(which);
    if holder.owner.load(Ordering::Relaxed) == me.tid() {
        return Err(Denied::AlreadyHeld);
    }
    let (word, node) = (region.lock_word(which), region.node(which));
    let _pending = me.pending(node);
    let died = take(word, me.tid(), until)?;
    let before = holder.owner.load(Ordering::Acquire);
    if before != 0 && !is_gone(before) {
        // The word says that the lock is free, and a thread here that lives holds it: it is that thread's node.
        give(word);
        return Err(Denied::Corrupt);
    }
    holder.keep(region);
    // SAFETY: nobody in this process holds the lock (a thread that did has died), so the node is in no list; `keep` has
    // made sure that it stays mapped.
    unsafe { me.link(node) };
    holder.depth.store(0, Ordering::Relaxed);
    holder.owner.store(me.tid(), Ordering::Release);
    Ok(died)
}

/// Ends this thread's hold, however deep.
pub(crate) fn unlock(region: &Region, which: Which) -> Result<(), Denied> {
    let me = Me::current()?;
    let holder = region.holder(which);
    if holder.owner.load(Ordering::Relaxed) != me.tid() {
        return Err(Denied::NotOwner);
    }
    let node = region.node(which);
    let _pending = me.pending(node);
    // SAFETY: this thread is the owner, so it has put the node into its list. It is out of it before the word is released,
    // after which another thread may use the node.
    unsafe { me.unlink(node) };
    // The caller has the region by another reference, so the mapping lives on until the end of this.
    let _kept = holder.kept();
    holder.owner.store(0, Ordering::Release);
    give(region.lock_word(which));
    Ok(())
}

/// Holds a lock until it is dropped.
pub(crate) struct Hold<'a>(pub(crate) &'a Region, pub(crate) Which);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let _ = unlock(self.0, self.1);
    }
}

/// Whether this thread holds the lock.
pub(crate) fn is_held(region: &Region, which: Which) -> bool {
    Me::current().is_ok_and(|me| region.holder(which).owner.load(Ordering::Relaxed) == me.tid())
}

/// Whether the last holder died, and nobody has taken the lock since.
pub(crate) fn is_orphaned(region: &Region, which: Which) -> bool {
    region.lock_word(which).load(Ordering::Relaxed) & (DIED | TID) == DIED
}

/// The word that says so of a thread that has died while it was pending there.
pub(super) fn is_dead(word: u32) -> bool {
    word & DIED != 0
}

fn is_gone(tid: u32) -> bool {
    for _ in 0..GONE {
        if !is_thread(std::process::id(), tid) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// Takes the lock word; whether its last holder died.
fn take(word: &impl Word, tid: u32, until: Until) -> Result<bool, Denied> {
    loop {
        let seen = word.load();
        let owner = seen & TID;
        if owner == 0 {
            match word.exchange(seen, tid | seen & WAITERS) {
                Ok(seen) => return Ok(seen & DIED != 0),
                Err(_) => continue,
            }
        }
        if owner == tid {
            // The owner that is known here says otherwise.
            return Err(Denied::Corrupt);
        }
        if matches!(until, Until::Now) {
            return Err(Denied::TimedOut);
        }
        if seen & WAITERS == 0 && word.exchange(seen, seen | WAITERS).is_err() {
            continue;
        }
        if !word.wait(seen | WAITERS, until) {
            return Err(Denied::TimedOut);
        }
    }
}

/// Releases the lock word.
fn give(word: &impl Word) {
    if word.and(WAITERS) & WAITERS != 0 && word.wake(1) == 0 {
        // Nobody waits any more. If somebody has taken the lock since, the bit is left to them.
        let _ = word.exchange(WAITERS, 0);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::super::word::model::ModelWord;
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::thread;

    #[test]
    fn loom_a_lock_is_held_by_one_and_nobody_waits_for_ever() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let lock = Arc::new((ModelWord::new(0), AtomicU32::new(0)));
            let threads: Vec<_> = (1..=3)
                .map(|tid| {
                    let lock = Arc::clone(&lock);
                    thread::spawn(move || {
                        assert!(!take(&lock.0, tid, Until::EVER).expect("the lock"));
                        assert_eq!(lock.1.fetch_add(1, Ordering::Relaxed), 0);
                        lock.1.fetch_sub(1, Ordering::Relaxed);
                        give(&lock.0);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        });
    }

    #[test]
    fn loom_a_dead_holder_is_told_of_once() {
        loom::model(|| {
            // As the kernel does it.
            let lock = Arc::new(ModelWord::new(7));
            let waiter = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || {
                    let died = take(&*lock, 1, Until::EVER).expect("the lock");
                    give(&*lock);
                    died
                })
            };
            let mut seen = lock.load();
            while let Err(now) = lock.exchange(seen, seen & WAITERS | DIED) {
                seen = now;
            }
            if seen & WAITERS != 0 {
                lock.wake(1);
            }
            assert!(waiter.join().expect("no panic"));
            assert!(!take(&*lock, 2, Until::Now).expect("the lock"));
        });
    }
}
