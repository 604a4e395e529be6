//! Records of the log that are made in processes reach this process's logger.

use crate::common::*;
use crate::kept::{Kept, Still, Wanted, clear, kept};
use log::{Level, LevelFilter};

#[test]
fn records_reach_the_parent_in_order_before_the_end_does() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Info);
    for method in methods() {
        clear();
        let process = Process::builder(&program()).name("Ada").start_method(method).start(logs, &(1000, None));
        let process = process.expect("a process");
        assert_eq!(ended(&process), DONE);
        let (kept, prefix) = (kept(), format!("[Ada/{}]", process.pid()));
        assert_eq!(kept.len(), 1001, "{:?}", kept.last());
        for (number, record) in kept[..1000].iter().enumerate() {
            assert_eq!(record.message, format!("{prefix} record {number}"));
            assert_eq!((record.level, &*record.target), (Level::Info, "the test's target"));
            assert!(record.line.is_some() && record.file.as_deref().is_some_and(|file| file.ends_with("process.rs")));
        }
        assert_eq!((kept[1000].level, &kept[1000].message), (Level::Error, &format!("{prefix} the last")));
    }
}

#[test]
fn only_what_the_parent_wants_is_sent() {
    let _alone = alone();
    for (level, count) in [(LevelFilter::Off, 0), (LevelFilter::Error, 1), (LevelFilter::Debug, 7)] {
        let _wanted = Wanted::new(level);
        for method in methods() {
            clear();
            let process = Process::builder(&program()).start_method(method).start(logs, &(5, None));
            assert_eq!(ended(&process.expect("a process")), DONE);
            assert_eq!(kept().len(), count, "{level}");
        }
    }
}

#[test]
fn the_records_of_a_dropped_process_arrive_too() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Error);
    drop(Process::builder(&program()).start(logs, &(0, None)).expect("a process"));
    until("its record has come", || kept().len() == 1);
}

#[test]
fn records_of_a_process_of_a_process_come_through_both() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Error);
    let process = Process::builder(&program()).name("above").start(logs_below, &()).expect("a process");
    assert_eq!(ended(&process), DONE);
    let message = &kept()[0].message;
    assert!(message.starts_with(&format!("[above/{}] [below/", process.pid())), "{message}");
}

#[test]
fn a_logger_that_stands_still_holds_up_nobody_and_what_is_lost_is_counted() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Info);
    let still = Still::new();
    let (reader, writer) = pipe();
    const COUNT: u64 = 30_000;
    let process = Process::builder(&program()).start(logs, &(COUNT, Some(writer))).expect("a process");
    assert_eq!(read(reader), "written");
    assert_eq!(ended(&process), DONE);
    drop(still);
    let sum = || kept().iter().map(Kept::stands_for).sum::<u64>();
    until("each record has come or is counted", || sum() == COUNT + 1);
    assert!(kept().len() < 10_000, "{} records", kept().len());
    assert!(kept().iter().any(|record| record.stands_for() > 1));
}

#[test]
fn a_process_without_a_logger_can_log_to_standard_error() {
    let _alone = alone();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let process = Process::builder(&program()).stderr(writer).start(logs_to_stderr, &()).expect("a process");
    let said = read(reader);
    assert_eq!(ended(&process), DONE, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "[INFO] above: the first"), "{said}");
    assert!(lines[1].contains("[below/") && lines[1].ends_with("the second"), "{said}");
    // Where the parent wants records, the process has a logger already.
    let _wanted = Wanted::new(LevelFilter::Info);
    let process = Process::builder(&program()).stderr(Stdio::Null).start(logs_to_stderr, &()).expect("a process");
    assert_eq!(ended(&process), ExitStatus::Exited(1));
}

#[test]
fn a_pools_workers_log_here() {
    let _alone = alone();
    let _wanted = Wanted::new(LevelFilter::Info);
    let mut config = multiprocessing::PoolConfig::new(program());
    config.workers = 1;
    let pool = multiprocessing::Pool::start(config).expect("a pool");
    let job = pool.typed_job::<says>(&()).expect("a job");
    job.submit(0, &"from a worker".to_owned()).expect("encoded");
    assert!(matches!(job.next_timeout(PATIENCE), multiprocessing::Next::Ended(0, Ok(()))));
    drop(job);
    until("the record has come", || {
        kept().iter().any(|record| record.message.starts_with("[worker/") && record.message.ends_with("from a worker"))
    });
}

#[test]
fn what_a_worker_said_before_it_is_replaced_arrives() {
    let _alone = alone();
    const TIMES: u32 = 20;
    for fails in [false, true] {
        let _wanted = Wanted::new(LevelFilter::Info);
        let mut config = multiprocessing::PoolConfig::new(program());
        (config.workers, config.max_tasks_per_worker) = (1, Some(1));
        let pool = multiprocessing::Pool::start(config).expect("a pool");
        for _ in 0..5 {
            assert_eq!(pool.apply(says_much, &(TIMES, fails)).is_err(), fails);
        }
        drop(pool);
        until("all records have come", || {
            let own = |record: &&Kept| record.message.ends_with(&format!(" of {TIMES}"));
            kept().iter().filter(own).count() == 5 * TIMES as usize
        });
    }
}
