//! What a task can do to its worker: only that task pays.

use crate::common::*;
use multiprocessing::wire;

/// The bad act fails as expected, its neighbours do not, and the pool is whole again.
fn only_it_pays(config: PoolConfig, bad: Act, expected: impl Fn(&TaskError) -> bool) -> Pool {
    let pool = one_bad_act(config, bad, expected);
    assert_whole(&pool, 2);
    pool
}

#[test]
fn killed_by_a_signal() {
    let _alone = alone();
    for number in [libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM, libc::SIGRTMIN()] {
        let by_it = |error: &TaskError| matches!(error, TaskError::Signal { signal, .. } if *signal == number);
        let pool = only_it_pays(config(2), Act::Signal(number), by_it);
        assert_eq!(pool.deaths(), 1);
        assert_eq!(pool.status().expect("it answers").iter().map(|worker| worker.deaths).sum::<u64>(), 1);
    }
}

#[test]
fn crashed_and_left() {
    let _alone = alone();
    let signal =
        |number| move |error: &TaskError| matches!(error, TaskError::Signal { signal, .. } if *signal == number);
    only_it_pays(config(2), Act::Fault, signal(libc::SIGSEGV));
    only_it_pays(config(2), Act::Abort, signal(libc::SIGABRT));
    for code in [0, 3] {
        let pool = only_it_pays(
            config(2),
            Act::Exit(code),
            |error| matches!(error, TaskError::Exited { code: found, .. } if *found == code),
        );
        assert_eq!(pool.deaths(), 1);
    }
}

#[test]
fn a_panic_brings_its_message_and_its_stack() {
    let _alone = alone();
    let pool = only_it_pays(config(2), Act::Panic("on purpose".into()), |error| match error {
        TaskError::Panic { message, backtrace } => message.starts_with("on purpose at ") && backtrace.contains("acts"),
        _ => false,
    });
    assert_eq!(pool.deaths(), 0, "a worker that tells of its panic has not died of it");
}

#[test]
fn a_panic_of_a_task_s_own_thread_is_the_task_s() {
    let _alone = alone();
    only_it_pays(
        config(2),
        Act::PanicInThread,
        |error| matches!(error, TaskError::Panic { message, .. } if message.starts_with("in a thread at ")),
    );
}

#[test]
fn printing_harms_nobody() {
    let _alone = alone();
    let pool = pool(2);
    assert!(run(&pool, (0..20).map(|_| Act::Print(300_000))).values().all(Result::is_ok));
    let error = run_one(&pool, Act::Fault).expect_err("it crashes");
    assert!(matches!(error, TaskError::Signal { .. }) && error.to_string().len() < 20_000, "{error}");
}

#[test]
fn a_panic_is_told_within_a_memory_limit() {
    let _alone = alone();
    let mut config = config(2);
    config.memory_limit = Some(4 << 20);
    only_it_pays(config, Act::Panic("short of memory".into()), |error| matches!(error, TaskError::Panic { .. }));
}

#[test]
fn too_much_memory() {
    let _alone = alone();
    let out_of_memory = |error: &TaskError| matches!(error, TaskError::OutOfMemory);
    let mut limited = config(2);
    limited.memory_limit = Some(16 << 20);
    only_it_pays(limited.clone(), Act::Allocate(64 << 20), out_of_memory);
    let pool = Pool::start(limited).expect("a pool");
    assert!(run_one(&pool, Act::Allocate(8 << 20)).is_ok());

    // Stack is none of what the system limits: this one is seen by its resident size.
    let mut limited = config(2);
    limited.memory_limit = Some(4 << 20);
    only_it_pays(limited, Act::Stack(6 << 20), out_of_memory);
}

#[test]
fn hung_or_stopped() {
    let _alone = alone();
    for act in [Act::Sleep(Duration::from_secs(600)), Act::Signal(libc::SIGSTOP)] {
        let mut config = config(2);
        config.task_timeout = Some(Duration::from_millis(200));
        let pool = only_it_pays(config, act, |error| matches!(error, TaskError::Timeout(_)));
        assert_eq!(pool.deaths(), 1);
    }
}

#[test]
fn stopped_is_seen_long_before_the_timeout() {
    let _alone = alone();
    for timeout in [None, Some(Duration::from_secs(600))] {
        let mut config = config(2);
        config.task_timeout = timeout;
        let stopped = |error: &TaskError| matches!(error, TaskError::Stopped) && error.lost_worker();
        let pool = only_it_pays(config, Act::Signal(libc::SIGSTOP), stopped);
        assert_eq!(pool.deaths(), 1);
    }
}

#[test]
fn stopped_for_a_moment_or_slow_is_no_offence() {
    let _alone = alone();
    let pool = pool(2);
    let job = acts(&pool);
    (0..2).for_each(|id| job.submit(id, &Act::Sleep(Duration::from_millis(1300))).expect("encoded"));
    until("both are busy", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
    });
    let pid = pool.status().expect("it answers")[0].pid;
    signal(pid, libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(50));
    signal(pid, libc::SIGCONT);
    assert!(collect(&job).values().all(Result::is_ok));
    assert_eq!(pool.deaths(), 0);
}

