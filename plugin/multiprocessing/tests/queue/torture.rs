use crate::leftovers::alone;
use crate::queue::*;
use crate::{PATIENCE, program};
use multiprocessing::{Process, Queue};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Numbers that are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn putter(queue: &Queue<Numbered>, who: u32) -> Process {
    Process::builder(&program()).start(put_numbered, &(queue.clone(), who, u64::MAX)).expect("a process")
}

fn getter(queue: &Queue<Numbered>, got: &Queue<(u32, u64)>) -> Process {
    Process::builder(&program()).start(get_numbered, &(queue.clone(), got.clone())).expect("a process")
}

/// Processes that put and get are killed and stopped at random, for as many seconds as `MULTIPROCESSING_TORTURE_SECONDS` says.
#[test]
fn whoever_is_killed_or_stopped_the_queue_goes_on() {
    let _alone = alone();
    let seconds = std::env::var("MULTIPROCESSING_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let end = Instant::now() + Duration::from_secs(seconds);
    let queue = Queue::<Numbered>::builder().bytes(1 << 14).build().expect("a queue");
    let got = Queue::<(u32, u64)>::builder().bytes(1 << 20).build().expect("a queue");
    let mut chance = Chance(0x5eed_1234_5678_9abd);
    let mut next = 3;
    let mut putters: Vec<Process> = (0..3).map(|who| putter(&queue, who)).collect();
    let mut getters: Vec<Process> = (0..3).map(|_| getter(&queue, &got)).collect();
    let mut last = BTreeMap::new();
    let mut total = 0_u64;
    let mut seen = std::collections::HashSet::new();
    let mut note = |item: (u32, u64)| {
        assert_ne!(item.0, u32::MAX, "a torn message");
        assert!(seen.insert(item), "{item:?} twice");
        last.insert(item.0, item.1);
        total += 1;
    };
    while Instant::now() < end {
        let pause = Instant::now() + Duration::from_millis(chance.below(30));
        while Instant::now() < pause {
            if let Ok(item) = got.get_timeout(Duration::from_millis(1)) {
                note(item);
            }
        }
        let at = chance.below(3) as usize;
        let is_putter = chance.below(2) == 0;
        let victim = if is_putter { &mut putters[at] } else { &mut getters[at] };
        if chance.below(3) == 0 {
            victim.signal(libc::SIGSTOP).expect("ours");
            std::thread::sleep(Duration::from_millis(chance.below(20)));
            victim.signal(libc::SIGCONT).expect("ours");
        } else {
            victim.kill().expect("ours");
            victim.join().expect("ours");
            *victim = if is_putter { putter(&queue, next) } else { getter(&queue, &got) };
            next += 1;
        }
    }
    // It goes on: one more of each sort does its work.
    for process in putters.iter().chain(&getters) {
        process.kill().expect("ours");
        process.join().expect("ours");
    }
    let _last = getter(&queue, &got);
    let who = next;
    Process::builder(&program()).start(put_numbered, &(queue.clone(), who, 100)).expect("a process");
    let patience = Instant::now() + PATIENCE;
    let mut of_the_last = 0;
    while of_the_last < 100 {
        assert!(Instant::now() < patience, "it goes on: {of_the_last} of the last 100");
        if let Ok(item) = got.get_timeout(Duration::from_millis(100)) {
            of_the_last += u32::from(item.0 == who);
            note(item);
        }
    }
    queue.close();
    _last.join_timeout(PATIENCE).expect("ours").expect("it ends with the queue");
    eprintln!("{total} messages, {} of them in order at the end", last.len());
}
