//! Workers behind a real sshd and a real Slurm.

use super::engines::{Slurm, Sshd, wanted};
use super::pipes::{alive, children_of};
use crate::common::*;
use multiprocessing::{CommandPrefix, Launcher};
use std::sync::Arc;

fn behind(words: Vec<String>) -> Arc<dyn Launcher> {
    Arc::new(CommandPrefix::new(words, worker()))
}

/// A pool of these, with so many workers here.
fn pool_of(workers: usize, remote: Vec<Arc<dyn Launcher>>) -> Pool {
    let mut config = config(workers);
    config.remote = remote;
    let pool = Pool::start(config).expect("a pool");
    all_there(&pool);
    pool
}

fn all_there(pool: &Pool) {
    until("all are there", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
    });
}

/// What a task can do is told as what it is.
fn the_same_errors(pool: &Pool) {
    for act in [Act::Fault, Act::Signal(libc::SIGKILL), Act::Exit(3), Act::Panic("on purpose".into())] {
        let told = match run_one(pool, act.clone()) {
            Err(TaskError::Signal { signal, .. }) => format!("signal {signal}"),
            Err(TaskError::Exited { code, .. }) => format!("code {code}"),
            Err(TaskError::Panic { message, backtrace }) if backtrace.contains("acts") => message,
            other => panic!("{other:?}"),
        };
        let expected = match act {
            Act::Fault => "signal 11",
            Act::Signal(_) => "signal 9",
            Act::Exit(_) => "code 3",
            _ => "on purpose at",
        };
        assert!(told.starts_with(expected), "{told}");
    }
    assert!(run(pool, (0..50).map(Act::Square)).values().all(Result::is_ok));
}

fn large_payload(pool: &Pool) {
    let job = pool.job("echo", Message::default()).expect("a job");
    // All byte values, among them those that a terminal would take for its own.
    let large: Vec<u8> = (0..16 << 20).map(|i: u32| (i >> 8) as u8 ^ i as u8).collect();
    job.submit(0, Message::plain(large.clone()));
    match job.next_timeout(PATIENCE) {
        Next::Ended(0, Ok(payload)) => assert!(*payload == large),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ssh() {
    if !wanted() {
        return;
    }
    let _alone = alone();
    let sshd = Sshd::start();
    let pool = pool_of(0, vec![behind(sshd.prefix("w1")), behind(sshd.prefix("w2"))]);
    the_same_errors(&pool);
    large_payload(&pool);
    let before = pool.status().expect("it answers");
    // Nobody over there outlives the client that is killed here.
    let job = acts(&pool);
    (0..2).for_each(|id| job.submit(id, &Act::Sleep(Duration::from_secs(3))).expect("encoded"));
    until("both are busy", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
    });
    let far: Vec<u32> = before.iter().flat_map(|worker| [vec![worker.pid], children_of(worker.pid)].concat()).collect();
    assert_eq!(far.len(), 4);
    let clients = children();
    let is_client =
        |pid: &&u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == "ssh");
    let killed = std::time::Instant::now();
    clients.iter().filter(is_client).for_each(|pid| signal(*pid, libc::SIGKILL));
    until("the workers are gone", || far.iter().all(|pid| !alive(*pid)));
    eprintln!("gone after {:?}", killed.elapsed());
    for result in collect(&job).into_values() {
        match result {
            Err(TaskError::Connection(reason)) => {
                assert!(reason.contains("ssh") && reason.contains("died of SIGKILL"), "{reason}");
            }
            // It was about to be sent, and went to the next worker.
            Ok(_) => {}
            other => panic!("{other:?}"),
        }
    }
    all_there(&pool);
    // A host that is not there, and one that does not have the program.
    let mut config = config(0);
    config.remote = vec![behind(sshd.prefix("w3"))];
    let error = Pool::start(config.clone()).expect_err("nobody knows it").to_string();
    assert!(error.contains("exited with code 255") && error.contains("ost key verification failed"), "{error}");
    config.remote = vec![Arc::new(CommandPrefix::new(sshd.prefix("w1"), "/nowhere/worker"))];
    let error = Pool::start(config).expect_err("it is not there").to_string();
    assert!(error.contains("exited with code 127") && error.contains("/nowhere/worker"), "{error}");
}

#[test]
fn slurm() {
    if !wanted() {
        return;
    }
    let _alone = alone();
    let slurm = Slurm::start();
    let pool = pool_of(0, vec![behind(slurm.prefix())]);
    the_same_errors(&pool);
    large_payload(&pool);
    let far = pool.status().expect("it answers")[0].pid;
    drop(pool);
    until("the worker is gone", || !alive(far));
}

#[test]
fn here_behind_ssh_and_behind_slurm_is_one_pool() {
    if !wanted() {
        return;
    }
    let _alone = alone();
    let (sshd, slurm) = (Sshd::start(), Slurm::start());
    let pool = pool_of(1, vec![behind(sshd.prefix("w1")), behind(sshd.prefix("w2")), behind(slurm.prefix())]);
    // A pool is there with its first worker, and a thousand tasks may be over before Slurm has given it the last.
    all_there(&pool);
    let mut random = random();
    let list = some_bad_acts(&mut random, &Act::Panic("on purpose".into()));
    let job = acts(&pool);
    for (id, act) in list.iter().enumerate() {
        job.submit(id as u64, act).expect("encoded");
    }
    let mut ended = std::collections::BTreeMap::new();
    loop {
        match job.next_timeout(4 * PATIENCE) {
            Next::Ended(id, result) => assert!(ended.insert(id, result).is_none(), "task {id} has ended twice"),
            Next::Nothing => panic!("nothing ends: {:?}", pool.status().expect("it answers")),
            Next::Idle => break,
        }
        if ended.len() % 250 == 100 {
            // And one is killed from outside, whatever it does: a worker here, an agent elsewhere.
            let status = pool.status().expect("it answers");
            let worker = &status[random() as usize % status.len()];
            if worker.pid != 0 {
                signal(worker.pid, libc::SIGKILL);
            }
        }
    }
    assert_eq!(ended.len(), 1000);
    for (id, result) in ended {
        match (&list[id as usize], result) {
            (Act::Square(_), Ok(brought)) => assert_eq!(brought, Brought::Number(id * id)),
            // Killed from outside in the middle of it.
            (Act::Square(_), Err(TaskError::Signal { signal: libc::SIGKILL, .. } | TaskError::Connection(_))) => {}
            (Act::Square(_), other) => panic!("task {id}: {other:?}"),
            (Act::Panic(_), Err(error)) => assert!(matches!(error, TaskError::Panic { .. }) || error.lost_worker()),
            (_, result) => assert!(result.expect_err("a bad act").lost_worker()),
        }
    }
    all_there(&pool);
    // One that was killed before its first answer may have come back only now; it works like the others.
    let rest = run(&pool, (0..12).map(|_| Act::Sleep(Duration::from_millis(50))));
    assert!(rest.values().all(Result::is_ok), "{rest:?}");
    let status = pool.status().expect("it answers");
    assert!(status.iter().all(|worker| worker.tasks > 0), "everybody has had some: {status:?}");
}