#[test]
fn stopped_from_outside_while_idle() {
    let _alone = alone();
    let mut config = config(1);
    config.task_timeout = Some(Duration::from_millis(200));
    let pool = Pool::start(config).expect("a pool");
    assert_whole(&pool, 1);
    let pid = pool.status().expect("it answers")[0].pid;
    signal(pid, libc::SIGSTOP);
    // None of these is to blame, for the worker has begun none of them.
    assert!(run(&pool, (0..5).map(Act::Square)).values().all(Result::is_ok));
    assert_eq!(pool.deaths(), 1);
    assert_ne!(pool.status().expect("it answers")[0].pid, pid);
}

#[test]
fn killed_from_outside_while_idle() {
    let _alone = alone();
    let pool = pool(2);
    assert_whole(&pool, 2);
    for _ in 0..5 {
        let before = pool.status().expect("it answers");
        for worker in &before {
            signal(worker.pid, libc::SIGKILL);
        }
        until("both are replaced", || {
            let status = pool.status().expect("it answers");
            status.len() == 2 && status.iter().all(|worker| before.iter().all(|old| old.pid != worker.pid))
        });
        assert_whole(&pool, 2);
    }
    assert_eq!(pool.deaths(), 10);
}

#[test]
fn a_broken_connection() {
    let _alone = alone();
    let broken = |error: &TaskError| matches!(error, TaskError::Connection(_));
    only_it_pays(config(2), Act::HangUp, broken);
    let answer = wire::ToPool::Ended { sequence: 1 << 40, outcome: wire::Outcome::Value, shared: false };
    let answer = wire::encode(&answer, 0).expect("it can be encoded");
    let ready = wire::encode(&wire::ToPool::Ready { identity: IDENTITY }, 0).expect("it can be encoded");
    for bytes in [b"nonsense".to_vec(), vec![0; 100_000], answer, ready] {
        only_it_pays(config(2), Act::Babble(bytes), broken);
    }
}

#[test]
fn an_open_that_fails_or_kills_is_each_task_s_own_error() {
    let _alone = alone();
    let pool = pool(2);
    let job = pool.typed_job::<Actor>(&Setup::Refuse).expect("a job");
    (0..5).for_each(|id| job.submit(id, &Act::Pid).expect("encoded"));
    for result in collect(&job).into_values() {
        assert!(matches!(result, Err(TaskError::Error(message)) if message == "this job is refused"));
    }
    assert_eq!(pool.deaths(), 0);
    let job = pool.typed_job::<Actor>(&Setup::Abort).expect("a job");
    (0..5).for_each(|id| job.submit(id, &Act::Pid).expect("encoded"));
    for result in collect(&job).into_values() {
        assert!(matches!(result, Err(TaskError::Signal { signal: libc::SIGABRT, .. })));
    }
    assert_eq!(pool.deaths(), 5);
    assert_whole(&pool, 2);
}

#[test]
fn what_it_said_last_is_in_its_error() {
    let _alone = alone();
    let pool = pool(1);
    let error = run_one(&pool, Act::Allocate(isize::MAX as usize)).expect_err("nobody has so much");
    assert!(matches!(error, TaskError::OutOfMemory), "{error:?}");
    let job = pool.job("act", Message::plain(b"not a set-up".to_vec())).expect("a job");
    job.submit(7, Message::default());
    match job.next_timeout(PATIENCE) {
        Next::Ended(7, Err(TaskError::Decode(reason))) => assert!(reason.contains("act"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let job = pool.job("no such function", Message::default()).expect("a job");
    job.submit(8, Message::default());
    match job.next_timeout(PATIENCE) {
        Next::Ended(8, Err(TaskError::Error(reason))) => assert!(reason.contains("no such function"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(run_one(&pool, Act::Refuse("no".into())), Err(TaskError::Error(reason)) if reason == "no"));
}

#[test]
fn a_thousand_tasks_among_random_deaths() {
    let _alone = alone();
    let pool = pool(2);
    let acts = some_bad_acts(&mut random(), &Act::HangUp);
    let job = acts_job(&pool, &acts);
    let mut ended = std::collections::BTreeMap::new();
    let mut killed = 0;
    loop {
        match job.next_timeout(PATIENCE) {
            Next::Ended(id, result) => assert!(ended.insert(id, result).is_none(), "task {id} has ended twice"),
            Next::Nothing => panic!("nothing ends"),
            Next::Idle => break,
        }
        if ended.len() % 100 == 0 {
            // And some are killed from outside, whatever they do.
            pool.status().expect("it answers").iter().for_each(|worker| signal(worker.pid, libc::SIGKILL));
            killed += 1;
        }
    }
    assert_eq!(ended.len(), 1000);
    for (id, result) in ended {
        match (&acts[id as usize], result) {
            (Act::Square(_), Ok(brought)) => assert_eq!(brought, Brought::Number(id * id)),
            // Killed from outside in the middle of it.
            (Act::Square(_), Err(TaskError::Signal { signal: libc::SIGKILL, .. })) => {}
            (Act::Square(_), other) => panic!("task {id}: {other:?}"),
            (_, result) => assert!(result.expect_err("a bad act").lost_worker()),
        }
    }
    assert_eq!(killed, 10);
    assert_whole(&pool, 2);
}

fn acts_job(pool: &Pool, list: &[Act]) -> TypedJob<Actor> {
    let job = acts(pool);
    for (id, act) in list.iter().enumerate() {
        job.submit(id as u64, act).expect("it can be encoded");
    }
    job
}
