//! Several jobs, several pools, and the end of both.

use crate::common::*;
use std::thread;

#[test]
fn cancel_ends_busy_and_waiting_tasks() {
    let _alone = alone();
    let pool = pool(2);
    // One that listens, and two that are deaf to everything.
    for busy in [Act::UntilCancelled, Act::Sleep(Duration::from_secs(600)), Act::Spin] {
        let job = acts(&pool);
        (0..100).for_each(|id| job.submit(id, &busy).expect("encoded"));
        until("both are busy", || {
            pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
        });
        job.cancel();
        let ended = collect(&job);
        assert_eq!(ended.len(), 100);
        for result in ended.into_values() {
            assert!(matches!(result, Ok(Brought::Number(_)) | Err(TaskError::Cancelled)), "{result:?}");
        }
        job.submit(100, &Act::Pid).expect("encoded");
        assert!(matches!(collect(&job)[&100], Err(TaskError::Cancelled)), "a cancelled job takes no more");
        assert_whole(&pool, 2);
    }
}

#[test]
fn cancelling_one_job_leaves_the_others() {
    let _alone = alone();
    let pool = pool(1);
    let (first, second) = (acts(&pool), acts(&pool));
    (0..50).for_each(|id| first.submit(id, &Act::Sleep(Duration::from_millis(1))).expect("encoded"));
    (0..50).for_each(|id| second.submit(id, &Act::Square(id)).expect("encoded"));
    assert!(matches!(first.next_timeout(PATIENCE), Next::Ended(..)));
    first.cancel();
    assert!(collect(&second).values().all(Result::is_ok));
    assert_eq!(collect(&first).len(), 49);
}

#[test]
fn jobs_take_turns() {
    let _alone = alone();
    let pool = pool(1);
    let (long, short) = (acts(&pool), acts(&pool));
    (0..1000).for_each(|id| long.submit(id, &Act::Sleep(Duration::from_millis(5))).expect("encoded"));
    assert!(matches!(long.next_timeout(PATIENCE), Next::Ended(..)));
    short.submit(0, &Act::Square(3)).expect("encoded");
    assert_eq!(collect(&short)[&0].as_ref().expect("a value"), &Brought::Number(9));
    let mut ended = 0;
    while let Next::Ended(..) = long.next_timeout(Duration::ZERO) {
        ended += 1;
    }
    assert!(ended < 900, "the short job was served among the long one's tasks");
}

#[test]
fn a_task_that_listens_keeps_its_worker() {
    let _alone = alone();
    let pool = pool(1);
    // The machine is as busy as it may be; still a worker that listens is heard.
    let _load = Load::new(4);
    let kept = (0..20).filter(|_| {
        let before = pool.deaths();
        let job = acts(&pool);
        job.submit(0, &Act::Poll).expect("encoded");
        until("it is busy", || {
            pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
        });
        job.cancel();
        assert_eq!(collect(&job).len(), 1);
        assert_whole(&pool, 1);
        pool.deaths() == before
    });
    let kept = kept.count();
    assert!(kept >= 18, "{kept} of 20 workers were kept");
}

#[test]
fn a_task_that_hangs_does_not_hold_up_another_job() {
    let _alone = alone();
    let pool = pool(2);
    let hung = acts(&pool);
    hung.submit(0, &Act::Sleep(Duration::from_secs(600))).expect("encoded");
    until("it is busy", || pool.status().expect("it answers").iter().any(|worker| worker.state == WorkerState::Busy));
    thread::sleep(Duration::from_millis(50));
    assert!(run(&pool, (0..50).map(Act::Square)).values().all(Result::is_ok));
    assert!(matches!(hung.next_timeout(Duration::ZERO), Next::Nothing));
}

#[test]
fn a_dropped_job_is_cancelled() {
    let _alone = alone();
    let pool = pool(2);
    let job = acts(&pool);
    (0..10).for_each(|id| job.submit(id, &Act::Sleep(Duration::from_secs(600))).expect("encoded"));
    until("both are busy", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
    });
    drop(job);
    assert_whole(&pool, 2);
}

#[test]
fn a_job_outlives_its_pool() {
    let _alone = alone();
    let pool = pool(2);
    let job = acts(&pool);
    (0..10).for_each(|id| job.submit(id, &Act::Sleep(Duration::from_secs(600))).expect("encoded"));
    drop(pool);
    job.submit(10, &Act::Pid).expect("encoded");
    let ended = collect(&job);
    assert_eq!(ended.len(), 11);
    assert!(ended.values().all(|result| matches!(result, Err(TaskError::Closed))));
    job.cancel();
}

#[test]
fn a_pool_outlives_the_thread_that_started_it() {
    let _alone = alone();
    let pool = thread::spawn(|| pool(2)).join().expect("a pool");
    assert_whole(&pool, 2);
    assert_eq!(pool.deaths(), 0);
}

