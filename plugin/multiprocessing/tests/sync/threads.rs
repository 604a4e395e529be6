//! What needs no other process.

use crate::SOON;
use crate::leftovers::alone;
use crate::signals::interrupted;
use multiprocessing::codec::{decode, encode};
use multiprocessing::sync::{
    Barrier, BarrierError, BoundedSemaphore, Condition, ConditionError, Event, Lock, LockError, RLock, Semaphore,
};
use multiprocessing::{Shared, SharedSlice};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What arrives in the same process.
fn received<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let message = encode(value).expect("a handle");
    decode(&message.bytes, message.descriptors).expect("the same")
}

#[test]
fn a_lock_is_one_threads_at_a_time() {
    let _alone = alone();
    let lock = Lock::new().expect("a lock");
    let guard = lock.lock().expect("it is free");
    assert!(lock.is_held());
    assert!(matches!(lock.lock(), Err(LockError::AlreadyHeld)), "not a hang");
    let other = received(&lock);
    assert!(matches!(other.try_lock(), Err(LockError::AlreadyHeld)), "nor through another handle");
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(!other.is_held());
            assert!(matches!(other.try_lock(), Err(LockError::TimedOut)));
            let before = Instant::now();
            assert!(matches!(other.lock_timeout(SOON), Err(LockError::TimedOut)));
            assert!(before.elapsed() >= SOON);
            assert!(matches!(other.release(), Err(LockError::NotOwner)), "it is not this thread's");
        });
    });
    drop(guard);
    assert!(matches!(lock.release(), Err(LockError::NotOwner)));
    drop(other.lock().expect("it is free"));
}

#[test]
fn a_lock_counts_right_among_many_threads() {
    let _alone = alone();
    let (lock, number) = (Lock::new().expect("a lock"), Shared::new(0_u64).expect("a number"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5000 {
                    let _guard = lock.lock().expect("nobody dies");
                    number.set(number.get() + 1);
                }
            });
        }
    });
    assert_eq!(number.get(), 20_000);
}

#[test]
fn a_lock_can_stay_held_without_its_guard() {
    let _alone = alone();
    let lock = Lock::new().expect("a lock");
    lock.lock().expect("it is free").leave_locked();
    lock.release().expect("this thread holds it");
    drop(lock.lock().expect("it is free"));
    // Out of order: the thread's list must stay whole.
    thread::spawn(|| {
        for _ in 0..10 {
            let (first, forgotten, last) =
                (Lock::new().expect("a lock"), Lock::new().expect("a lock"), Lock::new().expect("a lock"));
            let first = first.lock().expect("it is free");
            let guard = forgotten.lock().expect("it is free");
            let last = last.lock().expect("it is free");
            guard.leave_locked();
            drop(first);
            forgotten.release().expect("this thread's");
            drop(last);
        }
    })
    .join()
    .expect("no panic");
}

#[test]
fn a_thread_that_ends_with_a_lock_is_told_of() {
    let _alone = alone();
    let lock = Lock::new().expect("a lock");
    for _ in 0..20 {
        thread::scope(|scope| {
            scope.spawn(|| lock.lock().expect("it is free").leave_locked()).join().expect("no panic");
            let Err(LockError::OwnerDied(guard)) = lock.lock() else { panic!("its holder has ended") };
            assert!(lock.is_held());
            drop(guard);
        });
        drop(lock.lock().expect("it is consistent"));
    }
}

#[test]
fn an_rlock_is_free_once_it_was_released_as_often() {
    let _alone = alone();
    let lock = RLock::new().expect("a lock");
    let guards: Vec<_> = (0..3).map(|_| lock.lock().expect("this thread's")).collect();
    let other = received(&lock);
    thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(other.try_lock(), Err(LockError::TimedOut))));
    });
    for guard in guards {
        assert!(lock.is_held());
        assert!(thread::scope(|scope| scope.spawn(|| other.try_lock().is_err()).join().expect("no panic")));
        thread::scope(|scope| scope.spawn(|| assert!(other.release().is_err())).join().expect("no panic"));
        drop(guard);
    }
    assert!(!lock.is_held());
    assert!(matches!(lock.release(), Err(LockError::NotOwner)));
    thread::scope(|scope| scope.spawn(|| drop(other.lock().expect("it is free"))).join().expect("no panic"));
}

#[test]
fn a_semaphore_has_so_many_permits() {
    let _alone = alone();
    let semaphore = Semaphore::new(2).expect("a semaphore");
    assert_eq!(semaphore.value(), 2);
    semaphore.acquire();
    assert!(received(&semaphore).try_acquire());
    assert!(!semaphore.try_acquire());
    assert!(!semaphore.acquire_timeout(SOON));
    semaphore.release().expect("there is place");
    semaphore.release().expect("there is place");
    semaphore.release().expect("it is not bounded");
    assert_eq!(semaphore.value(), 3);
    assert!(Semaphore::new(u32::MAX).is_err());
    let full = Semaphore::new(Semaphore::MAXIMUM).expect("a semaphore");
    assert!(full.release().is_err());
}

