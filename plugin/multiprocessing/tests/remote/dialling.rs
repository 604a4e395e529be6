//! Workers that connect to the pool by themselves.

use crate::common::*;
use multiprocessing::connection::{Address, AuthKey, Client};
use multiprocessing::{DialBack, Launcher};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

pub fn dial_back() -> Arc<DialBack> {
    Arc::new(DialBack::bind(&"127.0.0.1:0".parse().expect("an address")).expect("a listener"))
}

/// Starts a worker, with this key.
pub fn start(dial_back: &DialBack, key: Option<&str>) -> Child {
    let (variable, right) = dial_back.environment();
    let mut command = Command::new(worker());
    command.args(dial_back.arguments()).stdin(Stdio::null()).stderr(Stdio::piped());
    match key {
        Some(wrong) => command.env(variable, wrong),
        None => command.env(variable, right),
    };
    command.spawn().expect("it runs")
}

#[test]
fn workers_that_come_with_the_key_have_the_seats() {
    let _alone = alone();
    let dial_back = dial_back();
    let mut workers = [start(&dial_back, None), start(&dial_back, None)];
    let mut config = config(0);
    config.remote = vec![dial_back.clone(), dial_back.clone()];
    let pool = Pool::start(config).expect("a pool");
    until("both are there", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
    });
    assert!(run(&pool, (0..50).map(Act::Square)).values().all(Result::is_ok));
    // The key is no part of what a task sees.
    let environment = std::fs::read(format!("/proc/{}/environ", crate::pipes::children_of(workers[0].id())[0]));
    assert!(!String::from_utf8_lossy(&environment.expect("a process")).contains("MULTIPROCESSING_AUTHKEY"));
    // One is lost: the next that comes has its place.
    let job = acts(&pool);
    (0..2).for_each(|id| job.submit(id, &Act::Sleep(Duration::from_secs(2))).expect("encoded"));
    until("both are busy", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Busy)
    });
    // Until then one may be about to be sent.
    std::thread::sleep(Duration::from_millis(500));
    workers[0].kill().expect("it is ours");
    let lost = collect(&job).into_values().filter(|result| matches!(result, Err(TaskError::Connection(_)))).count();
    assert_eq!(lost, 1);
    workers[0].wait().expect("it is ours");
    workers[0] = start(&dial_back, None);
    until("both are there", || {
        pool.status().expect("it answers").iter().all(|worker| worker.state == WorkerState::Idle)
    });
    drop(pool);
    for mut worker in workers {
        assert!(worker.wait().expect("it is ours").success(), "it ends with its pool");
    }
}

#[test]
fn a_stranger_gets_no_seat_and_a_worker_says_why_it_got_none() {
    let _alone = alone();
    let dial_back = dial_back();
    let mut stranger = start(&dial_back, Some("not the key"));
    let mut config = config(0);
    config.remote = vec![dial_back.clone()];
    let waiting = std::thread::spawn(move || Pool::start(config));
    assert_eq!(stranger.wait().expect("it is ours").code(), Some(3));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stranger.stderr.take().expect("a pipe"), &mut said).expect("text");
    assert!(said.contains("connecting to 127.0.0.1:"), "{said}");
    let mut worker = start(&dial_back, None);
    drop(waiting.join().expect("no panic").expect("a pool"));
    worker.wait().expect("it is ours");
}

#[test]
fn a_seat_waits_on_when_another_one_of_the_same_launcher_is_dismissed() {
    let _alone = alone();
    let dial_back = dial_back();
    let mut config = config(1);
    config.remote = vec![dial_back.clone(), dial_back.clone()];
    let pool = Pool::start(config).expect("a pool");
    until("both wait", || {
        pool.status().expect("it answers")[1..].iter().all(|seat| seat.state == WorkerState::Starting)
    });
    std::thread::sleep(Duration::from_millis(100));
    pool.set_remote(vec![dial_back.clone()]);
    let dismissed = std::time::Instant::now();
    while dismissed.elapsed() < Duration::from_millis(300) {
        let status = pool.status().expect("it answers");
        assert!(
            status.len() > 2 || status[1].state == WorkerState::Starting && status[1].error.is_none(),
            "{status:?}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut worker = start(&dial_back, None);
    until("it is there", || pool.status().expect("it answers")[1].state == WorkerState::Idle);
    drop(pool);
    assert!(worker.wait().expect("it is ours").success());
}

#[test]
fn nobody_comes() {
    let _alone = alone();
    let address: Address = "127.0.0.1:0".parse().expect("an address");
    let dial_back = DialBack::bind(&address).expect("a listener").patience(Duration::from_millis(200)).named("nobody");
    let wrong = AuthKey::from("wrong");
    let address = dial_back.address().clone();
    let stranger = std::thread::spawn(move || Client::connect(&address, Some(&wrong), PATIENCE).is_err());
    let error = dial_back.launch(&|| true).expect_err("nobody has the key").to_string();
    assert!(stranger.join().expect("no panic"));
    assert!(error.contains("no worker has connected within 0.2 s"), "{error}");
    let dial_back = dial_back.patience(Duration::from_secs(60));
    // Nobody is waited for who was not wanted before that began, or is not any more.
    for wanted in [0, 3] {
        let asked = std::cell::Cell::new(0);
        let error = dial_back.launch(&|| asked.replace(asked.get() + 1) < wanted).expect_err("nobody is wanted");
        assert_eq!((error.kind(), asked.get()), (std::io::ErrorKind::Interrupted, wanted + 1));
    }
    // A pool does not wait for one at its end.
    let mut config = config(1);
    config.remote = vec![Arc::new(dial_back)];
    let pool = Pool::start(config).expect("a pool");
    let start = std::time::Instant::now();
    drop(pool);
    assert!(start.elapsed() < Duration::from_secs(20));
}
