//! Between processes.

use crate::leftovers::alone;
use crate::{PATIENCE, SOON, all_end_well, kill, program, start, until, work};
use multiprocessing::sync::{Barrier, BarrierError, Condition, Event, Lock, LockError, RLock, Semaphore};
use multiprocessing::{Process, Shared, SharedMemory, SharedSlice, StartMethod, Zygote};
use std::thread;
use std::time::Duration;

fn event() -> Event {
    Event::new().expect("an event")
}

#[test]
fn a_lock_that_another_process_holds_is_waited_for() {
    let _alone = alone();
    let (lock, held, enough) = (Lock::new().expect("a lock"), event(), event());
    let holder = start(work::hold, &(lock.clone(), held.clone(), enough.clone()));
    assert!(held.wait_timeout(PATIENCE));
    assert!(matches!(lock.lock_timeout(SOON), Err(LockError::TimedOut)));
    assert!(matches!(lock.release(), Err(LockError::NotOwner)));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| lock.lock_timeout(PATIENCE).map(drop).is_ok());
        thread::sleep(SOON);
        enough.set();
        assert!(waiter.join().expect("no panic"));
    });
    all_end_well(&[holder]);
}

#[test]
fn the_lock_of_a_killed_process_goes_to_one_who_waits() {
    let _alone = alone();
    for _ in 0..5 {
        let (lock, held) = (Lock::new().expect("a lock"), event());
        let holder = start(work::hold, &(lock.clone(), held.clone(), event()));
        assert!(held.wait_timeout(PATIENCE));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| match lock.lock_timeout(PATIENCE) {
                Err(LockError::OwnerDied(_guard)) => assert!(lock.is_held()),
                other => panic!("{other:?}"),
            });
            thread::sleep(Duration::from_millis(5));
            kill(&holder);
            waiter.join().expect("it was told");
        });
        drop(lock.try_lock().expect("it was told of once, and the lock is as before"));
    }
}

#[test]
fn the_lock_of_a_killed_process_is_told_of_later_too() {
    let _alone = alone();
    let (lock, held) = (RLock::new().expect("a lock"), event());
    let holder = start(work::hold_twice, &(lock.clone(), held.clone(), event()));
    assert!(held.wait_timeout(PATIENCE));
    assert!(matches!(lock.try_lock(), Err(LockError::TimedOut)));
    kill(&holder);
    let Err(LockError::OwnerDied(guard)) = lock.try_lock() else { panic!("its holder was killed") };
    drop(guard);
    assert!(!lock.is_held(), "the depth of the dead is not inherited");
    drop(lock.try_lock().expect("it is free"));
}

#[test]
fn the_lock_of_a_killed_process_that_a_zygote_has_made_is_told_of() {
    let _alone = alone();
    let program = program();
    let zygote = Zygote::new(&program);
    for _ in 0..3 {
        let (lock, held) = (Lock::new().expect("a lock"), event());
        let builder = Process::builder(&program).start_method(StartMethod::Zygote(zygote.clone()));
        let holder = builder.start(work::hold, &(lock.clone(), held.clone(), event())).expect("a process");
        assert!(held.wait_timeout(PATIENCE));
        kill(&holder);
        assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
    }
}

#[test]
fn another_process_cannot_release_a_lock() {
    let _alone = alone();
    let (lock, rlock) = (Lock::new().expect("a lock"), RLock::new().expect("a lock"));
    let (_guard, _other) = (lock.lock().expect("free"), rlock.lock().expect("free"));
    all_end_well(&[start(work::release_wrongly, &(lock.clone(), rlock.clone()))]);
}

/// A condition, and so many processes that wait for it.
fn sleepers(count: u32) -> (Condition, Shared<[u32; 2]>, Vec<multiprocessing::Process>) {
    let counts = Shared::new([0; 2]).expect("a value");
    let condition = Condition::new(&counts).expect("a condition");
    let start = |_| start(work::await_condition, &(condition.clone(), counts.clone()));
    let processes = (0..count).map(start).collect();
    // Each counts itself with the lock held, and gives it back only by waiting.
    until("all wait", || counts.lock().expect("nobody died").get()[0] == count);
    (condition, counts, processes)
}

#[test]
fn a_notification_wakes_exactly_so_many() {
    let _alone = alone();
    let (condition, counts, processes) = sleepers(5);
    let notify = |count| condition.notify(&counts.lock().expect("nobody died"), count).expect("its lock");
    let woken = || counts.lock().expect("nobody died").get()[1];
    assert_eq!(notify(1), 1);
    until("one is awake", || woken() == 1);
    assert_eq!(notify(2), 2);
    until("three are awake", || woken() == 3);
    thread::sleep(SOON);
    assert_eq!(woken(), 3);
    assert_eq!(notify(usize::MAX), 2);
    all_end_well(&processes);
    assert_eq!(woken(), 5);
    assert_eq!(notify(3), 0);
}

#[test]
fn a_killed_waiter_takes_no_notification_along() {
    let _alone = alone();
    let (condition, counts, processes) = sleepers(4);
    // Those that have waited longest would be the first.
    let (dead, living) = processes.split_at(3);
    dead.iter().for_each(kill);
    assert_eq!(condition.notify_one(&counts.lock().expect("nobody held it")).expect("its lock"), 1);
    all_end_well(living);
    assert_eq!(condition.notify_all(&counts.lock().expect("free")).expect("its lock"), 0);
}

#[test]
fn a_condition_is_waited_for_by_what_it_means() {
    let _alone = alone();
    let (condition, counts, processes) = sleepers(1);
    let mut guard = counts.lock().expect("nobody died");
    condition.notify_all(&guard).expect("its lock");
    assert!(condition.wait_for_timeout(&mut guard, SOON, |counts| counts.get()[0] == 1).expect("its lock"));
    assert!(!condition.wait_for_timeout(&mut guard, SOON, |counts| counts.get()[0] == 2).expect("its lock"));
    drop(guard);
    all_end_well(&processes);
}