#[test]
fn a_bounded_semaphore_is_not_released_too_often() {
    let _alone = alone();
    let semaphore = BoundedSemaphore::new(2).expect("a semaphore");
    semaphore.acquire();
    semaphore.acquire();
    thread::scope(|scope| {
        scope.spawn(|| semaphore.acquire());
        scope.spawn(|| semaphore.release().expect("it was acquired"));
    });
    semaphore.release().expect("it was acquired");
    semaphore.release().expect("it was acquired");
    assert!(semaphore.release().is_err());
    assert_eq!(semaphore.value(), 2);
}

#[test]
fn an_event_stays_until_it_is_cleared() {
    let _alone = alone();
    let event = Event::new().expect("an event");
    assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO) && !event.wait_timeout(SOON));
    event.clear();
    let other = received(&event);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| other.wait_timeout(Duration::from_secs(30)));
        thread::sleep(SOON);
        event.set();
        event.clear();
        assert!(waiter.join().expect("no panic"), "it was set, if only for a moment");
    });
    assert!(!other.is_set());
    event.set();
    other.wait();
    assert!(other.wait_timeout(Duration::ZERO));
}

#[test]
fn a_condition_belongs_to_its_lock() {
    let _alone = alone();
    let (lock, other) = (Lock::new().expect("a lock"), Lock::new().expect("a lock"));
    let condition = Condition::new(&lock).expect("a condition");
    let mut guard = other.lock().expect("it is free");
    assert!(matches!(condition.wait(&mut guard), Err(ConditionError::OtherLock)));
    assert!(matches!(condition.notify_one(&guard), Err(ConditionError::OtherLock)));
    let mut guard = lock.lock().expect("it is free");
    lock.release().expect("this thread's");
    assert!(matches!(condition.wait(&mut guard), Err(ConditionError::OtherLock)), "it is released");
    let guard = lock.lock().expect("it is free");
    assert_eq!(condition.notify_all(&guard).expect("its lock"), 0, "nobody waits, and nothing is kept for later");
    drop(guard);
    let mut guard = lock.lock().expect("it is free");
    assert!(!condition.wait_timeout(&mut guard, SOON).expect("its lock"));
    assert!(lock.is_held());
}

#[test]
fn a_condition_releases_an_rlock_whole() {
    let _alone = alone();
    let lock = RLock::new().expect("a lock");
    let condition = Condition::new(&lock).expect("a condition");
    let (_outer, mut inner) = (lock.lock().expect("free"), lock.lock().expect("this thread's"));
    thread::scope(|scope| {
        scope.spawn(|| {
            let guard = lock.lock().expect("the other waits for the condition");
            condition.notify_one(&guard).expect("its lock");
        });
        condition.wait(&mut inner).expect("its lock");
    });
    drop(inner);
    assert!(lock.is_held(), "it is held once still");
}

#[test]
fn a_barrier_breaks_and_is_reset() {
    let _alone = alone();
    let barrier = Barrier::new(2).expect("a barrier");
    assert!(Barrier::new(0).is_err());
    assert!(matches!(barrier.wait_timeout(SOON), Err(BarrierError::TimedOut)));
    assert!(barrier.is_broken());
    assert!(matches!(barrier.wait(), Err(BarrierError::Broken)));
    barrier.reset().expect("a barrier");
    assert!(!barrier.is_broken() && barrier.waiting() == 0);
    let runs = AtomicU32::new(0);
    let party = || {
        barrier.wait_then(|| {
            runs.fetch_add(1, Ordering::Relaxed);
        })
    };
    for round in 1..100 {
        thread::scope(|scope| {
            let other = scope.spawn(party);
            let mine = party().expect("two come");
            assert_eq!(mine + other.join().expect("no panic").expect("two come"), 1);
        });
        assert_eq!(runs.load(Ordering::Relaxed), round);
    }
}

#[test]
fn an_action_that_panics_or_waits_breaks_its_barrier() {
    let _alone = alone();
    let barrier = Barrier::new(1).expect("a barrier");
    let outcome = std::panic::catch_unwind(|| barrier.wait_then(|| panic!("on purpose")));
    assert!(outcome.is_err() && barrier.is_broken());
    barrier.reset().expect("a barrier");
    barrier.wait_then(|| assert!(matches!(barrier.wait(), Err(BarrierError::InAction)))).expect("one comes");
}

