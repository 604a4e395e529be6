//! Cycles, queues and waits.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Where the mutex of a number lies.
fn mutex(number: u64) -> u64 {
    START + 0x40 * number
}

#[test]
fn threads_that_wait_in_a_ring_are_a_cycle() {
    for count in [1, 2, 3, 10] {
        let mut world = World::new(count + 1);
        for number in 1..=count {
            world.mutex(mutex(number), 100 + number);
            world.lock(number, mutex(number % count + 1));
        }
        let row = world.row();
        assert_eq!(row.kind, DeadlockKind::Cycle);
        assert_eq!(numbers(&row.threads), (1..=count).collect::<Vec<_>>());
        for (stuck, lock) in row.threads.iter().zip(&row.locks) {
            let next = stuck.thread.number.unwrap() % count + 1;
            assert_eq!((lock.address, &lock.kind[..], owners(lock)), (mutex(next), "mutex", vec![100 + next]));
            assert_eq!(lock.waiters, [stuck.thread]);
            assert!(!lock.inferred);
            let place = stuck.place.as_ref().unwrap();
            assert_eq!((place.function.as_deref(), place.line), (Some("lock_it"), Some(12)));
            assert_eq!(stuck.through.as_deref(), Some("pthread_mutex_lock"));
        }
    }
}

#[test]
fn cycles_come_before_queues_and_those_before_other_waits() {
    let mut world = World::new(20);
    for (number, owner) in [(1, 102), (2, 101), (3, 104), (4, 103), (5, 107)] {
        world.mutex(mutex(number), owner);
    }
    world.lock(1, mutex(1)).lock(2, mutex(2)).lock(3, mutex(3)).lock(4, mutex(4));
    // Behind the second cycle: one that waits for it, and one that waits for that one.
    world.lock(5, mutex(3)).mutex(mutex(6), 105).lock(6, mutex(6));
    // A queue behind a thread that reads.
    world.sleep(7, 0);
    for number in 8..=12 {
        world.lock(number, mutex(5));
    }
    // An owner that has ended.
    world.mutex(mutex(7), 999).lock(13, mutex(7));
    // Workers that have nothing to do.
    for number in 14..=20 {
        world.wait(number, (START + 0x800, UNTIL, 0), &["__futex_abstimed_wait", "pthread_cond_wait"], "work");
    }
    let rows = world.rows();
    let shown: Vec<_> = rows.iter().map(|row| (row.kind, numbers(&row.threads), numbers(&row.behind))).collect();
    let expected = [
        (DeadlockKind::Cycle, vec![3, 4], vec![5, 6]),
        (DeadlockKind::Cycle, vec![1, 2], vec![]),
        (DeadlockKind::Queue, vec![8, 9, 10, 11, 12], vec![]),
        (DeadlockKind::Queue, vec![13], vec![]),
        (DeadlockKind::Wait, (14..=20).collect(), vec![]),
    ];
    assert_eq!(shown, expected);
    let owner = rows[2].owner.as_ref().unwrap();
    assert_eq!((owner.thread.number, owner.call.as_deref()), (Some(7), Some("read")));
    let gone = rows[3].owner.as_ref().unwrap().thread;
    assert_eq!((gone.number, gone.id), (None, 999));
    assert_eq!(rows[4].locks[0].kind, "condition variable");
    assert_eq!(rows[4].owner, None);
}

#[test]
fn who_waits_for_something_to_happen_is_waited_for_itself() {
    let mut world = World::new(3);
    world.mutex(mutex(1), 101).lock(2, mutex(1)).lock(3, mutex(1));
    world.wait(1, (START + 0x800, UNTIL, 0), &["sem_wait"], "work");
    let rows = world.rows();
    assert_eq!(rows.iter().map(|row| numbers(&row.threads)).collect::<Vec<_>>(), [vec![2, 3], vec![1]]);
    assert_eq!(rows[0].owner.as_ref().unwrap().thread.number, Some(1));
    assert_eq!((rows[1].kind, &rows[1].locks[0].kind[..]), (DeadlockKind::Wait, "semaphore"));
}

