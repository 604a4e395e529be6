//! Processes that are stopped and killed at random while they hold a lock.

use crate::leftovers::alone;
use crate::{all_end_well, kill, start, work};
use multiprocessing::Shared;
use multiprocessing::sync::{Event, LockError};
use std::time::{Duration, Instant};

#[test]
fn a_count_stays_right_whoever_is_killed() {
    let _alone = alone();
    let seconds = std::env::var("MULTIPROCESSING_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let end = Instant::now() + Duration::from_secs(seconds);
    let state = Shared::<work::Tortured>::new([0; 4]).expect("a value");
    let stop = Event::new().expect("an event");
    let begin = |me: u64| start(work::torture, &(state.clone(), me, stop.clone()));
    let mut processes: Vec<_> = (1..=4).map(begin).collect();
    let (mut random, mut next, mut kills) = (0x9e37_79b9_7f4a_7c15_u64, 5, 0);
    while Instant::now() < end {
        // A linear congruential generator is random enough to hit any moment.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let process = (random >> 33) as usize % processes.len();
        std::thread::sleep(Duration::from_micros(random >> 51));
        assert!(processes[process].is_alive(), "it has found something wrong: {:?}", processes[process].exit_status());
        if random >> 62 == 0 {
            processes[process].signal(libc::SIGSTOP).expect("ours");
            std::thread::sleep(Duration::from_micros(random >> 50 & 0xfff));
            processes[process].signal(libc::SIGCONT).expect("ours");
        } else {
            kill(&processes[process]);
            kills += 1;
            processes[process] = begin(next);
            next += 1;
        }
    }
    stop.set();
    all_end_well(&processes);
    let (guard, died) = match state.lock() {
        Ok(guard) => (guard, false),
        Err(LockError::OwnerDied(guard)) => (guard, true),
        Err(error) => panic!("{error}"),
    };
    let [left, right, _, deaths] = guard.get();
    assert!(left == right || died);
    println!("{left} rounds, {kills} killed, {deaths} of them with the lock");
    assert!(left > 0 && kills > 0 && deaths <= kills);
}
