//! Records of the log that are made by workers elsewhere reach this process's logger.

use super::dialling;
use crate::common::*;
use crate::kept::{Kept, Still, Wanted, kept};
use crate::process::{says, says_much};
use log::{Level, LevelFilter};
use multiprocessing::{CommandPrefix, Launcher};
use std::sync::Arc;

/// A pool of one worker, behind a command.
fn behind_env() -> Pool {
    let launcher: Arc<dyn Launcher> = Arc::new(CommandPrefix::new(["env", "A=B"], worker()));
    let mut config = config(0);
    config.remote = vec![launcher];
    Pool::start(config).expect("a pool")
}

#[test]
fn they_come_in_order_with_the_place_and_the_worker_before_them() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Info);
    let pool = behind_env();
    const TIMES: u32 = 1000;
    pool.apply(says_much, &(TIMES, false)).expect("it only talks");
    until("all have come", || kept().len() >= TIMES as usize);
    let machine = pool.status().expect("it answers")[0].machine.clone().expect("it is there");
    let first = format!("[env A=B ({machine})] [worker/");
    for (number, record) in kept().iter().enumerate() {
        let (pid, message) =
            record.message.strip_prefix(&first).and_then(|rest| rest.split_once("] ")).expect("the worker");
        assert!(pid.parse::<u32>().is_ok(), "{pid}");
        assert_eq!((record.level, message), (Level::Info, &*format!("{number} of {TIMES}")));
        assert!(record.target.ends_with("process") && record.line.is_some(), "{record:?}");
        assert!(record.file.as_deref().is_some_and(|file| file.ends_with("process.rs")));
    }
}

#[test]
fn only_what_is_wanted_is_sent_and_what_is_too_long_is_cut() {
    let _alone = alone();
    for (level, expected) in [(LevelFilter::Off, 0), (LevelFilter::Error, 0), (LevelFilter::Info, 1)] {
        let _wanted = Wanted::new(level);
        let pool = behind_env();
        // What is not wanted here may be wanted by now; the worker was told at its start.
        log::set_max_level(LevelFilter::Trace);
        pool.apply(says, &"x".repeat(200_000)).expect("it only talks");
        until("it has come", || kept().len() >= expected);
        // One that was not wanted would be before this.
        drop(pool);
        assert_eq!(kept().len(), expected, "{level}");
        for record in kept() {
            let length = record.message.bytes().filter(|byte| *byte == b'x').count();
            assert!((30_000..=32 << 10).contains(&length), "{length} bytes");
        }
    }
}

#[test]
fn a_worker_that_dials_back_sends_them_too() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Info);
    let dial_back = dialling::dial_back();
    let mut worker = dialling::start(&dial_back, None);
    let mut config = config(0);
    config.remote = vec![dial_back];
    let pool = Pool::start(config).expect("a pool");
    pool.apply(says, &"from afar".into()).expect("it only talks");
    until("it has come", || kept().iter().any(|record| record.message.ends_with("] from afar")));
    assert!(kept()[0].message.starts_with("[dial back to 127.0.0.1:"), "{:?}", kept()[0]);
    drop(pool);
    worker.wait().expect("it is ours");
}

#[test]
fn a_logger_that_stands_still_holds_up_no_worker_elsewhere() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Info);
    let still = Still::new();
    let pool = behind_env();
    pool.apply(says_much, &(30_000, false)).expect("it only talks");
    drop(still);
    until("what was lost is told", || kept().iter().any(|record| record.stands_for() > 1));
    assert!(kept().len() < 20_000, "{} records", kept().len());
    assert!(kept().iter().map(Kept::stands_for).sum::<u64>() <= 30_000 + 100);
}

#[test]
fn those_that_are_under_way_when_a_pool_ends_come_all_the_same() {
    let _alone = alone();
    const TIMES: u32 = 500;
    for _ in 0..5 {
        let _wanted = Wanted::new(LevelFilter::Info);
        let pool = behind_env();
        pool.apply(says_much, &(TIMES, false)).expect("it only talks");
        drop(pool);
        until("the last has come", || kept().len() >= TIMES as usize);
        assert!(kept().last().is_some_and(|last| last.message.ends_with(&format!("] {} of {TIMES}", TIMES - 1))));
    }
}

#[test]
fn one_that_never_stops_to_log_holds_up_no_end() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Info);
    let pool = behind_env();
    let result = pool.apply_async(says_much, &(u32::MAX, false));
    until("it talks", || !kept().is_empty());
    // The other tests see the threads that this would leave.
    drop(pool);
    assert!(result.get().is_err());
}