#[test]
fn values_are_shared() {
    let _alone = alone();
    let value = Shared::new((1_u16, 2_u16).0).expect("a value");
    let other = received(&value);
    other.set(7);
    assert_eq!(value.get(), 7);
    assert_eq!(value.update(|number| number * 2).expect("nobody dies"), 7);
    assert_eq!(format!("{other:?}"), "Shared(14)");
    let large = Shared::new([5_u8; 100_001]).expect("a value");
    assert_eq!(received(&large).get(), [5; 100_001]);
    let guard = large.lock().expect("it is free");
    assert!(matches!(received(&large).try_lock(), Err(LockError::AlreadyHeld)), "one value, one lock");
    drop(guard);
}

#[test]
fn slices_are_shared() {
    let _alone = alone();
    let slice = SharedSlice::from_slice(&[1.0_f64, 2.0, 3.0]).expect("a slice");
    let other = received(&slice);
    assert_eq!((other.len(), other.is_empty()), (3, false));
    other.set(2, 9.5).expect("there are three");
    assert_eq!(slice.to_vec(), [1.0, 2.0, 9.5]);
    assert!(slice.set(3, 0.0).is_err() && slice.get(3).is_none());
    assert!(slice.write(2, &[0.0, 0.0]).is_err() && slice.read(usize::MAX, &mut [0.0]).is_err());
    let mut two = [0.0; 2];
    slice.read(1, &mut two).expect("there are three");
    assert_eq!(two, [2.0, 9.5]);
    assert!(SharedSlice::<u64>::new(usize::MAX).is_err());
    let empty = SharedSlice::<[u8; 3]>::new(0).expect("nothing");
    assert!(received(&empty).is_empty());
    let odd = SharedSlice::<[u8; 3]>::new(5000).expect("a slice");
    odd.set(4999, [1, 2, 3]).expect("there are so many");
    assert_eq!(received(&odd).get(4999), Some([1, 2, 3]));
}

#[test]
fn a_slice_that_claims_more_than_it_has_is_refused() {
    let _alone = alone();
    let message = encode(&SharedSlice::<u64>::new(3).expect("a slice")).expect("a handle");
    let mut bytes = postcard::to_stdvec(&(1_u64 << 62)).expect("a number");
    bytes.extend(&message.bytes[1..]);
    assert!(decode::<SharedSlice<u64>>(&bytes, message.descriptors).is_err());
}

#[test]
fn a_lock_that_was_overwritten_is_an_error_and_not_a_crash() {
    let _alone = alone();
    let lock = Lock::new().expect("a lock");
    let message = encode(&lock).expect("a handle");
    let file = std::fs::File::from(message.descriptors.into_iter().next().expect("one"));
    use std::os::unix::fs::FileExt;
    let size = file.metadata().expect("a file").len();
    for word in [0_u32, 1, 0x4000_0000, u32::MAX, 0x8000_0000] {
        let guard = lock.lock().expect("it is free");
        let scribbled = vec![word; size as usize / 4];
        file.write_at(&scribbled.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>(), 0).expect("shared");
        thread::scope(|scope| {
            let other =
                scope.spawn(|| matches!(lock.lock_timeout(SOON), Err(LockError::Corrupt | LockError::TimedOut)));
            assert!(other.join().expect("no panic"), "{word:#x}");
        });
        drop(guard);
    }
}

#[test]
fn no_wait_is_ended_by_a_signal() {
    let _alone = alone();
    let (lock, semaphore, event) =
        (Lock::new().expect("memory"), Semaphore::new(0).expect("memory"), Event::new().expect("memory"));
    let (held, is_held) = std::sync::mpsc::channel();
    let (release, is_released) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let lock = &lock;
        scope.spawn(move || {
            let _guard = lock.lock().expect("it is free");
            held.send(()).expect("it is waited for");
            is_released.recv().expect("it comes");
        });
        is_held.recv().expect("it comes");
        let guard = interrupted(|| lock.lock(), move || release.send(()).expect("it is waited for"));
        assert!(guard.is_ok());
    });
    interrupted(|| semaphore.acquire(), || semaphore.release().expect("it is not full"));
    interrupted(|| event.wait(), || event.set());
    let barrier = Barrier::new(2).expect("memory");
    interrupted(|| barrier.wait(), || assert!(barrier.wait().is_ok())).expect("both have come");
    let (number, condition) = {
        let number = Shared::new(0).expect("memory");
        let condition = Condition::new(&number).expect("memory");
        (number, condition)
    };
    let mut guard = number.lock().expect("it is free");
    let notify = || {
        let guard = number.lock().expect("it is free while the other waits");
        guard.set(1);
        condition.notify_one(&guard).expect("its guard");
    };
    let came = interrupted(|| condition.wait_for(&mut guard, |number| number.get() == 1), notify);
    came.expect("nobody dies");
    drop(guard);
    // Nor is it over before its time, or long after it.
    let begun = Instant::now();
    assert!(!interrupted(|| semaphore.acquire_timeout(3 * SOON), || ()));
    assert!(begun.elapsed() >= 3 * SOON);
}