#[test]
fn ten_parties_meet_again_and_again() {
    let _alone = alone();
    let barrier = Barrier::new(10).expect("a barrier");
    let (actions, indices) = (Shared::new(0_u64).expect("a value"), SharedSlice::new(10).expect("a slice"));
    let start = |_| start(work::meet, &(barrier.clone(), 20, actions.clone(), indices.clone()));
    all_end_well(&(0..10).map(start).collect::<Vec<_>>());
    assert_eq!(actions.get(), 20, "one of the ten has run it each time");
    assert_eq!(indices.to_vec(), [20; 10], "each time they had all indices");
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

#[test]
fn an_aborted_barrier_lets_all_go_and_can_be_reset() {
    let _alone = alone();
    let barrier = Barrier::new(3).expect("a barrier");
    for reset in [false, true] {
        let waiters: Vec<_> = (0..2).map(|_| start(work::meet_in_vain, &barrier)).collect();
        until("two wait", || barrier.waiting() == 2);
        if reset { barrier.reset() } else { barrier.abort() }.expect("a barrier");
        all_end_well(&waiters);
        assert_eq!(barrier.is_broken(), !reset);
        barrier.reset().expect("a barrier");
    }
}

#[test]
fn all_parties_abort_and_reset_their_barrier_and_meet_again() {
    let _alone = alone();
    const PARTIES: u32 = 6;
    let (barrier, agreement) = (Barrier::new(PARTIES).expect("a barrier"), Barrier::new(PARTIES).expect("a barrier"));
    let counts = SharedSlice::new(4).expect("a slice");
    let start = |_| start(work::abort_and_reset, &(barrier.clone(), agreement.clone(), counts.clone()));
    all_end_well(&(0..PARTIES).map(start).collect::<Vec<_>>());
    // One aborts, which lets the others go, and all meet in the end.
    assert_eq!(counts.to_vec(), [0, PARTIES - 1, 1, PARTIES]);
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

#[test]
fn a_party_that_died_breaks_the_barrier() {
    let _alone = alone();
    let barrier = Barrier::with_timeout(2, SOON).expect("a barrier");
    all_end_well(&[start(work::meet_in_vain, &barrier)]);
    assert!(barrier.is_broken(), "the barrier's own time is over");
    barrier.reset().expect("a barrier");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait_timeout(PATIENCE));
        until("one waits", || barrier.waiting() == 1);
        let died = start(work::die_in_action, &barrier);
        died.join_timeout(PATIENCE).expect("a status").expect("it aborts");
        assert!(matches!(waiter.join().expect("no panic"), Err(BarrierError::Broken)), "long before its time");
    });
}

#[test]
fn an_event_is_heard_by_all_processes_that_wait_and_by_those_that_come_later() {
    let _alone = alone();
    let (first, waiting) = (event(), Semaphore::new(0).expect("a semaphore"));
    let answers: Vec<Event> = (0..4).map(|_| event()).collect();
    let start_one = |answer: &Event| start(work::await_event, &(first.clone(), waiting.clone(), answer.clone()));
    let waiters: Vec<_> = answers[..3].iter().map(start_one).collect();
    (0..3).for_each(|_| waiting.acquire());
    assert!(answers[..3].iter().all(|answer| !answer.wait_timeout(SOON)), "it has not happened");
    // One that is killed while it waits keeps it from nobody.
    kill(&waiters[1]);
    first.set();
    assert!([0, 2].iter().all(|place| answers[*place].wait_timeout(PATIENCE)));
    assert!(!answers[1].is_set());
    all_end_well(&[start_one(&answers[3])]);
    assert!(answers[3].is_set());
    // What another process clears has to happen once more.
    all_end_well(&[start(work::clear_event, &first)]);
    assert!(!first.is_set() && !first.wait_timeout(SOON));
    for waiter in [&waiters[0], &waiters[2]] {
        assert!(waiter.join_timeout(PATIENCE).expect("a status").expect("it has heard").success());
    }
}

#[test]
fn permits_come_from_other_processes() {
    let _alone = alone();
    let semaphore = Semaphore::new(0).expect("a semaphore");
    let takers: Vec<_> = (0..3).map(|_| start(work::take_permits, &(semaphore.clone(), 100))).collect();
    // One that is killed while it waits takes none.
    let killed = start(work::take_permits, &(Semaphore::new(0).expect("a semaphore"), 1));
    (0..300).for_each(|_| semaphore.release().expect("there is place"));
    all_end_well(&takers);
    assert_eq!(semaphore.value(), 0);
    kill(&killed);
}

#[test]
fn values_are_the_same_in_other_processes_and_gone_after_the_last() {
    let _alone = alone();
    let (value, slice) = (Shared::new(1.25).expect("a value"), SharedSlice::from_slice(&[1, 2, 3]).expect("a slice"));
    let memory = SharedMemory::new(11).expect("memory");
    memory.write(0, b"01234567890").expect("inside");
    all_end_well(&[start(
        work::double,
        &(
            value.clone(),
            slice.clone(),
            SharedMemory::from_descriptor(
                std::os::fd::AsFd::as_fd(&memory).try_clone_to_owned().expect("a descriptor"),
            )
            .expect("memory"),
        ),
    )]);
    assert_eq!((value.get(), slice.to_vec()), (2.5, vec![2, 4, 6]));
    let mut bytes = [0; 11];
    memory.read(0, &mut bytes).expect("inside");
    assert_eq!(&bytes, b"`bdfhjlnpr`");
}