#[test]
fn a_job_is_used_from_several_threads() {
    let _alone = alone();
    let pool = pool(2);
    let job = acts(&pool);
    thread::scope(|scope| {
        for part in 0..4 {
            let job = &job;
            scope
                .spawn(move || (0..250).for_each(|id| job.submit(part * 250 + id, &Act::Square(id)).expect("encoded")));
        }
    });
    assert_eq!(collect(&job).len(), 1000);
}

#[test]
fn two_pools_do_not_disturb_each_other() {
    let _alone = alone();
    let (one, other) = (pool(1), pool(2));
    let (first, second) = (acts(&one), acts(&other));
    (0..200).for_each(|id| first.submit(id, &Act::Abort).expect("encoded"));
    (0..200).for_each(|id| second.submit(id, &Act::Square(id)).expect("encoded"));
    assert!(collect(&second).values().all(Result::is_ok));
    drop(first);
    drop(one);
    assert_eq!(other.deaths(), 0);
    assert_whole(&other, 2);
}

#[test]
fn results_that_nobody_takes_hold_the_tasks_back() {
    let _alone = alone();
    let pool = pool(1);
    let job = pool.job("echo", Message::default()).expect("a job");
    let size = 1 << 20;
    (0..200).for_each(|id| job.submit(id, Message::plain(vec![id as u8; size])));
    let done = || pool.status().expect("it answers").iter().map(|worker| worker.tasks).sum::<u64>();
    until("the results fill the inbox", || done() >= 64);
    // Another job is not held back by it; and while its tasks are done, this one's are not.
    let other = acts(&pool);
    (0..100).for_each(|id| other.submit(id, &Act::Square(id)).expect("encoded"));
    assert_eq!(collect(&other).len(), 100);
    let held = done() - 100;
    assert!(held < 70, "{held} results of a megabyte wait");
    for _ in 0..200 {
        match job.next_timeout(PATIENCE) {
            Next::Ended(id, Ok(payload)) => assert!(payload.len() == size && payload[0] == id as u8),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(job.next_timeout(Duration::ZERO), Next::Idle));
}

#[test]
fn a_worker_that_does_not_read_holds_nobody_up() {
    let _alone = alone();
    let pool = pool(2);
    let stopped = pool.status().expect("it answers")[0].pid;
    signal(stopped, libc::SIGSTOP);
    let jobs: Vec<_> = (0..6).map(|_| pool.job("echo", Message::default()).expect("a job")).collect();
    for job in &jobs {
        (0..4).for_each(|id| job.submit(id, Message::plain(vec![7; multiprocessing::wire::INLINE_LIMIT])));
    }
    // The other worker ends all but those that the stopped one has in hand.
    let ended = std::cell::Cell::new(0);
    let enough = |count| {
        let ready = jobs.iter().filter(|job| matches!(job.next_timeout(Duration::ZERO), Next::Ended(_, Ok(_)))).count();
        ended.set(ended.get() + ready);
        ended.get() >= count
    };
    until("the others have ended", || enough(22));
    signal(stopped, libc::SIGCONT);
    until("all have ended", || enough(24));
    assert_eq!(pool.deaths(), 0);
}

#[test]
fn resize_and_restart() {
    let _alone = alone();
    let pool = pool(1);
    let job = acts(&pool);
    (0..300).for_each(|id| job.submit(id, &Act::Sleep(Duration::from_millis(1))).expect("encoded"));
    pool.resize(3);
    assert!(matches!(job.next_timeout(PATIENCE), Next::Ended(..)));
    until("there are three", || pool.status().expect("it answers").len() == 3);
    let before: Vec<u32> = pool.status().expect("it answers").iter().map(|worker| worker.pid).collect();
    pool.restart().expect("they start again");
    assert!(pool.status().expect("it answers").iter().all(|worker| !before.contains(&worker.pid)));
    pool.resize(0);
    assert_eq!(pool.status().expect("it answers").len(), 1);
    let ended = collect(&job);
    assert_eq!(ended.len(), 299);
    assert!(ended.values().all(Result::is_ok), "a task that was interrupted has begun anew");
    until("only one process is left", || children().len() == 1);
    assert_eq!(pool.deaths(), 0);
    assert_whole(&pool, 1);
}

#[test]
fn limits_can_be_changed() {
    let _alone = alone();
    let pool = pool(1);
    let job = acts(&pool);
    job.submit(0, &Act::Sleep(Duration::from_secs(600))).expect("encoded");
    pool.set_task_timeout(Some(Duration::from_millis(50)));
    assert!(matches!(collect(&job)[&0], Err(TaskError::Timeout(_))));
    pool.set_task_timeout(None);
    pool.set_memory_limit(Some(8 << 20));
    pool.restart().expect("it starts again");
    assert!(matches!(run_one(&pool, Act::Allocate(32 << 20)), Err(TaskError::OutOfMemory)));
}