#[test]
fn who_waits_for_a_lock_of_several_is_in_the_cycle_of_one_of_them() {
    let mut world = World::new(5);
    let image = [2 << 3, 0, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    world.halves(mutex(1), &image).hold(3, mutex(1)).hold(4, mutex(1));
    for number in [1, 2] {
        world.wait(number, (mutex(1) + 12, UNTIL, 3), &["pthread_rwlock_wrlock"], "write_it");
    }
    // One of the two readers waits for what the first writer has; the other one works.
    world.mutex(mutex(3), 101).lock(3, mutex(3));
    let row = world.row();
    assert_eq!((row.kind, numbers(&row.threads), numbers(&row.behind)), (DeadlockKind::Cycle, vec![1, 3], vec![2]));
    assert_eq!(row.locks.iter().map(owners).collect::<Vec<_>>(), [vec![103, 104], vec![101]]);
    // Nobody waits in a circle for the one that works.
    world.sleep(3, 0);
    let row = world.row();
    assert_eq!((row.kind, numbers(&row.threads)), (DeadlockKind::Queue, vec![1, 2]));
    assert_eq!(row.owner.and_then(|owner| owner.thread.number), Some(3));
}

#[test]
fn threads_of_a_process_in_a_container_are_found_by_its_own_ids() {
    let contained = || {
        let mut world = World::new(2);
        world.threads.iter_mut().for_each(|thread| thread.thread.own_id = thread.thread.number);
        world
    };
    let mut world = contained();
    world.mutex(mutex(1), 1).mutex(mutex(2), 2).lock(1, mutex(2)).lock(2, mutex(1));
    let row = world.row();
    assert_eq!((row.kind, numbers(&row.threads)), (DeadlockKind::Cycle, vec![1, 2]));
    assert_eq!(row.locks.iter().map(owners).collect::<Vec<_>>(), [[102], [101]], "by the debugger's ids");
    // A mutex is told by its structure alone only if it has an owner that there is.
    let unnamed = |owner| {
        let mut world = contained();
        world.mutex(mutex(1), owner).wait(2, (mutex(1), WAIT, 2), &["??"], "work");
        world.only_lock().kind
    };
    assert_eq!((&unnamed(1)[..], &unnamed(101)[..]), ("mutex", "futex"));
}

#[test]
fn threads_of_a_pool_are_one_row_though_each_waits_for_its_own() {
    let mut world = World::new(40);
    for number in 1..=40 {
        world.wait(
            number,
            (START + 0x40 * number, WAIT, u32::MAX),
            &["futex_wait", "std::sys::sync::thread_parking::futex::Parker::park"],
            "work",
        );
        world.halves(START + 0x40 * number, &[u32::MAX]);
    }
    let row = world.row();
    assert_eq!((row.kind, row.threads.len(), row.locks.len()), (DeadlockKind::Wait, 40, 40));
    for stuck in &row.threads {
        let lock = &row.locks[stuck.lock.unwrap()];
        assert_eq!(lock.address, START + 0x40 * stuck.thread.number.unwrap());
        assert_eq!(lock.waiters, [stuck.thread]);
    }
}

#[test]
fn nobody_waits_in_a_process_that_works() {
    let mut world = World::new(5);
    world.sleep(1, 232).sleep(2, 0).sleep(4, 35);
    assert_eq!(world.rows(), []);
    assert_eq!(World::new(0).rows(), []);
}

/// What a thread waits for in the end, naively: going from owner to owner until one has come already.
fn naive_end(owner_of: &BTreeMap<u64, u64>, thread: u64) -> Result<BTreeSet<u64>, u64> {
    let (mut at, mut seen) = (thread, Vec::new());
    while let Some(owner) = owner_of.get(&at) {
        if let Some(first) = seen.iter().position(|known| *known == at) {
            return Ok(seen[first..].iter().copied().collect());
        }
        seen.push(at);
        at = *owner;
    }
    Err(at)
}

proptest! {
    #[test]
    fn each_thread_is_where_following_owners_leads(
        owned in prop::collection::vec(1_u64..30, 24),
        waits in prop::collection::vec(prop::option::weighted(0.7, 1_u64..24), 20),
    ) {
        let mut world = World::new(20);
        for (number, owner) in (1..).zip(&owned) {
            world.mutex(mutex(number), 100 + owner);
        }
        let mut owner_of = BTreeMap::new();
        for (number, lock) in (1..).zip(&waits) {
            if let Some(lock) = lock {
                world.lock(number, mutex(*lock));
                owner_of.insert(number, owned[*lock as usize - 1]);
            }
        }
        let rows = world.rows();
        let mut seen = BTreeSet::new();
        for row in &rows {
            for stuck in row.threads.iter().chain(&row.behind) {
                let number = stuck.thread.number.unwrap();
                prop_assert!(seen.insert(number), "{} is in two rows", number);
                let lock = &row.locks[stuck.lock.unwrap()];
                prop_assert_eq!(Some(lock.address), waits[number as usize - 1].map(mutex));
                prop_assert!(lock.waiters.contains(&stuck.thread));
                prop_assert_eq!(owners(lock), vec![100 + owner_of[&number]]);
                match naive_end(&owner_of, number) {
                    Ok(cycle) => {
                        prop_assert_eq!(row.kind, DeadlockKind::Cycle);
                        let members: BTreeSet<u64> = numbers(&row.threads).into_iter().collect();
                        prop_assert_eq!(cycle, members);
                    }
                    Err(end) => {
                        prop_assert_eq!(row.kind, DeadlockKind::Queue);
                        prop_assert_eq!(row.owner.as_ref().map(|owner| owner.thread.id), Some(100 + end));
                    }
                }
            }
        }
        prop_assert_eq!(seen, owner_of.keys().copied().collect::<BTreeSet<_>>());
    }
}
